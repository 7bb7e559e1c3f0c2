"""What is wrong with the intervals of segments: asked of the largest ones, and of all together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._data.sums import Sums
from skbayesiv._honesty.evidence import Evidence
from skbayesiv._honesty.findings import Allows, findings
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.sampled import SampledRows
from skbayesiv.exceptions import EstimandWarning, InferenceWarning, WeakInstrumentWarning

LARGEST, SHARE = 20, 0.25  # segments to look at, and the share of their rows that makes a finding
OF_ONE = WeakInstrumentWarning, EstimandWarning


def segment_findings(
    groups: Mapping[Any, Sums],
    rows: Mapping[Any, IVData],
    silent: Mapping[Any, str],
    allows: Allows,
    *,
    fit_intercept: bool,
    n_checked: int,
) -> tuple[InferenceWarning, ...]:
    """What a quarter of the rows in the largest segments tell, and whether all together are weak.

    That some of many segments have weak instruments is what pooling is for.

    Parameters
    ----------
    groups : mapping of label to Sums
    rows : mapping of label to IVData
        Empty where they are not in memory.
    silent : mapping
        Segments that are left out.
    allows : Allows
    fit_intercept : bool
    n_checked : int
        Number of rows to look at in all.
    """
    speaking = [label for label in groups if label not in silent]
    largest = sorted(speaking, key=lambda label: -groups[label].moments.weight)[:LARGEST]
    within = Evidence.of(
        Equation.from_moments(
            within_segments([groups[label].moments for label in speaking]),
            fit_intercept=fit_intercept,
        )
    )
    found: list[InferenceWarning] = [
        one for one in findings(within, allows) if isinstance(one, WeakInstrumentWarning)
    ]
    told: dict[type[InferenceWarning], list[tuple[Any, InferenceWarning]]] = {}
    for label in largest:
        limit = max(n_checked // len(largest), 1)
        equation = _equation(groups[label], rows.get(label), fit_intercept, limit)
        for one in findings(Evidence.of(equation), allows):
            if not isinstance(one, OF_ONE):
                told.setdefault(type(one), []).append((label, one))
    total = sum(groups[label].moments.weight for label in largest)
    for kind, each in told.items():
        share = sum(groups[label].moments.weight for label, _ in each) / total
        if share >= SHARE:
            label, first = each[0]
            found.append(
                kind(
                    f"In {len(each)} of the {len(largest)} largest segments, as in {label}: {first}"
                )
            )
    return tuple(found)


def within_segments(parts: list[Moments]) -> Moments:
    """Moments of all rows about the means of their segments."""
    width = len(parts[0].columns.names)
    return Moments(
        parts[0].columns,
        np.zeros(width),
        sum(part.weight for part in parts),
        sum(part.n_rows for part in parts),
        np.zeros(width),
        np.sum([part.scatter for part in parts], axis=0),
    )


def _equation(sums: Sums, rows: IVData | None, fit_intercept: bool, limit: int) -> Equation:
    if rows is None:
        return Equation.from_sums(sums.moments, sums.fourth, fit_intercept=fit_intercept)
    cov_type = "clustered" if rows.grouped else "robust"
    units = SampledRows(rows, sums.moments.n_rows, limit)
    return Equation(sums.moments, units, fit_intercept, cov_type)

"""Sums of segments and an estimator's parameters -> the model of all segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from skbayesiv._data.arrays import as_numbers
from skbayesiv._data.identified import check_identified, without_effect
from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import Standardised, standardise
from skbayesiv._data.sums import Sums
from skbayesiv._linear.least_squares import check_relevant
from skbayesiv._models.build import LIKELIHOODS, check_sums
from skbayesiv._models.history.table import (
    SHOWN,
    History,
    HistoryParameters,
    build_history,
    some_of,
)
from skbayesiv._models.parts.priors import (
    AUTO_WIDTH,
    PriorParameters,
    check_range,
    positive_or_auto,
)
from skbayesiv._models.segments.design import SegmentedDesign
from skbayesiv._models.segments.population import Population
from skbayesiv._sampling.backends import MANY, needs_rows
from skbayesiv._typing import Array


class SegmentedParameters(PriorParameters, HistoryParameters, Protocol):
    """An estimator's parameters that a model of segments is built from."""

    segment_covariates: Any
    delta_scale: Any
    robust_weight: float


@dataclass(frozen=True, eq=False)
class Features:
    """Covariates of segments, by name of the segment.

    Attributes
    ----------
    columns : tuple of str
    rows : dict of ndarray of shape (M,)
    """

    columns: tuple[str, ...]
    rows: dict[str, Array]

    @classmethod
    def read(cls, table: Any) -> Features:
        """Check a DataFrame whose index has the segments' names; None has no columns."""
        if table is None:
            return cls((), {})
        if not isinstance(table, pd.DataFrame):
            raise TypeError(
                "segment_covariates must be a DataFrame with the segments' labels as its index; "
                f"got {type(table).__name__}."
            )
        names = [str(label) for label in table.index]
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise ValueError(
                "segment_covariates must have one row for each segment; got more for "
                f"{some_of(twice)}."
            )
        if not len(table.columns):
            raise ValueError("segment_covariates must have a column; got none.")
        values = np.asarray(as_numbers(table, "segment_covariates"), dtype=float)
        if missing := [
            name for name, row in zip(names, values, strict=True) if np.isnan(row).any()
        ]:
            raise ValueError(
                f"segment_covariates must not be missing; they are for {some_of(missing)}."
            )
        if not np.isfinite(values).all():
            raise ValueError("segment_covariates must be finite; got infinite values.")
        columns = tuple(str(column) for column in table.columns)
        return cls(columns, dict(zip(names, values, strict=True)))

    def of(self, names: tuple[str, ...]) -> Array:
        """Covariates (G, M) of segments."""
        if not self.columns:
            return np.empty((len(names), 0))
        if missing := [name for name in names if name not in self.rows]:
            raise ValueError(
                f"segment_covariates must have a row for each segment; got none for "
                f"{some_of(missing)}."
            )
        return np.array([self.rows[name] for name in names])


def build_segmented(parameters: SegmentedParameters, groups: Mapping[Any, Sums]) -> SegmentedDesign:
    """Compress the sums of segments; "auto" scales are those of all rows.

    Parameters
    ----------
    parameters : SegmentedParameters
    groups : mapping of label to Sums
    """
    check_no_mixture(parameters)
    names, sums = tuple(map(str, groups)), list(groups.values())
    moments = tuple(own.moments for own in sums)
    total = sum(moments, Moments.empty(moments[0].columns))
    check_sums(parameters, Sums(total))
    whole, kind = standardise(total), LIKELIHOODS[parameters.likelihood]
    reasons = [why_silent(parameters, own) for own in sums]
    speaking = np.flatnonzero([not reason for reason in reasons])
    silent = {name: reason for name, reason in zip(names, reasons, strict=True) if reason}
    if not len(speaking):
        raise ValueError(
            "segments must have one that identifies an effect, with t and z that vary in its rows "
            f"and y that is not fitted exactly; got none, as {_reasons(silent)}."
        )
    models = tuple(kind.build(parameters, sums[g], whole) for g in speaking)
    population = build_population(parameters, names, whole)
    return SegmentedDesign(names, moments, models, speaking, population, silent)


def why_silent(parameters: PriorParameters, sums: Sums) -> str:
    """Why a segment does not identify an effect of its own, or nothing."""
    moments, fit_intercept = sums.moments, parameters.fit_intercept
    reason = without_effect(moments, fit_intercept=fit_intercept)
    if reason or LIKELIHOODS[parameters.likelihood].density:
        return reason
    clusters = None if sums.fourth is None else sums.fourth.n_clusters
    if clusters is not None and clusters <= len(moments.columns.instruments):
        return f"it has {clusters} cluster{'s' * (clusters > 1)}"
    try:
        check_identified(moments, fit_intercept=fit_intercept)
        check_relevant(moments, fit_intercept=fit_intercept)
    except ValueError as error:
        return str(error).partition(". ")[0].rstrip(".")
    return ""


def build_population(
    parameters: SegmentedParameters, names: tuple[str, ...], whole: Standardised
) -> Population:
    """Hyper-priors, earlier experiments and covariates of segments.

    "auto" scales are those of all rows: 2.5 sd y / sd t of beta_t_bar, as of one effect, and
    sd y / sd t of sigma_t_bar.
    """
    columns = whole.columns
    unit = whole.sd[columns.y] / whole.sd[columns.t]
    history = build_history(parameters, columns.treatments, (AUTO_WIDTH * unit, unit))
    assert history is not None
    _check_history(history, names)
    features = Features.read(parameters.segment_covariates)
    w = features.of(names)
    spread = w.std(axis=0)
    if not (spread > 0.0).all():
        constant = [name for name, s in zip(features.columns, spread, strict=True) if not s > 0.0]
        raise ValueError(
            f"segment_covariates must vary over the segments; got the same value of {constant} "
            "for all of them."
        )
    auto = history.sigma_scale / spread[:, None]
    shape = (w.shape[1], len(columns.treatments))
    given = parameters.delta_scale
    if not isinstance(given, str) and np.ndim(given) == 1:
        given = np.asarray(given)[:, None]
    scale = positive_or_auto(given, "delta_scale", shape, np.nan if isinstance(given, str) else 0.0)
    scale = np.where(np.isnan(scale), auto, scale)
    check_range(scale, "delta_scale", auto)
    return Population(history, w - w.mean(axis=0), w.mean(axis=0), features.columns, scale)


def check_backend(backend: str) -> None:
    """Raise unless a backend samples targets of any number of coordinates."""
    if needs_rows(backend) or backend in MANY:
        raise ValueError(
            f'backend must be "numpyro" with segments; got {backend!r}. To use PyMC, sample the '
            "model that to_pymc() returns with pm.sample."
        )


def check_no_mixture(parameters: SegmentedParameters) -> None:
    """Raise if the effects may be unlike each other's population."""
    if parameters.robust_weight:
        raise ValueError(
            "robust_weight must be 0 with segments, which are exchangeable with each other; got "
            f"{parameters.robust_weight!r}."
        )


def _check_history(history: History, names: tuple[str, ...]) -> None:
    if both := [name for name in names if name in history.names]:
        raise ValueError(
            f"segments must not have names of earlier experiments; {some_of(both)} are both. If "
            "the experiment is of the same rows leave it out of effects, else rename it."
        )
    if history.carried:
        weak = [history.names[j] for j in history.carried]
        raise ValueError(
            f"likelihoods must be close to normal with segments; those of {some_of(weak)} are not. "
            "Give the moments of these experiments as segments of their own, fit_moments({name: "
            "moments}), or leave them out of effects."
        )


def _reasons(silent: dict[str, str]) -> str:
    shown = [f"of {name!r} {reason}" for name, reason in [*silent.items()][:SHOWN]]
    rest = len(silent) - SHOWN
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")

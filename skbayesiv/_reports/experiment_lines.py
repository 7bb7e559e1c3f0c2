"""Numbers of an experiment's report, each with its error and interval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from skbayesiv._linear.equation import Equation
from skbayesiv._linear.estimate import direct_estimate
from skbayesiv._reports.coefficients import interval_reach
from skbayesiv._reports.compliance import Compliance
from skbayesiv._reports.regressions import least_squares_regressions
from skbayesiv._typing import Array

if TYPE_CHECKING:
    from skbayesiv.diagnostics import ConfidenceSet


# Estimate, standard error, interval, and where the error comes from.
Line = tuple[float, float, float, float, str]
ERRORS = {"unadjusted": "classical", "robust": "robust", "clustered": "clustered"}


def _line(estimate: float, error: float, level: float, errors: str) -> Line:
    reach = interval_reach(np.inf, level) * error
    return float(estimate), float(error), float(estimate - reach), float(estimate + reach), errors


def least_squares_lines(
    rows: Equation, found: Compliance, level: float
) -> Iterator[tuple[str, Line]]:
    """Intention to treat and first stage, instrument by instrument."""
    c, errors = rows.columns, ERRORS[rows.cov_type]
    _, reduced, *stages = least_squares_regressions(rows, debiased=False)
    single = len(c.instruments) == 1
    for q, instrument in enumerate(c.instruments):
        at = len(reduced.params) - len(c.instruments) + q
        name = "intention to treat" if single else f"intention to treat[{instrument}]"
        yield name, _line(reduced.params[at], reduced.std_errors[at], level, errors)
        for stage in stages:
            name = f"first stage[{instrument} -> {stage.outcome}]"
            sign = -1.0 if found.flipped else 1.0  # a share counts those whom either value moves
            line = _line(sign * stage.params[at], stage.std_errors[at], level, errors)
            yield ("complier share" if found.compliers else name), line


def own_lines(est: Any, found: Compliance, level: float) -> Iterator[tuple[str, Line]]:
    draws = effect_draws(est)
    for k, treatment in enumerate(est.moments_.columns.treatments):
        step = np.eye(est.n_treatments_)[k]
        low, high = est.effect_interval(np.zeros_like(step), step, level=level)
        if draws is None:
            error, errors = est._effect_and_error()[1][k], ERRORS[est.cov_type_]
        else:
            error, errors = draws[:, k].std(), "posterior"
        name = "effect on compliers" if found.compliers else f"effect of {treatment}"
        yield name, (float(est.coef_[k]), float(error), float(low), float(high), errors)


def two_stage_lines(rows: Equation, found: Compliance, level: float) -> Iterator[tuple[str, Line]]:
    """2SLS beside the estimate, and the complier baseline, whose outcome needs rows."""
    c, errors = rows.columns, ERRORS[rows.cov_type]
    fit = direct_estimate(rows, debiased=False)
    first = len(fit.params) - len(c.treatments)
    for k, treatment in enumerate(c.treatments):
        name = "2SLS" if len(c.treatments) == 1 else f"2SLS[{treatment}]"
        yield name, _line(fit.params[first + k], fit.std_errors[first + k], level, errors)
    if found.compliers and not rows.synthetic:
        untreated = 1.0 - rows.endogenous
        baseline = replace(rows, y=rows.y * untreated[:, 0], endogenous=untreated)
        fit = direct_estimate(baseline, debiased=False)
        yield "complier baseline", _line(fit.params[-1], fit.std_errors[-1], level, errors)


def anderson_rubin_set(rows: Equation, level: float) -> tuple[ConfidenceSet | None, str]:
    """Anderson-Rubin confidence set of one treatment, and why it is missing or no interval."""
    from skbayesiv.diagnostics import anderson_rubin_confidence_set
    from skbayesiv.diagnostics._partial import partial_rows

    if rows.endogenous.shape[1] != 1:
        return None, ""
    try:
        p = partial_rows(rows)
        found = anderson_rubin_confidence_set(p, level=level, robust=not rows.classical_only)
    except ValueError as error:
        return None, f"The Anderson-Rubin set was not computed: {error}"
    if not found.intervals:
        why = "no effect fits: the instruments contradict each other"
        return found, f"The Anderson-Rubin set is empty; {why}."
    return (
        found,
        "" if found.kind == "interval" else f"The Anderson-Rubin set is no interval: {found}.",
    )


def set_line(found: ConfidenceSet | None, errors: str) -> Line:
    """Ends of a set's hull; NaN when there are none."""
    nothing = float("nan")
    if found is None or not found.intervals:
        return nothing, nothing, nothing, nothing, errors
    return nothing, nothing, found.intervals[0][0], found.intervals[-1][1], errors


def effect_draws(est: Any) -> Array | None:
    """Posterior draws of the effects, shape (N, K), or None without a posterior."""
    if not hasattr(est, "idata_"):
        return None
    values = est.idata_.posterior["beta_t"].to_numpy()
    return np.asarray(values.reshape(-1, values.shape[-1]))

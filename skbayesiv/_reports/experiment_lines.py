"""Numbers of an experiment's report, each with its error and interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from skbayesiv._linear.covariance import COVARIANCES
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.estimate import Estimate, direct_estimate
from skbayesiv._reports.coefficients import interval_reach
from skbayesiv._reports.compliance import Compliance
from skbayesiv._reports.fitted import FittedClassical, FittedPosterior, effect_draws
from skbayesiv._reports.regressions import instrument_regressions
from skbayesiv.diagnostics import (
    ComplierEffects,
    ConfidenceSet,
    anderson_rubin_confidence_set,
)
from skbayesiv.diagnostics._partial import partial_equation
from skbayesiv.exceptions import InferenceWarning

ERRORS = {name: covariance.label for name, covariance in COVARIANCES.items()}
POSTERIOR = "posterior"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of the report's table.

    Attributes
    ----------
    estimate, std_err, lower, upper : float
        NaN where there is none.
    errors : str
        Where the standard error comes from.
    """

    estimate: float = nan
    std_err: float = nan
    lower: float = nan
    upper: float = nan
    errors: str

    @classmethod
    def symmetric(
        cls, estimate: float, std_err: float, dof: float, level: float, errors: str
    ) -> Line:
        """An estimate with its interval, normal or, with finite `dof`, of the t distribution."""
        reach = interval_reach(dof, level) * std_err
        return cls(
            estimate=float(estimate),
            std_err=float(std_err),
            lower=float(estimate - reach),
            upper=float(estimate + reach),
            errors=errors,
        )

    @classmethod
    def hull(cls, found: ConfidenceSet | None, errors: str) -> Line:
        """Ends of a confidence set's hull, when there are any."""
        if found is None or not found.intervals:
            return cls(errors=errors)
        return cls(lower=found.intervals[0][0], upper=found.intervals[-1][1], errors=errors)

    @classmethod
    def chance(cls, probability: float) -> Line:
        """A posterior probability."""
        return cls(estimate=probability, errors=POSTERIOR)


def least_squares_lines(
    rows: Equation, found: Compliance, level: float, *, debiased: bool
) -> Iterator[tuple[str, Line]]:
    """Intention to treat and first stage, instrument by instrument."""
    c, errors = rows.columns, ERRORS[rows.cov_type]
    reduced, *stages = instrument_regressions(rows, debiased=debiased)
    first, single = len(rows.constant), len(c.instruments) == 1
    for q, instrument in enumerate(c.instruments):
        at = first + q
        name = "intention to treat" if single else f"intention to treat[{instrument}]"
        effect, std_error = found.unit * reduced.params[at], found.unit * reduced.std_errors[at]
        yield name, Line.symmetric(effect, std_error, reduced.dof[at], level, errors)
        for stage in stages:
            name = f"first stage[{instrument} -> {stage.outcome}]"
            # A share counts those whom either value moves.
            sign = -1.0 if found.flipped and found.compliers else 1.0
            effect, std_error = found.unit * stage.params[at], found.unit * stage.std_errors[at]
            line = Line.symmetric(sign * effect, std_error, stage.dof[at], level, errors)
            yield ("complier share" if found.compliers else name), line


def own_lines(
    est: FittedClassical | FittedPosterior,
    found: Compliance,
    level: float,
    wrong: Sequence[InferenceWarning],
) -> Iterator[tuple[str, Line]]:
    """The estimator's own effects, errors and intervals; a wrong interval is named as such."""
    if isinstance(est, FittedPosterior):
        std_errors, errors = [draws.std() for draws in effect_draws(est).T], POSTERIOR
    else:
        std_errors, errors = [*est._effect_and_error()[1]], ERRORS[est.cov_type_]
    if wrong:
        errors = f"{errors}, not to be trusted: {', '.join(one.cause for one in wrong)}"
    for k, treatment in enumerate(est.moments_.columns.treatments):
        step = np.eye(est.n_treatments_)[k]
        low, high = est.effect_interval(np.zeros_like(step), step, level=level)
        other = f"weighted effect of {treatment}" if found.weighted else f"effect of {treatment}"
        yield (
            "effect on compliers" if found.compliers else other,
            Line(
                estimate=float(est.coef_[k]),
                std_err=float(std_errors[k]),
                lower=float(low),
                upper=float(high),
                errors=errors,
            ),
        )


def two_stage_lines(
    rows: Equation, found: Compliance, level: float, *, debiased: bool
) -> Iterator[tuple[str, Line]]:
    """2SLS beside the estimate, and the complier baseline, whose outcome needs rows."""
    c, errors = rows.columns, ERRORS[rows.cov_type]
    fit = direct_estimate(rows, debiased=debiased)
    first = len(rows.constant)
    for k, treatment in enumerate(c.treatments):
        name = "2SLS" if len(c.treatments) == 1 else f"2SLS[{treatment}]"
        yield name, _line_of(fit, first + k, level, errors)
    if found.compliers and rows.rows is not None:
        untreated = 1.0 - rows.rows.t
        baseline = replace(rows.rows, t=untreated, y=rows.rows.y * untreated[:, 0])
        of_baseline = Equation.from_data(
            baseline, fit_intercept=rows.fit_intercept, cov_type=rows.cov_type
        )
        fit = direct_estimate(of_baseline, debiased=debiased)
        yield "complier baseline", _line_of(fit, first, level, errors)


def reweighted_lines(
    effects: ComplierEffects | None, found: Compliance, errors: str
) -> Iterator[tuple[str, Line]]:
    """Effects on compliers by reweighting, where covariates make 2SLS another average."""
    if effects is None or found.kind == "general":
        return
    several = {
        "compliers": effects.compliers,
        "treated compliers": effects.treated,
        "untreated compliers": effects.untreated if found.high_is_everybody else None,
        "complier share": effects.share,
        "complier baseline": effects.baseline if found.weighted else None,
    }
    for name, one in several.items():
        if one is not None:
            low, high = one.interval
            yield (
                f"{name}, reweighted",
                Line(
                    estimate=one.estimate,
                    std_err=one.std_error,
                    lower=low,
                    upper=high,
                    errors=errors,
                ),
            )


def _line_of(fit: Estimate, at: int, level: float, errors: str) -> Line:
    """One of the coefficients."""
    dof = np.broadcast_to(fit.dof, fit.params.shape)[at]
    return Line.symmetric(fit.params[at], fit.std_errors[at], dof, level, errors)


def anderson_rubin_set(
    rows: Equation, level: float, *, debiased: bool
) -> tuple[ConfidenceSet | None, str]:
    """Anderson-Rubin confidence set of one treatment, and why it is missing or no interval."""
    if len(rows.columns.treatments) != 1:
        return None, ""
    try:
        p = partial_equation(rows)
        found = anderson_rubin_confidence_set(
            p, level=level, robust=not rows.classical_only, debiased=debiased
        )
    except ValueError as error:
        return None, f"The Anderson-Rubin set was not computed: {error}"
    if not found.intervals:
        why = "no effect fits: the instruments contradict each other"
        return found, f"The Anderson-Rubin set is empty; {why}."
    if found.kind != "interval":
        return found, f"The Anderson-Rubin set is no interval: {found}."
    return found, ""

"""The report of an experiment whose assignment did not force treatment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from skbayesiv._data.checks import check_level
from skbayesiv._honesty.evidence import Evidence
from skbayesiv._honesty.findings import ENOUGH_CLUSTERS, findings
from skbayesiv._linear.covariance import COVARIANCES, suitable
from skbayesiv._linear.equation import Equation
from skbayesiv._reports.caveats import caveats
from skbayesiv._reports.coefficients import format_number
from skbayesiv._reports.compliance import Compliance, compliance
from skbayesiv._reports.experiment_chances import (
    Chances,
    check_cost,
    check_rope,
    number_or_array,
)
from skbayesiv._reports.experiment_lines import (
    ERRORS,
    Line,
    anderson_rubin_set,
    least_squares_lines,
    own_lines,
    reweighted_lines,
    two_stage_lines,
)
from skbayesiv._reports.fitted import (
    FittedClassical,
    FittedPosterior,
    check_has_treatment,
    effect_draws,
)
from skbayesiv._reports.given_rows import given_rows
from skbayesiv._reports.whose_effect import not_computed, tested, weighed, whose_effect_or_none
from skbayesiv._typing import Array
from skbayesiv.diagnostics import ConfidenceSet, WhoseEffect
from skbayesiv.diagnostics._fitted import fitted_estimator
from skbayesiv.diagnostics._report import Block, Paragraph, Report, Table
from skbayesiv.exceptions import InferenceWarning


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ExperimentReport(Report):
    """What an experiment with non-compliance says, in the words of an analyst.

    Attributes
    ----------
    title : str
    given : str
        Which covariates there were.
    table : DataFrame
        One row for each quantity; columns estimate, std_err, lower, upper and errors (where the
        standard error comes from: the posterior, or classical, robust, clustered or CR2).
    arms : DataFrame or None
        Rows, uptake (or mean of a treatment that is not coded 0 and 1) and mean outcome by
        assignment, when it has two values.
    compliance : {"one-sided", "two-sided", "full", "general"}
        Whether some took the treatment without assignment and some refused it, only one of these,
        or nobody; "general" when there is not one assignment of two values and one treatment coded
        0 and 1, or no intercept.
    statement : str
        Whose effect it is.
    level : float
        Probability of the intervals.
    p_above_cost : float, ndarray of shape (K,) or None
        Posterior probability that the effect exceeds `cost`.
    p_in_rope : float, ndarray of shape (K,) or None
        Posterior probability that the effect lies in the region of practical equivalence.
    anderson_rubin : ConfidenceSet or None
        Effects that the Anderson-Rubin test does not reject, for one treatment; the table has the
        ends of the set.
    whose_effect : WhoseEffect or None
        Tests of whose effect it is, and effects on compliers by reweighting; they need rows.
    warnings : tuple of InferenceWarning
        Why the estimator's own interval is not what it promises; its row says so.
    notes : tuple of str
        What could not be computed, and what it needs.
    """

    title: str
    given: str
    table: pd.DataFrame
    arms: pd.DataFrame | None
    compliance: str
    statement: str
    level: float
    p_above_cost: float | Array | None
    p_in_rope: float | Array | None
    anderson_rubin: ConfidenceSet | None
    whose_effect: WhoseEffect | None
    warnings: tuple[InferenceWarning, ...]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return `table`."""
        return self.table

    def _blocks(self) -> Iterator[Block]:
        yield Paragraph(self.title), Paragraph(self.given)
        if self.arms is not None:
            rows = self.arms["rows"].map("{:,.12g}".format)
            yield (Table(self.arms.map(format_number).assign(rows=rows)),)
        yield (Paragraph(self.statement),)
        yield (Table(self._printed()),)
        yield from caveats(self.warnings)
        for note in (*tested(self.whose_effect), *self.notes):
            yield (Paragraph(note),)

    def _printed(self) -> pd.DataFrame:
        numbers = self.table.drop(columns="errors")
        return numbers.map(lambda value: "" if np.isnan(value) else format_number(value)).assign(
            errors=self.table["errors"]
        )


def experiment_report(
    est: Any,
    cost: float | ArrayLike | None = None,
    rope: float | tuple[float, float] | None = None,
    *,
    X: Any = None,
    t: Any = None,
    y: Any = None,
    z: Any = None,
    sample_weight: Any = None,
    clusters: Any = None,
    level: float = 0.95,
) -> ExperimentReport:
    """Report an experiment: uptake, whose effect was estimated, and whether it is worth its cost.

    Parameters
    ----------
    est : fitted BayesianIV, HierarchicalBayesianIV or TwoStageLS, or a search over one
    cost : float or array-like of shape (K,), optional
        Of one unit of treatment, in units of the outcome; a number stands for all treatments.
    rope : float or (float, float), optional
        Region of practical equivalence of the effect; a number r stands for (-r, r).
    X, t, y, z, sample_weight, clusters
        Rows of the fit, for robust standard errors and the complier baseline. By default those
        that the estimator kept: `TwoStageLS` all, `BayesianIV` up to 20,000.
    level : float, default=0.95
        Probability of the intervals.

    Returns
    -------
    ExperimentReport

    Notes
    -----
    With an assignment z of two values, of which the larger counts as assigned, a treatment t coded
    0 and 1, and nobody who does the opposite of the others, the first stage is the share of
    compliers and the instrumental-variables estimate their mean effect [1]_. When nobody is
    treated without assignment, all treated are compliers or would have been, and it is the effect
    on the treated [2]_. The mean outcome of compliers without treatment is the
    instrumental-variables estimate in the regression of y (1 - t) on 1 - t [3]_. With covariates
    all of these are linear in them.

    With covariates the estimate is a mean of the effects given x, weighted by rows x Var(z | x) x
    share. Where assignment depends on them, and first stage or effects differ by them, that is not
    the effect on compliers, and is not called so; nor where E[z | x] is not linear. The lines that
    are "reweighted" are the compliers' own averages: see `diagnostics.complier_effects`.

    References
    ----------
    .. [1] Imbens, G. W. and Angrist, J. D. (1994). Identification and estimation of local average
       treatment effects. Econometrica 62, 467-475.
    .. [2] Bloom, H. S. (1984). Accounting for no-shows in experimental evaluation designs.
       Evaluation Review 8, 225-246.
    .. [3] Abadie, A. (2002). Bootstrap tests for distributional treatment effects in instrumental
       variable models. Journal of the American Statistical Association 97, 284-292.

    Examples
    --------
    >>> from skbayesiv import TwoStageLS, experiment_report
    >>> from skbayesiv.datasets import load_push_experiment
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> report = experiment_report(TwoStageLS().fit(X, t, y, z=z))
    >>> report.compliance
    'one-sided'
    >>> report.table.loc["complier share", "estimate"].round(4)
    np.float64(0.7176)
    """
    est = fitted_estimator(est)
    check_has_treatment(est)
    if getattr(est, "_segmented", False):
        raise ValueError(
            "est must be of one experiment; got a fit with segments. Ask est.segment_report(), or "
            "report one of them, est.segment(label)."
        )
    bounds, costs = check_rope(rope), check_cost(cost, est.n_treatments_)
    check_level(level)
    rows = given_rows(est, X, t, y, z, sample_weight, clusters)
    return _report(est, rows, costs, bounds, level)


def _report(
    est: FittedClassical | FittedPosterior,
    rows: Equation,
    cost: Array | None,
    rope: tuple[float, float] | None,
    level: float,
) -> ExperimentReport:
    if not rows.classical_only:
        rows = replace(rows, cov_type=_robust_kind(est, rows))
    debiased = not isinstance(est, FittedPosterior) and est._small_sample
    treatments, whose = rows.columns.treatments, whose_effect_or_none(rows, level=level)
    found = weighed(compliance(rows), rows, whose)
    wrong = findings(Evidence.of(rows), est._allows())
    draws = effect_draws(est) if isinstance(est, FittedPosterior) else None
    chances = Chances.from_draws(draws, cost, rope)
    robust_set, why = anderson_rubin_set(rows, level, debiased=debiased)
    lines = dict(least_squares_lines(rows, found, level, debiased=debiased))
    lines |= dict(own_lines(est, found, level, wrong))
    lines |= dict(two_stage_lines(rows, found, level, debiased=debiased))
    kind = suitable("robust", clusters=rows.n_clusters > 0)
    if whose is not None:
        lines |= dict(reweighted_lines(whose.compliers, found, ERRORS[kind]))
    if len(treatments) == 1:
        lines["Anderson-Rubin"] = Line.hull(
            robust_set, ERRORS["unadjusted" if rows.classical_only else kind]
        )
    lines |= {name: Line.chance(chance) for name, chance in chances.rows(treatments)}
    unanswered = draws is None and not (cost is None and rope is None)
    return ExperimentReport(
        title=f"Experiment: {', '.join(treatments)} on {rows.columns.outcome}, "
        f"{rows.n:,.12g} observations, {level:.4g} intervals",
        given=rows.columns.given,
        table=pd.DataFrame([asdict(line) for line in lines.values()], index=list(lines)),
        arms=found.arms,
        compliance=found.kind,
        statement=found.statement,
        level=level,
        p_above_cost=number_or_array(chances.above_cost),
        p_in_rope=number_or_array(chances.in_rope),
        anderson_rubin=robust_set,
        whose_effect=whose,
        warnings=wrong,
        notes=(*_notes(rows, found, unanswered, why), *not_computed(whose)),
    )


def _robust_kind(est: FittedClassical | FittedPosterior, rows: Equation) -> str:
    """The estimator's own `cov_type`, or one that is robust; of a posterior to few clusters too."""
    clusters, own = rows.n_clusters > 0, "robust"
    if not isinstance(est, FittedPosterior):
        own = est.cov_type_
    elif rows.rows is not None and not rows.probability and 1 < rows.n_clusters < ENOUGH_CLUSTERS:
        own = "CR2"
    return suitable(own if COVARIANCES[own].robust else "robust", clusters=clusters)


def _notes(rows: Equation, found: Compliance, unanswered: bool, why: str) -> Iterator[str]:
    """What could not be computed; `why` the Anderson-Rubin set is missing or no interval."""
    if unanswered:
        yield (
            "The probabilities that the effect exceeds the cost, or lies in the ROPE, need a "
            "posterior: fit BayesianIV."
        )
    if why:
        yield why
    baseline = "the complier baseline" if found.compliers else ""
    robust = "robust standard errors" if rows.classical_only else ""
    needy = " and ".join(what for what in (robust, baseline) if what and rows.rows is None)
    if needy:
        yield f"{needy[0].upper()}{needy[1:]} need rows: pass X, t, y and z."

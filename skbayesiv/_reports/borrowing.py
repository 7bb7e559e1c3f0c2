"""What a history contributes to the current effect: the borrowing report, and conflicts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skbayesiv._models.history.integrated import integrate, leave_each_out
from skbayesiv._models.history.leave_one_out import log_density_at
from skbayesiv._models.history.meta_analysis import (
    Heterogeneity,
    Integrated,
    cochran_q,
    conflict_p_value,
)
from skbayesiv._models.history.table import History
from skbayesiv._models.parts.priors import log_normal_density
from skbayesiv._reports.fitted import FittedHistory, FittedPosterior, effect_draws
from skbayesiv._reports.meta_analysis import COLUMNS, EffectSummary
from skbayesiv._typing import Array
from skbayesiv.diagnostics._report import Block, Pairs, Report, Table
from skbayesiv.exceptions import OURS, PriorDataConflictWarning

CONFLICT_LEVEL = 0.05
MAX_LEAVE_ONE_OUT = 1_000
MIN_ESS = 100.0


def warn_of_conflict(est: FittedHistory, history: History) -> None:
    """Warn when the current estimate lies far out in what the history predicts."""
    for k, (b, s) in enumerate(zip(*est._model.two_stage(), strict=True)):
        predictive = integrate(history, k).predictive
        p = conflict_p_value(predictive, float(b), float(s))
        if p < CONFLICT_LEVEL:
            several = f" of {history.treatments[k]}" if len(history.treatments) > 1 else ""
            advice = (
                "use BayesianIV, or look for the reason"
                if est.robust_weight
                else "set robust_weight (0.1 to 0.5) so that the history is discounted when it "
                "does not fit, or use BayesianIV"
            )
            warnings.warn(
                f"The current estimate{several} {b:.4g} (standard error {s:.2g}) conflicts with "
                f"the earlier experiments, which predict {EffectSummary.from_mixture(predictive)}: "
                f"p = {p:.2g}. See borrowing(); {advice}.",
                PriorDataConflictWarning,
                skip_file_prefixes=OURS,
            )


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Borrowing(Report):
    """What the history contributes to one treatment's effect.

    Attributes
    ----------
    treatment, given : str
        What the effect is of, and which covariates there were.
    without : EffectSummary
        The current experiment alone.
    history : EffectSummary
        The history's prediction of the effect.
    combined : EffectSummary
        With the history.
    shrinkage : float
        Posterior mean of the history's share of the precision,
        ``1/(v + sigma_bar^2) / (1/(v + sigma_bar^2) + 1/se^2)``: 0 ignores it, 1 is it.
    rows : float
        Rows of this experiment that the history is worth: ``n (var without / var with - 1)``.
        Negative when the history adds uncertainty, as it can when it conflicts.
    conflict_p_value : float
        Two-sided, of the current 2SLS estimate under the history's prediction. Its standard
        error is robust or clustered with ``likelihood="gmm"``, and allows for direct effects
        with `exclusion_scale`.
    exchangeable_probability : float or None
        Posterior probability that the current effect belongs with the earlier ones; None
        without `robust_weight`, which assumes it.
    heterogeneity : Heterogeneity
        Cochran's Q of the earlier effects.
    leave_one_out : DataFrame
        For each earlier experiment, the history's prediction without it (median and sd), and the
        effect without it (mean and sd) by reweighting the draws; `ess` is the effective number
        of draws that are left. Below 100 the effect is not a number: refit without the
        experiment instead.
    """

    treatment: str
    given: str
    without: EffectSummary
    history: EffectSummary
    combined: EffectSummary
    shrinkage: float
    rows: float
    conflict_p_value: float
    exchangeable_probability: float | None
    heterogeneity: Heterogeneity
    leave_one_out: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """One row for the effect without the history, as it predicts it, and with it.

        Returns
        -------
        pandas.DataFrame
            With columns mean, sd, median, 2.5% and 97.5%, in units of the effect.
        """
        rows = {name: effect.numbers() for name, effect in self._effects().items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)

    def _blocks(self) -> Iterator[Block]:
        yield (Pairs(tuple(self._lines().items()), width=21),)
        yield (Table(self.leave_one_out, "%.4g"),)

    def _effects(self) -> dict[str, EffectSummary]:
        return {
            "without history": self.without,
            "history predicts": self.history,
            "with history": self.combined,
        }

    def _lines(self) -> dict[str, str]:
        worth = f"{self.rows:,.0f} rows of this experiment"
        if self.rows < 0:
            worth += ": the history adds uncertainty"
        lines = {
            "effect of": f"{self.treatment}  ({self.given})",
            **{name: str(effect) for name, effect in self._effects().items()},
            "shrinkage": f"{self.shrinkage:.2f}  (the history's share of the precision)",
            "worth": worth,
            "conflict p-value": f"{self.conflict_p_value:.2g}",
        }
        if self.exchangeable_probability is not None:
            lines["exchangeable"] = f"{self.exchangeable_probability:.2g}"
        return lines | {"Cochran's Q": str(self.heterogeneity)}


def borrowing_report(
    est: FittedHistory, alone: FittedPosterior, history: History, treatment: int
) -> Borrowing:
    """Build the report for one treatment of a fitted estimator.

    Parameters
    ----------
    est : HierarchicalBayesianIV
        Fitted.
    alone : BayesianIV
        Fitted to the same moments without the history.
    history : History
    treatment : int
    """
    grid = integrate(history, treatment)
    combined, without = (effect_draws(e)[:, treatment] for e in (est, alone))
    estimate, error = est._model.two_stage()
    sigma = est.idata_.posterior["sigma_t_bar"].to_numpy()[..., treatment].ravel()
    prior_variance = grid.variance_at(sigma) + sigma**2
    share = without.var() / (without.var() + prior_variance)
    if est.robust_weight:
        share = share * est.idata_.posterior["exchangeable"].to_numpy().ravel()
    return Borrowing(
        treatment=history.treatments[treatment],
        given=est.moments_.columns.given,
        without=EffectSummary.from_draws(without),
        history=EffectSummary.from_mixture(grid.predictive),
        combined=EffectSummary.from_draws(combined),
        shrinkage=float(share.mean()),
        rows=float(est.moments_.weight * (without.var() / combined.var() - 1.0)),
        conflict_p_value=conflict_p_value(
            grid.predictive, float(estimate[treatment]), float(error[treatment])
        ),
        exchangeable_probability=est.exchangeable_probability_ if est.robust_weight else None,
        heterogeneity=cochran_q(history.effects[:, treatment], history.std_errors[:, treatment]),
        leave_one_out=leave_one_out(est, history, treatment),
    )


def leave_one_out(est: FittedHistory, history: History, treatment: int) -> pd.DataFrame:
    """Leave each earlier experiment out: the prediction, and the effect by reweighting.

    The history enters the posterior through the effects' joint prior only, so the draws are
    reweighted by the ratio of two such densities, exactly up to Monte Carlo error. Hyper-priors
    stay as they are. At most 1,000 experiments are shown.
    """
    effects = effect_draws(est)
    treatments = range(effects.shape[1])
    n_left = min(history.n_experiments, MAX_LEAVE_ONE_OUT)
    base = log_effects_prior(est, [integrate(history, k) for k in treatments], effects)
    rows = []
    for left in zip(*(leave_each_out(history, k, n_left) for k in treatments), strict=True):
        log_weight = log_effects_prior(est, left, effects) - base
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        ess = float(1.0 / (weight @ weight))
        mean = sd = math.nan
        if ess >= MIN_ESS:
            mean = float(weight @ effects[:, treatment])
            sd = float(np.sqrt(weight @ (effects[:, treatment] - mean) ** 2))
        predicted = left[treatment].predictive
        rows.append([predicted.quantile(0.5), predicted.moments()[1], mean, sd, round(ess)])
    columns = ["predicted", "predicted sd", "effect", "effect sd", "ess"]
    index = pd.Index(history.names[: len(rows)], name="without")
    return pd.DataFrame(rows, index=index, columns=columns)


def log_effects_prior(est: FittedHistory, grids: Sequence[Integrated], effects: Array) -> Array:
    """Log density of the effects (N, K) given each one's history, shape (N,).

    All treatments come from the history or, with probability `robust_weight`, all from the vague
    prior.
    """
    near = sum(
        log_density_at(grid.predictive, column)
        for grid, column in zip(grids, effects.T, strict=True)
    )
    w = est.robust_weight
    if not w:
        return np.asarray(near)
    vague = est._model.effect_prior
    far = log_normal_density(effects, vague.loc, vague.scale, np).sum(axis=1)
    return np.logaddexp(np.log1p(-w) + near, np.log(w) + far)

"""What a history contributes to the current effect: meta-analysis and borrowing report."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbayesiv._covariance import log_normal_density
from skbayesiv._history import (
    Heterogeneity,
    History,
    Integrated,
    Mixture,
    cochran_q,
    conflict_p_value,
    integrate,
)
from skbayesiv._moments import Moments, standardise
from skbayesiv.exceptions import PriorDataConflictWarning

Array = NDArray[np.float64]

CONFLICT_LEVEL = 0.05
MAX_LEAVE_ONE_OUT = 1_000


def classical_effect(moments: Moments, fit_intercept: bool) -> tuple[Array, Array]:
    """2SLS effects (K,) with classical standard errors, from the moments.

    beta = (T'P T)^-1 T'P y with P the projection on z, (1, X) partialled out, and variance
    s^2 (T'P T)^-1.
    """
    std = standardise(moments)
    c = std.columns
    corr = std.corr.copy()
    if not fit_intercept:
        corr += np.outer(std.mean / std.sd, std.mean / std.sd)
    if c.x.stop:
        x, rest = slice(0, c.x.stop), slice(c.x.stop, None)
        corr = corr[rest, rest] - corr[rest, x] @ np.linalg.solve(corr[x, x], corr[x, rest])
    q, k = len(c.instruments), len(c.treatments)
    z, w = slice(0, q), slice(q, None)
    projected = corr[w, z] @ np.linalg.solve(corr[z, z], corr[z, w])
    inverse = np.linalg.inv(projected[:k, :k])
    beta = inverse @ projected[:k, k]
    contrast = np.append(-beta, 1.0)
    variance = contrast @ corr[w, w] @ contrast / std.n * np.diag(inverse)
    unit = std.sd[c.y] / std.sd[c.t]
    return beta * unit, np.sqrt(variance) * unit


def warn_of_conflict(history: History, effect: Array, error: Array) -> None:
    """Warn when the current estimate lies far out in what the history predicts."""
    for k, (b, s) in enumerate(zip(effect, error, strict=True)):
        predictive = integrate(history, k).predictive
        p = conflict_p_value(predictive, float(b), float(s))
        if p < CONFLICT_LEVEL:
            mean, sd = predictive.moments()
            warnings.warn(
                f"The current estimate {b:.4g} (standard error {s:.2g}) conflicts with the "
                f"earlier experiments, which predict {mean:.4g} ({sd:.2g}): p = {p:.2g}. See "
                "borrowing(); set robust_weight (0.1 to 0.5) so that the history is discounted "
                "when it does not fit, or use BayesianIV.",
                PriorDataConflictWarning,
                stacklevel=7,
            )


@dataclass(frozen=True)
class Estimate:
    """A distribution of an effect in four numbers: mean, sd and 95% interval."""

    mean: float
    sd: float
    lower: float
    upper: float

    @classmethod
    def from_draws(cls, draws: Array) -> Estimate:
        """Summarise draws of shape (N,)."""
        low, high = np.quantile(draws, [0.025, 0.975])
        return cls(float(draws.mean()), float(draws.std()), float(low), float(high))

    @classmethod
    def from_mixture(cls, mixture: Mixture) -> Estimate:
        """Summarise a mixture of normals."""
        return cls(*mixture.moments(), mixture.quantile(0.025), mixture.quantile(0.975))

    def __str__(self) -> str:
        return f"{self.mean:.4g} ({self.sd:.3g}) [{self.lower:.4g}, {self.upper:.4g}]"


@dataclass(frozen=True, eq=False)
class TreatmentHistory:
    """The earlier experiments' account of one treatment.

    Attributes
    ----------
    mean_effect : Estimate
        Of beta_t_bar.
    predicted : Estimate
        Of the effect in a new experiment.
    sigma_median, sigma_lower, sigma_upper : float
        Median and 95% interval of sigma_t_bar. Its mean may be infinite.
    heterogeneity : Heterogeneity
        Cochran's Q.
    predictive : Mixture
        Distribution of the effect in a new experiment.
    """

    mean_effect: Estimate
    predicted: Estimate
    sigma_median: float
    sigma_lower: float
    sigma_upper: float
    heterogeneity: Heterogeneity
    predictive: Mixture

    @classmethod
    def from_grid(cls, grid: Integrated, history: History, k: int) -> TreatmentHistory:
        """Summarise a history integrated over sigma_t_bar."""
        return cls(
            mean_effect=Estimate.from_mixture(grid.beta_bar),
            predicted=Estimate.from_mixture(grid.predictive),
            sigma_median=grid.sigma_quantile(0.5),
            sigma_lower=grid.sigma_quantile(0.025),
            sigma_upper=grid.sigma_quantile(0.975),
            heterogeneity=cochran_q(history.effects[:, k], history.errors[:, k]),
            predictive=grid.predictive,
        )


@dataclass(frozen=True, eq=False)
class MetaAnalysis:
    """Random-effects meta-analysis of the earlier experiments, for each treatment."""

    treatments: tuple[TreatmentHistory, ...]
    n_experiments: int

    @classmethod
    def from_history(cls, history: History) -> MetaAnalysis:
        """Integrate each treatment's history."""
        return cls(
            tuple(
                TreatmentHistory.from_grid(integrate(history, k), history, k)
                for k in range(len(history.loc))
            ),
            history.n_experiments,
        )

    def to_frame(self) -> Any:
        """One row for each treatment and quantity."""
        import pandas as pd

        rows = {}
        for k, item in enumerate(self.treatments):
            suffix = f"[{k}]" if len(self.treatments) > 1 else ""
            for name, value in (
                ("mean effect", item.mean_effect),
                ("new experiment", item.predicted),
            ):
                rows[name + suffix] = [value.mean, value.sd, value.lower, value.upper]
            rows["spread (median)" + suffix] = [
                item.sigma_median,
                np.nan,
                item.sigma_lower,
                item.sigma_upper,
            ]
        return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "sd", "2.5%", "97.5%"])

    def __str__(self) -> str:
        table = self.to_frame().to_string(float_format="%.4g", na_rep="")
        return f"{self.n_experiments} earlier experiments\n{table}"


@dataclass(frozen=True, eq=False)
class Borrowing:
    """What the history contributes to one treatment's effect.

    Attributes
    ----------
    without : Estimate
        The current experiment alone.
    history : Estimate
        The history's prediction of the effect.
    combined : Estimate
        With the history.
    shrinkage : float
        Posterior mean of the history's share of the precision,
        ``1/(v + sigma_bar^2) / (1/(v + sigma_bar^2) + 1/se^2)``: 0 ignores it, 1 is it.
    rows : float
        Rows of this experiment that the history is worth: ``n (var without / var with - 1)``.
    conflict_p_value : float
        Two-sided, of the current estimate under the history's prediction.
    exchangeable_probability : float
        Posterior probability that the current effect belongs with the earlier ones.
    heterogeneity : Heterogeneity
        Cochran's Q of the earlier effects.
    leave_one_out : DataFrame
        For each earlier experiment, the history's prediction and the effect without it.
    """

    without: Estimate
    history: Estimate
    combined: Estimate
    shrinkage: float
    rows: float
    conflict_p_value: float
    exchangeable_probability: float
    heterogeneity: Heterogeneity
    leave_one_out: Any

    def __str__(self) -> str:
        q = self.heterogeneity
        lines = [
            f"without history      {self.without}",
            f"history predicts     {self.history}",
            f"with history         {self.combined}",
            f"shrinkage            {self.shrinkage:.2f}  (the history's share of the precision)",
            f"worth                {self.rows:,.0f} rows of this experiment",
            f"conflict p-value     {self.conflict_p_value:.2g}",
            f"exchangeable         {self.exchangeable_probability:.2f}",
            f"Cochran's Q          {q.q:.2f} on {q.dof} degrees of freedom, p = {q.p_value:.2g}",
            "",
            self.leave_one_out.to_string(float_format="%.4g"),
        ]
        return "\n".join(lines)


def borrowing_report(est: Any, alone: Any, history: History, treatment: int) -> Borrowing:
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
    combined, without = (effect_draws(e, treatment) for e in (est, alone))
    estimate, error = classical_effect(est.moments_, est.fit_intercept)
    p = conflict_p_value(grid.predictive, float(estimate[treatment]), float(error[treatment]))
    sigma = est.idata_.posterior["sigma_t_bar"].to_numpy()[..., treatment].ravel()
    prior_variance = np.interp(sigma, grid.sigma, grid.variance) + sigma**2
    share = without.var() / (without.var() + prior_variance)
    if est.robust_weight:
        share = share * est.idata_.posterior["exchangeable"].to_numpy().ravel()
    b, s = history.effects[:, treatment], history.errors[:, treatment]
    return Borrowing(
        without=Estimate.from_draws(without),
        history=Estimate.from_mixture(grid.predictive),
        combined=Estimate.from_draws(combined),
        shrinkage=float(share.mean()),
        rows=float(est.moments_.weight * (without.var() / combined.var() - 1.0)),
        conflict_p_value=p,
        exchangeable_probability=est.exchangeable_probability_,
        heterogeneity=cochran_q(b, s),
        leave_one_out=leave_one_out(est, history, treatment),
    )


def effect_draws(est: Any, treatment: int) -> Array:
    """Posterior draws of one treatment's effect, flat."""
    return np.asarray(est.idata_.posterior["beta_t"].to_numpy()[..., treatment].ravel())


def leave_one_out(est: Any, history: History, treatment: int) -> Any:
    """Leave each earlier experiment out: the prediction, and the effect by reweighting.

    The history enters the effect's posterior through its prediction only, so the draws are
    reweighted by the ratio of the two prior densities, exactly up to Monte Carlo error. With
    several treatments that holds for each history by itself. At most 1,000 experiments are shown.
    """
    import pandas as pd

    effect = effect_draws(est, treatment)
    vague = est._model.design.priors.beta_t
    w, loc, scale = est.robust_weight, vague.loc[treatment], vague.scale[treatment]

    def log_prior(predictive: Mixture) -> Array:
        near = predictive.log_pdf(effect)
        if not w:
            return near
        far = log_normal_density(effect, loc, scale, np)
        return np.asarray(np.logaddexp(np.log1p(-w) + near, np.log(w) + far))

    base = log_prior(integrate(history, treatment).predictive)
    rows = {}
    for j, name in enumerate(history.names[:MAX_LEAVE_ONE_OUT]):
        left = integrate(history, treatment, leave_out=j).predictive
        weight = np.exp(log_prior(left) - base)
        weight /= weight.sum()
        mean = float(weight @ effect)
        rows[name] = [*left.moments(), mean, float(np.sqrt(weight @ (effect - mean) ** 2))]
    columns = ["predicted", "predicted sd", "effect", "effect sd"]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return frame.rename_axis("without")

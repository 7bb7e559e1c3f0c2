"""From fitted estimators and draws to the numbers that are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skbayesiv._data import rows
from skbayesiv._data.checks import check_level
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import IVData, second_is_outcome
from skbayesiv._data.standardised import standardise
from skbayesiv._honesty.segments import within_segments
from skbayesiv._linear.two_stage import two_stage_effects
from skbayesiv._reports.coefficients import interval_reach
from skbayesiv._reports.fitted import effects_of, has_segments
from skbayesiv._sampling.libraries import load_jax
from skbayesiv._typing import Array
from skbayesiv.plotting._fitted import (
    Fitted,
    FittedPosterior,
    FittedSegments,
    FittedTwoStage,
    NamesColumns,
)

GRID_POINTS = 512


@dataclass(frozen=True)
class Interval:
    """An estimate with an interval.

    Attributes
    ----------
    name : str
    estimate, lower, upper : float
    """

    name: str
    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class Density:
    """Draws of one number, their density, mean and highest-density interval.

    Attributes
    ----------
    draws : ndarray of shape (N,)
    grid, height : ndarray of shape (G,)
        The density curve.
    mean, lower, upper : float
    level : float
        Probability of the interval from lower to upper.
    """

    draws: Array
    grid: Array
    height: Array
    mean: float
    lower: float
    upper: float
    level: float

    @classmethod
    def from_draws(cls, draws: ArrayLike, level: float) -> Density:
        """Summarise draws, flattened."""
        load_jax()
        from arviz_stats.base.array import array_stats

        check_level(level)
        flat = np.asarray(draws, dtype=float).ravel()
        lower, upper = array_stats.hdi(flat, prob=level)
        grid, height, _ = array_stats.kde(flat, grid_len=GRID_POINTS)
        return cls(flat, grid, height, float(flat.mean()), float(lower), float(upper), level)

    def at(self, x: float) -> float:
        """Height of the curve."""
        return float(np.interp(x, self.grid, self.height))


def effect_draws(est: FittedPosterior, treatment: int) -> Array:
    """Posterior draws of one treatment's effect, flat; with segments of the compliers' average."""
    check_posterior(est)
    return effects_of(est.idata_.posterior)[:, treatment]


def check_posterior(est: FittedPosterior) -> None:
    """Raise unless the estimator is fitted and holds draws of an effect."""
    check_is_fitted(est)
    if not hasattr(est, "idata_") or "beta_t" not in est.idata_.posterior:
        raise ValueError(
            "estimator must be a BayesianIV or HierarchicalBayesianIV fitted with t and z; "
            f"got {type(est).__name__}."
        )


def check_one(est: FittedPosterior, what: str) -> None:
    """Raise unless the posterior is of one experiment, which `what` needs."""
    check_posterior(est)
    posterior = est.idata_.posterior
    if has_segments(posterior):
        label = posterior["segment"].to_numpy()[0]
        raise ValueError(
            f"{what} is of one experiment; this fit has segments: draw one of them, as in "
            f"est.segment({str(label)!r}), or all of them by SegmentForestDisplay."
        )


def two_stage_interval(
    est: FittedPosterior, two_stage: FittedTwoStage | str | None, treatment: int, level: float
) -> Interval | None:
    """2SLS estimate and interval to compare with, from another fit or from the moments.

    Parameters
    ----------
    est : fitted BayesianIV
    two_stage : TwoStageLS, "auto" or None
        "auto" computes it, with classical standard errors, from the moments of `est`, with
        segments about their means.
    treatment : int
    level : float
    """
    if two_stage is None:
        return None
    if isinstance(two_stage, str):
        if two_stage != "auto":
            raise ValueError(
                f'two_stage must be a fitted TwoStageLS, "auto" or None; got {two_stage!r}.'
            )
        std, name = standardise(est.moments_), "2SLS"
        several = has_segments(est.idata_.posterior)
        if isinstance(est, FittedSegments) and several and est.fit_intercept:
            std = standardise(within_segments([*est.segment_moments_.values()]))
            name = "2SLS within segments"
        effects, errors = two_stage_effects(std, fit_intercept=est.fit_intercept)
        effect = float(effects[treatment])
        reach = float(interval_reach(np.inf, level) * errors[treatment])
        return Interval(name, effect, effect - reach, effect + reach)
    step = np.eye(len(two_stage.moments_.columns.treatments))[treatment]
    low, high = two_stage.effect_interval(np.zeros_like(step), step, level=level)
    effect = float(two_stage.coef_[treatment])
    return Interval(two_stage.method_.upper(), effect, float(low), float(high))


def earlier_intervals(est: FittedPosterior, treatment: int, level: float) -> tuple[Interval, ...]:
    """Effects of earlier experiments with normal intervals, which flatter the weak ones."""
    history = getattr(est, "_history", None)
    if history is None:
        return ()
    reach = interval_reach(np.inf, level) * history.std_errors[:, treatment]
    effects = history.effects[:, treatment]
    names = (f"{name} (weak)" if name in history.weak else name for name in history.names)
    return tuple(
        Interval(name, float(b), float(b - r), float(b + r))
        for name, b, r in zip(names, effects, reach, strict=True)
        if np.isfinite(b)
    )


def effect_label(est: Fitted, treatment: int) -> str:
    """Axis label: whose effect on what."""
    columns = est.moments_.columns
    return f"effect of {columns.treatments[treatment]} on {columns.outcome}"


def read_rows(est: NamesColumns | None, X: Any, t: Any, y: Any, z: Any) -> IVData:
    """Rows as `fit` reads them, also in column mode, without touching the estimator."""
    named = (getattr(est, name, None) for name in ("treatment", "instruments", "covariates"))
    t, y = second_is_outcome(t, y, z)
    return rows.read_rows(X, y, t, z, roles=Roles(*named))

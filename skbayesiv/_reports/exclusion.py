"""How far an instrument may act on the outcome directly before a conclusion breaks down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from math import inf
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone

from skbayesiv._columns import treatment_position
from skbayesiv._data.arrays import as_numbers
from skbayesiv._data.checks import check_level
from skbayesiv._data.sums import Sums
from skbayesiv._models.sampling import sample_model
from skbayesiv._reports.fitted import FittedIV, Refittable, check_has_treatment, has_segments
from skbayesiv._results.convergence import check_convergence
from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import fitted_estimator
from skbayesiv.diagnostics._report import Block, Paragraph, Report, Table

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
DOUBLINGS = 6
TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True)
class EffectPosterior:
    """Posterior of the effect at one scale of the direct effects: a row of the table."""

    mean: float
    sd: float
    lower: float
    upper: float
    p_positive: float

    @classmethod
    def from_draws(cls, draws: Array, level: float) -> EffectPosterior:
        """Summarise draws of shape (N,), with an equal-tailed interval."""
        lower, upper = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
        return cls(
            mean=float(draws.mean()),
            sd=float(draws.std()),
            lower=float(lower),
            upper=float(upper),
            p_positive=float((draws > 0).mean()),
        )

    @property
    def distance(self) -> float:
        """Distance of the interval from zero, negative inside it."""
        return max(self.lower, -self.upper)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ExclusionSensitivity(Report):
    """Posterior of an effect as direct effects of the instruments are allowed.

    Attributes
    ----------
    table : DataFrame
        Index exclusion_scale: prior standard deviation of the direct effects, in units of the
        outcome per unit of the instrument. Columns mean, sd, lower, upper and p_positive, the
        probability of a positive effect.
    breakdown : float
        Smallest scale at which the interval contains zero: 0 if it does under exact exclusion,
        infinite if no scale was found.
    level : float
        Probability of the intervals.
    treatment, outcome : str
    """

    table: pd.DataFrame
    breakdown: float
    level: float
    treatment: str
    outcome: str
    given: str

    def to_frame(self) -> pd.DataFrame:
        """Return `table`."""
        return self.table

    def _blocks(self) -> Iterator[Block]:
        title = Paragraph(
            f"Effect of {self.treatment} on {self.outcome} when the instruments may act directly, "
            f"{self.level:.4g} intervals"
        )
        yield title, Paragraph(self.given), Table(self.table, "%.4g"), Paragraph(self._conclusion())

    def _conclusion(self) -> str:
        if self.breakdown == 0.0:
            return "The interval contains 0 under exact exclusion."
        if self.breakdown == inf:
            return "The interval excludes 0 at every scale tried."
        return f"Breakdown: the interval first contains 0 at a scale of {self.breakdown:.3g}."


def exclusion_sensitivity(
    est: Any, scales: ArrayLike | None = None, *, level: float = 0.95, treatment: int | str = 0
) -> ExclusionSensitivity:
    """Posterior of the effect as the allowed direct effect of the instruments grows.

    The model is fitted again, from the moments, with each instrument's direct effect on the
    outcome drawn from N(0, scale^2) [1]_. The breakdown scale is found by bisection.

    Parameters
    ----------
    est : fitted BayesianIV or HierarchicalBayesianIV, or a search over one
    scales : array-like of shape (S,), optional
        Prior standard deviations of the direct effects, in units of the outcome per unit of the
        instrument. By default up to 0.6 times the largest effect of an instrument on the outcome.
    level : float, default=0.95
        Probability of the equal-tailed intervals.
    treatment : int or str, default=0
        Position or name of the treatment, when there are several.

    Returns
    -------
    ExclusionSensitivity

    References
    ----------
    .. [1] Conley, T. G., Hansen, C. B. and Rossi, P. E. (2012). Plausibly exogenous. Review of
       Economics and Statistics 94, 260-272.

    Examples
    --------
    >>> from skbayesiv import BayesianIV, exclusion_sensitivity
    >>> from skbayesiv.datasets import load_push_experiment
    >>> X, t, y, z = load_push_experiment(return_X_t_y_z=True)
    >>> est = BayesianIV(random_state=0).fit(X, t, y, z=z)
    >>> result = exclusion_sensitivity(est, [0, 0.5, 1, 2])
    >>> 1 < result.breakdown < 2
    True
    """
    est = fitted_estimator(est)
    if not isinstance(est, Refittable):
        raise ValueError(
            "est must be a fitted BayesianIV or HierarchicalBayesianIV, whose exclusion_scale is "
            f"varied; got {type(est).__name__}."
        )
    check_has_treatment(est)
    tree = est.idata_
    if has_segments(tree.posterior) or "log_prior" not in tree.children:
        raise ValueError("est must be of an experiment by itself; got a fit with segments.")
    check_level(level)
    c = est.moments_.columns
    at = treatment_position(treatment, c.treatments)
    chosen = _default_scales(est) if scales is None else _checked(scales)
    refit = cache(lambda scale: EffectPosterior.from_draws(_refit(est, scale)[:, at], level))
    rows = [asdict(refit(scale)) for scale in chosen]
    index = pd.Index(chosen, name="exclusion_scale")
    return ExclusionSensitivity(
        table=pd.DataFrame(rows, index=index),
        breakdown=_breakdown(lambda scale: refit(scale).distance, chosen),
        level=level,
        treatment=c.treatments[at],
        outcome=c.outcome,
        given=c.given,
    )


def _checked(scales: ArrayLike) -> list[float]:
    values = np.asarray(as_numbers(scales, "scales"), dtype=float)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"scales must be finite numbers, none below 0; got {scales!r}.")
    return [float(value) for value in np.unique(values)]


def _default_scales(est: FittedIV) -> list[float]:
    through = est.first_stage_coef_[:, : est.n_instruments_].T @ est.coef_[: est.n_treatments_]
    largest = float(np.abs(through).max())
    return [float(f"{share * largest:.2g}") for share in SHARES]


def _refit(est: Refittable, scale: float) -> Array:
    """Draws of the effects (N, K) at one scale, with one seed for all scales.

    No fit, whose warnings of the data and the parameters `est` has given.
    """
    seed = int(est.random_state) if isinstance(est.random_state, Integral) else 0
    new = clone(est).set_params(exclusion_scale=scale, random_state=seed)
    sums = Sums(est.moments_, getattr(est, "fourth_moments_", None))
    draws, posterior = sample_model(new._build_model(sums), new.backend, new._settings())
    effects = posterior.values["beta_t"]
    shaped = effects.reshape(*draws.position.shape[:2], -1)
    check_convergence(draws, shaped, tune=new.tune, target_accept=new.target_accept)
    return effects


def _breakdown(distance: Callable[[float], float], scales: list[float]) -> float:
    """First root of the distance: bracketed by the scales, or by doubling the last; bisected."""
    low = 0.0
    if distance(low) <= 0.0:
        return 0.0
    last = scales[-1] or 1.0
    beyond = [last * 2.0**k for k in range(1, DOUBLINGS + 1)]
    for high in [scale for scale in scales if scale > 0.0] + beyond:
        if distance(high) <= 0.0:
            break
        low = high
    else:
        return inf
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if distance(middle) > 0.0 else (low, middle)
    inside, outside = -distance(high), distance(low)
    return low + (high - low) * outside / (outside + inside)

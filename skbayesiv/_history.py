"""Earlier experiments: effects b_j with standard errors s_j, and what they predict.

    beta_j ~ N(beta_bar, sigma_bar^2),  b_j ~ N(beta_j, s_j^2),
    beta_bar ~ N(loc, scale^2),  sigma_bar ~ half-Cauchy, half-normal or half-t

Given sigma_bar everything is normal: b_j ~ N(beta_bar, sigma_bar^2 + s_j^2), so that
beta_bar | b is N(m, v) and a new effect is N(m, v + sigma_bar^2). What is left is one
dimension, integrated on a grid of log sigma_bar. Each treatment has a history of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skbayesiv import _covariance as cov

Array = NDArray[np.float64]

SIGMA_BAR_PRIORS = ("half-cauchy", "half-normal", "half-t")
GRID_POINTS = 1201
LOG_RANGE = 18.0
NEGLIGIBLE = 45.0


@dataclass(frozen=True, eq=False)
class History:
    """Earlier effects and the hyper-priors, for J experiments and K treatments.

    Attributes
    ----------
    effects, errors : ndarray of shape (J, K)
        Not a number where an experiment did not measure a treatment.
    names : tuple of str
        Of the experiments.
    loc, scale : ndarray of shape (K,)
        Normal prior of beta_t_bar.
    sigma_scale : ndarray of shape (K,)
        Scale of sigma_t_bar's prior.
    kind : {"half-cauchy", "half-normal", "half-t"}
    """

    effects: Array
    errors: Array
    names: tuple[str, ...]
    loc: Array
    scale: Array
    sigma_scale: Array
    kind: str

    @property
    def n_experiments(self) -> int:
        """J."""
        return len(self.names)


def read_history(
    effects: Any, std_errors: Any, n_treatments: int
) -> tuple[Array, Array, tuple[str, ...]]:
    """Check earlier effects and errors; return both of shape (J, K), and the names."""
    index = getattr(effects, "index", None)
    b, s = _table(effects, "effects"), _table(std_errors, "std_errors")
    if b.shape != s.shape:
        raise ValueError(
            f"std_errors must have the shape of effects {b.shape}; got shape {s.shape}."
        )
    if b.shape[0] and b.shape[1] != n_treatments:
        raise ValueError(
            f"effects must have one column for each treatment ({n_treatments}); got {b.shape[1]}."
        )
    if not b.shape[0]:
        b = s = np.empty((0, n_treatments))
    if (np.isnan(b) != np.isnan(s)).any():
        raise ValueError(
            "effects and std_errors must be missing (NaN) in the same places: an effect without "
            "its standard error, or the reverse, says nothing."
        )
    if np.isinf(b).any() or not (np.isnan(s) | (np.isfinite(s) & (s > 0))).all():
        raise ValueError(
            "effects must be finite and std_errors positive and finite (or NaN where an experiment "
            f"did not measure a treatment); got effects {b.tolist()} and std_errors {s.tolist()}."
        )
    if index is None or callable(index):  # a list's `index` is a method
        index = range(b.shape[0])
    names = tuple(str(name) for name in index)
    return b, s, names


def _table(value: Any, name: str) -> Array:
    if value is None:
        return np.empty((0, 1))
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers; got {value!r}.") from error
    if array.ndim > 2 or array.ndim == 0:
        raise ValueError(f"{name} must have shape (J,) or (J, K); got shape {array.shape}.")
    return array.reshape(array.shape[0], -1) if array.size else np.empty((0, 1))


def automatic_scales(effects: Array, errors: Array) -> tuple[Array, Array]:
    """Default scales of beta_t_bar and sigma_t_bar, in the units of the effects.

    2.5 times the root mean square of the effects with their errors, and the root of the effects'
    variance plus the mean squared error. Both are equivariant to the units.
    """
    size = np.sqrt(np.nanmean(effects**2 + errors**2, axis=0))
    spread = np.sqrt(np.nanvar(effects, axis=0) + np.nanmean(errors**2, axis=0))
    return 2.5 * size, spread


def log_sigma_prior(kind: str, log_sigma: Any, scale: Any, xp: Any) -> Any:
    """Log density of sigma_bar under its prior, given log sigma_bar."""
    if kind == "half-cauchy":
        return cov.log_half_cauchy(log_sigma, scale, xp)
    if kind == "half-t":
        return cov.log_half_t(log_sigma, scale, xp)
    ratio = xp.exp(log_sigma) / scale
    return 0.5 * math.log(2.0 / math.pi) - xp.log(scale) - 0.5 * ratio * ratio


@dataclass(frozen=True, eq=False)
class GivenSigma:
    """History of one treatment at given values of sigma_bar, each of shape (...)."""

    mean: Any
    variance: Any
    log_evidence: Any


def given_sigma(
    sigma2: Any, b: Any, s2: Any, known: Any, loc: Any, scale: Any, xp: Any
) -> GivenSigma:
    """beta_bar | b, sigma_bar ~ N(mean, variance), and log p(b | sigma_bar).

    Parameters
    ----------
    sigma2 : array of shape (...)
        sigma_bar^2.
    b, s2, known : arrays of shape (J,)
        Effects about `loc`, squared errors, and 1 where measured, else 0.
    """
    v = sigma2[..., None] + s2
    weight = known / v
    precision = 1.0 / scale**2 + weight.sum(-1)
    total = (weight * b).sum(-1)
    # log N(b; loc, V + scale^2 11'), by the matrix determinant lemma and Sherman-Morrison.
    log_det = (known * xp.log(v)).sum(-1) + xp.log(precision) + 2.0 * xp.log(scale)
    quadratic = (weight * b * b).sum(-1) - total * total / precision
    const = known.sum(-1) * math.log(2 * math.pi)
    return GivenSigma(
        loc + total / precision, 1.0 / precision, -0.5 * (log_det + quadratic + const)
    )


@dataclass(frozen=True, eq=False)
class Mixture:
    """A finite mixture of normals: weights, means and variances of shape (G,)."""

    weight: Array
    mean: Array
    variance: Array

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation."""
        centre = float(self.weight @ self.mean)
        return centre, math.sqrt(self.weight @ (self.variance + (self.mean - centre) ** 2))

    def cdf(self, x: ArrayLike) -> Array:
        """Distribution function."""
        from scipy.special import ndtr

        z = (np.asarray(x, dtype=float)[..., None] - self.mean) / np.sqrt(self.variance)
        return np.asarray(ndtr(z) @ self.weight)

    def log_pdf(self, x: ArrayLike) -> Array:
        """Log density."""
        from scipy.special import logsumexp

        d = np.asarray(x, dtype=float)[..., None] - self.mean
        terms = -0.5 * (d * d / self.variance + np.log(2 * np.pi * self.variance))
        return np.asarray(logsumexp(terms, axis=-1, b=self.weight))

    def quantile(self, p: float) -> float:
        """Inverse of the distribution function, by bisection."""
        sd = np.sqrt(self.variance)
        low, high = float((self.mean - 40 * sd).min()), float((self.mean + 40 * sd).max())
        for _ in range(200):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.cdf(middle) < p else (low, middle)
        return 0.5 * (low + high)

    def widen(self, variance: float) -> Mixture:
        """Convolve with a centred normal."""
        return Mixture(self.weight, self.mean, self.variance + variance)


@dataclass(frozen=True, eq=False)
class Integrated:
    """One treatment's history with sigma_bar on a grid.

    Attributes
    ----------
    sigma : ndarray of shape (G,)
    weight : ndarray of shape (G,)
        Posterior probability of each grid point given the history.
    mean, variance : ndarray of shape (G,)
        Of beta_bar given sigma_bar and the history.
    """

    sigma: Array
    weight: Array
    mean: Array
    variance: Array

    @property
    def beta_bar(self) -> Mixture:
        """Posterior of the mean effect."""
        return Mixture(self.weight, self.mean, self.variance)

    @property
    def predictive(self) -> Mixture:
        """Prediction of the effect in a new experiment."""
        return Mixture(self.weight, self.mean, self.variance + self.sigma**2)

    def sigma_quantile(self, p: float) -> float:
        """Quantile of sigma_bar."""
        return float(np.interp(p, np.cumsum(self.weight) - 0.5 * self.weight, self.sigma))


def integrate(history: History, treatment: int, leave_out: int | None = None) -> Integrated:
    """Put sigma_bar of one treatment on a grid that covers its posterior given the history."""
    keep = np.arange(history.n_experiments) != leave_out
    b, s = history.effects[keep, treatment], history.errors[keep, treatment]
    measured = ~np.isnan(b)
    b, s = b[measured], s[measured]
    loc, scale = history.loc[treatment], history.scale[treatment]
    prior_scale = history.sigma_scale[treatment]

    def evaluate(log_sigma: Array) -> tuple[Array, GivenSigma]:
        parts = [
            given_sigma(np.exp(2 * part), b - loc, s**2, np.ones_like(b), loc, scale, np)
            for part in np.array_split(log_sigma, max(1, len(b) * len(log_sigma) // 4_000_000))
        ]
        given = GivenSigma(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("mean", "variance", "log_evidence")
            )
        )
        prior = log_sigma_prior(history.kind, log_sigma, prior_scale, np) + log_sigma
        return given.log_evidence + prior, given

    centre = math.log(prior_scale)
    grid = np.linspace(centre - LOG_RANGE, centre + LOG_RANGE, GRID_POINTS)
    for _ in range(3):
        value, _ = evaluate(grid)
        inside = np.flatnonzero(value > value.max() - NEGLIGIBLE)
        first, last = max(inside[0] - 1, 0), min(inside[-1] + 1, len(grid) - 1)
        grid = np.linspace(grid[first], grid[last], GRID_POINTS)
    value, given = evaluate(grid)
    weight = np.exp(value - value.max())
    return Integrated(np.exp(grid), weight / weight.sum(), given.mean, given.variance)


def conflict_p_value(predictive: Mixture, estimate: float, std_error: float) -> float:
    """Two-sided prior-data conflict p-value (Evans and Moshonov 2006).

    The probability, under the prediction of a new experiment's estimate, of one at least as far
    in its tail as the estimate at hand.
    """
    below = float(predictive.widen(std_error**2).cdf(estimate))
    return 2.0 * min(below, 1.0 - below)


@dataclass(frozen=True)
class Heterogeneity:
    """Cochran's Q of the earlier effects.

    Attributes
    ----------
    q : float
        sum w_j (b_j - b_w)^2 with w_j = 1 / s_j^2.
    dof : int
    p_value : float
    i2 : float
        Share of the variation that is not sampling error, max(0, 1 - dof / q).
    """

    q: float
    dof: int
    p_value: float
    i2: float


def cochran_q(effects: Array, errors: Array) -> Heterogeneity:
    """Cochran's (1954) test that all experiments have the same effect."""
    from scipy.stats import chi2

    known = ~np.isnan(effects)
    b, w = effects[known], errors[known] ** -2.0
    dof = max(len(b) - 1, 0)
    if not dof:
        return Heterogeneity(0.0, dof, float("nan"), 0.0)
    q = float((w * (b - (w @ b) / w.sum()) ** 2).sum())
    i2 = max(0.0, 1.0 - dof / q) if q else 0.0
    return Heterogeneity(q, dof, float(chi2.sf(q, dof)), i2)

"""What earlier experiments predict: everything given sigma_bar, and sigma_bar on a grid.

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

from skbayesiv._models.history.sums import Sums, in_chunks
from skbayesiv._models.history.table import History
from skbayesiv._models.parts.priors import log_normal_density
from skbayesiv._models.parts.scales import SCALE_PRIORS, ScalePrior
from skbayesiv._typing import Array

GRID_POINTS = 1201
LOG_RANGE = 18.0
NEGLIGIBLE = 45.0
CHUNK_FLOATS = 4_000_000


@dataclass(frozen=True, eq=False)
class GivenSigma:
    """History of one treatment at given values of sigma_bar, each of shape (...)."""

    mean: Any
    variance: Any
    log_evidence: Any


def given_sigma(sums: Sums, loc: Any, scale: Any, xp: Any) -> GivenSigma:
    """beta_bar | b, sigma_bar ~ N(mean, variance), and log p(b | sigma_bar).

    With w_j = 1 / (sigma_bar^2 + s_j^2), W = sum w_j and b_w = sum w_j b_j / W, the covariance
    of b is diag(1 / w) + scale^2 11'. Its determinant is prod (1 / w_j) (1 + scale^2 W), and the
    quadratic form splits into squares, which do not cancel when errors are tiny:

        sum w_j (b_j - b_w)^2 + (b_w - loc)^2 / (scale^2 + 1 / W).

    Parameters
    ----------
    sums : Sums of shape (...)
        Of effects about `loc`.
    """
    shrunk = 1.0 + scale**2 * sums.total
    variance = scale**2 / shrunk
    quadratic = sums.scatter + sums.centre * sums.pull / shrunk
    log_det = sums.log_det + xp.log(shrunk)
    const = sums.n * math.log(2 * math.pi)
    evidence = -0.5 * (log_det + quadratic + const)
    return GivenSigma(loc + variance * sums.pull, variance, evidence)


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of normals on a grid: weights, means and variances of shape (G,).

    Attributes
    ----------
    weight, mean, variance : ndarray of shape (G,)
    order : float
        The distribution that the grid stands for has moments below this order only.
    """

    weight: Array
    mean: Array
    variance: Array
    order: float = math.inf

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation: not a number and infinite where they do not exist."""
        centre = float(self.weight @ self.mean) if self.order > 1.0 else math.nan
        if self.order <= 2.0:
            return centre, math.inf
        return centre, math.sqrt(self.weight @ (self.variance + (self.mean - centre) ** 2))

    def cdf(self, x: ArrayLike) -> Array:
        """Distribution function."""
        from scipy.special import ndtr

        return np.asarray(ndtr(self._standardised(x)) @ self.weight)

    def sf(self, x: ArrayLike) -> Array:
        """Survival function, exact also where it is tiny."""
        from scipy.special import ndtr

        return np.asarray(ndtr(-self._standardised(x)) @ self.weight)

    def _standardised(self, x: ArrayLike) -> Array:
        d = np.asarray(x, dtype=float)[..., None] - self.mean
        return np.asarray(d / np.sqrt(self.variance))

    def log_pdf(self, x: ArrayLike) -> Array:
        """Log density at x of shape (N,)."""
        from scipy.special import logsumexp

        x = np.asarray(x, dtype=float)
        parts = [
            logsumexp(
                log_normal_density(part[:, None], self.mean, np.sqrt(self.variance), np),
                axis=-1,
                b=self.weight,
            )
            for part in np.array_split(x, 1 + x.size * self.mean.size // CHUNK_FLOATS)
        ]
        return np.concatenate(parts)

    def quantile(self, p: float) -> float:
        """Inverse of the distribution function, by bisection."""
        sd = np.sqrt(self.variance)
        low, high = float((self.mean - 40 * sd).min()), float((self.mean + 40 * sd).max())
        for _ in range(200):
            middle = 0.5 * (low + high)
            if middle in (low, high):
                break
            low, high = (middle, high) if self.cdf(middle) < p else (low, middle)
        return 0.5 * (low + high)

    def widen(self, variance: float) -> Mixture:
        """Convolve with a centred normal."""
        return Mixture(self.weight, self.mean, self.variance + variance, self.order)


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
    log_evidence : float
        log p(b).
    order : float
        sigma_bar has moments below this order only.
    """

    sigma: Array
    weight: Array
    mean: Array
    variance: Array
    log_evidence: float
    order: float

    @property
    def beta_bar(self) -> Mixture:
        """Posterior of the mean effect."""
        return Mixture(self.weight, self.mean, self.variance)

    @property
    def predictive(self) -> Mixture:
        """Prediction of the effect in a new experiment."""
        return Mixture(self.weight, self.mean, self.variance + self.sigma**2, self.order)

    def variance_at(self, sigma: Array) -> Array:
        """Variance of beta_bar given sigma_bar."""
        return np.interp(sigma, self.sigma, self.variance)

    def draw(self, n_draws: int, generator: np.random.Generator) -> NDArray[np.intp]:
        """Grid points, by their posterior probabilities."""
        return generator.choice(len(self.weight), n_draws, p=self.weight)

    def sigma_quantile(self, p: ArrayLike) -> Array:
        """Quantiles of sigma_bar."""
        below = np.cumsum(self.weight) - 0.5 * self.weight
        return np.exp(np.interp(np.asarray(p, dtype=float), below, np.log(self.sigma)))


@dataclass(frozen=True)
class SigmaPosterior:
    """Posterior of one treatment's sigma_bar, from the sums over any of the experiments.

    Attributes
    ----------
    loc, scale : float
        Normal prior of beta_bar.
    sigma_scale : float
    kind : ScalePrior
        Prior of sigma_bar.
    """

    loc: float
    scale: float
    sigma_scale: float
    kind: ScalePrior

    @classmethod
    def of(cls, history: History, treatment: int) -> SigmaPosterior:
        """Under the history's hyper-priors."""
        return cls(
            float(history.loc[treatment]),
            float(history.scale[treatment]),
            float(history.sigma_scale[treatment]),
            SCALE_PRIORS[history.kind],
        )

    def log_density(self, log_sigma: Array, sums: Sums) -> Array:
        """Log density of log sigma_bar, up to p(b)."""
        evidence = given_sigma(sums, self.loc, self.scale, np).log_evidence
        prior = self.kind.log_pdf(log_sigma, self.sigma_scale, np) + log_sigma
        return np.asarray(evidence + prior)

    def on_grid(self, log_sigma: Array, sums: Sums) -> Integrated:
        """Weights on an equally spaced grid that covers it."""
        value = self.log_density(log_sigma, sums)
        given = given_sigma(sums, self.loc, self.scale, np)
        weight = np.exp(value - value.max())
        step = log_sigma[1] - log_sigma[0]
        evidence = float(value.max() + np.log(weight.sum() * step))
        # Far out p(sigma_bar | b) falls like the prior times sigma_bar^-J.
        order = self.kind.order + float(sums.n)
        weight = weight / weight.sum()
        return Integrated(np.exp(log_sigma), weight, given.mean, given.variance, evidence, order)


def covered(value: Array) -> slice:
    """Where on a grid a log density is not negligible, and a point more on each side."""
    inside = np.flatnonzero(value > value.max() - NEGLIGIBLE)
    return slice(max(inside[0] - 1, 0), min(inside[-1] + 2, len(value)))


def integrate_summaries(history: History, treatment: int) -> Integrated:
    """Put sigma_bar of one treatment on a grid that covers its posterior given the history."""
    posterior = SigmaPosterior.of(history, treatment)
    experiments = history.earlier[treatment]
    grid = np.linspace(*whole_range(history, treatment), GRID_POINTS)
    for _ in range(3):
        inside = grid[covered(posterior.log_density(grid, in_chunks(experiments, grid)))]
        grid = np.linspace(inside[0], inside[-1], GRID_POINTS)
    return posterior.on_grid(grid, in_chunks(experiments, grid))


def whole_range(history: History, treatment: int) -> tuple[float, float]:
    """Where log sigma_bar can be: it lies about its prior, the errors or the effects' range."""
    b, s = history.effects[:, treatment], history.std_errors[:, treatment]
    scale, measured = history.sigma_scale[treatment], ~np.isnan(b)
    low = math.log(s[measured].min(initial=scale))
    high = math.log(max(scale, np.ptp(b[measured]) if measured.any() else 0.0))
    return low - LOG_RANGE, high + LOG_RANGE


def conflict_p_value(predictive: Mixture, estimate: float, std_error: float) -> float:
    """Two-sided prior-data conflict p-value (Evans and Moshonov 2006).

    The probability, under the prediction of a new experiment's estimate, of one at least as far
    in its tail as the estimate at hand.
    """
    wide = predictive.widen(std_error**2)
    return 2.0 * min(float(wide.cdf(estimate)), float(wide.sf(estimate)))


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

    def __str__(self) -> str:
        if not self.dof:
            return "needs two experiments"
        return f"{self.q:.2f} on {self.dof} degrees of freedom, p = {self.p_value:.2g}"


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

"""A hierarchical prior over either likelihood: density with log sigma_bar, exact rest.

Given sigma_bar the prior of beta_t is normal, N(m, v + sigma_bar^2), so beta_t_bar integrates
out; NUTS sees the current experiment's coordinates and then log sigma_bar. With a
robust prior (Schmidli et al. 2014) beta_t comes from that prior or, with probability `robust`,
from a vague one: a mixture of two such densities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skbayesiv._collapsed import log_likelihood_and_prior
from skbayesiv._history import History, given_sigma, log_sigma_prior

Array = NDArray[np.float64]

HISTORY_BUCKETS = (8, 64, 512, 4096)


@dataclass(frozen=True)
class HierarchicalShape:
    """What is static: the current experiment's shape, the hyper-prior, robust or not.

    `given_prior` is the current experiment's log density of its `current.dim` coordinates under
    a normal prior of the effects; log sigma_bar follows these coordinates.
    """

    current: Any
    sigma_bar_prior: str
    robust: bool
    given_prior: Callable[..., Any] = log_likelihood_and_prior


class HierarchicalArrays(NamedTuple):
    """Numbers of the problem in standardised units; J (padded) experiments, K treatments."""

    current: Any  # of the current experiment, with its prior's loc and precision
    effects: Any  # (K, J), about the prior mean, 0 where not measured
    variance: Any  # (K, J) squared standard errors, 1 where not measured
    known: Any  # (K, J) 1 where measured
    loc: Any  # (K,)
    scale: Any  # (K,)
    sigma_scale: Any  # (K,)
    robust: Any  # () prior probability of the vague component


def effect_units(design: Any) -> Array:
    """Units of beta_t: raw effect = unit * standardised effect, shape (K,)."""
    return np.asarray(design.unit[list(design.shape.effects)])


def hierarchical_arrays(design: Any, history: History, robust: float) -> HierarchicalArrays:
    """Bring the history to standardised units and pad it to a few lengths."""
    unit = effect_units(design)
    b, s = (history.effects / unit).T, (history.errors / unit).T
    known = ~np.isnan(b)
    loc = history.loc / unit
    length = next((n for n in HISTORY_BUCKETS if b.shape[1] <= n), b.shape[1])
    pad = ((0, 0), (0, length - b.shape[1]))
    return HierarchicalArrays(
        current=design.arrays,
        effects=np.pad(np.where(known, b - loc[:, None], 0.0), pad),
        variance=np.pad(np.where(known, s**2, 1.0), pad, constant_values=1.0),
        known=np.pad(known.astype(float), pad),
        loc=loc,
        scale=history.scale / unit,
        sigma_scale=history.sigma_scale / unit,
        robust=np.float64(robust),
    )


def log_density(shape: HierarchicalShape, u: Any, arrays: HierarchicalArrays) -> Any:
    """Log posterior density of (covariance's coordinates, log sigma_bar)."""
    import jax.numpy as jnp

    return _log_density(shape, u, arrays, jnp)


def _log_density(shape: HierarchicalShape, u: Any, arrays: HierarchicalArrays, xp: Any) -> Any:
    log_sigma = [u[shape.current.dim + k] for k in range(shape.current.n_treatments)]
    loc, precision, total = [], [], 0.0
    for k, value in enumerate(log_sigma):
        given = _given(arrays, k, value, xp)
        loc.append(given.mean)
        precision.append(1.0 / (given.variance + xp.exp(2.0 * value)))
        prior = log_sigma_prior(shape.sigma_bar_prior, value, arrays.sigma_scale[k], xp)
        total = total + given.log_evidence + prior + value
    borrowed = shape.given_prior(shape.current, u, arrays.current, loc, precision, xp)
    if not shape.robust:
        return total + borrowed
    vague = _vague(shape, u, arrays, xp)
    w = arrays.robust
    return total + xp.logaddexp(xp.log1p(-w) + borrowed, xp.log(w) + vague)


def _given(arrays: HierarchicalArrays, k: int, log_sigma: Any, xp: Any) -> Any:
    return given_sigma(
        xp.exp(2.0 * log_sigma),
        arrays.effects[k],
        arrays.variance[k],
        arrays.known[k],
        arrays.loc[k],
        arrays.scale[k],
        xp,
    )


def _vague(shape: HierarchicalShape, u: Any, arrays: HierarchicalArrays, xp: Any) -> Any:
    """Log density under the vague prior of beta_t, BayesianIV's own."""
    loc = [arrays.current.loc[j] for j in shape.current.effects]
    precision = [arrays.current.precision[j] for j in shape.current.effects]
    return shape.given_prior(shape.current, u, arrays.current, loc, precision, xp)


@dataclass(frozen=True, eq=False)
class EffectPriors:
    """Prior of beta_t at each of N draws, in standardised units.

    Attributes
    ----------
    loc, precision : ndarray of shape (N, K)
        Of the component that the draw came from.
    mean, variance : ndarray of shape (N, K)
        Of beta_t_bar given the history alone.
    sigma : ndarray of shape (N, K)
    exchangeable : ndarray of shape (N,)
        Whether the draw came from the history's component rather than the vague one.
    """

    loc: Array
    precision: Array
    mean: Array
    variance: Array
    sigma: Array
    exchangeable: NDArray[np.bool_]


def effect_priors(
    shape: HierarchicalShape,
    arrays: HierarchicalArrays,
    position: Array,
    generator: np.random.Generator,
) -> EffectPriors:
    """Prior of beta_t given each draw of sigma_bar; in a robust prior, the component too."""
    u = list(position.T)
    log_sigma = position[:, shape.current.dim :]
    given = [_given(arrays, k, log_sigma[:, k], np) for k in range(log_sigma.shape[1])]
    mean = np.stack([g.mean for g in given], axis=-1)
    variance = np.stack([g.variance for g in given], axis=-1)
    sigma = np.exp(log_sigma)
    loc, precision = mean, 1.0 / (variance + sigma**2)
    exchangeable = np.ones(len(position), dtype=bool)
    if shape.robust:
        history = shape.given_prior(
            shape.current, u, arrays.current, list(loc.T), list(precision.T), np
        )
        vague = _vague(shape, u, arrays, np)
        odds = np.log(arrays.robust) - np.log1p(-arrays.robust) + vague - history
        exchangeable = generator.uniform(size=len(position)) >= 1.0 / (1.0 + np.exp(-odds))
        at = list(shape.current.effects)
        keep = exchangeable[:, None]
        loc = np.where(keep, loc, arrays.current.loc[at])
        precision = np.where(keep, precision, arrays.current.precision[at])
    return EffectPriors(loc, precision, mean, variance, sigma, exchangeable)


def draw_hyperparameters(
    prior: EffectPriors,
    arrays: HierarchicalArrays,
    beta_t: Array,
    n_experiments: int,
    generator: np.random.Generator,
) -> dict[str, Array]:
    """Exact draws of beta_t_bar | beta_t, b and of beta_j | beta_t_bar, b_j, standardised.

    beta_t_bar | b ~ N(m, v) and beta_t ~ N(beta_t_bar, sigma_bar^2), when it is exchangeable.

    Returns
    -------
    dict with ``beta_t_bar`` (N, K), ``sigma_t_bar`` (N, K), ``beta_j`` (N, J, K)
    """
    link = np.where(prior.exchangeable[:, None], prior.sigma**-2.0, 0.0)
    precision = 1.0 / prior.variance + link
    mean = (prior.mean / prior.variance + link * beta_t) / precision
    beta_bar = mean + generator.standard_normal(mean.shape) / np.sqrt(precision)
    out = {"beta_t_bar": beta_bar, "sigma_t_bar": prior.sigma}
    j = slice(0, n_experiments)
    known, s2 = arrays.known[:, j].T, arrays.variance[:, j].T
    b = arrays.effects[:, j].T + arrays.loc
    within, between = known / s2, prior.sigma[:, None, :] ** -2.0
    mean_j = (within * b + between * beta_bar[:, None, :]) / (within + between)
    noise = generator.standard_normal(mean_j.shape)
    out["beta_j"] = mean_j + noise / np.sqrt(within + between)
    return out

"""Draws -> the posterior with a history: which component, the effects' prior, the hierarchy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbayesiv._models.history.density import (
    HierarchicalArrays,
    HierarchicalShape,
    given_log_sigma,
    hierarchical_arrays,
    hierarchical_shape,
    log_borrowed,
    log_vague,
)
from skbayesiv._models.history.evidence import probability_of_first
from skbayesiv._models.history.integrated import integrate
from skbayesiv._models.history.sums import in_chunks
from skbayesiv._models.history.table import History
from skbayesiv._models.parts.model import EffectModel, own_prior
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.priors import Normal, log_normal_density
from skbayesiv._models.parts.scales import SCALE_PRIORS
from skbayesiv._typing import Array, Values

MAX_BETA_J = 20_000_000
DRAWS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Chosen:
    """N draws of the coordinates that NUTS saw, each of one component of the prior.

    Attributes
    ----------
    u : ndarray of shape (N, current.dim)
    log_sigma : ndarray of shape (N, K)
    exchangeable : ndarray of shape (N,)
        Whether the draw is of the history's component rather than the vague one.
    probability : float
        Posterior probability of the history's component.
    """

    u: Array
    log_sigma: Array
    exchangeable: NDArray[np.bool_]
    probability: float


def choose_component(
    shape: HierarchicalShape,
    arrays: HierarchicalArrays,
    history: History,
    unit: Array,
    robust_weight: float,
    position: Array,
    generator: np.random.Generator,
) -> Chosen:
    """Join both components of a robust prior with their posterior probabilities.

    Under the vague component sigma_bar is independent of the current experiment, so that its
    evidence is p(b) times that of the current experiment alone, and its sigma_bar is drawn from
    the history. Each draw is of either component with the same probability, independently.

    Parameters
    ----------
    history : History
        In the data's units.
    unit : ndarray of shape (K,)
        Raw effect = unit * standardised effect.
    robust_weight : float
        Prior probability of the vague component.
    position : ndarray of shape (N, dim) or, with a vague component, (N, dim + current.dim)
    """
    d = shape.current.dim
    near, vague = position[:, : shape.dim], position[:, shape.dim :]
    if not shape.mixture:
        return Chosen(near[:, :d], near[:, d:], np.ones(len(near), dtype=bool), 1.0)
    grids = [integrate(history, k) for k in range(near.shape[1] - d)]
    # p(b) is a density of standardised effects here, of raw ones in the grids.
    known = np.array([experiments.n for experiments in history.earlier])
    evidence = sum(grid.log_evidence for grid in grids) + known @ np.log(unit)
    log_odds = np.log1p(-robust_weight) - np.log(robust_weight) - evidence
    first = _in_parts(log_borrowed, shape, arrays), near
    second = _in_parts(log_vague, shape, arrays), vague
    probability = probability_of_first(log_odds, first, second, generator)
    exchangeable = generator.uniform(size=len(near)) < probability
    sigma = np.stack([grid.sigma[grid.draw(len(near), generator)] for grid in grids], axis=-1)
    log_sigma = np.log(sigma / unit)
    keep = exchangeable[:, None]
    return Chosen(
        np.where(keep, near[:, :d], vague),
        np.where(keep, near[:, d:], log_sigma),
        exchangeable,
        probability,
    )


def _in_parts(
    density: Callable[..., Any], shape: HierarchicalShape, arrays: HierarchicalArrays
) -> Callable[[Array], Array]:
    """Density at draws (N, dim), some of them at a time."""

    def evaluate(draws: Array) -> Array:
        parts = np.array_split(draws, 1 + len(draws) // DRAWS_AT_ONCE)
        return np.concatenate([density(shape, part.T, arrays, np) for part in parts])

    return evaluate


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Hierarchical prior at each of N draws, in standardised units, each of shape (N, K).

    Attributes
    ----------
    mean, variance
        Of beta_t_bar given the history alone.
    sigma
    loc, precision
        Of the effect, under the component that the draw is of.
    """

    mean: Array
    variance: Array
    sigma: Array
    loc: Array
    precision: Array


def effect_priors(
    shape: HierarchicalShape, arrays: HierarchicalArrays, chosen: Chosen
) -> Hierarchy:
    """Prior of beta_t given each draw of sigma_bar and the component."""
    mean, variance = np.empty_like(chosen.log_sigma), np.empty_like(chosen.log_sigma)
    for at in np.array_split(np.arange(len(mean)), 1 + len(mean) // DRAWS_AT_ONCE):
        for k in range(mean.shape[1]):
            given = given_log_sigma(arrays, k, chosen.log_sigma[at, k], np)
            mean[at, k], variance[at, k] = given.mean, given.variance
    sigma = np.exp(chosen.log_sigma)
    vague_loc, vague_precision = map(np.array, own_prior(arrays.current, shape.current))
    keep = chosen.exchangeable[:, None]
    return Hierarchy(
        mean,
        variance,
        sigma,
        np.where(keep, mean, vague_loc),
        np.where(keep, 1.0 / (variance + sigma**2), vague_precision),
    )


def draw_beta_bar(
    prior: Hierarchy,
    exchangeable: NDArray[np.bool_],
    beta_t: Array,
    generator: np.random.Generator,
) -> Array:
    """Exact draws (N, K) of beta_t_bar | beta_t, b, sigma_bar.

    beta_t_bar | b ~ N(m, v) and beta_t ~ N(beta_t_bar, sigma_bar^2), when it is exchangeable.
    """
    link = np.where(exchangeable[:, None], prior.sigma**-2.0, 0.0)
    precision = 1.0 / prior.variance + link
    mean = (prior.mean / prior.variance + link * beta_t) / precision
    return np.asarray(mean + generator.standard_normal(mean.shape) / np.sqrt(precision))


def draw_beta_j(
    history: History, beta_bar: Array, sigma: Array, generator: np.random.Generator
) -> Array:
    """Exact draws (N, J, K) of beta_j | beta_t_bar, sigma_bar, b_j, in any units."""
    known = ~np.isnan(history.effects)
    within = np.where(known, history.std_errors, np.inf) ** -2.0
    between = sigma[:, None, :] ** -2.0
    pull = within * np.where(known, history.effects, 0.0) + between * beta_bar[:, None, :]
    precision = within + between
    return np.asarray(pull / precision + generator.standard_normal(pull.shape) / precision**0.5)


def draw_posterior(
    model: EffectModel,
    history: History,
    robust_weight: float,
    position: Array,
    generator: np.random.Generator,
) -> Posterior:
    """Exact draws of everything that NUTS did not see.

    Parameters
    ----------
    model : EffectModel
    history : History
        In the data's units.
    robust_weight : float
    position : ndarray of shape (N, dim)
    generator : numpy.random.Generator
    """
    shape, unit = hierarchical_shape(model, history, robust_weight), model.effect_unit
    arrays = hierarchical_arrays(model, history)
    chosen = choose_component(shape, arrays, history, unit, robust_weight, position, generator)
    prior = effect_priors(shape, arrays, chosen)
    posterior = model.posterior(chosen.u, generator, (prior.loc, prior.precision))
    beta_t = posterior.values["beta_t"]
    bar = unit * draw_beta_bar(prior, chosen.exchangeable, beta_t / unit, generator)
    hyper = {"beta_t_bar": bar, "sigma_t_bar": unit * prior.sigma}
    if history.effects.size * len(bar) <= MAX_BETA_J:
        hyper["beta_j"] = draw_beta_j(history, bar, hyper["sigma_t_bar"], generator)
    log_prior = log_priors(history, robust_weight, hyper, beta_t, posterior.log_prior["beta_t"])
    past = {"history": log_past(history, hyper)}
    if shape.mixture:
        hyper["exchangeable"] = chosen.exchangeable.astype(float)
    return replace(
        posterior,
        values=posterior.values | hyper,
        log_prior=posterior.log_prior | log_prior,
        log_density=posterior.log_density | past,
        exchangeable_probability=chosen.probability,
    )


def log_priors(
    history: History, robust_weight: float, hyper: Values, beta_t: Array, vague: Array
) -> Values:
    """Log prior densities (N,) of what the hierarchy adds; `vague` is that of beta_t without."""
    bar, sigma = hyper["beta_t_bar"], hyper["sigma_t_bar"]
    near = log_normal_density(beta_t, bar, sigma, np).sum(axis=1)
    if robust_weight:
        far = np.log(robust_weight) + vague
        near = np.logaddexp(np.log1p(-robust_weight) + near, far)
    return {"beta_t": near} | log_hyper_priors(history, hyper)


def log_hyper_priors(history: History, hyper: Values) -> Values:
    """Log prior densities (N,) of the population and of the earlier effects, where these are."""
    bar, sigma = hyper["beta_t_bar"], hyper["sigma_t_bar"]
    spread = SCALE_PRIORS[history.kind].log_pdf(np.log(sigma), history.sigma_scale, np)
    out = {
        "beta_t_bar": log_normal_density(bar, history.loc, history.scale, np).sum(axis=1),
        "sigma_t_bar": spread.sum(axis=1),
    }
    if "beta_j" in hyper:
        density = log_normal_density(hyper["beta_j"], bar[:, None], sigma[:, None], np)
        out["beta_j"] = density.sum(axis=(1, 2))
    return out


def log_past(history: History, hyper: Values) -> Array:
    """log p(b | beta_j) at each draw, or log p(b | beta_t_bar, sigma_bar) without beta_j."""
    bar, sigma = hyper["beta_t_bar"], hyper["sigma_t_bar"]
    out = np.zeros(len(bar))
    if "beta_j" not in hyper:
        for k, experiments in enumerate(history.earlier):
            sums = in_chunks(experiments, np.log(sigma[:, k]))
            out += sums.log_density(bar[:, k] - history.loc[k])
        return out
    for at in np.array_split(np.arange(len(bar)), 1 + len(bar) // DRAWS_AT_ONCE):
        density = log_normal_density(history.effects, hyper["beta_j"][at], history.std_errors, np)
        out[at] = np.nansum(density, axis=(1, 2))
    return out


def draw_population(history: History, n_draws: int, generator: np.random.Generator) -> Values:
    """Draw sigma_t_bar and beta_t_bar given the earlier experiments."""
    grids = [integrate(history, k) for k in range(len(history.loc))]
    at = [grid.draw(n_draws, generator) for grid in grids]
    sigma, mean, variance = (
        np.stack([getattr(grid, name)[i] for grid, i in zip(grids, at, strict=True)], axis=-1)
        for name in ("sigma", "mean", "variance")
    )
    bar = mean + np.sqrt(variance) * generator.standard_normal(mean.shape)
    return {"beta_t_bar": bar, "sigma_t_bar": sigma}


def draw_prior(
    history: History,
    robust_weight: float,
    vague: Normal,
    n_draws: int,
    generator: np.random.Generator,
) -> Values:
    """Draw sigma_t_bar and beta_t_bar given the earlier experiments, then the effect."""
    values = draw_population(history, n_draws, generator)
    bar, sigma = values["beta_t_bar"], values["sigma_t_bar"]
    near = bar + sigma * generator.standard_normal(bar.shape)
    values = {"beta_t": near} | values
    if robust_weight:
        exchangeable = generator.uniform(size=n_draws) >= robust_weight
        far = vague.loc + vague.scale * generator.standard_normal(bar.shape)
        values["beta_t"] = np.where(exchangeable[:, None], near, far)
        values["exchangeable"] = exchangeable.astype(float)
    return values

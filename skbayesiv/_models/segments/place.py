"""Where the posterior of segments and their population lies, roughly: the sampler's coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from skbayesiv._models.parts.model import EffectModel
from skbayesiv._models.segments.population import Population
from skbayesiv._sampling.proposal import at_mode
from skbayesiv._sampling.stack import Stack, stacked
from skbayesiv._sampling.target import Target
from skbayesiv._typing import Array

LEAST_SPREAD = 0.3  # of effects, in the standard error of a typical one
STEP = 0.3  # of differences, in standard deviations
MOST_SPREAD = 3.0  # in the scale of its prior, which may fall as fast as a normal's


@dataclass(frozen=True, eq=False)
class Place:
    """A rough mode and its curvature, in standardised units: G segments of d coordinates.

    Attributes
    ----------
    centre : ndarray of shape (G, d)
    factor : ndarray of shape (G, d, d)
        Lower triangular root of each segment's covariance.
    log_spread : ndarray of shape (K,)
        Of log sigma_t_bar.
    alone, variance : ndarray of shape (G, K)
        Two-stage effects of the segments, and their squared errors.
    slope : ndarray of shape (G, K, d)
        Of the effects' conditional means in the coordinates, over their roots.
    effect : ndarray of shape (G, K, 4)
        Conditional means at the centre, the population's mean, the variance of that about them,
        and this without the population's.
    """

    centre: Array
    factor: Array
    log_spread: Array
    alone: Array
    variance: Array
    slope: Array
    effect: Array


def place(models: Sequence[EffectModel], population: Population) -> Place:
    """Place segments given a first estimate of their population, in standardised units.

    The estimate is that of a meta-analysis of their two-stage effects and the earlier experiments:
    the mean and the slopes by weighted least squares, the spread by the method of moments
    (DerSimonian and Laird 1986).
    """
    unit = models[0].effect_unit
    found = [model.two_stage() for model in models]
    effects = np.array([own.effects for own in found]) / unit
    errors = np.array([own.std_errors for own in found]) / unit
    parts = [
        _meta_regression(effects[:, k], errors[:, k], population, k)
        for k in range(effects.shape[1])
    ]
    coef, spread = (np.array(part) for part in zip(*parts, strict=True))
    design = np.column_stack([np.ones(len(models)), population.features])
    modes = _modes(models, design @ coef.T, spread)
    pulled = _pulled(models, *modes, design @ coef.T, spread)
    return Place(*modes, np.log(spread), effects, errors**2, *pulled)


def _meta_regression(b: Array, s: Array, population: Population, k: int) -> tuple[Array, float]:
    """Mean and slopes, and the spread of one treatment's effects."""
    h = population.history
    known = ~np.isnan(h.effects[:, k])
    b, s = np.append(b, h.effects[known, k]), np.append(s, h.std_errors[known, k])
    features = np.pad(population.features, ((0, known.sum()), (0, 0)))
    design = np.column_stack([np.ones(len(b)), features])
    loc = np.append(h.loc[k], np.zeros(design.shape[1] - 1))
    prior = np.diag(np.append(h.scale[k], population.slope_scale[:, k]) ** -2.0)

    def fit(weight: Array) -> Array:
        precision = prior + design.T @ (weight[:, None] * design)
        return np.linalg.solve(precision, prior @ loc + design.T @ (weight * b))

    weight = s**-2.0
    coef = fit(weight)
    excess = float(weight @ (b - design @ coef) ** 2) - (len(b) - design.shape[1])
    slack = weight.sum() - (weight**2).sum() / weight.sum()
    least = LEAST_SPREAD**2 * len(b) / weight.sum()
    spread = max(excess / slack if slack > 0.0 else 0.0, least)
    spread = min(spread, float(MOST_SPREAD * h.sigma_scale[k]) ** 2)
    return fit(1.0 / (s**2 + spread)), float(np.sqrt(spread))


def _modes(models: Sequence[EffectModel], loc: Array, spread: Array) -> tuple[Array, Array]:
    """Modes of segments' coordinates given the population, and roots of their covariances.

    Where the coordinates are the effects, they are those without it, under a vague prior.
    """
    targets = [model.target() for model in models]
    if not models[0].shape.samples_effects:
        at = list(models[0].shape.effect_positions)
        targets = [
            _given(target, at, mean, spread) for target, mean in zip(targets, loc, strict=True)
        ]
    start = np.array([target.start for target in targets], dtype=float)
    width = np.array([target.spread for target in targets], dtype=float)
    mode = at_mode(Stack.of(targets).log_density, start, width)
    return mode.centre[:, 0], np.linalg.cholesky(mode.scatter[:, 0])


def _given(target: Target, at: list[int], loc: Array, spread: Array) -> Target:
    """A target with another normal prior of its effects, which stand at some positions."""
    arrays = target.arrays
    prior, precision = arrays.loc.copy(), arrays.precision.copy()
    prior[at], precision[at] = loc, spread**-2.0
    return replace(target, arrays=arrays._replace(loc=prior, precision=precision))


def _pulled(
    models: Sequence[EffectModel], centre: Array, factor: Array, loc: Array, spread: Array
) -> tuple[Array, Array]:
    """How effects go with the coordinates: `Place.slope` and `Place.effect`.

    Given the coordinates the effect is normal, so that the log density is a parabola of its prior
    mean: three values of that give the conditional mean and the variance about it.
    """
    (n_segments, dim), n_treatments, shape = centre.shape, len(spread), models[0].shape
    slope = np.zeros((n_segments, n_treatments, dim))
    effect = np.ones((n_segments, n_treatments, 4))
    if shape.samples_effects:
        return slope, effect
    arrays = stacked([model.arrays for model in models])
    steps = np.concatenate([np.zeros((1, dim)), STEP * np.eye(dim), -STEP * np.eye(dim)])
    u = np.moveaxis(centre[:, None] + steps @ np.swapaxes(factor, 1, 2), -1, 0)
    prior = [
        (loc[:, k, None] + 0.0 * u[0], spread[k] ** -2.0 + 0.0 * u[0]) for k in range(n_treatments)
    ]
    for k in range(n_treatments):
        values = []
        for move in (0.0, spread[k], -spread[k]):
            means = [mean + move * (i == k) for i, (mean, _) in enumerate(prior)]
            sharp = [own for _, own in prior]
            values.append(models[0].given_prior(shape, u, arrays, means, sharp, np))
        here, above, below = values
        variance = spread[k] ** 2 / np.maximum(2.0 * here - above - below, 1e-12)
        variance = np.maximum(variance, spread[k] ** 2 * (1.0 + 1e-9))
        mean = loc[:, k, None] + variance * (above - below) / (2.0 * spread[k])
        slope[:, k] = (mean[:, 1 : 1 + dim] - mean[:, 1 + dim :]) / (2.0 * STEP)
        columns = mean[:, 0], loc[:, k], variance[:, 0], variance[:, 0] - spread[k] ** 2
        effect[:, k] = np.stack(columns, axis=-1)
    bad = ~np.isfinite(slope).all(axis=-1) | ~np.isfinite(effect).all(axis=-1)
    slope[bad], effect[bad] = 0.0, 1.0
    return slope, effect

"""The joint density of segments whose effects share a population: what a sampler sees.

    beta_g ~ N(beta_t_bar + w_g' delta, sigma_t_bar^2),    g = 1..G

Given beta_t_bar, delta and sigma_t_bar the segments are independent, each a problem of its own
under a normal prior of its effects, and all are evaluated at once: arrays begin with an axis for
them. Where a model samples its effects they are written as

    beta_g = m + s v_g,    1 / s^2 = 1 / c^2 + 1 / sigma_t_bar^2,

with m and s the mean and standard deviation of beta_g given the population if its likelihood were
N(b, c^2): v_g is close to standard normal whether a segment says much or nothing.

Where it integrates them out, its coordinates still go with them: a narrow population pulls all
errors' covariances along. They are centred at a rough mode and divided by a root of its curvature,
and then moved and drawn together as the population asks, in closed form. So are beta_t_bar and
delta given the spread. What is sampled is close to independent standard normals everywhere but for
log sigma_t_bar: there is no funnel. Programs are shared between numbers of segments: those that
fill up the arrays have a standard normal density.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skbayesiv._models.parts.small_matrices import (
    Matrix,
    cholesky,
    log_determinant,
    solve_lower,
    solve_transposed,
    total,
)
from skbayesiv._models.segments.population import PopulationArrays, log_population

TINY, LEAST = 1e-12, 0.02
STEPS = (4, 5, 6, 7)  # and twice these, and so on


def bucket(n_segments: int) -> int:
    """Number of segments that a program is compiled for."""
    size = 1
    while STEPS[-1] * size < n_segments:
        size *= 2
    return next(step * size for step in STEPS if step * size >= n_segments)


@dataclass(frozen=True)
class SegmentedShape:
    """What is static: one segment's shape, their number, the hyper-prior, the number of features.

    `given_prior` is a segment's log density under a normal prior of its effects.
    """

    segment: Any
    n_segments: int
    n_features: int
    sigma_bar_prior: str
    given_prior: Callable[..., Any]

    @property
    def inner(self) -> int:
        """Number of coordinates of the segments; those of the population follow."""
        return int(self.n_segments * self.segment.dim)

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.inner + (2 + self.n_features) * int(self.segment.n_treatments)


class SegmentedArrays(NamedTuple):
    """Numbers of the problem in standardised units: G segments of d coordinates, K treatments."""

    segments: Any  # each array of a segment's, with axes (G, 1) in front
    known: Any  # (G, 1), 0 where a segment only fills up the arrays
    centre: Any  # (G, 1, d) of the coordinates
    factor: Any  # (G, 1, d, d), lower triangular
    population: PopulationArrays
    spread_centre: Any  # (K,) of log sigma_t_bar
    spread_scale: Any  # (K,)
    alone: Any  # (G, 1, K) effects of the segments by themselves, roughly
    alone_variance: Any  # (G, 1, K)
    slope: Any  # (G, 1, K, d) of E[beta | u] in the standard coordinates
    effect: Any  # (G, 1, K, 4) E[beta | u] at the centre, first guess of its mean; variances


class Hyper(NamedTuple):
    """Coordinates of the population: lists of K entries, and M lists of K."""

    bar: list[Any]
    log_sigma: list[Any]
    slopes: list[list[Any]]


def hyper(shape: SegmentedShape, v: Any, arrays: SegmentedArrays, xp: Any) -> tuple[Hyper, Any]:
    """Coordinates of the population, from all coordinates v (dim, N), and the log Jacobian.

    Given the spread, beta_t_bar and delta are written as their mean plus a root of their covariance
    times standard coordinates, as they would be if the segments' effects were estimated by normal
    summaries: however wide or narrow the spread, these are close to standard normal.
    """
    n_treatments, width, at = shape.segment.n_treatments, 1 + shape.n_features, shape.inner
    bar, log_sigma, slopes, log_jacobian = [], [], [], 0.0
    for k in range(n_treatments):
        spread = arrays.spread_centre[k] + arrays.spread_scale[k] * v[at + k]
        first = at + n_treatments + k * width
        white = [v[first + i] for i in range(width)]
        mean, factor = _coefficients(k, spread, arrays, xp)
        off = solve_transposed(factor, white)
        values = [m + o for m, o in zip(mean, off, strict=True)]
        log_jacobian = log_jacobian - 0.5 * log_determinant(factor, xp)
        bar.append(values[0])
        log_sigma.append(spread)
        slopes.append(values[1:])
    return Hyper(bar, log_sigma, [list(row) for row in zip(*slopes, strict=True)]), log_jacobian


def _coefficients(
    k: int, log_sigma: Any, arrays: SegmentedArrays, xp: Any
) -> tuple[list[Any], Matrix]:
    """Mean of (beta_t_bar, delta) of a treatment given the spread, and the root of its precision.

    By the segments' normal summaries and the earlier experiments.
    """
    shared = arrays.population
    m = range(1 + shared.features.shape[1])
    weight = arrays.known / (xp.exp(2.0 * log_sigma) + arrays.alone_variance[..., k])
    columns = [1.0, *(shared.features[:, i, None] for i in range(len(m) - 1))]
    prior = [shared.scale[k], *(shared.slope_scale[i, k] for i in range(len(m) - 1))]
    pull = weight * arrays.alone[..., k]
    precision = [
        [(weight * columns[a] * columns[b]).sum(0) + (a == b) * prior[a] ** -2.0 for b in m]
        for a in m
    ]
    right = [(pull * columns[a]).sum(0) for a in m]
    past = shared.earlier.of_treatment(k).sums(log_sigma, xp)
    precision[0][0] = precision[0][0] + past.total
    prior_pull = shared.loc[k] * (prior[0] ** -2.0 + past.total)
    right[0] = right[0] + prior_pull + past.pull
    factor = cholesky(precision, xp)
    return solve_transposed(factor, solve_lower(factor, right)), factor


def effect_priors(given: Hyper, features: Any, xp: Any) -> tuple[list[Any], list[Any]]:
    """Loc and precision (G, ...) of the effects of segments, each a list of K."""
    loc, precision, every = [], [], np.zeros((len(features), 1))
    for k, (bar, log_sigma) in enumerate(zip(given.bar, given.log_sigma, strict=True)):
        mean = bar + every
        for m, row in enumerate(given.slopes):
            mean = mean + features[:, m, None] * row[k]
        loc.append(mean)
        precision.append(xp.exp(-2.0 * log_sigma) + every)
    return loc, precision


def coordinates(
    shape: SegmentedShape,
    v: Any,
    arrays: SegmentedArrays,
    loc: list[Any],
    precision: list[Any],
    xp: Any,
) -> tuple[list[Any], Any, list[Any]]:
    """Coordinates of the segments, (G, N) each, from all coordinates v (dim, N).

    Returns
    -------
    u : list of d arrays
    log_jacobian : (G, ...), or zero
        But for constants.
    white : list of d arrays
        The coordinates as they are in v.
    """
    d, g = shape.segment.dim, shape.n_segments
    white = list(xp.moveaxis(v[: shape.inner].reshape((g, d, -1)), 1, 0))
    if shape.segment.samples_effects:
        return *_given_population(white, arrays, loc, precision, xp), white
    moved, log_jacobian = _moved(white, arrays, loc, precision, xp)
    u = [
        arrays.centre[..., i] + total(arrays.factor[..., i, j] * moved[j] for j in range(i + 1))
        for i in range(d)
    ]
    return u, log_jacobian, white


def _moved(
    white: list[Any], arrays: SegmentedArrays, loc: list[Any], precision: list[Any], xp: Any
) -> tuple[list[Any], Any]:
    """Standard coordinates, moved to where the population takes them from the first guess of it.

    With E[beta | u] linear in the coordinates, of slope w, and normal, another prior of the effect
    adds e w w' to their precision, e = 1 / D - 1 / D_0, with D the variance of the prior mean
    about E[beta | u], and pulls their mean along w.
    """
    x, log_jacobian = white, 0.0
    for k, (mean, sharp) in enumerate(zip(loc, precision, strict=True)):
        w = [arrays.slope[..., k, i] for i in range(len(white))]
        b, first, variance = (arrays.effect[..., k, i] for i in range(3))
        known = arrays.effect[..., k, 3]  # the variance but for that of the first guess
        q = total(value * value for value in w) + TINY
        now = known + 1.0 / sharp
        s = xp.maximum(1.0 + (1.0 / now - 1.0 / variance) * q, LEAST)
        shift = ((mean - b) / now - (first - b) / variance) / s
        along = total(value * own for value, own in zip(w, x, strict=True))
        step = (1.0 / xp.sqrt(s) - 1.0) / q * along + shift
        x = [own + value * step for value, own in zip(w, x, strict=True)]
        log_jacobian = log_jacobian - 0.5 * xp.log(s)
    return x, log_jacobian


def _given_population(
    white: list[Any], arrays: SegmentedArrays, loc: list[Any], precision: list[Any], xp: Any
) -> tuple[list[Any], Any]:
    """Effects from their standardised residuals given the population."""
    effects, log_jacobian = [], 0.0
    for k, value in enumerate(white):
        own = arrays.factor[..., k, k] ** -2.0
        sharp = own + precision[k]
        mean = (own * arrays.centre[..., k] + precision[k] * loc[k]) / sharp
        effects.append(mean + value / xp.sqrt(sharp))
        log_jacobian = log_jacobian - 0.5 * xp.log(sharp)
    return effects, log_jacobian


def log_density(shape: SegmentedShape, v: Any, arrays: SegmentedArrays, xp: Any) -> Any:
    """Log posterior density of the coordinates v (dim,) or, under NumPy, (dim, N)."""
    wide = v.reshape((v.shape[0], -1))
    given, log_jacobian = hyper(shape, wide, arrays, xp)
    loc, precision = effect_priors(given, arrays.population.features, xp)
    u, inner, white = coordinates(shape, wide, arrays, loc, precision, xp)
    own = shape.given_prior(shape.segment, u, arrays.segments, loc, precision, xp) + inner
    filling = -0.5 * total(value * value for value in white)
    found = xp.where(arrays.known > 0.0, own, filling).sum(0) + log_jacobian
    found = found + log_population(shape.sigma_bar_prior, *given, arrays.population, xp)
    return found if v.ndim > 1 else found[0]

"""The joint density of segments whose effects share a population: what a sampler sees.

    beta_g ~ N(beta_t_bar + w_g' delta, sigma_t_bar^2),    g = 1..G

Given beta_t_bar, delta and sigma_t_bar the segments are independent, each a problem of its own
under a normal prior of its effects, and all are evaluated at once: arrays begin with an axis for
them. Where a model integrates its effects out, there is no funnel. Where it samples them they are
written as

    beta_g = m + s v_g,    1 / s^2 = 1 / c^2 + 1 / sigma_t_bar^2,

with m and s the mean and standard deviation of beta_g given the population if its likelihood were
N(b, c^2): v_g is close to standard normal whether a segment says much or nothing.

All coordinates are centred at a rough mode and divided by its curvature. Programs are shared
between numbers of segments: those that fill up the arrays have a standard normal density.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skbayesiv._models.parts.small_matrices import total
from skbayesiv._models.segments.population import PopulationArrays, log_population

STEPS = (4, 6, 8, 12)  # and twice these, and so on


def bucket(n_segments: int) -> int:
    """Number of segments that a program is compiled for."""
    size = 1
    while True:
        for step in STEPS:
            if n_segments <= step * size:
                return step * size
        size *= 4


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
    hyper_centre: Any  # (H,) of beta_t_bar, log sigma_t_bar, delta
    hyper_scale: Any  # (H,)


class Hyper(NamedTuple):
    """Coordinates of the population: lists of K entries, and M lists of K."""

    bar: list[Any]
    log_sigma: list[Any]
    slopes: list[list[Any]]


def hyper(shape: SegmentedShape, v: Any, arrays: SegmentedArrays) -> Hyper:
    """Coordinates of the population, from all coordinates v (dim, ...)."""
    k, at = shape.segment.n_treatments, shape.inner
    values = [
        arrays.hyper_centre[i] + arrays.hyper_scale[i] * v[at + i]
        for i in range((2 + shape.n_features) * k)
    ]
    slopes = [values[(2 + m) * k : (3 + m) * k] for m in range(shape.n_features)]
    return Hyper(values[:k], values[k : 2 * k], slopes)


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
    """Coordinates of the segments, (G, ...) each, from all coordinates v (dim, ...).

    Returns
    -------
    u : list of d arrays
    log_jacobian : (G, ...), or zero
        But for constants.
    white : list of d arrays
        The coordinates as they are in v.
    """
    d, g = shape.segment.dim, shape.n_segments
    tail = v.shape[1:] or (1,)
    white = list(xp.moveaxis(v[: shape.inner].reshape((g, d, *tail)), 1, 0))
    if shape.segment.samples_effects:
        return *_given_population(white, arrays, loc, precision, xp), white
    u = [
        arrays.centre[..., i] + total(arrays.factor[..., i, j] * white[j] for j in range(i + 1))
        for i in range(d)
    ]
    return u, 0.0, white


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
    given = hyper(shape, v, arrays)
    loc, precision = effect_priors(given, arrays.population.features, xp)
    u, log_jacobian, white = coordinates(shape, v, arrays, loc, precision, xp)
    own = shape.given_prior(shape.segment, u, arrays.segments, loc, precision, xp) + log_jacobian
    filling = -0.5 * total(value * value for value in white)
    found = xp.where(arrays.known > 0.0, own, filling).sum(0)
    shared = log_population(shape.sigma_bar_prior, *given, arrays.population, xp)
    return (found if v.shape[1:] else found[0]) + shared

"""A proposal that covers a density: a mixture of multivariate t distributions, fitted in rounds.

It starts at the mode with its curvature. Then it is fitted to weighted draws of itself by the EM
algorithm for t distributions (Peel and McLachlan 2000); where one component does not suffice, a
second one starts from the draws with the largest weights (Hoogerheide, Opschoor and van Dijk
2012, who made this for posteriors with weak instruments). A wide Cauchy component stays in it, so
that weights are bounded wherever the target's tails are no heavier (Hesterberg 1995).

All is done for J targets at once: arrays begin with an axis for them.

References
----------
Hesterberg, T. (1995). Weighted average importance sampling and defensive mixture distributions.
Technometrics 37, 185-194.

Hoogerheide, L., Opschoor, A. and van Dijk, H. K. (2012). A class of adaptive importance sampling
weighted EM algorithms for efficient and robust posterior and predictive simulation. Journal of
Econometrics 171, 101-120.

Peel, D. and McLachlan, G. J. (2000). Robust mixture modelling using the t distribution. Statistics
and Computing 10, 339-348.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import lgamma, log, pi

import numpy as np
from numpy.typing import NDArray

from skbayesiv._sampling.stack import Stack
from skbayesiv._sampling.target import Target
from skbayesiv._typing import Array

DOF, WIDE_DOF = 5.0, 1.0
WIDE_WEIGHT, WIDE_FACTOR = 0.05, 3.0  # of the wide component
EM_STEPS = 3
LEAST_WEIGHT, RIDGE = 0.02, 1e-4
NEWTON_STEPS, STEP, LONGEST = 16, 0.5, 3.0
LEAST_CURVATURE, MOST_CURVATURE = 0.05, 400.0  # in a step, relative to the scale so far
FRACTIONS = np.array([1.0, 0.5, 0.25, 0.1, 2.0])
NEW_WEIGHT, NEW_MASS = 0.2, 0.3
SETTLED, NEAR = 0.5, 0.3  # change of log curvature, and a step that need not be followed
TINY, ROUNDING = 1e-300, 1e-9

Density = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Mixture:
    """J mixtures of K components, and the wide one.

    Attributes
    ----------
    weight : ndarray of shape (J, K)
    centre : ndarray of shape (J, K, dim)
    scatter : ndarray of shape (J, K, dim, dim)
    least : ndarray of shape (J, dim, dim)
        What is added to a scatter, so that no component collapses.
    """

    weight: Array
    centre: Array
    scatter: Array
    least: Array

    def take(self, at: NDArray[np.intp]) -> Mixture:
        """Some of the J."""
        return Mixture(self.weight[at], self.centre[at], self.scatter[at], self.least[at])

    def draw(self, n: int, generator: np.random.Generator) -> Array:
        """Draws (J, n, dim), of all from the same random numbers."""
        dim = self.centre.shape[-1]
        normal = generator.standard_normal((n, dim))
        u, wide = generator.uniform(size=n), generator.uniform(size=n) < WIDE_WEIGHT
        dof, factor = np.where(wide, WIDE_DOF, DOF), np.where(wide, WIDE_FACTOR, 1.0)
        standard = normal * (factor * np.sqrt(dof / generator.chisquare(dof)))[:, None]
        component = (np.cumsum(self.weight, axis=1)[:, :-1, None] < u).sum(axis=1)
        x = _placed(standard, self.centre[:, 0], self.scatter[:, 0])
        for k in range(1, self.weight.shape[1]):
            drawn = _placed(standard, self.centre[:, k], self.scatter[:, k])
            x = np.where((component == k)[..., None], drawn, x)
        if self.weight.shape[1] > 1:
            overall = self._overall()
            x[:, wide] = _placed(standard[wide], overall.centre[:, 0], overall.scatter[:, 0])
        return x

    def log_density(self, x: Array) -> Array:
        """Log densities (J, n)."""
        dim, parts, overall = x.shape[-1], self._measured(x), self._overall()
        each = [standard_log_t(DOF, dim, distance) + level for distance, level in parts]
        narrow = each[0] if len(each) == 1 else np.logaddexp.reduce(each)
        ((distance, level),) = parts if overall is self else overall._measured(x)
        wide = standard_log_t(WIDE_DOF, dim, distance / WIDE_FACTOR**2) + level
        log_weight = log(WIDE_WEIGHT) - dim * log(WIDE_FACTOR)
        return np.asarray(np.logaddexp(narrow + log(1.0 - WIDE_WEIGHT), wide + log_weight))

    def _overall(self) -> Mixture:
        """One component with the centre and scatter of all; the wide one is wider by a factor."""
        if self.weight.shape[1] == 1:
            return self
        centre = np.einsum("jk,jkd->jd", self.weight, self.centre)
        off = self.centre - centre[:, None]
        scatter = self.scatter + off[..., :, None] * off[..., None, :]
        scatter = np.einsum("jk,jkde->jde", self.weight, scatter)
        return Mixture(np.ones((len(centre), 1)), centre[:, None], scatter[:, None], self.least)

    def _measured(self, x: Array) -> list[tuple[Array, Array]]:
        """Squared distances (J, n) from each component; log of its weight by its volume (J, 1)."""
        lower = np.linalg.cholesky(self.scatter)
        back = np.swapaxes(np.linalg.inv(lower), -1, -2)
        level = np.log(self.weight)
        level = level - np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(axis=-1)
        white = [(x - self.centre[:, None, k]) @ back[:, k] for k in range(level.shape[1])]
        return [
            (np.einsum("jnd,jnd->jn", own, own), level[:, k, None]) for k, own in enumerate(white)
        ]

    def fitted(self, x: Array, weight: Array) -> Mixture:
        """Fit to weighted draws, starting from this one."""
        found = self
        for _ in range(EM_STEPS):
            found = found._em_step(x, weight)
        return found

    def _em_step(self, x: Array, weight: Array) -> Mixture:
        dim = x.shape[-1]
        parts = self._measured(x)
        distance = np.stack([distance for distance, _ in parts], axis=1)
        share = weight[:, None]
        if len(parts) > 1:
            each = [standard_log_t(DOF, dim, distance) + level for distance, level in parts]
            share = share * np.exp(np.stack(each, axis=1) - np.logaddexp.reduce(each)[:, None])
        total = share.sum(axis=-1)
        pull = share * (DOF + dim) / (DOF + distance)
        centre = (pull @ x) / np.maximum(pull.sum(axis=-1, keepdims=True), TINY)
        off = x[:, None] - centre[:, :, None]
        scatter = np.swapaxes(pull[..., None] * off, -1, -2) @ off
        scatter = scatter / np.maximum(total, TINY)[..., None, None] + self.least[:, None]
        total = np.maximum(total, LEAST_WEIGHT)
        return Mixture(total / total.sum(axis=1, keepdims=True), centre, scatter, self.least)

    def extended(self, x: Array, ratio: Array) -> Mixture:
        """One more component, at the draws with the largest log weights `ratio` (J, n)."""
        weight = normalised(ratio)
        order = np.argsort(-ratio, axis=1)
        ordered = np.take_along_axis(weight, order, axis=1)
        kept = np.cumsum(ordered, axis=1) - ordered < NEW_MASS
        kept[:, : 3 * x.shape[-1]] = True
        ordered = np.where(kept, ordered, 0.0)
        ordered /= ordered.sum(axis=1, keepdims=True)
        top = np.take_along_axis(x, order[..., None], axis=1)
        centre = np.einsum("jn,jnd->jd", ordered, top)
        off = top - centre[:, None]
        scatter = np.swapaxes(ordered[..., None] * off, -1, -2) @ off + 0.1 * self.scatter[:, 0]
        share = np.full((len(weight), 1), NEW_WEIGHT)
        return Mixture(
            np.concatenate([self.weight * (1.0 - NEW_WEIGHT), share], axis=1),
            np.concatenate([self.centre, centre[:, None]], axis=1),
            np.concatenate([self.scatter, scatter[:, None]], axis=1),
            self.least,
        )


def _placed(standard: Array, centre: Array, scatter: Array) -> Array:
    """Standard draws (n, dim) with a centre (J, dim) and a scatter."""
    lower = np.linalg.cholesky(scatter)
    return np.asarray(centre[:, None] + standard @ np.swapaxes(lower, -1, -2))


def standard_log_t(dof: float, dim: int, distance: Array) -> Array:
    """Log density of a standard multivariate t at squared distances from its centre."""
    const = lgamma(0.5 * (dof + dim)) - lgamma(0.5 * dof) - 0.5 * dim * log(dof * pi)
    return np.asarray(const - 0.5 * (dof + dim) * np.log1p(distance / dof))


def normalised(ratio: Array) -> Array:
    """Weights (J, n) that add to one, from their logs; equal ones where there are none."""
    top = ratio.max(axis=1, keepdims=True)
    none = np.isneginf(top)
    weight = np.exp(np.where(none, 0.0, ratio) - np.where(none, 0.0, top))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def at_mode(log_density: Density, start: Array, spread: Array) -> Mixture:
    """One component at each mode, with its curvature, by Newton's method.

    Derivatives are differences over half a standard deviation, so that rounding does not show
    where there are millions of rows, and a kink does no harm.

    Parameters
    ----------
    log_density : callable, (J, n, dim) -> (J, n)
    start, spread : ndarray of shape (J, dim)
    """
    dim = start.shape[1]
    centre, factor = start, spread[:, :, None] * np.eye(dim)
    points, settled = _stencil(dim), np.zeros(len(start), dtype=bool)
    for _ in range(NEWTON_STEPS):
        value = log_density(centre[:, None] + points @ np.swapaxes(factor, -1, -2))
        gradient, hessian = _derivatives(value, dim)
        curvature, axes = np.linalg.eigh(-hessian)
        curvature = np.clip(curvature, LEAST_CURVATURE, MOST_CURVATURE)
        along = (np.swapaxes(axes, -1, -2) @ gradient[..., None])[..., 0] / curvature
        length = np.sqrt((along**2).sum(axis=1))
        along *= np.minimum(1.0, LONGEST / np.maximum(length, TINY))[:, None]
        step = (factor @ axes @ along[..., None])[..., 0]
        tried = centre[:, None] + FRACTIONS[:, None] * step[:, None]
        found = log_density(tried)
        best = found.argmax(axis=1)
        rows = np.arange(len(best))
        better = found[rows, best] > value[:, 0]
        centre = np.where((better & ~settled)[:, None], tried[rows, best], centre)
        half = factor @ (axes * curvature[:, None, :] ** -0.5)
        lower = np.swapaxes(np.linalg.qr(np.swapaxes(half, -1, -2), mode="r"), -1, -2)
        factor = np.where(settled[:, None, None], factor, lower)
        settled |= (np.abs(np.log(curvature)) < SETTLED).all(axis=1) & (length < NEAR)
        if settled.all():
            break
    scatter = factor @ np.swapaxes(factor, -1, -2)
    least = RIDGE * scatter * np.eye(dim) + ROUNDING * spread[:, :, None] ** 2 * np.eye(dim)
    scatter = scatter + least
    return Mixture(np.ones((len(start), 1)), centre[:, None], scatter[:, None], least)


def _stencil(dim: int) -> Array:
    """The centre, the axes both ways, and both ways along the sums of two axes."""
    eye = STEP * np.eye(dim)
    first, second = np.triu_indices(dim, 1)
    pairs = eye[first] + eye[second]
    return np.concatenate([np.zeros((1, dim)), eye, -eye, pairs, -pairs])


def _derivatives(value: Array, dim: int) -> tuple[Array, Array]:
    """Gradient (J, dim) and Hessian (J, dim, dim) from values at the stencil."""
    first, second = np.triu_indices(dim, 1)
    centre = np.where(np.isfinite(value[:, :1]), value[:, :1], 0.0)
    value = np.where(np.isfinite(value), value, centre - 50.0)
    plus, minus, both, neither = np.split(value[:, 1:], np.cumsum([dim, dim, len(first)]), axis=1)
    gradient = (plus - minus) / (2 * STEP)
    own = (plus + minus - 2 * centre) / STEP**2
    hessian = own[..., None] * np.eye(dim)
    mixed = (both + neither - 2 * centre) / STEP**2
    mixed = 0.5 * (mixed - own[:, first] - own[:, second])
    hessian[:, first, second] = hessian[:, second, first] = mixed
    return gradient, hessian


def near_mode(target: Target) -> tuple[Array, Array]:
    """The mode of a target, and a standard deviation of each coordinate by its curvature."""
    if target.placed:
        return target.start, target.spread
    modes = [
        at_mode(Stack.of([part]).log_density, part.start[None], part.spread[None])
        for part in target.factors or (target,)
    ]
    sd = [np.sqrt(np.diagonal(mode.scatter[0, 0])) for mode in modes]
    return np.concatenate([mode.centre[0, 0] for mode in modes]), np.concatenate(sd)

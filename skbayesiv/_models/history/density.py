"""A hierarchical prior over either likelihood: the density that NUTS sees.

Given sigma_bar the prior of beta_t is normal, N(m, v + sigma_bar^2), so beta_t_bar integrates
out; NUTS sees the current experiment's coordinates and then log sigma_bar. With a
robust prior (Schmidli et al. 2014) beta_t comes from that prior or, with probability
`robust_weight`, from a vague one. The posterior is then a mixture of two, each with one mode of
its own between which no sampler moves when history and data disagree. So both are sampled, side by
side in one product density of coordinates (u, log sigma_bar, u of the vague one), and joined
afterwards with their exact weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skbayesiv._models.history.meta_analysis import GivenSigma, given_sigma
from skbayesiv._models.history.sums import MAX_EXACT, Earlier, Experiments, Table
from skbayesiv._models.history.table import History
from skbayesiv._models.parts.model import EffectModel, own_prior
from skbayesiv._models.parts.scales import SCALE_PRIORS
from skbayesiv._sampling.target import Target, side_by_side

HISTORY_BUCKETS = (8, 64, MAX_EXACT)


@dataclass(frozen=True)
class HierarchicalShape:
    """What is static: the current shape, the hyper-prior, and whether it is a mixture.

    `given_prior` is the current experiment's log density of its `current.dim` coordinates under
    a normal prior of the effects; log sigma_bar follows these coordinates.
    """

    current: Any
    sigma_bar_prior: str
    mixture: bool
    given_prior: Callable[..., Any]

    @property
    def dim(self) -> int:
        """Number of coordinates with the history: the vague component's follow."""
        return int(self.current.dim + self.current.n_treatments)


class HierarchicalArrays(NamedTuple):
    """Numbers of the problem in standardised units; K treatments."""

    current: Any  # of the current experiment, with its prior's loc and precision
    earlier: Earlier  # experiments, filled up, or tables of their sums; K of them stacked
    loc: Any  # (K,)
    scale: Any  # (K,)
    sigma_scale: Any  # (K,)


def hierarchical_arrays(model: EffectModel, history: History) -> HierarchicalArrays:
    """Bring the history to standardised units and pad it to a few lengths."""
    scaled = history.in_units(model.effect_unit)
    return HierarchicalArrays(
        current=model.arrays,
        earlier=stack_earlier(scaled.earlier),
        loc=scaled.loc,
        scale=scaled.scale,
        sigma_scale=scaled.sigma_scale,
    )


def stack_earlier(earlier: tuple[Earlier, ...]) -> Earlier:
    """Experiments or tables of all treatments in arrays with a first axis of length K."""
    padded = [own if isinstance(own, Table) else own.pad(_bucket(own)) for own in earlier]
    return type(padded[0])(*map(np.array, zip(*padded, strict=True)))


def _bucket(experiments: Experiments) -> int:
    length = len(experiments.effects)
    return next((n for n in HISTORY_BUCKETS if length <= n), length)


def hierarchical_shape(
    model: EffectModel, history: History, robust_weight: float
) -> HierarchicalShape:
    """Describe what is static of a model and a history."""
    return HierarchicalShape(model.shape, history.kind, robust_weight > 0, model.given_prior)


def hierarchical_target(
    base: Target, shape: HierarchicalShape, arrays: HierarchicalArrays
) -> Target:
    """What the sampler needs, from the current experiment's own target."""
    start = np.append(base.start, np.log(arrays.sigma_scale) - 1.0)
    spread = np.append(base.spread, np.ones_like(arrays.sigma_scale))
    stacks = isinstance(arrays.earlier, Experiments)
    near = Target(log_borrowed, shape, arrays, start, spread, stacks)
    if not shape.mixture:
        return near
    vague = Target(log_vague, shape, arrays, base.start, base.spread, stacks)
    return side_by_side(log_density, near, vague)


def log_density(shape: HierarchicalShape, u: Any, arrays: HierarchicalArrays, xp: Any) -> Any:
    """Log density of both components' coordinates, where there is a vague one."""
    vague = log_vague(shape, u[shape.dim :], arrays, xp)
    return log_borrowed(shape, u, arrays, xp) + vague


def log_borrowed(shape: HierarchicalShape, u: Any, arrays: HierarchicalArrays, xp: Any) -> Any:
    """Log density of (current coordinates, log sigma_bar) and earlier effects, with the history.

    Entries of u may be scalars or, under NumPy, arrays of draws.
    """
    loc, precision, total = [], [], 0.0
    for k in range(shape.current.n_treatments):
        log_sigma = u[shape.current.dim + k]
        given = given_log_sigma(arrays, k, log_sigma, xp)
        loc.append(given.mean)
        precision.append(1.0 / (given.variance + xp.exp(2.0 * log_sigma)))
        kind = SCALE_PRIORS[shape.sigma_bar_prior]
        prior = kind.log_pdf(log_sigma, arrays.sigma_scale[..., k], xp)
        total = total + given.log_evidence + prior + log_sigma
    return total + shape.given_prior(shape.current, u, arrays.current, loc, precision, xp)


def log_vague(shape: HierarchicalShape, u: Any, arrays: HierarchicalArrays, xp: Any) -> Any:
    """Log density of the current coordinates under the vague prior."""
    vague = own_prior(arrays.current, shape.current)
    return shape.given_prior(shape.current, u, arrays.current, *vague, xp)


def given_log_sigma(arrays: HierarchicalArrays, k: int, log_sigma: Any, xp: Any) -> GivenSigma:
    """History of treatment k given log sigma_bar."""
    sums = arrays.earlier.of_treatment(k).sums(log_sigma, xp)
    return given_sigma(sums, arrays.loc[..., k], arrays.scale[..., k], xp)

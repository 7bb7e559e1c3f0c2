"""The density that NUTS sees when the history's prediction is no normal given the spread.

A history that carries likelihoods is integrated first, over everything. What is left of it for the
current experiment is the prediction of its effect, a mixture of normals: the density is the
mixture of the current experiment's under each of them. With a robust prior the vague component
is sampled side by side, as with any other history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from skbayesiv._models.history.meta_analysis import Mixture
from skbayesiv._models.parts.model import EffectModel, own_prior
from skbayesiv._sampling.target import Target, side_by_side
from skbayesiv._typing import Array


@dataclass(frozen=True)
class PredictedShape:
    """What is static: the current shape, and whether there is a vague component."""

    current: Any
    vague: bool
    given_prior: Callable[..., Any]


class PredictedArrays(NamedTuple):
    """Numbers of the problem in standardised units; M components of one treatment's prediction."""

    current: Any
    log_weight: Any  # (M,)
    loc: Any  # (M,)
    precision: Any  # (M,)


def predicted_shape(model: EffectModel, robust_weight: float) -> PredictedShape:
    """Describe what is static."""
    return PredictedShape(model.shape, robust_weight > 0, model.given_prior)


def predicted_arrays(model: EffectModel, prediction: Mixture) -> PredictedArrays:
    """Bring a prediction to standardised units."""
    unit = model.effect_unit[0]
    return PredictedArrays(
        model.arrays,
        np.log(prediction.weight),
        prediction.mean / unit,
        unit**2 / prediction.variance,
    )


def predicted_target(base: Target, shape: PredictedShape, arrays: PredictedArrays) -> Target:
    """What the sampler needs, from the current experiment's own target."""
    near = Target(log_predicted, shape, arrays, base.start, base.spread, base.stacks)
    return (
        side_by_side(log_density, near, replace(near, log_density=log_vague))
        if shape.vague
        else near
    )


def log_density(shape: PredictedShape, u: Any, arrays: PredictedArrays, xp: Any) -> Any:
    """Log density of both components' coordinates, where there is a vague one."""
    vague = log_vague(shape, u[shape.current.dim :], arrays, xp)
    return log_predicted(shape, u, arrays, xp) + vague


def log_predicted(shape: PredictedShape, u: Any, arrays: PredictedArrays, xp: Any) -> Any:
    """Log density of the current coordinates under the prediction, a mixture."""
    if xp is np:
        return np.logaddexp.reduce(log_components(shape, u, arrays), axis=0)
    import jax

    def under(loc: Any, precision: Any) -> Any:
        return shape.given_prior(shape.current, u, arrays.current, [loc], [precision], xp)

    each = jax.vmap(under)(arrays.loc, arrays.precision)
    return jax.scipy.special.logsumexp(arrays.log_weight + each)


def log_components(shape: PredictedShape, u: Array, arrays: PredictedArrays) -> Array:
    """Log density (M, ...) of each component and of coordinates u (dim, ...)."""
    each = (arrays.log_weight, arrays.loc, arrays.precision)
    return np.stack(
        [
            weight + shape.given_prior(shape.current, u, arrays.current, [loc], [precision], np)
            for weight, loc, precision in zip(*(np.moveaxis(a, -1, 0) for a in each), strict=True)
        ]
    )


def log_vague(shape: PredictedShape, u: Any, arrays: PredictedArrays, xp: Any) -> Any:
    """Log density of the current coordinates under the vague prior."""
    vague = own_prior(arrays.current, shape.current)
    return shape.given_prior(shape.current, u, arrays.current, *vague, xp)

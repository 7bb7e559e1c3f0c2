"""The collapsed posterior: a density of the error covariance alone.

Given Omega = Sigma^-1 the coefficients are Gaussian, N(A^-1 b, A^-1), and integrate out:

    log p(data | Sigma) = n/2 log|Omega| - tr(Omega R)/2 + b'A^-1 b/2 - log|A|/2
                          + (log|P0| - m0'P0 m0)/2

Its gradient is closed form (Fisher's identity): d/dOmega = (n Sigma - E[e'e])/2, with the
expectation over the coefficients given Omega. The same functions run under JAX (inside NUTS)
and under NumPy, vectorised over draws.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from skbayesiv._models.normal.conditional import conditional
from skbayesiv._models.normal.design import Arrays, Shape
from skbayesiv._models.parts import error_covariance as cov
from skbayesiv._models.parts.small_matrices import Matrix


@cache
def _marginal(shape: Shape) -> Any:
    """log p(data | Omega, prior of beta_t) with its closed-form gradient, for JAX."""
    import jax
    import jax.numpy as jnp

    @jax.custom_vjp
    def marginal(omega: Matrix, loc: list[Any], precision: list[Any], arrays: Arrays) -> Any:
        return conditional(shape, arrays, omega, (loc, precision), jnp)[0]

    def forward(omega: Matrix, loc: list[Any], precision: list[Any], arrays: Arrays) -> Any:
        value, errors, solved = conditional(shape, arrays, omega, (loc, precision), jnp)
        d_loc, d_precision = [], []
        for i, j in enumerate(shape.effect_positions):
            mean = solved.mean[j]
            variance = solved.variance[j][j]
            d_loc.append(precision[i] * (mean - loc[i]))
            d_precision.append(0.5 * (1.0 / precision[i] - variance - (mean - loc[i]) ** 2))
        d_omega = [[-0.5 * entry for entry in row] for row in errors]
        return value, (d_omega, d_loc, d_precision, arrays)

    def backward(saved: Any, weight: Any) -> Any:
        *gradients, arrays = saved
        scaled = jax.tree.map(lambda leaf: weight * leaf, tuple(gradients))
        return *scaled, jax.tree.map(jnp.zeros_like, arrays)

    define: Any = marginal.defvjp
    define(forward, backward)
    return marginal


def log_density(shape: Shape, u: Any, arrays: Arrays) -> Any:
    """Log posterior density of the covariance's coordinates u, shape (D(D+1)/2,)."""
    import jax.numpy as jnp

    loc = [arrays.loc[j] for j in shape.effect_positions]
    precision = [arrays.precision[j] for j in shape.effect_positions]
    return log_likelihood_and_prior(shape, u, arrays, loc, precision, jnp)


def log_likelihood_and_prior(
    shape: Shape, u: Any, arrays: Arrays, loc: list[Any], precision: list[Any], xp: Any
) -> Any:
    """Marginal likelihood times the covariance's prior, at coordinates u."""
    size = shape.n_equations
    log_d, rows = cov.chain(u, size)
    omega = cov.precision(log_d, rows, xp)
    if xp is np:
        value = conditional(shape, arrays, omega, (loc, precision), np)[0]
    else:
        value = _marginal(shape)(omega, loc, precision, arrays)
    scale = [arrays.sigma_scale[d] for d in range(size)]
    alpha_scale = [arrays.alpha_scale[k] for k in range(shape.n_treatments)]
    prior = cov.log_prior(shape.sigma_prior, log_d, rows, scale, arrays.lkj_eta, alpha_scale, xp)
    return value - arrays.n * sum(log_d) + prior

"""The collapsed posterior: a density of the error covariance and the first stages' spread.

Given Omega = Sigma^-1 the coefficients are Gaussian, N(A^-1 b, A^-1), and integrate out:

    log p(data | Sigma) = n/2 log|Omega| - tr(Omega R)/2 + b'A^-1 b/2 - log|A|/2
                          + (log|P0| - m0'P0 m0)/2

Its gradient is closed form (Fisher's identity): with expectations over the coefficients theta
given Omega,

    d/dOmega = (n Sigma - E[e'e])/2      d/dP0_j = 1/(2 P0_j) - E[(theta_j - m0_j)^2]/2.

Where the first stage is learnt, P0 has exp(-2 log s_k) for each coefficient of treatment k, and
log s_k follows the coordinates of Sigma. The same functions run under JAX (inside NUTS) and
under NumPy, vectorised over draws.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from skbayesiv._models.normal.conditional import coefficient_prior, conditional, log_marginal
from skbayesiv._models.normal.design import Arrays, Shape
from skbayesiv._models.parts import error_covariance as cov
from skbayesiv._models.parts.model import own_prior
from skbayesiv._models.parts.scales import HALF_CAUCHY
from skbayesiv._models.parts.small_matrices import Matrix, total


@cache
def _marginal(shape: Shape) -> Any:
    """`conditional`'s value with its closed-form gradient, for JAX."""
    import jax
    import jax.numpy as jnp

    @jax.custom_vjp
    def marginal(omega: Matrix, prior: tuple[Any, Any], arrays: Arrays) -> Any:
        return conditional(shape, arrays, omega, prior, jnp)[0]

    def forward(omega: Matrix, prior: tuple[Any, Any], arrays: Arrays) -> Any:
        value, errors, solved = conditional(shape, arrays, omega, prior, jnp)
        d_prior = (
            jax.tree.map(jnp.multiply, prior[1], solved.deviation),
            jax.tree.map(lambda square: -0.5 * square, solved.square),
        )
        d_omega = [[-0.5 * entry for entry in row] for row in errors]
        return value, (d_omega, d_prior, arrays)

    def backward(saved: Any, weight: Any) -> Any:
        *gradients, arrays = saved
        scaled = jax.tree.map(partial(_times, weight), tuple(gradients))
        return *scaled, jax.tree.map(jnp.zeros_like, arrays)

    define: Any = marginal.defvjp
    define(forward, backward)
    return marginal


def _times(weight: Any, leaf: Any) -> Any:
    """Weights (...) times an array (..., and more)."""
    return weight.reshape(weight.shape + (1,) * (leaf.ndim - weight.ndim)) * leaf


def log_density(shape: Shape, u: Any, arrays: Arrays, xp: Any) -> Any:
    """Log posterior density of the coordinates u, shape (dim, ...)."""
    return log_likelihood_and_prior(shape, u, arrays, *own_prior(arrays, shape), xp)


def log_likelihood_and_prior(
    shape: Shape, u: Any, arrays: Arrays, loc: list[Any], precision: list[Any], xp: Any
) -> Any:
    """Marginal likelihood times the prior of the coordinates u."""
    size = shape.n_equations
    log_d, rows = cov.chain(u, size)
    log_sd = [u[i] for i in range(shape.covariance_dim, shape.dim)]
    omega = cov.precision(log_d, rows, xp)
    given = coefficient_prior(shape, arrays, (loc, precision), log_sd, xp)
    if xp is np:
        value = log_marginal(shape, arrays, omega, given)
    else:
        value = _marginal(shape)(omega, given, arrays)
    value = value + 0.5 * total(xp.log(p) for p in precision) + _spread_prior(shape, log_sd, xp)
    scale = [arrays.sigma_scale[..., d] for d in range(size)]
    alpha_scale = [arrays.alpha_scale[..., k] for k in range(shape.n_treatments)]
    prior = cov.log_prior(shape.sigma_prior, log_d, rows, scale, arrays.lkj_eta, alpha_scale, xp)
    return value - arrays.n * total(log_d) + prior


def _spread_prior(shape: Shape, log_sd: list[Any], xp: Any) -> Any:
    """log p(log s_k) of each half-Cauchy s_k, and log|P0|/2 of the coefficients that it scales."""
    found = 0.0
    for k, value in enumerate(log_sd):
        count = sum(shape.equations[j] == 1 + k for j in shape.learned_positions)
        found = found + HALF_CAUCHY.log_pdf(value, 1.0, xp) + (1 - count) * value
    return found

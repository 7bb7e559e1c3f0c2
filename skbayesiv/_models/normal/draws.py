"""Exact draws of everything that was integrated out, in the data's own units."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from skbayesiv._models.normal.conditional import (
    EffectPrior,
    block_means,
    block_step,
    coefficient_prior,
    dense_products,
    dense_system,
    error_products,
    unrolled_system,
)
from skbayesiv._models.normal.design import Design
from skbayesiv._models.normal.log_prior import log_prior
from skbayesiv._models.parts import error_covariance as cov
from skbayesiv._models.parts.intercepts import at_means
from skbayesiv._models.parts.model import own_prior
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.small_matrices import (
    invert_lower,
    solve_lower,
    solve_transposed,
    total,
)
from skbayesiv._sampling.threads import one_blas_thread
from skbayesiv._typing import Array

CHUNK_FLOATS = 1 << 22


def draw_posterior(
    design: Design,
    position: Array,
    generator: np.random.Generator,
    effect_prior: tuple[Array, Array] | None = None,
    *,
    densities: bool = True,
) -> Posterior:
    """Draw all coefficients given the covariance and the first stages' spread.

    Parameters
    ----------
    design : Design
    position : ndarray of shape (N, dim)
        Coordinates of the covariance and log s_k of first stages that are learnt.
    generator : numpy.random.Generator
    effect_prior : (loc, precision), each of shape (N, K), optional
        Prior of beta_t for each draw in standardised coordinates, where it varies.
    densities : bool, default=True
        Whether log densities are wanted.
    """
    m, blocks = len(design.shape.equations), design.arrays.block_gram.size
    size = design.shape.n_equations
    rows = max(1, CHUNK_FLOATS // max(1, m * m, blocks * size * size))
    n_draws = position.shape[0]
    noise = generator.standard_normal((n_draws, m + blocks * size))
    parts = []
    with one_blas_thread():
        for start in range(0, n_draws, rows):
            at = slice(start, start + rows)
            own = own_prior(design.arrays, design.shape)
            given = own if effect_prior is None else [list(part[at].T) for part in effect_prior]
            prior = given[0], given[1]
            parts.append(_draw_chunk(design, position[at], noise[at], prior, densities=densities))
    dense, phi, log_likelihood = (np.concatenate(piece) for piece in zip(*parts, strict=True))
    values, centered = _coefficients(design, dense, phi)
    if design.priors.beta_z_sd_scale is not None:
        s = np.exp(position[:, design.shape.covariance_dim :])
        values["beta_z_sd"] = s * design.priors.beta_z_sd_scale
    values.update(_covariances(design, position))
    if not densities:
        return Posterior(values, {}, {}, centered)
    prior_densities = log_prior(design.priors, values, centered)
    return Posterior(values, prior_densities, {"total": log_likelihood}, centered)


def _draw_chunk(
    design: Design, u: Array, noise: Array, effect_prior: EffectPrior, *, densities: bool
) -> tuple[Array, Array, Array]:
    """Dense coefficients (N, m), blocks (N, B, D), log-likelihood (N,) or zeros, in one batch."""
    shape, arrays = design.shape, design.arrays
    size, m = shape.n_equations, len(shape.equations)
    log_d, chain = cov.chain(u.T, size)
    omega = cov.precision(log_d, chain, np)
    step = block_step(arrays, omega, np)
    log_sd = list(u[:, shape.covariance_dim :].T)
    prior = coefficient_prior(shape, arrays, effect_prior, log_sd, np)
    dense = _dense_draw(design, omega, step, prior, noise[:, :m])
    sums = dense_products(shape, arrays, dense, None, np)
    mean = block_means(step, sums.mixed)
    standard = noise[:, m:].reshape(len(u), -1, size)
    lower = invert_lower(step.factor)
    phi = [
        mean[d] + total(lower[e][d] * standard[:, :, e] for e in range(d, size))
        for d in range(size)
    ]
    if not densities:
        return dense, np.stack(phi, axis=-1), np.zeros(len(u))
    errors = error_products(arrays, step, sums, phi)
    trace = total(omega[d][e] * errors[d][e] for d in range(size) for e in range(size))
    const = size * math.log(2 * math.pi) + 2 * float(np.log(design.response_sd).sum())
    log_likelihood = -0.5 * (design.std.n * (2 * total(log_d) + const) + trace)
    return dense, np.stack(phi, axis=-1), np.asarray(log_likelihood)


def _dense_draw(design: Design, omega: Any, step: Any, prior: Any, noise: Array) -> Array:
    """m0 + A^-1 c + L'^-1 noise, with A = L L'."""
    if not noise.shape[1]:
        return noise
    problem = design.shape, design.arrays, omega, step, prior, np
    if design.shape.unrolled:
        factor, _, c = unrolled_system(*problem)
        half = [of_c + e for of_c, e in zip(solve_lower(factor, c), noise.T, strict=True)]
        parts = zip(prior[0], solve_transposed(factor, half), strict=True)
        return np.stack([loc + deviation for loc, deviation in parts], axis=-1)
    a, _, c = dense_system(*problem)
    lower = np.linalg.cholesky(a)
    white = np.linalg.solve(lower, c[..., None]) + noise[..., None]
    return np.asarray(prior[0] + np.linalg.solve(np.swapaxes(lower, -1, -2), white)[..., 0])


def _coefficients(
    design: Design, dense: Array, phi: Array
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Standardised draws -> raw coefficients by name, and the intercepts their priors see."""
    c, std, n_draws = design.std.columns, design.std, dense.shape[0]
    p, q, k = len(c.covariates), len(c.instruments), len(c.treatments)
    values: dict[str, Array] = {
        "beta_t": np.empty((n_draws, k)),
        "beta_z": np.empty((n_draws, q, k)),
    }
    if design.priors.direct is not None:
        values["direct"] = np.empty((n_draws, q))
    raw = design.priors.intercept_y is not None and not design.priors.centered
    intercepts: dict[str, Array] = {
        "intercept_y": np.zeros(n_draws),
        "intercept_t": np.zeros((n_draws, k)),
    }
    for j, (name, index) in enumerate(design.labels):
        target = intercepts if name in intercepts else values
        at: tuple[Any, ...] = (slice(None), *index)
        target[name][at] = dense[:, j] * design.unit[j]
    gamma = design.rotation @ phi[:, :p] * design.response_sd
    values["gamma_y"], values["gamma_t"] = gamma[..., 0], gamma[..., 1:]
    if design.priors.centered:
        level = phi[:, p] * design.response_sd
        intercepts = {"intercept_y": level[:, 0], "intercept_t": level[:, 1:]}
    if raw or design.priors.centered:
        intercepts["intercept_y"] = intercepts["intercept_y"] + design.response_mean[0]
        intercepts["intercept_t"] = intercepts["intercept_t"] + design.response_mean[1:]
    centered = dict(intercepts)
    if design.priors.centered:
        of_y, of_t = at_means(values, std.mean, c)
        intercepts["intercept_y"] = intercepts["intercept_y"] - of_y
        intercepts["intercept_t"] = intercepts["intercept_t"] - of_t
    if design.priors.intercept_y is None:
        return values, {}
    return {**intercepts, **values}, centered


def _covariances(design: Design, position: Array) -> dict[str, Array]:
    size = design.shape.n_equations
    log_d, chain = cov.chain(position.T, size)
    entries = cov.covariance(log_d, chain, np)
    matrix = np.stack([np.stack(row, axis=-1) for row in entries], axis=-2)
    matrix = matrix * np.outer(design.response_sd, design.response_sd)
    sigma = np.sqrt(np.diagonal(matrix, axis1=-2, axis2=-1))
    corr = matrix / (sigma[:, :, None] * sigma[:, None, :])
    corr[:, range(size), range(size)] = 1.0
    return {"sigma": sigma, "corr": corr, "cov": matrix}

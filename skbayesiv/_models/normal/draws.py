"""Exact draws of everything that was integrated out, in the data's own units.

Designs of the same form are drawn at once, from the same random numbers: arrays begin with an axis
for the J of them, then come N draws of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from skbayesiv._models.normal.conditional import (
    BlockStep,
    EffectPrior,
    block_means,
    block_step,
    coefficient_prior,
    coupled,
    dense_products,
    dense_system,
    error_products,
    mixed_sums,
    unrolled_system,
)
from skbayesiv._models.normal.design import Arrays, Design, Shape
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
from skbayesiv._sampling.stack import stacked
from skbayesiv._sampling.threads import one_blas_thread
from skbayesiv._typing import Array, Values

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
    own = [design], position[None], generator, effect_prior
    return draw_posteriors(*own, densities=densities)[0]


def draw_posteriors(
    designs: Sequence[Design],
    position: Array,
    generator: np.random.Generator,
    effect_prior: tuple[Array, Array] | None = None,
    *,
    densities: bool = True,
    apart: bool = False,
) -> list[Posterior]:
    """`draw_posterior` of designs of one form, at positions (J, N, dim).

    All are drawn from the same random numbers unless they are drawn `apart`; `effect_prior` may
    have shapes (J, N, K).
    """
    one = designs[0]
    arrays = stacked([design.arrays for design in designs])
    m, blocks, size = len(one.shape.equations), one.arrays.block_gram.size, one.shape.n_equations
    width = len(designs) * max(1, m * m, blocks * size * size)
    rows, n_draws = max(1, CHUNK_FLOATS // width), position.shape[1]
    noise = generator.standard_normal((*(len(designs),) * apart, n_draws, m + blocks * size))
    own, parts = own_prior(arrays, one.shape), []
    with one_blas_thread():
        for start in range(0, n_draws, rows):
            at = slice(start, start + rows)
            given = own
            if effect_prior is not None:
                loc, precision = (np.moveaxis(part[..., at, :], -1, 0) for part in effect_prior)
                given = [*loc], [*precision]
            u = np.ascontiguousarray(np.moveaxis(position[:, at], -1, 0))
            drawn = noise[..., at, :]
            parts.append(_draw_chunk(one.shape, arrays, u, drawn, given, densities=densities))
    dense, phi, fit = (np.concatenate(piece, axis=1) for piece in zip(*parts, strict=True))
    values, centered = _coefficients(designs, dense, phi)
    if one.priors.beta_z_sd_scale is not None:
        scale = np.array([design.priors.beta_z_sd_scale for design in designs], dtype=float)
        s = np.exp(position[..., one.shape.covariance_dim :])
        values["beta_z_sd"] = s * scale[:, None]
    values.update(_covariances(designs, position))
    return [
        _posterior(design, *parts, densities=densities)
        for design, *parts in zip(
            designs, _each(values, fit), _each(centered, fit), fit, strict=True
        )
    ]


def _each(values: Values, fit: Array) -> list[Values]:
    """Values of each design."""
    return [{name: value[j] for name, value in values.items()} for j in range(len(fit))]


def _posterior(
    design: Design, values: Values, centered: Values, fit: Array, *, densities: bool
) -> Posterior:
    """Posterior of one design, with the densities of its draws if they are wanted."""
    if not densities:
        return Posterior(values, {}, {}, centered)
    log_sd = float(np.log(design.response_sd).sum())
    const = 0.5 * design.shape.n_equations * math.log(2 * math.pi) + log_sd
    log_likelihood = {"total": fit - design.std.n * const}
    return Posterior(values, log_prior(design.priors, values, centered), log_likelihood, centered)


def _draw_chunk(
    shape: Shape,
    arrays: Arrays,
    u: Array,
    noise: Array,
    effect_prior: EffectPrior,
    *,
    densities: bool,
) -> tuple[Array, Array, Array]:
    """Draw at coordinates u (dim, J, N), in one batch.

    Returns
    -------
    dense : ndarray of shape (J, N, m)
    blocks : ndarray of shape (J, N, B, D)
    fit : ndarray of shape (J, N)
        Log likelihoods in standardised coordinates, up to their constants, or zeros.
    """
    size, m = shape.n_equations, len(shape.equations)
    log_d, chain = cov.chain(u, size)
    omega = cov.precision(log_d, chain, np)
    step = block_step(arrays, omega, np)
    prior = coefficient_prior(shape, arrays, effect_prior, list(u[shape.covariance_dim :]), np)
    dense = _dense_draw(shape, arrays, omega, step, prior, noise[..., :m])
    sums, mean = dense_products(shape, arrays, dense, None) if densities else None, step.mean
    if coupled(arrays, np):
        mean = block_means(step, sums.mixed if sums else mixed_sums(shape, arrays, dense))
    standard = noise[..., m:].reshape(*noise.shape[:-1], -1, size)
    lower = invert_lower(step.factor)
    phi = [
        mean[d] + total(lower[e][d] * standard[..., e] for e in range(d, size)) for d in range(size)
    ]
    fit = np.zeros(u.shape[1:])
    if sums:
        errors = error_products(arrays, step, sums, phi)
        trace = total(omega[d][e] * errors[d][e] for d in range(size) for e in range(size))
        fit = -arrays.n * total(log_d) - 0.5 * trace
    return dense, np.stack(phi, axis=-1), fit


def _dense_draw(
    shape: Shape, arrays: Arrays, omega: Any, step: BlockStep, prior: Any, noise: Array
) -> Array:
    """m0 + A^-1 c + L'^-1 noise, with A = L L', shape (J, N, m)."""
    if not noise.shape[-1]:
        return np.empty((*omega[0][0].shape, 0))
    problem = shape, arrays, omega, step, prior, np
    if shape.unrolled:
        factor, _, c = unrolled_system(*problem)
        each = np.moveaxis(noise, -1, 0)
        half = [of_c + e for of_c, e in zip(solve_lower(factor, c), each, strict=True)]
        parts = zip(prior[0], solve_transposed(factor, half), strict=True)
        return np.stack([loc + deviation for loc, deviation in parts], axis=-1)
    a, _, c = dense_system(*problem)
    lower = np.linalg.cholesky(a)
    white = np.linalg.solve(lower, c[..., None]) + noise[..., None]
    return np.asarray(prior[0] + np.linalg.solve(np.swapaxes(lower, -1, -2), white)[..., 0])


def _coefficients(designs: Sequence[Design], dense: Array, phi: Array) -> tuple[Values, Values]:
    """Standardised draws -> raw coefficients by name, and the intercepts their priors see.

    All have shape (J, N, ...).
    """
    one, shape = designs[0], dense.shape[:2]
    c = one.std.columns
    p, q, k = len(c.covariates), len(c.instruments), len(c.treatments)
    unit, sd, level = (
        np.stack([getattr(design, name) for design in designs])[:, None]
        for name in ("unit", "response_sd", "response_mean")
    )
    values: Values = {"beta_t": np.empty((*shape, k)), "beta_z": np.empty((*shape, q, k))}
    if one.priors.direct is not None:
        values["direct"] = np.empty((*shape, q))
    raw = one.priors.intercept_y is not None and not one.priors.centered
    intercepts: Values = {"intercept_y": np.zeros(shape), "intercept_t": np.zeros((*shape, k))}
    for j, (name, index) in enumerate(one.labels):
        target = intercepts if name in intercepts else values
        at: tuple[Any, ...] = (..., *index)
        target[name][at] = dense[..., j] * unit[..., j]
    rotation = np.stack([design.rotation for design in designs])[:, None]
    gamma = rotation @ phi[..., :p, :] * sd[..., None, :]
    values["gamma_y"], values["gamma_t"] = gamma[..., 0], gamma[..., 1:]
    if one.priors.centered:
        own = phi[..., p, :] * sd
        intercepts = {"intercept_y": own[..., 0], "intercept_t": own[..., 1:]}
    if raw or one.priors.centered:
        intercepts["intercept_y"] = intercepts["intercept_y"] + level[..., 0]
        intercepts["intercept_t"] = intercepts["intercept_t"] + level[..., 1:]
    centered = dict(intercepts)
    if one.priors.centered:
        mean = np.stack([design.std.mean for design in designs])
        of_y, of_t = at_means(values, mean, c)
        intercepts["intercept_y"] = intercepts["intercept_y"] - of_y
        intercepts["intercept_t"] = intercepts["intercept_t"] - of_t
    if one.priors.intercept_y is None:
        return values, {}
    return {**intercepts, **values}, centered


def _covariances(designs: Sequence[Design], position: Array) -> Values:
    """Standard deviations, correlations and covariances of the errors, in raw units."""
    size = designs[0].shape.n_equations
    unit = np.stack([design.response_sd for design in designs], axis=-1)[..., None]
    log_d, chain = cov.chain(np.ascontiguousarray(np.moveaxis(position, -1, 0)), size)
    entries = cov.covariance(log_d, chain, np)
    root = [np.sqrt(entries[d][d]) for d in range(size)]
    matrix = np.empty((*position.shape[:2], size, size))
    corr, sigma = np.ones_like(matrix), np.empty(matrix.shape[:-1])
    for d in range(size):
        sigma[..., d] = root[d] * unit[d]
        for e in range(size):
            matrix[..., d, e] = entries[d][e] * (unit[d] * unit[e])
            if d != e:
                corr[..., d, e] = entries[d][e] / (root[d] * root[e])
    return {"sigma": sigma, "corr": corr, "cov": matrix}

"""A point in the bulk of the posterior of the coordinates, from the moments alone."""

from __future__ import annotations

import numpy as np

from skbayesiv._data.standardised import Standardised, partial_out
from skbayesiv._linear.two_stage import first_stage
from skbayesiv._models.normal.conditional import Solved, coefficient_prior, conditional, own_prior
from skbayesiv._models.normal.design import Design
from skbayesiv._models.parts import error_covariance as cov
from skbayesiv._typing import Array

EM_STEPS = 4
K_CLASS = 4.0
RIDGE = 1e-10  # covariates of a regression without treatment may be linearly dependent


def start(design: Design) -> tuple[Array, Array]:
    """Return coordinates near the posterior's mode and a rough standard deviation of each.

    Starts from a k-class estimate's residual covariance (2SLS pulled towards least squares as
    the instruments weaken) and takes a few EM steps, which bring the priors in. The spread of a
    first stage that is learnt starts at its prior's scale.
    """
    shape, arrays, n = design.shape, design.arrays, design.std.n
    size = shape.n_equations
    if not n:
        u = np.zeros(shape.dim)
        order = [*range(1, size), 0]
        u[:size] = np.log(arrays.sigma_scale[order])
        return u, np.ones(shape.dim)
    has_intercept = design.priors.intercept_y is not None
    sigma, effect_variance = _k_class(design.std, has_intercept=has_intercept)
    effect_prior, log_sd = own_prior(arrays, shape), np.zeros(shape.dim - shape.covariance_dim)
    for _ in range(EM_STEPS):
        omega = np.linalg.inv(sigma)
        entries = [[omega[d, e][None] for e in range(size)] for d in range(size)]
        prior = coefficient_prior(shape, arrays, effect_prior, list(log_sd[:, None]), np)
        _, errors, solved = conditional(shape, arrays, entries, prior, np)
        products = np.array([[entry[0] for entry in row] for row in errors])
        sigma = (products + sigma) / (n + 1.0)
        log_sd = _log_spread(design, solved)
    u = np.asarray(cov.coordinates(sigma, np))
    spread = _spread(u, size, n, effect_variance, np.array(effect_prior[1]))
    count = len(shape.learned_positions) / max(1, len(log_sd))
    return np.append(u, log_sd), np.append(spread, np.full(len(log_sd), max(1.0, count) ** -0.5))


def _log_spread(design: Design, solved: Solved) -> Array:
    """log s_k that maximises the expected log density of Q coefficients and log s_k.

    With S = E[sum_j p_j (beta_j - loc_j)^2], p_j the precision at s = 1, that density is
    -(Q - 1) log s - S / (2 s^2) - log(1 + s^2). Its derivative is zero where x = s^2 solves
    (Q + 1) x^2 + (Q - 1 - S) x - S = 0.
    """
    shape, arrays = design.shape, design.arrays
    if not shape.learned_positions:
        return np.zeros(0)
    at = np.array(shape.learned_positions).reshape(shape.n_treatments, -1)
    squares = np.diagonal(solved.variance[0]) + solved.deviation[0] ** 2
    total, q = (arrays.precision * squares)[at].sum(axis=1), at.shape[1]
    half = 0.5 * (q - 1.0 - total)
    return np.asarray(0.5 * np.log((np.sqrt(half**2 + (q + 1.0) * total) - half) / (q + 1.0)))


def _spread(u: Array, size: int, n: float, effect_variance: Array, precision: Array) -> Array:
    d2 = np.exp(2 * u[:size])
    variance = [np.full(size, 0.5 / (n + 1.0))]
    for j in range(size):
        noise = d2[j] / d2[:j] / (n + 1.0)
        if j == size - 1 and j:
            noise = noise + 1.0 / (1.0 / effect_variance + precision.reshape(-1))
        variance.append(noise)
    return np.minimum(np.sqrt(np.concatenate(variance)), 1.0)


def _k_class(std: Standardised, *, has_intercept: bool) -> tuple[Array, Array]:
    """Residual covariance in standardised units, and the variance of the effects.

    Of the k-class estimate with k = 1 - K_CLASS / n.
    """
    c = std.columns
    q, k = len(c.instruments), len(c.treatments)
    second = std.second_moments(fit_intercept=has_intercept)
    partial, _ = partial_out(second, c.x.stop, RIDGE)
    stage = first_stage(partial, q, RIDGE)
    if not k:
        return stage.left, np.empty(0)
    beta, precision = stage.k_class(K_CLASS / std.n)
    contrast = np.append(-beta, 1.0)
    sigma = np.empty((k + 1, k + 1))
    sigma[0, 0] = contrast @ partial[q:, q:] @ contrast
    sigma[0, 1:] = sigma[1:, 0] = stage.left[:k, k] - stage.left[:k, :k] @ beta
    sigma[1:, 1:] = stage.left[:k, :k]
    return sigma, np.diag(np.linalg.inv(precision)) * sigma[0, 0] / std.n

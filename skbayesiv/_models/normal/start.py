"""A point near the bulk of the posterior of the coordinates, from the moments alone."""

from __future__ import annotations

import numpy as np

from skbayesiv._data.standardised import Standardised, partial_out
from skbayesiv._linear.two_stage import first_stage
from skbayesiv._models.normal.design import Design
from skbayesiv._models.parts import error_covariance as cov
from skbayesiv._typing import Array

K_CLASS = 4.0
RIDGE = 1e-10  # covariates of a regression without treatment may be linearly dependent


def start(design: Design) -> tuple[Array, Array]:
    """Return coordinates near the likelihood's mode and a rough standard deviation of each.

    They are those of a k-class estimate's residual covariance (2SLS pulled towards least squares
    as the instruments weaken), shrunk towards one as n falls, and the root mean square of the
    first stage. Samplers climb from here to the posterior's mode.
    """
    shape, arrays, n = design.shape, design.arrays, design.std.n
    size = shape.n_equations
    if not n:
        u = np.zeros(shape.dim)
        order = [*range(1, size), 0]
        u[:size] = np.log(arrays.sigma_scale[order])
        return u, np.ones(shape.dim)
    has_intercept = design.priors.intercept_y is not None
    sigma, effect_variance, coef = _k_class(design.std, has_intercept=has_intercept)
    u = np.asarray(cov.coordinates((n * sigma + np.eye(size)) / (n + 1.0), np))
    precision = arrays.precision[list(shape.effect_positions)]
    spread = _spread(u, size, n, effect_variance, precision)
    if not shape.learned_positions:
        return u, spread
    log_sd = 0.5 * np.log((coef**2).mean(axis=0) + 1.0 / n)
    return np.append(u, log_sd), np.append(spread, np.full(len(log_sd), len(coef) ** -0.5))


def _spread(u: Array, size: int, n: float, effect_variance: Array, precision: Array) -> Array:
    d2 = np.exp(2 * u[:size])
    variance = [np.full(size, 0.5 / (n + 1.0))]
    for j in range(size):
        noise = d2[j] / d2[:j] / (n + 1.0)
        if j == size - 1 and j:
            noise = noise + 1.0 / (1.0 / effect_variance + precision.reshape(-1))
        variance.append(noise)
    return np.minimum(np.sqrt(np.concatenate(variance)), 1.0)


def _k_class(std: Standardised, *, has_intercept: bool) -> tuple[Array, Array, Array]:
    """Residual covariance, the variance of the effects, and the first stage (Q, K).

    In standardised units, of the k-class estimate with k = 1 - K_CLASS / n.
    """
    c = std.columns
    q, k = len(c.instruments), len(c.treatments)
    second = std.second_moments(fit_intercept=has_intercept)
    partial, _ = partial_out(second, c.x.stop, RIDGE)
    stage = first_stage(partial, q, RIDGE)
    if not k:
        return stage.left, np.empty(0), stage.coef
    beta, precision = stage.k_class(K_CLASS / std.n)
    contrast = np.append(-beta, 1.0)
    sigma = np.empty((k + 1, k + 1))
    sigma[0, 0] = contrast @ partial[q:, q:] @ contrast
    sigma[0, 1:] = sigma[1:, 0] = stage.left[:k, k] - stage.left[:k, :k] @ beta
    sigma[1:, 1:] = stage.left[:k, :k]
    return sigma, np.diag(np.linalg.inv(precision)) * sigma[0, 0] / std.n, stage.coef

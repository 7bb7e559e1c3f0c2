"""Normalising constants from draws: bridge sampling with a normal distribution."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from skbayesiv._typing import Array

Sampled = tuple[Callable[[Array], Array], Array]


def probability_of_first(
    log_odds: float, first: Sampled, second: Sampled, generator: np.random.Generator
) -> float:
    """Posterior probability of the first of two densities with their draws, from prior log odds."""
    log_odds += log_evidence(*first, generator)
    log_odds -= log_evidence(*second, generator)
    return float(np.exp(-np.logaddexp(0.0, -log_odds)))


def log_evidence(
    log_density: Callable[[Array], Array], draws: Array, generator: np.random.Generator
) -> float:
    """Log of the integral of a density, from draws of it.

    With q the density, g a normal fitted to half of the draws, x_i the N other draws and y_i as
    many from g, the optimal estimate Z (Meng and Wong 1996, eq. 4.1) solves

        sum_i q(y_i) / (q(y_i) + Z g(y_i)) = sum_i Z g(x_i) / (q(x_i) + Z g(x_i)).

    Its terms are bounded, so that tails heavier or lighter than a normal's do no harm.

    Parameters
    ----------
    log_density : callable, (N, dim) -> (N,)
    draws : ndarray of shape (2 N, dim)
    generator : numpy.random.Generator

    References
    ----------
    Meng, X.-L. and Wong, W. H. (1996). Simulating ratios of normalizing constants via a simple
    identity: a theoretical exploration. Statistica Sinica 6, 831-860.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    fitted, x = draws[::2], draws[1::2]
    mean = fitted.mean(axis=0)
    factor = np.linalg.cholesky(np.cov(fitted.T).reshape(mean.size, mean.size))
    y = mean + generator.standard_normal(x.shape) @ factor.T

    def log_ratio(at: Array) -> Array:
        """Log q - log g."""
        white = np.linalg.solve(factor, (at - mean).T)
        log_det = np.log(np.diag(factor)).sum() + 0.5 * mean.size * math.log(2 * math.pi)
        return np.asarray(log_density(at) + 0.5 * (white**2).sum(axis=0) + log_det)

    at_x, at_y = log_ratio(x), log_ratio(y)

    def excess(log_z: float) -> float:
        return float(expit(at_y - log_z).sum() - expit(log_z - at_x).sum())

    both = np.concatenate([at_x, at_y])
    both = both[np.isfinite(both)]
    return float(brentq(excess, both.min() - 1.0, both.max() + 1.0, xtol=1e-10))

"""Likelihoods of simulated experiments whose instruments are weak."""

from __future__ import annotations

import numpy as np

from skbayesiv._models.history.likelihoods import EffectLikelihood


def experiment(rng, concentration, rho=0.8, n=200, beta=1.0):
    """Likelihood of one simulated experiment with one instrument."""
    z, v = rng.normal(size=n), rng.normal(size=n)
    t = np.sqrt(concentration / n) * z + v
    y = beta * t + rho * v + np.sqrt(1 - rho**2) * rng.normal(size=n)
    rows = np.column_stack([y, t]) - [y.mean(), t.mean()]
    direction = (z - z.mean()) / np.linalg.norm(z - z.mean())
    coef = direction @ rows
    left = rows - np.outer(direction, coef)
    return EffectLikelihood(1, np.outer(coef, coef), left.T @ left / (n - 2), np.std(t) * n**0.5)


RNG = np.random.default_rng(7)
THREE = [experiment(RNG, c) for c in (1.0, 4.0, 9.0)]

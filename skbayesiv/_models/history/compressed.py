"""A mixture of thousands of normals -> one of a few dozen that has the same density."""

from __future__ import annotations

import numpy as np

from skbayesiv._models.history.meta_analysis import Mixture
from skbayesiv._typing import Array

COMPONENTS, NODES, STEPS = 16, 801, 300
TAIL, SHARE = 1e-7, 0.02
NARROW = 1e-3  # of the spacing about a component: it cannot collapse


def compress(mixture: Mixture) -> Mixture:
    """Fit a few components to a mixture's density by EM, on a grid that reaches into its tails.

    Components begin at the quantiles, as wide as these are apart. The order of the moments that
    exist is not kept: far out the tails are a normal's.
    """
    low, high, middle, scale = _range(mixture)
    x = np.linspace(np.arcsinh((low - middle) / scale), np.arcsinh((high - middle) / scale), NODES)
    node = middle + scale * np.sinh(x)
    mass = np.exp(mixture.log_pdf(node)) * scale * np.cosh(x) * (x[1] - x[0])
    mass /= mass.sum()
    mean = np.interp((np.arange(COMPONENTS) + 0.5) / COMPONENTS, np.cumsum(mass), node)
    sd = np.maximum(np.gradient(mean), NARROW * scale)
    weight, floor = np.full(COMPONENTS, 1.0 / COMPONENTS), (NARROW * sd) ** 2
    variance = sd**2
    for _ in range(STEPS):
        share = _responsibilities(node, weight, mean, variance) * mass[:, None]
        weight = share.sum(axis=0) + 1e-300
        mean = (share * node[:, None]).sum(axis=0) / weight
        variance = (share * (node[:, None] - mean) ** 2).sum(axis=0) / weight + floor
    return Mixture(weight / weight.sum(), mean, variance, mixture.order)


def _range(mixture: Mixture) -> tuple[float, float, float, float]:
    """Ends far out in both tails, the median, and how narrow the narrowest part is."""
    low, middle, high = (mixture.quantile(p) for p in (TAIL, 0.5, 1.0 - TAIL))
    sd = np.sqrt(mixture.variance)
    order = np.argsort(sd)
    narrow = sd[order][np.searchsorted(np.cumsum(mixture.weight[order]), SHARE)]
    return low, high, middle, float(narrow)


def _responsibilities(node: Array, weight: Array, mean: Array, variance: Array) -> Array:
    """Probability of each component at each node, shape (NODES, COMPONENTS)."""
    log = np.log(weight) - 0.5 * np.log(variance) - 0.5 * (node[:, None] - mean) ** 2 / variance
    log = np.exp(log - log.max(axis=1, keepdims=True))
    return np.asarray(log / log.sum(axis=1, keepdims=True))

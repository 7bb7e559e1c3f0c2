"""How heavy the tail of importance weights is: the shape of a generalised Pareto fit [1]_ [2]_.

.. [1] Zhang, J. and Stephens, M. A. (2009). A new and efficient estimation method for the
   generalized Pareto distribution. Technometrics 51, 316-325.
.. [2] Vehtari, A., Simpson, D., Gelman, A., Yao, Y. and Gabry, J. (2024). Pareto smoothed
   importance sampling. Journal of Machine Learning Research 25(72).
"""

from __future__ import annotations

import math

import numpy as np

from skbayesiv._typing import Array


def tail_shape(weight: Array) -> float:
    """Shape k of the upper tail of n weights: the largest 3 n^(1/2), or a fifth of few.

    It is 0 where these are all equal, and nan where more than a quarter of them are the least.
    """
    n = weight.size
    size = math.floor(3.0 * math.sqrt(n) if n > 225 else n / 5)
    highest = np.partition(weight, n - size - 1)[n - size - 1 :]
    excess = np.sort(highest[1:]) - highest[0]
    if excess[-1] == excess[0]:
        return 0.0
    quartile = excess[int(size / 4 - 0.5)]
    return _shape(excess, quartile) if quartile > excess[0] else math.nan


def _shape(excess: Array, quartile: float) -> float:
    """Mean of the shape under the posterior of b = -k / sigma, and a weak prior of k about 1/2."""
    n = excess.size
    grid = 30 + int(math.sqrt(n))
    b = 1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    b = b / (3.0 * quartile) + 1.0 / excess[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        k = np.log1p(-b[:, None] * excess).mean(axis=1)
        fit = n * (np.log(-b / k) - k - 1.0)
        weight = np.exp(fit - fit.max())
        weight[weight < 10.0 * np.finfo(float).eps * weight.sum()] = 0.0
        mean = np.log1p(-(b @ weight / weight.sum()) * excess).mean()
    found = float((n * mean + 5.0) / (n + 10.0))
    return math.inf if math.isnan(found) else found

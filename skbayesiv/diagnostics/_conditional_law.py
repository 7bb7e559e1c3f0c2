"""Distribution of the conditional likelihood ratio given the strength of the first stage.

Under the null and given r, with K ~ chi2(1) and J ~ chi2(Q - 1) independent,

    LR = (K + J - r + ((K + J - r)^2 + 4 K r)^(1/2)) / 2                                  (1)

is the larger root of x^2 - (K + J - r) x - K r = 0, so that LR <= x if and only if

    K (x + r) + J x <= x (x + r).                                                         (2)

With A = K + J ~ chi2(Q) and K / A = sin^2 w independent of it, w having a density proportional to
cos^(Q-2) w, (2) is A <= x (x + r) / (x + r sin^2 w): one integral over w (Andrews, Moreira and
Stock 2007, in other variables). As r grows the law goes from chi2(Q) to chi2(1). For small samples
A / Q may be F instead, with some degrees of freedom in the denominator: the integral of its tail.
"""

from __future__ import annotations

from functools import cache
from math import pi

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy import special

from skbayesiv._typing import Array


@cache
def _angles() -> tuple[Array, Array]:
    """Angles w = u^3 pi / 2 with u from 0 to 1, for small ratios make a step near 0; and steps."""
    nodes, weights = leggauss(160)
    return pi / 2 * ((1.0 + nodes) / 2) ** 3, weights * (1.0 + nodes) ** 2


def likelihood_ratio(ar: Array, score: Array, strength: Array) -> Array:
    """Equation (1) of K + J = `ar` and K = `score`, by the formula that does not cancel."""
    known = np.where(np.isinf(strength), 0.0, strength)
    apart = ar - known
    root = np.sqrt(apart**2 + 4.0 * score * known)
    below = np.where(root - apart > 0.0, root - apart, 1.0)
    ratio = np.where(apart >= 0.0, (apart + root) / 2.0, 2.0 * score * known / below)
    return np.asarray(np.where(np.isinf(strength), score, ratio))


def p_values(ratio: Array, strength: Array, q: int, dof: float | None = None) -> Array:
    """Probabilities of larger ratios, given strengths of the same shape; `dof` is of an F."""
    ratio, strength = np.asarray(ratio, dtype=float), np.asarray(strength, dtype=float)
    if q == 1:
        return _tail(ratio, q, dof)
    x, r = ratio[..., None], strength[..., None]
    angle, step = _angles()
    share = np.sin(angle) ** 2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        known = x * (1.0 + x / r) / (x / r + share)  # of an infinite r too
        least = np.where(r > x, known, x * (x + r) / (x + r * share))
    least = np.where(x > 0.0, least, 0.0)
    least = np.where(np.isinf(x), np.inf, least)
    weight = step * np.cos(angle) ** (q - 2)
    return np.asarray(_tail(least, q, dof) @ weight / weight.sum())


def _tail(x: Array, q: int, dof: float | None) -> Array:
    """Upper tail of chi2(q), or of q F(q, dof)."""
    if dof is None:
        return np.asarray(special.gammaincc(q / 2, x / 2))
    return np.asarray(special.betainc(dof / 2, q / 2, dof / (dof + x)))

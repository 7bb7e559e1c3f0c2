"""Effects that the Anderson-Rubin test accepts: where a matrix polynomial is not negative."""

from collections.abc import Callable
from itertools import pairwise
from math import inf

import numpy as np
from scipy import linalg

from skbayesiv._typing import Array
from skbayesiv.diagnostics._effect_scores import EffectScores, range_root, score_statistic
from skbayesiv.diagnostics._reduced_form import ReducedForm

type Pieces = list[tuple[float, float]]


def accepted_effects(form: ReducedForm, critical: float) -> Pieces:
    """Effects less the centre where d'd <= critical s2, errors having one variance."""
    variance = form.cov[:, :, :1, :1]
    blocks = critical * variance - (form.coef.T @ form.coef)[:, :, None, None]
    size = np.diag(variance[:, :, 0, 0] + form.coef.T @ form.coef)

    def accepts(b: float) -> bool:
        direction = np.array([1.0, -b])
        return bool(direction @ blocks[:, :, 0, 0] @ direction >= 0.0)

    return _solve(blocks, size, accepts)


def effects_of_small_scores(scores: EffectScores, critical: float) -> Pieces:
    """Effects less the centre where g'S^-1 g <= critical.

    In coordinates in which the scores of outcome and treatment together have unit covariance.
    """
    scale = like_scale(scores)
    unit = np.array([1.0 / scale if scale else 1.0, 1.0])
    s = scores.outer * np.outer(unit, unit)[:, :, None, None]
    root = range_root(s[0, 0] + s[1, 1])
    s = root.T @ s @ root
    g = root.T @ (scores.total * unit)
    blocks = critical * s - np.einsum("qd,re->deqr", g, g)

    def accepts(b: float) -> bool:
        direction = np.array([1.0, -b])
        covariance = np.einsum("d,e,deqr->qr", direction, direction, s)
        return bool(score_statistic(g @ direction, covariance) <= critical)

    pieces = _solve(blocks, np.array([1.0 if scale else 0.0, 1.0]), accepts)
    return [(scale * lower, scale * upper) if scale else (lower, upper) for lower, upper in pieces]


def like_scale(scores: EffectScores) -> float:
    """Size of the outcome's scores relative to the treatment's; zero if t explains y exactly."""
    size = np.trace(scores.outer[[0, 1], [0, 1]], axis1=1, axis2=2)
    return float(np.sqrt(size[0] / size[1]))


def _solve(blocks: Array, size: Array, accepts: Callable[[float], bool]) -> Pieces:
    """Solve A_00 - (A_01 + A_10) b + A_11 b^2 >= 0, in units of columns of like scale."""
    scale = float(np.sqrt(size[0] / size[1]))
    if scale == 0.0:  # t explains y exactly: any other effect is as good as an infinite one
        return [(-inf, inf)] if accepts(1.0) else [(0.0, 0.0)]
    constant, linear = blocks[0, 0] / scale**2, -(blocks[0, 1] + blocks[1, 0]) / scale
    breaks = _real_roots(constant, linear, blocks[1, 1])
    pieces: Pieces = []
    for lower, upper in pairwise([-inf, *breaks, inf]):
        if not accepts(scale * _between(lower, upper)):
            continue
        if pieces and pieces[-1][1] == lower:
            pieces[-1] = (pieces[-1][0], upper)
        else:
            pieces.append((lower, upper))
    return [(scale * lower, scale * upper) for lower, upper in pieces]


def _real_roots(constant: Array, linear: Array, square: Array) -> list[float]:
    """Real roots of det(A_0 + A_1 b + A_2 b^2), in increasing order.

    (A_0 + A_1 b + A_2 b^2) v = 0 is [[0, I], [-A_0, -A_1]] w = b [[I, 0], [0, A_2]] w with
    w = (v, b v), a linear problem. Roots at infinity are dropped. A double root is where the set
    shrinks to a point or two pieces touch; rounding may make it a complex pair, dropped too.
    """
    order = len(constant)
    identity, zero = np.eye(order), np.zeros((order, order))
    left = np.block([[zero, identity], [-constant, -linear]])
    right = np.block([[identity, zero], [zero, square]])
    numerator, denominator = linalg.eigvals(left, right, homogeneous_eigvals=True)
    real = (np.abs(denominator) > 1e-14 * np.abs(numerator)) & (numerator.imag == 0.0)
    return sorted(set((numerator[real].real / denominator[real].real).tolist()))


def _between(lower: float, upper: float) -> float:
    if lower == -inf and upper == inf:
        return 0.0
    if lower == -inf:
        return upper - 1.0 - abs(upper)
    if upper == inf:
        return lower + 1.0 + abs(lower)
    return (lower + upper) / 2

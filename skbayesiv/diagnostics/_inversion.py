"""Effects that the Anderson-Rubin test accepts: where a matrix polynomial is not negative."""

from itertools import pairwise
from math import inf

import numpy as np
from scipy import linalg

from skbayesiv._typing import Array
from skbayesiv.diagnostics._reduced_form import ReducedForm, quadratic_form


def accepted_effects(form: ReducedForm, critical: float, robust: bool) -> list[tuple[float, float]]:
    """Solve M(b) >= 0 in units in which outcome and treatment have like scale."""
    a, b = form.coef[:, 0], form.coef[:, 1]
    v_00, v_01, v_11 = form.cov[0, 0], form.cov[0, 1] + form.cov[1, 0], form.cov[1, 1]
    scale = float(np.sqrt((np.trace(v_00) + a @ a) / (np.trace(v_11) + b @ b)))
    if scale == 0.0:  # t explains y exactly
        return [(-inf, inf)] if quadratic_form(b, v_11) <= critical else [(0.0, 0.0)]
    a, v_00, v_01 = a / scale, v_00 / scale**2, v_01 / scale
    if robust:
        constant = critical * v_00 - np.outer(a, a)
        linear = np.outer(a, b) + np.outer(b, a) - critical * v_01
        square = critical * v_11 - np.outer(b, b)
    else:
        constant = np.array([[critical * v_00[0, 0] - a @ a]])
        linear = np.array([[2.0 * (a @ b) - critical * v_01[0, 0]]])
        square = np.array([[critical * v_11[0, 0] - b @ b]])
    pieces = _positive_region(constant, linear, square)
    return [(scale * lower, scale * upper) for lower, upper in pieces]


def _positive_region(constant: Array, linear: Array, square: Array) -> list[tuple[float, float]]:
    """Intervals on which A_0 + A_1 b + A_2 b^2 is positive semi-definite."""
    breaks = _real_roots(constant, linear, square)
    ends = [-inf, *breaks, inf]
    pieces: list[tuple[float, float]] = []
    for lower, upper in pairwise(ends):
        point = _between(lower, upper)
        value = (constant + linear * point + square * point**2) / (1.0 + point**2)
        if np.linalg.eigvalsh(value)[0] < 0.0:
            continue
        if pieces and pieces[-1][1] == lower:
            pieces[-1] = (pieces[-1][0], upper)
        else:
            pieces.append((lower, upper))
    return pieces


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

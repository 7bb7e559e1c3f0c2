"""Moments -> canonical moments in standardised coordinates: equal for equal data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._typing import Array

CANONICAL_BITS = 36


@dataclass(frozen=True, eq=False)
class Standardised:
    """Canonical moments: mean, standard deviation and correlation, rounded to 36 bits.

    Sums taken in another order, in other chunks, or with a weight in place of a repeated row
    differ in the last bits, and a Markov chain magnifies any difference. Rounding (each mean on
    the scale of its column, each correlation on the scale of 1) removes it.

    Attributes
    ----------
    columns : Columns
    n : float
        Sum of weights.
    mean, sd : ndarray of shape (C,)
        The standard deviation divides by n, and is 1 for a column without spread.
    corr : ndarray of shape (C, C)
        Its diagonal exceeds 1 by the bound on the rounding error's norm, so that the matrix
        stays positive definite; a residual variance below about 1e-10 cannot be resolved.
    """

    columns: Columns
    n: float
    mean: Array
    sd: Array
    corr: Array

    def second_moments(self, *, fit_intercept: bool = True) -> Array:
        """Means of products of the columns divided by their sd: centred, or about zero."""
        if fit_intercept:
            return self.corr
        ratio = self.mean / self.sd
        return self.corr + np.outer(ratio, ratio)


def standardise(moments: Moments) -> Standardised:
    """Canonical moments in standardised coordinates."""
    width = len(moments.columns.names)
    if not moments.weight:
        return Standardised(moments.columns, 0.0, np.zeros(width), np.ones(width), np.eye(width))
    scatter, mean, spread = moments.scatter, moments.mean, moments.spread
    constant = spread == 0.0
    sd = np.where(constant, 1.0, round_bits(spread))
    corr = scatter / moments.weight / np.outer(sd, sd)
    corr = np.where(constant[:, None] | constant, 0.0, round_to(corr, 1.0))
    np.fill_diagonal(corr, np.where(constant, 0.0, 1.0) + width * 2.0**-CANONICAL_BITS)
    n = float(round_bits(np.asarray(moments.weight)))
    return Standardised(moments.columns, n, round_to(mean, np.maximum(np.abs(mean), sd)), sd, corr)


def standardise_part(moments: Moments, whole: Standardised) -> Standardised:
    """Canonical moments of some of the rows, about their own means and in the units of all.

    The diagonal of `corr` is then not one.
    """
    sd, weight = whole.sd, moments.weight
    constant = moments.spread == 0.0
    second = np.where(constant[:, None] | constant, 0.0, moments.scatter / np.outer(sd, sd))
    corr = round_to(second / weight, np.maximum(1.0, np.abs(second).max(initial=0.0) / weight))
    corr[np.diag_indices_from(corr)] += len(sd) * 2.0**-CANONICAL_BITS
    mean = round_to(moments.mean, np.maximum(np.abs(moments.mean), sd))
    return Standardised(moments.columns, float(round_bits(np.asarray(weight))), mean, sd, corr)


def round_bits(value: Array) -> Array:
    """Round to 36 significant bits."""
    mantissa, exponent = np.frexp(value)
    return np.ldexp(np.round(np.ldexp(mantissa, CANONICAL_BITS)), exponent - CANONICAL_BITS)


def round_to(value: Array, scale: Any) -> Array:
    """Round to a multiple of 2^-36 of the power of two above `scale`."""
    unit = np.ldexp(1.0, np.frexp(scale)[1] - CANONICAL_BITS)
    return np.asarray(np.round(value / unit) * unit)


def in_own_units(second: Array) -> tuple[Array, Array]:
    """Root of each sum of squares, 1 where it is zero, and the second moments in these units."""
    length = np.sqrt(np.maximum(np.diag(second), 0.0))
    scale = np.where(length > 0.0, length, 1.0)
    return scale, second / np.outer(scale, scale)


def partial_out(second: Array, width: int, ridge: float = 0.0) -> tuple[Array, Array]:
    """Second moments of the residuals when the first columns are regressed out of the others.

    Parameters
    ----------
    second : ndarray of shape (C, C)
    width : int
        Number W of columns to regress on.
    ridge : float, default=0.0
        Added to their diagonal, where they may be linearly dependent.

    Returns
    -------
    partial : ndarray of shape (C - W, C - W)
    coef : ndarray of shape (W, C - W)
        Least-squares coefficients.
    """
    on, rest = slice(0, width), slice(width, None)
    coef = np.linalg.solve(second[on, on] + ridge * np.eye(width), second[on, rest])
    return second[rest, rest] - second[on, rest].T @ coef, coef

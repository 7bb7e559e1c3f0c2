"""Scores of a hypothesised effect, its null imposed, which robust tests of effects are made of.

With (1, X) partialled out and Z~ the whitened instruments (Z~'WZ~ = I), the scores of an effect b
are those of the residual that the null leaves, not of a regression's. Summed over units (rows, or
clusters of them) they give

    s_g(b) = sum_{i in g} w_i z~_i (y~_i - t~_i'b),                                       (1)
    g(b) = sum_g s_g,    S(b) = sum_g s_g s_g',    AR(b) = g'S^-1 g                       (2)

of m units. AR is the objective of continuously updated GMM, the S-statistic of Stock and Wright
(2000). It lies between 0 and m, for (c'g)^2 <= m c'S c, and is chi-square with Q degrees of freedom
in large samples. If the units' scores are independent normal with mean zero and one covariance,
Hotelling's T^2 is (m - 1) AR / (m - AR), so that

    F = (m - Q) / Q * AR / (m - AR)    is F(Q, m - Q),                                    (3)
    AR / m                             is Beta(Q / 2, (m - Q) / 2).                       (4)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from skbayesiv._typing import Array
from skbayesiv.diagnostics._partial import Partialled
from skbayesiv.diagnostics._reduced_form import ROUNDING, require_clusters, size_of_parts


@dataclass(frozen=True, eq=False)
class EffectScores:
    """Scores of v = y - t'centre (column 0) and of the treatments, linear in which are all others.

    Attributes
    ----------
    centre : ndarray of shape (K,)
        Least squares coefficients of y on t.
    total : ndarray of shape (Q, D)
        Sums of the scores, D = 1 + K.
    outer : ndarray of shape (D, D, Q, Q)
        Sums over units of the products of the scores of two columns.
    n_units : float
        Number m of units.
    """

    centre: Array
    total: Array
    outer: Array
    n_units: float

    @classmethod
    def of(cls, p: Partialled) -> EffectScores:
        """Scores of a design, zero where v is rounding."""
        require_clusters(p, p.n_instruments + 1)  # AR of Q units is Q, whatever the effect
        d = 1 + p.n_treatments
        total = p.projection.coef.copy()
        outer = p.outer("reduced form")[:, d:, :, d:].transpose(1, 3, 0, 2).copy()
        square = p.square("reduced form")[d, d]
        if square <= p.rounding * size_of_parts(p, p.projection.centre):
            total[:, 0] = outer[0] = outer[:, 0] = 0.0
        return cls(p.projection.centre, total, outer, p.n_units)

    def about(self, direction: Array) -> tuple[Array, Array]:
        """g and S of linear combinations of the columns, directions of shape (..., D)."""
        g = direction @ self.total.T
        s = np.einsum("...d,...e,deqr->...qr", direction, direction, self.outer, optimize=True)
        return g, s

    def direction(self, p: Partialled, effect: Array) -> Array:
        """Combination of the columns that y - t'effect is, zero if that is rounding only."""
        direction = np.append(1.0, self.centre - effect)
        d = len(direction)
        square = direction @ p.square("reduced form")[d:, d:] @ direction
        if square <= p.rounding * size_of_parts(p, effect):
            return np.zeros(d)
        return direction


def score_statistic(g: Array, s: Array) -> Array:
    """AR = g'S^-1 g of shapes (..., Q) and (..., Q, Q); g lies in the range of S."""
    return np.asarray((times(inverse_root(s), g) ** 2).sum(axis=-1))


def inverse_root(matrix: Array, diagonal: Array | None = None) -> Array:
    """R with R R' = M^-1 for positive semi-definite M of shape (..., Q, Q).

    Eigenvalues of the matrix with unit diagonal that are rounding are raised to it. A diagonal of
    other numbers takes the place of the matrix's own where M is what a difference leaves.
    """
    diagonal = np.diagonal(matrix, axis1=-2, axis2=-1) if diagonal is None else diagonal
    scale, values, vectors = _unit_eigen(matrix, diagonal)
    root = vectors / np.sqrt(np.maximum(values, ROUNDING))[..., None, :]
    return np.asarray(root / scale[..., :, None])


def range_root(matrix: Array) -> Array:
    """R with R'M R = I whose columns span the range of M, shape (Q, rank)."""
    scale, values, vectors = _unit_eigen(matrix, np.diag(matrix))
    keep = values > ROUNDING
    return np.asarray(vectors[:, keep] / np.sqrt(values[keep]) / scale[:, None])


def _unit_eigen(matrix: Array, diagonal: Array) -> tuple[Array, Array, Array]:
    """Roots of the diagonal, 1 where it is zero, and the eigensystem in units of these."""
    scale = np.where(diagonal > 0.0, np.sqrt(np.maximum(diagonal, 0.0)), 1.0)
    unit = matrix / (scale[..., :, None] * scale[..., None, :])
    values, vectors = np.linalg.eigh((unit + np.swapaxes(unit, -1, -2)) / 2)
    return scale, values, vectors


def times(root: Array, vector: Array) -> Array:
    """R'v."""
    return np.asarray(np.einsum("...qr,...q->...r", root, vector))


def hotelling(statistic: Array | float, n_units: float, q: int) -> Array:
    """Q times the F of equation (3)."""
    left = np.maximum(n_units - np.asarray(statistic), np.finfo(float).eps * n_units)
    return np.asarray((n_units - q) * statistic / left)


def critical_value(level: float, q: int, n_units: float | None) -> float:
    """What AR exceeds with probability 1 - level: chi-square or, given m, equation (4)."""
    if n_units is None:
        return float(stats.chi2.ppf(level, q))
    return n_units * float(stats.beta.ppf(level, q / 2, (n_units - q) / 2))

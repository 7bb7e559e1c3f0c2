"""Moments -> a few rows with the same moments.

Least squares, 2SLS, LIML and all classical statistics depend on the rows through cross-products
only. With W = [1, columns], N the sum of weights, m the means and S the scatter about them,

    W'W = A'A,    A = [[sqrt N, sqrt N m'], [0, S^(1/2)]],

so the C + 1 rows of A stand for any number of rows, without loss to cancellation. The scores of
a cluster, Z'e, are bilinear in its rows too: clusters keep what cluster-robust covariances need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skbayesiv._data.moments import Moments
from skbayesiv._typing import Array

ROUNDING = 1e-13  # an eigenvalue this small of a correlation matrix is zero


def pseudo_rows(moments: Moments) -> Array:
    """Rows [1, columns] of shape (C + 1, C + 1) whose cross-products are those of all rows."""
    n, scatter = moments.weight, moments.scatter
    sd = np.sqrt(np.clip(np.diag(scatter), 0.0, None))
    unit = np.where(sd > 0.0, sd, 1.0)
    values, vectors = np.linalg.eigh(scatter / np.outer(unit, unit))
    values = np.where(values > ROUNDING, values, 0.0)
    root = np.sqrt(values)[:, None] * vectors.T * unit
    first = np.sqrt(n) * np.append(1.0, moments.mean)
    return np.vstack([first, np.column_stack([np.zeros(len(sd)), root])])


def stack(parts: Sequence[Moments]) -> tuple[Array, Array, NDArray[np.intp]]:
    """Rows of several moments with equal weights that add up to N, and the number of each's part.

    Returns
    -------
    rows : ndarray of shape (R, C + 1)
    weight : ndarray of shape (R,)
    codes : ndarray of int of shape (R,)
    """
    blocks = [pseudo_rows(part) for part in parts]
    rows = np.concatenate(blocks)
    share = sum(part.weight for part in parts) / len(rows)
    codes = np.repeat(np.arange(len(parts)), [len(block) for block in blocks])
    return rows / np.sqrt(share), np.full(len(rows), share), codes


def check_clusters_add_up(moments: Moments, parts: Sequence[Moments]) -> None:
    """Raise unless clusters have the columns of the whole, and its weight and totals."""
    for part in parts:
        if part.columns != moments.columns:
            raise ValueError(
                f"cluster_moments must be of the columns of moments, {moments.columns}; got "
                f"{part.columns}."
            )
    weight = sum(part.weight for part in parts)
    total = sum((part.about(moments.shift).total for part in parts), np.zeros_like(moments.shift))
    spread = np.sqrt(np.clip(np.diag(moments.cross), 0.0, None) * max(moments.weight, 1.0))
    close = np.abs(total - moments.total) <= 1e-6 * np.maximum(spread, np.finfo(float).tiny)
    if not (np.isclose(weight, moments.weight, rtol=1e-9) and close.all()):
        raise ValueError(
            f"cluster_moments must add up to moments, {moments.weight:.12g} observations; got "
            f"{weight:.12g}" + ("." if close.all() else " with other totals.")
        )

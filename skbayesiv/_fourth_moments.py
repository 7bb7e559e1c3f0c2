"""Rows -> frozen :class:`FourthMoments`: what the GMM criterion needs to know of the data.

The criterion lives on products of two columns, such as z e, and on their second moments. With

    f = (1, x, z°),   d = (1, z°, t°, y°),   u = f (x) d  (all products, F x E of them),

they are the sums of u and of u u'. Columns marked ° have a *reference* taken off: a shift and,
with covariates, a regression on x with given coefficients. Moving the shift is linear in f and
in d, hence in u, so that sums of any rows can be brought to a common shift exactly and added.
Moving the regression would need the products x (x) x (order P^4 sums), so with covariates sums
add only when their coefficients on x are the same: the rows are read twice, first for the
moments that give these coefficients, then for the sums.

When errors are correlated within clusters, the sums of u over each cluster take the rows' place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skbayesiv._moments import Moments, round_to, standardise
from skbayesiv._product_sums import (
    product_shape,
    shift_matrix,
    sum_clusters,
    sum_rows,
    transform,
)
from skbayesiv._validation import Columns, IVData

Array = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Reference:
    """What is taken off the columns before products are formed.

    Attributes
    ----------
    shift : ndarray of shape (C,)
        Taken off the columns [X, z, t, y]; zero without an intercept.
    coef : ndarray of shape (P, C - P)
        Then x times these coefficients is taken off z, t and y.
    """

    shift: Array
    coef: Array

    @classmethod
    def from_moments(cls, moments: Moments, *, fit_intercept: bool = True) -> Reference:
        """Means and least-squares coefficients on x, rounded as canonical moments are.

        Equal data in another order or with weights then have the same reference to the last bit.
        """
        std, x, rest = standardise(moments), moments.columns.x, slice(moments.columns.x.stop, None)
        second = std.corr
        if not fit_intercept:
            second = second + np.outer(std.mean / std.sd, std.mean / std.sd)
        coef = np.linalg.solve(second[x, x], second[x, rest]) if x.stop else second[x, rest]
        coef = round_to(coef, np.maximum(np.abs(coef), 1.0)) * std.sd[rest] / std.sd[x, None]
        return cls(std.mean if fit_intercept else np.zeros_like(std.mean), coef)

    @classmethod
    def empty(cls, columns: Columns) -> Reference:
        """Reference that takes nothing off."""
        width, p = len(columns.names), len(columns.covariates)
        return cls(np.zeros(width), np.zeros((p, width - p)))


@dataclass(frozen=True, eq=False)
class FourthMoments:
    """Weighted sums of products of columns and of products of these, for the GMM criterion.

    Those of disjoint rows (of disjoint clusters) add, and those of a subset can be subtracted,
    when they share the reference's coefficients on x; without covariates always.

    Attributes
    ----------
    columns : Columns
        P covariates, Q instruments, K treatments.
    reference : Reference
    n_rows : int
        Number of rows with a positive weight.
    n_clusters : int or None
        Number of clusters, None when rows are independent.
    total : ndarray of shape (F, E), F = 1 + P + Q, E = 2 + Q + K
        Weighted sum of ``f d'``; its first entry is the sum of weights.
    cross : ndarray of shape (F, E, F, E)
        Weighted sum over rows, or sum over clusters, of the products of these.
    """

    columns: Columns
    reference: Reference
    n_rows: int
    n_clusters: int | None
    total: Array
    cross: Array

    @classmethod
    def from_data(
        cls,
        data: IVData,
        reference: Reference | None = None,
        clusters: Codes | None = None,
        *,
        fit_intercept: bool = True,
    ) -> FourthMoments:
        """Sums over checked rows, in one pass over blocks of about 1 MB.

        Parameters
        ----------
        data : IVData
        reference : Reference, optional
            By default that of the data's own moments, which takes a pass of its own.
        clusters : ndarray of int of shape (n,), optional
            Cluster of each row.
        fit_intercept : bool, default=True
            For the default reference.
        """
        if reference is None:
            reference = Reference.from_moments(Moments.from_data(data), fit_intercept=fit_intercept)
        f, e = product_shape(data.columns)
        total, cross, n_rows = np.zeros(f * e), np.zeros((f * e, f * e)), 0
        add = sum_rows if clusters is None else sum_clusters
        for part, part_cross, part_rows in add(data, reference.shift, reference.coef, clusters):
            total += part
            cross += part_cross
            n_rows += part_rows
        groups = None
        if clusters is not None:
            used = clusters if data.sample_weight is None else clusters[data.sample_weight > 0]
            groups = int(np.unique(used).size)
        shaped = total.reshape(f, e), cross.reshape(f, e, f, e)
        return cls(data.columns, reference, n_rows, groups, *shaped)

    @classmethod
    def empty(cls, columns: Columns) -> FourthMoments:
        """Sums over no rows: with them a posterior is its prior."""
        f, e = product_shape(columns)
        zeros = np.zeros((f, e)), np.zeros((f, e, f, e))
        return cls(columns, Reference.empty(columns), 0, None, *zeros)

    @property
    def weight(self) -> float:
        """Sum of the frequency weights."""
        return float(self.total[0, 0])

    def about(self, shift: Array) -> FourthMoments:
        """Return the same sums about another shift of the columns, shape (C,)."""
        if np.array_equal(shift, self.reference.shift):
            return self
        p, q = len(self.columns.covariates), len(self.columns.instruments)
        d_x, d_rest = np.split(self.reference.shift - shift, [p])
        d_rest = d_rest - d_x @ self.reference.coef
        left = shift_matrix(np.concatenate([d_x, d_rest[:q]]))
        right = shift_matrix(d_rest)
        total, cross = transform(self.total, self.cross, left, right)
        return replace(
            self, reference=Reference(shift, self.reference.coef), total=total, cross=cross
        )

    def __add__(self, other: FourthMoments) -> FourthMoments:
        return self._combine(other, 1)

    def __sub__(self, other: FourthMoments) -> FourthMoments:
        if other.n_rows > self.n_rows:
            raise ValueError(
                f"Moments of {other.n_rows} rows cannot be taken from moments of {self.n_rows}."
            )
        return self._combine(other, -1)

    def _combine(self, other: FourthMoments, sign: int) -> FourthMoments:
        if sign > 0 and not self.n_rows:
            return other
        if not other.n_rows:
            return self
        self._check_addable(other)
        other = other.about(self.reference.shift)
        groups = None
        if self.n_clusters is not None and other.n_clusters is not None:
            groups = self.n_clusters + sign * other.n_clusters
        return replace(
            self,
            n_rows=self.n_rows + sign * other.n_rows,
            n_clusters=groups,
            total=self.total + sign * other.total,
            cross=self.cross + sign * other.cross,
        )

    def _check_addable(self, other: FourthMoments) -> None:
        if self.columns != other.columns:
            raise ValueError(
                f"Moments must be of the same columns: {self.columns}; got {other.columns}."
            )
        if (self.n_clusters is None) != (other.n_clusters is None):
            raise ValueError("Fourth-order sums over rows and over clusters do not add.")
        if not np.array_equal(self.reference.coef, other.reference.coef):
            raise ValueError(
                "Fourth-order sums with covariates add only when they were taken about the same "
                "coefficients on X: pass the same reference to FourthMoments.from_data."
            )

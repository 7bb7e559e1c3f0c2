"""Rows that have a weight -> frozen :class:`RowDesign`: what is regressed on covariates row by row.

Statistics of this sub-package that are not functions of one partialled design, because they ask
how assignment and first stage differ by the covariates, are computed from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skbayesiv._data.rows import IVData
from skbayesiv._typing import Array
from skbayesiv.diagnostics._partial import Partialled, partial_out

EXACT = 1e-12  # of what should be about 1, so little is rounding
SPANNED = 1e-9  # a column that so small a share of is left is spanned by others
NEEDS_ROWS = (
    "y must be arrays, or an estimator that kept its rows: moments do not tell how assignment and "
    "first stage differ by the covariates. Pass the rows (y, t, z, X)."
)


@dataclass(frozen=True, eq=False)
class RowDesign:
    """Rows of an experiment, all with a weight.

    Attributes
    ----------
    data : IVData
    fit_intercept : bool
    """

    data: IVData
    fit_intercept: bool

    @classmethod
    def of(cls, data: IVData, *, fit_intercept: bool) -> RowDesign:
        """Design of the rows that have a weight."""
        weight = data.sample_weight
        if weight is not None and not weight.all():
            data = data.take(np.flatnonzero(weight))
        return cls(data, fit_intercept)

    @cached_property
    def x(self) -> Array:
        """Covariates of shape (n, P)."""
        return np.asarray(self.data.x, dtype=float)

    @cached_property
    def z(self) -> Array:
        """Instruments of shape (n, Q)."""
        return np.asarray(self.data.z, dtype=float)

    @cached_property
    def t(self) -> Array:
        """Treatments of shape (n, K)."""
        return np.asarray(self.data.t, dtype=float)

    @cached_property
    def y(self) -> Array:
        """Outcome of shape (n,)."""
        return np.asarray(self.data.y, dtype=float)

    @cached_property
    def weight(self) -> Array:
        """Weights of shape (n,)."""
        given = self.data.sample_weight
        return np.ones(self.data.n_rows) if given is None else given

    @property
    def n(self) -> float:
        """Number of observations, the sum of the weights."""
        return float(self.weight.sum())

    @cached_property
    def clusters(self) -> Any:
        """Cluster of each row, numbered from 0 without gaps, or None."""
        codes = self.data.clusters
        return None if codes is None else np.unique(codes, return_inverse=True)[1]

    @property
    def n_clusters(self) -> int:
        """Number of clusters; 0 without clusters."""
        return 0 if self.clusters is None else int(self.clusters.max()) + 1

    @property
    def two_arms(self) -> bool:
        """Whether there is one instrument, of two values."""
        low, high = self.z.min(), self.z.max()
        return self.z.shape[1] == 1 and bool(((self.z == low) | (self.z == high)).all())

    @property
    def constant(self) -> Array:
        """A constant of length 1 in the weights, shape (n, 1)."""
        return np.full((self.data.n_rows, 1), 1.0 / np.sqrt(self.n))

    @cached_property
    def controls(self) -> Array:
        """Orthonormal columns, in the weights, that span (1, X): shape (n, rank)."""
        if not self.fit_intercept:
            return self.basis(self.x)
        return np.hstack([self.constant, self.basis(self.standard(self.x))])

    @cached_property
    def has_constant(self) -> bool:
        """Whether the controls span a constant."""
        left = self.residual(self.constant, self.controls)
        return self.fit_intercept or bool(self.total(left**2)[0] <= SPANNED)

    def about_mean(self, columns: Array) -> Array:
        """Columns less their mean; exactly zero for a constant, however large."""
        apart = columns - columns[:1]
        return np.asarray(apart - self.total(apart) / self.n)

    def sizes(self, columns: Array) -> Array:
        """Roots of the mean squares of columns, 1 for one that is zero."""
        largest = np.abs(columns).max(axis=0)
        unit = columns / np.where(largest > 0.0, largest, 1.0)  # whose squares are numbers
        sizes = largest * np.sqrt(self.total(unit**2) / self.n)
        return np.where(largest > 0.0, sizes, 1.0)

    def standard(self, columns: Array) -> Array:
        """Columns about their mean, if the controls span it, and in units of their spread."""
        columns = self.about_mean(columns) if self.fit_intercept or self.has_constant else columns
        return np.asarray(columns / self.sizes(columns))

    def basis(self, columns: Array, sizes: Array | None = None) -> Array:
        """Orthonormal columns, in the weights, of the same span.

        `sizes` are the sums of squares beside which what is left of the columns may be rounding.
        """
        squares = self.weight @ columns**2
        own = squares > (0.0 if sizes is None else SPANNED * sizes)
        unit = columns[:, own] / np.sqrt(squares[own])
        values, vectors = np.linalg.eigh(unit.T @ (unit * self.weight[:, None]))
        keep = values > SPANNED * max(len(values), 1)
        return np.asarray(unit @ (vectors[:, keep] / np.sqrt(values[keep])))

    def residual(self, values: Array, controls: Array) -> Array:
        """What orthonormal controls leave of columns (n, M)."""
        return np.asarray(values - controls @ (controls.T @ (values * self.weight[:, None])))

    def beside(self, columns: Array, controls: Array) -> Array:
        """Orthonormal columns of what controls leave of others: none where they span these."""
        columns = self.standard(columns)
        return self.basis(self.residual(columns, controls), self.weight @ columns**2)

    def total(self, values: Array) -> Array:
        """Weighted sums of columns (n, M)."""
        return np.asarray(self.weight @ values)

    def covariance(self, scores: Array) -> Array:
        """Covariance of the weighted sums of mean-zero scores (n, M), shape (M, M)."""
        if self.clusters is not None:
            weighted = scores * self.weight[:, None]
            sums = [np.bincount(self.clusters, column) for column in weighted.T]
            totals = np.stack(sums) if sums else np.empty((0, self.n_clusters))
            return np.asarray(totals @ totals.T)
        weight = self.weight**2 if self.data.probability else self.weight
        return np.asarray(scores.T @ (scores * weight[:, None]))


def row_design(
    y: Any, t: Any, z: Any, X: Any, *, sample_weight: Any, clusters: Any, fit_intercept: bool
) -> RowDesign:
    """Check what a diagnostic was given, and take its rows."""
    p: Partialled = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    equation = p.equation
    if equation.rows is None:
        raise ValueError(NEEDS_ROWS)
    return RowDesign.of(equation.rows, fit_intercept=equation.fit_intercept)


def distinct_rows(x: Array, most: int) -> Any:
    """Number of the distinct row that each row of x equals, or None if there are more than `most`.

    Without columns all rows are one.
    """
    codes = np.zeros(len(x), dtype=np.intp)
    for column in x.T:
        values, own = np.unique(column, return_inverse=True)
        if len(values) > most:
            return None
        found, codes = np.unique(codes * len(values) + own, return_inverse=True)
        if len(found) > most:
            return None
    return codes

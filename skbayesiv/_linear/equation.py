"""Sums of checked data -> frozen :class:`Equation`, of which all linear estimates are functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._linear.product_sums import ProductSums
from skbayesiv._linear.units import ClusterMoments, Rows, Scores, ScoreSums, Units
from skbayesiv._typing import Array

NEEDS_ROWS = (
    "y must be arrays, or an estimator that kept its rows, for what is robust to "
    "heteroskedasticity: moments do not tell. Where there is an argument robust, "
    "robust=False will do."
)


@dataclass(frozen=True, eq=False)
class Equation:
    """The columns [X, z, t, y], what is known of their rows, and how the errors are related.

    Estimates are computed in the coordinates v = (1, columns less their origin): their means, or
    zero without an intercept. A *contrast* is a linear combination of v, shape (1 + C,).

    Attributes
    ----------
    moments : Moments
    units : Units or None
        The independent units; None if only moments are known, from which nothing follows that is
        robust to heteroskedasticity.
    fit_intercept : bool
    cov_type : {"robust", "unadjusted", "clustered", "CR2"}
        Whether errors are independent with any variances, independent with one variance, or
        correlated within clusters; or the first or last, with a correction for few units.
    """

    moments: Moments
    units: Units | None
    fit_intercept: bool
    cov_type: str

    @classmethod
    def from_data(
        cls,
        data: IVData,
        moments: Moments | None = None,
        *,
        fit_intercept: bool,
        cov_type: str | None = None,
    ) -> Equation:
        """Equation of rows in memory, which are not copied.

        By default `cov_type` is clustered where there are clusters, and else robust.
        """
        cov_type = cov_type or ("clustered" if data.grouped else "robust")
        moments = data.moments() if moments is None else moments
        return cls(moments, Rows(data), fit_intercept, cov_type)

    @classmethod
    def from_moments(
        cls,
        moments: Moments,
        clusters: Sequence[Moments] = (),
        *,
        fit_intercept: bool,
        cov_type: str = "clustered",
    ) -> Equation:
        """Equation of moments, unadjusted, or of those of each cluster with `cov_type`."""
        parts = tuple(part for part in clusters if part.n_rows)
        units = ClusterMoments(parts) if parts else None
        return cls(moments, units, fit_intercept, cov_type if parts else "unadjusted")

    @classmethod
    def from_sums(
        cls, moments: Moments, fourth: FourthMoments | None, *, fit_intercept: bool
    ) -> Equation:
        """Equation of moments and, where there are any, fourth-order sums of the same rows."""
        if fourth is None or not fourth.n_rows:
            return cls.from_moments(moments, fit_intercept=fit_intercept)
        cov_type = "robust" if fourth.n_clusters is None else "clustered"
        return cls(moments, ProductSums(fourth), fit_intercept, cov_type)

    @property
    def columns(self) -> Columns:
        """Names by role."""
        return self.moments.columns

    @property
    def rows(self) -> IVData | None:
        """The rows, if they are in memory."""
        return self.units.data if isinstance(self.units, Rows) else None

    @property
    def probability(self) -> bool:
        """Whether rows have probability weights."""
        return self.units is not None and self.units.probability

    @property
    def n(self) -> float:
        """Number of observations, the sum of the weights."""
        return self.moments.weight

    @property
    def n_clusters(self) -> int:
        """Number of clusters; 0 without clusters."""
        return 0 if self.units is None else self.units.n_clusters

    @property
    def classical_only(self) -> bool:
        """Whether only what assumes independent errors of one variance can be computed."""
        return self.units is None

    @property
    def any_scores(self) -> bool:
        """Whether scores may be of any columns, or, of fourth-order sums, of instruments and X."""
        return not isinstance(self.units, ProductSums | None)

    @property
    def constant(self) -> list[int]:
        """Position of the constant in v, if it is a regressor."""
        return [0] if self.fit_intercept else []

    def at(self, *names: str) -> list[int]:
        """Positions of columns in v."""
        return [1 + self.columns.names.index(name) for name in names]

    @cached_property
    def _about(self) -> Moments:
        return self.moments if self.fit_intercept else self.moments.about(0.0 * self.moments.shift)

    @cached_property
    def _origin(self) -> Array:
        """Distance of the origin from the point that sums are taken about."""
        if not self.fit_intercept:
            return np.zeros_like(self.moments.shift)
        return self.moments.total / self.moments.weight

    @property
    def origin(self) -> Array:
        """What is taken off the columns, shape (C,)."""
        return self.moments.mean if self.fit_intercept else self._origin

    @cached_property
    def second(self) -> Array:
        """Weighted sums of the products of v, shape (1 + C, 1 + C)."""
        if not self.fit_intercept:
            return self._about.with_constant
        varies = self.moments.spread > 0.0
        out = np.zeros((1 + len(self.moments.shift),) * 2)
        out[0, 0] = self.moments.weight
        out[1:, 1:] = self.moments.scatter * np.outer(varies, varies)
        return out

    def sums(self, *asked: Scores) -> list[ScoreSums]:
        """Sums over units for several scores, in one pass over the rows."""
        if self.units is None:
            raise ValueError(NEEDS_ROWS)
        return self.units.sums(self._about, self._origin, asked)

    def squares(self, contrasts: Array) -> Array:
        """Weighted sums of products of contrasts (1 + C, A), from the rows where there are any."""
        if self.rows is None:
            return np.asarray(contrasts.T @ self.second @ contrasts)
        (found,) = self.sums(Scores(contrasts[:, :0], contrasts))
        return found.square

    def cluster_products(self, *asked: Array) -> list[Array]:
        """Sums of products of contrasts (1 + C, A) in each cluster, shape (G, A, A)."""
        if self.units is None:
            raise ValueError(NEEDS_ROWS)
        return self.units.cluster_products(self._about, self._origin, asked)

    def row_blocks(self, contrasts: Array) -> Iterator[tuple[Array, Array | None]]:
        """Blocks of contrasts (1 + C, A) of the rows, shape (A, n), with their weights."""
        if not isinstance(self.units, Rows):
            raise ValueError(NEEDS_ROWS)
        for values, weight, _ in self.units.each(self._about, self._origin, contrasts):
            yield values, weight

    def each_row(self, contrasts: Array) -> Array:
        """Values of contrasts (1 + C, A) in each row, shape (n, A)."""
        if not isinstance(self.units, Rows):
            raise ValueError(NEEDS_ROWS)
        return self.units.combine(self._about, self._origin, contrasts)

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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Literal

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._data.blocks import RowArrays
from skbayesiv._data.frames.planning import named_columns
from skbayesiv._data.frames.products import FactorProducts, product_query, product_shape
from skbayesiv._data.frames.query import Query
from skbayesiv._data.moments import Moments
from skbayesiv._data.possible import check_arrays, check_columns, check_counts, check_products
from skbayesiv._data.products import (
    Reference,
    from_clusters,
    from_rows,
    shift_matrix,
    sum_rows,
    transform,
)
from skbayesiv._data.storage import load_sums, save_sums, saved_by
from skbayesiv._typing import Array, Codes


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
        data: RowArrays,
        reference: Reference | None = None,
        clusters: Codes | None = None,
        *,
        fit_intercept: bool = True,
    ) -> FourthMoments:
        """Sums over checked rows, in one pass over blocks of about 1 MB.

        Parameters
        ----------
        data : checked rows
        reference : Reference, optional
            By default, with covariates that of the data's own moments, which takes a pass of its
            own; without, the means of some rows.
        clusters : ndarray of int of shape (n,), optional
            Cluster of each row.
        fit_intercept : bool, default=True
            For the default reference.
        """
        if reference is None and not data.columns.covariates:
            reference = Reference.pilot(data, fit_intercept=fit_intercept)
        elif reference is None:
            reference = Reference.from_moments(Moments.from_data(data), fit_intercept=fit_intercept)
        return cls(data.columns, reference, *sum_rows(data, reference, clusters))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        outcome: str,
        treatment: str | Iterable[str],
        instruments: str | Iterable[str],
        covariates: str | Iterable[str] = (),
        sample_weight: str | None = None,
        by: str | None = None,
        clusters: str | None = None,
        missing: Literal["raise", "drop"] = "raise",
        categories: Mapping[str, Sequence[Any]] | None = None,
        reference: Reference | None = None,
        fit_intercept: bool = True,
    ) -> Any:
        """Sums of a data frame by the engine that holds it: one pass, two with covariates.

        Parameters
        ----------
        frame, outcome, treatment, instruments, covariates, sample_weight, by, missing, categories
            As in :meth:`Moments.from_frame`.
        clusters : str, optional
            Name of the column of clusters within which errors are correlated. The totals of each
            cluster are held in memory. Not together with `by`.
        reference : Reference, optional
            The `reference` of other sums that these are to be added to. It saves the first of
            two passes.
        fit_intercept : bool, default=True
            For the default reference, which is that of all rows, also with `by`: sums of groups
            then add, but with covariates they are no longer those of a fit to one group.

        Returns
        -------
        FourthMoments, or dict of FourthMoments
            A dict by group, in sorted order, when `by` is given.

        Raises
        ------
        ValueError
            As :meth:`Moments.from_frame` does.

        Examples
        --------
        >>> from skbayesiv import BayesianIV, FourthMoments, Moments
        >>> from skbayesiv.datasets import load_push_experiment
        >>> frame = load_push_experiment(as_frame=True).frame
        >>> roles = dict(
        ...     outcome="in_app_purchase", treatment="push_delivered", instruments="push_assigned"
        ... )
        >>> moments = Moments.from_frame(frame, **roles)
        >>> fourth = FourthMoments.from_frame(frame, **roles)
        >>> est = BayesianIV(likelihood="gmm", random_state=0).fit_moments(moments, fourth)
        >>> print(f"{est.effect_:.1f}")
        3.3
        """
        if by is not None and clusters is not None:
            raise ValueError(
                "by and clusters must not both be given: rows are grouped by one column; got "
                f"by={by!r} and clusters={clusters!r}. Take the sums of each group's rows instead."
            )
        given = {"sample_weight": sample_weight, "by": by, "clusters": clusters}
        roles = named_columns(outcome, treatment, instruments, covariates, **given)
        group = by if clusters is None else clusters
        extra = {"sample_weight": sample_weight, "by": group}
        query = Query.open(frame, roles, **extra, missing=missing, categories=categories)
        if reference is None:
            reference = Reference.of_query(query, fit_intercept=fit_intercept)
        if by is not None:
            return cls.by_group(query, reference)
        return cls.from_query(query, reference, clustered=clusters is not None)

    @classmethod
    def from_query(
        cls, query: Query, reference: Reference, *, clustered: bool = False
    ) -> FourthMoments:
        """Sums over a frame's rows or, where the query is grouped by clusters, over these."""
        products = FactorProducts.of(query.plan.columns)
        made = product_query(query, products, reference.shift, reference.coef)
        if clustered:
            sums = from_clusters(Moments.by_group(made).values(), products)
        else:
            sums = from_rows(Moments.from_query(made), products)
        return _finite(cls(query.plan.columns, reference, *sums))

    @classmethod
    def by_group(cls, query: Query, reference: Reference) -> dict[Any, FourthMoments]:
        """Sums over each group of a frame's rows, in sorted order."""
        products = FactorProducts.of(query.plan.columns)
        made = product_query(query, products, reference.shift, reference.coef)
        return {
            key: _finite(cls(query.plan.columns, reference, *from_rows(moments, products)))
            for key, moments in Moments.by_group(made).items()
        }

    def save(self, path: str | PathLike[str]) -> None:
        """Write to an npz file, under exactly this name; :meth:`load` reads it.

        A file of this name is replaced when all is written: if that fails, it is as it was.
        """
        groups = -1 if self.n_clusters is None else self.n_clusters
        values = vars(self) | vars(self.reference) | {"n_clusters": groups}
        save_sums(path, "FourthMoments", self.columns, values)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> FourthMoments:
        """Read what :meth:`save` wrote, and raise as :meth:`Moments.load` does."""
        columns, sums = load_sums(path, "FourthMoments")
        groups = int(sums["n_clusters"])
        fourth = cls(
            columns,
            Reference(sums["shift"], sums["coef"]),
            int(sums["n_rows"]),
            None if groups < 0 else groups,
            sums["total"],
            sums["cross"],
        )
        with saved_by("FourthMoments", path):
            check_fourth_moments(fourth)
        return fourth

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

    def moments(self) -> Moments:
        """First and second moments of the same rows, which sums over rows contain.

        Among u = f (x) d are x (x) 1 and 1 (x) (z°, t°, y°), the columns about the reference:
        their sums and products are entries of `total` and `cross`, and adding x times its
        coefficients back to z°, t° and y° is linear.

        Raises
        ------
        ValueError
            If the sums are over clusters.
        """
        if self.n_clusters is not None:
            raise ValueError(
                "moments must come from the rows when fourth-order sums are over clusters: these "
                f"hold no second moments; got sums over {self.n_clusters} clusters."
            )
        p, (f, e) = len(self.columns.covariates), self.total.shape
        at = [*range(e, e * (1 + p), e), *range(1, e)]
        back = np.eye(len(at))
        back[p:, :p] = self.reference.coef.T
        total = back @ self.total.ravel()[at]
        cross = back @ self.cross.reshape(f * e, f * e)[np.ix_(at, at)] @ back.T
        return Moments(self.columns, self.reference.shift, self.weight, self.n_rows, total, cross)

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
        check_fourth_moments(other, "fourth_moments")
        return self._combine(other, 1)

    def __sub__(self, other: FourthMoments) -> FourthMoments:
        check_fourth_moments(other, "fourth_moments")
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


def _finite(fourth: FourthMoments) -> FourthMoments:
    """Raise if products of a frame's columns have squares that are no numbers."""
    if not np.isfinite(fourth.cross).all():
        raise ValueError(
            "frame must have columns whose products have finite sums of squares; they do not. "
            "Rescale its columns."
        )
    return fourth


def check_fourth_moments(fourth: Any, argument: str = "fourth_moments") -> None:
    """Raise unless the argument is FourthMoments that rows can have."""
    if not isinstance(fourth, FourthMoments):
        raise TypeError(f"{argument} must be FourthMoments; got {type(fourth).__name__}.")
    check_columns(fourth.columns, argument)
    f, e = product_shape(fourth.columns)
    width, p = len(fourth.columns.names), len(fourth.columns.covariates)
    if not isinstance(fourth.reference, Reference):
        raise TypeError(
            f"{argument}.reference must be a Reference; got {type(fourth.reference).__name__}."
        )
    check_arrays(
        fourth.reference, f"{argument}.reference", {"shift": (width,), "coef": (p, width - p)}
    )
    check_arrays(fourth, argument, {"total": (f, e), "cross": (f, e, f, e)})
    check_counts(fourth, argument)
    check_products(fourth.cross.reshape(f * e, f * e), argument)

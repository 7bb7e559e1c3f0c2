"""Sums of the products u = f (x) d of columns, and of u u', over rows or clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._data.blocks import PILOT_ROWS, RowArrays, count_clusters
from skbayesiv._data.frames.batches import block_rows
from skbayesiv._data.frames.products import FactorProducts
from skbayesiv._data.frames.query import Query
from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import partial_out, round_to, standardise
from skbayesiv._typing import Array, Codes

type Pairs = list[tuple[int, int]]


class Products(NamedTuple):
    """Sums of the products u, in the shape (F, E) of f d', over rows or clusters."""

    n_rows: int
    n_clusters: int | None
    total: Array
    cross: Array


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
        second = std.second_moments(fit_intercept=fit_intercept)
        _, coef = partial_out(second, x.stop)
        coef = round_to(coef, np.maximum(np.abs(coef), 1.0)) * std.sd[rest] / std.sd[x, None]
        return cls(std.mean if fit_intercept else np.zeros_like(std.mean), coef)

    @classmethod
    def of_query(cls, query: Query, *, fit_intercept: bool = True) -> Reference:
        """Reference for a frame: without covariates any point near the means will do.

        Coefficients on x take a pass of their own.
        """
        if query.plan.columns.covariates:
            return cls.from_moments(Moments.from_query(query), fit_intercept=fit_intercept)
        empty = cls.empty(query.plan.columns)
        return cls(query.plan.shift, empty.coef) if fit_intercept else empty

    @classmethod
    def pilot(cls, data: RowArrays, *, fit_intercept: bool = True) -> Reference:
        """Means of some evenly spaced rows, for data without covariates: no pass of its own."""
        empty = cls.empty(data.columns)
        if not fit_intercept:
            return empty
        some = slice(None, None, max(1, data.n_rows // PILOT_ROWS))
        parts = (data.z[some], data.t[some], data.y[some, None])
        means = [part.mean(axis=0, dtype=np.float64) for part in parts]
        return cls(np.concatenate(means), empty.coef)

    @classmethod
    def empty(cls, columns: Columns) -> Reference:
        """Reference that takes nothing off."""
        width, p = len(columns.names), len(columns.covariates)
        return cls(np.zeros(width), np.zeros((p, width - p)))


def transform(total: Array, cross: Array, left: Array, right: Array) -> tuple[Array, Array]:
    """Sums of A f (B d)' and of their products, for matrices A and B."""
    half = np.einsum("af,fegh->aegh", left, cross, optimize=True)
    half = np.einsum("be,aegh->abgh", right, half, optimize=True)
    half = np.einsum("cg,abgh->abch", left, half, optimize=True)
    cross = np.einsum("dh,abch->abcd", right, half, optimize=True)
    return left @ total @ right.T, cross


def shift_matrix(shift: Array) -> Array:
    """Matrix that takes (1, v) to (1, v + shift)."""
    matrix = np.eye(1 + len(shift))
    matrix[1:, 0] = shift
    return matrix


def _factors(data: RowArrays, reference: Reference, at: Any) -> Array:
    """The constant and the columns of some rows less what the reference takes off, (1 + C, n)."""
    parts = (data.x[at].T, data.z[at].T, data.t[at].T, data.y[None, at])
    x = slice(1, 1 + data.x.shape[1])
    v = np.empty((1 + len(reference.shift), parts[-1].shape[1]))
    v[0] = 1.0
    np.concatenate(parts, out=v[1:])
    v[1:] -= reference.shift[:, None]
    v[x.stop :] -= reference.coef.T @ v[x]
    return v


def _products(data: RowArrays, reference: Reference, pairs: Pairs, at: Any) -> Array:
    """The constant and the distinct products of some rows, shape (1 + U, n)."""
    v = _factors(data, reference, at)
    u = np.empty((1 + len(pairs), v.shape[1]))
    u[0] = 1.0
    for row, (i, j) in zip(u[1:], pairs, strict=True):
        np.multiply(v[i], v[j], out=row)
    return u


def _pairs(columns: Columns, products: FactorProducts) -> Pairs:
    """Which of the factors each distinct product is made of."""
    place = {name: 1 + i for i, name in enumerate(columns.names)}
    return [(place[pair[0]], 0 if len(pair) == 1 else place[pair[1]]) for pair in products.pairs]


def _blocks(n_rows: int, width: int) -> Iterator[slice]:
    size = block_rows(width)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


@np.errstate(over="ignore", invalid="ignore")  # whoever asks for the sums names what overflowed
def sum_rows(data: RowArrays, reference: Reference, clusters: Codes | None) -> Products:
    """Sums of u and of u u' over rows or, where there are any, over the clusters of these."""
    products = FactorProducts.of(data.columns)
    add = _add_rows if clusters is None else _add_clusters
    width = 1 + len(products.pairs)
    n_rows, total, cross = 0, np.zeros(width), np.zeros((width, width))
    for part, part_cross, part_rows in add(
        data, reference, _pairs(data.columns, products), clusters
    ):
        n_rows += part_rows
        total += part
        cross += part_cross
    groups = None if clusters is None else count_clusters(clusters, data.sample_weight)
    return _all_products(products, n_rows, groups, total, cross)


def _add_rows(
    data: RowArrays, reference: Reference, pairs: Pairs, _: Codes | None
) -> Iterator[tuple[Array, Array, int]]:
    """Sums of the distinct products, of their products and of rows, block by block."""
    for at in _blocks(data.n_rows, 1 + len(pairs)):
        u = _products(data, reference, pairs, at)
        if data.sample_weight is None:
            yield u.sum(axis=1), u @ u.T, u.shape[1]
            continue
        w = data.sample_weight[at]
        total = u @ w
        u *= np.sqrt(w)
        yield total, u @ u.T, int(np.count_nonzero(w))


def _add_clusters(
    data: RowArrays, reference: Reference, pairs: Pairs, clusters: Codes | None
) -> Iterator[tuple[Array, Array, int]]:
    """Sums of the products, of (their sums in a cluster)(the same)' and of rows, by cluster."""
    assert clusters is not None
    width = 1 + len(pairs)
    order = np.argsort(clusters, kind="stable")
    open_sum, open_code = np.zeros((width, 1)), -1
    for at in _blocks(data.n_rows, width):
        rows = order[at]
        u, codes, n_rows = _products(data, reference, pairs, rows), clusters[rows], len(rows)
        if data.sample_weight is not None:
            w = data.sample_weight[rows]
            u *= w
            n_rows = int(np.count_nonzero(w))
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        sums = np.add.reduceat(u, starts, axis=1)
        # The last cluster of a block may go on in the next one.
        if codes[0] == open_code:
            sums[:, :1] += open_sum
        else:
            sums = np.hstack([open_sum, sums])
        open_sum, open_code = sums[:, -1:], int(codes[-1])
        closed = sums[:, :-1]
        yield closed.sum(axis=1), closed @ closed.T, n_rows
    yield open_sum[:, 0], open_sum @ open_sum.T, 0


def _all_products(
    products: FactorProducts, n_rows: int, n_clusters: int | None, total: Array, cross: Array
) -> Products:
    """From the sums of (1, distinct products) to those of all, each where it stands."""
    shape, at = products.shape, products.at
    all_cross = cross[np.ix_(at, at)].reshape(*shape, *shape)
    return Products(n_rows, n_clusters, total[at].reshape(shape), all_cross)


def from_rows(moments: Moments, products: FactorProducts) -> Products:
    """Sums of u and of u u' over rows, from the moments of the distinct products."""
    sums = moments.about(np.zeros_like(moments.shift)).with_constant
    return _all_products(products, moments.n_rows, None, sums[0], sums)


def from_clusters(groups: Iterable[Moments], products: FactorProducts) -> Products:
    """Sums of u and, over clusters, of the products of their totals."""
    shape = products.shape
    used = [moments for moments in groups if moments.n_rows]
    totals = np.empty((len(used), len(products.at)))
    for total, moments in zip(totals, used, strict=True):
        about_zero = moments.total + moments.weight * moments.shift
        total[:] = np.append(moments.weight, about_zero)[products.at]
    n_rows = sum(moments.n_rows for moments in used)
    cross = (totals.T @ totals).reshape(*shape, *shape)
    return Products(n_rows, len(used), totals.sum(axis=0).reshape(shape), cross)

"""Sums of the products u = f (x) d of columns, and of u u', over rows or clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._data.blocks import PILOT_ROWS, RowArrays
from skbayesiv._data.frames.batches import BLOCK_BYTES
from skbayesiv._data.frames.products import FactorProducts, product_shape
from skbayesiv._data.frames.query import Query
from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import partial_out, round_to, standardise
from skbayesiv._typing import Array, Codes

MIN_BLOCK_ROWS = 256


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


def _products(data: RowArrays, reference: Reference, at: Any) -> Array:
    """Products u of some rows, shape (rows, F * E)."""
    columns, shift = data.columns, reference.shift
    x = data.x[at] - shift[columns.x]
    rest = np.concatenate([data.z[at], data.t[at], data.y[at, None]], axis=1)
    rest = rest - shift[columns.x.stop :] - x @ reference.coef
    one = np.ones((len(x), 1))
    f = np.concatenate([one, x, rest[:, : len(columns.instruments)]], axis=1)
    d = np.concatenate([one, rest], axis=1)
    return np.asarray((f[:, :, None] * d[:, None, :]).reshape(len(x), -1))


def _blocks(n_rows: int, width: int) -> Iterator[slice]:
    size = max(MIN_BLOCK_ROWS, BLOCK_BYTES // (8 * width))
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def sum_rows(
    data: RowArrays, reference: Reference, _: Codes | None = None
) -> Iterator[tuple[Array, Array, int]]:
    """Sums of u, of u u' and of rows, block by block."""
    f, e = product_shape(data.columns)
    for at in _blocks(data.n_rows, f * e):
        u = _products(data, reference, at)
        if data.sample_weight is None:
            yield u.sum(axis=0), u.T @ u, len(u)
            continue
        w = data.sample_weight[at]
        total = w @ u
        u *= np.sqrt(w)[:, None]
        yield total, u.T @ u, int(np.count_nonzero(w))


def sum_clusters(
    data: RowArrays, reference: Reference, clusters: Codes | None
) -> Iterator[tuple[Array, Array, int]]:
    """Sums of u, of (sum of u in a cluster)(the same)' and of rows, cluster by cluster."""
    assert clusters is not None
    f, e = product_shape(data.columns)
    order = np.argsort(clusters, kind="stable")
    open_sum, open_code = np.zeros(f * e), -1
    for at in _blocks(data.n_rows, f * e):
        rows = order[at]
        u, codes, n_rows = _products(data, reference, rows), clusters[rows], len(rows)
        if data.sample_weight is not None:
            w = data.sample_weight[rows]
            u *= w[:, None]
            n_rows = int(np.count_nonzero(w))
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        sums = np.add.reduceat(u, starts, axis=0)
        # The last cluster of a block may go on in the next one.
        if codes[0] == open_code:
            sums[0] += open_sum
        else:
            sums = np.vstack([open_sum, sums])
        open_sum, open_code = sums[-1], int(codes[-1])
        closed = sums[:-1]
        yield closed.sum(axis=0), closed.T @ closed, n_rows
    yield open_sum, np.outer(open_sum, open_sum), 0


def from_rows(moments: Moments, products: FactorProducts) -> Products:
    """Sums of u and of u u' over rows, from the moments of the distinct products."""
    shape = products.shape
    moments = moments.about(np.zeros_like(moments.shift))
    one = np.array([[moments.weight]])
    with_one = np.block([[one, moments.total[None]], [moments.total[:, None], moments.cross]])
    total, cross = with_one[0, products.at], with_one[np.ix_(products.at, products.at)]
    return Products(moments.n_rows, None, total.reshape(shape), cross.reshape(*shape, *shape))


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

"""The products of a frame's columns as columns of a query: fourth-order sums are its moments.

The distinct entries of u = f (x) d are columns that a query can make; their totals and
cross-products are what fourth-order sums hold. With clusters the pass is grouped by these, and
the totals of each take the rows' place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from skbayesiv._columns import Columns
from skbayesiv._data.frames.batches import tally_batches
from skbayesiv._data.frames.expressions import is_complete, labels_as_text
from skbayesiv._data.frames.plan import Plan, Tallies
from skbayesiv._data.frames.planning import make_plan
from skbayesiv._data.frames.query import Query
from skbayesiv._data.frames.sources import (
    HEAD,
    DaskSource,
    DatasetSource,
    Distinct,
    EagerSource,
    LazySource,
    Names,
    Source,
)
from skbayesiv._data.frames.streams import Frame, eager
from skbayesiv._typing import Array

BATCH_FLOATS = 1 << 22
MAX_PRODUCTS = 4096


def product_shape(columns: Columns) -> tuple[int, int]:
    """Number of left and right factors, (1 + P + Q, 2 + Q + K)."""
    p, q = len(columns.covariates), len(columns.instruments)
    f, e = 1 + p + q, 2 + q + len(columns.treatments)
    if f * e > MAX_PRODUCTS:
        raise ValueError(
            f'X and z must have fewer columns for likelihood="gmm": they make (1 + P + Q)(2 + Q + '
            f"K) products, of which there may be {MAX_PRODUCTS}; got {f * e}."
        )
    return f, e


@dataclass(frozen=True, eq=False)
class FactorProducts:
    """The distinct entries of f (x) d.

    Attributes
    ----------
    pairs : tuple of tuple of str
        Names of the factors of each; one of them alone for a product with the constant.
    at : ndarray of int of shape (F * E,)
        Where each entry of f (x) d stands: 0 for the constant, i + 1 for pair i.
    shape : (F, E)
        Of f d'.
    """

    pairs: tuple[tuple[str, ...], ...]
    at: NDArray[np.intp]
    shape: tuple[int, int]

    @classmethod
    def of(cls, columns: Columns) -> FactorProducts:
        """Products of f = (1, x, z) and d = (1, z, t, y)."""
        shape = product_shape(columns)
        f = [(), *((name,) for name in (*columns.covariates, *columns.instruments))]
        d = [(), *((name,) for name in columns.names[columns.z.start :])]
        entries = [tuple(sorted((*a, *b))) for a in f for b in d]
        place = {entry: i for i, entry in enumerate(dict.fromkeys(entries))}  # () is the first
        at = np.array([place[entry] for entry in entries])
        return cls(tuple(place)[1:], at, shape)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that hold them."""
        return tuple(" * ".join(pair) for pair in self.pairs)


def product_query(query: Query, products: FactorProducts, shift: Array, coef: Array) -> Query:
    """A pass over the products, named as the moments' columns.

    Parameters
    ----------
    query : Query
        Of the columns themselves.
    products : FactorProducts
    shift : ndarray of shape (C,)
        Taken off the columns.
    coef : ndarray of shape (P, C - P)
        Then x times these coefficients is taken off z, t and y.
    """
    plan = query.plan
    weight = None if plan.weight is None else f"sample_weight={plan.weight}"
    group = None if plan.by is None else f"by={plan.by}"
    pairs = ((weight, plan.weight), (group, plan.by))
    kept = {alias: name for alias, name in pairs if alias is not None and name is not None}
    derive = partial(_derive, plan, products, shift, coef, kept)
    derived = _derived(query.source, plan, derive, max(1, BATCH_FLOATS // len(products.pairs)))
    *first, last = products.names
    columns = Columns(tuple(first), (), (), last)
    return Query(derived, make_plan(derived, columns, weight, group, drop=False, categories=None))


def _derive(
    plan: Plan,
    products: FactorProducts,
    shift: Array,
    coef: Array,
    kept: dict[str, str],
    rows: Any,
) -> Any:
    """Make the products of some rows, as a query of narwhals."""
    if plan.drop:
        rows = rows.filter(is_complete(plan.sources, plan.floats))
    values = _about(plan, shift, coef)
    extra = [nw.col(name).alias(alias) for alias, name in kept.items()]
    rows = labels_as_text(rows, plan.sources)
    rows = rows.select(*(value.alias(name) for name, value in values.items()), *extra)
    made = [
        _product(pair).alias(name)
        for pair, name in zip(products.pairs, products.names, strict=True)
    ]
    return rows.select(*made, *kept)


def _about(plan: Plan, shift: Array, coef: Array) -> dict[str, nw.Expr]:
    """Columns less their shift, and those of z, t and y less x times their coefficients."""
    values = {}
    for name, term, point in zip(plan.columns.names, plan.terms, shift, strict=True):
        column = nw.col(term.source)
        value = column if term.level is None else column == term.level
        values[name] = value.cast(nw.Float64) - float(point)
    x, rest = np.split(np.array(plan.columns.names), [plan.columns.x.stop])
    for name, coefs in zip(rest, coef.T, strict=True):
        for covariate, c in zip(x, coefs, strict=True):
            values[name] = values[name] - values[covariate] * float(c)
    return values


def _product(pair: tuple[str, ...]) -> nw.Expr:
    value = nw.col(pair[0])
    return value if len(pair) == 1 else value * nw.col(pair[1])


def _derived(source: Source, plan: Plan, derive: Callable[[Any], Any], n_rows: int) -> Source:
    """Return a source of the products: a query where there is one, else batches made in turn."""
    if isinstance(source, LazySource):
        return LazySource(derive(source.frame))
    if isinstance(source, DaskSource):
        return DaskSource(source.frame.map_partitions(lambda part: derive(eager(part)).to_native()))
    if isinstance(source, DatasetSource):
        empty = eager(source.dataset.schema.empty_table())
        return BatchSource(
            derive(empty), lambda: _batches(source._batches(plan.sources), derive, n_rows)
        )
    assert isinstance(source, EagerSource)
    frame = source.frame
    return BatchSource(derive(frame.head(0)), lambda: _batches([frame], derive, n_rows))


def _batches(frames: Iterable[Frame], derive: Callable[[Any], Any], n_rows: int) -> Iterator[Frame]:
    for frame in frames:
        for start in range(0, len(frame), n_rows):
            try:
                yield derive(frame[start : start + n_rows])
            except (TypeError, ValueError) as error:
                raise ValueError(f"frame must hold numbers of double precision: {error}") from error


class BatchSource:
    """Batches of rows in memory, made anew for each pass."""

    def __init__(self, empty: Frame, batches: Callable[[], Iterator[Frame]]) -> None:
        self.empty = empty
        self.batches = batches
        self.schema: Mapping[str, Any] = empty.schema

    def head(self, names: Names, where: nw.Expr | None = None) -> Frame:
        """Return the first rows, or the first that meet a condition."""
        parts = [self.empty.select(*names)]
        for batch in self.batches():
            part = batch.select(*names)
            parts.append((part if where is None else part.filter(where)).head(HEAD))
            if sum(map(len, parts)) >= HEAD:
                break
        return nw.concat(parts).head(HEAD)

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Distinct:
        """Return no levels: products are numbers."""
        return {name: set() for name in names}

    def tally(self, plan: Plan) -> Tallies:
        """Pass over the batches."""
        return tally_batches(self.batches(), plan)

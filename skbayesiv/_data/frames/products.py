"""Fourth-order sums of any data frame: the products of its columns, summed as moments are.

The distinct entries of u = f (x) d are columns that a query can make; their totals and
cross-products are what :class:`FourthMoments` holds. With clusters the pass is grouped by these,
and the totals of each take the rows' place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from skbayesiv._columns import Columns
from skbayesiv._data.fourth_moments import FourthMoments
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
    open_source,
)
from skbayesiv._data.frames.streams import Frame, eager
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import Reference, product_shape

BATCH_FLOATS = 1 << 22


def fourth_moments_from_frame(
    frame: Any,
    columns: Columns,
    *,
    sample_weight: str | None,
    by: str | None,
    clusters: str | None,
    missing: str,
    categories: Mapping[str, Sequence[Any]] | None,
    reference: Reference | None,
    fit_intercept: bool,
) -> FourthMoments | dict[Any, FourthMoments]:
    """Tallies of a frame, or of each of its groups; see :meth:`FourthMoments.from_frame`."""
    if missing not in ("raise", "drop"):
        raise ValueError(f"missing must be 'raise' or 'drop'; got {missing!r}.")
    if by is not None and clusters is not None:
        raise ValueError(
            "by and clusters must not both be given: rows are grouped by one column; got "
            f"by={by!r} and clusters={clusters!r}. Take the sums of each group's rows instead."
        )
    source = open_source(frame)
    group = by if clusters is None else clusters
    plan = make_plan(
        source, columns, sample_weight, group, drop=missing == "drop", categories=categories
    )
    if reference is None:
        reference = _reference(Query(source, plan), fit_intercept=fit_intercept)
    products = FactorProducts.of(plan.columns)
    query = _product_query(source, plan, products, reference)
    if by is not None:
        return {
            key: _from_rows(moments, plan.columns, products, reference)
            for key, moments in query.groups().items()
        }
    if clusters is not None:
        return _from_clusters(query.groups().values(), plan.columns, products, reference)
    return _from_rows(query.moments(), plan.columns, products, reference)


def _reference(query: Query, *, fit_intercept: bool) -> Reference:
    """Without covariates any point near the means will do; coefficients on x take a pass."""
    plan = query.plan
    if plan.columns.covariates:
        return Reference.from_moments(query.moments(), fit_intercept=fit_intercept)
    empty = Reference.empty(plan.columns)
    return Reference(plan.shift, empty.coef) if fit_intercept else empty


@dataclass(frozen=True, eq=False)
class FactorProducts:
    """The distinct entries of f (x) d.

    Attributes
    ----------
    pairs : tuple of tuple of str
        Names of the factors of each; one of them alone for a product with the constant.
    at : ndarray of int of shape (F * E,)
        Where each entry of f (x) d stands: 0 for the constant, i + 1 for pair i.
    """

    pairs: tuple[tuple[str, ...], ...]
    at: NDArray[np.intp]

    @classmethod
    def of(cls, columns: Columns) -> FactorProducts:
        """FactorProducts of f = (1, x, z) and d = (1, z, t, y)."""
        product_shape(columns)
        f = [(), *((name,) for name in (*columns.covariates, *columns.instruments))]
        d = [(), *((name,) for name in columns.names[columns.z.start :])]
        entries = [tuple(sorted((*a, *b))) for a in f for b in d]
        place = {entry: i for i, entry in enumerate(dict.fromkeys(entries))}  # () is the first
        at = np.array([place[entry] for entry in entries])
        return cls(tuple(place)[1:], at)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that hold them."""
        return tuple(" * ".join(pair) for pair in self.pairs)


def _product_query(
    source: Source, plan: Plan, products: FactorProducts, reference: Reference
) -> Query:
    """A pass over the products, named as the moments' columns."""
    weight = None if plan.weight is None else f"sample_weight={plan.weight}"
    group = None if plan.by is None else f"by={plan.by}"
    pairs = ((weight, plan.weight), (group, plan.by))
    kept = {alias: name for alias, name in pairs if alias is not None and name is not None}
    derive = partial(_derive, plan, products, reference, kept)
    derived = _derived(source, plan, derive, max(1, BATCH_FLOATS // len(products.pairs)))
    *first, last = products.names
    columns = Columns(tuple(first), (), (), last)
    return Query(derived, make_plan(derived, columns, weight, group, drop=False, categories=None))


def _derive(
    plan: Plan, products: FactorProducts, reference: Reference, kept: dict[str, str], rows: Any
) -> Any:
    """Make the products of some rows, as a query of narwhals."""
    if plan.drop:
        rows = rows.filter(is_complete(plan.sources, plan.floats))
    values = _about_reference(plan, reference)
    extra = [nw.col(name).alias(alias) for alias, name in kept.items()]
    rows = labels_as_text(rows, plan.sources)
    rows = rows.select(*(value.alias(name) for name, value in values.items()), *extra)
    made = [
        _product(pair).alias(name)
        for pair, name in zip(products.pairs, products.names, strict=True)
    ]
    return rows.select(*made, *kept)


def _about_reference(plan: Plan, reference: Reference) -> dict[str, nw.Expr]:
    """Columns less their shift, and those of z, t and y less x times their coefficients."""
    values = {}
    for name, term, shift in zip(plan.columns.names, plan.terms, reference.shift, strict=True):
        column = nw.col(term.source)
        value = column if term.level is None else column == term.level
        values[name] = value.cast(nw.Float64) - float(shift)
    x, rest = np.split(np.array(plan.columns.names), [plan.columns.x.stop])
    for name, coefs in zip(rest, reference.coef.T, strict=True):
        for covariate, coef in zip(x, coefs, strict=True):
            values[name] = values[name] - values[covariate] * float(coef)
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
            yield derive(frame[start : start + n_rows])


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


def _from_rows(
    moments: Moments, columns: Columns, products: FactorProducts, reference: Reference
) -> FourthMoments:
    moments = moments.about(np.zeros_like(moments.shift))
    one = np.array([[moments.weight]])
    with_one = np.block([[one, moments.total[None]], [moments.total[:, None], moments.cross]])
    f, e = product_shape(columns)
    total, cross = with_one[0, products.at], with_one[np.ix_(products.at, products.at)]
    return FourthMoments(
        columns, reference, moments.n_rows, None, total.reshape(f, e), cross.reshape(f, e, f, e)
    )


def _from_clusters(
    groups: Iterable[Moments], columns: Columns, products: FactorProducts, reference: Reference
) -> FourthMoments:
    """Tallies over clusters of the products of their totals."""
    f, e = product_shape(columns)
    used = [moments for moments in groups if moments.n_rows]
    totals = np.empty((len(used), f * e))
    for total, moments in zip(totals, used, strict=True):
        about_zero = moments.total + moments.weight * moments.shift
        total[:] = np.append(moments.weight, about_zero)[products.at]
    n_rows = sum(moments.n_rows for moments in used)
    cross = (totals.T @ totals).reshape(f, e, f, e)
    return FourthMoments(
        columns, reference, n_rows, len(used), totals.sum(axis=0).reshape(f, e), cross
    )

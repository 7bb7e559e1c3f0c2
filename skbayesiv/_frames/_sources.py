"""Any frame behind what a pass needs of it: schema, first rows, levels, sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import narwhals.stable.v2 as nw

from skbayesiv._frames._batches import tally_batches
from skbayesiv._frames._columns import factorise
from skbayesiv._frames._expressions import collect, labels_as_text, tally_expressions
from skbayesiv._frames._partitions import tally_dask, tally_spark
from skbayesiv._frames._plan import Plan, Sums
from skbayesiv._frames._streams import STREAMS, Frame, arrow_batches, eager, slices

HEAD = 1024
# A wider frame has too many products for one query: its rows are streamed, or summed where the
# partitions are. Databases, whose rows would have to travel, are queried at any width.
NARROW = 12

Names = tuple[str, ...]
Levels = dict[str, set[Any]]


class Source(Protocol):
    """What a pass needs of a frame."""

    schema: Mapping[str, Any]

    def head(self, names: Names, where: nw.Expr | None = None) -> Frame:
        """Return the first rows, or the first that meet a condition on the named columns."""

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Levels:
        """Return the distinct values of some columns; `read` are the condition's columns."""

    def tally(self, plan: Plan) -> Sums:
        """Pass over the rows."""


class EagerSource:
    """A frame in memory: pandas, polars, pyarrow and what else narwhals holds eagerly."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.schema: Mapping[str, Any] = frame.schema

    def head(self, names: Names, where: nw.Expr | None = None) -> Frame:
        """Return the first rows, or the first that meet a condition."""
        if where is None:
            return self.frame.head(HEAD).select(*names)
        return self.frame.select(*names).filter(where).head(HEAD)

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Levels:
        """Return the distinct values of some columns."""
        rows = self.frame
        if where is not None:
            rows = rows.select(*_union(names, read)).filter(where)
        return _levels(slices(rows), names)

    def tally(self, plan: Plan) -> Sums:
        """Pass over slices, of all columns: to select some would copy them in pandas."""
        return tally_batches(slices(self.frame), plan)


class LazySource:
    """A query: polars, DuckDB, ibis, Spark and what else narwhals holds lazily."""

    def __init__(self, frame: nw.LazyFrame[Any]) -> None:
        self.frame = frame
        self.schema: Mapping[str, Any] = frame.collect_schema()

    def head(self, names: Names, where: nw.Expr | None = None) -> Frame:
        """Return the first rows, or the first that meet a condition."""
        rows = self.frame if where is None else self.frame.filter(where)
        return collect(rows.select(*names).head(HEAD))

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Levels:
        """Return the distinct values of some columns, found in one query."""
        rows = self.frame if where is None else self.frame.filter(where)
        groups = labels_as_text(rows, names).group_by(*names).agg(nw.len().alias("#rows"))
        return _levels([collect(groups)], names)

    def tally(self, plan: Plan) -> Sums:
        """Let the engine sum, or stream its rows when there are many columns."""
        engine, is_wide = self.frame.implementation, len(plan.terms) > NARROW
        if is_wide and engine in STREAMS:
            query = self.frame.select(*plan.sources).to_native()
            return tally_batches(STREAMS[engine](query), plan)
        if is_wide and (engine.is_pyspark() or engine.is_pyspark_connect()):
            return tally_spark(self.frame.select(*plan.sources).to_native(), plan)
        return tally_expressions(self.frame, plan)


class DaskSource:
    """A dask frame, each of whose partitions is a pandas frame."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.schema: Mapping[str, Any] = eager(frame._meta_nonempty).schema

    def head(self, names: Names, where: nw.Expr | None = None) -> Frame:
        """Return the first rows without computing many more partitions than it takes."""
        frame = self.frame[list(names)]
        for stop in (1, 8, frame.npartitions):
            parts = frame.partitions[:stop]
            rows = parts.map_partitions(_part_head, names, where, meta=frame._meta).compute()
            if len(rows) >= HEAD:
                break
        return eager(rows.head(HEAD))

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Levels:
        """Return the distinct values of some columns, found where the partitions are."""
        from dask.delayed import delayed

        find, frame = delayed(_part_levels), self.frame[list(_union(names, read))]
        parts = delayed([find(part, names, where) for part in frame.to_delayed()]).compute()
        return {name: set().union(*(part[name] for part in parts)) for name in names}

    def tally(self, plan: Plan) -> Sums:
        """Pass over the partitions where they are."""
        return tally_dask(self.frame[list(plan.sources)], plan)


class DatasetSource:
    """A pyarrow Dataset, such as a folder of Parquet files."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.schema: Mapping[str, Any] = eager(dataset.schema.empty_table()).schema

    def head(self, names: Names, where: nw.Expr | None = None) -> Frame:
        """Return the first rows, or the first that meet a condition."""
        if where is None:
            return eager(self.dataset.head(HEAD, columns=list(names)))
        parts = [eager(self.dataset.schema.empty_table()).select(*names)]
        for batch in self._batches(names):
            parts.append(batch.filter(where).head(HEAD))
            if sum(map(len, parts)) >= HEAD:
                break
        return nw.concat(parts).head(HEAD)

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Levels:
        """Return the distinct values of some columns."""
        batches = self._batches(_union(names, read))
        return _levels((b if where is None else b.filter(where) for b in batches), names)

    def tally(self, plan: Plan) -> Sums:
        """Pass over the scan."""
        return tally_batches(self._batches(plan.sources), plan)

    def _batches(self, names: Names) -> Iterator[Frame]:
        yield from arrow_batches(self.dataset.to_batches(columns=list(names)))


def open_source(frame: Any) -> Source:
    """Recognise a frame."""
    if hasattr(frame, "get_fragments"):
        return DatasetSource(frame)
    if hasattr(frame, "_meta_nonempty") and hasattr(frame, "to_delayed"):
        return DaskSource(frame)
    try:
        known = nw.from_native(frame)
    except TypeError as error:
        raise TypeError(
            "frame must be a data frame that narwhals knows (pandas, polars, pyarrow, DuckDB, "
            f"PySpark, ibis), a dask frame or a pyarrow Dataset; got {type(frame).__name__}."
        ) from error
    return LazySource(known) if isinstance(known, nw.LazyFrame) else EagerSource(known)


def _part_head(part: Any, names: Names, where: nw.Expr | None) -> Any:
    return EagerSource(eager(part)).head(names, where).to_native()


def _part_levels(part: Any, names: Names, where: nw.Expr | None) -> Levels:
    return EagerSource(eager(part)).levels(names, where, tuple(part.columns))


def _levels(batches: Iterable[Frame], names: Names) -> Levels:
    found: Levels = {name: set() for name in names}
    for batch in batches:
        for name in names:
            found[name].update(factorise(batch[name])[1])
    return found


def _union(names: Names, others: Names) -> Names:
    return tuple(dict.fromkeys((*names, *others)))

"""Any frame behind what a pass needs of it: schema, first rows, levels, sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, pairwise
from typing import Any, Protocol

import narwhals.stable.v2 as nw
import numpy as np

from skbayesiv._data.frames.batches import tally_batches
from skbayesiv._data.frames.columns import factorise
from skbayesiv._data.frames.expressions import collect, labels_as_text, tally_expressions
from skbayesiv._data.frames.partitions import tally_dask, tally_spark
from skbayesiv._data.frames.plan import Plan, Tallies
from skbayesiv._data.frames.streams import STREAMS, Frame, arrow_batches, eager, slices

HEAD = 1024
MANY = 1000
# With more numbers there are too many products for one query, and with more combinations of levels
# too many rows of sums: the frame's rows are streamed, or summed where the partitions are.
# Databases, whose rows would have to travel, are queried at any size.
NARROW = 12
COMBINATIONS = 1 << 16

Names = tuple[str, ...]
Distinct = dict[str, set[Any]]


class Source(Protocol):
    """What a pass needs of a frame."""

    schema: Mapping[str, Any]

    def head(self, names: Names, where: nw.Expr | None = None) -> Frame:
        """Return the first rows, or the first that meet a condition on the named columns."""

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Distinct:
        """Return distinct values of some columns, all of them if there are at most MANY.

        `read` are the condition's columns.
        """

    def tally(self, plan: Plan) -> Tallies:
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

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Distinct:
        """Return the distinct values of some columns."""
        rows = self.frame
        if where is not None:
            rows = rows.select(*_union(names, read)).filter(where)
        return _levels(slices(rows), names)

    def tally(self, plan: Plan) -> Tallies:
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

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Distinct:
        """Return the distinct values of some columns, each found in a query of its own."""
        rows = self.frame if where is None else self.frame.filter(where)
        found: Distinct = {}
        for name in names:
            values = labels_as_text(rows, (name,)).unique().head(MANY + 2)  # one may be null
            found |= _levels([collect(values)], (name,))
        return found

    def tally(self, plan: Plan) -> Tallies:
        """Let the engine sum, or stream its rows when there are many columns."""
        engine = self.frame.implementation
        is_wide = len(plan.number_terms) > NARROW or plan.n_combinations > COMBINATIONS
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
        parts = [eager(frame._meta)]
        for start, stop in pairwise(sorted({0, 1, min(8, frame.npartitions), frame.npartitions})):
            some = frame.partitions[start:stop]
            rows = some.map_partitions(_part_head, names, where, meta=frame._meta).compute()
            parts.append(eager(rows))
            if sum(map(len, parts)) >= HEAD:
                break
        return nw.concat(parts).head(HEAD)

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Distinct:
        """Return the distinct values of some columns, found where the partitions are."""
        from dask.delayed import delayed

        find, frame = delayed(_part_levels), self.frame[list(_union(names, read))]
        parts = delayed([find(part, names, where) for part in frame.to_delayed()]).compute()
        return {name: set().union(*(part[name] for part in parts)) for name in names}

    def tally(self, plan: Plan) -> Tallies:
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
            return eager(self.dataset.head(HEAD, columns=list(names), **self._options()))
        parts = [eager(self.dataset.schema.empty_table()).select(*names)]
        for batch in self._batches(names):
            parts.append(batch.filter(where).head(HEAD))
            if sum(map(len, parts)) >= HEAD:
                break
        return nw.concat(parts).head(HEAD)

    def levels(self, names: Names, where: nw.Expr | None = None, read: Names = ()) -> Distinct:
        """Return the distinct values of some columns."""
        batches = self._batches(_union(names, read))
        return _levels((b if where is None else b.filter(where) for b in batches), names)

    def tally(self, plan: Plan) -> Tallies:
        """Pass over the scan."""
        return tally_batches(self._batches(plan.sources), plan)

    def _batches(self, names: Names) -> Iterator[Frame]:
        """Scan one row group after the other: a scan of many reads on while its reader is busy."""
        scan = {"columns": list(names), **self._options()}
        try:
            fragments = self.dataset.get_fragments()
        except ValueError:  # a filtered dataset has none
            yield from arrow_batches(self.dataset.to_batches(**scan))
            return
        for fragment in fragments:
            whole = not hasattr(fragment, "split_by_row_group")
            for part in [fragment] if whole else fragment.split_by_row_group():
                yield from arrow_batches(part.to_batches(schema=self.dataset.schema, **scan))

    def _options(self) -> dict[str, Any]:
        """Read little ahead: by default pyarrow holds many row groups of many files."""
        from pyarrow import dataset as ds

        options: dict[str, Any] = {"batch_readahead": 1, "fragment_readahead": 1}
        if isinstance(getattr(self.dataset, "format", None), ds.ParquetFileFormat):
            options["fragment_scan_options"] = ds.ParquetFragmentScanOptions(pre_buffer=False)
        return options


def open_source(frame: Any) -> Source:
    """Recognise a frame."""
    frame = unwrap(frame)
    if _is_dataset(frame):
        return DatasetSource(frame)
    if _is_dask(frame):
        return DaskSource(frame)
    try:
        known = nw.from_native(frame)
    except TypeError as error:
        raise TypeError(
            "frame must be a data frame that narwhals knows (pandas, polars, pyarrow, DuckDB, "
            f"PySpark, ibis), a dask frame or a pyarrow Dataset; got {type(frame).__name__}."
        ) from error
    return LazySource(known) if isinstance(known, nw.LazyFrame) else EagerSource(known)


def is_lazy(frame: Any) -> bool:
    """Whether a frame's rows are not in memory, so that they have no order."""
    if frame is None or isinstance(frame, np.ndarray):
        return False
    frame = unwrap(frame)
    if _is_dataset(frame) or _is_dask(frame):
        return True
    if nw.dependencies.is_pandas_dataframe(frame):
        return False  # one with a name twice is no data frame to narwhals
    return isinstance(nw.from_native(frame, pass_through=True), nw.LazyFrame)


def unwrap(frame: Any) -> Any:
    """What narwhals wraps; a pyarrow RecordBatch as a Table."""
    if type(frame).__name__ == "RecordBatchReader":
        raise TypeError(
            "frame must be one that can be read twice; got RecordBatchReader: pass the Dataset, or "
            "the Table that read_all() returns."
        )
    if type(frame).__name__ == "RecordBatch":
        import pyarrow as pa

        return pa.Table.from_batches([frame])
    return nw.to_native(frame, pass_through=True)


def _is_dataset(frame: Any) -> bool:
    return hasattr(frame, "get_fragments")


def _is_dask(frame: Any) -> bool:
    return hasattr(frame, "_meta_nonempty") and hasattr(frame, "to_delayed")


def _part_head(part: Any, names: Names, where: nw.Expr | None) -> Any:
    return EagerSource(eager(part)).head(names, where).to_native()


def _part_levels(part: Any, names: Names, where: nw.Expr | None) -> Distinct:
    return EagerSource(eager(part)).levels(names, where, tuple(part.columns))


def _levels(batches: Iterable[Frame], names: Names) -> Distinct:
    """Distinct values; the search ends where one column has too many."""
    found: Distinct = {name: set() for name in names}
    for batch in batches:
        for name in names:
            found[name].update(factorise(batch[name])[1])
            if len(found[name]) > MANY:
                return found | {name: set(islice(found[name], MANY + 1))}
    return found


def _union(names: Names, others: Names) -> Names:
    return tuple(dict.fromkeys((*names, *others)))

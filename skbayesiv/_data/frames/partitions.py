"""dask and Spark: each partition returns its sums, and the engine adds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from skbayesiv._data.frames.batches import tally_batches
from skbayesiv._data.frames.columns import factorise
from skbayesiv._data.frames.plan import Layout, Plan, Tallies, add_sums
from skbayesiv._data.frames.streams import arrow_batches, eager, slices

FAN_IN = 16
ROWS_SENT = 1 << 10


def tally_dask(frame: Any, plan: Plan) -> Tallies:
    """Tallies of each partition, added in a tree; dask's scheduler runs, and reruns, the tasks."""
    from dask.delayed import delayed

    tally, add = delayed(tally_partition), delayed(add_sums)
    sums = [tally(part, plan) for part in frame.to_delayed()]
    while len(sums) > 1:
        sums = [add(sums[i : i + FAN_IN], plan.layout) for i in range(0, len(sums), FAN_IN)]
    return dict(sums[0].compute())


def tally_partition(part: Any, plan: Plan) -> Tallies:
    """Tallies of one partition, a frame in memory."""
    return tally_batches(slices(eager(part)), plan)


def tally_spark(frame: Any, plan: Plan) -> Tallies:
    """Tallies of each partition as rows (key, sums); Spark brings those of a key together."""
    key = "int" if plan.by is None else frame.schema[plan.by].dataType.simpleString()
    schema = f"`key` {key}, `sums` array<double>"
    entries = frame.mapInArrow(_tally_in_spark(plan), schema)
    if plan.by is not None:
        entries = entries.repartition("key").mapInArrow(_add_in_spark(plan.layout), schema)
    nothing = {None: plan.layout.zeros(plan.shift)}
    return add_sums([nothing, _read(entries.toArrow(), plan.layout)], plan.layout)


def _tally_in_spark(plan: Plan) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Return the function that sums the Arrow batches of a partition."""

    def tally(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        first = next(batches, None)
        if first is not None:
            kind = pa.int32() if plan.by is None else first.schema.field(plan.by).type
            sums = tally_batches(arrow_batches(chain([first], batches)), plan)
            yield from _write(sums, kind)

    return tally


def _add_in_spark(layout: Layout) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Return the function that adds the rows (key, sums) of a partition."""

    def add(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        rows = list(batches)
        if rows:
            table = pa.Table.from_batches(rows)
            yield from _write(_read(table, layout), table.schema.field("key").type)

    return add


def _write(sums: Tallies, kind: Any) -> Iterator[Any]:
    """Tallies as Arrow batches of rows (key, sums)."""
    import pyarrow as pa

    keys, vectors = list(sums), list(sums.values())
    for start in range(0, len(keys), ROWS_SENT):
        some = slice(start, start + ROWS_SENT)
        sent = pa.array(vectors[some], pa.list_(pa.float64()))
        yield pa.RecordBatch.from_pydict({"key": pa.array(keys[some], kind), "sums": sent})


def _read(table: Any, layout: Layout) -> Tallies:
    """Add up rows (key, sums)."""
    codes, keys = factorise(eager(table)["key"])
    names = [*keys, None]
    vectors = table["sums"].combine_chunks().flatten().to_numpy().reshape(-1, layout.size)
    pairs = zip(codes, vectors, strict=True)
    return add_sums(({names[code]: vector} for code, vector in pairs), layout)

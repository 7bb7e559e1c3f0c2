"""dask and Spark: each partition returns its sums, and the engine adds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from skbayesiv._frames._batches import tally_batches
from skbayesiv._frames._plan import Plan, Sums, add_sums
from skbayesiv._frames._streams import arrow_batches, eager, slices

FAN_IN = 16
ROWS_SENT = 1 << 16


def tally_dask(frame: Any, plan: Plan) -> Sums:
    """Sums of each partition, added in a tree; dask's scheduler runs, and reruns, the tasks."""
    from dask.delayed import delayed

    tally, add = delayed(tally_partition), delayed(add_sums)
    sums = [tally(part, plan) for part in frame.to_delayed()]
    while len(sums) > 1:
        sums = [add(sums[i : i + FAN_IN]) for i in range(0, len(sums), FAN_IN)]
    return dict(sums[0].compute())


def tally_partition(part: Any, plan: Plan) -> Sums:
    """Sums of one partition, a frame in memory."""
    return tally_batches(slices(eager(part)), plan)


def tally_spark(frame: Any, plan: Plan) -> Sums:
    """Sums of each partition as rows (key, place, value), which Spark adds by key and place."""
    key = "int" if plan.by is None else frame.schema[plan.by].dataType.simpleString()
    entries = frame.mapInArrow(_spark_partition(plan), f"`key` {key}, `place` int, `value` double")
    sums: Sums = {None: np.zeros(plan.layout.size)}
    for row in entries.groupBy("key", "place").sum("value").collect():
        vector = sums.setdefault(row[0], np.zeros(plan.layout.size))
        vector[row[1]] = row[2]
    return sums


def _spark_partition(plan: Plan) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Return the function that Spark runs on the Arrow batches of a partition."""

    def entries(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        first = next(batches, None)
        if first is None:
            return
        kind = pa.int32() if plan.by is None else first.schema.field(plan.by).type
        sums = tally_batches(arrow_batches(chain([first], batches)), plan)
        size = plan.layout.size
        keys, vectors = list(sums), list(sums.values())
        step = max(1, ROWS_SENT // size)
        for start in range(0, len(keys), step):
            some = slice(start, start + step)
            columns = {
                "key": pa.array([key for key in keys[some] for _ in range(size)], kind),
                "place": np.tile(np.arange(size, dtype=np.int32), len(keys[some])),
                "value": np.concatenate(vectors[some]),
            }
            yield pa.RecordBatch.from_pydict(columns)

    return entries

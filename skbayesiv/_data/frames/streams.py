"""Frames and queries as batches of rows in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import narwhals.stable.v2 as nw

BATCH_ROWS = 1 << 17
SLICE_ROWS = 1 << 19

Frame = nw.DataFrame[Any]


def eager(native: Any) -> Frame:
    """Wrap a frame in memory."""
    return nw.from_native(native, eager_only=True)


def slices(frame: Frame) -> Iterator[Frame]:
    """Yield views of a frame in memory, so that a column that has to be copied stays small."""
    for start in range(0, len(frame), SLICE_ROWS):
        yield frame[start : start + SLICE_ROWS]


def arrow_batches(batches: Iterable[Any]) -> Iterator[Frame]:
    """Yield pyarrow record batches as frames."""
    import pyarrow as pa

    for batch in batches:
        yield eager(pa.Table.from_batches([batch]))


def polars_batches(query: Any) -> Iterator[Frame]:
    """Stream the result of a polars query, in order."""
    for batch in query.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        yield eager(batch)


def duckdb_batches(relation: Any) -> Iterator[Frame]:
    """Stream a DuckDB relation."""
    yield from arrow_batches(relation.to_arrow_reader(BATCH_ROWS))


STREAMS: dict[Any, Callable[[Any], Iterator[Frame]]] = {
    nw.Implementation.POLARS: polars_batches,
    nw.Implementation.DUCKDB: duckdb_batches,
}

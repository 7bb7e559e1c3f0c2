"""Rows as arrays -> blocks of about 1 MB, and the sums of these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skbayesiv._columns import Columns
from skbayesiv._data.frames.batches import LONG_RUN, block_rows, lanes
from skbayesiv._data.frames.plan import Totals
from skbayesiv._typing import Array, Codes

PILOT_ROWS = 1024
FEW_ROWS = 4096  # of a block by row, beside which stands what is taken off it
WIDE = 12  # copying rows of this many covariates is faster row by row than column by column


class RowArrays(Protocol):
    """Checked rows in memory: x (n, P), z (n, Q), t (n, K), y (n,) and weights (n,) or None."""

    @property
    def columns(self) -> Columns: ...

    @property
    def x(self) -> NDArray[Any]: ...

    @property
    def z(self) -> NDArray[Any]: ...

    @property
    def t(self) -> NDArray[Any]: ...

    @property
    def y(self) -> NDArray[Any]: ...

    @property
    def sample_weight(self) -> Array | None: ...

    @property
    def probability(self) -> bool: ...

    @property
    def n_rows(self) -> int: ...


def blocks(data: RowArrays, shift: Array, *, by_row: bool = False) -> Iterator[tuple[Array, slice]]:
    """Blocks of the columns (1, [x, z, t, y] - shift), and which rows they are.

    Parameters
    ----------
    data : checked rows
    shift : ndarray of shape (C,)
    by_row : bool, default=False
        Whether what is next to each other in memory is of one row, or of one column.

    Yields
    ------
    block : ndarray of shape (W, n), W = lanes(1 + C)
        Zero below the columns. It is written over by the next one.
    at : slice
        Its rows.
    """
    parts = (data.x, data.z, data.t, data.y[:, None])
    stops = 1 + np.cumsum([part.shape[1] for part in parts])
    width = lanes(1 + len(shift))
    point = np.zeros((width, 1))
    point[1 : 1 + len(shift), 0] = shift
    step = min(block_rows(width), FEW_ROWS) if by_row else block_rows(width)
    block = np.empty((width, 0))
    for start in range(0, data.n_rows, step):
        at = slice(start, min(start + step, data.n_rows))
        n = at.stop - start
        if block.shape[1] != n:
            block = np.empty((n, width)).T if by_row else np.empty((width, n))
            block[stops[-1] :] = 0.0
            # Of one shape, so that one is taken off the other as flat memory.
            points = np.tile(point.T, (n, 1)).T if by_row else point
        block[0] = 1.0
        for part, stop in zip(parts, stops, strict=True):
            block[stop - part.shape[1] : stop] = part[at].T
        block -= points
        yield block, at


@np.errstate(
    over="ignore", invalid="ignore", divide="ignore"
)  # whoever asks for the sums names what overflowed
def sum_blocks(data: RowArrays) -> Totals:
    """Sums of the columns [x, z, t, y] and of their products, about the mean of the first rows.

    A row that outweighs these can lie far from their mean: then they are taken about the mean of
    all, in a second pass.
    """
    sums = _sum_about(data, pilot_mean(data))
    if data.sample_weight is None or not sums.far.any():
        return sums
    return _sum_about(data, sums.shift + sums.total / sums.weight)


def _sum_about(data: RowArrays, shift: Array) -> Totals:
    width = len(shift)
    cross, weight, n_rows = np.zeros((lanes(1 + width), lanes(1 + width))), 0.0, 0
    by_row = data.x.shape[1] > WIDE and data.x.flags.c_contiguous and data.sample_weight is None
    for block, at in blocks(data, shift, by_row=by_row):
        if data.sample_weight is None:
            weight += block.shape[1]
            n_rows += block.shape[1]
        else:
            w = data.sample_weight[at]
            weight += float(w.sum())
            n_rows += int(np.count_nonzero(w))
            block *= np.sqrt(w)
        cross += block @ block.T
    sums = cross[: 1 + width, : 1 + width]
    return Totals(shift, weight, n_rows, sums[0, 1:].copy(), sums[1:, 1:].copy())


def count_clusters(codes: Codes, weight: Array | None) -> int:
    """Number of clusters that have a weight."""
    seen = np.zeros(int(codes.max()) + 1, dtype=bool)
    for start in range(0, len(codes), LONG_RUN):
        at = slice(start, start + LONG_RUN)
        seen[codes[at] if weight is None else codes[at][weight[at] > 0]] = True
    return int(np.count_nonzero(seen))


def pilot_mean(data: RowArrays) -> Array:
    """Mean of the first rows, in double precision, shape (C,); the same for any memory layout."""
    parts = (data.x, data.z, data.t, data.y[:, None])
    first = np.concatenate([part[:PILOT_ROWS].T for part in parts], dtype=np.float64)
    return np.ascontiguousarray(first).mean(axis=1)

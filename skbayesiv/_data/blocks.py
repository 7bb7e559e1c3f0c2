"""Rows as arrays -> their sums, in one pass over blocks of about 1 MB."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skbayesiv._columns import Columns
from skbayesiv._data.frames.batches import BLOCK_BYTES
from skbayesiv._data.frames.plan import Totals
from skbayesiv._typing import Array

PILOT_ROWS = 1024


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
    def n_rows(self) -> int: ...


@np.errstate(over="ignore", invalid="ignore")  # `check_identified` names what overflowed
def sum_blocks(data: RowArrays) -> Totals:
    """Sums of the columns [x, z, t, y] and of their products, about the mean of the first rows."""
    parts = (data.x, data.z, data.t, data.y[:, None])
    shift = np.concatenate([_pilot_mean(part) for part in parts])
    width = shift.shape[0]
    rows = max(1, BLOCK_BYTES // (8 * width))
    buffer = np.empty((rows, width))
    weight, n_rows, total, cross = 0.0, 0, np.zeros(width), np.zeros((width, width))
    for start in range(0, data.n_rows, rows):
        stop = min(start + rows, data.n_rows)
        block = buffer[: stop - start]
        np.concatenate([part[start:stop] for part in parts], axis=1, out=block)
        block -= shift
        w = None if data.sample_weight is None else data.sample_weight[start:stop]
        if w is None:
            weight += stop - start
            n_rows += stop - start
            total += block.sum(axis=0)
        else:
            weight += float(w.sum())
            n_rows += int(np.count_nonzero(w))
            total += w @ block
            block *= np.sqrt(w)[:, None]
        cross += block.T @ block
    return Totals(shift, weight, n_rows, total, cross)


def _pilot_mean(part: NDArray[Any]) -> Array:
    """Mean of the first rows, in double precision."""
    return np.asarray(part[:PILOT_ROWS].mean(axis=0, dtype=np.float64)).reshape(-1)

"""Could rows have these sums? Asked of sums that a user hands over or loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._typing import Array, is_real, is_whole

NEGATIVE = 1e-8  # an eigenvalue of a correlation matrix below minus this is no rounding
ASYMMETRIC = 1e-9


class Counted(Protocol):
    """Sums over rows."""

    @property
    def n_rows(self) -> int: ...

    @property
    def weight(self) -> float: ...


def check_columns(columns: Any, argument: str) -> None:
    """Raise unless the columns have names by role, each one of its own."""
    ok = isinstance(columns, Columns) and isinstance(columns.outcome, str)
    parts = (columns.covariates, columns.instruments, columns.treatments) if ok else ()
    if not ok or not all(isinstance(part, tuple) for part in parts):
        raise TypeError(
            f"{argument}.columns must be names of columns by role, as Moments.from_frame makes "
            f"them; got {columns!r}."
        )
    names = columns.names
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"{argument}.columns must have different names; got {names}.")


def check_arrays(sums: Any, argument: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless attributes are arrays of real numbers of these shapes."""
    for name, shape in shapes.items():
        value = getattr(sums, name)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.shape == shape:
            continue
        found = f"{type(value).__name__}"
        if isinstance(value, np.ndarray):
            found = f"shape {value.shape} of {value.dtype}"
        raise ValueError(
            f"{argument}.{name} must be an array of real numbers of shape {shape}; got {found}."
        )


def check_counts(sums: Counted, argument: str) -> None:
    """Raise unless there is a number of rows, and a weight if there are any."""
    n_rows, weight = sums.n_rows, sums.weight
    if not is_whole(n_rows) or n_rows < 0:
        raise ValueError(f"{argument}.n_rows must be a number of rows; got {n_rows!r}.")
    if not is_real(weight) or weight < 0 or (n_rows > 0) != (weight != 0):
        raise ValueError(
            f"{argument}.weight must be the sum of the weights of {n_rows} rows; got {weight!r}."
        )


def check_products(cross: Array, argument: str) -> None:
    """Raise unless finite sums of products are symmetric, and those of squares not negative."""
    if not np.isfinite(cross).all():
        return  # whoever uses them names the columns
    square = np.diag(cross)
    if (square < 0.0).any():
        raise ValueError(
            f"{argument}.cross must have sums of squares that are not negative; got {square}."
        )
    size = np.sqrt(square)
    if (np.abs(cross - cross.T) > ASYMMETRIC * size[:, None] * size).any():
        raise ValueError(f"{argument}.cross must be symmetric, as sums of products are; it is not.")


def check_variances(second: Array, argument: str) -> None:
    """Raise if some combination of columns has a negative sum of squares, of (1, columns)."""
    if not np.isfinite(second).all():
        return
    size = np.sqrt(np.diag(second))
    unit = np.where(size > 0.0, size, 1.0)
    values = np.linalg.eigvalsh(second / unit[:, None] / unit)
    if values[0] < -NEGATIVE * len(second):
        raise ValueError(
            f"{argument} must be sums that rows can have: with these some combination of the "
            "columns has a negative variance."
        )

"""Could rows have these sums? Asked of sums that a user hands over or loads."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.frames.products import product_shape
from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import in_own_units

NEGATIVE = 1e-8  # an eigenvalue of a correlation matrix below minus this is no rounding


def check_moments(moments: Any, argument: str = "moments") -> None:
    """Raise unless the argument is Moments that rows can have."""
    if isinstance(moments, Mapping):
        raise TypeError(
            f"{argument} must be Moments; got {type(moments).__name__}: of moments by group pass "
            "one, or their sum."
        )
    if not isinstance(moments, Moments):
        raise TypeError(f"{argument} must be Moments; got {type(moments).__name__}.")
    width = _check_columns(moments.columns, argument)
    shapes = {"shift": (width,), "total": (width,), "cross": (width, width)}
    for name, shape in shapes.items():
        _check_array(getattr(moments, name), f"{argument}.{name}", shape)
    _check_counts(moments, argument)
    cross = moments.cross
    if np.isfinite(moments.with_constant).all():
        _check_products(cross, f"{argument}.cross")
        if moments.weight and np.linalg.eigvalsh(_correlations(moments))[0] < -NEGATIVE * width:
            raise ValueError(
                f"{argument} must be sums that rows can have: with these some combination of "
                f"{list(moments.columns.names)} has a negative variance."
            )


def check_fourth_moments(fourth: Any, argument: str = "fourth_moments") -> None:
    """Raise unless the argument is FourthMoments that rows can have."""
    if not isinstance(fourth, FourthMoments):
        raise TypeError(f"{argument} must be FourthMoments; got {type(fourth).__name__}.")
    width = _check_columns(fourth.columns, argument)
    f, e = product_shape(fourth.columns)
    p = len(fourth.columns.covariates)
    _check_array(fourth.reference.shift, f"{argument}.reference.shift", (width,))
    _check_array(fourth.reference.coef, f"{argument}.reference.coef", (p, width - p))
    _check_array(fourth.total, f"{argument}.total", (f, e))
    _check_array(fourth.cross, f"{argument}.cross", (f, e, f, e))
    _check_counts(fourth, argument)
    if np.isfinite(fourth.cross).all():
        _check_products(fourth.cross.reshape(f * e, f * e), f"{argument}.cross")


def _check_columns(columns: Any, argument: str) -> int:
    """Number of columns; raise unless they have names, each one of its own."""
    ok = isinstance(columns, Columns) and isinstance(columns.outcome, str)
    parts = (columns.covariates, columns.instruments, columns.treatments) if ok else ()
    if not ok or not all(isinstance(part, tuple) for part in parts):
        raise TypeError(
            f"{argument}.columns must be names of columns by role, as Moments.from_frame makes "
            f"them; got {columns!r}."
        )
    names = columns.names
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{argument}.columns must have different names; got {names}.")
    return len(names)


def _check_array(value: Any, name: str, shape: tuple[int, ...]) -> None:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.shape != shape:
        kind = f"shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(
            f"{name} must be an array of real numbers of shape {shape}; got {kind}"
            f"{f' of {value.dtype}' if isinstance(value, np.ndarray) else ''}."
        )


def _check_counts(sums: Moments | FourthMoments, argument: str) -> None:
    """Raise unless there is a number of rows, and a weight if there are any."""
    n_rows, weight = sums.n_rows, sums.weight
    if not isinstance(n_rows, Integral) or n_rows < 0:
        raise ValueError(f"{argument}.n_rows must be a number of rows; got {n_rows!r}.")
    if not isinstance(weight, Real) or weight < 0 or (n_rows > 0) != (weight != 0):
        raise ValueError(
            f"{argument}.weight must be the sum of the weights of {n_rows} rows; got {weight!r}."
        )


def _check_products(cross: Any, name: str) -> None:
    """Raise unless sums of products are symmetric, and those of squares not negative."""
    square = np.diag(cross)
    if (square < 0.0).any():
        raise ValueError(f"{name} must have sums of squares that are not negative; got {square}.")
    size = np.sqrt(square)
    if (np.abs(cross - cross.T) > 1e-9 * np.outer(size, size)).any():
        raise ValueError(f"{name} must be symmetric, as sums of products are; it is not.")


def _correlations(moments: Moments) -> Any:
    return in_own_units(moments.with_constant)[1]

"""Columns of a frame in memory as arrays: numbers, and codes of labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skbayesiv._data.frames.types import as_floats

MISSING, UNSEEN = -1, -2


def numbers(series: nw.Series[Any], argument: str = "frame") -> NDArray[Any]:
    """Values as real numbers, without a copy where possible; NaN where missing.

    `argument` is what an error names.
    """
    dtype = series.dtype
    if isinstance(dtype, nw.Object):
        return as_floats(series.to_numpy(), argument, series.name)
    if not (dtype.is_integer() or dtype.is_float()):
        series = series.cast(nw.Float64)
    values = series.to_numpy()
    return values if values.dtype.kind in "fiu" else values.astype(np.float64)


def level_codes(series: nw.Series[Any], levels: Sequence[Any]) -> NDArray[np.intp]:
    """Position of each value among the levels; MISSING or UNSEEN where there is none."""
    codes, found = factorise(series)
    place = {level: i for i, level in enumerate(levels)}
    return np.asarray([*(place.get(key, UNSEEN) for key in found), MISSING], dtype=np.intp)[codes]


def factorise(series: nw.Series[Any]) -> tuple[NDArray[np.intp], list[Any]]:
    """Codes and the distinct values as Python objects; code -1 where missing.

    A time with a zone becomes a datetime in UTC: two hours of the same name, when the clock goes
    back, stay apart.
    """
    codes, found = pd.factorize(labels(series))
    if found.dtype.kind in "mM":
        found = _microseconds(found, series.name)
    if any(isinstance(key, pd.DateOffset) for key in found[:1]):
        raise ValueError(
            f"Column {series.name!r} must not hold intervals, whose length depends on the "
            "calendar: make them numbers or strings."
        )
    if series.dtype == nw.Date:
        found = found.astype("datetime64[D]")
    keys = found.tolist()
    if series.dtype.is_integer():
        keys = [int(key) for key in keys]
    if getattr(series.dtype, "time_zone", None) is not None:
        keys = [key.replace(tzinfo=UTC) for key in keys]
    return codes, keys


def _microseconds(times: NDArray[Any], name: str) -> NDArray[Any]:
    """Times in the unit of Python's own."""
    rounded = times.astype(f"{times.dtype.kind}8[us]")
    if (finer := times != rounded).any():
        raise ValueError(
            f"Column {name!r} must hold times of whole microseconds; got {times[finer][0]}."
        )
    return rounded


def labels(series: nw.Series[Any]) -> NDArray[Any]:
    """Values of a series as numpy has them; a null stays missing."""
    is_label = isinstance(series.dtype, nw.Categorical | nw.Enum)
    if is_label and series.implementation.is_pyarrow():
        # `to_numpy` of a dictionary array looks a null up as position -1, the last label.
        native = series.to_native()
        return np.asarray(native.cast(native.type.value_type).to_numpy())
    return series.to_numpy()

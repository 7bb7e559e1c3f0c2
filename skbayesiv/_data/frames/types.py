"""What each type of column becomes: one table, for all ways in.

=============================================  ==============================================
whole numbers, floats, decimals, Booleans      numbers, in double precision
Python objects                                 numbers, if each is one or is missing
strings, categories, enumerations              indicators of their levels, where they are the
                                               covariates of a named frame; else refused
dates, times, durations, complex numbers,      refused
bytes, lists, structures
=============================================  ==============================================
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skbayesiv._typing import is_real

NUMBERS = "biuf"  # kinds of numpy's types
COMPLEX = "complex numbers (Complex data not supported)"
WORDS = {"U": "strings", "S": "bytes", "M": "dates", "m": "durations", "c": COMPLEX}
CODE_THEM = (
    "code two categories as 0 and 1, more as indicators (OneHotEncoder), or name the column among "
    "covariates of a frame in which y is named too"
)


def is_number(dtype: Any) -> bool:
    """Whether a frame's column of this type holds numbers; of objects see :func:`as_floats`."""
    return bool(dtype.is_numeric()) or isinstance(dtype, nw.Boolean | nw.Object)


def is_label(dtype: Any) -> bool:
    """Whether a frame's column of this type is a factor."""
    return isinstance(dtype, nw.String | nw.Categorical | nw.Enum)


def refuse_type(argument: str, what: str, *, label: bool) -> ValueError:
    """Error that values are no numbers."""
    remedy = CODE_THEM if label else "make them numbers"
    return ValueError(f"{argument} must be numeric and finite; got {what}: {remedy}.")


def check_kind(values: NDArray[Any], argument: str) -> NDArray[Any]:
    """Return an array of numbers; raise if it holds anything else."""
    if values.dtype.kind in NUMBERS:
        return values
    if values.dtype.kind == "O":
        return as_floats(values, argument)
    kind = WORDS.get(values.dtype.kind, str(values.dtype))
    example = f" such as {values.flat[0].item()!r}" if values.size and kind == "strings" else ""
    raise refuse_type(argument, kind + example, label=kind == "strings")


def as_floats(
    values: NDArray[Any], argument: str, column: str | None = None
) -> NDArray[np.float64]:
    """Python objects as numbers, NaN where missing; raise if one is anything else."""
    flat = values.ravel().tolist()
    for value in flat:
        if isinstance(value, str):
            where = "" if column is None else f" in column {column!r}"
            raise refuse_type(argument, f"strings such as {value!r}{where}", label=True)
        number = is_real(value) or isinstance(value, Decimal | Fraction | np.bool_)
        if not (number or value is None or value is pd.NA):
            where = "an argument" if column is None else f"column {column!r}"
            raise TypeError(
                f"{argument} must be numeric and finite: {where} must be no string but a number; "
                f"got {value!r} of type {type(value).__name__}."
            )
    floats = [np.nan if value is None or value is pd.NA else _to_float(value) for value in flat]
    return np.array(floats, dtype=np.float64).reshape(values.shape)


def _to_float(value: Any) -> float:
    """Nearest float; infinite where a number is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")

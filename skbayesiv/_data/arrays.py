"""Whatever holds numbers -> an array of them; every error names the argument.

What each type of column becomes is the table of :mod:`skbayesiv._data.frames.types`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import check_array

from skbayesiv._columns import check_unique
from skbayesiv._data.frames.columns import numbers
from skbayesiv._data.frames.types import NUMBERS, check_kind, is_label, is_number, refuse_type

FLOATS = [np.float64, np.float32]
LARGE = 1e150


def check_matrix(value: Any, name: str, *, finite: bool = True, **options: Any) -> NDArray[Any]:
    """Return a finite 2-D float array.

    Without `finite` values may be missing or infinite, for who forms sums sees it in these, and
    whole numbers and Booleans stay what they are.
    """
    if not finite and _is_ready(value, finite):
        return np.asarray(value)
    array = as_numbers(value, name)
    if not _is_ready(array, finite):
        with naming(f"{name} must be numeric and finite"):
            options |= {"dtype": FLOATS, "ensure_all_finite": False, "input_name": name}
            array = np.asarray(check_array(array, **options))
    if finite:
        check_finite(array, name, list(getattr(value, "columns", ())))
        largest = float(np.abs(array).max(initial=0.0))
        if largest > LARGE:
            raise ValueError(
                f"{name} must be at most {LARGE:g}, or its squares are no numbers; got "
                f"{largest:.6g}. Rescale it, as in fit."
            )
    return array


def _is_ready(value: Any, finite: bool) -> bool:
    """Whether there is nothing to convert and nothing to refuse; sums convert what they add."""
    if type(value) is not np.ndarray or value.ndim != 2 or not value.size:
        return False
    if value.dtype in FLOATS:
        with np.errstate(over="ignore", invalid="ignore"):
            return not finite or bool(np.isfinite(value.sum()))
    return not finite and value.dtype.kind in "biu"


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Name the argument in what a library raises."""
    try:
        yield
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from error
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"{what}: {error}") from error


def as_numbers(value: Any, name: str) -> Any:
    """Array of numbers with the dimensions of what was given, NaN where a value is missing."""
    refuse_masked(value, name)
    if issparse(value):
        raise TypeError(
            f"{name} must be dense; got a sparse {type(value).__name__}. Dense data come from "
            "sparse_threshold=0 in a ColumnTransformer, sparse_output=False in an encoder, or "
            ".toarray()."
        )
    frame = _as_frame(value, name)
    if frame is not None:
        return _frame_numbers(value, frame, name)
    if hasattr(value, "__array_namespace__") and not isinstance(value, np.ndarray):
        return value
    with naming(f"{name} must be numeric and finite"):
        array = np.asarray(value)
    return check_kind(array, name)


def refuse_masked(value: Any, name: str) -> None:
    """Raise if a value is masked: to use it all the same would be wrong in silence."""
    if masked := int(np.ma.getmaskarray(value).sum() if np.ma.isMaskedArray(value) else 0):
        raise ValueError(
            f"{name} must have no masked values; got {masked}: leave these rows out of all "
            "arguments, or impute them."
        )


def _as_frame(value: Any, name: str) -> nw.DataFrame[Any] | None:
    """A data frame, or a series as one of one column; None for anything else."""
    if isinstance(value, np.ndarray | list | tuple):
        return None
    if hasattr(value, "columns"):
        check_unique(tuple(map(str, value.columns)), name)
    given = nw.from_native(value, eager_only=True, allow_series=True, pass_through=True)
    if isinstance(given, nw.Series):
        return given.alias(str(given.name or name)).to_frame()
    return given if isinstance(given, nw.DataFrame) else None


def _frame_numbers(value: Any, frame: nw.DataFrame[Any], name: str) -> NDArray[Any]:
    """Columns of a frame as one array, without a copy where numpy has them so."""
    for label, dtype in frame.schema.items():
        if not is_number(dtype):
            what = f"column {label!r} of type {dtype}"
            raise refuse_type(name, what, label=is_label(dtype))
    if frame.implementation.is_pandas() and _are_numpy(frame.to_native().dtypes):
        return np.asarray(value)
    columns = [numbers(frame.get_column(column), name) for column in frame.columns]
    kind = np.result_type(*columns) if columns else np.float64
    out = np.empty((len(frame), len(columns)), kind, order="F")
    for at, values in enumerate(columns):
        out[:, at] = values
    return out if hasattr(value, "columns") else out[:, 0]


def _are_numpy(dtypes: Any) -> bool:
    """Whether all columns are numpy's numbers, or all its Booleans: together they are objects."""
    kinds = {dtype.kind if isinstance(dtype, np.dtype) else "extension" for dtype in dtypes}
    return kinds <= set(NUMBERS) and ("b" not in kinds or len(kinds) == 1)


def check_finite(values: NDArray[Any], name: str, columns: Sequence[Any] = ()) -> None:
    """Raise if a value is missing or infinite."""
    finite = np.isfinite(values)
    if finite.all():
        return
    at = int(np.argmin(finite.all(axis=0)))
    bad = values[~finite[:, at], at]
    counts = {"NaN": np.isnan(bad).sum(), "infinity": np.isinf(bad).sum()}
    found = " and ".join(f"{what} in {count} rows" for what, count in counts.items() if count)
    where = f"column {str(columns[at])!r}" if len(columns) > 1 else "it"
    raise ValueError(
        f"{name} must be numeric and finite: {where} contains {found}. Leave these rows out of all "
        "arguments, or impute the values."
    )

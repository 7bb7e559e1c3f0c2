"""Raw arguments -> checked arrays; an error names the argument, what is allowed and what came."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import check_array, column_or_1d

from skbayesiv._typing import Array, Codes
from skbayesiv.exceptions import OURS

COLUMN_Y = (
    "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
    "(n_samples,), for example using ravel()."
)
FLOATS = [np.float64, np.float32]
BLOCK_ROWS = 1 << 15
TIMES = ("date", "time", "duration", "period")


def check_matrix(
    value: ArrayLike, name: str, *, finite: bool = True, **options: Any
) -> NDArray[Any]:
    """Return a finite 2-D float array; every error names the argument.

    Without `finite` values may be missing or infinite, for who forms sums sees it in these, and
    whole numbers and Booleans stay what they are.
    """
    if isinstance(value, np.ndarray) and _is_ready(value, finite):
        return value
    if times := [str(dtype) for dtype in _dtypes(value) if str(dtype).lower().startswith(TIMES)]:
        raise ValueError(
            f"{name} must be numeric and finite: turn dates and times into numbers; got {times}."
        )
    try:
        options |= {"ensure_all_finite": finite}
        return np.asarray(check_array(value, dtype=FLOATS, input_name=name, **options))
    except (ValueError, TypeError) as error:
        raise type(error)(f"{name} must be numeric and finite: {error}") from error


def _is_ready(value: NDArray[Any], finite: bool) -> bool:
    """Whether there is nothing to convert and nothing to refuse; sums convert what they add."""
    if type(value) is not np.ndarray or value.ndim != 2 or not value.size:
        return False
    if value.dtype in FLOATS:
        return not finite or bool(np.isfinite(value.sum()))
    return not finite and value.dtype.kind in "biu"


def _dtypes(value: Any) -> list[Any]:
    """Types of a frame's columns, or of an array."""
    dtypes = getattr(value, "dtypes", getattr(value, "dtype", None))
    return list(dtypes) if np.iterable(dtypes) else [dtypes]


def check_columns(value: Any, name: str, *, finite: bool = True) -> NDArray[Any]:
    """Return one or more variables as a 2-D float array, one column for each."""
    if isinstance(value, str):
        parameter = {"t": "treatment", "z": "instruments"}.get(name)
        hint = f" To name a column of X use the parameter {parameter}." if parameter else ""
        raise ValueError(f"{name} must be numbers, one for each row; got {value!r}.{hint}")
    shape = getattr(value, "shape", None)
    if shape is None:
        value = np.asarray(value)
        shape = value.shape
    if len(shape) > 2 or len(shape) == 0:
        raise ValueError(f"{name} must have one or two dimensions; got shape {tuple(shape)}.")
    if len(shape) == 1:
        value = np.asarray(value).reshape(-1, 1)
    return check_matrix(value, name, finite=finite)


def check_outcome(y: Any, n_rows: int | None = None, *, finite: bool = True) -> NDArray[Any]:
    """Return y as a 1-D float array."""
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None: y must be a "
            "1-D array of numbers."
        )
    values = np.asarray(y)
    if values.ndim != 1:
        if values.shape[1:] == (1,):
            warnings.warn(COLUMN_Y, DataConversionWarning, skip_file_prefixes=OURS)
        values = column_or_1d(y)
    y = check_matrix(np.asarray(values).reshape(-1, 1), "y", finite=finite)[:, 0]
    if n_rows is not None:
        check_length(y, "y", n_rows)
    return y


def check_length(value: NDArray[Any], name: str, n_rows: int) -> None:
    """Raise if an argument does not have one row for each row of y."""
    if value.shape[0] != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: {name} has "
            f"{value.shape[0]} rows where {n_rows} were expected."
        )


def check_weights(sample_weight: Any, n_rows: int) -> Array | None:
    """Return non-negative finite weights of shape (n_rows,), or None."""
    if sample_weight is None:
        return None
    values = np.asarray(sample_weight)
    if values.ndim == 0:
        values = np.full(n_rows, values)
    if values.ndim != 1:
        raise ValueError(f"sample_weight must be 1D array or scalar; got {values.ndim} dimensions.")
    weight = check_matrix(values.reshape(-1, 1), "sample_weight")[:, 0]
    weight = weight.astype(np.float64, copy=False)
    if weight.shape[0] != n_rows:
        raise ValueError(
            f"sample_weight.shape == {weight.shape}, expected {(n_rows,)}: one weight for each row."
        )
    if (weight < 0).any():
        raise ValueError(
            f"sample_weight must not be negative; got a minimum of {weight.min():.6g}."
        )
    if not weight.any():
        raise ValueError("sample_weight must have a positive entry; got only zeros.")
    return weight


def check_clusters(clusters: Any, n_rows: int, *, required: bool) -> Codes | None:
    """Return the clusters' labels as codes of shape (n_rows,), or None."""
    if clusters is None:
        if required:
            raise ValueError(
                "clusters must be passed to fit when cov_type='clustered', one label for each "
                "row; got clusters=None."
            )
        return None
    labels = np.asarray(clusters)
    if labels.ndim != 1:
        raise ValueError(f"clusters must have one dimension; got shape {labels.shape}.")
    check_length(labels, "clusters", n_rows)
    if labels.dtype in (np.int32, np.int64) and labels.min() >= 0 and labels.max() < n_rows:
        return labels  # they are codes, perhaps with gaps
    codes = _codes(labels)
    if missing := int((codes < 0).sum()):
        raise ValueError(f"clusters must label every row; got {missing} missing labels.")
    return codes


def _codes(labels: NDArray[Any]) -> Codes:
    """Number of each label in the order of appearance, -1 where missing; a block at a time.

    All at once pandas makes an object of each string, and codes of eight bytes.
    """
    from pandas import Index, unique

    pieces = [slice(i, i + BLOCK_ROWS) for i in range(0, len(labels), BLOCK_ROWS)]
    distinct = np.concatenate([np.asarray(unique(labels[at])) for at in pieces])
    found = Index(unique(distinct)).dropna()
    codes = np.empty(len(labels), dtype=np.int32)
    for at in pieces:
        codes[at] = found.get_indexer(Index(labels[at]))
    return codes


def check_level(level: float, name: str = "level") -> None:
    """Raise unless a probability lies strictly between 0 and 1."""
    if not (isinstance(level, Real) and 0.0 < level < 1.0):
        raise ValueError(f"{name} must lie strictly between 0 and 1; got {level!r}.")

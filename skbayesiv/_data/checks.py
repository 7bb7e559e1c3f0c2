"""Arguments of `fit` -> checked arrays; an error names the argument, what is allowed, what came."""

from __future__ import annotations

import warnings
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import column_or_1d

from skbayesiv._data.arrays import as_numbers, check_matrix, naming, refuse_masked
from skbayesiv._typing import Array, Codes, is_real
from skbayesiv.exceptions import OURS

COLUMN_Y = (
    "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
    "(n_samples,), for example using ravel()."
)
FRACTIONS = (
    "sample_weight has values that are not whole numbers, and counts rows: intervals are those of "
    "{n:.6g} observations. For survey or inverse-probability weights use an estimator with "
    'sample_weight_type="probability".'
)
BLOCK_ROWS = 1 << 15
TWO_WAYS = (
    "Clusters in two ways are not supported; where one is nested in the other pass the coarser."
)
SEVERAL = 4  # so few words are names of columns, not labels of rows


def check_columns(value: Any, name: str, *, finite: bool = True) -> NDArray[Any]:
    """Return one or more variables as a 2-D float array, one column for each."""
    if isinstance(value, str):
        parameter = {"t": "treatment", "z": "instruments"}.get(name)
        hint = f" To name a column of X use the parameter {parameter}." if parameter else ""
        raise ValueError(f"{name} must be numbers, one for each row; got {value!r}.{hint}")
    values = as_numbers(value, name)
    if values.ndim not in (1, 2):
        raise ValueError(f"{name} must have one or two dimensions; got shape {values.shape}.")
    if values.ndim == 1:
        return check_matrix(values.reshape(-1, 1), name, finite=finite)
    return check_matrix(value if hasattr(value, "columns") else values, name, finite=finite)


def check_outcome(y: Any, n_rows: int | None = None, *, finite: bool = True) -> NDArray[Any]:
    """Return y as a 1-D float array."""
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None: y must be a "
            "1-D array of numbers."
        )
    values = np.asarray(as_numbers(y, "y"))
    if values.ndim not in (1, 2):
        raise ValueError(f"y must have one dimension; got shape {values.shape}.")
    if values.ndim == 2:
        if values.shape[1:] == (1,):
            warnings.warn(COLUMN_Y, DataConversionWarning, skip_file_prefixes=OURS)
        values = column_or_1d(values)
    y = check_matrix(values.reshape(-1, 1), "y", finite=finite)[:, 0]
    if n_rows is not None:
        check_length(y, "y", n_rows)
    return y


def check_length(value: Any, name: str, n_rows: int) -> None:
    """Raise if an argument does not have one row for each row of y."""
    if value.shape[0] != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: {name} has "
            f"{value.shape[0]} rows where {n_rows} were expected."
        )


def check_index(**arguments: Any) -> None:
    """Raise if pandas objects have different labels, for rows are matched by position.

    An index that only counts rows says nothing, unless another one has the same numbers in
    another order.
    """
    from pandas import DataFrame, RangeIndex, Series

    given = {k: v.index for k, v in arguments.items() if isinstance(v, DataFrame | Series)}
    for (name, one), (other, two) in combinations(given.items(), 2):
        if len(one) != len(two) or one.equals(two):
            continue
        counts = [isinstance(index, RangeIndex) for index in (one, two)]
        if any(counts) and len(one.intersection(two)) < len(one):
            continue
        at = next((i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b), 0)
        raise ValueError(
            f"{name} and {other} must have the same index, for rows are matched by position; got "
            f"{one[at]!r} and {two[at]!r} in row {at}. Align them, as with {name}.loc[{other}."
            "index], or pass .to_numpy() if the positions are right."
        )


def check_weights(sample_weight: Any, n_rows: int) -> Array | None:
    """Return non-negative finite weights of shape (n_rows,), or None."""
    if sample_weight is None:
        return None
    values = np.asarray(as_numbers(sample_weight, "sample_weight"))
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


def warn_of_fractions(total: float, *, whole: bool) -> None:
    """Warn that weights which count rows are not all whole numbers."""
    if not whole:
        warnings.warn(FRACTIONS.format(n=total), UserWarning, skip_file_prefixes=OURS)


def check_clusters(clusters: Any, n_rows: int, *, required: bool) -> Codes | None:
    """Return the clusters' labels as codes of shape (n_rows,), or None."""
    if clusters is None:
        if required:
            raise ValueError(
                "clusters must be passed to fit when cov_type='clustered', one label for each "
                "row; got clusters=None."
            )
        return None
    refuse_masked(clusters, "clusters")
    with naming("clusters must be labels, one for each row"):
        labels = np.asarray(clusters)
    if labels.ndim != 1:
        raise ValueError(f"clusters must have one dimension; got shape {labels.shape}. {TWO_WAYS}")
    if 0 < len(labels) <= SEVERAL and len(labels) != n_rows and isinstance(labels[0], str):
        raise ValueError(f"clusters must be one column; got {labels.tolist()}. {TWO_WAYS}")
    check_length(labels, "clusters", n_rows)
    if labels.dtype in (np.int32, np.int64) and labels.min() >= 0 and labels.max() < n_rows:
        return labels  # they are codes, perhaps with gaps
    with naming("clusters must be labels, one for each row"):
        codes = _codes(labels)
    if missing := int((codes < 0).sum()):
        raise ValueError(f"clusters must label every row; got {missing} missing labels.")
    return codes


def refuse_names(**arguments: Any) -> None:
    """Raise if an argument is a name where y is an array."""
    for argument, value in arguments.items():
        if isinstance(value, str):
            raise ValueError(
                f"{argument} must be one entry for each row where y is an array; got {value!r}. "
                f'To name columns of X name y too, as in fit(X, y="revenue", {argument}={value!r}).'
            )


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
    if not (is_real(level) and 0.0 < level < 1.0):
        raise ValueError(f"{name} must lie strictly between 0 and 1; got {level!r}.")

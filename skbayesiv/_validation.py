"""Raw X, t, y, z and sample_weight -> frozen :class:`IVData`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_array,
    column_or_1d,
)

from skbayesiv.exceptions import OURS

COLUMN_Y = (
    "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
    "(n_samples,), for example using ravel()."
)
FLOATS = [np.float64, np.float32]
TIMES = ("date", "time", "duration", "period")


@dataclass(frozen=True)
class Columns:
    """Names of the columns by role; rows of data are ordered ``[X, z, t, y]``."""

    covariates: tuple[str, ...]
    instruments: tuple[str, ...]
    treatments: tuple[str, ...]
    outcome: str

    @property
    def names(self) -> tuple[str, ...]:
        """All names in the order of the moments' columns."""
        return (*self.covariates, *self.instruments, *self.treatments, self.outcome)

    @property
    def x(self) -> slice:
        """Where the covariates stand."""
        return slice(0, len(self.covariates))

    @property
    def z(self) -> slice:
        """Where the instruments stand."""
        return slice(self.x.stop, self.x.stop + len(self.instruments))

    @property
    def t(self) -> slice:
        """Where the treatments stand."""
        return slice(self.z.stop, self.z.stop + len(self.treatments))

    @property
    def y(self) -> int:
        """Where the outcome stands."""
        return self.t.stop


@dataclass(frozen=True)
class IVData:
    """Checked data of one experiment.

    Attributes
    ----------
    x, z, t : ndarray of shape (n, P), (n, Q), (n, K)
    y : ndarray of shape (n,)
    sample_weight : ndarray of shape (n,) or None
        Frequency weights: a weight of 2 is a row given twice.
    columns : Columns
    """

    x: NDArray[Any]
    z: NDArray[Any]
    t: NDArray[Any]
    y: NDArray[Any]
    sample_weight: NDArray[np.float64] | None
    columns: Columns

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.y.shape[0])

    def take(self, rows: NDArray[Any]) -> IVData:
        """Return some of the rows."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return IVData(self.x[rows], self.z[rows], self.t[rows], self.y[rows], weight, self.columns)


@dataclass(frozen=True)
class Regressors:
    """What a design matrix is split into: covariates and, in column mode, t and z."""

    x: NDArray[Any]
    names: tuple[str, ...]
    t: Any = None
    z: Any = None
    t_names: tuple[str, ...] = field(default=())
    z_names: tuple[str, ...] = field(default=())


def check_matrix(value: ArrayLike, name: str, **options: Any) -> NDArray[Any]:
    """Return a finite 2-D float array; every error names the argument."""
    if times := [str(dtype) for dtype in _dtypes(value) if str(dtype).lower().startswith(TIMES)]:
        raise ValueError(
            f"{name} must be numeric and finite: turn dates and times into numbers; got {times}."
        )
    try:
        return np.asarray(check_array(value, dtype=FLOATS, input_name=name, **options))
    except (ValueError, TypeError) as error:
        raise type(error)(f"{name} must be numeric and finite: {error}") from error


def _dtypes(value: Any) -> list[Any]:
    """Types of a frame's columns, or of an array."""
    dtypes = getattr(value, "dtypes", getattr(value, "dtype", None))
    return list(dtypes) if np.iterable(dtypes) else [dtypes]


def check_columns(value: Any, name: str) -> NDArray[Any]:
    """Return t or z as a 2-D float array, one column for each variable."""
    if isinstance(value, str):
        parameter = {"t": "treatment", "z": "instruments"}.get(name)
        raise ValueError(
            f"{name} must be numbers, one for each row; got {value!r}. To name a column of X use "
            f"the parameter {parameter}."
        )
    shape = getattr(value, "shape", None)
    if shape is None:
        value = np.asarray(value)
        shape = value.shape
    if len(shape) > 2 or len(shape) == 0:
        raise ValueError(f"{name} must have one or two dimensions; got shape {tuple(shape)}.")
    if len(shape) == 1:
        value = np.asarray(value).reshape(-1, 1)
    return check_matrix(value, name)


def column_names(value: Any, prefix: str, width: int) -> tuple[str, ...]:
    """Names carried by a frame or a series, or ``prefix`` (numbered when several)."""
    names = getattr(value, "columns", None)
    if names is None and getattr(value, "name", None) not in (None, ""):
        names = [value.name]
    if hasattr(value, "column_names"):
        names = value.column_names
    if names is not None and len(names) == width:
        return tuple(str(name) for name in names)
    return (prefix,) if width == 1 else tuple(f"{prefix}{i}" for i in range(width))


def check_outcome(y: Any, n_rows: int | None = None) -> NDArray[Any]:
    """Return y as a finite 1-D float array."""
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None: y must be a "
            "1-D array of numbers."
        )
    if np.asarray(y).shape[1:] == (1,):
        warnings.warn(COLUMN_Y, DataConversionWarning, skip_file_prefixes=OURS)
    y = column_or_1d(y)
    y = check_matrix(np.asarray(y).reshape(-1, 1), "y")[:, 0]
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


def check_weights(sample_weight: Any, n_rows: int) -> NDArray[np.float64] | None:
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


def check_clusters(clusters: Any, n_rows: int, *, required: bool) -> NDArray[np.intp] | None:
    """Return the clusters' labels as codes of shape (n_rows,), or None."""
    from pandas import factorize

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
    codes = np.asarray(factorize(labels)[0], dtype=np.intp)
    if missing := int((codes < 0).sum()):
        raise ValueError(f"clusters must label every row; got {missing} missing labels.")
    return codes


def split_columns(
    estimator: Any,
    X: Any,
    *,
    treatment: Any,
    instruments: Any,
    reset: bool,
    empty: bool = True,
) -> Regressors:
    """Check X and, in column mode, take the treatment and instruments out of it.

    With `empty`, X may have no columns, as when a meta-estimator needs to be given its rows.
    """
    column_mode = treatment is not None or instruments is not None
    if X is None:
        if column_mode:
            raise ValueError(
                "X must hold the columns named by treatment and instruments; got X=None."
            )
        if not reset and estimator.n_features_in_:
            raise ValueError(
                f"X must have {estimator.n_features_in_} features, as in fit; got X=None."
            )
        if reset:
            estimator.n_features_in_ = 0
        return Regressors(np.empty((0, 0)), ())
    if not reset and hasattr(estimator, "_features_have_no_order_"):
        X = _in_order(X, list(estimator.feature_names_in_))
    names = column_names(X, "x", -1 if not hasattr(X, "shape") or len(X.shape) < 2 else X.shape[1])
    _check_unique(names)
    _check_feature_names(estimator, X, reset=reset)
    x = check_matrix(X, "X", ensure_min_features=0 if empty else 1)
    _check_n_features(estimator, X, reset=reset)
    if len(names) != x.shape[1]:
        names = tuple(f"x{i}" for i in range(x.shape[1]))
    if not column_mode:
        return Regressors(x, names)
    t_at, z_at = locate_roles(treatment, instruments, names)
    rest = [i for i in range(x.shape[1]) if i not in {*t_at, *z_at}]
    covariates, t_names, z_names = (tuple(names[i] for i in at) for at in (rest, t_at, z_at))
    return Regressors(x[:, rest], covariates, x[:, t_at], x[:, z_at], t_names, z_names)


def _in_order(X: Any, names: list[str]) -> Any:
    """Named columns of a frame; anything else as it is."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return X
    if absent := [name for name in names if name not in frame.columns]:
        indicators = [name for name in absent if name.endswith("]")]
        raise ValueError(
            f"X must have the columns {names}; got {frame.columns}."
            + "".join(
                f" {name!r} is the indicator of a level: 1 in its rows, else 0."
                for name in indicators[:1]
            )
        )
    return frame.select(*names).to_native()


def _check_unique(names: tuple[str, ...]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"X must have columns with different names; got {twice} more than once.")


def locate_roles(
    treatment: Any, instruments: Any, names: tuple[str, ...]
) -> tuple[list[int], list[int]]:
    """Positions of the treatments and of the instruments; of none when neither is named."""
    if treatment is None and instruments is None:
        return [], []
    for argument, which in (("treatment", treatment), ("instruments", instruments)):
        if which is None:
            raise ValueError(
                "treatment and instruments must both name columns of X, or neither, with t and z "
                f"passed as arguments; got {argument}=None."
            )
    t_at = locate(treatment, names, "treatment")
    z_at = locate(instruments, names, "instruments")
    if both := set(t_at) & set(z_at):
        raise ValueError(
            "treatment and instruments must name different columns; both name "
            f"{sorted(names[i] for i in both)}."
        )
    return t_at, z_at


def arrange(columns: Columns, treatment: Any, instruments: Any) -> list[str]:
    """Columns of an X that has those of the moments, t and z where the parameters say."""
    if treatment is None and instruments is None:
        return list(columns.covariates)
    names = columns.names[:-1]
    slots: dict[int, str] = {}
    for argument, which, found in (
        ("treatment", treatment, columns.treatments),
        ("instruments", instruments, columns.instruments),
    ):
        wanted = _listed(which)
        if len(wanted) != len(found) or any(
            isinstance(item, str) and item != name for item, name in zip(wanted, found, strict=True)
        ):
            raise ValueError(
                f"{argument} must name the columns that moments have as {argument}: "
                f"{list(found)}; got {which!r}."
            )
        for item, name in zip(wanted, found, strict=True):
            if not isinstance(item, str):
                slots[_position(item, names, argument)] = name
    rest = iter([name for name in names if name not in slots.values()])
    return [slots[i] if i in slots else next(rest) for i in range(len(names))]


def locate(which: Any, names: tuple[str, ...], argument: str) -> list[int]:
    """Positions of columns given by name or by integer position."""
    wanted = _listed(which)
    if not wanted:
        raise ValueError(f"{argument} must name at least one column of X; got {which!r}.")
    positions = [_position(item, names, argument) for item in wanted]
    if len(set(positions)) < len(positions):
        raise ValueError(f"{argument} must name each column once; got {wanted!r}.")
    return positions


def _listed(which: Any) -> list[Any]:
    if which is None:
        return []
    return [which] if isinstance(which, str | int | np.integer) else list(which)


def _position(item: Any, names: tuple[str, ...], argument: str) -> int:
    number = isinstance(item, int | np.integer) and not isinstance(item, bool)
    if number and -len(names) <= item < len(names):
        return int(item) % len(names)
    if isinstance(item, str) and names.count(item) == 1:
        return names.index(item)
    unnamed = isinstance(item, str) and names == column_names(None, "x", len(names))
    hint = '; X has no names, which a transformer keeps with .set_output(transform="pandas")'
    raise ValueError(
        f"{argument} must name columns of X, by name or position: {list(names)}; got {item!r}"
        f"{hint if unnamed else ''}."
    )


def gather(
    estimator: Any,
    X: Any,
    y: Any,
    t: Any,
    z: Any,
    sample_weight: Any,
    *,
    treatment: Any = None,
    instruments: Any = None,
    reset: bool = True,
) -> IVData:
    """Check everything that `fit` was given; `reset` sets ``n_features_in_`` on the estimator."""
    if y is None:
        check_outcome(y)
    outcome = column_names(y, "y", 1)[0]
    split = split_columns(
        estimator,
        X,
        treatment=treatment,
        instruments=instruments,
        reset=reset,
        empty=t is not None,
    )
    y = check_outcome(y, None if X is None else split.x.shape[0])
    n_rows = y.shape[0]
    t, t_names = _one_source(t, split.t, split.t_names, "t", "treatment", n_rows)
    z, z_names = _one_source(z, split.z, split.z_names, "z", "instruments", n_rows)
    if t.shape[1] and not z.shape[1]:
        raise ValueError(
            "z must be given with t: an instrumental-variable fit needs both; got t without z. "
            "To regress on an exogenous t, make it a column of X."
        )
    if z.shape[1] and not t.shape[1]:
        raise ValueError(
            "t must be given with z: an instrumental-variable fit needs both; got z without t."
        )
    x = split.x if X is not None else np.empty((n_rows, 0))
    columns = Columns(split.names, z_names, t_names, outcome)
    return IVData(x, z, t, y, check_weights(sample_weight, n_rows), unique_names(columns))


def _one_source(
    value: Any,
    column: Any,
    names: tuple[str, ...],
    argument: str,
    parameter: str,
    n_rows: int,
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Take t (or z) from the argument or from X's columns, never from both."""
    if value is not None and column is not None and column.shape[1]:
        raise ValueError(
            f"{argument} must come from one place; got the argument {argument} and the "
            f"parameter {parameter}={list(names)}."
        )
    if value is None:
        return (column, names) if column is not None else (np.empty((n_rows, 0)), ())
    array = check_columns(value, argument)
    check_length(array, argument, n_rows)
    return array, column_names(value, argument, array.shape[1])


def unique_names(columns: Columns) -> Columns:
    """Return the columns with clashing names qualified by their role."""
    seen = columns.names
    if len(set(seen)) == len(seen):
        return columns

    def marked(role: str, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            f"{role}:{name}{i if names.count(name) > 1 else ''}" if seen.count(name) > 1 else name
            for i, name in enumerate(names)
        )

    return Columns(
        marked("X", columns.covariates),
        marked("z", columns.instruments),
        marked("t", columns.treatments),
        marked("y", (columns.outcome,))[0],
    )

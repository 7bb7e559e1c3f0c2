"""Raw X, t, y, z and sample_weight -> frozen :class:`IVData`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
)

from skbayesiv._columns import Columns, _check_unique, column_names, locate_roles, unique_names
from skbayesiv._data.checks import (
    check_columns,
    check_length,
    check_matrix,
    check_outcome,
    check_weights,
)


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

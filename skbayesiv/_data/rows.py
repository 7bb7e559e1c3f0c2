"""Raw X, t, y, z, sample_weight, clusters and segments -> frozen :class:`IVData`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from skbayesiv._columns import Columns, column_names, matrix_names, unique_names
from skbayesiv._data.arrays import as_numbers, check_finite, check_matrix
from skbayesiv._data.checks import (
    check_clusters,
    check_columns,
    check_index,
    check_length,
    check_outcome,
    check_weights,
    refuse_names,
    warn_of_fractions,
)
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import Reference
from skbayesiv._data.roles import Roles
from skbayesiv._data.segments import Segments, read_segments
from skbayesiv._typing import Array, Codes

KEPT_ROWS = 20_000  # a fitted posterior keeps no more


@dataclass(frozen=True)
class IVData:
    """Checked rows of one experiment, in memory.

    Attributes
    ----------
    x, z, t : ndarray of shape (n, P), (n, Q), (n, K)
    y : ndarray of shape (n,)
    sample_weight : ndarray of shape (n,) or None
        Frequency weights: a weight of 2 is a row given twice; or probability weights.
    columns : Columns
    clusters : ndarray of int of shape (n,) or None
        Cluster of each row.
    probability : bool
        Whether a weight says of how many rows one was drawn, not how many it stands for: its score
        then counts with the square of the weight.
    segments : Segments or None
        Segment of each row.
    """

    x: NDArray[Any]
    z: NDArray[Any]
    t: NDArray[Any]
    y: NDArray[Any]
    sample_weight: Array | None
    columns: Columns
    clusters: Codes | None = None
    probability: bool = False
    segments: Segments | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.y.shape[0])

    @property
    def rows(self) -> IVData:
        """The rows: these."""
        return self

    @property
    def grouped(self) -> bool:
        """Whether rows are in clusters."""
        return self.clusters is not None

    @property
    def segmented(self) -> bool:
        """Whether rows are in segments."""
        return self.segments is not None

    @cached_property
    def by_segment(self) -> dict[Any, IVData]:
        """Rows of each segment that has a weight, by its label, which are kept; none without.

        Weights of probabilities sum to the effective number of rows of the segment.
        """
        if self.segments is None:
            return {}
        whole = replace(self, segments=None)
        parts = {label: whole.take(rows) for label, rows in self.segments.parts()}
        return {label: part._weighted_alone() for label, part in parts.items() if part._has_weight}

    @property
    def _has_weight(self) -> bool:
        return self.sample_weight is None or bool(self.sample_weight.any())

    def _weighted_alone(self) -> IVData:
        """These rows with the weights that they have where there are no others."""
        if self.sample_weight is None or not self.probability:
            return self
        return replace(self, sample_weight=_effective(self.sample_weight))

    def column(self, at: int) -> NDArray[Any]:
        """One of the columns [x, z, t, y], in the rows that have a weight."""
        views = [column for part in (self.x, self.z, self.t, self.y[:, None]) for column in part.T]
        values = views[at]
        return values if self.sample_weight is None else values[self.sample_weight > 0]

    def take(self, rows: NDArray[Any]) -> IVData:
        """Return some of the rows."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        clusters = None if self.clusters is None else self.clusters[rows]
        segments = None if self.segments is None else self.segments.take(rows)
        x, z, t, y = (part[rows] for part in (self.x, self.z, self.t, self.y))
        return replace(
            self,
            x=x,
            z=z,
            t=t,
            y=y,
            sample_weight=weight,
            clusters=clusters,
            segments=segments,
        )

    def moments(self) -> Moments:
        """First and second moments, in one pass.

        Raises
        ------
        ValueError
            If a value is not finite: it shows in the sums, so that no pass of its own is needed.
        """
        moments = Moments.from_data(self)
        if not np.isfinite(moments.cross).all():
            self._check_finite()
        for at in np.flatnonzero(np.diag(moments.cross) == 0.0):
            values = self.column(int(at))
            if (values[1:] != values[:-1]).any():
                raise ValueError(
                    "X, t, y and z must have squares that are not zero: those of "
                    f"{self.columns.names[at]!r} are. Rescale the column."
                )
        return moments

    def fourth_moments(
        self, reference: Reference | None = None, *, fit_intercept: bool = True
    ) -> FourthMoments:
        """Fourth-order sums over the rows, or over their clusters.

        A row with a probability weight is a cluster of its own, whose score is w z e.
        """
        codes = self.clusters
        if codes is None and self.probability:
            codes = np.arange(self.n_rows)
        fourth = FourthMoments.from_data(self, reference, codes, fit_intercept=fit_intercept)
        if not np.isfinite(fourth.cross).all():
            self._check_finite()
            raise ValueError(
                "X, t, y and z must have products with finite sums of squares: they do not. "
                "Rescale the columns."
            )
        return fourth

    def _check_finite(self) -> None:
        """Raise if a value is not finite; what only has too large a square is let pass."""
        c = self.columns
        for name, values, columns in (
            ("X", self.x, c.covariates),
            ("y", self.y[:, None], [c.outcome]),
            ("t", self.t, c.treatments),
            ("z", self.z, c.instruments),
        ):
            check_finite(values, name, columns)


@dataclass(frozen=True)
class Regressors:
    """What X is split into: covariates and, in column mode, t and z (else None).

    Attributes
    ----------
    x : ndarray of shape (n, P)
    names : tuple of str
        Of the covariates.
    n_features : int
        Number of columns of X.
    t, z : ndarray of shape (n, K), (n, Q), or None
    t_names, z_names : tuple of str
    segments : array-like of shape (n,), or None
        Labels, as they are in the column of X that the parameter `segments` names.
    """

    x: NDArray[Any]
    names: tuple[str, ...]
    n_features: int
    t: NDArray[Any] | None = None
    z: NDArray[Any] | None = None
    t_names: tuple[str, ...] = ()
    z_names: tuple[str, ...] = ()
    segments: Any = None


def second_is_outcome(t: Any, y: Any, z: Any) -> tuple[Any, Any]:
    """Return t and y of a call ``(X, t, y, z=z)`` or ``(X, y)``.

    Where t and z are not arguments (columns of X hold them, or there are none) a person passes
    the outcome second: so it is when neither y nor z is given.
    """
    return (None, t) if y is None and z is None else (t, y)


def split_columns(X: Any, roles: Roles, *, empty: bool = True, finite: bool = True) -> Regressors:
    """Check X and, in column mode, take the treatment, instruments and segments out of it.

    With `empty`, X may have no columns, as when a meta-estimator needs to be given its rows.
    """
    if X is None:
        if roles.need_columns:
            raise ValueError(
                "X must hold the columns named by treatment, instruments, covariates and "
                "segments; got X=None."
            )
        return Regressors(np.empty((0, 0)), (), 0)
    if not hasattr(X, "shape") or isinstance(X, memoryview) or issparse(X):
        X = as_numbers(X, "X")
    names = matrix_names(X)
    if len(X.shape) != 2 or not roles.are_given:
        x = check_matrix(X, "X", finite=finite, ensure_min_features=0 if empty else 1)
        return Regressors(x, names, x.shape[1])
    at = roles.locate(names, rest=True)
    x, t, z = (
        check_matrix(take_columns(X, part), "X", finite=finite, ensure_min_features=0)
        for part in (at.x, at.t, at.z)
    )
    x_names, t_names, z_names = (tuple(names[i] for i in part) for part in (at.x, at.t, at.z))
    segments = take_column(X, at.segments[0]) if at.segments else None
    if not roles.in_columns:
        return Regressors(x, x_names, len(names), segments=segments)
    return Regressors(x, x_names, len(names), t, z, t_names, z_names, segments)


def take_column(X: Any, at: int) -> Any:
    """One column of a matrix, whatever it holds."""
    given = nw.from_native(X, eager_only=True, pass_through=True)
    return given[:, at].to_native() if isinstance(given, nw.DataFrame) else X[:, at]


def take_columns(X: Any, at: Sequence[int]) -> Any:
    """Some columns of a matrix, as a view where they stand side by side."""
    if not at:
        return np.empty((len(X), 0))
    given = nw.from_native(X, eager_only=True, pass_through=True)
    if isinstance(given, nw.DataFrame):
        return given[:, [*at]].to_native()
    if [*at] == [*range(at[0], at[-1] + 1)]:
        return X[:, at[0] : at[-1] + 1]
    return X[:, [*at]]


def read_rows(
    X: Any,
    y: Any,
    t: Any = None,
    z: Any = None,
    sample_weight: Any = None,
    clusters: Any = None,
    segments: Any = None,
    *,
    roles: Roles,
    finite: bool = True,
    probability: bool = False,
) -> IVData:
    """Check everything that `fit` was given; see :func:`join_rows`."""
    if y is None:
        check_outcome(y)
    extra = {"sample_weight": sample_weight, "clusters": clusters, "segments": segments}
    check_index(X=X, y=y, t=t, z=z, **extra)
    split = split_columns(X, roles, empty=t is not None, finite=finite)
    split_or_none = None if X is None else split
    return join_rows(split_or_none, y, t, z, **extra, finite=finite, probability=probability)


def join_rows(
    split: Regressors | None,
    y: Any,
    t: Any = None,
    z: Any = None,
    sample_weight: Any = None,
    clusters: Any = None,
    segments: Any = None,
    *,
    finite: bool = True,
    probability: bool = False,
) -> IVData:
    """Check the other arguments of `fit` against the columns of X.

    Without `finite` values may be missing or infinite, for who takes :meth:`IVData.moments` sees
    it there, and whole numbers and Booleans stay what they are. `probability` says what weights
    are: by default each is a number of rows.
    """
    refuse_names(sample_weight=sample_weight, clusters=clusters, segments=segments)
    outcome = column_names(y, "y", 1)[0]
    y = check_outcome(y, None if split is None else split.x.shape[0], finite=finite)
    n_rows = y.shape[0]
    split = Regressors(np.empty((n_rows, 0)), (), 0) if split is None else split
    t, t_names = _one_source(t, split.t, split.t_names, "t", "treatment", n_rows, finite)
    z, z_names = _one_source(z, split.z, split.z_names, "z", "instruments", n_rows, finite)
    _check_pair(t, z)
    columns = unique_names(Columns(split.names, z_names, t_names, outcome))
    weight = read_weights(sample_weight, n_rows, probability=probability)
    groups = check_clusters(clusters, n_rows, required=False)
    known = probability and weight is not None
    parts = _read_segments(segments, split.segments, n_rows)
    return IVData(split.x, z, t, y, weight, columns, groups, known, parts)


def read_weights(sample_weight: Any, n_rows: int, *, probability: bool = False) -> Array | None:
    """Weights of rows; those of probabilities sum to Kish's effective number of rows.

    That is (sum w)^2 / sum w^2 (Kish 1965): the number of rows that would say as much if all had
    one weight.
    """
    weight = check_weights(sample_weight, n_rows)
    if weight is None:
        return None
    if not probability:
        warn_of_fractions(float(weight.sum()), whole=bool((weight == np.floor(weight)).all()))
        return weight
    return _effective(weight)


def _effective(weight: Array) -> Array:
    """Weights of probabilities that sum to the effective number of rows."""
    weight = weight / weight.max()
    return np.asarray(weight * (weight.sum() / (weight @ weight)))


def _read_segments(value: Any, column: Any, n_rows: int) -> Segments | None:
    """Take segments from the argument or from a column of X, never from both."""
    if value is not None and column is not None:
        raise ValueError(
            "segments must come from one place; got the argument segments and the parameter "
            "segments, which names a column of X."
        )
    labels = column if value is None else value
    return None if labels is None else read_segments(labels, n_rows)


def _check_pair(t: NDArray[Any], z: NDArray[Any]) -> None:
    """Raise if there are treatments without instruments, or the reverse."""
    if t.shape[1] and not z.shape[1]:
        raise ValueError(
            "z must be given with t: an instrumental-variable fit needs both; got t without z. "
            "To regress on an exogenous t, make it a column of X."
        )
    if z.shape[1] and not t.shape[1]:
        raise ValueError(
            "t must be given with z: an instrumental-variable fit needs both; got z without t."
        )


def _one_source(
    value: Any,
    column: Any,
    names: tuple[str, ...],
    argument: str,
    parameter: str,
    n_rows: int,
    finite: bool,
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Take t (or z) from the argument or from X's columns, never from both."""
    if value is not None and column is not None and column.shape[1]:
        raise ValueError(
            f"{argument} must come from one place; got the argument {argument} and the "
            f"parameter {parameter}={list(names)}."
        )
    if value is None:
        return (column, names) if column is not None else (np.empty((n_rows, 0)), ())
    array = check_columns(value, argument, finite=finite)
    check_length(array, argument, n_rows)
    return array, column_names(value, argument, array.shape[1])

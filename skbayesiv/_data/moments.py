"""Rows -> frozen :class:`Moments`: everything that a fit needs to know of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from os import PathLike
from typing import Any, Literal, overload

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._data.blocks import RowArrays, sum_blocks
from skbayesiv._data.frames.planning import named_columns
from skbayesiv._data.frames.query import Query
from skbayesiv._data.possible import (
    check_arrays,
    check_columns,
    check_counts,
    check_products,
    check_variances,
)
from skbayesiv._data.storage import load_sums, save_sums, saved_by
from skbayesiv._typing import Array

ROUNDING = 1e-13  # share of a sum of squares


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted first and second moments of the columns ``[X, z, t, y]``.

    Moments of disjoint rows add; the moments of a subset can be subtracted, so that the
    training set of a fold is ``total - fold``. Sums are kept about `shift`, a value near the
    mean, so that nothing is lost when a column's mean is much larger than its spread.

    Attributes
    ----------
    columns : Columns
        Names by role, C of them in all.
    shift : ndarray of shape (C,)
        Point about which sums are taken.
    weight : float
        Sum of the frequency weights (the number of rows when there are none).
    n_rows : int
        Number of rows with a positive weight.
    total : ndarray of shape (C,)
        Weighted sum of ``row - shift``.
    cross : ndarray of shape (C, C)
        Weighted sum of ``(row - shift)(row - shift)'``.
    """

    columns: Columns
    shift: Array
    weight: float
    n_rows: int
    total: Array
    cross: Array

    @classmethod
    def from_data(cls, data: RowArrays) -> Moments:
        """Moments of checked rows, in one pass over blocks of about 1 MB."""
        return cls(data.columns, *sum_blocks(data))

    @classmethod
    def from_query(cls, query: Query) -> Moments:
        """Moments of a frame's rows, in one pass by its engine, grouped or not."""
        if query.plan.by is None:
            return cls(query.plan.columns, *query.totals())
        return sum(cls.by_group(query).values(), cls.empty(query.plan.columns))

    @classmethod
    def by_group(cls, query: Query) -> dict[Any, Moments]:
        """Moments of each group of a frame's rows, in sorted order."""
        return {key: cls(query.plan.columns, *sums) for key, sums in query.groups().items()}

    @overload
    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        outcome: str,
        treatment: str | Iterable[str] = (),
        instruments: str | Iterable[str] = (),
        covariates: str | Iterable[str] = (),
        sample_weight: str | None = None,
        by: None = None,
        missing: Literal["raise", "drop"] = "raise",
        categories: Mapping[str, Sequence[Any]] | None = None,
    ) -> Moments: ...
    @overload
    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        outcome: str,
        treatment: str | Iterable[str] = (),
        instruments: str | Iterable[str] = (),
        covariates: str | Iterable[str] = (),
        sample_weight: str | None = None,
        by: str,
        missing: Literal["raise", "drop"] = "raise",
        categories: Mapping[str, Sequence[Any]] | None = None,
    ) -> dict[Any, Moments]: ...
    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        outcome: str,
        treatment: str | Iterable[str] = (),
        instruments: str | Iterable[str] = (),
        covariates: str | Iterable[str] = (),
        sample_weight: str | None = None,
        by: str | None = None,
        missing: Literal["raise", "drop"] = "raise",
        categories: Mapping[str, Sequence[Any]] | None = None,
    ) -> Moments | dict[Any, Moments]:
        """Moments of a data frame, in one pass by the engine that holds it.

        Parameters
        ----------
        frame : data frame
            pandas, polars (eager or lazy), pyarrow (Table or Dataset), DuckDB relation, dask,
            PySpark, ibis, or whatever else narwhals knows. A query is not collected: its rows
            are summed where they are.
        outcome : str
            Name of the outcome.
        treatment, instruments, covariates : str or iterable of str
            Names of numeric or Boolean columns, summed in double precision. Covariates may be
            strings or categories: each level but the first becomes an indicator, named
            ``column[level]``.
        sample_weight : str, optional
            Name of the frequency weights: a weight of 2 counts as a row given twice.
        by : str, optional
            Name of a column of groups, such as folds, experiments or clusters. Groups far from
            each other, on the scale of the spread within, may take a second pass.
        missing : {"raise", "drop"}
            Raise on null and NaN, or leave out the rows that have either in a column named here.
        categories : mapping, optional
            Levels of categorical covariates, the reference level first; any column may be made
            categorical so. The levels of others are found in a scan of their own, in rows with a
            weight, and sorted.

        Returns
        -------
        Moments, or dict of Moments
            A dict by group, in sorted order, when `by` is given; times with a zone are in UTC.

        Raises
        ------
        TypeError
            If a name is not a string, or the frame none that narwhals knows.
        ValueError
            If a column is unknown, has two roles or is not numeric; if values are missing,
            infinite or of an unseen level (all counted, with the columns' names), or their
            squares overflow; if weights are negative or all zero.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"y": [1.0, 3.0, 2.0, 6.0], "group": ["a", "b", "b", "c"]})
        >>> moments = Moments.from_frame(frame, outcome="y", covariates="group")
        >>> moments.columns.names
        ('group[b]', 'group[c]', 'y')
        >>> moments.mean
        array([0.5 , 0.25, 3.  ])
        >>> folds = Moments.from_frame(frame, outcome="y", by="group")
        >>> {group: fold.n_rows for group, fold in folds.items()}
        {'a': 1, 'b': 2, 'c': 1}
        """
        extra = {"sample_weight": sample_weight, "by": by}
        columns = named_columns(outcome, treatment, instruments, covariates, **extra)
        query = Query.open(frame, columns, **extra, missing=missing, categories=categories)
        return cls.from_query(query) if by is None else cls.by_group(query)

    def save(self, path: str | PathLike[str]) -> None:
        """Write to a small npz file, under exactly this name; :meth:`load` reads it.

        A file of this name is replaced when all is written: if that fails, it is as it was.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        save_sums(path, "Moments", self.columns, values)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Moments:
        """Read what :meth:`save` wrote.

        Nothing in a file is run, and none takes more memory than its size.

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it is not one that :meth:`save` wrote, is damaged, or is of a newer version.
        """
        columns, sums = load_sums(path, "Moments")
        weight, n_rows = float(sums["weight"]), int(sums["n_rows"])
        moments = cls(columns, sums["shift"], weight, n_rows, sums["total"], sums["cross"])
        with saved_by("Moments", path):
            check_moments(moments)
        return moments

    @classmethod
    def empty(cls, columns: Columns) -> Moments:
        """Moments of no rows: with them a posterior is its prior."""
        width = len(columns.names)
        return cls(columns, np.zeros(width), 0.0, 0, np.zeros(width), np.zeros((width, width)))

    @property
    def mean(self) -> Array:
        """Weighted mean of each column, shape (C,)."""
        return self.shift + (self.total / self.weight if self.weight else 0.0)

    @cached_property
    def scatter(self) -> Array:
        """Weighted sum of squares and products about the mean, shape (C, C), which is kept."""
        if not self.weight:
            return np.zeros_like(self.cross)
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the sums
            found = self.cross - np.outer(self.total, self.total) / self.weight
        found.flags.writeable = False
        return found

    @cached_property
    def spread(self) -> Array:
        """Standard deviation of each column, dividing by n; 0 if it is rounding, shape (C,).

        That is below the rounding of the mean, or of the sum of squares about the shift.
        """
        with np.errstate(over="ignore"):  # of what is spread so far nothing is constant
            variance = np.maximum(np.diag(self.scatter), 0.0) / self.weight
        spread = np.sqrt(variance)
        constant = spread <= 1e-13 * np.maximum(np.abs(self.mean), np.finfo(float).tiny)
        constant |= variance <= 1e-13 * np.diag(self.cross) / self.weight
        return np.where(constant, 0.0, spread)

    @property
    def with_constant(self) -> Array:
        """Sums of products of (1, columns - shift), shape (1 + C, 1 + C)."""
        total = self.total[:, None]
        return np.block([[np.array([[self.weight]]), total.T], [total, self.cross]])

    def about(self, shift: Array) -> Moments:
        """Return the same moments with the sums taken about another point."""
        if np.array_equal(shift, self.shift):
            return self
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the sums
            d = self.shift - shift
            cross = np.outer(d, self.total)
            cross = self.cross + cross + cross.T + self.weight * np.outer(d, d)
            total = self.total + self.weight * d
        return Moments(self.columns, shift, self.weight, self.n_rows, total, cross)

    def __add__(self, other: Moments) -> Moments:
        if not isinstance(other, Moments):
            return NotImplemented
        return self._combine(other, 1)

    def __radd__(self, other: Literal[0]) -> Moments:
        """Let `sum` start from 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __sub__(self, other: Moments) -> Moments:
        if not isinstance(other, Moments):
            return NotImplemented
        return self._combine(other, -1)

    def _combine(self, other: Moments, sign: int) -> Moments:
        check_form(self, "moments")
        check_form(other, "moments")
        if sign < 0 and other.n_rows > self.n_rows:
            raise ValueError(
                f"Moments of {other.n_rows} rows cannot be taken from moments of {self.n_rows}."
            )
        if self.columns != other.columns:
            raise ValueError(
                f"Moments must be of the same columns: {self.columns}; got {other.columns}."
            )
        if sign > 0 and not self.n_rows:
            return other
        other = other.about(self.shift)
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the sums
            sums = Moments(
                self.columns,
                self.shift,
                self.weight + sign * other.weight,
                self.n_rows + sign * other.n_rows,
                self.total + sign * other.total,
                self.cross + sign * other.cross,
            )
            return sums if sign > 0 else _without_rounding(sums, self)


def _without_rounding(left: Moments, whole: Moments) -> Moments:
    """What is left of sums; a column whose scatter is rounding of the whole's has none."""
    if not left.weight:
        return left
    mean_part = np.outer(left.total, left.total) / left.weight
    none = np.diag(left.cross - mean_part) <= ROUNDING * np.diag(whole.cross)
    cross = np.where(none[:, None] | none, mean_part, left.cross)
    return replace(left, cross=cross)


def check_form(moments: Any, argument: str) -> None:
    """Raise unless the argument is Moments whose attributes have the right types and shapes."""
    if isinstance(moments, Mapping):
        raise TypeError(
            f"{argument} must be Moments; got {type(moments).__name__}: of moments by group pass "
            "one, or their sum."
        )
    if not isinstance(moments, Moments):
        raise TypeError(f"{argument} must be Moments; got {type(moments).__name__}.")
    check_columns(moments.columns, argument)
    width = len(moments.columns.names)
    shapes = {"shift": (width,), "total": (width,), "cross": (width, width)}
    check_arrays(moments, argument, shapes)
    check_counts(moments, argument)


def check_moments(moments: Any, argument: str = "moments") -> None:
    """Raise unless the argument is Moments that rows can have."""
    check_form(moments, argument)
    check_products(moments.cross, argument)
    if moments.weight:
        check_variances(moments.with_constant, argument)

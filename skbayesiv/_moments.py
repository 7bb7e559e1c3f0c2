"""Rows -> frozen :class:`Moments`: everything that a fit needs to know of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from skbayesiv._validation import Columns, IVData

Array = NDArray[np.float64]

BLOCK_BYTES = 1 << 20
PILOT_ROWS = 1024
CANONICAL_BITS = 36
COLLINEAR = 1e-8


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
    @np.errstate(over="ignore", invalid="ignore")  # `check_identified` names what overflowed
    def from_data(cls, data: IVData) -> Moments:
        """Moments of checked rows, in one pass over blocks of about 1 MB."""
        parts = (data.x, data.z, data.t, data.y[:, None])
        shift = np.concatenate([_pilot_mean(part) for part in parts])
        width = shift.shape[0]
        rows = max(1, BLOCK_BYTES // (8 * width))
        buffer = np.empty((rows, width))
        weight, n_rows, total, cross = 0.0, 0, np.zeros(width), np.zeros((width, width))
        for start in range(0, data.n_rows, rows):
            stop = min(start + rows, data.n_rows)
            block = buffer[: stop - start]
            np.concatenate([part[start:stop] for part in parts], axis=1, out=block)
            block -= shift
            w = None if data.sample_weight is None else data.sample_weight[start:stop]
            if w is None:
                weight += stop - start
                n_rows += stop - start
                total += block.sum(axis=0)
            else:
                weight += float(w.sum())
                n_rows += int(np.count_nonzero(w))
                total += w @ block
                block *= np.sqrt(w)[:, None]
            cross += block.T @ block
        return cls(data.columns, shift, weight, n_rows, total, cross)

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
        from skbayesiv._frames import moments_from_frame

        return moments_from_frame(
            frame,
            outcome=outcome,
            treatment=treatment,
            instruments=instruments,
            covariates=covariates,
            sample_weight=sample_weight,
            by=by,
            missing=missing,
            categories=categories,
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write to a small npz file; :meth:`load` reads it."""
        from skbayesiv._moments_io import save_moments

        save_moments(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Moments:
        """Read what :meth:`save` wrote."""
        from skbayesiv._moments_io import load_moments

        return load_moments(path)

    @classmethod
    def empty(cls, columns: Columns) -> Moments:
        """Moments of no rows: with them a posterior is its prior."""
        width = len(columns.names)
        return cls(columns, np.zeros(width), 0.0, 0, np.zeros(width), np.zeros((width, width)))

    @property
    def mean(self) -> Array:
        """Weighted mean of each column, shape (C,)."""
        return self.shift + (self.total / self.weight if self.weight else 0.0)

    @property
    def scatter(self) -> Array:
        """Weighted sum of squares and products about the mean, shape (C, C)."""
        if not self.weight:
            return np.zeros_like(self.cross)
        return self.cross - np.outer(self.total, self.total) / self.weight

    def about(self, shift: Array) -> Moments:
        """Return the same moments with the sums taken about another point."""
        if np.array_equal(shift, self.shift):
            return self
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
        if other.n_rows > self.n_rows:
            raise ValueError(
                f"Moments of {other.n_rows} rows cannot be taken from moments of {self.n_rows}."
            )
        return self._combine(other, -1)

    def _combine(self, other: Moments, sign: int) -> Moments:
        if self.columns != other.columns:
            raise ValueError(
                f"Moments must be of the same columns: {self.columns}; got {other.columns}."
            )
        if sign > 0 and not self.n_rows:
            return other
        other = other.about(self.shift)
        return Moments(
            self.columns,
            self.shift,
            self.weight + sign * other.weight,
            self.n_rows + sign * other.n_rows,
            self.total + sign * other.total,
            self.cross + sign * other.cross,
        )


@dataclass(frozen=True, eq=False)
class Standardised:
    """Canonical moments: mean, standard deviation and correlation, rounded to 36 bits.

    Sums taken in another order, in other chunks, or with a weight in place of a repeated row
    differ in the last bits, and a Markov chain magnifies any difference. Rounding (each mean on
    the scale of its column, each correlation on the scale of 1) removes it.

    Attributes
    ----------
    columns : Columns
    n : float
        Sum of weights.
    mean, sd : ndarray of shape (C,)
        The standard deviation divides by n, and is 1 for a column without spread.
    corr : ndarray of shape (C, C)
        Its diagonal exceeds 1 by the bound on the rounding error's norm, so that the matrix
        stays positive definite; a residual variance below about 1e-10 cannot be resolved.
    """

    columns: Columns
    n: float
    mean: Array
    sd: Array
    corr: Array


def standardise(moments: Moments) -> Standardised:
    """Canonical moments in standardised coordinates."""
    width = len(moments.columns.names)
    if not moments.weight:
        return Standardised(moments.columns, 0.0, np.zeros(width), np.ones(width), np.eye(width))
    scatter, mean = moments.scatter, moments.mean
    variance = np.clip(np.diag(scatter), 0.0, None) / moments.weight
    spread = np.sqrt(variance)
    # Without spread: below the rounding of the mean, or of the sum of squares about the shift.
    constant = spread <= 1e-13 * np.maximum(np.abs(mean), np.finfo(float).tiny)
    constant |= variance <= 1e-13 * np.diag(moments.cross) / moments.weight
    sd = np.where(constant, 1.0, round_bits(spread))
    corr = scatter / moments.weight / np.outer(sd, sd)
    corr = np.where(constant[:, None] | constant, 0.0, round_to(corr, 1.0))
    np.fill_diagonal(corr, np.where(constant, 0.0, 1.0) + width * 2.0**-CANONICAL_BITS)
    n = float(round_bits(np.asarray(moments.weight)))
    return Standardised(moments.columns, n, round_to(mean, np.maximum(np.abs(mean), sd)), sd, corr)


def round_bits(value: Array) -> Array:
    """Round to 36 significant bits."""
    mantissa, exponent = np.frexp(value)
    return np.ldexp(np.round(np.ldexp(mantissa, CANONICAL_BITS)), exponent - CANONICAL_BITS)


def round_to(value: Array, scale: Any) -> Array:
    """Round to a multiple of 2^-36 of the power of two above `scale`."""
    unit = np.ldexp(1.0, np.frexp(scale)[1] - CANONICAL_BITS)
    return np.asarray(np.round(value / unit) * unit)


def check_moments(moments: Any, argument: str = "moments") -> None:
    """Raise unless the argument is what it should be."""
    if isinstance(moments, Mapping):
        raise TypeError(
            f"{argument} must be Moments; got {type(moments).__name__}: of moments by group pass "
            "one, or their sum."
        )
    if not isinstance(moments, Moments):
        raise TypeError(f"{argument} must be Moments; got {type(moments).__name__}.")


def check_identified(moments: Moments, *, fit_intercept: bool = True) -> None:
    """Raise unless rows and columns suffice for the first stage and the outcome's equation."""
    columns = moments.columns
    q, k = len(columns.instruments), len(columns.treatments)
    _check_finite(moments)
    if q and not k:
        raise ValueError(
            "t must be given with z: an instrumental-variable fit needs both; got "
            f"{list(columns.instruments)} without treatments."
        )
    if q < k:
        raise ValueError(
            f"z must have at least as many columns as t ({k}); got {q}: "
            f"{list(columns.instruments)}."
        )
    _check_rows(moments, len(columns.covariates) + q + int(fit_intercept) if k else 2)
    if not k:
        return
    _check_varies(moments, fit_intercept)
    cosines = _cosines(moments, fit_intercept)
    for argument, where in (("z", columns.z), ("t", columns.t)):
        index = [*range(columns.x.stop), *range(where.start, where.stop)]
        for at in _dependent(cosines, index)[:1]:
            others = [columns.names[i] for i in index[: index.index(at)]]
            raise ValueError(
                f"{'X' if at < columns.x.stop else argument} must not be perfectly collinear: "
                f"column {columns.names[at]!r} is a linear combination of "
                f"{'the constant and ' if fit_intercept else ''}{others}, to {COLLINEAR:g} of its "
                "sum of squares. Leave it out, or centre what powers and products are made of."
            )


def check_outcome_has_error(moments: Moments, *, fit_intercept: bool = True) -> None:
    """Raise if t, z and X fit y exactly in more rows than columns: there is no posterior then.

    The likelihood grows without bound as the variance of y's error given t and z goes to 0.
    """
    columns = moments.columns
    index = [*range(len(columns.names))]
    dependent = _dependent(_cosines(moments, fit_intercept), index)
    n_columns = len(index) - len(dependent) + int(fit_intercept)
    if not columns.treatments or columns.y not in dependent or moments.weight <= n_columns:
        return
    name = columns.outcome
    if fit_intercept and standardise(moments).corr[columns.y, columns.y] < 0.5:
        raise ValueError(f"y must vary: column {name!r} is constant at {moments.mean[-1]:.6g}.")
    raise ValueError(
        f"y must have an error: column {name!r} is a linear combination of "
        f"{'the constant and ' if fit_intercept else ''}{list(columns.names[:-1])}, to "
        f"{COLLINEAR:g} of its variance."
    )


def full_rank(moments: Moments, *, fit_intercept: bool = True) -> bool:
    """Whether no covariate is a linear combination of the others (and the constant)."""
    index = [*range(moments.columns.x.stop)]
    return not _dependent(_cosines(moments, fit_intercept), index)


def _check_finite(moments: Moments) -> None:
    """Raise if a sum is not finite, which finite rows can have by overflow."""
    if not np.isfinite(moments.weight):
        raise ValueError(f"sample_weight must have a finite sum; got {moments.weight}.")
    own = np.isfinite(moments.shift + moments.total + np.diag(moments.cross))
    finite = own if not own.all() else np.isfinite(moments.cross).all(axis=1)
    if not finite.all():
        names = [name for name, good in zip(moments.columns.names, finite, strict=True) if not good]
        raise ValueError(
            f"X, t, y and z must have finite sums of squares: those of {names} are not. Rescale "
            "the columns."
        )


def _check_rows(moments: Moments, least: int) -> None:
    least = max(least, 2)
    if moments.n_rows < least:
        raise ValueError(
            f"X, t, y and z must have at least as many rows as the first stage has columns "
            f"({least}); got n_samples = {moments.n_rows}"
            + (" (1 sample)." if moments.n_rows == 1 else ".")
        )


def _check_varies(moments: Moments, fit_intercept: bool) -> None:
    columns, std = moments.columns, standardise(moments)
    for role, where in (("z", columns.z), ("t", columns.t), ("X", columns.x)):
        for i in range(where.start, where.stop):
            constant = std.corr[i, i] < 0.5
            if constant and (fit_intercept or std.mean[i] == 0.0):
                raise ValueError(
                    f"{role} must vary: column {columns.names[i]!r} is constant at "
                    f"{std.mean[i]:.6g}."
                )


def _cosines(moments: Moments, fit_intercept: bool) -> Array:
    """Cosines of the angles between columns, centred if there is an intercept."""
    if fit_intercept:
        std = standardise(moments)
        varies = std.corr.diagonal() > 0.5
        # Not the rounded ones, whose error a dependence with large coefficients would magnify.
        cosines = moments.scatter / moments.weight / np.outer(std.sd, std.sd)
        return np.where(varies[:, None] & varies, cosines, 0.0)
    cross = moments.about(np.zeros_like(moments.shift)).cross
    length = np.where(np.diag(cross) > 0.0, np.sqrt(np.diag(cross)), 1.0)
    return cross / np.outer(length, length)


def _dependent(cosines: Array, index: list[int]) -> list[int]:
    """Those of the columns that are linear combinations of others before them (Gram-Schmidt)."""
    residual, found = cosines[np.ix_(index, index)].copy(), []
    for j, column in enumerate(index):
        pivot = residual[j, j]
        if pivot < COLLINEAR:
            found.append(column)
        else:
            residual -= np.outer(residual[:, j], residual[j]) / pivot
    return found


def _pilot_mean(part: NDArray[Any]) -> Array:
    """Mean of the first rows, in double precision."""
    return np.asarray(part[:PILOT_ROWS].mean(axis=0, dtype=np.float64)).reshape(-1)

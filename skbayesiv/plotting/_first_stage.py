"""First stage and reduced form: the two slopes whose ratio is the effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skbayesiv._data.checks import check_level
from skbayesiv._data.rows import IVData
from skbayesiv._reports.coefficients import interval_reach
from skbayesiv._typing import Array, Codes
from skbayesiv.diagnostics import partial_out
from skbayesiv.plotting._display import BLUE, VERMILLION, Display, percent, quiet
from skbayesiv.plotting._fitted import NamesColumns
from skbayesiv.plotting._numbers import read_rows
from skbayesiv.plotting._outcome import MAX_LEVELS

BINS = 10


@dataclass(frozen=True, eq=False)
class BinnedLine:
    """Means of a response against the instrument, and the least squares line.

    Attributes
    ----------
    name : str
        The response.
    x, mean, reach : ndarray of shape (B,)
        Place of each group, its mean, and half the width of the mean's interval.
    slope, intercept : float
        Of the line through all rows.
    """

    name: str
    x: Array
    mean: Array
    reach: Array
    slope: float
    intercept: float


@dataclass(eq=False, repr=False)
class FirstStageDisplay(Display):
    """First stage (treatment on instrument) beside reduced form (outcome on instrument).

    Covariates are partialled out. Several instruments are drawn through their first-stage
    index, the treatment as they predict it, whose first-stage slope is one.

    Parameters
    ----------
    instrument : str
        Name of the horizontal axis.
    first_stage, reduced_form : BinnedLine
    level : float
        Probability of the intervals of the means.

    Attributes
    ----------
    effect : float
        Ratio of the slopes: two-stage least squares.

    Examples
    --------
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.plotting import FirstStageDisplay
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> display = FirstStageDisplay.from_data(X, t, y, z=z)
    >>> print(f"{display.reduced_form.slope:.4f} / {display.first_stage.slope:.4f}")
    2.3636 / 0.7176
    >>> print(f"{display.effect:.4f}")
    3.2938
    """

    instrument: str
    first_stage: BinnedLine
    reduced_form: BinnedLine
    level: float

    @property
    def effect(self) -> float:
        """Ratio of the slopes: two-stage least squares."""
        return self.reduced_form.slope / self.first_stage.slope

    @classmethod
    def from_data(
        cls, X: Any, t: Any, y: Any, *, z: Any, level: float = 0.95, ax: Any = None
    ) -> Self:
        """Draw from rows; names are taken from pandas objects.

        Parameters
        ----------
        X, t, y, z
            As in ``fit(X, t, y, z=z)``, with one treatment.
        level : float, default=0.95
        ax : sequence of two matplotlib.axes.Axes, optional

        Returns
        -------
        FirstStageDisplay
        """
        return cls._from_rows(read_rows(None, X, t, y, z), level).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: NamesColumns,
        X: Any,
        t: Any = None,
        y: Any = None,
        *,
        z: Any = None,
        level: float = 0.95,
        ax: Any = None,
    ) -> Self:
        """Draw from rows as the estimator reads them, ``(X, y)`` in column mode.

        Parameters
        ----------
        estimator : TwoStageLS, BayesianIV or HierarchicalBayesianIV
        X, t, y, z, level, ax
            As in `from_data`.

        Returns
        -------
        FirstStageDisplay
        """
        return cls._from_rows(read_rows(estimator, X, t, y, z), level).plot(ax)

    @classmethod
    def _from_rows(cls, rows: IVData, level: float) -> Self:
        check_level(level)
        if rows.t.shape[1] != 1:
            raise ValueError(f"t must be one treatment; got {rows.t.shape[1]}.")
        z, t, y = _given_x(rows)
        name = rows.columns.instruments[0]
        if z.shape[1] > 1:
            centred = z - z.mean(axis=0)
            z = t.mean() + centred @ np.linalg.lstsq(centred, t - t.mean(), rcond=None)[0][:, None]
            name = f"{rows.columns.treatments[0]} as {rows.z.shape[1]} instruments predict it"
        if rows.x.shape[1]:
            name = f"{name}, given X"
        index = z[:, 0]
        group = _groups(index)
        return cls(
            name,
            _binned_line(rows.columns.treatments[0], index, t, group, level),
            _binned_line(rows.columns.outcome, index, y, group, level),
            level,
        )

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : sequence of two matplotlib.axes.Axes, optional

        Returns
        -------
        self : object
        """
        axes = self._start_many(ax, 1, 2, (9.0, 4.0))
        parts = (("First stage", self.first_stage), ("Reduced form", self.reduced_form))
        for axis, (title, line) in zip(axes, parts, strict=True):
            _draw(axis, line, self.level)
            axis.set_xlabel(self.instrument)
            axis.set_title(f"{title}: slope {line.slope:.4g}")
        return self


def _given_x(rows: IVData) -> tuple[Array, Array, Array]:
    """Instruments (n, Q), treatment and outcome (n,) less their regression on X, means kept."""
    z, t, y = (np.asarray(part, dtype=float) for part in (rows.z, rows.t[:, 0], rows.y))
    if not rows.x.shape[1]:
        return z, t, y
    left = partial_out(y, t, z, rows.x)
    return left.z + z.mean(axis=0), left.t[:, 0] + t.mean(), left.y + y.mean()


def _groups(index: Array) -> Codes:
    """Groups of equal values or, if there are many, tenths of the rows."""
    distinct, group = np.unique(index, return_inverse=True)
    if len(distinct) <= MAX_LEVELS:
        return np.asarray(group)
    cuts = np.quantile(index, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.unique(np.searchsorted(cuts, index, side="right"), return_inverse=True)[1]


def _binned_line(name: str, x: Array, y: Array, group: Codes, level: float) -> BinnedLine:
    n = np.bincount(group)
    place, mean = np.bincount(group, x) / n, np.bincount(group, y) / n
    variance = np.bincount(group, (y - mean[group]) ** 2) / np.maximum(n - 1, 1)
    reach = interval_reach(np.inf, level) * np.sqrt(variance / n)
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    return BinnedLine(name, place, mean, reach, slope, float(y.mean() - slope * x.mean()))


def _draw(ax: Any, line: BinnedLine, level: float) -> None:
    ends = np.array([line.x.min(), line.x.max()])
    ax.plot(ends, line.intercept + line.slope * ends, color=VERMILLION, lw=2, label="least squares")
    label = f"mean, {percent(level)} interval"
    ax.errorbar(line.x, line.mean, yerr=line.reach, fmt="o", color=BLUE, capsize=4, label=label)
    ax.margins(x=0.12)
    if len(line.x) <= MAX_LEVELS:
        ax.set_xticks(line.x)
    ax.set_ylabel(f"mean of {line.name}")
    ax.legend(loc="best", frameon=False)
    quiet(ax)

"""Histograms of the outcome, by assignment and by treatment."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skbayesiv._data.rows import IVData
from skbayesiv._sampling.libraries import load_jax
from skbayesiv._typing import Array, Codes
from skbayesiv.plotting._display import PALETTE, Display, legend_beside, quiet
from skbayesiv.plotting._fitted import NamesColumns
from skbayesiv.plotting._numbers import GRID_POINTS, read_rows

MAX_LEVELS = 5
MAX_BINS = 80


@dataclass(frozen=True, eq=False)
class GroupedHistogram:
    """Histogram of the outcome in the groups of one variable.

    Attributes
    ----------
    name : str
        The variable that makes the groups.
    levels : tuple of str, of length L
    sizes : ndarray of shape (L,)
    means : ndarray of shape (L,)
        Of the outcome.
    counts : ndarray of shape (L, B)
        Rows in each bin.
    grid : ndarray of shape (L, G)
    curve : ndarray of shape (L, G)
        Smooth density over `grid`, in rows for each bin.
    """

    name: str
    levels: tuple[str, ...]
    sizes: NDArray[np.intp]
    means: Array
    counts: NDArray[np.intp]
    grid: Array
    curve: Array


@dataclass(eq=False, repr=False)
class OutcomeDisplay(Display):
    """Outcome by assignment and by treatment: what is compared, and with whom.

    Parameters
    ----------
    outcome : str
        Name of the outcome.
    edges : ndarray of shape (B + 1,)
        Edges of the bins, shared by all groups.
    panels : tuple of GroupedHistogram
        One for each instrument, then one for each treatment.

    Examples
    --------
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.plotting import OutcomeDisplay
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> display = OutcomeDisplay.from_data(X, t, y, z=z)
    >>> [panel.name for panel in display.panels]
    ['push_assigned', 'push_delivered']
    >>> display.panels[1].means.round(2)
    array([65.52, 79.45])
    """

    outcome: str
    edges: Array
    panels: tuple[GroupedHistogram, ...]

    @classmethod
    def from_data(
        cls, X: Any, t: Any, y: Any, *, z: Any, bins: int | None = None, ax: Any = None
    ) -> Self:
        """Draw from rows; names are taken from pandas objects.

        Parameters
        ----------
        X, t, y, z
            As in ``fit(X, t, y, z=z)``. A variable with more than five values is cut at its
            quartiles.
        bins : int, optional
            Number of bins, by default by the data's spread.
        ax : sequence of matplotlib.axes.Axes, optional

        Returns
        -------
        OutcomeDisplay
        """
        return cls._from_rows(read_rows(None, X, t, y, z), bins).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: NamesColumns,
        X: Any,
        t: Any = None,
        y: Any = None,
        *,
        z: Any = None,
        bins: int | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw from rows as the estimator reads them, ``(X, y)`` in column mode.

        Parameters
        ----------
        estimator : TwoStageLS, BayesianIV or HierarchicalBayesianIV
        X, t, y, z, bins, ax
            As in `from_data`.

        Returns
        -------
        OutcomeDisplay
        """
        return cls._from_rows(read_rows(estimator, X, t, y, z), bins).plot(ax)

    @classmethod
    def _from_rows(cls, rows: IVData, bins: int | None) -> Self:
        y = np.asarray(rows.y, dtype=float)
        edges = bin_edges(y, bins)
        names = (*rows.columns.instruments, *rows.columns.treatments)
        columns = np.concatenate([rows.z, rows.t], axis=1).T
        panels = tuple(
            _group(name, np.asarray(column, dtype=float), y, edges)
            for name, column in zip(names, columns, strict=True)
        )
        return cls(rows.columns.outcome, edges, panels)

    def plot(self, ax: Any = None) -> Self:
        """Draw one panel above the other, with shared axes.

        Parameters
        ----------
        ax : sequence of matplotlib.axes.Axes, optional
            One for each panel.

        Returns
        -------
        self : object
        """
        n = len(self.panels)
        axes = self._start_many(ax, n, 1, (8.5, 1.0 + 2.8 * n), sharex=True, sharey=True)
        for axis, panel in zip(axes, self.panels, strict=True):
            _draw(axis, panel, self.edges)
        axes[-1].set_xlabel(self.outcome)
        axes[0].set_title(f"{self.outcome} by {' and by '.join(p.name for p in self.panels)}")
        return self


def bin_edges(y: Array, bins: int | None) -> Array:
    """Edges of the bins; whole numbers get bins of whole width, or the bars would comb."""
    if bins is not None:
        return np.linspace(y.min(), y.max(), bins + 1)
    edges = np.histogram_bin_edges(y, bins="fd")
    if len(edges) - 1 > MAX_BINS:
        edges = np.linspace(y.min(), y.max(), MAX_BINS + 1)
    if len(edges) > 1 and (y == np.round(y)).all():
        width = max(1.0, float(np.round(edges[1] - edges[0])))
        return np.arange(y.min() - 0.5, y.max() + 0.5 + width, width)
    return np.asarray(edges)


def label_groups(values: Array) -> tuple[tuple[str, ...], Codes]:
    """Name the groups of a variable and place each row; quartiles when there are many values."""
    distinct, group = np.unique(values, return_inverse=True)
    if len(distinct) <= MAX_LEVELS:
        return tuple(f"{value:g}" for value in distinct), group
    cuts = np.quantile(values, [0.0, 0.25, 0.5, 0.75, 1.0])
    names = tuple(f"{a:.3g} to {b:.3g}" for a, b in pairwise(cuts))
    return names, np.searchsorted(cuts[1:-1], values, side="right")


def _group(name: str, values: Array, y: Array, edges: Array) -> GroupedHistogram:
    load_jax()
    from arviz_stats.base.array import array_stats

    levels, group = label_groups(values)
    members = [y[group == level] for level in range(len(levels))]
    curves = [array_stats.kde(part, grid_len=GRID_POINTS)[:2] for part in members]
    width = edges[1] - edges[0]
    return GroupedHistogram(
        name,
        levels,
        np.array([len(part) for part in members]),
        np.array([part.mean() for part in members]),
        np.array([np.histogram(part, edges)[0] for part in members]),
        np.array([grid for grid, _ in curves]),
        np.array([c * len(p) * width for (_, c), p in zip(curves, members, strict=True)]),
    )


def _draw(ax: Any, panel: GroupedHistogram, edges: ArrayLike) -> None:
    for level, label in enumerate(panel.levels):
        color = PALETTE[level]
        text = f"{label}  ({panel.sizes[level]:,} rows, mean {panel.means[level]:.4g})"
        ax.stairs(panel.counts[level], edges, fill=True, color=color, alpha=0.35, label=text)
        ax.plot(panel.grid[level], panel.curve[level], color=color, lw=2)
    ax.set_ylabel("rows per bin")
    legend_beside(ax, panel.name)
    quiet(ax)

"""How many of the assigned took the treatment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skbayesiv._data.rows import IVData
from skbayesiv.plotting._display import PALETTE, Display, legend_beside, quiet
from skbayesiv.plotting._fitted import NamesColumns
from skbayesiv.plotting._numbers import read_rows
from skbayesiv.plotting._outcome import label_groups


@dataclass(eq=False, repr=False)
class ComplianceDisplay(Display):
    """Treatment received by assignment, as bars.

    Parameters
    ----------
    treatment, assignment : str
        Names.
    treatment_levels, assignment_levels : tuple of str
    counts : ndarray of shape (assignment levels, treatment levels)
        Rows.

    Attributes
    ----------
    shares : ndarray of the shape of `counts`
        Share of each treatment level within its assignment.

    Examples
    --------
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.plotting import ComplianceDisplay
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> display = ComplianceDisplay.from_data(X, t, y, z=z)
    >>> display.counts
    array([[5057,    0],
           [1396, 3547]])
    >>> display.shares[1].round(3)
    array([0.282, 0.718])
    """

    treatment: str
    assignment: str
    treatment_levels: tuple[str, ...]
    assignment_levels: tuple[str, ...]
    counts: NDArray[np.intp]

    def __post_init__(self) -> None:
        self.shares = self.counts / self.counts.sum(axis=1, keepdims=True)

    @classmethod
    def from_data(
        cls,
        X: Any,
        t: Any,
        y: Any,
        *,
        z: Any,
        treatment: int = 0,
        instrument: int = 0,
        ax: Any = None,
    ) -> Self:
        """Draw from rows; names are taken from pandas objects.

        Parameters
        ----------
        X, t, y, z
            As in ``fit(X, t, y, z=z)``. A variable with more than five values is cut at its
            quartiles.
        treatment, instrument : int, default=0
            Which, when there are several.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        ComplianceDisplay
        """
        return cls._from_rows(read_rows(None, X, t, y, z), treatment, instrument).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: NamesColumns,
        X: Any,
        t: Any = None,
        y: Any = None,
        *,
        z: Any = None,
        treatment: int = 0,
        instrument: int = 0,
        ax: Any = None,
    ) -> Self:
        """Draw from rows as the estimator reads them, ``(X, y)`` in column mode.

        Parameters
        ----------
        estimator : TwoStageLS, BayesianIV or HierarchicalBayesianIV
        X, t, y, z, treatment, instrument, ax
            As in `from_data`.

        Returns
        -------
        ComplianceDisplay
        """
        return cls._from_rows(read_rows(estimator, X, t, y, z), treatment, instrument).plot(ax)

    @classmethod
    def _from_rows(cls, rows: IVData, treatment: int, instrument: int) -> Self:
        received, t = label_groups(np.asarray(rows.t[:, treatment], dtype=float))
        assigned, z = label_groups(np.asarray(rows.z[:, instrument], dtype=float))
        counts = np.zeros((len(assigned), len(received)), dtype=np.intp)
        np.add.at(counts, (z, t), 1)
        names = rows.columns
        return cls(
            names.treatments[treatment], names.instruments[instrument], received, assigned, counts
        )

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        self : object
        """
        ax = self._start(ax, (7.5, 4.2))
        n_groups, n_levels = self.counts.shape
        width = 0.8 / n_levels
        for level, name in enumerate(self.treatment_levels):
            at = np.arange(n_groups) + (level - (n_levels - 1) / 2) * width
            bars = ax.bar(at, self.counts[:, level], width * 0.95, color=PALETTE[level], label=name)
            labels = [f"{share:.1%}" for share in self.shares[:, level]]
            ax.bar_label(bars, labels, padding=2)
        ax.set_xticks(np.arange(n_groups), self.assignment_levels)
        ax.margins(y=0.12)
        ax.set_xlabel(self.assignment)
        ax.set_ylabel("rows")
        ax.set_title(f"{self.treatment} by {self.assignment}")
        legend_beside(ax, self.treatment)
        quiet(ax)
        return self

"""The joint density of the errors at the posterior mean of their covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skbayesiv._typing import Array
from skbayesiv.plotting._display import GREEN, Display, foreground
from skbayesiv.plotting._fitted import FittedPosterior
from skbayesiv.plotting._numbers import check_one

MASSES = (0.95, 0.8, 0.6, 0.4, 0.2)
REACH = 3.2
POINTS = 121


@dataclass(eq=False, repr=False)
class ErrorDensityDisplay(Display):
    """Joint density of the outcome's and the treatment's errors, with their marginals.

    Parameters
    ----------
    covariance : ndarray of shape (2, 2)
        Of the errors of the outcome and of the treatment.
    names : tuple of str
        Outcome and treatment.

    Attributes
    ----------
    correlation : float
    grid : tuple of ndarray of shape (G,)
        Errors of outcome and treatment, to 3.2 standard deviations.
    density : ndarray of shape (G, G)
        Over the grid; rows are treatment errors.

    Examples
    --------
    >>> from skbayesiv.plotting import ErrorDensityDisplay
    >>> display = ErrorDensityDisplay.from_covariance([[25.0**2, 2.5], [2.5, 0.1]])
    >>> print(f"{display.correlation:.2f}")
    0.32
    """

    covariance: Array
    names: tuple[str, str] = ("outcome", "treatment")

    def __post_init__(self) -> None:
        self.covariance = np.asarray(self.covariance, dtype=float)
        if self.covariance.shape != (2, 2):
            raise ValueError(f"covariance must have shape (2, 2); got {self.covariance.shape}.")
        sd = np.sqrt(np.diag(self.covariance))
        unit = np.linspace(-REACH, REACH, POINTS)
        self.correlation = float(self.covariance[0, 1] / sd.prod())
        self.grid = (unit * sd[0], unit * sd[1])
        points = np.stack(np.meshgrid(*self.grid), axis=-1)
        inverse = np.linalg.inv(self.covariance)
        distance = np.einsum("abi,ij,abj->ab", points, inverse, points)
        self.density = np.exp(-0.5 * distance) / (
            2 * np.pi * np.sqrt(np.linalg.det(self.covariance))
        )

    @classmethod
    def from_estimator(
        cls, estimator: FittedPosterior, *, treatment: int = 0, ax: Any = None
    ) -> Self:
        """Draw at the posterior mean of the errors' covariance.

        Parameters
        ----------
        estimator : fitted BayesianIV or HierarchicalBayesianIV
        treatment : int, default=0
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        ErrorDensityDisplay
        """
        check_one(estimator, "The joint density of the errors")
        estimator._check_density("The joint density of the errors")
        pair = [0, 1 + treatment]
        mean = estimator.idata_.posterior["cov"].to_numpy().mean(axis=(0, 1))
        columns = estimator.moments_.columns
        names = (columns.outcome, columns.treatments[treatment])
        return cls(mean[np.ix_(pair, pair)], names).plot(ax)

    @classmethod
    def from_covariance(
        cls,
        covariance: ArrayLike,
        *,
        names: tuple[str, str] = ("outcome", "treatment"),
        ax: Any = None,
    ) -> Self:
        """Draw for a given covariance.

        Parameters
        ----------
        covariance : array-like of shape (2, 2)
        names : tuple of str
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        ErrorDensityDisplay
        """
        return cls(np.asarray(covariance, dtype=float), names).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw regions that hold 20% to 95% of the errors, and the marginal densities.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Then without the marginals.

        Returns
        -------
        self : object
        """
        if ax is not None:
            self._draw_joint(self._start(ax, (6.0, 5.0)))
            self.ax_.set_title(self._title())
            return self
        top, corner, joint, right = self._start_many(
            None,
            2,
            2,
            (6.5, 6.0),
            sharex="col",
            sharey="row",
            width_ratios=(4, 1),
            height_ratios=(1, 4),
        )
        corner.set_axis_off()
        self.ax_ = joint
        self._draw_joint(joint)
        self._draw_marginals(top, right)
        self.figure_.suptitle(self._title())
        return self

    def _title(self) -> str:
        return f"Joint density of the errors (correlation {self.correlation:.2f})"

    def _draw_joint(self, ax: Any) -> None:
        # A normal's region of mass p ends at squared distance -2 log(1 - p).
        levels = [self.density.max() * (1.0 - mass) for mass in MASSES]
        x, y = self.grid
        ax.contourf(x, y, self.density, [*levels, self.density.max()], colors=_shades(len(levels)))
        lines = ax.contour(x, y, self.density, levels, colors=GREEN, linewidths=1)
        texts = {level: f"{mass:.0%}" for level, mass in zip(lines.levels, MASSES, strict=True)}
        ax.clabel(lines, fmt=texts, fontsize="small", colors=foreground())
        ax.set_xlabel(f"error of {self.names[0]}")
        ax.set_ylabel(f"error of {self.names[1]}")

    def _draw_marginals(self, top: Any, right: Any) -> None:
        for which, (axis, grid) in enumerate(zip((top, right), self.grid, strict=True)):
            height = np.exp(-0.5 * grid**2 / self.covariance[which, which])
            if which == 0:
                axis.fill_between(grid, height, color=GREEN, alpha=0.35, lw=0)
            else:
                axis.fill_betweenx(grid, height, color=GREEN, alpha=0.35, lw=0)
            axis.set_axis_off()


def _shades(n: int) -> list[tuple[str, float]]:
    return [(GREEN, 0.12 + 0.7 * step / n) for step in range(n)]

"""The posterior of the errors' correlation: how much the treatment is confounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skbayesiv.plotting._display import GREEN, Display, foreground, legend_beside, strip_y
from skbayesiv.plotting._effect import draw_density
from skbayesiv.plotting._fitted import FittedPosterior
from skbayesiv.plotting._numbers import Density, check_one


@dataclass(eq=False, repr=False)
class CorrelationDisplay(Display):
    """Posterior of the correlation of the outcome's and the treatment's errors.

    Zero means that the treated do not differ from the untreated in what is not observed.

    Parameters
    ----------
    posterior : Density
    label : str

    Examples
    --------
    >>> from skbayesiv import BayesianIV
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.plotting import CorrelationDisplay
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> est = BayesianIV(random_state=0).fit(X, t, y, z=z)
    >>> print(f"{CorrelationDisplay.from_estimator(est).posterior.mean:.2f}")
    0.30
    """

    posterior: Density
    label: str = "correlation of the errors"

    @classmethod
    def from_estimator(
        cls, estimator: FittedPosterior, *, treatment: int = 0, level: float = 0.94, ax: Any = None
    ) -> Self:
        """Draw the posterior of a fitted estimator.

        Parameters
        ----------
        estimator : fitted BayesianIV or HierarchicalBayesianIV
        treatment : int, default=0
        level : float, default=0.94
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        CorrelationDisplay
        """
        check_one(estimator, "The posterior of the errors' correlation")
        estimator._check_density("The posterior of the errors' correlation")
        columns = estimator.moments_.columns
        draws = estimator.idata_.posterior["corr"].to_numpy()[..., 0, 1 + treatment]
        label = (
            f"correlation of the errors of {columns.outcome} and {columns.treatments[treatment]}"
        )
        return cls(Density.from_draws(draws, level), label).plot(ax)

    @classmethod
    def from_draws(cls, draws: ArrayLike, *, level: float = 0.94, ax: Any = None) -> Self:
        """Draw a posterior from its draws.

        Parameters
        ----------
        draws : array-like
            Of any shape.
        level : float, default=0.94
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        CorrelationDisplay
        """
        return cls(Density.from_draws(draws, level)).plot(ax)

    def plot(self, ax: Any = None, *, bins: int = 50) -> Self:
        """Draw a histogram with its density curve, and zero for reference.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
        bins : int, default=50

        Returns
        -------
        self : object
        """
        ax = self._start(ax, (8.5, 3.8))
        edges = np.linspace(self.posterior.draws.min(), self.posterior.draws.max(), bins + 1)
        counts, _ = np.histogram(self.posterior.draws, edges, density=True)
        ax.stairs(counts, edges, fill=True, color=GREEN, alpha=0.35)
        draw_density(ax, self.posterior, "posterior", GREEN)
        ax.axvline(0.0, color=foreground(), ls="--", lw=1, label="no confounding")
        ax.set_xlabel(self.label)
        ax.set_title("Posterior of the error correlation")
        strip_y(ax)
        ax.set_ylim(bottom=0)
        legend_beside(ax)
        return self

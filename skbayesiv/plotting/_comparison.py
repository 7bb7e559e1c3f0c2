"""Posteriors of the same effect under several models, with shared axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from skbayesiv.plotting._display import Display
from skbayesiv.plotting._effect import EffectDisplay
from skbayesiv.plotting._fitted import FittedPosterior, FittedTwoStage


@dataclass(eq=False, repr=False)
class EffectComparisonDisplay(Display):
    """Posteriors of one effect, one above the other, with shared axes.

    Parameters
    ----------
    displays : tuple of EffectDisplay
        From top to bottom.

    Examples
    --------
    >>> from skbayesiv import BayesianIV, HierarchicalBayesianIV
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.plotting import EffectComparisonDisplay
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> base = BayesianIV(random_state=0).fit(X, t, y, z=z)
    >>> hierarchical = HierarchicalBayesianIV(
    ...     effects=[3.4, 3.6, 4.25], std_errors=[0.5, 0.55, 0.6], random_state=0
    ... ).fit_moments(base.moments_)
    >>> display = EffectComparisonDisplay.from_estimators(
    ...     {"This experiment alone": base, "With earlier experiments": hierarchical}
    ... )
    >>> widths = [d.posterior.upper - d.posterior.lower for d in display.displays]
    >>> widths[1] < widths[0]
    True
    """

    displays: tuple[EffectDisplay, ...]

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, FittedPosterior],
        *,
        two_stage: FittedTwoStage | str | None = "auto",
        treatment: int = 0,
        level: float = 0.94,
        ax: Any = None,
    ) -> Self:
        """Draw the posteriors of fitted estimators.

        Parameters
        ----------
        estimators : dict of str to fitted BayesianIV or HierarchicalBayesianIV
            By title, from top to bottom.
        two_stage : fitted TwoStageLS, "auto" or None, default="auto"
            As in :meth:`EffectDisplay.from_estimator`; drawn for estimators without a history.
        treatment : int, default=0
        level : float, default=0.94
        ax : sequence of matplotlib.axes.Axes, optional

        Returns
        -------
        EffectComparisonDisplay
        """
        displays = []
        for title, est in estimators.items():
            history = getattr(est, "effects", None) is not None
            compared = None if history else two_stage
            displays.append(EffectDisplay._numbers(est, compared, treatment, level, title))
        return cls(tuple(displays)).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : sequence of matplotlib.axes.Axes, optional
            One for each estimator.

        Returns
        -------
        self : object
        """
        n = len(self.displays)
        axes = self._start_many(ax, n, 1, (8.5, 1.0 + 2.7 * n), sharex=True, sharey=True)
        for axis, display in zip(axes, self.displays, strict=True):
            display.plot(axis)
        for axis in axes[:-1]:
            axis.set_xlabel("")
        top = max(float(display.posterior.height.max()) for display in self.displays)
        axes[0].set_ylim(0, 1.05 * top)
        return self

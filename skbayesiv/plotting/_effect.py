"""The posterior of an effect, with what else is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from numpy.typing import ArrayLike

from skbayesiv.plotting._display import (
    BLUE,
    DASHES,
    GREY,
    ORANGE,
    PALETTE,
    VERMILLION,
    Display,
    legend_beside,
    percent,
    strip_y,
)
from skbayesiv.plotting._fitted import FittedPosterior, FittedTwoStage
from skbayesiv.plotting._numbers import (
    Density,
    Interval,
    check_posterior,
    earlier_intervals,
    effect_draws,
    effect_label,
    two_stage_interval,
)

MAX_LINES = 6


@dataclass(eq=False, repr=False)
class EffectDisplay(Display):
    """Posterior of the effect, the 2SLS estimate with its interval, and earlier effects.

    Parameters
    ----------
    posterior : Density
        Draws, density curve, mean and highest-density interval.
    label : str
        What the axis shows.
    two_stage : Interval or None
        Classical estimate with its confidence interval, of the level of `posterior`.
    earlier : tuple of Interval
        Effects of earlier experiments; beyond six, their range is drawn.
    title : str

    Examples
    --------
    >>> from skbayesiv import BayesianIV
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.plotting import EffectDisplay
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> est = BayesianIV(random_state=0).fit(X, t, y, z=z)
    >>> display = EffectDisplay.from_estimator(est)
    >>> print(f"{display.posterior.mean:.1f}, 2SLS {display.two_stage.estimate:.2f}")
    3.3, 2SLS 3.29
    """

    posterior: Density
    label: str = "effect"
    two_stage: Interval | None = None
    earlier: tuple[Interval, ...] = ()
    title: str = "Posterior of the effect"

    @classmethod
    def from_estimator(
        cls,
        estimator: FittedPosterior,
        *,
        two_stage: FittedTwoStage | str | None = "auto",
        treatment: int = 0,
        level: float = 0.94,
        title: str = "Posterior of the effect",
        ax: Any = None,
    ) -> Self:
        """Draw the posterior of a fitted estimator.

        Parameters
        ----------
        estimator : fitted BayesianIV or HierarchicalBayesianIV
        two_stage : fitted TwoStageLS, "auto" or None, default="auto"
            What to compare with. "auto" computes 2SLS with classical standard errors from the
            estimator's moments.
        treatment : int, default=0
            Which, when there are several.
        level : float, default=0.94
            Probability of both intervals.
        title : str
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        EffectDisplay
        """
        return cls._numbers(estimator, two_stage, treatment, level, title).plot(ax)

    @classmethod
    def _numbers(
        cls,
        est: FittedPosterior,
        two_stage: FittedTwoStage | str | None,
        treatment: int,
        level: float,
        title: str,
    ) -> Self:
        check_posterior(est)
        return cls(
            Density.from_draws(effect_draws(est, treatment), level),
            effect_label(est, treatment),
            two_stage_interval(est, two_stage, treatment, level),
            earlier_intervals(est, treatment, level),
            title,
        )

    @classmethod
    def from_draws(
        cls, draws: ArrayLike, *, label: str = "effect", level: float = 0.94, ax: Any = None
    ) -> Self:
        """Draw a posterior from its draws.

        Parameters
        ----------
        draws : array-like
            Of any shape.
        label : str
        level : float, default=0.94
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        EffectDisplay
        """
        return cls(Density.from_draws(draws, level), label).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        self : object
        """
        ax = self._start(ax, (8.5, 4.0))
        draw_density(ax, self.posterior, "posterior", BLUE)
        if self.two_stage is not None:
            _draw_two_stage(ax, self.two_stage, self.posterior.level)
        draw_earlier(ax, self.earlier)
        ax.set_xlabel(self.label)
        ax.set_title(self.title)
        strip_y(ax)
        ax.set_ylim(bottom=0)
        legend_beside(ax)
        return self


def draw_density(ax: Any, density: Density, name: str, color: str) -> None:
    """Density curve, its mean, and its interval filled."""
    ax.plot(
        density.grid, density.height, color=color, lw=2, label=f"{name}, mean {density.mean:.3g}"
    )
    inside = (density.grid >= density.lower) & (density.grid <= density.upper)
    ax.fill_between(
        density.grid[inside],
        density.height[inside],
        color=color,
        alpha=0.35,
        lw=0,
        label=f"{percent(density.level)} HDI [{density.lower:.3g}, {density.upper:.3g}]",
    )
    ax.vlines(density.mean, 0, density.at(density.mean), color=color, lw=1)


def _draw_two_stage(ax: Any, two_stage: Interval, level: float) -> None:
    ax.axvline(
        two_stage.estimate,
        color=VERMILLION,
        lw=2,
        label=f"{two_stage.name} {two_stage.estimate:.3g}",
    )
    label = f"{percent(level)} CI [{two_stage.lower:.3g}, {two_stage.upper:.3g}]"
    for end, text in ((two_stage.lower, label), (two_stage.upper, None)):
        ax.axvline(end, color=VERMILLION, lw=1.5, ls="--", label=text)


def draw_earlier(ax: Any, earlier: tuple[Interval, ...]) -> None:
    """One line for each earlier effect, or the range of many."""
    if len(earlier) > MAX_LINES:
        effects = [item.estimate for item in earlier]
        label = f"{len(earlier)} earlier effects"
        ax.axvspan(min(effects), max(effects), color=ORANGE, alpha=0.15, lw=0, label=label)
        return
    colors = [color for color in (*PALETTE, GREY) if color not in {BLUE, VERMILLION}]
    for j, item in enumerate(earlier):
        ax.axvline(
            item.estimate,
            color=colors[j % len(colors)],
            ls=DASHES[j % len(DASHES)],
            lw=1.5,
            label=f"earlier {item.name}: {item.estimate:.3g}",
        )

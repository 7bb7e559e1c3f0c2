"""A forest of effects: earlier experiments, their mean, and this experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skbayesiv._reports.fitted import has_segments
from skbayesiv._typing import Array, Codes
from skbayesiv.plotting._display import (
    BLUE,
    GREEN,
    ORANGE,
    VERMILLION,
    Display,
    legend_beside,
    percent,
    quiet,
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

STYLE = {
    "earlier": (ORANGE, "s", "earlier experiments, as reported"),
    "mean": (GREEN, "D", "mean effect, posterior"),
    "effect": (BLUE, "o", "this experiment, posterior"),
}


@dataclass(eq=False, repr=False)
class EffectForestDisplay(Display):
    """Earlier effects, the mean effect and this experiment's, with intervals.

    Parameters
    ----------
    rows : tuple of Interval
        From top to bottom.
    kinds : tuple of {"earlier", "mean", "effect"}
        Of the rows.
    level : float
        Probability of the intervals.
    label : str
    two_stage : Interval or None
        Drawn as a line.

    Examples
    --------
    >>> from skbayesiv import HierarchicalBayesianIV
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.plotting import EffectForestDisplay
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> est = HierarchicalBayesianIV(
    ...     effects=[3.4, 3.6, 4.25], std_errors=[0.5, 0.55, 0.6], random_state=0
    ... ).fit(X, t, y, z=z)
    >>> display = EffectForestDisplay.from_estimator(est)
    >>> display.kinds
    ('earlier', 'earlier', 'earlier', 'mean', 'effect')
    >>> display.rows[2].estimate
    4.25
    """

    rows: tuple[Interval, ...]
    kinds: tuple[str, ...]
    level: float
    label: str = "effect"
    two_stage: Interval | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: FittedPosterior,
        *,
        two_stage: FittedTwoStage | str | None = "auto",
        treatment: int = 0,
        level: float = 0.94,
        ax: Any = None,
    ) -> Self:
        """Draw for a fitted estimator.

        Parameters
        ----------
        estimator : fitted HierarchicalBayesianIV or BayesianIV
            The latter has one row.
        two_stage : fitted TwoStageLS, "auto" or None, default="auto"
            "auto" computes 2SLS with classical standard errors from the estimator's moments.
        treatment : int, default=0
        level : float, default=0.94
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        EffectForestDisplay
        """
        check_posterior(estimator)
        posterior = estimator.idata_.posterior
        rows = list(earlier_intervals(estimator, treatment, level))
        kinds = ["earlier"] * len(rows)
        if "beta_t_bar" in posterior:
            draws = posterior["beta_t_bar"].to_numpy()[..., treatment]
            rows.append(_summary("beta_t_bar (mean effect)", draws, level))
            kinds.append("mean")
        several = has_segments(posterior)
        name = "effect (compliers' average)" if several else "beta_t (this effect)"
        rows.append(_summary(name, effect_draws(estimator, treatment), level))
        kinds.append("effect")
        return cls(
            tuple(rows),
            tuple(kinds),
            level,
            effect_label(estimator, treatment),
            two_stage_interval(estimator, two_stage, treatment, level),
        ).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        self : object
        """
        ax = self._start(ax, (9.0, 1.6 + 0.38 * len(self.rows)))
        places = np.arange(len(self.rows))[::-1]
        for kind in dict.fromkeys(self.kinds):
            chosen = [i for i, k in enumerate(self.kinds) if k == kind]
            self._draw_kind(ax, kind, chosen, places)
        if self.two_stage is not None:
            label = f"{self.two_stage.name} {self.two_stage.estimate:.3g}"
            ax.axvline(self.two_stage.estimate, color=VERMILLION, ls="--", lw=1.5, label=label)
        ax.set_yticks(places, [self._name(i) for i in range(len(self.rows))])
        ax.set_ylim(-0.6, len(self.rows) - 0.4)
        ax.set_xlabel(self.label)
        ax.set_title(f"Effects with {percent(self.level)} intervals")
        quiet(ax)
        legend_beside(ax)
        return self

    def _name(self, i: int) -> str:
        name = self.rows[i].name
        return f"experiment {name}" if self.kinds[i] == "earlier" else name

    def _draw_kind(self, ax: Any, kind: str, chosen: list[int], places: Codes) -> None:
        color, marker, label = STYLE[kind]
        rows = [self.rows[i] for i in chosen]
        estimate = np.array([row.estimate for row in rows])
        reach = np.abs([[row.lower for row in rows], [row.upper for row in rows]] - estimate)
        ax.errorbar(
            estimate,
            places[chosen],
            xerr=reach,
            fmt=marker,
            color=color,
            capsize=3,
            lw=2,
            label=label,
        )


def _summary(name: str, draws: Array, level: float) -> Interval:
    density = Density.from_draws(draws, level)
    return Interval(name, density.mean, density.lower, density.upper)

"""A forest of segments: each alone, and pooled with the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skbayesiv._columns import treatment_position
from skbayesiv._data.checks import check_level
from skbayesiv._reports.coefficients import interval_reach
from skbayesiv._reports.experiment_chances import check_one_cost
from skbayesiv._reports.fitted import has_segments
from skbayesiv._typing import Array, is_whole
from skbayesiv.plotting._display import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    Display,
    legend_beside,
    percent,
    quiet,
)
from skbayesiv.plotting._fitted import FittedSegments
from skbayesiv.plotting._numbers import Interval, check_posterior, effect_draws, effect_label

OFFSET = 0.17  # of the two intervals of a segment from its row
ROOM = 0.15  # on both sides of the pooled intervals, by their reach


@dataclass(eq=False, repr=False)
class SegmentForestDisplay(Display):
    """Effects of segments, each by its own 2SLS and pooled, and the population that they share.

    Intervals of a segment's own that reach farther than the pooled ones are cut off by the axes.

    Parameters
    ----------
    pooled : tuple of Interval
        Posterior means with equal-tailed intervals, from the smallest effect to the largest.
    alone : tuple of Interval or None
        2SLS of the same segments; None of those that identify no effect of their own.
    population : Interval
        Posterior prediction for a new segment, at the mean of the segments' covariates.
    effect : float
        Posterior mean of the average effect over all compliers.
    level : float
        Probability of the intervals.
    label : str
    cost : float or None
        Drawn as a line.
    n_segments : int or None
        Of the fit, when not all are shown.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv import HierarchicalBayesianIV
    >>> from skbayesiv.datasets import make_noncompliance
    >>> from skbayesiv.plotting import SegmentForestDisplay
    >>> data = make_noncompliance(900, random_state=0)
    >>> country = np.repeat(["AT", "CH", "DE"], 300)
    >>> est = HierarchicalBayesianIV(check=False, random_state=0)
    >>> est = est.fit(data.X, data.t, data.y, z=data.z, segments=country)
    >>> display = SegmentForestDisplay.from_estimator(est)
    >>> sorted(row.name for row in display.pooled)
    ['AT', 'CH', 'DE']
    """

    pooled: tuple[Interval, ...]
    alone: tuple[Interval | None, ...]
    population: Interval
    effect: float
    level: float
    label: str = "effect"
    cost: float | None = None
    n_segments: int | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: FittedSegments,
        *,
        treatment: int | str = 0,
        cost: float | None = None,
        level: float = 0.94,
        max_segments: int = 40,
        ax: Any = None,
    ) -> Self:
        """Draw for a fitted estimator.

        Parameters
        ----------
        estimator : HierarchicalBayesianIV fitted with segments
        treatment : int or str, default=0
            Position or name, when there are several.
        cost : float, optional
            Of one unit of the treatment, in units of y.
        level : float, default=0.94
        max_segments : int, default=40
            Of more segments those with the most rows are shown.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        SegmentForestDisplay
        """
        check_posterior(estimator)
        check_level(level)
        cost = check_one_cost(cost)
        posterior = estimator.idata_.posterior
        if not has_segments(posterior):
            raise ValueError("estimator must be fitted with segments; got a fit of one experiment.")
        if not is_whole(max_segments) or max_segments < 1:
            raise ValueError(f"max_segments must be a positive whole number; got {max_segments!r}.")
        k = treatment_position(treatment, estimator.moments_.columns.treatments)
        draws = posterior["beta_t"].to_numpy()[..., k]
        draws = draws.reshape(-1, draws.shape[-1])
        rows = np.array([own.weight for own in estimator.segment_moments_.values()])
        shown = np.sort(np.argsort(-rows, kind="stable")[: int(max_segments)])
        shown = shown[np.argsort(draws[:, shown].mean(axis=0), kind="stable")]
        names = [str(estimator.segments_[g]) for g in shown]
        estimates, errors = (np.asarray(each)[shown, k] for each in estimator._model.two_stage())
        return cls(
            tuple(_tails(name, draws[:, g], level) for name, g in zip(names, shown, strict=True)),
            tuple(
                _normal(name, float(b), float(s), level)
                for name, b, s in zip(names, estimates, errors, strict=True)
            ),
            _tails("a new segment", predicted(posterior, k), level),
            float(effect_draws(estimator, k).mean()),
            level,
            effect_label(estimator, k),
            cost,
            len(rows) if len(shown) < len(rows) else None,
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
        n = len(self.pooled)
        ax = self._start(ax, (9.0, 1.9 + 0.32 * n))
        places = np.arange(n, dtype=float)
        band = f"a new segment, {percent(self.level)}"
        ax.axvspan(
            self.population.lower, self.population.upper, color=GREY, alpha=0.2, lw=0, label=band
        )
        average = f"compliers' average {self.effect:.3g}"
        ax.axvline(self.effect, color=GREEN, lw=1.5, label=average)
        if self.cost is not None:
            ax.axvline(self.cost, color=VERMILLION, ls="--", lw=1.5, label=f"cost {self.cost:.4g}")
        speaks = np.array([own is not None for own in self.alone])
        own = [row for row in self.alone if row is not None]
        _draw(ax, own, places[speaks] - OFFSET, "segment alone, 2SLS", color=ORANGE, fmt="s", lw=1)
        for kind, label, face in (
            (speaks, "pooled, posterior", BLUE),
            (~speaks, "pooled, no effect of its own", "none"),
        ):
            rows = [row for row, chosen in zip(self.pooled, kind, strict=True) if chosen]
            at = places[kind] + OFFSET * speaks[kind]
            _draw(ax, rows, at, label, color=BLUE, fmt="o", lw=2, mfc=face)
        ax.set_yticks(places, [row.name for row in self.pooled])
        ax.set_ylim(-0.7, n - 0.3)
        ax.set_xlim(*self._reach())
        ax.set_xlabel(self.label)
        ax.set_title(self._title())
        quiet(ax)
        legend_beside(ax)
        return self

    def _title(self) -> str:
        intervals = f"with {percent(self.level)} intervals"
        if self.n_segments is None:
            return f"Effects of segments {intervals}"
        most = f"the {len(self.pooled)} of {self.n_segments} segments with the most rows"
        return f"Effects {intervals}:\n{most}"

    def _reach(self) -> tuple[float, float]:
        """Ends of the axis: all of the pooled intervals, the population and the cost."""
        rows = [*self.pooled, self.population]
        ends = [end for row in rows for end in (row.lower, row.upper)]
        ends += [] if self.cost is None else [self.cost]
        room = ROOM * (max(ends) - min(ends))
        return min(ends) - room, max(ends) + room


def predicted(posterior: Any, treatment: int) -> Array:
    """Draws of the effect in a new segment, from the population."""
    mean, spread = (
        posterior[name].to_numpy()[..., treatment].ravel() for name in ("beta_t_bar", "sigma_t_bar")
    )
    noise = np.random.default_rng(0).standard_normal(len(mean))
    return np.asarray(mean + spread * noise)


def _tails(name: str, draws: Array, level: float) -> Interval:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(name, float(draws.mean()), float(low), float(high))


def _normal(name: str, estimate: float, error: float, level: float) -> Interval | None:
    if np.isnan(estimate):
        return None
    reach = float(interval_reach(np.inf, level) * error)
    return Interval(name, estimate, estimate - reach, estimate + reach)


def _draw(ax: Any, rows: list[Interval], places: Array, label: str, **style: Any) -> None:
    """Points with intervals, if there are any."""
    if not rows:
        return
    estimate = np.array([row.estimate for row in rows])
    reach = np.abs([[row.lower for row in rows], [row.upper for row in rows]] - estimate)
    ax.errorbar(estimate, places, xerr=reach, capsize=2, ms=5, label=label, **style)

"""How the effect's interval grows as the instrument may act on the outcome directly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from skbayesiv._reports.exclusion import exclusion_sensitivity
from skbayesiv.plotting._display import BLUE, Display, foreground, legend_beside, percent, quiet
from skbayesiv.plotting._fitted import FittedPosterior
from skbayesiv.plotting._numbers import check_posterior, effect_label

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["estimate", "lower", "upper"]


@dataclass(eq=False, repr=False)
class ExclusionSensitivityDisplay(Display):
    """Effect against the allowed size of the instrument's direct effect.

    Parameters
    ----------
    table : DataFrame
        Index: prior standard deviation of the direct effects. Columns estimate, lower and upper.
    level : float
        Probability of the intervals.
    label : str
    outcome : str
        In whose units the direct effect is.

    Examples
    --------
    >>> import pandas as pd
    >>> from skbayesiv.plotting import ExclusionSensitivityDisplay
    >>> table = pd.DataFrame(
    ...     {"estimate": [3.3, 3.3], "lower": [1.9, -0.3], "upper": [4.7, 6.9]}, index=[0.0, 1.0]
    ... )
    >>> ExclusionSensitivityDisplay.from_table(table, level=0.95).breakdown
    1.0
    """

    table: pd.DataFrame
    level: float
    label: str = "effect"
    outcome: str = "outcome"

    @property
    def breakdown(self) -> float | None:
        """Smallest scale in the table at which the interval holds zero, or None."""
        holds = (self.table["lower"] <= 0.0) & (self.table["upper"] >= 0.0)
        return float(self.table.index[holds].min()) if holds.any() else None

    @classmethod
    def from_estimator(
        cls,
        estimator: FittedPosterior,
        *,
        scales: Sequence[float] | None = None,
        treatment: int = 0,
        level: float = 0.95,
        ax: Any = None,
    ) -> Self:
        """Refit the estimator from its moments at each scale, and draw.

        The numbers are those of :func:`skbayesiv.exclusion_sensitivity`.

        Parameters
        ----------
        estimator : fitted BayesianIV or HierarchicalBayesianIV
        scales : sequence of float, optional
            Values of `exclusion_scale`, in units of the outcome per unit of the instrument. By
            default up to 0.6 times the largest effect of an instrument on the outcome.
        treatment : int, default=0
        level : float, default=0.95
            Of equal-tailed intervals.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        ExclusionSensitivityDisplay
        """
        check_posterior(estimator)
        result = exclusion_sensitivity(estimator, scales, level=level, treatment=treatment)
        label = effect_label(estimator, treatment)
        return cls.from_table(result.table, level=level, label=label, outcome=result.outcome, ax=ax)

    @classmethod
    def from_table(
        cls,
        table: Any,
        *,
        level: float,
        label: str = "effect",
        outcome: str = "outcome",
        ax: Any = None,
    ) -> Self:
        """Draw a table of numbers.

        Parameters
        ----------
        table : DataFrame
            Index, or column exclusion_scale: prior standard deviation of the direct effects.
            Columns estimate (or mean), lower and upper.
        level : float
            Probability of the intervals.
        label, outcome : str
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        ExclusionSensitivityDisplay
        """
        if "exclusion_scale" in table:
            table = table.set_index("exclusion_scale")
        table = table.rename(columns={"mean": "estimate"})
        missing = [name for name in COLUMNS if name not in table]
        if missing:
            raise ValueError(f"table must have columns {COLUMNS}; got {list(table.columns)}.")
        return cls(table[COLUMNS].sort_index(), level, label, outcome).plot(ax)

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
        scale = self.table.index.to_numpy(dtype=float)
        low, high = self.table["lower"], self.table["upper"]
        name = f"{percent(self.level)} interval"
        ax.fill_between(scale, low, high, color=BLUE, alpha=0.35, lw=0, label=name)
        ax.plot(scale, self.table["estimate"], color=BLUE, marker="o", label="posterior mean")
        ax.axhline(0.0, color=foreground(), ls="--", lw=1, label="no effect")
        ax.set_xlabel(f"prior sd of the instrument's direct effect on {self.outcome}")
        ax.set_ylabel(self.label)
        ax.set_title("If the instrument is not quite excluded")
        quiet(ax)
        legend_beside(ax)
        return self

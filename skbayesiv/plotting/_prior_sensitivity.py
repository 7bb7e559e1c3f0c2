"""How much the effect's posterior leans on each component of the prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skbayesiv._sampling.libraries import load_jax
from skbayesiv.plotting._display import BLUE, ORANGE, Display, foreground, legend_beside, quiet
from skbayesiv.plotting._fitted import FittedPosterior
from skbayesiv.plotting._numbers import check_one, effect_label

if TYPE_CHECKING:
    import pandas as pd

NAMES = {"total": "this experiment", "history": "earlier experiments"}


@dataclass(eq=False, repr=False)
class PriorSensitivityDisplay(Display):
    """Power-scaling sensitivity of the effect to each prior and to the likelihood.

    Each component of the prior, and the likelihood, is raised to a power near one; the bar is how
    far the effect's posterior then moves [1]_. It is ArviZ's `psense_summary`, one component at a
    time.

    Parameters
    ----------
    table : DataFrame
        Index: components. Columns kind (prior or likelihood) and sensitivity.
    label : str
    threshold : float, default=0.05
        Above it, a component matters.

    References
    ----------
    .. [1] Kallioinen, N., Paananen, T., Bürkner, P.-C. and Vehtari, A. (2024). Detecting and
       diagnosing prior and likelihood sensitivity with power-scaling. Statistics and Computing
       34, 57.

    Examples
    --------
    >>> from skbayesiv import BayesianIV
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.plotting import PriorSensitivityDisplay
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> est = BayesianIV(random_state=0).fit(X, t, y, z=z)
    >>> display = PriorSensitivityDisplay.from_estimator(est)
    >>> bool(display.table.loc["beta_t", "sensitivity"] < display.threshold)
    True
    """

    table: pd.DataFrame
    label: str = "effect"
    threshold: float = 0.05

    @classmethod
    def from_estimator(
        cls, estimator: FittedPosterior, *, treatment: int = 0, ax: Any = None
    ) -> Self:
        """Draw for a fitted estimator.

        Parameters
        ----------
        estimator : fitted BayesianIV or HierarchicalBayesianIV
        treatment : int, default=0
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        PriorSensitivityDisplay
        """
        import pandas as pd

        check_one(estimator, "The prior's sensitivity")
        if "log_prior" not in estimator.idata_.children:
            raise ValueError(
                "estimator must have densities of its prior; got one of several segments, whose "
                "prior the others decide."
            )
        rows = [
            (name, kind, _sensitivity(estimator.idata_, group, name, treatment))
            for kind, group in (("prior", "log_prior"), ("likelihood", "log_density"))
            for name in map(str, estimator.idata_[group].data_vars)
        ]
        table = pd.DataFrame(rows, columns=["component", "kind", "sensitivity"])
        label = effect_label(estimator, treatment)
        return cls(table.set_index("component"), label).plot(ax)

    @classmethod
    def from_table(cls, table: Any, *, label: str = "effect", ax: Any = None) -> Self:
        """Draw a table of numbers.

        Parameters
        ----------
        table : DataFrame
            As the parameter of the class.
        label : str
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        PriorSensitivityDisplay
        """
        return cls(table, label).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        self : object
        """
        ax = self._start(ax, (8.5, 1.6 + 0.36 * len(self.table)))
        places = np.arange(len(self.table))[::-1]
        for kind, color in (("prior", ORANGE), ("likelihood", BLUE)):
            chosen = (self.table["kind"] == kind).to_numpy()
            if chosen.any():
                values = self.table["sensitivity"][chosen]
                ax.barh(places[chosen], values, color=color, label=kind)
        ax.axvline(
            self.threshold,
            color=foreground(),
            ls="--",
            lw=1,
            label=f"matters above {self.threshold:g}",
        )
        ax.set_yticks(places, [NAMES.get(name, name) for name in self.table.index])
        ax.set_xlabel(f"sensitivity (power scaling) of the\n{self.label}")
        ax.set_title("What the posterior leans on")
        quiet(ax)
        legend_beside(ax)
        return self


def _sensitivity(tree: Any, group: str, name: str, treatment: int) -> float:
    load_jax()
    from arviz_stats.psense import psense

    if np.ptp(tree[group][name].to_numpy()) == 0.0:  # a flat component, such as LKJ(1)
        return 0.0
    found = psense(
        tree.assign(log_likelihood=tree["log_density"]),
        var_names=["beta_t"],
        group="prior" if group == "log_prior" else "likelihood",
        group_var_names=[name],
    )
    return float(np.ravel(found["beta_t"].to_numpy())[treatment])

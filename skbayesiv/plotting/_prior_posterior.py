"""Prior against posterior: what the data added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skbayesiv._typing import Array
from skbayesiv.plotting._display import BLUE, ORANGE, Display, quiet
from skbayesiv.plotting._fitted import FittedPosterior
from skbayesiv.plotting._numbers import Density, check_one

N_PRIOR = 20_000
LEVEL = 0.94
SHOWN = ("beta_t", "beta_z", "sigma", "corr")
GRID_POINTS = 201


@dataclass(frozen=True, eq=False)
class PriorPosterior:
    """Prior and posterior of one number.

    Attributes
    ----------
    name : str
    posterior : Density
    prior : ndarray of shape (M,)
        Draws.
    width_ratio : float
        Interquartile range of the prior over that of the posterior: 1 when the data say nothing.
    """

    name: str
    posterior: Density
    prior: Array
    width_ratio: float


@dataclass(eq=False, repr=False)
class PriorPosteriorDisplay(Display):
    """Prior and posterior of chosen variables, one panel for each number.

    The panels show where the posterior lies and some way around it; there a wide prior is flat.
    Each curve is scaled to its own peak in the panel, or a wide prior would not be seen.

    Parameters
    ----------
    panels : tuple of PriorPosterior

    Examples
    --------
    >>> from skbayesiv import BayesianIV
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.plotting import PriorPosteriorDisplay
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> est = BayesianIV(random_state=0).fit(X, t, y, z=z)
    >>> display = PriorPosteriorDisplay.from_estimator(est, ["beta_t", "sigma"])
    >>> [panel.name for panel in display.panels]
    ['beta_t[push_delivered]', 'sigma[in_app_purchase]', 'sigma[push_delivered]']
    >>> display.panels[0].width_ratio > 100
    True
    """

    panels: tuple[PriorPosterior, ...]

    @classmethod
    def from_estimator(
        cls,
        estimator: FittedPosterior,
        var_names: Sequence[str] | None = None,
        *,
        random_state: int = 0,
        ax: Any = None,
    ) -> Self:
        """Draw for a fitted estimator.

        Parameters
        ----------
        estimator : fitted BayesianIV or HierarchicalBayesianIV
            With a history, the prior of `beta_t` is what the history predicts, with
            `robust_weight` mixed with the vague prior.
        var_names : sequence of str, optional
            Variables of the posterior that have priors. By default `beta_t`, `beta_z`, `sigma`
            and `corr`, of these the ones that the likelihood has.
        random_state : int, default=0
            Seed of the prior's draws.
        ax : sequence of matplotlib.axes.Axes, optional
            One for each number.

        Returns
        -------
        PriorPosteriorDisplay
        """
        check_one(estimator, "The comparison with the prior")
        prior = estimator.sample_prior_predictive(n_draws=N_PRIOR, random_state=random_state)
        panels: list[PriorPosterior] = []
        for name in var_names or [name for name in SHOWN if name in prior["prior"]]:
            drawn = _prior_draws(prior["prior"], name)
            panels += _panels(name, estimator.idata_.posterior[name], drawn)
        return cls(tuple(panels)).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : sequence of matplotlib.axes.Axes, optional

        Returns
        -------
        self : object
        """
        n = len(self.panels)
        n_columns = 1 if ax is not None else min(n, 2)
        n_rows = -(-n // n_columns)
        axes = self._start_many(ax, n_rows, n_columns, (4.6 * n_columns, 0.8 + 2.3 * n_rows))
        for spare in axes[n:]:
            spare.remove()
        self.axes_ = axes = axes[:n]
        for axis, panel in zip(axes, self.panels, strict=True):
            _draw(axis, panel)
        handles, labels = axes[0].get_legend_handles_labels()
        if ax is None:
            self.figure_.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
        else:
            axes[0].legend(frameon=False)
        return self


def _prior_draws(prior: Any, name: str) -> Array:
    """Draws of shape (M, ...)."""
    if name not in prior:
        raise ValueError(f"var_names must be variables with priors {sorted(prior)}; got {name!r}.")
    draws = prior[name].to_numpy()
    return np.asarray(draws.reshape(-1, *draws.shape[2:]))


def _panels(name: str, posterior: Any, prior: Array) -> list[PriorPosterior]:
    """One panel for each entry; of a correlation matrix, those above its diagonal."""
    values = posterior.to_numpy()
    values = values.reshape(-1, *values.shape[2:])
    dims = posterior.dims[2:]
    entries = list(np.ndindex(values.shape[1:]))
    if name in {"corr", "cov"}:
        entries = [(d, e) for d, e in entries if d < e or (name == "cov" and d == e)]
    panels = []
    for entry in entries:
        where = ", ".join(
            str(posterior[dim].to_numpy()[i]) for dim, i in zip(dims, entry, strict=True)
        )
        drawn = values[(slice(None), *entry)]
        before = prior[(slice(None), *entry)]
        ratio = _iqr(before) / _iqr(drawn)
        density = Density.from_draws(drawn, LEVEL)
        label = f"{name}[{where}]" if where else name
        panels.append(PriorPosterior(label, density, before, ratio))
    return panels


def _iqr(draws: Array) -> float:
    low, high = np.quantile(draws, [0.25, 0.75])
    return float(high - low)


def _draw(ax: Any, panel: PriorPosterior) -> None:
    post = panel.posterior
    width = post.grid[-1] - post.grid[0]
    low, high = post.grid[0] - width, post.grid[-1] + width
    if panel.name.startswith("corr"):
        low, high = max(low, -1.0), min(high, 1.0)
    x = np.linspace(low, high, GRID_POINTS)
    before, after = _smooth(panel.prior, x), post.height / post.height.max()
    ax.plot(post.grid, after, color=BLUE, lw=2, label="posterior")
    ax.fill_between(post.grid, after, color=BLUE, alpha=0.35, lw=0)
    ax.plot(x, before / before.max(), color=ORANGE, lw=2, ls="--", label="prior")
    ax.set_xlim(low, high)
    ax.set_ylim(0, 1.08)
    ax.set_xlabel(panel.name)
    ax.set_ylabel("density / peak")
    ax.set_yticks([])
    ax.set_title(f"prior {panel.width_ratio:.3g} times as wide", fontsize="medium")
    quiet(ax)


def _smooth(draws: Array, x: Array) -> Array:
    """Normal kernel density at x; its width is from the quartiles, for priors with heavy tails."""
    bandwidth = 0.9 * _iqr(draws) / 1.34 * len(draws) ** -0.2
    distance = (x[:, None] - draws) / bandwidth
    return np.asarray(np.exp(-0.5 * distance**2).mean(axis=1))

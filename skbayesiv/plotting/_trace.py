"""Rank plots of the chains, or the draws of a single one, drawn by ArviZ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skbayesiv._sampling.libraries import load_jax
from skbayesiv.plotting._display import PALETTE, Display
from skbayesiv.plotting._fitted import FittedPosterior
from skbayesiv.plotting._numbers import check_posterior

if TYPE_CHECKING:
    import xarray as xr

RANKS = "Chains: densities, and ranks less their expectation"
DRAWS = "One chain: density, and draws in their order"
NOT_SHOWN = {"corr", "cov", "beta_j", "exchangeable"}


@dataclass(eq=False, repr=False)
class TraceDisplay(Display):
    """Density of each chain, and the ranks of its draws among all chains.

    When the chains agree, their densities coincide and the rank curves stay inside the envelope.
    Of a single chain there are the draws in their order instead: a band without trend or steps.

    Parameters
    ----------
    idata : DataTree
        With a posterior.
    var_names : tuple of str

    Attributes
    ----------
    collection_ : arviz_plots.PlotCollection
        What ArviZ drew.

    Examples
    --------
    >>> from skbayesiv import BayesianIV
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.plotting import TraceDisplay
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> est = BayesianIV(random_state=0).fit(X, t, y, z=z)
    >>> display = TraceDisplay.from_estimator(est, ["beta_t", "beta_z"])
    >>> len(display.axes_)
    4
    """

    idata: xr.DataTree
    var_names: tuple[str, ...]

    @classmethod
    def from_estimator(
        cls, estimator: FittedPosterior, var_names: Sequence[str] | None = None
    ) -> Self:
        """Draw the chains of a fitted estimator.

        Parameters
        ----------
        estimator : fitted BayesianIV or HierarchicalBayesianIV
        var_names : sequence of str, optional
            By default all but matrices and the earlier experiments' effects.

        Returns
        -------
        TraceDisplay
        """
        check_posterior(estimator)
        shown = [str(v) for v in estimator.idata_.posterior.data_vars if v not in NOT_SHOWN]
        return cls(estimator.idata_, tuple(var_names or shown)).plot()

    def plot(self) -> Self:
        """Draw on a new figure; ArviZ lays it out.

        Returns
        -------
        self : object
        """
        check_matplotlib_support("TraceDisplay")
        load_jax()
        import matplotlib as mpl
        from arviz_plots import plot_rank_dist, plot_trace_dist
        from cycler import cycler

        several = self.idata.posterior.sizes["chain"] > 1
        n_rows = sum(self.idata.posterior[name][0, 0].size for name in self.var_names)
        with mpl.rc_context({"axes.prop_cycle": cycler(color=PALETTE)}):
            self.collection_ = (plot_rank_dist if several else plot_trace_dist)(
                self.idata,
                var_names=list(self.var_names),
                compact=False,
                backend="matplotlib",
                visuals={"label": False},
                figure_kwargs={"figsize": (9.0, 0.8 + 1.5 * n_rows), "layout": "constrained"},
            )
        self.figure_ = self.collection_.viz["figure"].item()
        self.axes_ = tuple(self.figure_.axes)
        self.ax_ = self.axes_[0]
        for name in self.var_names:
            _name_rows(
                name, self.collection_.viz["plot"][name], self.idata.posterior[name].dims[2:]
            )
        for axis in self.axes_[:-1]:
            axis.set_xlabel("")
        self.figure_.suptitle(RANKS if several else DRAWS)
        return self


def _name_rows(name: str, axes: Any, dims: tuple[str, ...]) -> None:
    """Title the left axes of each row by variable and coordinates."""
    left = axes.sel(column="dist").transpose(*dims)
    for entry in np.ndindex(left.shape):
        where = ", ".join(str(left[dim].values[i]) for dim, i in zip(dims, entry, strict=True))
        title = f"{name}[{where}]" if where else name
        left.values[entry].set_title(title, fontsize="medium", loc="left")

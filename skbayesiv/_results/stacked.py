"""Posteriors of many experiments -> one tree, each written where it belongs as it comes."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbayesiv._models.history.draws import MAX_BETA_J
from skbayesiv._models.parts.names import DIMS, Coords
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._results.convergence import not_covered
from skbayesiv._results.tree import dataset
from skbayesiv._sampling.target import Draws
from skbayesiv._typing import Array, Values

EARLIER = "earlier_experiment"  # dimension of a template's history


class Stack:
    """Draws of at most `size` experiments; what is held is the result and no copy of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.names: list[str] = []
        self._coords: Coords = {}
        self._posterior: Values = {}
        self._stats: Values = {}

    def put(self, name: str, coords: Coords, draws: Draws, posterior: Posterior) -> None:
        """Write one experiment's draws."""
        shape = draws.position.shape[:2]
        values = {k: v.reshape(*shape, *v.shape[1:]) for k, v in posterior.values.items()}
        if not self.names:
            self._coords = coords
            self._posterior = self._room(values)
            self._stats = self._room(draws.stats)
        at = len(self.names)
        for room, new in ((self._posterior, values), (self._stats, draws.stats)):
            for key, whole in room.items():
                whole[at] = new[key]
        self.names.append(name)

    def _room(self, values: Values) -> Values:
        """Arrays for all experiments, which are first: each is written in one piece."""
        return {
            name: np.empty((self.size, *value.shape), value.dtype)
            for name, value in values.items()
            if name != "beta_j" or value.size * self.size <= MAX_BETA_J
        }

    @property
    def effects(self) -> Array:
        """Draws of the effects, shape (chains, draws, experiments, K)."""
        return self._written(self._posterior)["beta_t"]

    @property
    def suspect(self) -> Array:
        """Experiments with transitions that diverged or a proposal that is no cover, (J,)."""
        stats = self._written(self._stats)
        return np.logical_or(stats["diverging"].any((0, 1)), not_covered(stats))

    def tree(self) -> Any:
        """Groups posterior and sample_stats with a dimension experiment after chain and draw."""
        import xarray as xr

        coords = self._coords | {EARLIER: self._coords["experiment"], "experiment": self.names}
        groups = {"posterior": self._posterior, "sample_stats": self._stats}
        return xr.DataTree.from_dict(
            {
                name: dataset(self._written(values), _dims(values), coords)
                for name, values in groups.items()
            }
        )

    def _written(self, values: Values) -> Values:
        return {name: np.moveaxis(value[: len(self.names)], 0, 2) for name, value in values.items()}


def _dims(values: Values) -> dict[str, tuple[str, ...]]:
    """Dimensions of draws of many experiments; those of a history have a name of their own."""
    own = {name: DIMS.get(name, ()) for name in values}
    renamed = {
        name: tuple(EARLIER if dim == "experiment" else dim for dim in dims)
        for name, dims in own.items()
    }
    return {name: ("chain", "draw", "experiment", *dims) for name, dims in renamed.items()}

"""What a sampler is given and what it returns: the contract, which knows no sampler."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbayesiv._typing import Array

MAX_TREE_DEPTH = 10
PIECES = 20


@dataclass(frozen=True, eq=False)
class Target:
    """A log density of a small unconstrained vector.

    Attributes
    ----------
    log_density : callable (shape, u, arrays) -> scalar
        A module-level function, so that its compiled program can be found again.
    shape : hashable
        Everything static.
    arrays : pytree of arrays
        Everything that changes without recompiling.
    start, spread : ndarray of shape (dim,)
        A point in the bulk of the posterior and a rough standard deviation in each direction.
    """

    log_density: Callable[[Any, Any, Any], Any]
    shape: Hashable
    arrays: Any
    start: Array
    spread: Array


@dataclass(frozen=True)
class Settings:
    """How to sample."""

    draws: int
    tune: int
    chains: int
    target_accept: float
    seed: int

    def generator(self) -> np.random.Generator:
        """Random numbers for what is drawn exactly, given what was sampled."""
        return np.random.default_rng([self.seed, 1])


@dataclass(frozen=True, eq=False)
class Draws:
    """What a backend returns.

    Attributes
    ----------
    position : ndarray of shape (chains, draws, dim)
    stats : dict of str to ndarray of shape (chains, draws)
        ``diverging``, ``tree_depth``, ``n_steps``, ``acceptance_rate``, ``energy``, ``lp``,
        ``step_size``, in ArviZ's names.
    """

    position: Array
    stats: dict[str, Array]

    @property
    def flat(self) -> Array:
        """Positions of all chains, shape (chains * draws, dim)."""
        return self.position.reshape(-1, self.position.shape[-1])

    @property
    def flat_stats(self) -> dict[str, Array]:
        """Statistics of all chains, each of shape (chains * draws,)."""
        return {name: value.reshape(-1) for name, value in self.stats.items()}

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
    log_density : callable (shape, u, arrays, xp) -> scalar
        A module-level function, so that its compiled program can be found again. `xp` is
        `jax.numpy`, or NumPy, where u may have the shape (dim, N) for N values at once.
    shape : hashable
        Everything static.
    arrays : pytree of arrays
        Everything that changes without recompiling.
    start, spread : ndarray of shape (dim,)
        A point in the bulk of the posterior and a rough standard deviation in each direction.
    stacks : bool, default=False
        Whether `arrays` may have axes (J, 1) in front under NumPy, with u of shape (dim, J, N).
    placed : bool, default=False
        Whether `start` and `spread` are those of the mode and its curvature already.
    factors : tuple of Target, optional
        Where the coordinates come in independent parts, one after the other: a target of each.
    """

    log_density: Callable[[Any, Any, Any, Any], Any]
    shape: Hashable
    arrays: Any
    start: Array
    spread: Array
    stacks: bool = False
    placed: bool = False
    factors: tuple[Target, ...] = ()


def side_by_side(log_density: Callable[[Any, Any, Any, Any], Any], *factors: Target) -> Target:
    """The product of targets of the same shape and arrays, by its log density."""
    first = factors[0]
    return Target(
        log_density,
        first.shape,
        first.arrays,
        np.concatenate([factor.start for factor in factors]),
        np.concatenate([factor.spread for factor in factors]),
        factors=factors,
    )


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
        ``step_size`` or ``pareto_k``, in ArviZ's names.
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

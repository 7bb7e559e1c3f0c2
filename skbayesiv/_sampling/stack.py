"""Many targets of one kind evaluated at once, under NumPy."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbayesiv._sampling.target import Target
from skbayesiv._sampling.threads import one_blas_thread
from skbayesiv._typing import Array

CHUNK_FLOATS = 1 << 19


def kind(target: Target) -> Hashable:
    """What targets have in common that can be stacked."""
    shapes = tuple(np.shape(leaf) for leaf in _leaves(target.arrays))
    return target.log_density, target.shape, shapes, None if target.stacks else id(target)


def n_floats(target: Target) -> int:
    """Numbers in a target's arrays, with which the memory of an evaluation grows."""
    return sum(np.size(leaf) for leaf in _leaves(target.arrays))


@dataclass(frozen=True, eq=False)
class Stack:
    """J targets of one kind.

    Attributes
    ----------
    target : Target
        The first of them.
    arrays : pytree of arrays
        Of all, each with axes (J, 1) in front; for a target that does not stack, its own.
    """

    target: Target
    arrays: Any

    @classmethod
    def of(cls, targets: Sequence[Target]) -> Stack:
        """Stack targets of one kind."""
        first = targets[0]
        if not first.stacks:
            return cls(first, first.arrays)
        return cls(first, stacked([target.arrays for target in targets]))

    def take(self, at: NDArray[np.intp]) -> Stack:
        """Some of them."""
        if not self.target.stacks:
            return self
        return Stack(self.target, _map(lambda leaf: leaf[at], self.arrays))

    def log_density(self, x: Array) -> Array:
        """Log densities (J, n) at n points of each, shape (J, n, dim); -inf where there is none."""
        pieces = 1 + x.shape[0] * x.shape[1] * n_floats(self.target) // CHUNK_FLOATS
        parts = np.array_split(x, min(pieces, x.shape[1]), axis=1)
        with np.errstate(all="ignore"), one_blas_thread():
            value = np.concatenate([self._evaluate(part) for part in parts], axis=1)
        return np.where(np.isfinite(value), value, -np.inf)

    def _evaluate(self, x: Array) -> Array:
        u = np.ascontiguousarray(np.moveaxis(x, -1, 0))
        target = self.target
        if target.stacks:
            return np.asarray(target.log_density(target.shape, u, self.arrays, np))
        return np.asarray(target.log_density(target.shape, u[:, 0], self.arrays, np))[None]


def _leaves(arrays: Any) -> list[Any]:
    """Arrays of nested named tuples."""
    if isinstance(arrays, tuple):
        return [leaf for part in arrays for leaf in _leaves(part)]
    return [arrays]


def _map(change: Any, arrays: Any) -> Any:
    """Nested named tuples of changed arrays."""
    if isinstance(arrays, tuple):
        return type(arrays)(*(_map(change, part) for part in arrays))
    return change(arrays)


def stacked(all_arrays: Sequence[Any]) -> Any:
    """Nested named tuples with axes (J, 1) in front of each array."""
    first = all_arrays[0]
    if isinstance(first, tuple):
        return type(first)(*(stacked(list(parts)) for parts in zip(*all_arrays, strict=True)))
    return np.stack(all_arrays)[:, None]

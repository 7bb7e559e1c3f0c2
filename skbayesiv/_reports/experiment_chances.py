"""Posterior probabilities of an experiment's report, and the bounds that it asks them of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skbayesiv._typing import Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Chances:
    """Posterior probabilities of each effect; None where not asked for, or without a posterior.

    Attributes
    ----------
    positive, above_cost, in_rope : ndarray of shape (K,) or None
    """

    positive: Array | None = None
    above_cost: Array | None = None
    in_rope: Array | None = None

    @classmethod
    def from_draws(
        cls, draws: Array | None, cost: Array | None, rope: tuple[float, float] | None
    ) -> Chances:
        """Shares of the draws (N, K) above zero, above the costs (K,) and inside the region."""
        if draws is None:
            return cls()
        inside = None if rope is None else (draws > rope[0]) & (draws < rope[1])
        return cls(
            positive=(draws > 0.0).mean(axis=0),
            above_cost=None if cost is None else (draws > cost).mean(axis=0),
            in_rope=None if inside is None else inside.mean(axis=0),
        )

    def rows(self, treatments: tuple[str, ...]) -> Iterator[tuple[str, float]]:
        """Rows of the report's table: what is said of which treatment, if there are several."""
        named = {
            "P(effect > 0)": self.positive,
            "P(effect > cost)": self.above_cost,
            "P(effect in ROPE)": self.in_rope,
        }
        for name, values in named.items():
            if values is None:
                continue
            for treatment, value in zip(treatments, values, strict=True):
                yield (name if len(treatments) == 1 else f"{name}[{treatment}]"), float(value)


def number_or_array(values: Array | None) -> float | Array | None:
    """A number for one treatment, an array for several."""
    return float(values[0]) if values is not None and values.size == 1 else values


def check_rope(rope: float | tuple[float, float] | None) -> tuple[float, float] | None:
    """Ends of a region of practical equivalence."""
    if rope is None:
        return None
    values = _numbers(rope)
    if values is not None and values.shape == ():
        values = np.array([-1.0, 1.0]) * values
    if values is None or values.shape != (2,) or not values[0] < values[1]:
        raise ValueError(
            f"rope must be a positive number or (low, high) with low < high; got {rope!r}."
        )
    return float(values[0]), float(values[1])


def check_cost(cost: float | ArrayLike | None, n_treatments: int) -> Array | None:
    """Cost of each treatment, shape (K,)."""
    if cost is None:
        return None
    values = _numbers(cost)
    if values is None or values.shape not in {(), (n_treatments,)}:
        raise ValueError(
            f"cost must be a finite number or one per treatment ({n_treatments}); got {cost!r}."
        )
    return np.broadcast_to(values, (n_treatments,))


def check_one_cost(cost: float | None) -> float | None:
    """Cost of one treatment."""
    if cost is None:
        return None
    values = _numbers(cost)
    if values is None or values.shape != ():
        raise ValueError(f"cost must be a finite number; got {cost!r}.")
    return float(values)


def _numbers(value: Any) -> Array | None:
    """Finite numbers as an array, or None if they are not."""
    try:
        values = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return values if np.isfinite(values).all() else None

"""Sums of the numbers for each combination of levels -> sums with the levels' indicators.

An indicator is constant within a combination of the factors' levels. So an engine sums numbers and
their products alone, and what has an indicator is read off: its total is the weight of its level,
its product with a number is the number's total there, and its product with an indicator of another
factor is the weight of the pair. Indicators are summed about 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skbayesiv._data.frames.columns import UNSEEN
from skbayesiv._data.frames.plan import Layout, Plan
from skbayesiv._typing import Array


def number_layout(plan: Plan) -> Layout:
    """Places of the sums of a plan's numbers, without its indicators."""
    counts = len(plan.number_terms), len(plan.sources), len(plan.levels)
    return Layout(*counts, second=plan.residual is not None)


@dataclass(frozen=True, eq=False)
class Combinations:
    """Sums of N combinations of a group and one level of each factor.

    Attributes
    ----------
    sums : ndarray of shape (N, S)
        In the places of `number_layout`.
    group : ndarray of int of shape (N,)
    codes : sequence of F ndarrays of int of shape (N,)
        Each factor's level, MISSING or UNSEEN.
    n_groups : int
    """

    sums: Array
    group: NDArray[np.intp]
    codes: list[NDArray[np.intp]]
    n_groups: int

    def by_level(self, values: Array, factor: int, n_levels: int) -> Array:
        """Sum of some values (N,) for each group and level but the first, (G, L - 1)."""
        cell = self.group * n_levels + np.maximum(self.codes[factor], 0)
        found = np.bincount(cell, values, self.n_groups * n_levels)
        return found.reshape(self.n_groups, n_levels)[:, 1:]

    def by_pair(self, values: Array, factors: tuple[int, int], shape: tuple[int, int]) -> Array:
        """Sum of some values for each group and pair of levels, (G, (L - 1) (M - 1))."""
        first, second = (np.maximum(self.codes[factor], 0) for factor in factors)
        cell = (self.group * shape[0] + first) * shape[1] + second
        found = np.bincount(cell, values, self.n_groups * shape[0] * shape[1])
        return found.reshape(self.n_groups, *shape)[:, 1:, 1:].reshape(self.n_groups, -1)


def with_indicators(parts: Combinations, plan: Plan) -> Array:
    """Vectors of sums of all groups, shape (G, size), in the places of the plan's layout."""
    at, own = plan.layout, number_layout(plan)
    numbers = np.array(plan.number_terms, dtype=np.intp)
    vectors = np.tile(at.zeros(plan.shift), (parts.n_groups, 1))
    parts = _about_one_point(parts, vectors[:, at.shift][:, numbers], own)
    sums = np.zeros((parts.n_groups, own.size))
    np.add.at(sums, parts.group, parts.sums)
    counted = slice(0, at.unseen.start)
    vectors[:, counted] = sums[:, counted]
    vectors[parts.group[:, None], at.shift.start + numbers] = parts.sums[:, own.shift]
    vectors[:, at.total.start + numbers] = sums[:, own.total]
    i, j = own.triangle
    vectors[:, at.place[numbers[i], numbers[j]]] = sums[:, own.cross]
    _add_indicators(vectors, parts, plan)
    if own.second:
        again = at.again.start + np.append(0, 1 + numbers)
        vectors[:, again] = sums[:, own.again]
    return vectors


def _about_one_point(parts: Combinations, shift: Array, own: Layout) -> Combinations:
    """Take all sums of a group about one point.

    Keys that an engine tells apart, and summed about a point each, may be one to Python.
    """
    sums, used = parts.sums.copy(), parts.sums[:, own.weight] > 0.0
    shift[parts.group[used]] = sums[used, own.shift]
    apart = (shift[parts.group] != sums[:, own.shift]).any(axis=1)
    for i in np.flatnonzero(apart):
        sums[i] = own.about(sums[i], shift[parts.group[i]])
    return Combinations(sums, parts.group, parts.codes, parts.n_groups)


def _add_indicators(vectors: Array, parts: Combinations, plan: Plan) -> None:
    at, own = plan.layout, number_layout(plan)
    weight, totals = parts.sums[:, own.weight], parts.sums[:, own.total]
    rows = parts.sums[:, own.n_rows] + parts.sums[:, own.negative]
    where = [plan.indicators(name) for name in plan.levels]
    sizes = [len(levels) for levels in plan.levels.values()]
    for f, (own_place, size) in enumerate(zip(where, sizes, strict=True)):
        unseen = np.where(parts.codes[f] == UNSEEN, rows, 0.0)
        vectors[:, at.unseen.start + f] = np.bincount(parts.group, unseen, parts.n_groups)
        vectors[:, at.total.start + own_place] = parts.by_level(weight, f, size)
        vectors[:, at.place[own_place, own_place]] = parts.by_level(weight, f, size)
        if own.second:
            once = parts.by_level(parts.sums[:, own.again.start], f, size)
            vectors[:, at.again.start + 1 + own_place] = once
        for k, number in enumerate(plan.number_terms):
            vectors[:, at.place[own_place, number]] = parts.by_level(totals[:, k], f, size)
        for g in range(f):
            pairs = parts.by_pair(weight, (f, g), (size, sizes[g]))
            vectors[:, at.place[np.ix_(own_place, where[g])].ravel()] = pairs

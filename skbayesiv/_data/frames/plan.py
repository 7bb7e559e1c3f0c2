"""What one pass over a frame has to sum, and where each sum stands in a flat vector.

Every engine returns, for each group, one vector of sums. Vectors of disjoint rows add, so an
engine that can add numbers can merge them; :meth:`Plan.totals` gives the last one names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skbayesiv._columns import Columns
from skbayesiv._typing import Array

# Sums were taken far from a column's mean when less than this of its squares is scatter.
FAR = 1e-4

Tallies = dict[Any, Array]


class Totals(NamedTuple):
    """Sums of one group with their names: all that moments are, for C columns.

    `shift` (C,) is the point about which `total` (C,) and `cross` (C, C) are taken.
    """

    shift: Array
    weight: float
    n_rows: int
    total: Array
    cross: Array

    @property
    def far(self) -> NDArray[np.bool_]:
        """Whether a column's squares about its mean lose digits beside those that were taken."""
        square = np.diag(self.cross)
        with np.errstate(all="ignore"):  # an overflow shows in the sums
            return np.asarray((square - self.total**2 / self.weight < FAR * square) & (square > 0))


@dataclass(frozen=True)
class Term:
    """One column of the moments: a number, or the indicator of a factor's level."""

    source: str
    level: Any = None


@dataclass(frozen=True)
class Layout:
    """Places of the sums in a vector, for C columns, S sources and F factors.

    The vector holds the sum of weights, the number of rows with a positive weight, the number
    of negative weights, the missing values and the infinite values of each source, the unseen
    levels of each factor, the point that is taken off the columns, the sums of what is left, and
    the upper triangle of the sums of products of what is left. A `second` pass, whose weights are
    not those of the rows, also has the sum of these and the sums of what is left with these, which
    the first pass had too.
    """

    width: int
    n_sources: int
    n_factors: int
    second: bool = False

    weight = 0
    n_rows = 1
    negative = 2

    @cached_property
    def missing(self) -> slice:
        """Counts of missing values, one for each source."""
        return slice(3, 3 + self.n_sources)

    @cached_property
    def infinite(self) -> slice:
        """Counts of infinite values, one for each source."""
        return slice(self.missing.stop, self.missing.stop + self.n_sources)

    @cached_property
    def unseen(self) -> slice:
        """Counts of values outside the levels, one for each factor."""
        return slice(self.infinite.stop, self.infinite.stop + self.n_factors)

    @cached_property
    def shift(self) -> slice:
        """The point about which sums are taken."""
        return slice(self.unseen.stop, self.unseen.stop + self.width)

    @cached_property
    def total(self) -> slice:
        """Tallies of the shifted columns."""
        return slice(self.shift.stop, self.shift.stop + self.width)

    @cached_property
    def triangle(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns (i, j), i <= j, of the upper triangle."""
        return np.triu_indices(self.width)

    @cached_property
    def cross(self) -> slice:
        """Tallies of products of shifted columns (i, j), in the triangle's order."""
        return slice(self.total.stop, self.total.stop + self.width * (self.width + 1) // 2)

    @cached_property
    def place(self) -> NDArray[np.intp]:
        """Place in the vector of the products of each two columns, shape (C, C)."""
        places = np.empty((self.width, self.width), dtype=np.intp)
        i, j = self.triangle
        places[i, j] = places[j, i] = np.arange(self.cross.start, self.cross.stop)
        return places

    @cached_property
    def again(self) -> slice:
        """In a second pass: the sum of the rows' own weights, and of the columns with these."""
        return slice(self.cross.stop, self.cross.stop + (1 + self.width) * self.second)

    @cached_property
    def size(self) -> int:
        """Length of the vector."""
        return self.again.stop

    def zeros(self, shift: Array) -> Array:
        """Tallies over no rows."""
        vector = np.zeros(self.size)
        vector[self.shift] = shift
        return vector

    def about(self, vector: Array, shift: Array) -> Array:
        """The same sums about another point."""
        d = vector[self.shift] - shift
        if not d.any():
            return vector
        weight, total, (i, j) = vector[self.weight], vector[self.total], self.triangle
        moved = vector.copy()
        moved[self.shift] = shift
        moved[self.total] += weight * d
        moved[self.cross] += d[i] * total[j] + total[i] * d[j] + weight * d[i] * d[j]
        return moved

    def add(self, a: Array, b: Array) -> Array:
        """Tallies over the rows of both, about the point of the first that has a weight."""
        shift = (a if a[self.weight] else b)[self.shift]
        total = self.about(a, shift) + self.about(b, shift)
        total[self.shift] = shift
        return total


@dataclass(frozen=True, eq=False)
class Plan:
    """What to sum.

    Attributes
    ----------
    columns : Columns
        Names of the moments' columns, factors encoded.
    terms : tuple of Term
        One for each of the C columns.
    levels : mapping
        The levels of each factor; the first has no column.
    weight, by : str or None
        Names of the weight and of the group.
    floats : frozenset of str
        Sources in which NaN, too, means missing.
    drop : bool
        Drop rows with a missing value (else count them, which ends in an error).
    shift : ndarray of shape (C,)
        Point about which sums are taken; each group moves to a point of its own.
    residual : ndarray of shape (1 + C,) or None
        Intercept and coefficients, on the shifted columns, of a residual e. Rows then have the
        weight w e^2, and the sums are those of a covariance robust to heteroskedasticity.
    in_fit : bool
        Whether an estimator's `fit` named the columns, which does not drop rows.
    """

    columns: Columns
    terms: tuple[Term, ...]
    levels: Mapping[str, tuple[Any, ...]]
    weight: str | None
    by: str | None
    floats: frozenset[str]
    drop: bool
    shift: Array
    residual: Array | None = None
    in_fit: bool = False

    @property
    def argument(self) -> str:
        """What an error calls the frame."""
        return "X" if self.in_fit else "frame"

    @property
    def data(self) -> tuple[str, ...]:
        """Columns of the frame that become columns of the moments, each once."""
        return tuple(dict.fromkeys(term.source for term in self.terms))

    @property
    def sources(self) -> tuple[str, ...]:
        """All columns of the frame that are read."""
        extra = [name for name in (self.weight, self.by) if name is not None]
        return tuple(dict.fromkeys((*self.data, *extra)))

    @property
    def numbers(self) -> tuple[str, ...]:
        """Sources that must be finite numbers."""
        weight = [] if self.weight is None else [self.weight]
        names = [name for name in self.data if name not in self.levels]
        return tuple(dict.fromkeys((*names, *weight)))

    @cached_property
    def number_terms(self) -> tuple[int, ...]:
        """Positions of the terms that are no indicators."""
        return tuple(i for i, term in enumerate(self.terms) if term.level is None)

    def indicators(self, name: str) -> NDArray[np.intp]:
        """Positions of the indicators of a factor's levels, in their order."""
        return np.array([i for i, term in enumerate(self.terms) if term.source == name])

    @property
    def n_combinations(self) -> int:
        """Number of combinations of one level of each factor."""
        return math.prod(len(levels) for levels in self.levels.values())

    @cached_property
    def layout(self) -> Layout:
        """Places of the sums."""
        counts = len(self.terms), len(self.sources), len(self.levels)
        return Layout(*counts, second=self.residual is not None)

    def totals(self, vector: Array) -> Totals:
        """Sums of one group by name."""
        at, width = self.layout, len(self.terms)
        cross = np.zeros((width, width))
        cross[at.triangle] = vector[at.cross]
        cross += np.triu(cross, 1).T
        n_rows = round(float(vector[at.n_rows]))
        shift, total = vector[at.shift].copy(), vector[at.total].copy()
        return Totals(shift, float(vector[at.weight]), n_rows, total, cross)


def add_sums(parts: Iterable[Tallies], layout: Layout) -> Tallies:
    """Sum vectors group by group, in the order given."""
    merged: Tallies = {}
    with np.errstate(all="ignore"):  # an overflow shows in the sums
        for part in parts:
            for key, vector in part.items():
                merged[key] = layout.add(merged[key], vector) if key in merged else vector
    return merged

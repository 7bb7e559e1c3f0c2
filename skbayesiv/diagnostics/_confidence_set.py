"""Confidence sets that need not be intervals."""

from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Literal

from skbayesiv._typing import is_real

Kind = Literal["empty", "interval", "ray", "rays", "line", "union"]


@dataclass(frozen=True)
class ConfidenceSet:
    """Union of disjoint closed intervals of the real line.

    Attributes
    ----------
    intervals : tuple of (float, float)
        Lower and upper ends in increasing order; infinite ends stand for rays. Empty for the empty
        set.
    level : float
        Nominal coverage.

    Examples
    --------
    >>> from math import inf
    >>> from skbayesiv.diagnostics import ConfidenceSet
    >>> rays = ConfidenceSet(((-inf, -1.0), (2.0, inf)), level=0.95)
    >>> print(rays)
    (-inf, -1] ∪ [2, inf)
    >>> rays.kind, 0.0 in rays, 3.0 in rays
    ('rays', False, True)
    """

    intervals: tuple[tuple[float, float], ...]
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check that the intervals are ordered and disjoint."""
        if not isinstance(self.intervals, list | tuple) or any(
            not isinstance(ends, list | tuple) or len(ends) != 2 for ends in self.intervals
        ):
            raise ValueError(f"intervals must be pairs of numbers; got {self.intervals!r}.")
        ends = [end for interval in self.intervals for end in interval]
        ordered = all(lower <= upper for lower, upper in self.intervals)
        disjoint = all(left[1] < right[0] for left, right in pairwise(self.intervals))
        if not (ordered and disjoint):
            raise ValueError(f"intervals must be increasing and disjoint, got ends {ends}.")

    @property
    def kind(self) -> Kind:
        """Shape of the set.

        "empty", "interval" (bounded), "ray" (one), "rays" (two, the complement of a bounded
        interval), "line", or "union" (of more pieces).
        """
        if not self.intervals:
            return "empty"
        infinite_ends = int(self.intervals[0][0] == -inf) + int(self.intervals[-1][1] == inf)
        if len(self.intervals) == 1:
            return ("interval", "ray", "line")[infinite_ends]
        return "rays" if len(self.intervals) == 2 and infinite_ends == 2 else "union"

    @property
    def is_bounded(self) -> bool:
        """Whether the set has no infinite end."""
        return not self.intervals or (self.intervals[0][0] > -inf and self.intervals[-1][1] < inf)

    def contains(self, value: float) -> bool:
        """Whether the value lies in the set, ends included.

        Parameters
        ----------
        value : float
            Effect to look for.

        Returns
        -------
        bool
            True if some interval holds it.
        """
        if not is_real(value):
            raise TypeError(f"value must be a number; got {value!r}.")
        return any(lower <= value <= upper for lower, upper in self.intervals)

    def __contains__(self, value: float) -> bool:
        return self.contains(value)

    def __str__(self) -> str:
        if not self.intervals:
            return "empty set"
        return " ∪ ".join(_interval(lower, upper) for lower, upper in self.intervals)


def _interval(lower: float, upper: float) -> str:
    left = "(-inf" if lower == -inf else f"[{lower:.6g}"
    right = "inf)" if upper == inf else f"{upper:.6g}]"
    return f"{left}, {right}"

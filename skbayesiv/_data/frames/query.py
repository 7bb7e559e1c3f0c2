"""A plan and the source to run it on: the moments of a frame, in one pass or in two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skbayesiv._data.frames.missing import check_sums
from skbayesiv._data.frames.plan import Plan, Tallies
from skbayesiv._data.frames.sources import Source
from skbayesiv._data.moments import Moments
from skbayesiv._typing import Array


@dataclass(frozen=True, eq=False)
class Query:
    """What to sum, and where.

    Attributes
    ----------
    source : Source
    plan : Plan
    """

    source: Source
    plan: Plan

    @cached_property
    def _sums(self) -> Tallies:
        sums = self.source.tally(self.plan)
        check_sums(sums, self.plan, self.source)
        return sums

    def moments(self) -> Moments:
        """Moments of the rows, grouped or not."""
        if self.plan.by is None:
            return self.plan.moments(self._sums[None])
        return sum(self.groups().values(), Moments.empty(self.plan.columns))

    def groups(self) -> dict[Any, Moments]:
        """Moments of each group, in sorted order."""
        keys = self._sums.keys() - {None}
        return {key: self.plan.moments(self._sums[key]) for key in self._sorted(keys)}

    def residual_moments(self, origin: Array, coef: Array) -> Moments:
        """Moments with weights w e^2, where e = coef'(row - origin): a pass of its own."""
        residual = np.array([coef @ (self.plan.shift - origin), *coef])
        plan = replace(self.plan, by=None, residual=residual)
        return plan.moments(self.source.tally(plan)[None])

    def _sorted(self, keys: set[Any]) -> list[Any]:
        try:
            return sorted(keys)
        except TypeError as error:
            kinds = sorted({type(key).__name__ for key in keys})
            raise ValueError(
                f"by must hold groups of one type, which can be sorted; got column "
                f"{self.plan.by!r} with {' and '.join(kinds)}."
            ) from error

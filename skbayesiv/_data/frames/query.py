"""A plan and the source to run it on: the sums of a frame, in one pass or in two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from skbayesiv._columns import Columns
from skbayesiv._data.frames.missing import check_sums
from skbayesiv._data.frames.plan import Plan, Tallies, Totals
from skbayesiv._data.frames.planning import make_plan
from skbayesiv._data.frames.sources import Source, open_source
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

    @classmethod
    def open(
        cls,
        frame: Any,
        columns: Columns,
        *,
        sample_weight: str | None = None,
        by: str | None = None,
        missing: str = "raise",
        categories: Mapping[str, Sequence[Any]] | None = None,
    ) -> Query:
        """Plan a pass over the named columns of a frame; see :meth:`Moments.from_frame`."""
        if missing not in ("raise", "drop"):
            raise ValueError(f"missing must be 'raise' or 'drop'; got {missing!r}.")
        source = open_source(frame)
        drop = missing == "drop"
        return cls(
            source, make_plan(source, columns, sample_weight, by, drop=drop, categories=categories)
        )

    @cached_property
    def _sums(self) -> Tallies:
        sums = self.source.tally(self.plan)
        check_sums(sums, self.plan, self.source)
        return sums

    def totals(self) -> Totals:
        """Sums over the rows of a plan without groups."""
        return self.plan.totals(self._sums[None])

    def groups(self) -> dict[Any, Totals]:
        """Sums of each group, in sorted order."""
        keys = self._sums.keys() - {None}
        return {key: self.plan.totals(self._sums[key]) for key in self._sorted(keys)}

    def residual_totals(self, origin: Array, contrast: Array) -> Totals:
        """Sums with weights w e^2, e = contrast'(1, row - origin): a pass of its own."""
        residual = contrast.copy()
        residual[0] += contrast[1:] @ (self.plan.shift - origin)
        plan = replace(self.plan, by=None, residual=residual)
        return plan.totals(self.source.tally(plan)[None])

    def _sorted(self, keys: set[Any]) -> list[Any]:
        try:
            return sorted(keys)
        except TypeError as error:
            kinds = sorted({type(key).__name__ for key in keys})
            raise ValueError(
                f"by must hold groups of one type, which can be sorted; got column "
                f"{self.plan.by!r} with {' and '.join(kinds)}."
            ) from error

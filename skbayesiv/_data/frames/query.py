"""A plan and the source to run it on: the sums of a frame, in one pass or in two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._data.frames.missing import check_sums
from skbayesiv._data.frames.plan import Layout, Plan, Tallies, Totals
from skbayesiv._data.frames.planning import make_plan
from skbayesiv._data.frames.sources import Source, open_source
from skbayesiv._typing import Array

SAME = 1e-9  # sums that differ by less are of the same rows, added up in another order


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
        if not isinstance(missing, str) or missing not in ("raise", "drop"):
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
        if self.plan.by is None and self.plan.weight is not None:
            return self._about_the_mean(sums)
        return sums

    def _about_the_mean(self, sums: Tallies) -> Tallies:
        """The same sums, taken again if a row that outweighs the others lay far from the shift."""
        found, numbers = self.plan.totals(sums[None]), list(self.plan.number_terms)
        if not found.far[numbers].any():
            return sums
        shift = found.shift.copy()
        shift[numbers] += (found.total / found.weight)[numbers]
        return self.source.tally(replace(self.plan, shift=shift))

    def totals(self) -> Totals:
        """Sums over the rows of a plan without groups."""
        return self.plan.totals(self._sums[None])

    def groups(self) -> dict[Any, Totals]:
        """Sums of each group, in sorted order."""
        keys = self._sums.keys() - {None}
        return {key: self.plan.totals(self._sums[key]) for key in self._sorted(keys)}

    def residual_totals(self, contrast: Array) -> Totals:
        """Sums with weights w e^2, e = contrast'(1, row - shift): a pass of its own.

        The shift is that of :meth:`totals`.
        """
        plan = replace(self.plan, by=None, residual=contrast, shift=self.totals().shift)
        sums = self.source.tally(plan)
        check_sums(sums, plan, self.source)
        self._check_same_rows(sums[None], plan.layout)
        return plan.totals(sums[None])

    def _check_same_rows(self, again: Array, second: Layout) -> None:
        """Raise if rows came, went or changed since the pass for the moments."""
        first, at = self._sums[None], self.plan.layout
        weight, total = again[second.again][0], again[second.again][1:]
        i, j = at.triangle
        size = np.sqrt(np.maximum(first[at.cross][i == j], 0.0) * first[at.weight])
        same = (
            first[at.n_rows] == again[second.n_rows]
            and np.isclose(first[at.weight], weight, rtol=SAME)
            and (np.abs(first[at.total] - total) <= SAME * size).all()
        )
        if not same:
            raise ValueError(
                "X must have the same rows in every pass over it; got "
                f"{first[at.n_rows]:.0f} rows in the first pass and {again[second.n_rows]:.0f} in "
                "the second, or others. Write the query's result to a file or a table first."
            )

    def _sorted(self, keys: set[Any]) -> list[Any]:
        try:
            return sorted(keys)
        except TypeError as error:
            kinds = sorted({type(key).__name__ for key in keys})
            raise ValueError(
                f"by must hold groups of one type, which can be sorted; got column "
                f"{self.plan.by!r} with {' and '.join(kinds)}."
            ) from error

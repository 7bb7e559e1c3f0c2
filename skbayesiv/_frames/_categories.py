"""Factors: the levels of categorical covariates, found once and fixed for the whole pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw

from skbayesiv._frames._expressions import is_complete
from skbayesiv._frames._plan import Plan
from skbayesiv._frames._sources import Source
from skbayesiv._validation import Columns

MANY = 1000
SHOWN = 10

Levels = dict[str, tuple[Any, ...]]


def is_label(dtype: Any) -> bool:
    """Whether a column of this type is a factor."""
    return isinstance(dtype, nw.String | nw.Categorical | nw.Enum)


def check_given(categories: Mapping[str, Sequence[Any]] | None, columns: Columns) -> Levels:
    """Return the levels that the caller fixed, in the caller's order."""
    given = {} if categories is None else dict(categories)
    for name, levels in given.items():
        if name not in columns.covariates:
            raise ValueError(
                f"categories must name covariates: {list(columns.covariates)}; got {name!r}."
            )
        if isinstance(levels, str) or len(set(levels)) < len(levels):
            raise ValueError(f"categories[{name!r}] must list each level once; got {list(levels)}.")
    return {name: tuple(levels) for name, levels in given.items()}


def find_levels(
    source: Source, names: tuple[str, ...], complete: tuple[str, ...], floats: frozenset[str]
) -> Levels:
    """Sorted levels of the named columns, in the rows without a missing value in `complete`."""
    where = is_complete(complete, floats) if complete else None
    levels = {
        name: tuple(sorted(found)) for name, found in source.levels(names, where, complete).items()
    }
    for name, found in levels.items():
        if len(found) > MANY:
            raise ValueError(
                f"covariates must have at most {MANY} levels: column {name!r} has {len(found)}. "
                "If it is a category all the same, list its levels in categories."
            )
    return levels


def check_levels(name: str, levels: tuple[Any, ...]) -> tuple[Any, ...]:
    """Raise unless a factor can vary."""
    if len(levels) < 2:
        raise ValueError(
            f"covariates must vary: column {name!r} must have two levels; got {list(levels)}."
        )
    return levels


def unseen_levels(source: Source, name: str, plan: Plan) -> list[Any]:
    """Values of a factor that are none of its levels."""
    complete = plan.sources if plan.drop else ()
    where = is_complete(complete, plan.floats) if complete else None
    found = source.levels((name,), where, complete)[name]
    return sorted(found - set(plan.levels[name]))[:SHOWN]

"""Factors: the levels of categorical covariates, found once and fixed for the whole pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import date, datetime
from numbers import Real
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from skbayesiv._columns import Columns
from skbayesiv._data.frames.expressions import is_complete
from skbayesiv._data.frames.plan import Plan
from skbayesiv._data.frames.sources import MANY, Source

SHOWN = 10
KINDS: tuple[tuple[Any, type], ...] = (
    (nw.String | nw.Enum, str),
    (nw.Boolean, bool),
    (nw.Date, date),
    (nw.Datetime, datetime),
)

Levels = dict[str, tuple[Any, ...]]


def check_given(
    categories: Mapping[str, Sequence[Any]] | None, columns: Columns, schema: Mapping[str, Any]
) -> Levels:
    """Return the levels that the caller fixed, in the caller's order and the columns' types."""
    given = {} if categories is None else categories
    if not isinstance(given, Mapping):
        raise TypeError(
            "categories must be a mapping from covariates to their levels; got "
            f"{type(categories).__name__}."
        )
    for name, levels in given.items():
        if name not in columns.covariates:
            raise ValueError(
                f"categories must name covariates: {list(columns.covariates)}; got {name!r}."
            )
        if isinstance(levels, str) or not np.iterable(levels) or _repeats(list(levels)):
            shown = list(levels) if np.iterable(levels) and not isinstance(levels, str) else levels
            raise ValueError(f"categories[{name!r}] must list each level once; got {shown!r}.")
    return {
        name: tuple(_as_level(level, name, schema[name]) for level in levels)
        for name, levels in given.items()
    }


def _repeats(levels: list[Any]) -> bool:
    """Whether a value stands twice, or is no value but a collection."""
    return not all(isinstance(v, Hashable) for v in levels) or len(set(levels)) < len(levels)


def _as_level(level: Any, name: str, dtype: Any) -> Any:
    """A level as a value of the column's type, so that all engines compare it alike."""
    level = level.item() if isinstance(level, np.generic) else level
    if level is None or level != level:
        raise ValueError(f"categories[{name!r}] must not list a missing value; got {level!r}.")
    is_number = isinstance(level, Real) and not isinstance(level, bool)
    if is_number and dtype.is_float():
        return float(level)
    if is_number and dtype.is_integer() and level == int(level):
        return int(level)
    if isinstance(level, pd.Timestamp):
        level = level.to_pydatetime()
    kind = next((kind for own, kind in KINDS if isinstance(dtype, own)), type(level))
    if dtype.is_float() or dtype.is_integer() or type(level) is not kind:
        raise ValueError(
            f"categories[{name!r}] must list values that a column of type {dtype} can have; got "
            f"{level!r}."
        )
    return level


def used_rows(
    names: tuple[str, ...], floats: frozenset[str], weight: str | None, *, drop: bool
) -> tuple[nw.Expr | None, tuple[str, ...]]:
    """Condition that a row be complete, if others are dropped, and have a weight; its columns."""
    conditions = [is_complete(names, floats)] if drop else []
    read = names if drop else ()
    if weight is not None:
        conditions.append(nw.col(weight) > 0)
        read = tuple(dict.fromkeys((*read, weight)))
    return (nw.all_horizontal(*conditions, ignore_nulls=False) if conditions else None), read


def find_levels(
    source: Source, names: tuple[str, ...], where: nw.Expr | None, read: tuple[str, ...]
) -> Levels:
    """Sorted levels of the named columns, in the rows that meet a condition on those read."""
    found = source.levels(names, where, read)
    for name, levels in found.items():
        if len(levels) > MANY:
            raise ValueError(
                f"covariates must have at most {MANY} levels: column {name!r} has more. If it is "
                "a category all the same, list its levels in categories."
            )
    return {name: tuple(sorted(levels)) for name, levels in found.items()}


def check_levels(name: str, levels: tuple[Any, ...]) -> tuple[Any, ...]:
    """Raise unless a factor can vary."""
    if len(levels) < 2:
        raise ValueError(
            f"covariates must vary: column {name!r} must have two levels; got {list(levels)}."
        )
    return levels


def unseen_levels(source: Source, name: str, plan: Plan) -> list[Any]:
    """Values of a factor that are none of its levels."""
    where, read = used_rows(plan.sources, plan.floats, plan.weight, drop=plan.drop)
    found = source.levels((name,), where, read)[name]
    return sorted(found - set(plan.levels[name]))[:SHOWN]

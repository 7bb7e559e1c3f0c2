"""Names and a frame -> :class:`Plan`: roles checked, levels found, pilot mean taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skbayesiv._columns import Columns, unique_names
from skbayesiv._data.frames.categories import (
    check_given,
    check_levels,
    find_levels,
    used_rows,
)
from skbayesiv._data.frames.columns import numbers
from skbayesiv._data.frames.plan import Plan, Term
from skbayesiv._data.frames.sources import HEAD, Source
from skbayesiv._data.frames.streams import Frame
from skbayesiv._data.frames.types import is_label, is_number
from skbayesiv._typing import Array

ENOUGH = 64
SHOWN = 20


def make_plan(
    source: Source,
    columns: Columns,
    weight: str | None,
    by: str | None,
    *,
    drop: bool,
    categories: Mapping[str, Sequence[Any]] | None,
    in_fit: bool = False,
) -> Plan:
    """Plan a pass over the columns that arguments of `from_frame`, or of `fit`, name."""
    schema = source.schema
    check_names(schema, columns, weight, by)
    given = check_given(categories, columns, schema)
    read = tuple(dict.fromkeys((*columns.names, *(n for n in (weight, by) if n is not None))))
    floats = frozenset(name for name in read if schema[name].is_float())
    factors = tuple(n for n in columns.covariates if n in given or is_label(schema[n]))
    check_numeric(schema, columns, weight, factors, "y" if in_fit else "outcome")
    unknown = tuple(name for name in factors if name not in given)
    used = used_rows(read, floats, weight, drop=drop)
    found = find_levels(source, unknown, *used) if unknown else {}
    levels = {name: check_levels(name, (given | found)[name]) for name in factors}
    terms = tuple(term for name in columns.names for term in _terms(name, levels))
    shift = np.zeros(len(terms))
    encoded = _encoded(columns, levels)
    plan = Plan(encoded, terms, levels, weight, by, floats, drop, shift, in_fit=in_fit)
    return replace(plan, shift=_pilot_mean(source, plan))


def check_names(
    schema: Mapping[str, Any], columns: Columns, weight: str | None, by: str | None
) -> None:
    """Raise unless every name is a column and no column has two roles."""
    for role, names in _roles(columns, weight, by):
        for name in names:
            if name not in schema:
                known = list(schema)
                shown = f"{known[:SHOWN]}{' and more' if len(known) > SHOWN else ''}"
                raise ValueError(f"{role} must name columns of the frame: {shown}; got {name!r}.")
    for name in columns.names:
        roles = [role for role, names in _roles(columns, None, None) for n in names if n == name]
        if len(roles) > 1:
            raise ValueError(
                f"outcome, treatment, instruments and covariates must name different columns, "
                f"each once; got {name!r} as {' and '.join(roles)}."
            )


def check_numeric(
    schema: Mapping[str, Any],
    columns: Columns,
    weight: str | None,
    factors: tuple[str, ...],
    outcome: str,
) -> None:
    """Raise unless every column that is not a factor holds numbers or Booleans.

    `outcome` is the name of the argument that names the outcome.
    """
    for role, names in _roles(columns, weight, None, outcome):
        for name in names:
            dtype = schema[name]
            if not is_number(dtype) and name not in factors:
                allowed = "numeric, Boolean or categorical" if role == "covariates" else "numeric"
                raise ValueError(f"{role} must be {allowed}; got column {name!r} of type {dtype}.")


def _roles(
    columns: Columns, weight: str | None, by: str | None, outcome: str = "outcome"
) -> list[tuple[str, tuple[str, ...]]]:
    roles = [
        (outcome, (columns.outcome,)),
        ("treatment", columns.treatments),
        ("instruments", columns.instruments),
        ("covariates", columns.covariates),
    ]
    extra = (("sample_weight", weight), ("by", by))
    return roles + [(role, (name,)) for role, name in extra if name is not None]


def _terms(name: str, levels: Mapping[str, tuple[Any, ...]]) -> list[Term]:
    if name not in levels:
        return [Term(name)]
    return [Term(name, level) for level in levels[name][1:]]


def _encoded(columns: Columns, levels: Mapping[str, tuple[Any, ...]]) -> Columns:
    """Names of the moments' columns: ``column[level]`` for an indicator."""
    names = tuple(
        str(term.source) if term.level is None else f"{term.source}[{term.level}]"
        for name in columns.covariates
        for term in _terms(name, levels)
    )
    instruments, treatments = (
        tuple(map(str, names)) for names in (columns.instruments, columns.treatments)
    )
    return unique_names(Columns(names, instruments, treatments, str(columns.outcome)))


def _pilot_mean(source: Source, plan: Plan) -> Array:
    """Mean of the first rows of each number; 0 for an indicator.

    The rows averaged, m of the n in all, are among the data, so the pilot mean is at most
    sqrt(n/m) standard deviations from the mean, and the sums about it lose at most log10(n/m)
    digits, however odd the first rows are.
    """
    sought = [name for name in plan.data if name not in plan.levels]
    weight = [] if plan.weight is None else [plan.weight]
    means: dict[str, float] = {}
    where = None
    while sought:
        rows = source.head(tuple(dict.fromkeys((*sought, *weight))), where)
        found = {name: _usable(rows, name, plan) for name in sought}
        means |= {name: float(values.mean()) for name, values in found.items() if len(values)}
        few = [name for name, values in found.items() if len(values) < ENOUGH]
        if not few or len(rows) < HEAD or (where is not None and few == sought):
            break
        sought, where = few, _has_value(few, plan.weight)
    return np.array([means.get(term.source, 0.0) for term in plan.terms])


def _has_value(names: list[str], weight: str | None) -> nw.Expr:
    """Whether a row has a finite value in one of the columns, and a positive weight."""
    finite = (nw.col(name).cast(nw.Float64).is_finite() for name in names)
    has_value = nw.any_horizontal(*finite, ignore_nulls=True)
    return has_value if weight is None else has_value & (nw.col(weight) > 0)


def _usable(rows: Frame, name: str, plan: Plan) -> Array:
    """Finite values of a column in rows with a positive weight."""
    values = numbers(rows[name], plan.argument).astype(np.float64)
    usable = np.isfinite(values)
    if plan.weight is not None:
        usable &= numbers(rows[plan.weight], plan.argument) > 0
    return values[usable]


def named_columns(
    outcome: Any, treatment: Any, instruments: Any, covariates: Any, **others: Any
) -> Columns:
    """Columns by role; raise unless all, and `others` that are given, are named by strings."""
    columns = Columns(
        _names(covariates, "covariates"),
        _names(instruments, "instruments"),
        _names(treatment, "treatment"),
        _name(outcome, "outcome"),
    )
    for argument, name in others.items():
        if name is not None:
            _name(name, argument)
    return columns


def _names(names: Any, argument: str) -> tuple[str, ...]:
    if isinstance(names, str):
        return (names,)
    if not np.iterable(names):
        raise TypeError(f"{argument} must be a name of a column or some names; got {names!r}.")
    return tuple(_name(name, argument) for name in names)


def _name(name: Any, argument: str) -> str:
    if not isinstance(name, str):
        shown = type(name).__name__ if hasattr(name, "__len__") else repr(name)
        raise TypeError(f"{argument} must be the name of a column, a string; got {shown}.")
    return name

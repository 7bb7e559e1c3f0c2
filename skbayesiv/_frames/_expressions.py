"""Narrow tables in a query engine: the sums as one set of narwhals aggregations."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skbayesiv._frames._plan import Array, Plan, Sums, Term

WEIGHT, GROUP = "weight", "key"


def tally_expressions(frame: nw.LazyFrame[Any], plan: Plan) -> Sums:
    """Sums computed by the engine that holds the frame, in one query."""
    if plan.drop:
        frame = frame.filter(is_complete(plan.sources, plan.floats))
    rows = labels_as_text(frame, plan.sources).select(*_row_values(plan))
    sums = _aggregations(plan)
    if plan.by is None:
        return {None: _vector(collect(rows.select(*sums)), 0, plan)}
    groups = collect(rows.group_by(GROUP).agg(*sums))
    keys = groups[GROUP].to_list()
    return {key: _vector(groups, i, plan) for i, key in enumerate(keys)}


def collect(frame: nw.LazyFrame[Any]) -> nw.DataFrame[Any]:
    """Run a query; polars streams it, so that a file larger than memory passes."""
    if frame.implementation.is_polars():
        return frame.collect("polars", engine="streaming")
    return frame.collect()


def is_missing(name: str, floats: frozenset[str]) -> nw.Expr:
    """Whether a value is null or NaN."""
    null = nw.col(name).is_null()
    return null | nw.col(name).cast(nw.Float64).is_nan() if name in floats else null


def is_complete(names: tuple[str, ...], floats: frozenset[str]) -> nw.Expr:
    """Whether a row has no missing value in the named columns."""
    missing = (is_missing(name, floats) for name in names)
    return ~nw.any_horizontal(*missing, ignore_nulls=False)


def labels_as_text(frame: Any, names: tuple[str, ...]) -> Any:
    """Select columns, categories and enumerations as strings."""
    schema = frame.collect_schema()
    labels = (nw.Categorical, nw.Enum)
    return frame.select(
        *(
            nw.col(name).cast(nw.String) if isinstance(schema[name], labels) else nw.col(name)
            for name in names
        )
    )


def _row_values(plan: Plan) -> list[nw.Expr]:
    """Each row's shifted values ``x0, x1, ...``, its weight and group, and what is wrong."""
    values = [_shifted(term, plan, i).alias(f"x{i}") for i, term in enumerate(plan.terms)]
    if plan.weight is not None:
        values.append(nw.col(plan.weight).cast(nw.Float64).alias(WEIGHT))
    if plan.by is not None:
        values.append(nw.col(plan.by).alias(GROUP))
    for i, name in enumerate(plan.sources):
        missing = is_missing(name, plan.floats)
        values.append(_count(missing).alias(f"missing{i}"))
        if name in plan.floats and name in plan.numbers:
            finite = nw.col(name).cast(nw.Float64).is_finite()
            values.append(_count(~(finite | missing)).alias(f"infinite{i}"))
    for i, (name, levels) in enumerate(plan.levels.items()):
        values.append(_count(~nw.col(name).is_in(list(levels))).alias(f"unseen{i}"))
    return values


def _shifted(term: Term, plan: Plan, i: int) -> nw.Expr:
    column = nw.col(term.source)
    value = column if term.level is None else column == term.level
    return value.cast(nw.Float64) - float(plan.shift[i])


def _count(flag: nw.Expr) -> nw.Expr:
    return flag.cast(nw.Int64)


def _aggregations(plan: Plan) -> list[nw.Expr]:
    """Sums named after their place in the vector: ``s0, s1, ...``."""
    at = plan.layout
    weight = None if plan.weight is None else nw.col(WEIGHT)
    sums = {
        at.weight: nw.len() if weight is None else weight.sum(),
        at.n_rows: nw.len() if weight is None else _count(weight > 0).sum(),
    }
    if weight is not None:
        sums[at.negative] = _count(weight < 0).sum()
    for i, name in enumerate(plan.sources):
        sums[at.missing.start + i] = nw.col(f"missing{i}").sum()
        if name in plan.floats and name in plan.numbers:
            sums[at.infinite.start + i] = nw.col(f"infinite{i}").sum()
    for i in range(len(plan.levels)):
        sums[at.unseen.start + i] = nw.col(f"unseen{i}").sum()
    cross = at.cross.start
    for i in range(len(plan.terms)):
        one = nw.col(f"x{i}") if weight is None else weight * nw.col(f"x{i}")
        sums[at.total.start + i] = one.sum()
        for j in range(i, len(plan.terms)):
            sums[cross] = (one * nw.col(f"x{j}")).sum()
            cross += 1
    return [value.alias(f"s{place}") for place, value in sums.items()]


def _vector(sums: nw.DataFrame[Any], row: int, plan: Plan) -> Array:
    vector = np.zeros(plan.layout.size)
    for name in sums.columns:
        if name != GROUP:
            value = sums[name][row]
            vector[int(name[1:])] = 0.0 if value is None else float(value)
    return vector

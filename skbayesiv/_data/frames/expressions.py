"""Narrow tables in a query engine: the sums as one set of narwhals aggregations."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skbayesiv._data.frames.columns import factorise, numbers
from skbayesiv._data.frames.plan import Layout, Plan, Tallies, Term, add_sums
from skbayesiv._typing import Array

WEIGHT, GROUP = "weight", "key"
# A group is far from the plan's shift when less than FAR of its sum of squares is scatter, and
# without spread when no more than rounding is.
FAR, ROUNDING = 1e-4, 1e-13


def tally_expressions(frame: nw.LazyFrame[Any], plan: Plan) -> Tallies:
    """Tallies computed by the engine that holds the frame, in one query.

    If there are groups far from the others, they are summed again about their own means.
    """
    if plan.drop:
        frame = frame.filter(is_complete(plan.sources, plan.floats))
    rows = labels_as_text(frame, plan.sources).select(*_row_values(plan))
    if plan.residual is not None:
        rows = rows.with_columns(_residual_weight(plan).alias(WEIGHT))
    if plan.by is None:
        return {None: _vectors(collect(rows.select(*_aggregations(plan))), plan)[0]}
    sums = _by_group(rows, plan)
    far = {key for key, vector in sums.items() if _is_far(vector, plan.layout)}
    if far:
        again = _by_group(_about_own_means(rows, plan), plan, own_means=True)
        sums |= {key: again[key] for key in far}
    return sums


def _by_group(rows: nw.LazyFrame[Any], plan: Plan, *, own_means: bool = False) -> Tallies:
    """Tallies of each group; keys that are the same once they are Python objects are added."""
    groups = collect(rows.group_by(GROUP).agg(*_aggregations(plan, own_means=own_means)))
    codes, keys = factorise(groups[GROUP].alias(plan.by or GROUP))
    names = [*keys, None]
    pairs = zip(codes, _vectors(groups, plan), strict=True)
    return add_sums(({names[code]: vector} for code, vector in pairs), plan.layout)


def _is_far(vector: Array, at: Layout) -> bool:
    weight = vector[at.weight]
    if not weight > 0.0:
        return False
    i, j = at.triangle
    square = vector[at.cross][i == j]
    with np.errstate(all="ignore"):  # an overflow shows in the sums
        scatter = square - vector[at.total] ** 2 / weight
    return bool(((scatter < FAR * square) & (scatter > ROUNDING * square)).any())


def _about_own_means(rows: nw.LazyFrame[Any], plan: Plan) -> nw.LazyFrame[Any]:
    """Take the mean of its group, ``m0, m1, ...``, off each row's values."""
    places = range(len(plan.terms))
    weight = nw.lit(1.0) if plan.weight is None else nw.col(WEIGHT)
    n = nw.len() if plan.weight is None else weight.sum()
    own = [((weight * nw.col(f"x{i}")).sum() / n).alias(f"m{i}") for i in places]
    means = rows.group_by(GROUP).agg(*own)
    if means.implementation.is_polars():  # or polars would keep the rows for the second use
        means = collect(means).lazy()
    joined = rows.join(means, on=GROUP)
    return joined.with_columns(*(nw.col(f"x{i}") - nw.col(f"m{i}") for i in places))


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
        unseen = ~nw.col(name).is_in(list(levels))
        if plan.weight is not None:
            unseen = unseen & (nw.col(plan.weight) != 0)
        values.append(_count(unseen).alias(f"unseen{i}"))
    return values


def _shifted(term: Term, plan: Plan, i: int) -> nw.Expr:
    column = nw.col(term.source)
    value = column if term.level is None else column == term.level
    return value.cast(nw.Float64) - float(plan.shift[i])


def _count(flag: nw.Expr) -> nw.Expr:
    return flag.cast(nw.Int64)


def _residual_weight(plan: Plan) -> nw.Expr:
    """Each row's weight times its squared residual."""
    assert plan.residual is not None
    constant, *coef = map(float, plan.residual)
    residual = nw.lit(constant)
    for i, slope in enumerate(coef):
        residual = residual + slope * nw.col(f"x{i}")
    square = residual * residual
    return square if plan.weight is None else nw.col(WEIGHT) * square


def _aggregations(plan: Plan, *, own_means: bool = False) -> list[nw.Expr]:
    """Tallies named after their place in the vector: ``s0, s1, ...``."""
    at = plan.layout
    has_weight = plan.weight is not None or plan.residual is not None
    weight = nw.col(WEIGHT) if has_weight else None
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
    if own_means:
        sums |= {at.shift.start + i: nw.col(f"m{i}").min() for i in range(len(plan.terms))}
    cross = at.cross.start
    for i in range(len(plan.terms)):
        one = nw.col(f"x{i}") if weight is None else weight * nw.col(f"x{i}")
        sums[at.total.start + i] = one.sum()
        for j in range(i, len(plan.terms)):
            sums[cross] = (one * nw.col(f"x{j}")).sum()
            cross += 1
    return [value.alias(f"s{place}") for place, value in sums.items()]


def _vectors(sums: nw.DataFrame[Any], plan: Plan) -> Array:
    """Vector of each row of aggregations; a sum over no rows is null, and 0."""
    vectors = np.tile(plan.layout.zeros(plan.shift), (len(sums), 1))
    for name in sums.columns:
        if name != GROUP:
            values = numbers(sums[name]).astype(np.float64)
            vectors[:, int(name[1:])] += np.where(np.isnan(values), 0.0, values)
    return vectors

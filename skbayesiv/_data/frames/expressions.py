"""Tables in a query engine: the sums as one set of narwhals aggregations.

Only numbers are aggregated, by combination of the factors' levels; see :mod:`by_level`.
"""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skbayesiv._data.frames.by_level import Combinations, number_layout, with_indicators
from skbayesiv._data.frames.columns import MISSING, factorise, level_codes, numbers
from skbayesiv._data.frames.plan import FAR, Plan, Tallies
from skbayesiv._typing import Array

WEIGHT, OWN, GROUP = "weight", "own", "key"
ROUNDING = 1e-13  # of its sum of squares: a column with no more scatter has no spread


def tally_expressions(frame: nw.LazyFrame[Any], plan: Plan) -> Tallies:
    """Tallies computed by the engine that holds the frame, in one query.

    If there are groups far from the others, they are summed again about their own means.
    """
    if plan.drop:
        frame = frame.filter(is_complete(plan.sources, plan.floats))
    rows = labels_as_text(frame, plan.sources).select(*_row_values(plan))
    if plan.residual is not None:
        own = nw.lit(1.0) if plan.weight is None else nw.col(WEIGHT)
        rows = rows.with_columns(own.alias(OWN), _residual_weight(plan).alias(WEIGHT))
    sums = _tally(rows, plan)
    if plan.by is None:
        return sums
    far = {key for key, vector in sums.items() if key is not None and _is_far(vector, plan)}
    if far:
        again = _tally(_about_own_means(rows, plan), plan, own_means=True)
        sums |= {key: again[key] for key in far}
    return sums


def _tally(rows: nw.LazyFrame[Any], plan: Plan, *, own_means: bool = False) -> Tallies:
    """Tallies of each group, from the numbers' sums for each combination of levels in it."""
    keys = [] if plan.by is None else [GROUP]
    keys += [_level(i) for i in range(len(plan.levels))]
    sums = _aggregations(plan, own_means=own_means)
    found = collect(rows.group_by(*keys).agg(*sums) if keys else rows.select(*sums))
    names: list[Any] = [None]
    group = np.zeros(len(found), dtype=np.intp)
    if plan.by is not None:
        group, names = factorise(found[GROUP].alias(plan.by))
        if (group == MISSING).any():
            names = [*names, None]
            group = np.where(group == MISSING, len(names) - 1, group)
    codes = [
        level_codes(found[_level(i)].alias(name), levels)
        for i, (name, levels) in enumerate(plan.levels.items())
    ]
    parts = Combinations(_vectors(found, plan), group, codes, len(names))
    return dict(zip(names, with_indicators(parts, plan), strict=True))


def _is_far(vector: Array, plan: Plan) -> bool:
    at, numbers = plan.layout, np.array(plan.number_terms, dtype=np.intp)
    weight = vector[at.weight]
    if not weight > 0.0:
        return False
    square, total = vector[at.place[numbers, numbers]], vector[at.total][numbers]
    with np.errstate(all="ignore"):  # an overflow shows in the sums
        scatter = square - total**2 / weight
    return bool(((scatter < FAR * square) & (scatter > ROUNDING * square)).any())


def _about_own_means(rows: nw.LazyFrame[Any], plan: Plan) -> nw.LazyFrame[Any]:
    """Take the mean of its group, ``m0, m1, ...``, off each row's numbers."""
    places = range(len(plan.number_terms))
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
    """Each row's shifted numbers ``x0, x1, ...``, levels, weight and group, and what is wrong."""
    values = [_shifted(plan, at).alias(f"x{i}") for i, at in enumerate(plan.number_terms)]
    values += [nw.col(name).alias(_level(i)) for i, name in enumerate(plan.levels)]
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
    return values


def _level(i: int) -> str:
    """Name of the column of a factor's levels."""
    return f"level{i}"


def _shifted(plan: Plan, at: int) -> nw.Expr:
    return nw.col(plan.terms[at].source).cast(nw.Float64) - float(plan.shift[at])


def _count(flag: nw.Expr) -> nw.Expr:
    return flag.cast(nw.Int64)


def _residual_weight(plan: Plan) -> nw.Expr:
    """Each row's weight times its squared residual."""
    assert plan.residual is not None
    residual, *coef = map(float, plan.residual)
    value = nw.lit(residual)
    for i, at in enumerate(plan.number_terms):
        value = value + coef[at] * nw.col(f"x{i}")
    for i, (name, levels) in enumerate(plan.levels.items()):
        own = [0.0, *(coef[at] for at in plan.indicators(name))]
        value = value + nw.col(_level(i)).replace_strict(
            list(levels), own, default=0.0, return_dtype=nw.Float64
        )
    square = value * value
    return square if plan.weight is None else nw.col(WEIGHT) * square


def _aggregations(plan: Plan, *, own_means: bool = False) -> list[nw.Expr]:
    """Tallies named after their place in the vector: ``s0, s1, ...``."""
    at, places = number_layout(plan), range(len(plan.number_terms))
    has_weight = plan.weight is not None or plan.residual is not None
    weight = nw.col(WEIGHT) if has_weight else None
    sums = {
        at.weight: nw.len() if weight is None else weight.sum(),
        at.n_rows: nw.len() if weight is None else _count(weight > 0).sum(),
    }
    if weight is not None:
        sums[at.negative] = _count(weight < 0).sum()
    if at.second:
        own = nw.col(OWN)
        sums |= {at.n_rows: _count(own > 0).sum(), at.again.start: own.sum()}
        sums |= {at.again.start + 1 + i: (own * nw.col(f"x{i}")).sum() for i in places}
    for i, name in enumerate(plan.sources):
        sums[at.missing.start + i] = nw.col(f"missing{i}").sum()
        if name in plan.floats and name in plan.numbers:
            sums[at.infinite.start + i] = nw.col(f"infinite{i}").sum()
    if own_means:
        sums |= {at.shift.start + i: nw.col(f"m{i}").min() for i in places}
    cross = at.cross.start
    for i in places:
        one = nw.col(f"x{i}") if weight is None else weight * nw.col(f"x{i}")
        sums[at.total.start + i] = one.sum()
        for j in places[i:]:
            sums[cross] = (one * nw.col(f"x{j}")).sum()
            cross += 1
    return [value.alias(f"s{place}") for place, value in sums.items()]


def _vectors(found: nw.DataFrame[Any], plan: Plan) -> Array:
    """Vector of each row of aggregations; a sum over no rows is null, and 0."""
    at, shift = number_layout(plan), plan.shift[list(plan.number_terms)]
    vectors = np.tile(at.zeros(shift), (len(found), 1))
    for place in range(at.size):
        if (name := f"s{place}") in found.columns:
            values = numbers(found[name]).astype(np.float64)
            vectors[:, place] += np.where(np.isnan(values), 0.0, values)
    return vectors

"""What a pass found wrong with the data -> an error that names the columns."""

from __future__ import annotations

import numpy as np

from skbayesiv._data.frames.categories import unseen_levels
from skbayesiv._data.frames.plan import Plan, Tallies
from skbayesiv._data.frames.sources import Source
from skbayesiv._typing import Array

DROP = "missing='drop' leaves out the rows with either."
IN_FIT = (
    "Leave out such rows before the fit, or pass the sums of the others: "
    "est.fit_moments(Moments.from_frame(frame, ..., missing='drop'))."
)


def check_sums(sums: Tallies, plan: Plan, source: Source) -> None:
    """Raise if a value was missing, infinite, negative as a weight, or of an unseen level."""
    at = plan.layout
    total = np.sum(list(sums.values()), axis=0) if sums else np.zeros(at.size)
    if missing := _named(total[at.missing], plan):
        raise ValueError(
            f"{plan.argument} must not have missing values (null or NaN); got {missing}. "
            f"{IN_FIT if plan.in_fit else DROP}"
        )
    if infinite := _named(total[at.infinite], plan):
        raise ValueError(f"{plan.argument} must be finite; got infinite values: {infinite}.")
    for name, count in zip(plan.levels, total[at.unseen], strict=True):
        if count:
            raise ValueError(
                f"{plan.argument} column {name!r} must have the levels {list(plan.levels[name])}; "
                f"got {unseen_levels(source, name, plan)} in {count:.0f} rows."
            )
    _check_weights(total, plan)
    _check_overflow(sums, plan)
    if plan.drop and not total[at.n_rows] and len(source.head(plan.sources)):
        raise ValueError("missing='drop' must leave some rows; every row has a missing value.")


def _check_overflow(sums: Tallies, plan: Plan) -> None:
    """Raise if a column's squares are too large for double precision."""
    at = plan.layout
    i, j = at.triangle
    for vector in sums.values():
        with np.errstate(over="ignore"):
            square = vector[at.cross][i == j] + vector[at.total] ** 2
        if not np.isfinite(square).all():
            names = [plan.columns.names[k] for k in np.flatnonzero(~np.isfinite(square))]
            raise ValueError(
                f"{plan.argument} must have squares below {np.finfo(float).max:.0e}; got too "
                f"large values in {', '.join(map(repr, names))}."
            )


def _check_weights(total: Array, plan: Plan) -> None:
    at = plan.layout
    if total[at.negative]:
        raise ValueError(
            f"sample_weight must not be negative; got {total[at.negative]:.0f} negative values in "
            f"column {plan.weight!r}."
        )
    if plan.weight is not None and not total[at.n_rows]:
        where = " in rows without missing values" if plan.drop else ""
        raise ValueError(
            f"sample_weight must have a positive entry; got none in column {plan.weight!r}{where}."
        )


def _named(counts: Array, plan: Plan) -> str:
    """The counts that are not zero, with the names of their columns."""
    pairs = zip(plan.sources, counts, strict=True)
    return ", ".join(f"{count:.0f} in {name!r}" for name, count in pairs if count)

"""Whose effect an estimate is, as reports say it."""

from __future__ import annotations

from collections.abc import Iterator

from skbayesiv._linear.equation import Equation
from skbayesiv._reports.compliance import Compliance, assignment_by_moments
from skbayesiv.diagnostics import WhoseEffect
from skbayesiv.diagnostics._effect_weighting import WEIGHTS
from skbayesiv.diagnostics._row_design import RowDesign
from skbayesiv.diagnostics._whose_effect import RENAMES, SIZE, whose_effect_of_rows

UNKNOWN = (
    f"Assignment depends on the covariates: the estimate is a mean of the effects given x, "
    f"weighted by {WEIGHTS}. What the effect on compliers is needs rows: pass X, t, y and z."
)


def whose_effect_or_none(rows: Equation, *, level: float) -> WhoseEffect | None:
    """What rows say of whose effect it is; None without rows."""
    if rows.rows is None:
        return None
    design = RowDesign.of(rows.rows, fit_intercept=rows.fit_intercept)
    return whose_effect_of_rows(design, level=level)


def weighed(found: Compliance, rows: Equation, whose: WhoseEffect | None) -> Compliance:
    """Compliance with a statement of what the estimate is an average of."""
    if whose is not None:
        return found.weighted_by(whose.why_weighted) if whose.why_weighted else found
    if found.compliers and assignment_by_moments(rows) < SIZE * RENAMES:
        return found.weighted_by(UNKNOWN)
    return found


def tested(whose: WhoseEffect | None) -> Iterator[str]:
    """What tests found beside the weights."""
    if whose is None:
        return
    if whose.validity is not None and not whose.validity.p_value < whose.size:
        yield (
            "Exclusion, random assignment and monotonicity hold as far as the Kitagawa test sees "
            f"(p = {whose.validity.p_value:.2g})."
        )
    yield from whose.advice


def not_computed(whose: WhoseEffect | None) -> Iterator[str]:
    """What could not be, and why."""
    if whose is None:
        return
    for name, why in whose.failed.items():
        yield f"Not computed, {name}: {why}"

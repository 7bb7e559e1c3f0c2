"""Moments of any data frame, computed in one pass by the engine that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skbayesiv._frames._missing import check_sums
from skbayesiv._frames._planning import make_plan
from skbayesiv._frames._sources import open_source
from skbayesiv._moments import Moments
from skbayesiv._validation import Columns


def moments_from_frame(
    frame: Any,
    *,
    outcome: str,
    treatment: str | Iterable[str] = (),
    instruments: str | Iterable[str] = (),
    covariates: str | Iterable[str] = (),
    sample_weight: str | None = None,
    by: str | None = None,
    missing: str = "raise",
    categories: Mapping[str, Sequence[Any]] | None = None,
) -> Moments | dict[Any, Moments]:
    """Moments of a frame, or of each of its groups; see :meth:`Moments.from_frame`."""
    if missing not in ("raise", "drop"):
        raise ValueError(f"missing must be 'raise' or 'drop'; got {missing!r}.")
    columns = Columns(_names(covariates), _names(instruments), _names(treatment), outcome)
    source = open_source(frame)
    plan = make_plan(
        source, columns, sample_weight, by, drop=missing == "drop", categories=categories
    )
    sums = source.tally(plan)
    check_sums(sums, plan, source)
    if by is None:
        return plan.moments(sums[None])
    return {key: plan.moments(sums[key]) for key in sorted(sums.keys() - {None})}


def _names(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)

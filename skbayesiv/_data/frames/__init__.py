"""Moments of any data frame, computed in one pass by the engine that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skbayesiv._columns import Columns
from skbayesiv._data.frames.planning import make_plan
from skbayesiv._data.frames.query import Query
from skbayesiv._data.frames.sources import open_source
from skbayesiv._data.moments import Moments


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
    columns = named_columns(outcome, treatment, instruments, covariates)
    for argument, name in (("sample_weight", sample_weight), ("by", by)):
        if name is not None:
            _name(name, argument)
    source = open_source(frame)
    plan = make_plan(
        source, columns, sample_weight, by, drop=missing == "drop", categories=categories
    )
    query = Query(source, plan)
    return query.moments() if by is None else query.groups()


def named_columns(outcome: Any, treatment: Any, instruments: Any, covariates: Any) -> Columns:
    """Columns by role; raise unless all are named by strings."""
    return Columns(
        _names(covariates, "covariates"),
        _names(instruments, "instruments"),
        _names(treatment, "treatment"),
        _name(outcome, "outcome"),
    )


def _names(names: Any, argument: str) -> tuple[str, ...]:
    if isinstance(names, str):
        return (names,)
    if not isinstance(names, Iterable):
        raise TypeError(f"{argument} must be a name of a column or some names; got {names!r}.")
    return tuple(_name(name, argument) for name in names)


def _name(name: Any, argument: str) -> str:
    if not isinstance(name, str):
        shown = type(name).__name__ if hasattr(name, "__len__") else repr(name)
        raise TypeError(f"{argument} must be the name of a column, a string; got {shown}.")
    return name

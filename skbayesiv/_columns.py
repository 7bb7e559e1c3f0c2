"""Names of columns by role, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from skbayesiv._typing import is_whole

INTERCEPT = "Intercept"
SHOWN = 12


@dataclass(frozen=True)
class Columns:
    """Names of the columns by role; rows of data are ordered ``[X, z, t, y]``."""

    covariates: tuple[str, ...]
    instruments: tuple[str, ...]
    treatments: tuple[str, ...]
    outcome: str

    @property
    def names(self) -> tuple[str, ...]:
        """All names in the order of the moments' columns."""
        return (*self.covariates, *self.instruments, *self.treatments, self.outcome)

    @property
    def given(self) -> str:
        """The covariates as a line at the head of a report."""
        names = self.covariates
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"Covariates: {', '.join(names[:SHOWN]) or 'none'}{more}"

    @cached_property
    def x(self) -> slice:
        """Where the covariates stand."""
        return slice(0, len(self.covariates))

    @cached_property
    def z(self) -> slice:
        """Where the instruments stand."""
        return slice(self.x.stop, self.x.stop + len(self.instruments))

    @cached_property
    def t(self) -> slice:
        """Where the treatments stand."""
        return slice(self.z.stop, self.z.stop + len(self.treatments))

    @cached_property
    def y(self) -> int:
        """Where the outcome stands."""
        return self.t.stop


def column_names(value: Any, prefix: str, width: int) -> tuple[str, ...]:
    """Names carried by a frame or a series, or ``prefix`` (numbered when several)."""
    names = getattr(value, "columns", None)
    if names is None and getattr(value, "name", None) not in (None, ""):
        names = [value.name]
    if hasattr(value, "column_names"):
        names = value.column_names
    if names is not None and len(names) == width:
        return tuple(str(name) for name in names)
    return (prefix,) if width == 1 else tuple(f"{prefix}{i}" for i in range(width))


def matrix_names(X: Any) -> tuple[str, ...]:
    """Names of the columns of X, where it has any; raise unless they differ."""
    names = column_names(X, "x", -1 if not hasattr(X, "shape") or len(X.shape) < 2 else X.shape[1])
    check_unique(names, "X")
    return names


def check_unique(names: tuple[str, ...], argument: str) -> None:
    """Raise if a name stands twice among those of an argument's columns."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"{argument} must have columns with different names; got {twice} more than once."
        )


def treatment_position(treatment: int | str, names: tuple[str, ...]) -> int:
    """Position of a treatment given by name or by position."""
    if isinstance(treatment, str) and treatment in names:
        return names.index(treatment)
    if is_whole(treatment) and -len(names) <= int(treatment) < len(names):
        return int(treatment) % len(names)
    raise ValueError(
        f"treatment must be one of {list(names)}, by name or position; got {treatment!r}."
    )


def unique_names(columns: Columns) -> Columns:
    """Return the columns with clashing names qualified by their role; the intercept has one too."""
    seen = (INTERCEPT, *columns.names)
    if len(set(seen)) == len(seen):
        return columns

    def marked(role: str, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            f"{role}:{name}{i if names.count(name) > 1 else ''}" if seen.count(name) > 1 else name
            for i, name in enumerate(names)
        )

    return Columns(
        marked("X", columns.covariates),
        marked("z", columns.instruments),
        marked("t", columns.treatments),
        marked("y", (columns.outcome,))[0],
    )

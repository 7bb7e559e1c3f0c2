"""Names of columns by role, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np


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
    def x(self) -> slice:
        """Where the covariates stand."""
        return slice(0, len(self.covariates))

    @property
    def z(self) -> slice:
        """Where the instruments stand."""
        return slice(self.x.stop, self.x.stop + len(self.instruments))

    @property
    def t(self) -> slice:
        """Where the treatments stand."""
        return slice(self.z.stop, self.z.stop + len(self.treatments))

    @property
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
    check_unique(names)
    return names


def check_unique(names: tuple[str, ...]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"X must have columns with different names; got {twice} more than once.")


@dataclass(frozen=True)
class Roles:
    """What the parameters `treatment` and `instruments` name: columns of X, or nothing."""

    treatment: Any = None
    instruments: Any = None

    @property
    def in_columns(self) -> bool:
        """Whether t and z are columns of X, not arguments."""
        return self.treatment is not None or self.instruments is not None

    def n_features(self, columns: Columns) -> int:
        """Number of columns of the X that data with these columns came from."""
        among = len(columns.treatments) + len(columns.instruments) if self.in_columns else 0
        return len(columns.covariates) + among

    def locate(self, names: tuple[str, ...]) -> tuple[list[int], list[int]]:
        """Positions of the treatments and of the instruments; of none when neither is named."""
        if not self.in_columns:
            return [], []
        for argument, which in (("treatment", self.treatment), ("instruments", self.instruments)):
            if which is None:
                raise ValueError(
                    "treatment and instruments must both name columns of X, or neither, with t "
                    f"and z passed as arguments; got {argument}=None."
                )
        t_at = locate(self.treatment, names, "treatment")
        z_at = locate(self.instruments, names, "instruments")
        if both := set(t_at) & set(z_at):
            raise ValueError(
                "treatment and instruments must name different columns; both name "
                f"{sorted(names[i] for i in both)}."
            )
        return t_at, z_at

    def arrange(self, columns: Columns) -> list[str]:
        """Columns of an X that has those of the moments, t and z where the parameters say."""
        if not self.in_columns:
            return list(columns.covariates)
        names = columns.names[:-1]
        slots: dict[int, str] = {}
        for argument, which, found in (
            ("treatment", self.treatment, columns.treatments),
            ("instruments", self.instruments, columns.instruments),
        ):
            wanted = _listed(which)
            if len(wanted) != len(found) or any(
                isinstance(item, str) and item != name
                for item, name in zip(wanted, found, strict=True)
            ):
                raise ValueError(
                    f"{argument} must name the columns that moments have as {argument}: "
                    f"{list(found)}; got {which!r}."
                )
            for item, name in zip(wanted, found, strict=True):
                if not isinstance(item, str):
                    slots[_position(item, names, argument)] = name
        rest = iter([name for name in names if name not in slots.values()])
        return [slots[i] if i in slots else next(rest) for i in range(len(names))]


def locate(which: Any, names: tuple[str, ...], argument: str) -> list[int]:
    """Positions of columns given by name or by integer position."""
    wanted = _listed(which)
    if not wanted:
        raise ValueError(f"{argument} must name at least one column of X; got {which!r}.")
    positions = [_position(item, names, argument) for item in wanted]
    if len(set(positions)) < len(positions):
        raise ValueError(f"{argument} must name each column once; got {wanted!r}.")
    return positions


def _listed(which: Any) -> list[Any]:
    if which is None:
        return []
    return [which] if isinstance(which, str | int | np.integer) else list(which)


def _position(item: Any, names: tuple[str, ...], argument: str) -> int:
    number = isinstance(item, int | np.integer) and not isinstance(item, bool)
    if number and -len(names) <= item < len(names):
        return int(item) % len(names)
    if isinstance(item, str) and names.count(item) == 1:
        return names.index(item)
    unnamed = isinstance(item, str) and names == column_names(None, "x", len(names))
    hint = '; X has no names, which a transformer keeps with .set_output(transform="pandas")'
    raise ValueError(
        f"{argument} must name columns of X, by name or position: {list(names)}; got {item!r}"
        f"{hint if unnamed else ''}."
    )


def treatment_position(treatment: int | str, names: tuple[str, ...]) -> int:
    """Position of a treatment given by name or by position."""
    if isinstance(treatment, str) and treatment in names:
        return names.index(treatment)
    number = isinstance(treatment, Integral) and not isinstance(treatment, bool)
    if number and -len(names) <= int(treatment) < len(names):
        return int(treatment) % len(names)
    raise ValueError(
        f"treatment must be one of {list(names)}, by name or position; got {treatment!r}."
    )


def unique_names(columns: Columns) -> Columns:
    """Return the columns with clashing names qualified by their role."""
    seen = columns.names
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

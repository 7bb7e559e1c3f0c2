"""What the parameters name -> where the columns of X stand by role."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from skbayesiv._columns import Columns, column_names
from skbayesiv._typing import is_whole

REST = "rest"


@dataclass(frozen=True)
class Roles:
    """What the parameters name: columns of X, or nothing."""

    treatment: Any = None
    instruments: Any = None
    covariates: Any = None
    segments: Any = None

    @property
    def in_columns(self) -> bool:
        """Whether t and z are columns of X, not arguments."""
        return self.treatment is not None or self.instruments is not None

    @property
    def need_columns(self) -> bool:
        """Whether there must be columns of X."""
        named = self.in_columns or self.segments is not None
        return named or (not self._takes_rest(True) and bool(_listed(self.covariates)))

    @property
    def are_given(self) -> bool:
        """Whether any column of X is named."""
        return self.have_regressors or self.segments is not None

    @property
    def have_regressors(self) -> bool:
        """Whether any column of X is named that the outcome is regressed on."""
        return self.in_columns or self.covariates is not None

    def locate(self, names: tuple[str, ...], *, rest: bool) -> Places:
        """Positions of the columns by role.

        Parameters
        ----------
        names : tuple of str
            Of all columns of X.
        rest : bool
            Whether all columns without a role are covariates when none are named.
        """
        t_at, z_at = self._locate_treatment(names)
        s_at = self._locate_segments(names)
        for argument, at in (("treatment", t_at), ("instruments", z_at)):
            _check_apart(argument, at, "segments", s_at, names)
        if self._takes_rest(rest):
            used = {*t_at, *z_at, *s_at}
            return Places([i for i in range(len(names)) if i not in used], z_at, t_at, s_at)
        x_at = locate(self.covariates, names, "covariates", empty=True)
        for argument, at in (("treatment", t_at), ("instruments", z_at), ("segments", s_at)):
            _check_apart(argument, at, "covariates", x_at, names)
        return Places(x_at, z_at, t_at, s_at)

    def _takes_rest(self, default: bool) -> bool:
        if self.covariates is None:
            return default
        return isinstance(self.covariates, str) and self.covariates == REST

    def _locate_treatment(self, names: tuple[str, ...]) -> tuple[list[int], list[int]]:
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
        _check_apart("treatment", t_at, "instruments", z_at, names)
        return t_at, z_at

    def _locate_segments(self, names: tuple[str, ...]) -> list[int]:
        if self.segments is None:
            return []
        if len(wanted := _listed(self.segments)) != 1:
            raise ValueError(
                f"segments must name one column of X; got {wanted!r}. A combination of columns "
                "has to be joined to one label first."
            )
        return locate(wanted, names, "segments")

    def name_segments(self, columns: Columns) -> str | None:
        """Name of the segments' column in an X that has the moments' columns; None without one.

        One is made up where a position is given.
        """
        if self.segments is None:
            return None
        names, (which,) = columns.names, _listed(self.segments)
        if not isinstance(which, str):
            return next(name for i in count() if (name := "segment" + "_" * i) not in names)
        if which in names:
            raise ValueError(
                f"segments must name a column that moments do not have: {list(names)}; got "
                f"{which!r}."
            )
        return which

    def arrange(self, columns: Columns) -> list[str]:
        """Columns of an X that has those of the moments, where the parameters say."""
        names = columns.names[:-1] if self.in_columns else columns.covariates
        segments = self.name_segments(columns)
        names += () if segments is None else (segments,)
        slots: dict[int, str] = {}
        for argument, which, found in (
            ("treatment", self.treatment, columns.treatments),
            ("instruments", self.instruments, columns.instruments),
            ("covariates", self.covariates, columns.covariates),
            ("segments", self.segments, () if segments is None else (segments,)),
        ):
            if which is None or (argument == "covariates" and self._takes_rest(True)):
                continue
            for item, name in _pair(which, found, argument):
                if isinstance(item, str):
                    continue
                at = _position(item, names, argument)
                if at in slots:
                    raise ValueError(
                        f"{argument} must name a column of its own; got {item!r}, which is "
                        f"{slots[at]!r}."
                    )
                slots[at] = name
        rest = iter([name for name in names if name not in slots.values()])
        return [slots[i] if i in slots else next(rest) for i in range(len(names))]


@dataclass(frozen=True)
class Places:
    """Positions of columns by role."""

    x: list[int]
    z: list[int]
    t: list[int]
    segments: list[int]


def _pair(which: Any, found: tuple[str, ...], argument: str) -> list[tuple[Any, str]]:
    """What was named with the moments' columns of this role; a category has several of these."""
    wanted = _listed(which)
    if argument == "covariates":
        found = tuple(dict.fromkeys(_source(name, wanted) for name in found))
    if len(wanted) != len(found) or any(
        isinstance(item, str) and item != name for item, name in zip(wanted, found, strict=True)
    ):
        raise ValueError(
            f"{argument} must name the columns that moments have as {argument}: {list(found)}; "
            f"got {which!r}."
        )
    return list(zip(wanted, found, strict=True))


def _source(name: str, wanted: list[Any]) -> str:
    """The category that an indicator is of, or the name as it is."""
    categories = [item for item in wanted if isinstance(item, str) and name.startswith(f"{item}[")]
    return name if name in wanted or not categories else categories[0]


def _check_apart(
    argument: str, at: list[int], other: str, other_at: list[int], names: tuple[str, ...]
) -> None:
    if both := set(at) & set(other_at):
        raise ValueError(
            f"{argument} and {other} must name different columns; both name "
            f"{sorted(names[i] for i in both)}."
        )


def locate(which: Any, names: tuple[str, ...], argument: str, *, empty: bool = False) -> list[int]:
    """Positions of columns given by name or by integer position; there may be none if `empty`."""
    wanted = _listed(which)
    if not wanted and not empty:
        raise ValueError(f"{argument} must name at least one column of X; got {which!r}.")
    positions = [_position(item, names, argument) for item in wanted]
    if len(set(positions)) < len(positions):
        raise ValueError(f"{argument} must name each column once; got {wanted!r}.")
    return positions


def _listed(which: Any) -> list[Any]:
    if which is None:
        return []
    return list(which) if np.iterable(which) and not isinstance(which, str) else [which]


def _position(item: Any, names: tuple[str, ...], argument: str) -> int:
    if is_whole(item) and -len(names) <= item < len(names):
        return int(item) % len(names)
    if isinstance(item, str) and names.count(item) == 1:
        return names.index(item)
    unnamed = isinstance(item, str) and names == column_names(None, "x", len(names))
    hint = '; X has no names, which a transformer keeps with .set_output(transform="pandas")'
    raise ValueError(
        f"{argument} must name columns of X, by name or position: {list(names)}; got {item!r}"
        f"{hint if unnamed else ''}."
    )

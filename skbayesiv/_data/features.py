"""A frame's columns that a fit named -> the same regressors of any frame that has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from skbayesiv._columns import Columns
from skbayesiv._data.arrays import check_finite, check_matrix
from skbayesiv._data.frames.columns import MISSING, UNSEEN, level_codes, numbers
from skbayesiv._data.frames.plan import Plan, Term
from skbayesiv._data.frames.sources import unwrap
from skbayesiv._data.frames.types import is_label, is_number, refuse_type
from skbayesiv._data.rows import Regressors


@dataclass(frozen=True, eq=False)
class Features:
    """Columns that regressors come from, found by name whatever their order and company.

    Attributes
    ----------
    names : tuple of str
        scikit-learn's features: columns of the frame, in its order.
    terms : tuple of Term
        Where each of the moments' columns [X, z, t] comes from.
    columns : Columns
        Of the moments.
    levels : mapping
        Levels of each category; the first has no column.
    segments : str or None
        The column of the segments' labels, which is one of the features.
    """

    names: tuple[str, ...]
    terms: tuple[Term, ...]
    columns: Columns
    levels: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    segments: str | None = None

    @classmethod
    def of_plan(cls, plan: Plan, order: Iterable[str], segments: str | None = None) -> Features:
        """Features of a plan, in the order of all columns of its frame."""
        used = {*(term.source for term in plan.terms[:-1]), segments}
        names = tuple(name for name in order if name in used)
        return cls(names, plan.terms[:-1], plan.columns, plan.levels, segments)

    @classmethod
    def of_columns(
        cls, names: Iterable[str], columns: Columns, segments: str | None = None
    ) -> Features:
        """Features that are the moments' columns and the segments', in the order of `names`."""
        terms = tuple(Term(name) for name in columns.names[:-1])
        return cls(tuple(names), terms, columns, segments=segments)

    def split(self, X: Any, *, in_columns: bool, finite: bool = True) -> Regressors:
        """Regressors of a frame with these columns, or of an array of these, in this order.

        `in_columns` says whether t and z are among them.
        """
        given = nw.from_native(unwrap(X), eager_only=True, pass_through=True)
        if isinstance(given, nw.DataFrame):
            values = self._of_frame(given)
        else:
            values = self._of_array(X, finite)
        segments = None
        if self.segments is not None:
            segments = given.get_column(self.segments).to_native()
        c = self.columns
        x = self._matrix(values, c.x, c.covariates, X, finite=finite)
        if not in_columns:
            return Regressors(x, c.covariates, len(self.names), segments=segments)
        t = self._matrix(values, c.t, c.treatments, X, finite=finite)
        z = self._matrix(values, c.z, c.instruments, X, finite=finite)
        names = c.covariates, len(self.names), t, z, c.treatments, c.instruments
        return Regressors(x, *names, segments)

    def _matrix(
        self,
        values: dict[str, NDArray[Any]],
        where: slice,
        names: tuple[str, ...],
        X: Any,
        *,
        finite: bool,
    ) -> NDArray[Any]:
        """Some of the moments' columns, one beside the other."""
        terms = self.terms[where]
        if len(terms) == 1 and terms[0].level is None:
            out = values[terms[0].source][:, None]
        else:
            out = np.empty((len(X), len(terms)), order="F")
            for at, term in enumerate(terms):
                column = values[term.source]
                if term.level is not None:
                    column = column == self.levels[term.source].index(term.level)
                out[:, at] = column
        if finite:
            check_finite(out, "X", names)
        return out

    def _of_frame(self, frame: nw.DataFrame[Any]) -> dict[str, NDArray[Any]]:
        """Numbers, and codes of levels, by name."""
        if absent := [name for name in self.names if name not in frame.columns]:
            raise ValueError(
                f"X must have the columns {list(self.names)}; got {frame.columns}."
                + _about_indicators(absent)
            )
        read = [name for name in self.names if name != self.segments]
        return {name: self._read(frame.get_column(name)) for name in read}

    def _read(self, column: nw.Series[Any]) -> NDArray[Any]:
        name, dtype = column.name, column.dtype
        if name not in self.levels:
            if not is_number(dtype):
                what = f"column {name!r} of type {dtype}"
                raise refuse_type("X", what, label=is_label(dtype))
            return numbers(column, "X")
        levels = self.levels[name]
        codes = level_codes(column, levels)
        for code, what in ((MISSING, "missing values"), (UNSEEN, "other values")):
            if count := int((codes == code).sum()):
                raise ValueError(
                    f"X must have the levels of the fit in column {name!r}, {list(levels)}; got "
                    f"{count} {what}."
                )
        return codes

    def _of_array(self, X: Any, finite: bool) -> dict[str, NDArray[Any]]:
        if self.levels:
            raise ValueError(
                f"X must be a data frame with the columns {list(self.names)}, of which "
                f"{list(self.levels)} are categories; got {type(X).__name__}."
            )
        if self.segments is not None:
            raise ValueError(
                f"X must be a data frame with the columns {list(self.names)}, of which "
                f"{self.segments!r} holds the segments; got {type(X).__name__}."
            )
        values = check_matrix(X, "X", finite=finite, ensure_min_features=0)
        if values.shape[1] != len(self.names):
            raise ValueError(
                f"X has {values.shape[1]} features, but the fit named {len(self.names)}: "
                f"{list(self.names)}."
            )
        return dict(zip(self.names, values.T, strict=True))


def _about_indicators(absent: list[str]) -> str:
    indicators = [name for name in absent if name.endswith("]")]
    return "".join(
        f" {name!r} is the indicator of a level: 1 in its rows, else 0." for name in indicators[:1]
    )

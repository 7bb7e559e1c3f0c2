"""What a fit warned of, where its numbers are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, ClassVar

import pandas as pd

from skbayesiv.diagnostics._report import Block, Paragraph
from skbayesiv.exceptions import InferenceWarning


def caveats(found: Sequence[InferenceWarning]) -> Iterator[Block]:
    """One block of a report with a paragraph for each warning; none without."""
    if found:
        yield tuple(Paragraph(line) for line in lines(found))


def lines(found: Sequence[InferenceWarning]) -> list[str]:
    """The cause and the sentence of each warning."""
    return [f"{warning.cause.capitalize()}: {warning}" for warning in found]


class PosteriorTable(pd.DataFrame):
    """A table that prints what the fit warned of beneath its numbers.

    What is computed from it is an ordinary DataFrame.

    Attributes
    ----------
    shown : DataFrame
        The same table, as it prints without caveats.
    caveats : list of str
    """

    _metadata: ClassVar[list[str]] = ["shown", "caveats"]
    shown: pd.DataFrame
    caveats: list[str]

    @classmethod
    def of(cls, table: pd.DataFrame, found: Sequence[InferenceWarning]) -> pd.DataFrame:
        """Put warnings under a table, if there are any."""
        return cls._with(table, lines(found)) if found else table

    @classmethod
    def _with(cls, table: pd.DataFrame, caveats: list[str]) -> PosteriorTable:
        out = cls(table)
        out.shown, out.caveats = table, caveats
        return out

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        return "\n".join([repr(self.shown), "", *self.caveats])

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{escape(line)}</p>" for line in self.caveats)
        return f"{self.shown._repr_html_()}{notes}"

    def __reduce__(self) -> Any:
        return PosteriorTable._with, (self.shown, self.caveats)

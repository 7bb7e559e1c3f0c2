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
    caveats : list of str
    """

    _metadata: ClassVar[list[str]] = ["caveats"]
    caveats: list[str]

    @classmethod
    def of(cls, table: pd.DataFrame, found: Sequence[InferenceWarning]) -> pd.DataFrame:
        """Put warnings under a table, if there are any."""
        if not found:
            return table
        out = cls(table)
        out.caveats = lines(found)
        return out

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), "", *self.caveats])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{escape(line)}</p>" for line in self.caveats)
        return f"{super()._repr_html_()}{notes}"

    def __reduce__(self) -> Any:
        return PosteriorTable._restore, (pd.DataFrame(self), self.caveats)

    @staticmethod
    def _restore(table: pd.DataFrame, caveats: list[str]) -> PosteriorTable:
        out = PosteriorTable(table)
        out.caveats = caveats
        return out

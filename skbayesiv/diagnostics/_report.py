"""What reports are made of: a result that prints as text and, in a notebook, as HTML.

A :class:`Report` names its blocks, and a block its parts. Text has an empty line between blocks
and none within; HTML has the parts one after another. A report is itself a part.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Protocol

import pandas as pd


class Part(Protocol):
    """Whatever prints as text and as HTML."""

    def __str__(self) -> str: ...

    def _repr_html_(self) -> str: ...


Block = tuple[Part, ...]


@dataclass(frozen=True)
class Paragraph:
    """A title or a sentence."""

    content: str

    def __str__(self) -> str:
        return self.content

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.content)}</p>"


@dataclass(frozen=True)
class Verbatim:
    """Lines whose columns stand beneath each other."""

    content: str

    def __str__(self) -> str:
        return self.content

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.content)}</pre>"


@dataclass(frozen=True)
class Pairs:
    """Names and what is said of each; without a `width`, the longest name's decides."""

    pairs: tuple[tuple[str, str], ...]
    width: int | None = None

    def __str__(self) -> str:
        width = self.width or max(len(name) for name, _ in self.pairs) + 2
        return "\n".join(f"{name:<{width}}{value}" for name, value in self.pairs)

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in self.pairs
        )
        return f"<table>{''.join(rows)}</table>"


@dataclass(frozen=True, eq=False)
class Table:
    """A frame of numbers or of cells that are printed already."""

    frame: pd.DataFrame
    float_format: str | None = None
    missing: str = "NaN"

    def __str__(self) -> str:
        text: str = self.frame.to_string(float_format=self.float_format, na_rep=self.missing)
        return text

    def _repr_html_(self) -> str:
        html: str = self.frame.to_html(float_format=self.float_format, na_rep=self.missing)
        return html


class Report(ABC):
    """A result that is read: a subclass names its blocks and gives its numbers."""

    @abstractmethod
    def _blocks(self) -> Iterator[Block]:
        """What is printed, in order."""

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """Return the numbers, at full precision."""

    def __str__(self) -> str:
        return "\n\n".join("\n".join(map(str, block)) for block in self._blocks())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return "".join(part._repr_html_() for block in self._blocks() for part in block)

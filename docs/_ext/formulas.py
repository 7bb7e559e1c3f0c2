"""Formulas as pictures in the page, drawn here: readers need no scripts, fonts or network."""

from __future__ import annotations

import html
import re
from typing import Any

import ziamath
from docutils.nodes import SkipNode

SIZE = 18


def draw(latex: str, *, inline: bool) -> str:
    """Draw one formula as SVG in the colour of the text, set on its line."""
    formula = ziamath.Latex(as_array(latex), size=SIZE, color="currentColor", inline=inline)
    label = html.escape(" ".join(latex.split()), quote=True)
    opening = f'<svg role="img" aria-label="{label}" style="vertical-align: '
    return str(formula.svg()).replace("<svg ", f'{opening}{formula.getyofst():.2f}px" ', 1)


def as_array(latex: str) -> str:
    """Rows that are aligned at & become an array."""
    latex = re.sub(r"\\(begin|end)\{(split|aligned|align\*?|gathered)\}", "", latex.strip())
    if "&" not in latex and r"\\" not in latex:
        return latex
    columns = "rl" * (max(row.count("&") for row in latex.split(r"\\")) // 2 + 1)
    return rf"\begin{{array}}{{{columns}}}{latex}\end{{array}}"


def visit_inline(translator: Any, node: Any) -> None:
    """Write a formula within a line."""
    translator.body.append(draw(node.astext(), inline=True))
    raise SkipNode


def visit_block(translator: Any, node: Any) -> None:
    """Write a formula on lines of its own."""
    translator.body.append(f'<div class="math">{draw(node.astext(), inline=False)}</div>')
    raise SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("formulas", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

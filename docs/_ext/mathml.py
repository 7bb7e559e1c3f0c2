"""Formulas as MathML, which browsers draw without scripts or a network."""

from __future__ import annotations

import re
from typing import Any

from latex2mathml.converter import convert


def to_mathml(latex: str, display: str) -> str:
    """Convert one formula; rows that are aligned at & become an array."""
    latex = re.sub(r"\\(begin|end)\{(split|aligned|align\*?|gathered)\}", "", latex.strip())
    if "&" in latex or r"\\" in latex:
        rows = latex.split(r"\\")
        columns = "rl" * (max(row.count("&") for row in rows) // 2 + 1)
        latex = rf"\begin{{array}}{{{columns}}}{latex}\end{{array}}"
    return str(convert(latex, display=display))


def visit_inline(translator: Any, node: Any) -> None:
    """Write a formula within a line."""
    from docutils.nodes import SkipNode

    translator.body.append(to_mathml(node.astext(), "inline"))
    raise SkipNode


def visit_block(translator: Any, node: Any) -> None:
    """Write a formula on lines of its own."""
    from docutils.nodes import SkipNode

    translator.body.append(f'<div class="math">{to_mathml(node.astext(), "block")}</div>')
    raise SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""``.. table-if-present:: file.csv``: a table, or a line that says how to make it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList


class TableIfPresent(Directive):
    """Show a CSV file with a header as a table; the content is shown when there is none."""

    required_arguments = 1
    has_content = True
    option_spec = {"digits": directives.positive_int}  # noqa: RUF012 - docutils' own form

    def run(self) -> list[nodes.Node]:
        """Build the table, or parse the content."""
        environment = self.state.document.settings.env
        path = Path(environment.srcdir) / self.arguments[0]
        environment.note_dependency(str(path))
        lines = table_lines(path, self.options.get("digits", 3)) if path.exists() else self.content
        container = nodes.container()
        self.state.nested_parse(StringList(list(lines), source=str(path)), 0, container)
        return container.children


def table_lines(path: Path, digits: int) -> list[str]:
    """Lines of a csv-table directive, with numbers rounded."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [[shorten(cell, digits) for cell in row] for row in csv.reader(file)]
    quoted = ['"' + '","'.join(cell.replace('"', '""') for cell in row) + '"' for row in rows]
    return [".. csv-table::", "   :header-rows: 1", "", *(f"   {line}" for line in quoted)]


def shorten(cell: str, digits: int) -> str:
    """Round what reads as a number with a fraction."""
    try:
        value = float(cell)
    except ValueError:
        return cell
    return cell if "." not in cell else f"{value:.{digits}g}"


def setup(app: Any) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("table-if-present", TableIfPresent)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Check that every link inside the built pages leads to a file, and to an anchor in it.

python docs/check_links.py docs/_build/html
"""

from __future__ import annotations

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Links and anchors of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element links to and how it is called."""
        for name, value in attrs:
            if value and name in {"href", "src"}:
                self.links.append(value)
            elif value and name in {"id", "name"}:
                self.anchors.add(value)


@cache
def read(path: Path) -> Page:
    """Parse a page."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken_links(root: Path) -> list[str]:
    """Say which internal links lead nowhere."""
    broken = []
    pages = [path for path in root.rglob("*.html") if "_static" not in path.parts]
    for path in sorted(pages):
        for link in read(path).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            missing = not target.exists()
            if not missing and parts.fragment and target.suffix == ".html":
                missing = unquote(parts.fragment) not in read(target).anchors
            if missing:
                broken.append(f"{path.relative_to(root)}: {link}")
    return broken


def main() -> None:
    """Print broken links; fail if there are any."""
    broken = broken_links(Path(sys.argv[1]))
    print("\n".join(broken) or "All internal links lead somewhere.")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()

"""The rooms of the code: folders on floors, and the imports between them, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import matplotlib.pyplot as plt

import skbayesiv

PACKAGE = Path(skbayesiv.__file__).parent
GROUND = {"_typing", "exceptions", "_columns"}  # every room uses these
PUBLIC = {"diagnostics", "plotting", "metrics", "datasets"}


def room(path: Path) -> str:
    """Folder of a file; a file at the top is a room of its own."""
    relative = path.relative_to(PACKAGE)
    return relative.stem if len(relative.parts) == 1 else relative.parent.as_posix()


def imports(path: Path) -> set[str]:
    """Rooms that a file imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("skbayesiv."):
            continue
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            base = PACKAGE.joinpath(*name.split(".")[1:])
            files = (base.with_suffix(".py"), base / "__init__.py")
            found |= {room(file) for file in files if file.exists()}
    return found - {room(path)}


def graph() -> dict[str, set[str]]:
    """Rooms and the rooms that they import from; ground and front door left out."""
    out: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if path != PACKAGE / "__init__.py":
            out.setdefault(room(path), set()).update(imports(path))
    return {name: others - GROUND for name, others in out.items() if name not in GROUND}


def floors(rooms: dict[str, set[str]]) -> dict[str, int]:
    """Floor of each room: one above the highest that it stands on."""

    def floor(name: str) -> int:
        return 1 + max((floor(other) for other in rooms[name]), default=-1)

    return {name: floor(name) for name in rooms}


def direct(rooms: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Imports without those that a detour over other rooms implies."""

    def below(name: str) -> set[str]:
        return rooms[name].union(*(below(other) for other in rooms[name]))

    return [
        (name, other)
        for name, others in rooms.items()
        for other in others
        if not any(other in below(between) for between in others - {other})
    ]


def purpose(name: str) -> str:
    """First line of the room's docstring, broken once."""
    path = PACKAGE / name
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    words = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0].split()
    lines, width = [""], 22
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}"
    return "\n".join(line.strip() for line in lines)


rooms = graph()
level = floors(rooms)
height = 1 + max(level.values())
fig, ax = plt.subplots(figsize=(8.0, 1.35 * height))
place = {}
for floor in range(height):
    here = sorted(name for name in rooms if level[name] == floor)
    for i, name in enumerate(here):
        place[name] = ((i + 0.5) / len(here), floor)
for name, other in direct(rooms):
    (x, y), (to_x, to_y) = place[name], place[other]
    bend = 0.35 if y - to_y > 1 and abs(x - to_x) < 0.05 else 0.0
    ax.annotate(
        "",
        xy=(to_x, to_y + 0.35),
        xytext=(x, y - 0.35),
        arrowprops={
            "arrowstyle": "-|>",
            "color": "0.55",
            "lw": 1,
            "connectionstyle": f"arc3,rad={bend}",
        },
    )
for name, (x, y) in place.items():
    colour = "#d6e6f2" if name in PUBLIC or name == "_estimators" else "#f3efe6"
    box = {"boxstyle": "round,pad=0.4", "facecolor": colour, "edgecolor": "0.4"}
    text = f"{name}\n{purpose(name)}"
    ax.text(x, y, text, ha="center", va="center", fontsize=8, bbox=box, linespacing=1.3)
ax.set_xlim(0, 1)
ax.set_ylim(-0.5, height - 0.5)
ax.axis("off")
fig.subplots_adjust(0, 0, 1, 1)

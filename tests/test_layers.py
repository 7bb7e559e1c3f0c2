"""Imports point down the stages of a fit; rooms that must not know each other do not."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "skbayesiv"

# Lower stages first. A module imports only from stages below its own, or its own stage.
STAGES = [
    {"exceptions", "_validation", "_algebra", "_cache", "_bridge"},
    {"_moments", "_moments_io", "_frames", "_covariance"},
    {
        "_priors",
        "_history",
        "_meta_analysis",
        "_fourth_moments",
        "_fourth_frames",
        "_product_sums",
        "_pseudo_rows",
        "_scores",
    },
    {"_design", "_sampling"},
    {"_collapsed", "_moment_conditions", "_predictive"},
    {"_backends", "_start", "_exact", "_robust_draws", "_borrowed", "_posterior"},
    {"_generative", "_generative_gmm", "_generative_history", "_generative_sampling"},
    {
        "_likelihood",
        "_least_squares",
        "_equation",
        "_estimate",
        "_sandwich",
        "_second_pass",
        "_summary",
    },
    {"_base", "diagnostics", "datasets", "metrics"},
]
APART = [("_collapsed", "_sampling"), ("_sampling", "_collapsed")]
ONLY_NUMPYRO = {"_sampling"}


def room(path):
    """Name of a module's room: the file, or the sub-package it is in."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports(path):
    """Rooms of the package, and other top-level packages, that a file imports."""
    own, other = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            head, *rest = node.module.split(".")
            if head != "skbayesiv":
                other.add(head)
            elif rest:
                own.add(rest[0])
            else:
                own |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            other |= {alias.name.split(".")[0] for alias in node.names}
    return own, other


GRAPH = {}
LIBRARIES = {}
for _path in PACKAGE.rglob("*.py"):
    _own, _other = imports(_path)
    GRAPH.setdefault(room(_path), set()).update(_own - {room(_path)})
    LIBRARIES.setdefault(room(_path), set()).update(_other)
STAGE = {name: i for i, names in enumerate(STAGES) for name in names}


def test_every_stage_exists():
    assert set(STAGE) <= set(GRAPH), set(STAGE) - set(GRAPH)


def test_imports_point_down():
    wrong = [
        (name, other)
        for name, others in GRAPH.items()
        if name in STAGE
        for other in others
        if STAGE.get(other, len(STAGES)) > STAGE[name]
    ]
    assert not wrong


def test_rooms_kept_apart():
    assert not [(a, b) for a, b in APART if b in GRAPH[a]]


def test_only_one_room_knows_numpyro():
    assert {name for name, used in LIBRARIES.items() if "numpyro" in used} == ONLY_NUMPYRO

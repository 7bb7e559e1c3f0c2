"""Imports run one way: every folder has a floor, and a file imports only from floors below.

The list is complete by construction: a folder that it does not name fails, and so do an import
between two folders of one floor, a circle between files, and an import of the package's own
modules inside a function.
"""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "skbayesiv"

# From the ground up. Folders of one floor do not know each other.
FLOORS = [
    ["_typing", "exceptions"],
    ["_columns"],
    ["_sampling"],
    ["_data/frames"],
    ["_data"],
    ["_linear"],
    ["_models/parts"],
    ["_models/normal", "_models/moment_conditions", "_models/history"],
    ["_models/segments"],
    ["_models"],
    ["_results"],
    ["diagnostics"],
    ["_honesty"],
    ["_reports"],
    ["_estimators"],
    ["plotting", "metrics", "datasets"],
]
# The front door imports what is public; nothing imports it but for the version.
FRONT = "skbayesiv/__init__.py"
FLOOR = {folder: i for i, folders in enumerate(FLOORS) for folder in folders}
# Which files may know a library: what is behind a seam stays behind it.
ONLY_IN = {
    "numpyro": {"_sampling/nuts.py"},
    "jax": {
        "_sampling/nuts.py",
        "_sampling/compilation_cache.py",
        "_sampling/splitmix.py",
        "_models/normal/conditional.py",
        "_models/normal/density.py",
        "_models/history/predicted.py",
    },
    "linearmodels": {"_linear/linearmodels_results.py"},
}
# What takes seconds to import, and engines that need not be there.
LATE = {
    "arviz",
    "arviz_stats",
    "dask",
    "duckdb",
    "ibis",
    "jax",
    "linearmodels",
    "matplotlib",
    "numpyro",
    "polars",
    "pooch",
    "pyarrow",
    "pymc",
    "pyspark",
    "pytensor",
    "xarray",
}


def folder(path):
    """Folder of a file within the package; a file at the top is a folder of its own."""
    relative = path.relative_to(PACKAGE)
    return relative.stem if len(relative.parts) == 1 else relative.parent.as_posix()


@cache
def files():
    """All modules but the front door."""
    return [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def imported(node):
    """Full names of the modules that a statement may import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def target(name):
    """File of one of the package's modules, or None."""
    head, *rest = name.split(".")
    if head != "skbayesiv" or not rest:
        return None
    base = PACKAGE.joinpath(*rest)
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


@cache
def own_imports(path):
    """Files of the package that a file imports, anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        found |= {target(name) for name in imported(node)}
    return found - {None, path}


def inside_functions(tree):
    """Import statements in the bodies of functions."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    return [n for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)]


def short(path):
    return path.relative_to(PACKAGE).as_posix()


def test_every_folder_has_a_floor_and_every_floor_its_folders():
    assert {folder(path) for path in files()} == set(FLOOR)


def test_imports_point_down():
    wrong = [
        f"{short(path)} -> {short(other)}"
        for path in files()
        for other in own_imports(path)
        if folder(path) != folder(other) and FLOOR[folder(other)] >= FLOOR[folder(path)]
    ]
    assert not wrong


def test_there_is_no_circle_of_files():
    graph = {short(path): {short(other) for other in own_imports(path)} for path in files()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def test_own_modules_are_imported_at_the_top():
    late = [
        f"{short(path)}: {name}"
        for path in files()
        for node in inside_functions(ast.parse(path.read_text()))
        for name in imported(node)
        if name.split(".")[0] == "skbayesiv"
    ]
    assert not late


def test_imports_are_absolute():
    relative = [
        short(path)
        for path in files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_what_is_slow_to_import_is_imported_late():
    early = [
        f"{short(path)}: {name}"
        for path in files()
        for node in ast.parse(path.read_text()).body
        for name in imported(node)
        if name.split(".")[0] in LATE
    ]
    assert not early


@pytest.mark.parametrize("library", ONLY_IN)
def test_libraries_stay_behind_their_seam(library):
    users = {
        short(path)
        for path in files()
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imported(node)
        if name.split(".")[0] == library
    }
    assert users == ONLY_IN[library]

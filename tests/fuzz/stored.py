"""Files of moments whose bytes or contents were changed, and paths that are none."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
from fuzz.case import Case, Wrong, choose, nothing
from fuzz.sums import some_sums
from fuzz.values import odd, shown

from skbayesiv import FourthMoments, Moments

NAMES = {"covariates": "ab", "instruments": [], "treatments": [], "outcome": 3}
COLUMNS = [json.dumps(value) for value in ({}, [], NAMES, None)]
ARRAYS = [np.zeros(0), np.zeros((2, 2)), b"x", np.zeros(3, dtype=complex), np.array(["a"])]


def load(rng):
    """load of a file that was changed, and of one that was not."""
    kind = choose(rng, [Moments, Moments, FourthMoments])
    sums, _, _ = some_sums(int(rng.integers(8)), kind)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    path, note = folder / "sums.npz", ""
    sums.save(path)
    what = choose(rng, [*CHANGES, "as it was", "of the other kind", "a folder", "none", "odd"])
    if what in CHANGES:
        note = CHANGES[what](rng, path)
    if what == "of the other kind":
        kind = {Moments: FourthMoments}.get(kind, Moments)
    targets = {"a folder": folder, "none": folder / "none.npz", "odd": odd(rng)}
    target = targets.get(what, path)
    out = Case(
        f"{kind.__name__}.load",
        lambda: kind.load(target),
        {"path", "file", kind.__name__},
        files=True,
        check=(lambda result: is_same(result, sums)) if what == "as it was" else nothing,
        notes=[what, note],
    )
    weakref.finalize(out, shutil.rmtree, folder, ignore_errors=True)
    return out


def change_bytes(rng, path):
    """Some bytes become others."""
    data = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 8))):
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
    path.write_bytes(bytes(data))
    return ""


def cut(rng, path):
    """The end is lost."""
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])
    return ""


def change_contents(rng, path):
    """One of the arrays becomes another, or is left out."""
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    name = choose(rng, content)
    options = COLUMNS if name == "columns" else [np.nan, -1, "a", 1j, np.inf, *ARRAYS]
    value = choose(rng, options)
    content[name] = np.asarray(value)
    if rng.random() < 0.3:
        del content[name]
        value = "left out"
    np.savez(path, **content)
    return shown(**{name: value})[0]


CHANGES = {"bytes": change_bytes, "cut": cut, "contents": change_contents}


def is_same(result, sums):
    """Raise `Wrong` unless what was read is what was stored."""
    if not np.array_equal(result.cross, sums.cross) or result.columns != sums.columns:
        raise Wrong("what was read is not what was stored")


def save(rng):
    """save under a path that is none."""
    sums, _, _ = some_sums(0, choose(rng, [Moments, FourthMoments]))
    path = odd(rng, "/nowhere/at/all.npz", Path("/"), "\0")
    path = path if not isinstance(path, str | bytes) or "/" in str(path) else None
    run, words = lambda: sums.save(path), {"path"}
    return Case(f"{type(sums).__name__}.save", run, words, files=True, notes=shown(path=path))

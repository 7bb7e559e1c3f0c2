"""Moments that are saved, pickled, added and taken away."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from errno import ENOSPC

import numpy as np
import pytest

from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData


def moments_of(rows, names=("x é", "z", "t", "y")):
    """Moments of rows of four columns."""
    x, z, t, y = (rows[:, [i]] for i in range(4))
    columns = Columns((names[0],), (names[1],), (names[2],), names[3])
    weight = np.linspace(0.5, 2.0, len(rows))
    return Moments.from_data(IVData(x, z, t, y[:, 0], weight, columns))


@pytest.fixture
def moments():
    """Moments of some rows."""
    return moments_of(np.random.default_rng(0).normal([3.0, 1e5, 0.0, -1.0], 1.0, (50, 4)))


def assert_identical(a, b):
    """Equal to the bit."""
    assert a.columns == b.columns
    assert (a.weight, a.n_rows) == (b.weight, b.n_rows)
    assert type(b.n_rows) is int
    for name in ("shift", "total", "cross"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_save_and_load(moments, tmp_path):
    path = tmp_path / "experiment.moments"
    moments.save(path)
    assert path.stat().st_size < 4000
    assert_identical(moments, Moments.load(path))
    assert_identical(moments, Moments.load(str(path)))


def test_saved_empty_moments_load(tmp_path):
    columns = Columns((), (), (), "y")
    Moments.empty(columns).save(tmp_path / "none")
    assert_identical(Moments.empty(columns), Moments.load(tmp_path / "none"))


def test_pickle(moments):
    assert_identical(moments, pickle.loads(pickle.dumps(moments)))


def test_other_files_are_refused(tmp_path):
    text, arrays, objects = (tmp_path / name for name in ("text", "arrays.npz", "objects.npz"))
    text.write_text("weight: 3")
    np.savez(arrays, weight=np.ones(3))
    np.savez(objects, format=np.array([{}], dtype=object))
    for path in (text, arrays, objects):
        with pytest.raises(ValueError, match=f"{path.name} must be a file that Moments.save wrote"):
            Moments.load(path)


def half_written(file, **arrays):
    """In place of np.savez: a disk that is full."""
    file.write(b"half")
    raise OSError(ENOSPC, "No space left on device")


def test_a_save_that_fails_leaves_what_was_there(moments, tmp_path, monkeypatch):
    path = tmp_path / "moments.npz"
    moments.save(path)
    monkeypatch.setattr(np, "savez", half_written)
    for target in (path, tmp_path / "new"):
        with pytest.raises(OSError, match="No space left"):
            (moments + moments).save(target)
    assert_identical(moments, Moments.load(path))
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, sys, zipfile
from skbayesiv import Moments
moments = Moments.load(sys.argv[1])
zipfile.ZipFile.close = lambda archive: os._exit(9)  # all is written but the directory
(moments + moments).save(sys.argv[1])
"""


def test_a_save_that_is_killed_leaves_what_was_there(moments, tmp_path):
    path = tmp_path / "moments.npz"
    moments.save(path)
    child = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=300)
    assert child.returncode == 9
    assert_identical(moments, Moments.load(path))


def test_a_save_replaces_the_file_that_a_link_points_to(moments, tmp_path):
    (tmp_path / "folder").mkdir()
    path, link = tmp_path / "folder" / "moments.npz", tmp_path / "link"
    link.symlink_to(path)
    for sums in (moments, moments + moments):
        sums.save(link)
        assert link.is_symlink()
        assert_identical(sums, Moments.load(path))
    assert set(tmp_path.rglob("*")) == {path.parent, path, link}


posix = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


@posix
def test_permissions_are_those_of_the_file_or_of_any_new_one(moments, tmp_path):
    path, other = tmp_path / "moments.npz", tmp_path / "other"
    other.touch()
    moments.save(path)
    assert path.stat().st_mode == other.stat().st_mode
    path.chmod(0o640)
    moments.save(path)
    assert path.stat().st_mode & 0o777 == 0o640


@posix
def test_what_may_not_be_written_is_not_replaced(moments, tmp_path):
    with pytest.raises(IsADirectoryError):
        moments.save(tmp_path)
    path = tmp_path / "moments.npz"
    path.touch(0o400)
    if not os.access(path, os.W_OK):  # root may write anything
        with pytest.raises(PermissionError):
            moments.save(path)


@posix
def test_a_pipe_is_written_to(moments, tmp_path):
    pipe, path = tmp_path / "pipe", tmp_path / "moments.npz"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as other:
        received = other.submit(pipe.read_bytes)
        moments.save(pipe)
        path.write_bytes(received.result())
    assert pipe.is_fifo()
    assert_identical(moments, Moments.load(path))


def test_sum_starts_from_nothing(moments):
    total = sum([moments, moments])
    assert total.n_rows == 2 * moments.n_rows
    for wrong in (0, 1, None):
        with pytest.raises(TypeError, match="unsupported operand"):
            moments + wrong
        with pytest.raises(TypeError, match="unsupported operand"):
            moments - wrong
    with pytest.raises(TypeError, match="unsupported operand"):
        1 + moments


def test_add_then_subtract(moments):
    rows = np.random.default_rng(1).normal([2.0, 1e5, 1.0, -1.0], 1.0, (30, 4))
    other = moments_of(rows)
    back = (moments + other) - other
    assert back.n_rows == moments.n_rows
    scale = np.sqrt(np.diag((moments + other).scatter))
    error = np.abs(back.scatter - moments.scatter) / np.outer(scale, scale)
    assert error.max() < 1e-13

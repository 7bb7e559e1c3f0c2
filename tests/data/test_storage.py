"""Moments that are saved, pickled, added and taken away."""

from __future__ import annotations

import pickle

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


def test_other_files_are_refused(moments, tmp_path):
    text, arrays, objects = (tmp_path / name for name in ("text", "arrays.npz", "objects.npz"))
    text.write_text("weight: 3")
    np.savez(arrays, weight=np.ones(3))
    np.savez(objects, format=np.array([{}], dtype=object))
    for path in (text, arrays, objects):
        with pytest.raises(ValueError, match=f"{path.name} must be a file that Moments.save wrote"):
            Moments.load(path)
    with pytest.raises(FileNotFoundError):
        Moments.load(tmp_path / "none")


def test_cut_off_file_is_refused(moments, tmp_path):
    path = tmp_path / "moments.npz"
    moments.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"must be a file that Moments\.save wrote"):
        Moments.load(path)


@pytest.mark.parametrize("name", ["shift", "weight", "n_rows", "total", "cross"])
def test_sums_of_other_shapes_are_refused(moments, tmp_path, name):
    path = tmp_path / "moments.npz"
    moments.save(path)
    with np.load(path) as file:
        content = {key: file[key] for key in file.files}
    np.savez(path, **(content | {name: np.zeros((3, 3, 1))}))
    with pytest.raises(ValueError, match=rf"{name} has shape \(3, 3, 1\), not \("):
        Moments.load(path)


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

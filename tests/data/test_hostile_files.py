"""Files that anyone may have made: they are refused before they are read, in one kind of error."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.lib import format as npy

from skbayesiv import FourthMoments, Moments
from skbayesiv._columns import Columns
from skbayesiv._data.rows import IVData

COLUMNS = {"covariates": ["x"], "instruments": ["z"], "treatments": ["t"], "outcome": "y"}
REFUSED = r"sums.npz must be a file that (Fourth)?Moments\.save wrote: .*{}"


@pytest.fixture(params=[Moments, FourthMoments], ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture
def path(kind, tmp_path):
    """A file that is as it should be."""
    x, z, t, y = np.random.default_rng(0).normal(size=(4, 20, 1))
    columns = Columns(("x",), ("z",), ("t",), "y")
    path = tmp_path / "sums.npz"
    kind.from_data(IVData(x, z, t, y[:, 0], None, columns)).save(path)
    return path


def rewrite(path, compression=zipfile.ZIP_STORED, **changed):
    """Write the file again with other arrays, or other bytes; None leaves an array out."""
    with np.load(path) as file:
        content = {name: file[name] for name in file.files} | changed
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(f"{name}.npy", value if isinstance(value, bytes) else data(value))


def data(array):
    """Bytes of an npy file."""
    stream = io.BytesIO()
    npy.write_array(stream, np.asanyarray(array))
    return stream.getvalue()


def header(shape, dtype="<f8"):
    """Bytes of an npy file that says it has a shape, and has no numbers."""
    stream = io.BytesIO()
    said = {"shape": shape, "fortran_order": False, "descr": dtype}
    npy.write_array_header_1_0(stream, said)
    return stream.getvalue()


def refused(kind, path, reason=""):
    return pytest.raises(ValueError, match=REFUSED.format(reason))


def test_a_file_written_again_is_read(kind, path):
    before = kind.load(path)
    rewrite(path)
    assert np.array_equal(kind.load(path).cross, before.cross)
    rewrite(path, cross=np.asfortranarray(before.cross.astype(">f8")))
    assert np.array_equal(kind.load(path).cross, before.cross)
    assert kind.load(path).cross.dtype == np.dtype(float)


@contextmanager
def little_memory():
    """Nothing takes a megabyte meanwhile."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


@pytest.fixture
def bomb(kind, path):
    """A small file that expands to 30 MB, in the shape that its columns imply; and this size."""
    width, side = (2000, (2003, 2003)) if kind is Moments else (250, (252, 4, 252, 4))
    columns = COLUMNS | {"covariates": [f"x{i}" for i in range(width)]}
    cross = data(np.zeros(side))
    rewrite(path, zipfile.ZIP_DEFLATED, cross=cross, columns=np.array(json.dumps(columns)))
    assert path.stat().st_size < 1e5
    return path, len(cross)


def test_what_would_expand_is_not_read(kind, bomb):
    path, _ = bomb
    with little_memory(), refused(kind, path, r"its arrays take \d+ bytes, in a file of \d+"):
        kind.load(path)


def test_what_expands_to_more_than_it_says_is_not_read(kind, bomb):
    path, size = bomb
    content = path.read_bytes().replace(struct.pack("<L", size), struct.pack("<L", 200))
    path.write_bytes(content)
    with little_memory(), refused(kind, path):
        kind.load(path)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"total": None}, "it holds"),
        ({"extra": np.zeros(2)}, r"it holds .*'extra\.npy'"),
        ({"cross": np.zeros(3)}, r"cross has shape \(3,\), not \(\d"),
        ({"shift": np.zeros((4, 1))}, r"shift has shape \(4, 1\), not \(4,\)"),
        ({"shift": header((10**9,))}, r"shift has shape \(1000000000,\), not"),
        ({"shift": header((4,))}, r"shift takes \d+ bytes, not"),
        ({"shift": header((-4,))}, "shift has shape"),
        ({"shift": data(np.zeros(4)) + b"more"}, r"shift takes \d+ bytes, not"),
        ({"shift": np.zeros(4, "f4")}, "shift is of type float32, not float64"),
        ({"shift": np.zeros(4, complex)}, "shift is of type complex128"),
        ({"shift": header((4,), "|O")}, "shift is of type object"),
        ({"shift": header((4,), [("a", "<f8")])}, "shift is of type"),
        ({"n_rows": np.array(20.0)}, "n_rows is of type float64, not int64"),
        ({"columns": np.array(b"{}")}, "columns is of type"),
        ({"columns": header((), "<U99999999")}, r"columns takes \d+ bytes, not"),
        ({"columns": np.array("{")}, ""),
        ({"columns": np.array("[" * 100_000)}, ""),
        ({"columns": np.array("[]")}, ""),
        ({"columns": np.array(json.dumps(COLUMNS | {"outcome": ["y"]}))}, "columns are not names"),
        ({"columns": np.array(json.dumps(COLUMNS | {"covariates": "x"}))}, "columns are not names"),
        ({"columns": np.array(json.dumps(COLUMNS | {"treatments": [1]}))}, "columns are not names"),
        ({"columns": np.array(json.dumps(COLUMNS | {"treatments": 1}))}, "columns are not names"),
        ({"format": np.array("skbayesiv other 1")}, "format is 'skbayesiv other 1', not"),
        ({"format": np.array("skbayesiv moments")}, "format is 'skbayesiv moments', not"),
        ({"format": np.array("")}, "format is '', not"),
        ({"format": None}, "format"),
        ({"format": b""}, ""),
        ({"format": b"\x93NUMPY\x02\x00" + bytes(4)}, r"npy format \(2, 0\), not \(1, 0\)"),
        ({"format": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535}, ""),
    ],
)
def test_other_content_is_refused(kind, path, changed, reason):
    rewrite(path, **changed)
    with refused(kind, path, reason):
        kind.load(path)


def test_a_newer_version_says_so(kind, path):
    with np.load(path) as file:
        title = str(file["format"]).rpartition(" ")[0]
    for version in (2, 10):
        rewrite(path, format=np.array(f"{title} {version}"), more=np.zeros(3), cross=None)
        with refused(kind, path, "written by a newer skbayesiv; update"):
            kind.load(path)
    rewrite(path, format=np.array(f"{title} 0"))
    with refused(kind, path, f"format is '{title} 0', not '{title} 1'"):
        kind.load(path)


def test_sums_of_the_other_kind_are_refused(kind, path):
    other = ({Moments, FourthMoments} - {kind}).pop()
    with refused(kind, path, r"format is 'skbayesiv .*moments 1', not 'skbayesiv .*moments 1'"):
        other.load(path)


def test_an_array_twice_is_refused(kind, path):
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("shift.npy", data(np.zeros(4)))
    with refused(kind, path, "it holds"):
        kind.load(path)


def test_an_encrypted_file_is_refused(kind, path):
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(mark)
        while start >= 0:
            content[start + at] |= 1
            start = content.find(mark, start + 4)
    path.write_bytes(content)
    with refused(kind, path, "password"):
        kind.load(path)


def test_every_cut_is_refused(kind, path):
    whole = path.read_bytes()
    for size in range(0, len(whole), 37):
        path.write_bytes(whole[:size])
        with refused(kind, path):
            kind.load(path)


def test_other_bytes_are_refused_or_read(kind, path):
    """Whatever a byte is changed to, there is no other kind of error, and no reason is empty."""
    whole, rng, reasons = path.read_bytes(), np.random.default_rng(1), []
    for at in rng.integers(0, len(whole), 300):
        content = bytearray(whole)
        content[at] = rng.integers(256)
        path.write_bytes(content)
        try:
            kind.load(path)
        except ValueError as error:
            reasons.append(str(error).partition("save wrote: ")[2])
    assert len(reasons) > 200
    assert all(len(reason) > 1 and not reason.endswith("..") for reason in reasons)


def test_what_cannot_be_opened_is_an_error_of_the_path(kind, tmp_path):
    with pytest.raises(FileNotFoundError):
        kind.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        kind.load(tmp_path)

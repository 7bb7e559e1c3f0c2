"""Sums <-> a small npz file that holds numbers and strings only, never pickled objects.

A file may come from anyone. Before an array is read it is known that all of them fit in the file,
which may not be compressed, and that names, types and shapes are those that its columns imply.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy

from skbayesiv._columns import Columns
from skbayesiv._data.frames.products import product_shape
from skbayesiv._data.replacing import replacing

VERSION = 1


@dataclass(frozen=True)
class Entry:
    """What an array of the file must be; text may be of any length."""

    dtype: type[np.generic]
    shape: tuple[int, ...] = ()


NUMBER, COUNT, TEXT = Entry(np.float64), Entry(np.int64), Entry(np.str_)


def _moments(columns: Columns) -> dict[str, Entry]:
    c = len(columns.names)
    shift, cross = Entry(np.float64, (c,)), Entry(np.float64, (c, c))
    return {"shift": shift, "weight": NUMBER, "n_rows": COUNT, "total": shift, "cross": cross}


def _fourth_moments(columns: Columns) -> dict[str, Entry]:
    f, e = product_shape(columns)
    c, p = len(columns.names), len(columns.covariates)
    return {
        "shift": Entry(np.float64, (c,)),
        "coef": Entry(np.float64, (p, c - p)),
        "n_rows": COUNT,
        "n_clusters": COUNT,
        "total": Entry(np.float64, (f, e)),
        "cross": Entry(np.float64, (f, e, f, e)),
    }


# By class: what the file says it is, and its arrays.
KINDS: dict[str, tuple[str, Callable[[Columns], dict[str, Entry]]]] = {
    "Moments": ("skbayesiv moments", _moments),
    "FourthMoments": ("skbayesiv fourth moments", _fourth_moments),
}


def save_sums(
    path: str | PathLike[str], kind: str, columns: Columns, values: Mapping[str, Any]
) -> None:
    """Write sums, an object of the class named `kind`, under exactly this name.

    A file that is there is replaced when all is written, and stays as it was if that fails.
    """
    _check_path(path)
    title, layout = KINDS[kind]
    arrays: dict[str, Any] = {
        name: np.asarray(values[name], entry.dtype) for name, entry in layout(columns).items()
    }
    names = np.array(json.dumps(asdict(columns)))
    with replacing(path) as file:
        np.savez(file, format=np.array(f"{title} {VERSION}"), columns=names, **arrays)


def load_sums(path: str | PathLike[str], kind: str) -> tuple[Columns, dict[str, Any]]:
    """Read the columns and the arrays that `save_sums` wrote."""
    _check_path(path)
    with Path(path).open("rb") as file:
        try:
            return _read(file, *KINDS[kind])
        except Exception as error:  # over foreign bytes zipfile, NumPy and json raise all kinds
            reason = str(error).rstrip(".") or type(error).__name__
            raise ValueError(f"{path} must be a file that {kind}.save wrote: {reason}.") from error


@contextmanager
def saved_by(kind: str, path: str | PathLike[str]) -> Iterator[None]:
    """Name the file in an error over what it holds."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} must be a file that {kind}.save wrote: {error}") from error


def _check_path(path: Any) -> None:
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path must be a path, a string or PathLike; got {path!r}.")


def _read(
    file: BinaryIO, title: str, layout: Callable[[Columns], dict[str, Entry]]
) -> tuple[Columns, dict[str, Any]]:
    with ZipFile(file) as archive:
        _check_size(archive, file.seek(0, 2))
        _check_format(str(_read_array(archive, "format", TEXT)), title)
        columns = _columns(str(_read_array(archive, "columns", TEXT)))
        entries = layout(columns)
        expected = sorted(f"{name}.npy" for name in ("format", "columns", *entries))
        if (names := sorted(archive.namelist())) != expected:
            raise ValueError(f"it holds {names}, not {expected}")
        return columns, {name: _read_array(archive, name, e) for name, e in entries.items()}


def _check_size(archive: ZipFile, size: int) -> None:
    """Raise if the arrays are said to be larger than the file that they are in."""
    total = sum(info.file_size for info in archive.infolist())
    if total > size:
        raise ValueError(f"its arrays take {total} bytes, in a file of {size}")


def _check_format(found: str, title: str) -> None:
    start, _, version = found.rpartition(" ")
    if start == title and version.isdecimal() and int(version) > VERSION:
        raise ValueError(
            f"format is {found[:60]!r}: it was written by a newer skbayesiv; update skbayesiv"
        )
    if found != f"{title} {VERSION}":
        raise ValueError(f"format is {found[:60]!r}, not '{title} {VERSION}'")


def _read_array(archive: ZipFile, name: str, entry: Entry) -> Any:
    """Read an array whose header says what is expected, and that it fills its place."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as stream:
        if (version := npy.read_magic(stream)) != (1, 0):
            raise ValueError(f"{name} is in npy format {version}, not (1, 0)")
        shape, _, dtype = npy.read_array_header_1_0(stream)
        if shape != entry.shape:
            raise ValueError(f"{name} has shape {shape}, not {entry.shape}")
        if dtype.type is not entry.dtype:
            raise ValueError(f"{name} is of type {dtype}, not {np.dtype(entry.dtype).name}")
        if (size := stream.tell() + dtype.itemsize * prod(shape)) != info.file_size:
            raise ValueError(f"{name} takes {info.file_size} bytes, not {size}")
    with archive.open(info) as stream:
        array = npy.read_array(stream, allow_pickle=False).astype(dtype.newbyteorder("="))
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
    return array


def _columns(text: str) -> Columns:
    names = json.loads(text)
    x, z, t, y = (names[role] for role in ("covariates", "instruments", "treatments", "outcome"))
    lists = all(isinstance(role, list) for role in (x, z, t))
    if not lists or not all(isinstance(name, str) for name in (*x, *z, *t, y)):
        raise ValueError("columns are not names by role")
    return Columns(tuple(x), tuple(z), tuple(t), y)

"""Sums <-> a small npz file that holds numbers and strings only, never pickled objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from skbayesiv._columns import Columns

FORMATS = {
    "Moments": "skbayesiv moments 1",
    "FourthMoments": "skbayesiv fourth moments 1",
}


def save_sums(path: str | PathLike[str], kind: str, columns: Columns, **arrays: Any) -> None:
    """Write sums, an object of the class named `kind`, under exactly this name."""
    names = np.array(json.dumps(asdict(columns)))
    with Path(path).open("wb") as file:
        np.savez(file, format=np.array(FORMATS[kind]), columns=names, **arrays)


def load_sums[T](
    path: str | PathLike[str], kind: str, build: Callable[[Columns, dict[str, Any]], T]
) -> T:
    """Read what `save_sums` wrote and build the sums from columns and arrays."""
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        if str(content["format"]) != FORMATS[kind]:
            raise ValueError(f"format is {str(content['format'])!r}, not {FORMATS[kind]!r}")
        return build(_columns(content), content)
    except (AttributeError, BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must be a file that {kind}.save wrote: {error}.") from error


def _columns(content: dict[str, Any]) -> Columns:
    names = json.loads(str(content["columns"]))
    return Columns(
        tuple(names["covariates"]),
        tuple(names["instruments"]),
        tuple(names["treatments"]),
        names["outcome"],
    )

"""Moments <-> a small npz file that holds numbers and strings only, never pickled objects."""

from __future__ import annotations

import json
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from skbayesiv._moments import Moments
from skbayesiv._validation import Columns

FORMAT = "skbayesiv moments 1"


def save_moments(moments: Moments, path: str | PathLike[str]) -> None:
    """Write moments to a file, under exactly this name."""
    with Path(path).open("wb") as file:
        np.savez(
            file,
            format=np.array(FORMAT),
            columns=np.array(json.dumps(asdict(moments.columns))),
            shift=moments.shift,
            weight=np.array(moments.weight),
            n_rows=np.array(moments.n_rows),
            total=moments.total,
            cross=moments.cross,
        )


def load_moments(path: str | PathLike[str]) -> Moments:
    """Read moments from a file."""
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        if str(content["format"]) != FORMAT:
            raise ValueError(f"format is {str(content['format'])!r}, not {FORMAT!r}")
        return _moments(content)
    except (AttributeError, BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must be a file that Moments.save wrote: {error}.") from error


def _moments(content: dict[str, Any]) -> Moments:
    names = json.loads(str(content["columns"]))
    columns = Columns(
        tuple(names["covariates"]),
        tuple(names["instruments"]),
        tuple(names["treatments"]),
        names["outcome"],
    )
    width = len(columns.names)
    if content["cross"].shape != (width, width):
        raise ValueError(f"{width} columns, but sums of shape {content['cross'].shape}")
    return Moments(
        columns,
        content["shift"],
        float(content["weight"]),
        int(content["n_rows"]),
        content["total"],
        content["cross"],
    )

"""What tables of simulated coverage share: replications, cells, and the command line."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

Replicate = Callable[[str, np.random.SeedSequence], Any]


def simulate(
    replicate: Replicate, name: str, replications: int, seed: list[int], n_jobs: int = 1
) -> list[Any]:
    """What each replication of a design gives."""
    children = np.random.SeedSequence(seed).spawn(replications)
    with Parallel(n_jobs=n_jobs, batch_size=10) as parallel:
        return list(parallel(delayed(replicate)(name, child) for child in children))


def cells(ends: Any, effect: float, digits: str = ".2f") -> list[str]:
    """Coverage and, in brackets, median width of intervals (replications, methods, 2)."""
    low, high = np.moveaxis(np.asarray(ends), -1, 0)
    covers = ((low <= effect) & (high >= effect)).mean(axis=0)
    widths = np.median(high - low, axis=0)
    return [f"{hit:.3f} ({width:{digits}})" for hit, width in zip(covers, widths, strict=True)]


def run(
    doc: str,
    header: Sequence[str],
    designs: Collection[str],
    replicate: Replicate,
    row: Callable[[str, list[Any]], list[str]],
) -> None:
    """Read the command line, print each row of the table when it is done, and write them all.

    Parameters
    ----------
    doc : str
        The script's, whose first line describes it.
    header : sequence of str
    designs : collection of str
        Names of rows.
    replicate : callable (name, seed) -> outcome
    row : callable (name, outcomes) -> cells after the name
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--replications", type=int, default=400)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--only", nargs="+", default=list(designs), choices=designs)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = [list(header)]
    for index, name in enumerate(designs):
        if name not in options.only:
            continue
        begin = time.perf_counter()
        seed = [options.seed, index]
        outcomes = simulate(replicate, name, options.replications, seed, options.jobs)
        rows.append([name, *row(name, outcomes)])
        took = time.perf_counter() - begin
        print(*(f"{cell:>15}" for cell in rows[-1]), f"{took:6.0f} s", flush=True)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with options.output.open("w", newline="") as file:
            csv.writer(file).writerows(rows)

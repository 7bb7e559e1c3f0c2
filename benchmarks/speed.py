"""How fast it is: ratios against rivals, measured side by side in one run.

    python benchmarks/speed.py [--only NAME ...] [--repeat 5] [--output docs/_data]

Each figure is the median of paired runs: ours and the rival's alternate. Rivals that are not
installed (R with bayesm, pyfixest, nutpie) are left out. ``--only`` writes the tables of the
benches it names, with these alone. Time on a busy machine means nothing.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import warnings
from collections.abc import Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from checks import bench_check
from classical import bench_moments, bench_two_stage, bench_wide
from measure import Figure
from posterior import bench_backends, bench_rows, bench_width
from race import Minute, Rate, bench_first_minute, bench_race, bench_rivals
from workflow import bench_first_fit, bench_grid, bench_many, bench_scored_grid

from skbayesiv.exceptions import ConvergenceWarning

POSTERIORS = {
    "rows": bench_rows,
    "backends": bench_backends,
    "rivals": bench_rivals,
    "width": bench_width,
    "first-fit": bench_first_fit,
    "grid": bench_grid,
    "many": bench_many,
    "scored-grid": bench_scored_grid,
    "check": bench_check,
}
CLASSICAL = {
    "two-stage": bench_two_stage,
    "wide": bench_wide,
    "moments": bench_moments,
}
RACE = {"race": bench_race}
FIRST_MINUTE = {"first-minute": bench_first_minute}
TABLES = {
    "benchmarks.csv": (Figure, POSTERIORS),
    "race.csv": (Rate, RACE),
    "first_minute.csv": (Minute, FIRST_MINUTE),
    "classical.csv": (Figure, CLASSICAL),
}
BENCHES = POSTERIORS | RACE | FIRST_MINUTE | CLASSICAL
HEADERS = {Figure: ["what", "skbayesiv", "beside", "ratio"]}


def processor() -> str:
    """Name of the processor, where the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine() -> Figure:
    """The line that describes the machine."""
    return Figure(
        "machine",
        f"{processor()}, {os.cpu_count()} cores",
        f"{platform.system()}, Python {platform.python_version()}",
    )


def measured(kind: type, names: list[str], repeat: int) -> Iterator[Any]:
    """Run the benches of one table, one after the other."""
    if kind is Figure and names:
        yield machine()
    for name in names:
        yield from BENCHES[name](repeat)


def main() -> None:
    """Run and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=BENCHES, default=list(BENCHES))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name, (kind, benches) in TABLES.items():
        rows = []
        wanted = [bench for bench in benches if bench in options.only]
        for row in measured(kind, wanted, options.repeat):
            print(*astuple(row), sep=" | ", flush=True)
            rows.append(astuple(row))
        if options.output and rows:
            header = HEADERS.get(kind) or [field.name for field in fields(kind)]
            with (options.output / name).open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerows([header, *rows])


if __name__ == "__main__":
    main()

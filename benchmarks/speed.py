"""How fast it is: ratios against rivals, measured side by side in one run.

    python benchmarks/speed.py [--only NAME ...] [--repeat 5] [--output docs/_data]

Each figure is the median of paired runs: ours and the rival's alternate. Rivals that are not
installed (R with bayesm, pyfixest, nutpie) are left out. Time on a busy machine means nothing.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import warnings
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

from checks import bench_check
from classical import bench_moments, bench_two_stage, bench_wide
from measure import Figure
from posterior import bench_rivgibbs, bench_rowlevel, bench_rows, bench_width
from workflow import bench_first_fit, bench_grid, bench_many, bench_scored_grid

from skbayesiv.exceptions import ConvergenceWarning

POSTERIORS = {
    "rows": bench_rows,
    "rivgibbs": bench_rivgibbs,
    "row-level": bench_rowlevel,
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
TABLES = {"benchmarks.csv": POSTERIORS, "classical.csv": CLASSICAL}
BENCHES = POSTERIORS | CLASSICAL


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


def figures(names: list[str], repeat: int) -> Iterator[Figure]:
    """Run the benches one after the other."""
    yield machine()
    for name in names:
        yield from BENCHES[name](repeat)


def main() -> None:
    """Run and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=BENCHES, default=list(BENCHES))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name, benches in TABLES.items():
        rows = []
        for figure in figures(
            [bench for bench in benches if bench in options.only], options.repeat
        ):
            print(*astuple(figure), sep=" | ", flush=True)
            rows.append(astuple(figure))
        if options.output and len(rows) > 1:
            with (options.output / name).open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["what", "skbayesiv", "beside", "ratio"])
                writer.writerows(rows)


if __name__ == "__main__":
    main()

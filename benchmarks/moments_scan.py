"""What one pass over the rows costs, next to reading them.

Two measurements, each in a process of its own so that its peak memory is known::

    python benchmarks/moments_scan.py parquet --rows 1e8 --folder /tmp
    python benchmarks/moments_scan.py memory --rows 1e7 --columns 20

`parquet` writes a file of eight single-precision columns, scans it with Arrow without any
arithmetic, sums it with polars, lazily, and deletes it. `memory` sums a polars and a pandas frame
and compares with the larger of the time to read the numbers once and the time of the BLAS calls.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROW_GROUP = 1 << 20
BLOCK_BYTES = 1 << 20


def names(width: int) -> dict[str, Any]:
    """Roles of ``c0, c1, ...``."""
    columns = [f"c{j}" for j in range(width)]
    return {
        "outcome": columns[0],
        "treatment": columns[1],
        "instruments": columns[2],
        "covariates": columns[3:],
    }


def timed(function: Callable[[], Any], repeats: int = 1) -> float:
    """Shortest time of a call, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def write_parquet(path: Path, rows: int, width: int = 8) -> None:
    """Write normal draws around 100 in single precision, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    schema = pa.schema([(f"c{j}", pa.float32()) for j in range(width)])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, rows, ROW_GROUP):
            n = min(ROW_GROUP, rows - start)
            draws = [100 + rng.standard_normal(n, dtype=np.float32) for _ in range(width)]
            writer.write_table(pa.table(draws, schema=schema))


def scan(path: Path) -> None:
    """Read a file with Arrow and do nothing with it."""
    import pyarrow.dataset

    for _ in pyarrow.dataset.dataset(path).to_batches():
        pass


def sum_lazily(path: Path) -> None:
    """Sum a file with polars, lazily."""
    import polars as pl

    from skbayesiv._data.moments import Moments

    Moments.from_frame(pl.scan_parquet(path), **names(8))


STEPS = {"scan": scan, "sum": sum_lazily}


def in_child(step: str, path: Path) -> dict[str, float]:
    """Seconds and peak megabytes of a step in a new process."""
    command = [sys.executable, __file__, "step", step, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def run_step(step: str, path: Path) -> None:
    """Print the seconds and the peak memory of one step."""
    for module in ("polars", "pyarrow.dataset", "skbayesiv._data.frames"):
        importlib.import_module(module)
    before = peak()
    seconds = timed(lambda: STEPS[step](path))
    print(json.dumps({"seconds": seconds, "before": before, "peak": peak()}))


def peak() -> float:
    """Peak resident memory of this process, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_parquet(rows: int, folder: Path, repeats: int) -> None:
    """Compare a pass with a scan of the same file."""
    path = folder / "moments_scan.parquet"
    try:
        write_parquet(path, rows)
        print(f"{rows:.0e} rows x 8 columns, {path.stat().st_size / 1e9:.1f} GB")
        for step in (*STEPS, *STEPS) * repeats:
            figures = in_child(step, path)
            print(
                f"{step:5}{figures['seconds']:7.2f} s   peak {figures['peak']:6.0f} MB, of which "
                f"{figures['before']:.0f} MB before the first row"
            )
    finally:
        path.unlink(missing_ok=True)


def measure_memory(rows: int, width: int, repeats: int) -> None:
    """Compare a pass with reading the numbers once, and with the BLAS calls alone."""
    import pandas as pd
    import polars as pl

    from skbayesiv._data.moments import Moments

    data = np.random.default_rng(0).standard_normal((width, rows)) + 100
    columns = {f"c{j}": data[j] for j in range(width)}
    block = np.ascontiguousarray(data[:, : BLOCK_BYTES // (8 * width)])
    calls = rows // block.shape[1]
    read = timed(lambda: [column.sum() for column in data], repeats)
    flops = timed(lambda: [block @ block.T for _ in range(calls)], repeats)
    print(f"{rows:.0e} rows x {width} columns: read {read:.2f} s, BLAS {flops:.2f} s")
    for name, frame in (("polars", pl.DataFrame(columns)), ("pandas", pd.DataFrame(columns))):
        seconds = timed(lambda frame=frame: Moments.from_frame(frame, **names(width)), repeats)
        print(f"{name:7}{seconds:6.2f} s, {seconds / max(read, flops):.1f} times the larger")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    parquet = commands.add_parser("parquet")
    parquet.add_argument("--rows", type=float, default=1e8)
    parquet.add_argument("--folder", type=Path, default=Path("/tmp"))
    parquet.add_argument("--repeats", type=int, default=1)
    memory = commands.add_parser("memory")
    memory.add_argument("--rows", type=float, default=1e7)
    memory.add_argument("--columns", type=int, default=20)
    memory.add_argument("--repeats", type=int, default=3)
    step = commands.add_parser("step")
    step.add_argument("step", choices=STEPS)
    step.add_argument("path", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "parquet":
        measure_parquet(int(arguments.rows), arguments.folder, arguments.repeats)
    elif arguments.command == "memory":
        measure_memory(int(arguments.rows), arguments.columns, arguments.repeats)
    else:
        run_step(arguments.step, arguments.path)


if __name__ == "__main__":
    main()

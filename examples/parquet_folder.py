"""One experiment in a folder of Parquet files, summed by four engines
====================================================================

After one pass over the rows a fit needs only their moments, so whatever engine the rows live in
can do that pass. Here polars, DuckDB, dask and Spark (those that are installed) each sum the same
folder; their moments, and so their estimates, agree. Write a small folder and sum it, or sum one
of your own with the same columns::

    python examples/parquet_folder.py
    python examples/parquet_folder.py --folder experiment/ --engines polars duckdb
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skbayesiv import Moments, TwoStageLS
from skbayesiv.datasets import make_noncompliance

ROLES: dict[str, Any] = {
    "outcome": "spend",
    "treatment": "opened",
    "instruments": "assigned",
    "covariates": ["tenure", "country"],
}


def write_folder(folder: Path, rows: int, files: int = 5) -> None:
    """Write an experiment as Parquet files of very different sizes."""
    x, opened, spend, assigned = make_noncompliance(
        rows, effect=3.0, n_covariates=1, random_state=0, return_X_t_y_z=True
    )
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "spend": 1e4 + np.asarray(spend),
            "opened": np.asarray(opened).astype(bool),
            "assigned": np.asarray(assigned).astype(bool),
            "tenure": np.asarray(x)[:, 0].astype(np.float32),
            "country": rng.choice(["AT", "CH", "DE"], rows),
            "week": rng.integers(1, 5, rows),
        }
    )
    cuts = [0, *(rows >> files - i for i in range(1, files)), rows]
    for i in range(files):
        frame.iloc[cuts[i] : cuts[i + 1]].to_parquet(folder / f"part-{i}.parquet", index=False)


def polars_frame(folder: Path) -> Any:
    """A query over the folder."""
    import polars as pl

    return pl.scan_parquet(folder / "*.parquet")


def duckdb_frame(folder: Path) -> Any:
    """A relation over the folder."""
    import duckdb

    return duckdb.read_parquet(str(folder / "*.parquet"))


def dask_frame(folder: Path) -> Any:
    """A frame with a partition for each file."""
    import dask.dataframe as dd

    return dd.read_parquet(folder)


def spark_frame(folder: Path) -> Any:
    """A frame in a local session; on a cluster, use the session that is there."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[2]")
    builder = builder.config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1")
    return builder.getOrCreate().read.parquet(str(folder))


ENGINES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "polars": ("polars", polars_frame),
    "duckdb": ("duckdb", duckdb_frame),
    "dask": ("dask.dataframe", dask_frame),
    "spark": ("pyspark", spark_frame),
}


def is_installed(module: str) -> bool:
    """Whether an engine can be imported."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def difference(moments: Moments, first: Moments) -> float:
    """Largest difference of two scatter matrices, on the scale of their diagonals."""
    scale = np.sqrt(np.diag(first.scatter))
    return float(np.max(np.abs(moments.scatter - first.scatter) / np.outer(scale, scale)))


def main() -> None:
    """Sum the folder with each engine and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="a folder of Parquet files")
    parser.add_argument("--rows", type=int, default=100_000, help="rows to write without --folder")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if arguments.folder is None:
            write_folder(folder, arguments.rows)
        compare(folder, arguments.engines)


def compare(folder: Path, engines: list[str]) -> None:
    """Print each engine's figures and its distance from the first engine's."""
    first, summed = None, 0
    for name in engines:
        module, open_frame = ENGINES[name]
        if not is_installed(module):
            print(f"{name:8}not installed")
            continue
        start = time.perf_counter()
        weeks = Moments.from_frame(open_frame(folder), by="week", **ROLES)
        moments = sum(weeks.values())
        seconds = time.perf_counter() - start
        first, summed = moments if first is None else first, summed + 1
        effect = TwoStageLS(cov_type="unadjusted").fit_moments(moments).effect_
        print(
            f"{name:8}{moments.n_rows:,} rows in {len(weeks)} weeks, {seconds:.1f} s, effect "
            f"{effect:.6f}, differs by {difference(moments, first):.0e}"
        )
        assert difference(moments, first) < 1e-10
    if summed < 2:
        sys.exit(f"There is nothing to compare: {summed} engine(s) of {', '.join(engines)} ran.")
    print("The moments agree: fit_moments of any estimator takes it from here.")


if __name__ == "__main__":
    main()

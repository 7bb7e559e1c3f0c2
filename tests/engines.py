"""Every engine behind one function: pyarrow tables, one a partition, to a frame of the engine."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import standardise


@dataclass(frozen=True)
class Engine:
    """Builds frames of one kind."""

    name: str
    folder: Path

    def __call__(self, *parts):
        """Return a frame of these partitions."""
        paths = []
        for i, part in enumerate(parts):
            paths.append(self.folder / f"part-{len(list(self.folder.iterdir())):03d}-{i}.parquet")
            pq.write_table(part, paths[-1])
        return getattr(self, f"_{self.name}")(list(parts), [str(path) for path in paths])

    @staticmethod
    def _pandas(parts, paths):
        return pa.concat_tables(parts).to_pandas()

    @staticmethod
    def _pandas_arrow(parts, paths):
        import pandas as pd

        return pa.concat_tables(parts).to_pandas(types_mapper=pd.ArrowDtype)

    @staticmethod
    def _pandas_masked(parts, paths):
        return pa.concat_tables(parts).to_pandas().convert_dtypes()

    @staticmethod
    def _polars(parts, paths):
        import polars as pl

        return pl.concat([pl.from_arrow(part) for part in parts])

    @staticmethod
    def _polars_lazy(parts, paths):
        import polars as pl

        return pl.scan_parquet(paths)

    @staticmethod
    def _pyarrow(parts, paths):
        return pa.concat_tables(parts)

    @staticmethod
    def _dataset(parts, paths):
        import pyarrow.dataset

        return pyarrow.dataset.dataset(paths)

    @staticmethod
    def _duckdb(parts, paths):
        return pytest.importorskip("duckdb").read_parquet(paths)

    @staticmethod
    def _ibis(parts, paths):
        pytest.importorskip("duckdb")
        return pytest.importorskip("ibis").duckdb.connect().read_parquet(paths)

    @staticmethod
    def _dask(parts, paths):
        dd = pytest.importorskip("dask.dataframe")
        return dd.read_parquet(paths)

    @cached_property
    def _session(self):
        sql = pytest.importorskip("pyspark.sql")
        os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        builder = sql.SparkSession.builder.master("local[2]")
        options = {
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "2",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.session.timeZone": "UTC",
        }
        for name, value in options.items():
            builder = builder.config(name, value)
        return builder.getOrCreate()

    def _spark(self, parts, paths):
        frames = [self._session.read.parquet(path) for path in paths]
        frame = frames[0]
        for other in frames[1:]:
            frame = frame.union(other)
        return frame


IN_MEMORY = ["pandas", "pandas_arrow", "pandas_masked", "polars", "pyarrow"]
LAZY = [
    "polars_lazy",
    "dataset",
    "duckdb",
    # ibis calls names that DuckDB has replaced.
    pytest.param(
        "ibis", marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore:fetch_.* is deprec")]
    ),
    # dask calls pandas with arguments that pandas has deprecated.
    pytest.param("dask", marks=pytest.mark.filterwarnings("ignore:The inplace keyword")),
    pytest.param(
        "spark",
        marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore:PySpark does not yet")],
    ),
]
ENGINES = [*IN_MEMORY, *LAZY]


def experiment(n=3000, width=2, seed=0):
    """Columns with mean/sd = 1e5 in single and double precision, integers and Booleans."""
    rng = np.random.default_rng(seed)
    z, u = rng.random(n) < 0.4, rng.standard_normal(n)
    t = (1e5 + 0.8 * z + u).astype(np.float32)
    columns = {
        "y": 1e8 + 1e3 * (0.3 * t.astype(float) - 3e4 + u + rng.standard_normal(n)),
        "t": t,
        "z": z,
        "z_cost": rng.integers(4_000_000_000, 4_000_040_000, n),
        "weight": rng.integers(0, 4, n).astype(np.int8),
        "fold": rng.integers(0, 3, n).astype(np.int32),
    }
    for j in range(width):
        columns[f"x{j}"] = rng.standard_normal(n) * 2.0**j + 1e5 * 2.0**j * (j % 2)
    return pa.table(columns)


def skewed(table):
    """Partitions of very different sizes, one empty."""
    n = len(table)
    cuts = [0, 1, 1, n - n // 8, n]
    return [table.slice(a, b - a) for a, b in pairwise(cuts)]


def roles(table):
    """The arguments that name the columns of the experiment."""
    covariates = [name for name in table.column_names if name.startswith("x")]
    return {
        "outcome": "y",
        "treatment": "t",
        "instruments": ["z", "z_cost"],
        "covariates": covariates,
    }


def reference(table, sample_weight=None, keep=None):
    """Moments by numpy in extended precision, of the rows that a mask keeps."""
    names = roles(table)
    table = table if keep is None else table.filter(pa.array(keep))

    def matrix(names):
        return np.array([table[name].to_numpy().astype(np.longdouble) for name in names]).T

    columns = Columns(tuple(names["covariates"]), tuple(names["instruments"]), ("t",), "y")
    rows = matrix(columns.names)
    weight = np.ones(len(rows)) if sample_weight is None else matrix([sample_weight])[:, 0]
    mean = weight @ rows / weight.sum()
    shift = mean.astype(float)
    centred = rows - shift
    total, cross = weight @ centred, (weight[:, None] * centred).T @ centred
    sums = (float(weight.sum()), int((weight > 0).sum()), total.astype(float), cross.astype(float))
    return Moments(columns, shift, *sums)


def assert_same(moments, expected, canonical=True):
    """Equal to 1e-10 of the scatter's scale and, where asked, to the bit once canonical."""
    assert moments.columns == expected.columns
    assert moments.n_rows == expected.n_rows
    assert moments.weight == pytest.approx(expected.weight, rel=1e-14)
    scale = np.sqrt(np.diag(expected.scatter))
    spread = scale / np.sqrt(expected.weight)
    np.testing.assert_array_less(
        np.abs(moments.scatter - expected.scatter), 1e-10 * np.outer(scale, scale)
    )
    np.testing.assert_array_less(np.abs(moments.mean - expected.mean), 1e-10 * spread)
    if canonical:
        ours, theirs = standardise(moments), standardise(expected)
        for name in ("n", "mean", "sd", "corr"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), name)

"""A scan of a Parquet file holds little of it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

WIDTH, ROWS, GROUPS = 14, 50_000, 24
SCRIPT = """
import sys
import pyarrow as pa, pyarrow.dataset as ds
from skbayesiv import Moments
names = [f"c{j}" for j in range(14)]
moments = Moments.from_frame(ds.dataset(sys.argv[1]), outcome="c0", covariates=names[1:])
assert moments.n_rows == 1_200_000
print(pa.default_memory_pool().max_memory())
"""


def test_dataset(tmp_path):
    """Of a file of 24 row groups, some at a time are held: what is read, decoded and summed."""
    path = tmp_path / "wide.parquet"
    rng = np.random.default_rng(0)
    rows = pa.table({f"c{j}": rng.standard_normal(ROWS) for j in range(WIDTH)})
    with pq.ParquetWriter(path, rows.schema, compression="none", use_dictionary=False) as writer:
        for _ in range(GROUPS):
            writer.write_table(rows)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 9 * rows.nbytes


QUERY = """
import resource
import duckdb
from skbayesiv import Moments

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

duckdb.sql("set enable_progress_bar = false")
names = [f"c{j}" for j in range(14)]
columns = ", ".join(f"random() as {name}" for name in names)
roles = {"outcome": "c0", "covariates": names[1:]}
Moments.from_frame(duckdb.sql(f"select {columns} from range(1000)"), **roles)
before = peak()
Moments.from_frame(duckdb.sql(f"select {columns} from range(4_000_000)"), **roles)
print(peak() - before)
"""


def test_duckdb():
    """The 450 MB of a wide query pass in batches."""
    pytest.importorskip("duckdb")
    run = subprocess.run([sys.executable, "-c", QUERY], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 225

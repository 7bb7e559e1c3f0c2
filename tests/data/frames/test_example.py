"""The example sums a small folder with every engine that is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "parquet_folder.py"


def run_example(*arguments):
    command = [sys.executable, str(EXAMPLE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_one_engine_has_nothing_to_compare():
    run = run_example("--rows", "200", "--engines", "polars")
    assert run.returncode == 1
    assert "nothing to compare: 1 engine(s) of polars ran" in run.stderr
    assert "agree" not in run.stdout


@pytest.mark.parametrize(
    "engines",
    [["polars", "duckdb", "dask"], pytest.param(["polars", "spark"], marks=pytest.mark.slow)],
    ids=" ".join,
)
def test_parquet_folder(engines):
    for name in engines:
        pytest.importorskip({"dask": "dask.dataframe", "spark": "pyspark"}.get(name, name))
    run = run_example("--rows", "2000", "--engines", *engines)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1].startswith("The moments agree")
    effects = re.findall(r"2,000 rows in 4 weeks, .* effect ([\d.]+)", run.stdout)
    assert len(effects) == len(engines)
    assert len(set(effects)) == 1
    assert 1 < float(effects[0]) < 5

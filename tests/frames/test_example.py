"""The example sums a small folder with every engine that is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "parquet_folder.py"


@pytest.mark.parametrize(
    "engines",
    [["polars", "duckdb", "dask"], pytest.param(["polars", "spark"], marks=pytest.mark.slow)],
    ids=" ".join,
)
def test_parquet_folder(engines):
    command = [sys.executable, str(EXAMPLE), "--rows", "2000", "--engines", *engines]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1].startswith("The moments agree")
    effects = re.findall(r"2,000 rows in 4 weeks, .* effect ([\d.]+)", run.stdout)
    assert len(effects) == len(engines) - run.stdout.count("not installed")
    assert len(set(effects)) == 1
    assert 1 < float(effects[0]) < 5

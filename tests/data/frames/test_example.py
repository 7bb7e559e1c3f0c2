"""The example sums a small folder with every engine that is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scripts import run_script

EXAMPLE = Path(__file__).parents[3] / "examples" / "parquet_folder.py"


def test_one_engine_has_nothing_to_compare():
    run = run_script(EXAMPLE, "--rows", "200", "--engines", "polars")
    assert run.status == 1
    assert "nothing to compare: 1 engine(s) of polars ran" in run.err
    assert "agree" not in run.out


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize(
    "engines",
    [["polars", "duckdb", "dask"], pytest.param(["polars", "spark"], marks=pytest.mark.slow)],
    ids=" ".join,
)
def test_parquet_folder(engines):
    for name in engines:
        pytest.importorskip({"dask": "dask.dataframe", "spark": "pyspark"}.get(name, name))
    run = run_script(EXAMPLE, "--rows", "2000", "--engines", *engines)
    assert run.status == 0, run.err
    assert run.out.splitlines()[-1].startswith("The moments agree")
    effects = re.findall(r"2,000 rows in 4 weeks, .* effect ([\d.]+)", run.out)
    assert len(effects) == len(engines)
    assert len(set(effects)) == 1
    assert 1 < float(effects[0]) < 5

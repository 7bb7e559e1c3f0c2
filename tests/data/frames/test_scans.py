"""How often, and how much of, a frame is read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skbayesiv._columns import Columns
from skbayesiv._data.frames import categories, sources
from skbayesiv._data.frames.planning import make_plan
from skbayesiv._data.moments import Moments

NAMES = [f"x{i}" for i in range(8)]


def counted(frame):
    """A query that counts how often it is run."""
    scans = []

    def read(rows):
        scans.append(len(rows))
        return rows

    return frame.lazy().map_batches(read), scans


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    columns = {name: rng.standard_normal(4000) for name in (*NAMES, "y")}
    return pl.DataFrame(columns).with_columns(w=(pl.int_range(pl.len()) > 2000).cast(pl.Float64))


def test_a_pilot_and_a_pass(frame):
    query, scans = counted(frame)
    Moments.from_frame(query, outcome="y", covariates=NAMES)
    assert len(scans) == 2


def test_one_more_where_first_rows_have_no_values(frame):
    """However many columns begin with nulls, and wherever weights begin."""
    holes = frame.with_columns(
        pl.when(pl.int_range(pl.len()) > 2000).then(pl.col(name)).alias(name) for name in NAMES
    )
    query, scans = counted(holes)
    Moments.from_frame(query, outcome="y", covariates=NAMES, missing="drop")
    assert len(scans) == 3
    query, scans = counted(frame)
    Moments.from_frame(query, outcome="y", covariates=NAMES, sample_weight="w")
    assert len(scans) == 3


def test_columns_with_values_in_different_rows():
    """Each column's shift is near its mean, though no row has values of two columns."""
    n = 12_000
    part = pl.int_range(pl.len()) // 2000
    frame = pl.DataFrame({"y": np.arange(n) + 0.0}).with_columns(
        pl.when(part == k + 1).then(1000.0 * (k + 1)).alias(f"x{k}") for k in range(3)
    )
    source, columns = sources.open_source(frame.lazy()), Columns(("x0", "x1", "x2"), (), (), "y")
    plan = make_plan(source, columns, None, None, drop=True, categories=None)
    assert plan.shift[:3].tolist() == [1000.0, 2000.0, 3000.0]


def test_levels_are_sought_in_bounded_queries(monkeypatch):
    """Of a column with a value for each row no more is held than shows that it has too many."""
    for module in (sources, categories):
        monkeypatch.setattr(module, "MANY", 100)
    n, seen = 100_000, []
    query = pl.LazyFrame({"y": np.arange(n) + 0.0, "#rows": np.arange(n)}).with_columns(
        pl.col("#rows").cast(pl.String), a=(pl.int_range(pl.len()) % 97).cast(pl.String)
    )

    def collect(rows):
        result = _collect(rows)
        seen.append(len(result))
        return result

    _collect = sources.collect
    monkeypatch.setattr(sources, "collect", collect)
    with pytest.raises(ValueError, match="at most 100 levels: column '#rows' has more"):
        Moments.from_frame(query, outcome="y", covariates=["a", "#rows"])
    assert max(seen) <= 102
    moments = Moments.from_frame(
        query.with_columns(**{"#rows": pl.col("a").str.len_chars().cast(pl.String)}),
        outcome="y",
        covariates=["a", "#rows"],
    )
    assert len(moments.columns.covariates) == 96 + 1


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("n", [1, 3, 20])
def test_dask_reads_each_partition_twice_at_most(n):
    dask = pytest.importorskip("dask")
    import dask.dataframe as dd

    reads = []

    def make(i):
        reads.append(i)
        return pd.DataFrame({"y": np.arange(5.0) + i})

    frame = dd.from_map(make, range(n), meta=pd.DataFrame({"y": [0.0]}).iloc[:0])
    with dask.config.set(scheduler="synchronous"):
        Moments.from_frame(frame, outcome="y")
    assert sorted(reads) == sorted([*range(n)] * 2)

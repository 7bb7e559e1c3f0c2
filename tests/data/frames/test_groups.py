"""Groups: the same keys in every engine, and no digits lost when their levels differ."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from engines import experiment, roles, skewed

from skbayesiv._data.moments import Moments

WIDTHS = pytest.mark.parametrize("width", [2, 14], ids=["narrow", "wide"])


def grouped(engine, keys, **options):
    """Moments by group of a small table with these keys."""
    table = pa.table({"y": np.arange(float(len(keys))), "key": keys})
    return Moments.from_frame(engine(*skewed(table)), outcome="y", by="key", **options)


@WIDTHS
@pytest.mark.parametrize("weight", [None, "weight"])
def test_groups_at_different_levels(engine, width, weight):
    """Group means 1e5 standard deviations apart, and a column that is constant in each group."""
    table = experiment(width=width)
    fold = table["fold"].to_numpy()
    columns = {name: table[name].to_numpy() for name in table.column_names}
    for name in ("y", "x0"):
        columns[name] = np.random.default_rng(7).standard_normal(len(fold)) + 1e5 * fold
    columns["x1"] = 1e5 * fold
    table = pa.table(columns)
    frame = engine(*skewed(table))
    groups = Moments.from_frame(frame, sample_weight=weight, by="fold", **roles(table))
    names = [roles(table)["covariates"][0], "y"]
    for key, moments in groups.items():
        rows = np.array([columns[name][fold == key] for name in names], dtype=np.longdouble)
        w = 1.0 if weight is None else columns[weight][fold == key].astype(np.longdouble)
        centred = rows - ((w * rows).sum(axis=1) / (w * np.ones_like(rows)).sum(axis=1))[:, None]
        expected = (w * centred) @ centred.T
        scale = np.sqrt(np.diag(expected))
        at = [moments.columns.names.index(name) for name in names]
        error = np.abs(moments.scatter[np.ix_(at, at)] - expected) / np.outer(scale, scale)
        assert error.max() < 1e-10
        assert abs(moments.scatter[1, 1]) < 1e-10


def test_hours_when_the_clock_goes_back(engine):
    """Two hours share a name: their groups must not."""
    start = datetime.datetime(2020, 10, 24, 23, tzinfo=datetime.UTC)
    hours = [start + datetime.timedelta(hours=i) for i in range(5)]
    keys = pa.array([hours[i % 5] for i in range(60)], pa.timestamp("us", "Europe/Berlin"))
    groups = grouped(engine, keys)
    assert list(groups) == hours
    assert all(key.tzinfo is datetime.UTC for key in groups)
    assert [group.n_rows for group in groups.values()] == [12] * 5


def test_nanoseconds(engine):
    """Keys are Python's times: nanoseconds that these cannot hold are refused."""
    day = np.datetime64("2020-01-01", "ns")
    whole = day + np.arange(40) % 2 * np.timedelta64(1000, "ns")
    if engine.name == "spark":
        pytest.skip("Spark has microseconds")
    keys = list(grouped(engine, pa.array(whole)))
    assert keys == [datetime.datetime(2020, 1, 1, microsecond=i) for i in range(2)]
    finer = day + np.arange(40) % 2 * np.timedelta64(1, "ns")
    message = "Column 'key' must hold times of whole microseconds; got 2020-01-01T00:00:00.0000000"
    with pytest.raises(ValueError, match=message):
        grouped(engine, pa.array(finer))


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_durations(engine, unit):
    if engine.name in {"duckdb", "ibis", "spark"}:
        pytest.skip("reads a duration in Parquet as an integer")
    keys = pa.array((np.arange(40) % 3).astype("m8[D]").astype(f"m8[{unit}]"))
    assert list(grouped(engine, keys)) == [datetime.timedelta(days=i) for i in range(3)]


@WIDTHS
def test_calendar_intervals_are_refused(width):
    duckdb = pytest.importorskip("duckdb")
    columns = ", ".join(f"sin(range * {i + 1}) as x{i}" for i in range(width))
    query = f"select range as y, {columns}, interval (range % 2) month as gap from range(40)"
    names = [f"x{i}" for i in range(width)]
    with pytest.raises(ValueError, match="Column 'gap' must not hold intervals"):
        Moments.from_frame(duckdb.sql(query), outcome="y", covariates=names, by="gap")


def test_keys_that_cannot_be_sorted():
    import pandas as pd

    frame = pd.DataFrame({"y": [1.0, 2.0, 3.0], "key": pd.Series(["a", 1, 2.5], dtype=object)})
    with pytest.raises(ValueError, match=r"by must hold groups of one type.*'key' with float and"):
        Moments.from_frame(frame, outcome="y", by="key")

"""Every engine's moments are numpy's."""

from __future__ import annotations

import decimal

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from engines import assert_same, experiment, reference, roles, skewed

from skbayesiv._data.moments import Moments

WIDTHS = pytest.mark.parametrize("width", [2, 14], ids=["narrow", "wide"])


@WIDTHS
@pytest.mark.parametrize("weight", [None, "weight"])
def test_agree_with_numpy(engine, width, weight):
    table = experiment(width=width)
    moments = Moments.from_frame(engine(*skewed(table)), sample_weight=weight, **roles(table))
    assert_same(moments, reference(table, weight))


@WIDTHS
@pytest.mark.parametrize("weight", [None, "weight"])
def test_by_group(engine, width, weight):
    table = experiment(width=width)
    frame = engine(*skewed(table))
    groups = Moments.from_frame(frame, sample_weight=weight, by="fold", **roles(table))
    fold = table["fold"].to_numpy()
    assert list(groups) == [0, 1, 2]
    for key, moments in groups.items():
        assert_same(moments, reference(table, weight, fold == key))
    first, *others = groups.values()
    assert_same(sum(others, first), reference(table, weight))


def test_many_small_groups(engine):
    table = experiment(700)
    cluster = np.random.default_rng(1).permutation(np.arange(700) // 3)
    names = pa.array([f"c{i:03d}" for i in cluster])
    frame = engine(*skewed(table.append_column("cluster", names)))
    groups = Moments.from_frame(frame, sample_weight="weight", by="cluster", **roles(table))
    assert list(groups) == sorted(set(names.to_pylist()))
    total = sum(groups.values(), Moments.empty(next(iter(groups.values())).columns))
    assert_same(total, reference(table, "weight"))
    some = reference(table, "weight", cluster == 17)
    assert groups["c017"].n_rows == some.n_rows
    np.testing.assert_allclose(groups["c017"].mean, some.mean, rtol=1e-14)


def test_integers_do_not_overflow(engine):
    table = experiment(500)
    big = pa.array(np.arange(500) * 10**16 + 2**62 // 10, type=pa.int64())
    small = pa.array(np.arange(500) % 100, type=pa.uint8())
    table = table.append_column("x_big", big).append_column("x_small", small)
    moments = Moments.from_frame(engine(*skewed(table)), **roles(table))
    assert_same(moments, reference(table))


def test_decimals(engine):
    table = experiment(500)
    cents = np.random.default_rng(2).integers(0, 10_000, 500)
    price = pa.array([decimal.Decimal(int(c)) / 100 for c in cents], type=pa.decimal128(12, 2))
    moments = Moments.from_frame(
        engine(*skewed(table.append_column("x_price", price))),
        **roles(table.append_column("x_price", price)),
    )
    assert_same(moments, reference(table.append_column("x_price", pa.array(cents / 100))))


def test_first_rows_without_values(engine):
    """The pilot mean is taken from rows that have values, or the digits would be lost."""
    table = experiment(4000)
    late = table["y"].to_numpy().copy()
    late[:2500] = np.nan
    table = table.set_column(0, "y", pa.array(late))
    keep = np.isfinite(late)
    moments = Moments.from_frame(engine(*skewed(table)), missing="drop", **roles(table))
    assert abs(moments.shift[-1] / moments.mean[-1] - 1) < 1e-4
    assert_same(moments, reference(table, keep=keep))


def test_first_rows_without_weight(engine):
    table = experiment(4000)
    weight = np.where(np.arange(4000) < 2000, 0.0, 1.5)
    y = np.where(weight > 0, table["y"].to_numpy(), -1e15)
    table = table.set_column(0, "y", pa.array(y)).append_column("w", pa.array(weight))
    moments = Moments.from_frame(engine(*skewed(table)), sample_weight="w", **roles(table))
    assert_same(moments, reference(table, "w", weight > 0))
    assert moments.n_rows == 2000


def test_no_rows(engine):
    table = experiment(5)
    moments = Moments.from_frame(engine(table.slice(0, 0)), **roles(table))
    assert moments.n_rows == 0
    assert moments.weight == 0.0
    assert not moments.cross.any()
    assert Moments.from_frame(engine(table.slice(0, 0)), by="fold", **roles(table)) == {}


def test_regression_without_instruments(engine):
    table = experiment(200)
    moments = Moments.from_frame(engine(table), outcome="y", covariates=["x0", "x1"])
    assert moments.columns.names == ("x0", "x1", "y")


@pytest.mark.parametrize("by", [None, "fold", "cluster"])
@pytest.mark.parametrize("weight", [None, "weight"])
def test_blocks_and_batches(monkeypatch, by, weight):
    """Rows in many blocks and batches, some of them with missing values."""
    for name in ("BLOCK_BYTES", "LARGE_BLOCK_BYTES"):
        monkeypatch.setattr(f"skbayesiv._data.frames.batches.{name}", 1 << 13)
    for name in ("BATCH_ROWS", "SLICE_ROWS"):
        monkeypatch.setattr(f"skbayesiv._data.frames.streams.{name}", 700)
    table = experiment(3000)
    table = table.append_column("cluster", pa.array(np.arange(3000) // 7 % 100))
    y = table["y"].to_numpy().copy()
    y[[0, 1200, 2999]] = np.nan
    frame = table.set_column(0, "y", pa.array(y))
    moments = Moments.from_frame(frame, sample_weight=weight, by=by, missing="drop", **roles(table))
    keep = np.isfinite(y)
    if by is None:
        assert_same(moments, reference(table, weight, keep))
    else:
        group = table[by].to_numpy()
        assert list(moments) == sorted(set(group))
        assert_same(moments[2], reference(table, weight, keep & (group == 2)), canonical=False)
        total = sum(moments.values(), Moments.empty(moments[0].columns))
        assert_same(total, reference(table, weight, keep))


def test_partitioned_and_filtered_datasets(tmp_path):
    """Columns that are folders' names, and a condition, count as they do in memory."""
    table = pa.table({"y": np.arange(20.0) ** 2, "x": np.arange(20.0), "g": ["a", "b"] * 10})
    folders = ds.partitioning(pa.schema([("g", pa.string())]), flavor="hive")
    sizes = {"max_rows_per_group": 3, "max_rows_per_file": 6}
    ds.write_dataset(table, tmp_path, format="parquet", partitioning=folders, **sizes)
    roles = {"outcome": "y", "covariates": ["x", "g"]}
    whole = ds.dataset(tmp_path, partitioning="hive")
    few = ds.field("x") > 7
    for dataset, rows in ((whole, table), (whole.filter(few), table.filter(few))):
        found, expected = (Moments.from_frame(frame, **roles) for frame in (dataset, rows))
        assert found.n_rows == rows.num_rows
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
        np.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-12)

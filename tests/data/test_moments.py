"""Moments: how accurate they are, and that they add."""

from __future__ import annotations

import numpy as np
import pytest

from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._data.standardised import standardise


def columns_of(width):
    return Columns(tuple(f"x{i}" for i in range(width - 3)), ("z",), ("t",), "y")


def as_data(table, weight=None):
    return IVData(
        table[:, :-3],
        table[:, -3:-2],
        table[:, -2:-1],
        table[:, -1],
        weight,
        columns_of(table.shape[1]),
    )


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_moments_are_accurate(offset):
    """Scatter to 1e-12 of its scale where a raw sum of squares loses all but a few digits."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(50_000, 6)) + offset
    weight = rng.integers(0, 3, len(table)).astype(float)
    moments = Moments.from_data(as_data(table, weight))
    exact = table.astype(np.longdouble)
    w = weight.astype(np.longdouble)
    mean = (w[:, None] * exact).sum(0) / w.sum()
    centred = exact - mean
    scatter = ((w[:, None] * centred).T @ centred).astype(float)
    assert moments.weight == weight.sum()
    assert moments.n_rows == np.count_nonzero(weight)
    assert np.allclose(moments.mean, mean.astype(float), rtol=1e-14)
    assert np.abs(moments.scatter - scatter).max() < 1e-12 * np.abs(scatter).max()


def test_moments_add_and_subtract():
    rng = np.random.default_rng(1)
    table = rng.normal(size=(10_000, 5)) * [1, 10, 1e-3, 1, 50] + [1e5, 0, 1, -3, 1e4]
    total = Moments.from_data(as_data(table))
    parts = [Moments.from_data(as_data(part)) for part in np.array_split(table, [13, 2000, 9000])]
    added = parts[0] + parts[1] + parts[2] + parts[3]
    left = total - parts[1]
    direct = parts[0] + parts[2] + parts[3]
    for one, two in ((added, total), (left, direct)):
        a, b = standardise(one), standardise(two)
        assert one.n_rows == two.n_rows
        assert np.array_equal(a.corr, b.corr)
        assert np.array_equal(a.mean, b.mean)
        assert np.array_equal(a.sd, b.sd)
    empty = Moments.empty(columns_of(5))
    assert np.array_equal((empty + total).scatter, total.scatter)
    with pytest.raises(ValueError, match="same columns"):
        total + Moments.empty(columns_of(4))


def test_float32_and_integers_are_summed_in_double():
    rng = np.random.default_rng(2)
    table = rng.integers(0, 100, size=(200_000, 4))
    exact = Moments.from_data(as_data(table.astype(float)))
    for dtype in (np.float32, np.int64, np.int8):
        moments = Moments.from_data(as_data(table.astype(dtype)))
        assert np.allclose(moments.scatter, exact.scatter, rtol=1e-13)

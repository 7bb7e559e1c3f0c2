"""Labels of clusters as codes: those of pandas, a block of rows at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from skbayesiv._data import checks

RNG = np.random.default_rng(0)
LABELS = {
    "strings": np.array(["a", "b", "c"])[RNG.integers(0, 3, 50)],
    "numbers": RNG.integers(-5, 5, 50),
    "decimals": RNG.normal(size=50).round(0),
    "dates": np.array(["2020-01-01", "2021-01-01"], dtype="M8[D]")[RNG.integers(0, 2, 50)],
    "mixed": np.array([2.5, "a", "b", 7], dtype=object)[RNG.integers(0, 4, 50)],
    "missing": np.array(["x", None, np.nan], dtype=object)[RNG.integers(0, 3, 50)],
    "missing numbers": np.where(RNG.random(50) < 0.2, np.nan, 1.0),
    "categories": np.asarray(pd.Categorical(["u", "v"] * 25)),
}


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("name", LABELS)
def test_codes_are_those_of_pandas(monkeypatch, name, rows):
    monkeypatch.setattr(checks, "BLOCK_ROWS", rows)
    found = checks._codes(LABELS[name])
    assert found.dtype == np.int32
    assert np.array_equal(found, pd.factorize(LABELS[name])[0])


def test_codes_are_left_alone():
    codes = np.array([4, 0, 4, 2, 2])
    assert checks.check_clusters(codes, 5, required=True) is codes
    assert checks.check_clusters(codes + 1, 5, required=True).tolist() == [0, 1, 0, 2, 2]

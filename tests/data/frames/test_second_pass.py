"""Robust errors read a lazy frame twice: the rows must be the same both times."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skbayesiv import BayesianIV, TwoStageLS

N = 500
CHANGES = {
    "fewer": lambda rows: rows.head(100),
    "twice": lambda rows: pl.concat([rows, rows]),
    "one more, one less": lambda rows: pl.concat([rows.head(1), rows.head(N - 1)]),
    "another outcome": lambda rows: rows.with_columns(y=pl.col("y") * 1.0001),
    "another instrument": lambda rows: rows.with_columns(z=pl.col("z").reverse() + 0.1),
    "other cities": lambda rows: rows.with_columns(city=pl.lit("Bern")),
    "a null": lambda rows: rows.with_columns(
        y=pl.when(pl.int_range(N) == 3).then(None).otherwise("y")
    ),
    "infinite": lambda rows: rows.with_columns(
        y=pl.when(pl.int_range(N) == 3).then(np.inf).otherwise("y")
    ),
}


def table(n_more):
    rng = np.random.default_rng(0)
    z, city = rng.normal(size=N), np.array(["Bern", "Genf", "Zug"])[rng.integers(0, 3, N)]
    t = z + rng.normal(size=N)
    more = {f"x{i}": rng.normal(size=N) for i in range(n_more)}
    frame = {"y": t + rng.normal(size=N), "t": t, "z": z, "city": city, **more}
    return pd.DataFrame(frame | {"copies": rng.integers(1, 4, N)})


def read_with(frame, change, passes):
    """A query whose rows change once it has been read `passes` times."""
    count = [0]

    def read(rows):
        count[0] += 1
        return rows if count[0] <= passes else change(rows)

    return pl.from_pandas(frame).lazy().map_batches(read)


@pytest.mark.parametrize("weight", [None, "copies"])
@pytest.mark.parametrize("n_more", [0, 14], ids=["query", "stream"])
@pytest.mark.parametrize("change", CHANGES)
def test_rows_that_change(change, n_more, weight):
    frame = table(n_more)
    covariates = ["city", *(f"x{i}" for i in range(n_more))]
    est = TwoStageLS(treatment="t", instruments="z", covariates=covariates)
    same = est.fit(read_with(frame, lambda rows: rows, 0), y="y", sample_weight=weight)
    expected = TwoStageLS(**est.get_params()).fit(frame, y="y", sample_weight=weight)
    np.testing.assert_allclose(same.covariance_, expected.covariance_, rtol=1e-8, atol=1e-14)
    before = vars(est).copy()
    # The first rows and the levels are read before the sums.
    query = read_with(frame, CHANGES[change], 3)
    message = "same rows in every pass|must not have missing values|must be finite"
    with pytest.raises(ValueError, match=f"X .*{message}"):
        est.fit(query, y="y", sample_weight=weight)
    assert vars(est) == before


@pytest.mark.parametrize("change", ["one more, one less", "another outcome", "another instrument"])
def test_rows_that_change_before_the_fourth_order_sums(change):
    frame = table(1)
    est = BayesianIV(likelihood="gmm", treatment="t", instruments="z", covariates="x0")
    with pytest.raises(ValueError, match="its rows changed between these"):
        est.fit(read_with(frame, CHANGES[change], 2), y="y")

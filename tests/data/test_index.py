"""pandas objects are matched by position: their labels must not say otherwise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from experiments import unchecked

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv.diagnostics import first_stage

N = 60
RNG = np.random.default_rng(0)
Z = RNG.normal(size=N)
T = Z + RNG.normal(size=N)
LABELS = [f"customer {i}" for i in range(N)]
ROWS = {
    "X": pd.DataFrame({"x": RNG.normal(size=N)}, index=LABELS),
    "t": pd.Series(T, index=LABELS),
    "y": pd.Series(T + RNG.normal(size=N), index=LABELS),
    "z": pd.Series(Z, index=LABELS),
    "sample_weight": pd.Series(1, index=LABELS),
    "clusters": pd.Series(np.arange(N) // 4, index=LABELS),
}


@pytest.mark.parametrize("ask", [TwoStageLS().fit, BayesianIV(likelihood="gmm").fit, first_stage])
@pytest.mark.parametrize("argument", ROWS)
def test_another_order(argument, ask):
    rows = ROWS | {argument: ROWS[argument].sample(frac=1, random_state=0)}
    with pytest.raises(
        ValueError, match=rf"(?=.*\b{argument}\b).* must have the same index.*Align"
    ):
        ask(**rows)


@unchecked
def test_positions_without_labels():
    """An index that only counts says nothing, as after `reset_index` or of a new Series."""
    expected = TwoStageLS().fit(**ROWS).effect_
    for argument in ROWS:
        rows = ROWS | {argument: ROWS[argument].reset_index(drop=True)}
        assert TwoStageLS().fit(**rows).effect_ == expected
    part = {name: values.reset_index(drop=True)[10:40] for name, values in ROWS.items()}
    part["t"] = part["t"].reset_index(drop=True)
    assert np.isfinite(TwoStageLS().fit(**part).effect_)


def test_the_same_numbers_in_another_order():
    rows = {name: values.reset_index(drop=True) for name, values in ROWS.items()}
    rows["y"] = rows["y"].sample(frac=1, random_state=0)
    with pytest.raises(ValueError, match=r"X and y must have the same index.*pass .to_numpy\(\)"):
        TwoStageLS().fit(**rows)
    with pytest.raises(ValueError, match="same index"):
        TwoStageLS().fit(**rows | {"X": rows["X"][::-1], "y": ROWS["y"].to_numpy()})


@unchecked
def test_new_rows():
    est = TwoStageLS().fit(**ROWS)
    with pytest.raises(ValueError, match="X and t must have the same index"):
        est.predict(ROWS["X"], t=ROWS["t"][::-1])

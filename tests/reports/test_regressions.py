"""The regressions around an estimate equal published ones and linearmodels' least squares."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import unchecked
from linearmodels.iv import IV2SLS
from numpy.testing import assert_allclose

from skbayesiv import TwoStageLS

REGIONS = [f"reg66{i}" for i in range(2, 10)]
CONTROLS = ["exper", "expersq", "black", "smsa", "south", "smsa66", *REGIONS]


def test_regressions_of_the_push_experiment(push):
    """The published OLS, reduced form, first stage and 2SLS."""
    y, t, z = push
    table = TwoStageLS().fit(None, t, y, z=z).summary().regressions.table.round(4)
    published = {
        ("OLS", "t"): (13.931, 0.5282),
        ("Reduced form", "z"): (2.3636, 0.5209),
        ("First stage", "z"): (0.7176, 0.0064),
        ("2SLS", "t"): (3.2938, 0.7165),
    }
    for (name, variable), numbers in published.items():
        assert_allclose(table.loc[variable, name], numbers, atol=5e-4)
    assert np.isnan(table.loc["t", "Reduced form"]).all()
    assert table.loc["Intercept", ("First stage", "estimate")] == 0.0


@unchecked
@pytest.mark.parametrize("kind", ["robust", "unadjusted", "clustered"])
@pytest.mark.parametrize("debiased", [False, True])
def test_regressions_equal_linearmodels(card, kind, debiased):
    """Each column is least squares of linearmodels with the same standard errors."""
    instruments = ["nearc2", "nearc4"]
    clusters = card["age"].to_numpy() if kind == "clustered" else None
    est = TwoStageLS(cov_type=kind, debiased=debiased)
    est.fit(card[CONTROLS], card["educ"], card["lwage"], z=card[instruments], clusters=clusters)
    table = est.summary().regressions.table
    options = {"cov_type": kind, "debiased": debiased}
    options |= {"clusters": clusters} if kind == "clustered" else {}
    exogenous = card[CONTROLS].assign(Intercept=1.0)
    for name, outcome, on in (
        ("OLS", "lwage", ["educ"]),
        ("Reduced form", "lwage", instruments),
        ("First stage", "educ", instruments),
    ):
        other = IV2SLS(card[outcome], exogenous.join(card[on]), None, None).fit(**options)
        column = table[name].dropna().loc[other.params.index]
        assert_allclose(column["estimate"], other.params, rtol=1e-6)
        assert_allclose(column["std_err"], other.std_errors, rtol=1e-6)
    assert list(table.index[:4]) == ["Intercept", "educ", *instruments]


def test_a_long_table_is_cut(push):
    y, t, z = push
    wide = TwoStageLS().fit(np.random.default_rng(0).normal(size=(10_000, 25)), t, y, z=z)
    assert "and 8 more in the attribute table" in str(wide.summary().regressions)

"""The table of a meta-analysis holds what quadrature gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose

from skbayesiv import HierarchicalBayesianIV
from skbayesiv._models.history.integrated import integrate
from skbayesiv._models.history.table import build_history
from skbayesiv._reports.meta_analysis import EffectSummary

EFFECTS = pd.DataFrame({"push": [1.0, 2.0, 1.5, 1.2], "mail": [3.0, 4.0, np.nan, 3.5]})
EST = HierarchicalBayesianIV(EFFECTS, 0.1 * EFFECTS)


def test_rows_are_integrals_over_the_spread():
    frame, history = EST.meta_analysis().to_frame(), build_history(EST)
    for k, name in enumerate(EFFECTS):
        grid = integrate(history, k)
        for row, law in (("mean effect", grid.beta_bar), ("new experiment", grid.predictive)):
            expected = [*law.moments(), *(law.quantile(p) for p in (0.5, 0.025, 0.975))]
            assert_allclose(frame.loc[f"{row}[{name}]"], expected)
        spread = frame.loc[f"spread of effects[{name}]"]
        assert_allclose(spread.iloc[2:], grid.sigma_quantile([0.5, 0.025, 0.975]))
        assert np.isnan(spread[["mean", "sd"]]).all()  # printed as nothing


def test_one_treatment_needs_no_name():
    est = HierarchicalBayesianIV(EFFECTS[["push"]], 0.1 * EFFECTS[["push"]])
    meta = est.meta_analysis()
    assert list(meta.to_frame().index) == ["mean effect", "new experiment", "spread of effects"]
    assert "NaN" not in str(meta)
    assert "Cochran's Q: " in str(meta)


def test_draws_are_summarised():
    draws = np.random.default_rng(0).normal(size=1000)
    found = EffectSummary.from_draws(draws)
    expected = [draws.mean(), draws.std(), *np.quantile(draws, [0.5, 0.025, 0.975])]
    assert_allclose(found.numbers(), expected)
    assert str(found).startswith(f"{draws.mean():.4g} ({draws.std():.3g}) [")

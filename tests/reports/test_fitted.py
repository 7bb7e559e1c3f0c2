"""Fitted estimators are what reports ask for, and no more than that."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import EXACT

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv._reports.fitted import (
    FittedClassical,
    FittedHistory,
    FittedIV,
    FittedPosterior,
    Refittable,
    effect_draws,
)

SETTINGS = {"random_state": 0}
KINDS = [FittedIV, FittedClassical, FittedPosterior, Refittable, FittedHistory]
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@quiet
@pytest.mark.parametrize(
    ("estimator", "kinds"),
    [
        (TwoStageLS(), {FittedIV, FittedClassical}),
        (BayesianIV(**SETTINGS), {FittedIV, FittedPosterior, Refittable}),
        (
            HierarchicalBayesianIV([1.0, 2.0], [0.5, 0.5], **SETTINGS),
            {FittedIV, FittedPosterior, Refittable, FittedHistory},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kinds(linear, estimator, kinds):
    assert not any(isinstance(estimator, kind) for kind in KINDS)
    estimator.fit(**linear())
    assert {kind for kind in KINDS if isinstance(estimator, kind)} == kinds


@quiet
def test_draws_are_flat(linear):
    est = BayesianIV(**EXACT).fit(**linear(k=2, q=2))
    draws = effect_draws(est)
    assert draws.shape == (4000, 2)
    assert np.array_equal(draws[2000:], est.idata_.posterior["beta_t"].to_numpy()[1])

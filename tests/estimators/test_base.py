"""What the estimators' base classes promise of those that stand on them."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import POOR

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv._estimators.base import BaseIV
from skbayesiv._estimators.batches import SumsEstimator
from skbayesiv.exceptions import ConvergenceWarning, NoTreatmentWarning

ESTIMATORS = [TwoStageLS, BayesianIV, HierarchicalBayesianIV, BayesianIVCV]


@pytest.mark.parametrize("base", [BaseIV, SumsEstimator])
def test_an_estimator_with_an_undefined_hook_cannot_be_made(base):
    class Unfinished(base):
        def _fit_data(self, data):
            pass

    with pytest.raises(TypeError, match="abstract"):
        Unfinished()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_estimators_define_every_hook(estimator):
    assert not estimator.__abstractmethods__


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    z = rng.normal(size=60)
    t = z + rng.normal(size=60)
    return z[:, None], t, t + rng.normal(size=60), z


def test_a_treatment_is_not_taken_for_the_outcome(rows):
    """``(X, t, z=z)`` has no outcome: once t was stated as the outcome of a regression."""
    _, t, _, z = rows
    with pytest.raises(ValueError, match=r"requires y to be passed, but the target y is None"):
        BayesianIV().to_pymc(None, t, z=z)


def test_the_outcome_comes_second_where_nothing_is_treated(rows):
    """Reports on a regression take ``(X, y)`` as its fit does; once y was taken for t."""
    X, _, y, _ = rows
    with pytest.warns(NoTreatmentWarning):
        est = TwoStageLS().fit(X, y)
    posterior = BayesianIV(**POOR)
    with pytest.warns(NoTreatmentWarning), pytest.warns(ConvergenceWarning):
        posterior.fit(X, y)
    assert posterior.diagnose(X, y).strength is None
    assert posterior.log_predictive_density(X, y).shape == (60,)
    assert est.summary().table.shape[0] == 2


def test_the_outcome_comes_second_in_column_mode(rows):
    X, t, y, z = rows
    frame = np.column_stack([X * 0 + np.arange(60)[:, None], t, z])
    est = TwoStageLS(treatment=1, instruments=2).fit(frame, y)
    model = BayesianIV(treatment=1, instruments=2).to_pymc(frame, y)
    assert est.n_treatments_ == 1
    assert "beta_t" in model.named_vars

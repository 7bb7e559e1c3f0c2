"""Effects of steps of the treatments, one or several, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import QUICK, unchecked
from numpy.testing import assert_allclose
from scipy import stats

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv.diagnostics import first_stage

N = 1000
RNG = np.random.default_rng(0)
ARM, U = RNG.integers(0, 3, N), RNG.normal(size=N)
Z = np.column_stack([ARM == 1, ARM == 2]).astype(float)
T = Z * (U > -0.5)[:, None]
Y = 1.0 + T @ [1.0, 2.0] + U + RNG.normal(size=N)
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module", params=[TwoStageLS(), BayesianIV(**QUICK)], ids=["2sls", "bayes"])
def arms(request):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return request.param.fit(None, T, Y, z=Z)


def test_one_interval_for_each_arm(arms):
    intervals = arms.effect_interval(level=0.9)
    assert intervals.shape == (2, 2)
    for arm in range(2):
        step = np.eye(2)[arm]
        assert_allclose(intervals[arm], arms.effect_interval(0, step, level=0.9))
        assert_allclose(arms.effect()[arm], arms.effect([0, 0], step))
    assert_allclose(arms.effect(), arms.effect_)
    assert ((intervals[:, 0] < arms.effect_) & (arms.effect_ < intervals[:, 1])).all()
    assert_allclose(arms.effect([1, 0], [0, 1]), arms.effect_ @ [-1, 1])


@pytest.mark.parametrize("ask", ["effect", "effect_interval"])
def test_a_number_for_several_arms_is_no_step(arms, ask):
    with pytest.raises(ValueError, match=r"t1 must have one entry for each treatment \(2\)"):
        getattr(arms, ask)(0, 1)
    with pytest.raises(ValueError, match="t1 must be given with t0"):
        getattr(arms, ask)([1, 0])


NO_LEVELS = [np.nan, np.inf, -np.inf, "a", 1j, [np.nan, 0.0], np.datetime64("2026-01-01")]


@pytest.mark.parametrize("value", NO_LEVELS, ids=repr)
@pytest.mark.parametrize("ask", ["effect", "effect_interval"])
def test_steps_must_be_numbers(arms, ask, value):
    for name, steps in (("t0", (value, [0, 1])), ("t1", ([0, 1], value))):
        with pytest.raises(ValueError, match=f"{name} must"):
            getattr(arms, ask)(*steps)
    with pytest.raises(ValueError, match="t0 must"):
        getattr(arms, ask)(None, [0, 1])
    with pytest.raises(ValueError, match=r"t0 and t1 must be at most .* apart"):
        getattr(arms, ask)([0, 0], [1e300, 0])


@pytest.mark.parametrize("ask", ["effect", "effect_interval"])
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
def test_no_treatment(ask):
    est = TwoStageLS().fit(Z, Y)
    with pytest.raises(ValueError, match="t and z must be given to fit for an effect"):
        getattr(est, ask)()


@unchecked
@pytest.mark.parametrize("method", ["2sls", "liml", "gmm"])
def test_few_clusters(method):
    """The t distribution has G - 1 degrees of freedom, as the first stage has."""
    groups = np.arange(N) % 5
    one = {"t": T[:, 0], "z": Z[:, 0], "clusters": groups}
    est = TwoStageLS(method=method, debiased=True).fit(None, y=Y, **one)
    assert est.dof_ == 4
    assert est.dof_ == first_stage(Y, **one, debiased=True).dof_denominator
    error = np.sqrt(est.covariance_.loc["t", "t"])
    reach = stats.t(4).isf(0.025) * error
    assert_allclose(est.effect_interval(), [est.effect_ - reach, est.effect_ + reach])
    assert_allclose(est.conf_int().loc["t"], est.effect_interval())

"""Columns of X named by treatment= and instruments= are the arguments t and z by another name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from experiments import QUICK, simulated
from sklearn.base import clone

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS

HISTORY = {"effects": [0.9, 1.2], "std_errors": [0.3, 0.3]}
NAMED = {"treatment": "push", "instruments": "coin"}
ESTIMATORS = {
    "two-stage": TwoStageLS(),
    "bayes": BayesianIV(**QUICK),
    "direct effects": BayesianIV(exclusion_scale=0.5, **QUICK),
    "hierarchy": HierarchicalBayesianIV(**HISTORY, **QUICK),
}
BAYESIAN = [name for name in ESTIMATORS if name != "two-stage"]
X, T, Y, Z = simulated(300, 2)
FRAME = pd.DataFrame({"push": T, "a": X[:, 0], "coin": Z, "b": X[:, 1]})
ROWS = {"t": T, "z": Z}

# Each method asked with arguments and, its other arguments the same, of the frame alone.
EVERY = {
    "predict": (lambda e, x, t, z: e.predict(x, t, z)),
    "standard deviation": (lambda e, x, t, z: e.predict(x, t, z, return_std=True)[1]),
    "predict_interval": (lambda e, x, t, z: e.predict_interval(x, t, z)),
    "score": (lambda e, x, t, z: e.score(x, Y, t=t, z=z)),
    "effect_interval": (lambda e, x, t, z: e.effect_interval()),
}
POSTERIOR = EVERY | {
    "log_likelihood": (lambda e, x, t, z: e.log_likelihood(x, t, Y, z=z)["log_likelihood"]["y_t"]),
    "log_predictive_density": (lambda e, x, t, z: e.log_predictive_density(x, t, Y, z=z)),
    "sample_prior_predictive": (
        lambda e, x, t, z: stacked(e.sample_prior_predictive(x, z=z, random_state=0))
    ),
    **{
        f"sample_posterior_predictive, given={given}": (
            lambda e, x, t, z, given=given: stacked(
                e.sample_posterior_predictive(x, t, z=z, given=given, random_state=0)
            )
        )
        for given in ("all", "do", "z")
    },
}


def stacked(tree):
    """All simulated outcomes and treatments of a tree's last group in one array."""
    group = list(tree.children.values())[-1]
    return np.concatenate([group[name].to_numpy().ravel() for name in sorted(group.data_vars)])


@pytest.fixture(scope="module", params=ESTIMATORS)
def both(request):
    """An estimator fitted with arguments, and one fitted to named columns."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few draws do not converge
        est = clone(ESTIMATORS[request.param]).fit(X, T, Y, z=Z)
        return est, clone(ESTIMATORS[request.param]).set_params(**NAMED).fit(FRAME, Y)


@pytest.mark.parametrize(
    ("both", "name"),
    [(key, name) for key in ESTIMATORS for name in (POSTERIOR if key in BAYESIAN else EVERY)],
    indirect=["both"],
)
def test_both_modes_agree(both, name):
    by_argument, by_column = both
    one = POSTERIOR[name](by_argument, X, T, Z)
    two = POSTERIOR[name](by_column, FRAME, None, None)
    assert np.allclose(one, two, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("both", ["two-stage", "bayes", "hierarchy"], indirect=True)
def test_do_leaves_the_instruments_out(both):
    """Whatever z is passed with t, all of predict and its interval are those of do(t)."""
    est, _ = both
    for ask in (
        lambda **z: est.predict(X, T, **z),
        lambda **z: est.predict(X, T, return_std=True, **z)[1],
        lambda **z: est.predict_interval(X, T, **z),
    ):
        assert np.array_equal(ask(), ask(z=Z))
    mean, std = est.predict(X, T, return_std=True)
    low, high = est.predict_interval(X, T).T
    # 200 draws put an error of about 0.17 sd on each end, shared by no two rows.
    assert abs(((low + high) / 2 - mean).mean() / std.mean()) < 0.15
    assert abs((high - low).mean() / (2 * 1.96 * std.mean()) - 1) < 0.15


@pytest.mark.parametrize("both", ["bayes", "hierarchy"], indirect=True)
def test_what_simulations_are_given(both):
    est, _ = both
    simulate = est.sample_posterior_predictive
    given_z = simulate(X, T, z=Z, given="z", random_state=0)["posterior_predictive"]
    assert set(given_z.data_vars) == {"y", "t"}
    assert given_z.equals(simulate(X, z=Z, random_state=0)["posterior_predictive"])
    set_t = simulate(X, T, z=Z, given="do", random_state=0)
    assert set_t.equals(simulate(X, T, random_state=0))
    for given, arguments, missing in (("z", {"t": T}, "z"), ("do", {"z": Z}, "t")):
        with pytest.raises(ValueError, match=f'{missing} must be passed with given="{given}"'):
            simulate(X, **arguments, given=given)
    with pytest.raises(ValueError, match=r"given must be .*; got 'both'"):
        simulate(X, T, given="both")

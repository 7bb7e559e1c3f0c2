"""Fitted estimators come back from pickle, joblib, skops and a copy, and refit to the same."""

from __future__ import annotations

import copy
import pickle

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from experiments import QUICK, simulated
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning

import skbayesiv
from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv._estimators import pickling

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
KEY = pickling.VERSION
X, T, Y, Z = simulated(300, 2)
EFFECTS = pd.Series([0.9, 1.2], index=["spring", "autumn"])
ERRORS = pd.Series([0.3, 0.4], index=["spring", "autumn"], name="se")
TABLE = {"effects": EFFECTS.to_frame("t"), "std_errors": ERRORS.to_frame("t")}
ESTIMATORS = {
    "two-stage": TwoStageLS(),
    "bayes": BayesianIV(**QUICK),
    "gmm": BayesianIV(**QUICK, likelihood="gmm"),
    "search": BayesianIVCV(BayesianIV(**QUICK), cv=2),
    "history in lists": HierarchicalBayesianIV([0.9, 1.2], [0.3, 0.4], **QUICK),
    "history in series": HierarchicalBayesianIV(EFFECTS, ERRORS, **QUICK),
    "history in frames": HierarchicalBayesianIV(**TABLE, robust_weight=0.2, **QUICK),
}


def through_joblib(est, folder):
    joblib.dump(est, folder / "est.joblib")
    return joblib.load(folder / "est.joblib")


def through_skops(est, folder):
    data = skops.io.dumps(est)
    return skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))


def through_cloudpickle(est, folder):
    return pickle.loads(cloudpickle.dumps(est))


ROUTES = {
    "pickle": lambda est, folder: pickle.loads(pickle.dumps(est)),
    "copy": lambda est, folder: copy.deepcopy(est),
    "joblib": through_joblib,
    "cloudpickle": through_cloudpickle,
    "skops": through_skops,
}


@pytest.fixture(scope="module", params=ESTIMATORS)
def fitted(request):
    """A fitted estimator and its summary as text."""
    est = clone(ESTIMATORS[request.param]).fit(X, T, Y, z=Z)
    return est, str(est.summary())


@pytest.mark.parametrize("route", ROUTES)
def test_comes_back(fitted, route, tmp_path):
    est, summary = fitted
    again = ROUTES[route](est, tmp_path)
    for one, two in zip(*(e.predict(X, T, return_std=True) for e in (again, est)), strict=True):
        assert np.array_equal(one, two)
    assert str(again.summary()) == summary
    if hasattr(est, "idata_"):
        assert again.idata_.equals(est.idata_)
    assert not hasattr(clone(again), "coef_")
    assert np.array_equal(clone(again).fit(X, T, Y, z=Z).coef_, est.coef_)


@pytest.mark.parametrize("route", ROUTES)
def test_history_comes_back(route, tmp_path):
    est = HierarchicalBayesianIV(EFFECTS, ERRORS, **QUICK)
    again = ROUTES[route](est, tmp_path)
    pd.testing.assert_series_equal(again.effects, EFFECTS)
    pd.testing.assert_series_equal(again.std_errors, ERRORS)
    again = ROUTES[route](HierarchicalBayesianIV(**TABLE), tmp_path)
    pd.testing.assert_frame_equal(again.effects, TABLE["effects"])
    again = ROUTES[route](HierarchicalBayesianIV([0.9], np.array([0.3])), tmp_path)
    assert again.effects == [0.9]
    assert ROUTES[route](HierarchicalBayesianIV(), tmp_path).effects is None


def of_version(est, version, monkeypatch):
    """Pickle of an estimator by another version."""
    with monkeypatch.context() as patch:
        patch.setattr(pickling, "__version__", version)
        return pickle.dumps(est)


def warned_of(caught, version):
    """Names of the estimators that a warning said were of this version."""
    for warning in caught:
        assert warning.category is InconsistentVersionWarning
        assert warning.filename == __file__
        assert warning.message.original_sklearn_version == version
        assert warning.message.current_sklearn_version == skbayesiv.__version__
    return {warning.message.estimator_name for warning in caught}


def test_another_version_is_told(fitted, monkeypatch):
    est, summary = fitted
    data = of_version(est, "0.0.1", monkeypatch)
    with pytest.warns(InconsistentVersionWarning, match=r"from version 0\.0\.1 when") as caught:
        again = pickle.loads(data)
    inner = {"BayesianIV"} if isinstance(est, BayesianIVCV) else set()
    assert warned_of(caught, "0.0.1") == {type(est).__name__} | inner
    assert str(again.summary()) == summary
    assert vars(again).keys() == vars(est).keys()


def test_another_version_is_told_before_its_state_is_unpacked(monkeypatch):
    data = of_version(HierarchicalBayesianIV(EFFECTS, ERRORS), "9.0", monkeypatch)
    monkeypatch.setattr("skbayesiv._estimators.hierarchical.unpack_table", {}.pop)
    with pytest.warns(InconsistentVersionWarning), pytest.raises((KeyError, TypeError)):
        pickle.loads(data)


@pytest.mark.parametrize("kind", [TwoStageLS, BayesianIV, HierarchicalBayesianIV, BayesianIVCV])
def test_a_pickle_without_a_version_is_told(kind):
    est = kind()
    state = est.__getstate__()
    del state[KEY]
    with pytest.warns(InconsistentVersionWarning, match="from version unknown") as caught:
        kind.__new__(kind).__setstate__(state)
    assert warned_of(caught, "unknown") == {kind.__name__}

"""A scikit-learn estimator in every respect: its checks, failures, scores, searches, pipelines."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn
from experiments import EXACT, QUICK
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv._sampling import nuts
from skbayesiv.exceptions import ConvergenceWarning, NoTreatmentWarning
from skbayesiv.metrics import log_predictive_density, log_predictive_density_scorer

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([TwoStageLS(), BayesianIV(**QUICK), HierarchicalBayesianIV(**QUICK)])
def test_check_estimator(estimator, check):
    check(estimator)


ARRAY_API = f"""
import warnings
warnings.simplefilter("ignore")
from sklearn.utils.estimator_checks import estimator_checks_generator
from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS
quick = {QUICK!r}
for est in (TwoStageLS(), BayesianIV(**quick), HierarchicalBayesianIV(**quick)):
    for each, check in estimator_checks_generator(est):
        if "array_api" in check.func.__name__:
            check(each)
            print(type(est).__name__)
"""


def test_check_estimator_with_array_api():
    """The checks that scikit-learn leaves out unless this variable is set before SciPy's import."""
    out = subprocess.run(
        [sys.executable, "-c", ARRAY_API],
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ | {"SCIPY_ARRAY_API": "1"},
        check=False,
    )
    assert out.returncode == 0, out.stderr[-2000:]
    assert set(out.stdout.split()) == {"TwoStageLS", "BayesianIV", "HierarchicalBayesianIV"}


ESTIMATORS = {"two-stage": TwoStageLS(), "bayes": BayesianIV(**QUICK)}
each = pytest.mark.parametrize("est", ESTIMATORS.values(), ids=ESTIMATORS.keys())


@quiet
@pytest.mark.usefixtures("routing")
def test_grid_search_without_covariates(rows):
    """scikit-learn wants an X to split: one without columns."""
    _, t, y, z = rows
    scales = {"beta_t_scale": [0.5, 1.0]}
    empty = np.empty((len(y), 0))
    search = GridSearchCV(BayesianIV(**QUICK), scales, cv=2, error_score="raise")
    search.fit(empty, y, t=t, z=z)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert np.isfinite(search.score(empty, y, z=z))
    best = search.best_estimator_
    alone = clone(best).fit(None, t, y, z=z)
    assert np.array_equal(best.coef_, alone.coef_)


@each
def test_failed_fit_changes_nothing(est, rows):
    X, t, y, z = rows
    fresh = clone(est)
    bad = np.where(np.arange(len(y)) == 3, np.nan, y)
    with pytest.raises(ValueError, match="NaN"):
        fresh.fit(X, t, bad, z=z)
    assert not [name for name in vars(fresh) if name.endswith("_")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fresh.fit(X, t, y, z=z)
    before = dict(vars(fresh))
    with pytest.raises(ValueError, match="NaN"):
        fresh.fit(X[:, :1], t, bad, z=z)
    assert vars(fresh) == before


@quiet
def test_predictions_and_effects(rows):
    X, t, y, z = rows
    for est in (TwoStageLS(), BayesianIV(**EXACT)):
        est.fit(X, t, y, z=z)
        mean, std = est.predict(X, t, return_std=True)
        assert np.allclose(mean, est.intercept_ + np.column_stack([t, X]) @ est.coef_)
        assert (std > 0).all()
        low, high = est.predict_interval(X, t, level=0.9).T
        assert abs(((low <= y) & (y <= high)).mean() - 0.9) < 0.06
        assert est.effect(0, 2) == pytest.approx(2 * est.effect_)
        lower, upper = est.effect_interval(level=0.95)
        assert lower < est.effect_ < upper
        assert np.allclose(est.effect_interval(0, 2), [2 * lower, 2 * upper])
        given_z, std_z = est.predict(X, z=z, return_std=True)
        assert est.score(X, t, y, z=z) == pytest.approx(
            1 - ((y - given_z) ** 2).sum() / ((y - y.mean()) ** 2).sum()
        )
        assert (std_z > 0).all()


@quiet
def test_r2_at_the_observed_t_prefers_least_squares(push):
    y, t, z = push
    iv = TwoStageLS().fit(None, t, y, z=z)
    with pytest.warns(NoTreatmentWarning):
        ols = TwoStageLS().fit(t[:, None], y)
    at_t = 1 - np.var(y - iv.predict(None, t)) / np.var(y)
    assert ols.score(t[:, None], y) == pytest.approx(0.065, abs=5e-4)
    assert at_t == pytest.approx(0.027, abs=5e-4)
    assert 0 < iv.score(None, t, y, z=z) < at_t


@quiet
@pytest.mark.parametrize(
    ("effect", "r2_at_t", "score", "density"),
    [(13.931, 0.0654, -0.0207, -4.899), (3.2938, 0.0272, 0.0021, -4.887)],
    ids=["least squares", "two-stage"],
)
def test_score_does_not_prefer_least_squares(push, effect, r2_at_t, score, density):
    """The model with its effect held at the confounded one, and at that of the instrument."""
    y, t, z = push
    est = BayesianIV(beta_t_loc=effect, beta_t_scale=0.01, **QUICK).fit(None, t, y, z=z)
    assert est.effect_ == pytest.approx(effect, abs=1e-2)
    assert 1 - np.var(y - est.predict(None, t)) / np.var(y) == pytest.approx(r2_at_t, abs=1e-4)
    assert est.score(None, t, y, z=z) == pytest.approx(score, abs=1e-4)
    assert log_predictive_density(est, None, t, y, z=z) == pytest.approx(density, abs=1e-3)


@pytest.fixture
def routing():
    """Metadata routing on."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@quiet
@pytest.mark.usefixtures("routing")
def test_grid_search_routed(rows):
    X, t, y, z = rows
    search = GridSearchCV(BayesianIV(**QUICK), {"beta_t_scale": [0.1, 1.0, 10.0]}, cv=3)
    search.fit(X, y, t=t, z=z)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    density = GridSearchCV(
        BayesianIV(**QUICK),
        {"beta_t_scale": [0.001, 1.0]},
        cv=3,
        scoring=log_predictive_density_scorer,
    ).fit(X, y, t=t, z=z)
    assert density.best_params_ == {"beta_t_scale": 1.0}
    scores = cross_val_score(TwoStageLS(), X, y, params={"t": t, "z": z})
    assert np.isfinite(scores).all()


@quiet
def test_grid_search_in_column_mode(table):
    frame, y = table
    est = BayesianIV(**QUICK, treatment="push", instruments="coin")
    search = GridSearchCV(
        est, {"beta_t_scale": [0.001, 1.0]}, cv=3, scoring=log_predictive_density_scorer
    ).fit(frame, y)
    assert search.best_params_ == {"beta_t_scale": 1.0}


@quiet
def test_without_routing_the_error_says_both_ways_out(rows):
    X, t, y, z = rows
    search = GridSearchCV(BayesianIV(**QUICK), {"beta_t_scale": [1.0]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match=r"enable_metadata_routing=True.*treatment= and instrum"):
        search.fit(X, y, t=t, z=z)


@quiet
@pytest.mark.usefixtures("routing")
def test_pipelines(table):
    frame, y = table
    frame = frame.assign(kind=np.where(np.arange(len(frame)) % 3 == 0, "new", "old"))
    prepare = ColumnTransformer(
        [
            ("scale", StandardScaler(), ["a", "b"]),
            ("levels", OneHotEncoder(drop="first", sparse_output=False), ["kind"]),
        ]
    )
    pipe = make_pipeline(prepare, BayesianIV(**QUICK))
    pipe.fit(frame, y, t=frame["push"], z=frame["coin"])
    assert pipe.predict(frame, t=frame["push"]).shape == y.shape
    assert np.isfinite(pipe.score(frame, y, z=frame["coin"]))
    search = GridSearchCV(pipe, {"bayesianiv__beta_t_scale": [0.1, 1.0]}, cv=2)
    search.fit(frame, y, t=frame["push"], z=frame["coin"])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@quiet
def test_one_compilation_for_a_grid(push):
    """Folds, scales, numbers of draws and clones share one compiled sampler."""
    y, t, z = push
    X = np.column_stack([t, z])
    est = BayesianIV(**QUICK, treatment=0, instruments=1).fit(X, y)
    before = nuts._program()._cache_size()
    search = GridSearchCV(est, {"beta_t_scale": [0.1, 1, 10], "draws": [100, 2500]}, cv=3)
    search.fit(X, y)
    assert nuts._program()._cache_size() == before
    assert len(set(search.cv_results_["mean_test_score"])) == 6


@quiet
def test_repr_shows_the_effect(rows):
    X, t, y, z = rows
    est = BayesianIV(**QUICK).fit(X, t, y, z=z)
    assert f"{est.effect_:.4g}" in est._repr_html_()


@quiet
def test_weights_are_repeated_rows(rows):
    X, t, y, z = rows
    weight = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    again = functools.partial(np.repeat, repeats=weight.astype(int), axis=0)
    one = BayesianIV(**QUICK).fit(X, t, y, z=z, sample_weight=weight)
    two = BayesianIV(**QUICK).fit(again(X), again(t), again(y), z=again(z))
    assert one.idata_.posterior.equals(two.idata_.posterior)

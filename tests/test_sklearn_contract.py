"""A scikit-learn estimator in every respect: checks, call forms, meta-estimators, progress."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS, _sampling
from skbayesiv.datasets import make_noncompliance
from skbayesiv.exceptions import ConvergenceWarning, NoTreatmentWarning
from skbayesiv.metrics import log_predictive_density_scorer

QUICK = {"draws": 40, "tune": 60, "chains": 1, "random_state": 0}
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([TwoStageLS(), BayesianIV(**QUICK), HierarchicalBayesianIV(**QUICK)])
def test_check_estimator(estimator, check):
    check(estimator)


ARRAY_API = """
import warnings
warnings.simplefilter("ignore")
from sklearn.utils.estimator_checks import check_estimator
from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS
quick = {"draws": 20, "tune": 30, "chains": 1, "random_state": 0}
failed = 0
for est in (TwoStageLS(), BayesianIV(**quick), HierarchicalBayesianIV(**quick)):
    failed += sum(r["status"] == "failed" for r in check_estimator(est))
print(failed)
"""


def test_check_estimator_with_array_api():
    import os

    out = subprocess.run(
        [sys.executable, "-c", ARRAY_API],
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ | {"SCIPY_ARRAY_API": "1"},
        check=False,
    )
    assert out.stdout.strip() == "0", out.stderr[-2000:]


@pytest.fixture(scope="module")
def rows():
    """An experiment with two covariates: X, t, y, z as arrays."""
    data = make_noncompliance(400, n_covariates=2, random_state=0)
    return tuple(np.asarray(a, dtype=float) for a in (data.X, data.t, data.y, data.z))


@pytest.fixture(scope="module")
def table(rows):
    """The same experiment in one data frame, covariates first."""
    X, t, y, z = rows
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "push": t, "coin": z}), pd.Series(y, name="y")


ESTIMATORS = {"two-stage": TwoStageLS(), "bayes": BayesianIV(**QUICK)}
each = pytest.mark.parametrize("est", ESTIMATORS.values(), ids=ESTIMATORS.keys())


@quiet
@each
def test_call_forms_agree(est, rows, table):
    X, t, y, z = rows
    frame, outcome = table
    reference = clone(est).fit(X, t, y, z=z).coef_
    columns = clone(est).set_params(treatment="push", instruments="coin")
    at = clone(est).set_params(treatment=2, instruments=[3])
    fitted = [
        clone(est).fit(X, y, t=t, z=z),
        clone(est).fit(X=X, t=t, y=y, z=z),
        clone(est).fit(X, t[:, None], y, z=z[:, None]),
        clone(est).fit(X.tolist(), t.tolist(), y.tolist(), z=z.tolist()),
        clone(est).fit(frame[["a", "b"]], frame["push"], outcome, z=frame[["coin"]]),
        columns.fit(frame, outcome),
        clone(columns).fit(pl.from_pandas(frame), pl.Series(y)),
        clone(columns).fit(pa.Table.from_pandas(frame), y),
        at.fit(frame.to_numpy(), y),
        clone(at).set_params(treatment=-2, instruments=-1).fit(frame, outcome),
    ]
    for other in fitted:
        assert np.array_equal(other.coef_, reference)


@quiet
@each
def test_without_covariates(est, rows):
    _, t, y, z = rows
    one = clone(est).fit(None, t, y, z=z)
    two = clone(est).fit(t=t, y=y, z=z)
    assert one.n_features_in_ == 0
    assert np.array_equal(one.coef_, two.coef_)
    assert one.predict(None, t).shape == y.shape
    assert one.predict(None, z=z).shape == y.shape


@each
def test_ambiguous_calls_raise(est, rows, table):
    X, t, y, z = rows
    frame, outcome = table
    with pytest.raises(TypeError, match=r"fit\(X, t, y, z=z\); got 4"):
        est.fit(X, t, y, z)
    with pytest.raises(TypeError, match="twice"):
        est.fit(X, t, y, t=t, z=z)
    with pytest.raises(ValueError, match="t without z"):
        est.fit(X, t, y)
    with pytest.raises(ValueError, match="z without t"):
        est.fit(X, y, z=z)
    columns = clone(est).set_params(treatment="push", instruments="coin")
    with pytest.raises(ValueError, match="one place"):
        columns.fit(frame, outcome, t=t)
    with pytest.raises(ValueError, match="both name"):
        clone(est).set_params(treatment="push", instruments=["push"]).fit(frame, outcome)
    with pytest.raises(ValueError, match="each column once"):
        clone(est).set_params(treatment="push", instruments=["coin", "coin"]).fit(frame, outcome)
    with pytest.raises(ValueError, match="instruments must name columns of X"):
        clone(est).set_params(treatment="push", instruments="dice").fit(frame, outcome)


@quiet
@each
def test_signature_is_scikit_learns(est):
    import inspect

    names = list(inspect.signature(est.fit).parameters)
    assert names[:4] == ["X", "y", "t", "z"]
    assert list(inspect.signature(est.score).parameters) == ["X", "y", "t", "z", "sample_weight"]


@quiet
def test_clone_pickle_joblib_skops(rows, tmp_path):
    X, t, y, z = rows
    est = BayesianIV(**QUICK).fit(X, t, y, z=z)
    expected = est.predict(X, t)
    assert not hasattr(clone(est), "coef_")
    again = pickle.loads(pickle.dumps(est))
    assert np.array_equal(again.predict(X, t), expected)
    assert again.idata_.posterior.equals(est.idata_.posterior)
    joblib.dump(est, tmp_path / "est.joblib")
    assert np.array_equal(joblib.load(tmp_path / "est.joblib").predict(X, t), expected)
    import skops.io

    two_stage = TwoStageLS().fit(X, t, y, z=z)
    for fitted in (est, two_stage):
        data = skops.io.dumps(fitted)
        trusted = skops.io.get_untrusted_types(data=data)
        loaded = skops.io.loads(data, trusted=trusted)
        assert np.array_equal(loaded.predict(X, t), fitted.predict(X, t))


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
    for est in (TwoStageLS(), BayesianIV(random_state=0, draws=500)):
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
def test_score_does_not_prefer_least_squares(push):
    """R^2 at the observed t prefers the confounded fit; R^2 of E[y | z] does not."""
    y, t, z = push
    iv = TwoStageLS().fit(None, t, y, z=z)
    with pytest.warns(NoTreatmentWarning):
        ols = TwoStageLS().fit(t[:, None], y)
    at_t = 1 - np.var(y - iv.predict(None, t)) / np.var(y)
    assert ols.score(t[:, None], y) == pytest.approx(0.065, abs=5e-4)
    assert at_t == pytest.approx(0.027, abs=5e-4)
    assert 0 < iv.score(None, t, y, z=z) < at_t


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
    """Folds, scales and clones share one compiled sampler."""
    y, t, z = push
    X = np.column_stack([t, z])
    begin, advance = _sampling._programs()
    before = begin._cache_size(), advance._cache_size()
    search = GridSearchCV(
        BayesianIV(random_state=0, draws=103, tune=101, treatment=0, instruments=1),
        {"beta_t_scale": [0.1, 1, 10]},
        cv=5,
    ).fit(X, y)
    assert begin._cache_size() - before[0] == 1
    assert advance._cache_size() - before[1] == 1
    assert search.best_params_["beta_t_scale"] in (0.1, 1, 10)


class Recorder:
    """A callback that counts the ends of tasks by name."""

    def __init__(self):
        self.ended = []

    def setup(self, estimator, context):
        """Begin."""

    def teardown(self, estimator, context):
        """End."""

    def on_fit_task_begin(self, estimator, context):
        """Ignore."""

    def on_fit_task_end(self, estimator, context):
        """Note the task."""
        self.ended.append(context.task_name)


@quiet
def test_callbacks_hear_of_draws(rows):
    X, t, y, z = rows
    recorder = Recorder()
    est = BayesianIV(**QUICK)
    silent = clone(est).fit(X, t, y, z=z)
    est.set_callbacks(recorder).fit(X, t, y, z=z)
    assert recorder.ended == ["draws"] * _sampling.PIECES + ["fit"]
    assert np.array_equal(est.coef_, silent.coef_)
    assert not hasattr(est, "_callback_fit_ctx")


@quiet
def test_progress_bar_under_grid_search_in_two_processes(table, capsys):
    frame, y = table
    est = BayesianIV(**QUICK, treatment="push", instruments="coin")
    search = GridSearchCV(est, {"beta_t_scale": [0.5, 1.0]}, cv=2, n_jobs=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(frame, y)
    assert "BayesianIV - fit" in capsys.readouterr().out


@quiet
def test_silent_by_default(rows, capfd):
    X, t, y, z = rows
    BayesianIV(**QUICK).fit(X, t, y, z=z)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


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

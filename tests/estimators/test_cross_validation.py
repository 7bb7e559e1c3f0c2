"""BayesianIVCV against GridSearchCV, and many experiments against one at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from experiments import POOR, QUICK, simulated
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, fit_experiments
from skbayesiv.exceptions import ConvergenceWarning
from skbayesiv.metrics import log_predictive_density_scorer

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def rows():
    """X, t, y, z of a simulated experiment."""
    return simulated(400, 1, effect=1.0)


@quiet
@pytest.mark.parametrize(
    ("scoring", "scorer"), [("r2", None), ("log_predictive_density", log_predictive_density_scorer)]
)
@pytest.mark.parametrize(
    "cv", [3, KFold(4, shuffle=True, random_state=1), ShuffleSplit(2, random_state=0)], ids=str
)
def test_equals_grid_search(rows, scoring, scorer, cv):
    X, t, y, z = rows
    scales = [0.05, 0.5, 5.0]
    est = BayesianIV(**QUICK)
    own = BayesianIVCV(est, beta_t_scale=scales, cv=cv, scoring=scoring).fit(X, t, y, z=z)
    with sklearn.config_context(enable_metadata_routing=True):
        grid = GridSearchCV(est, {"beta_t_scale": scales}, cv=cv, scoring=scorer)
        grid.fit(X, y, t=t, z=z)
    assert own.best_params_ == grid.best_params_
    for key in ("mean_test_score", "std_test_score", "rank_test_score", "split0_test_score"):
        assert np.allclose(own.cv_results_[key], grid.cv_results_[key], rtol=1e-6), key
    assert own.n_splits_ == grid.n_splits_
    assert np.allclose(own.predict(X, t), grid.best_estimator_.predict(X, t), rtol=1e-6)
    assert own.effect_ == pytest.approx(grid.best_estimator_.effect_)
    assert own.idata_.posterior.sizes["draw"] == 200


def test_without_a_template_all_are_sampled_at_once(rows):
    """And it chooses what a grid search with the same backend does."""
    X, t, y, z = rows
    scales = [0.05, 0.5, 5.0]
    own = BayesianIVCV(beta_t_scale=scales, cv=3, scoring="log_predictive_density")
    assert own.fit(X, t, y, z=z).best_estimator_.backend == "independence"
    est = BayesianIV(backend="independence", random_state=1)
    own = own.set_params(estimator=est).fit(X, t, y, z=z)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = log_predictive_density_scorer
        grid = GridSearchCV(est, {"beta_t_scale": scales}, cv=3, scoring=scorer)
        grid.fit(X, y, t=t, z=z)
    assert own.best_params_ == grid.best_params_
    for key in ("split0_test_score", "mean_test_score", "std_test_score"):
        assert np.allclose(own.cv_results_[key], grid.cv_results_[key], atol=1e-4), key


@quiet
def test_threads_change_nothing(rows):
    X, t, y, z = rows
    est = BayesianIVCV(BayesianIV(**QUICK), beta_t_scale=[0.05, 0.5, 5.0], cv=3)
    alone = est.fit(X, t, y, z=z).cv_results_["mean_test_score"]
    shared = est.set_params(n_jobs=2).fit(X, t, y, z=z).cv_results_["mean_test_score"]
    assert np.array_equal(alone, shared)


@quiet
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
@pytest.mark.parametrize("robust", [0.0, 0.3])
def test_search_with_a_history_in_column_mode(rows, robust):
    """The history is in every fold's prior: it moves the scores, as in GridSearchCV."""
    X, t, y, z = rows
    frame, scales = np.column_stack([X, t, z]), {"beta_t_scale": [0.1, 1.0]}
    history = {"effects": [2.9, 3.1], "std_errors": [0.2, 0.2], "robust_weight": robust}
    template = HierarchicalBayesianIV(**history, treatment=1, instruments=2, **QUICK)
    own = BayesianIVCV(template, **scales, cv=2).fit(frame, y)
    grid = GridSearchCV(template, scales, cv=2, error_score="raise").fit(frame, y)
    for key in ("mean_test_score", "rank_test_score", "split0_test_score", "split1_test_score"):
        assert np.allclose(own.cv_results_[key], grid.cv_results_[key], rtol=1e-6), key
    assert own.best_params_ == grid.best_params_
    assert own.effect_ == pytest.approx(grid.best_estimator_.effect_)
    alone = BayesianIVCV(BayesianIV(treatment=1, instruments=2, **QUICK), **scales, cv=2)
    off = alone.fit(frame, y).cv_results_["mean_test_score"] - own.cv_results_["mean_test_score"]
    assert np.abs(off).max() > 0.02


@quiet
def test_answers_are_the_best_estimators(rows):
    """In column mode too, whatever the order of the columns."""
    X, t, y, z = rows
    frame = pd.DataFrame({"push": t, "age": X[:, 0], "coin": z})
    template = BayesianIV(treatment="push", instruments="coin", **QUICK)
    own = BayesianIVCV(template, beta_t_scale=[0.1, 1.0], cv=2).fit(frame, y)
    best = own.best_estimator_
    assert list(best.feature_names_in_) == list(frame)
    assert np.array_equal(own.predict(frame), best.predict(frame))
    assert np.array_equal(own.predict_interval(frame), best.predict_interval(frame))
    assert np.array_equal(own.effect_interval(0, 2, level=0.5), best.effect_interval(0, 2, 0.5))
    density = own.log_predictive_density(frame, y=y)
    assert np.array_equal(density, best.log_predictive_density(frame, y=y))
    assert own.summary().equals(best.summary())
    with pytest.raises(NotFittedError):
        BayesianIVCV().effect_interval()


def test_search_takes_no_batches():
    assert hasattr(BayesianIV(), "partial_fit")
    assert not hasattr(BayesianIVCV(), "partial_fit")


def experiments(count):
    """A table of `count` small experiments with effects 1, 1.1, ..."""
    parts = []
    for i in range(count):
        _, t, y, z = simulated(200 + 10 * i, effect=1.0 + 0.1 * i, seed=i)
        parts.append(pd.DataFrame({"week": f"w{i:02d}", "t": t, "y": y, "z": z}))
    return pd.concat(parts).sample(frac=1.0, random_state=0)


ROLES = {"by": "week", "outcome": "y", "treatment": "t", "instruments": "z"}


@quiet
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_many_equal_one_at_a_time(n_jobs):
    frame = experiments(5)
    est = BayesianIV(**QUICK)
    fits = fit_experiments(frame, **ROLES, estimator=est, n_jobs=n_jobs)
    assert list(fits.effects.index) == sorted(frame["week"].unique())
    assert fits.idata.posterior["beta_t"].dims == ("chain", "draw", "experiment", "treatment")
    for week, part in frame.groupby("week"):
        alone = BayesianIV(**QUICK).fit(None, part["t"], part["y"], z=part["z"])
        one = alone.idata_.posterior["beta_t"].to_numpy()[..., 0]
        many = fits.idata.posterior["beta_t"].sel(experiment=week).to_numpy()[..., 0]
        assert np.array_equal(many, one)
        said = HierarchicalBayesianIV.from_estimators([alone])
        found = fits.effects.loc[week, "t"], fits.std_errors.loc[week, "t"]
        assert found == pytest.approx((said.effects.iloc[0, 0], said.std_errors.iloc[0, 0]))
    again = HierarchicalBayesianIV.from_estimators(fits)
    assert again.meta_analysis().n_experiments == 5


def test_many_warns_by_name():
    with pytest.warns(ConvergenceWarning, match="experiments"):
        fit_experiments(
            experiments(2),
            **ROLES,
            estimator=BayesianIV(**POOR),
        )


@quiet
@pytest.mark.parametrize("with_x", [False, True])
@pytest.mark.parametrize("clustered", [False, True])
def test_moment_conditions_equal_grid_search(rows, with_x, clustered):
    X, t, y, z = rows
    X = X if with_x else np.empty((len(y), 0))
    frame = pd.DataFrame(np.column_stack([X, t, z])).add_prefix("c")
    roles = {"treatment": f"c{X.shape[1]}", "instruments": f"c{X.shape[1] + 1}"}
    est = BayesianIV(likelihood="gmm", **roles, **QUICK)
    clusters = np.arange(len(y)) // 2 if clustered else None
    scales = [0.05, 5.0]
    own = BayesianIVCV(est, beta_t_scale=scales, cv=3).fit(frame, y, clusters=clusters)
    grid = GridSearchCV(est, {"beta_t_scale": scales}, cv=3)
    grid.fit(frame, y, **({"clusters": clusters} if clustered else {}))
    for key in ("mean_test_score", "rank_test_score", "split0_test_score"):
        assert np.allclose(own.cv_results_[key], grid.cv_results_[key], rtol=1e-6), key
    assert own.effect_ == pytest.approx(grid.best_estimator_.effect_)


@quiet
def test_many_quasi_posteriors():
    frame = experiments(3)
    est = BayesianIV(likelihood="gmm", **QUICK)
    fits = fit_experiments(frame, **ROLES, estimator=est)
    assert "sigma" not in fits.idata.posterior
    for week, part in frame.groupby("week"):
        alone = BayesianIV(likelihood="gmm", **QUICK)
        alone.fit(None, part["t"], part["y"], z=part["z"])
        one = alone.idata_.posterior["beta_t"].to_numpy()[..., 0]
        many = fits.idata.posterior["beta_t"].sel(experiment=week).to_numpy()[..., 0]
        assert np.array_equal(many, one)
        assert np.allclose(fits.moments[week].scatter, alone.moments_.scatter)


def test_what_moment_conditions_cannot_do(rows):
    X, t, y, z = rows
    est = BayesianIV(likelihood="gmm", **QUICK)
    frame = experiments(2)
    with pytest.raises(ValueError, match='covariates must be empty with likelihood="gmm"'):
        fit_experiments(frame.assign(x=1.0), **ROLES, covariates="x", estimator=est)
    search = BayesianIVCV(est, scoring="log_predictive_density")
    with pytest.raises(ValueError, match='scoring must be "r2"'):
        search.fit(X, t, y, z=z)


@quiet
@pytest.mark.parametrize("likelihood", ["normal", "gmm"])
def test_an_indicator_that_is_zero_in_all_rows_of_a_fold(likelihood):
    """Its coefficient has a proper prior; moment conditions have none, and say so."""
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 200)
    t = z + rng.normal(size=200)
    y = t + rng.normal(size=200)
    rare = (np.arange(200) == 5) * 1.0
    search = BayesianIVCV(BayesianIV(likelihood=likelihood, **QUICK), beta_t_scale=[0.1, 1.0], cv=4)
    if likelihood == "gmm":
        with pytest.raises(ValueError, match="X must vary: column 'x' is constant at 0"):
            search.fit(rare[:, None], t, y, z=z)
        return
    search.fit(rare[:, None], t, y, z=z)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    alone = BayesianIV(**QUICK).fit(rare[50:, None], t[50:], y[50:], z=z[50:])
    prior = alone.prior_summary().loc["gamma_y[x]", "scale"]
    assert alone.idata_.posterior["gamma_y"].std() == pytest.approx(prior, rel=0.2)

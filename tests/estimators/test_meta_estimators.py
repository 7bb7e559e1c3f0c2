"""The documentation says what meta-estimators do."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import sklearn
from meta_estimators import GRID, QUICK, TABLE, WAYS, experiment, table
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbayesiv import BayesianIV, TwoStageLS

FRAME, Y, X, T, Z = experiment()
NAMED = TwoStageLS(treatment=2, instruments=3)


def test_the_documented_table_is_what_happens():
    with TABLE.open(newline="") as file:
        header, *documented = [tuple(row) for row in csv.reader(file)]
    assert header == WAYS
    assert table() == documented


@pytest.mark.parametrize(
    ("outer", "own"),
    [
        (GridSearchCV(NAMED, {"method": ["2sls"]}, cv=2), True),
        (make_pipeline(StandardScaler(), NAMED), True),
        (BaggingRegressor(NAMED, n_estimators=2, random_state=0), False),
        (StackingRegressor([("iv", NAMED)], cv=2), False),
        (VotingRegressor([("iv", NAMED)]), False),
        (TransformedTargetRegressor(NAMED, transformer=StandardScaler()), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whose_score_it_is(outer, own):
    """The estimator's, R^2 of E[y | X, z], or the meta-estimator's, R^2 at the observed t."""
    rows = FRAME.to_numpy()
    outer = clone(outer).fit(rows, Y)
    given_z = clone(NAMED).fit(rows, Y).score(rows, Y)
    at_t = r2_score(Y, outer.predict(rows))
    assert outer.score(rows, Y) == pytest.approx(given_z if own else at_t)
    assert given_z < at_t - 0.1


def test_r2_by_name_is_at_the_observed_t():
    rows = FRAME.to_numpy()
    by_name = cross_val_score(NAMED, rows, Y, cv=2, scoring="r2")
    assert (by_name > cross_val_score(NAMED, rows, Y, cv=2)).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_searches_predict_through_their_best_estimator():
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(BayesianIV(**QUICK), GRID, cv=2).fit(X, Y, t=T, z=Z)
        with pytest.raises(TypeError, match=r"predict.* unexpected keyword argument 't'"):
            search.predict(X, t=T)
    assert np.isfinite(search.best_estimator_.predict(X, t=T)).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_two_processes_score_as_one():
    est = BayesianIV(**QUICK, treatment="push", instruments="coin")
    one, two = (GridSearchCV(est, GRID, cv=2, n_jobs=n_jobs).fit(FRAME, Y) for n_jobs in (None, 2))
    for key in ("split0_test_score", "split1_test_score", "mean_test_score"):
        assert np.array_equal(one.cv_results_[key], two.cv_results_[key])
    assert np.array_equal(one.best_estimator_.coef_, two.best_estimator_.coef_)


@pytest.mark.parametrize("transform", ["pandas", "polars"])
def test_names_survive_transformers_that_keep_them(transform):
    est = TwoStageLS(treatment="push", instruments="coin")
    scaler = StandardScaler()
    for pipe in (
        make_pipeline(clone(scaler), est).set_output(transform=transform),
        make_pipeline(clone(scaler).set_output(transform=transform), est),
    ):
        pipe.fit(FRAME, Y)
        unscaled = clone(est).fit(FRAME, Y)
        assert pipe[-1].effect_ == pytest.approx(unscaled.effect_ * FRAME["push"].std(ddof=0))
        assert np.allclose(pipe.predict(FRAME), unscaled.predict(FRAME))
        assert list(pipe[-1].feature_names_in_) == list(FRAME)
    assert not hasattr(est, "transform")
    assert not hasattr(est, "get_feature_names_out")

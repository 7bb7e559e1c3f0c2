"""The documentation says what meta-estimators do."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import sklearn
from experiments import QUICK
from meta_estimators import GRID, META_ESTIMATORS, TABLE, WAYS, experiment, table
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbayesiv import BayesianIV, TwoStageLS

FRAME, Y, X, T, Z = experiment()
NAMED = TwoStageLS(treatment=2, instruments=3)
COLUMNS = FRAME.to_numpy()  # covariates, t, z


def test_the_documented_table_is_what_happens():
    with TABLE.open(newline="") as file:
        header, *documented = [tuple(row) for row in csv.reader(file)]
    assert header == WAYS
    assert table() == documented


# --- The numbers are those of the right rows ------------------------------------------------
#
# Written here with the rows chosen by hand. Two-stage least squares does not depend on the scales
# that a pipeline gives X, or X, t and z; with one instrument LIML is the same.

METHODS = {"method": ["2sls", "liml"]}
HALVES = [(np.arange(200, 400), np.arange(200)), (np.arange(200), np.arange(200, 400))]


def fit(rows, y=Y, at=slice(None)):
    return TwoStageLS().fit(X[rows, at], T[rows], y[rows], z=Z[rows])


def predicted(train, test=slice(None)):
    return fit(train).predict(X[test], T[test])


def score(train, test):
    return fit(train).score(X[test], T[test], Y[test], z=Z[test])


def fold_scores():
    return [score(train, test) for train, test in HALVES]


def both_methods():
    return [np.mean(fold_scores())] * 2


def learning_curve_by_hand():
    small = [score(train[:100], test) for train, test in HALVES]
    return [small, fold_scores()]


def bagging_by_hand():
    other = BaggingRegressor(LinearRegression(), n_estimators=2, random_state=0).fit(X, Y)
    return np.mean([predicted(rows) for rows in other.estimators_samples_], axis=0)


def stacking_by_hand():
    ols = LinearRegression()
    held_out = np.concatenate([predicted(train, test) for train, test in HALVES])
    held_out = np.column_stack([held_out, cross_val_predict(ols, COLUMNS, Y, cv=2)])
    whole = np.column_stack([predicted(slice(None)), ols.fit(COLUMNS, Y).predict(COLUMNS)])
    return RidgeCV().fit(held_out, Y).predict(whole)


def voting_by_hand():
    ols = LinearRegression().fit(COLUMNS, Y).predict(COLUMNS)
    return (predicted(slice(None)) + ols) / 2


def importance_by_hand():
    """R^2 of E[y | X, z] does not use t; t's column is the third."""
    rng, whole, out = np.random.RandomState(0), fit(slice(None)), []
    seed = rng.randint(np.iinfo(np.int32).max + 1)
    for j in range(4):
        shuffled, order, off = COLUMNS.copy(), np.arange(400), []
        draw = np.random.RandomState(seed)
        for _ in range(2):
            draw.shuffle(order)
            shuffled[:, j] = shuffled[order, j]
            off.append(whole.score(shuffled[:, :2], Y, t=T, z=shuffled[:, 3]))
        out.append(whole.score(X, Y, t=T, z=Z) - np.mean(off))
    return out


def elimination_by_hand():
    larger = np.abs(fit(slice(None)).coef_[1:]).argmax()
    at = slice(larger, larger + 1)
    return fit(slice(None), at=at).predict(X[:, at], T)


BY_HAND = {
    "GridSearchCV": both_methods,
    "RandomizedSearchCV": both_methods,
    "Pipeline": lambda: predicted(slice(None)),
    "Pipeline, transformer with set_output": lambda: predicted(slice(None)),
    "GridSearchCV over a Pipeline": both_methods,
    "cross_validate": fold_scores,
    "cross_val_score": fold_scores,
    "cross_val_predict": lambda: np.concatenate([predicted(*fold) for fold in HALVES]),
    "learning_curve": learning_curve_by_hand,
    "validation_curve": lambda: [fold_scores()] * 2,
    "nested cross-validation": fold_scores,
    "BaggingRegressor": bagging_by_hand,
    "StackingRegressor": stacking_by_hand,
    "VotingRegressor": voting_by_hand,
    "TransformedTargetRegressor": lambda: predicted(slice(None)),
    "permutation_importance": importance_by_hand,
    "RFE, importance_getter=covariates": elimination_by_hand,
}
ROUTED_ONLY = {"RFE, importance_getter=covariates"}
COLUMNS_ONLY = {"cross_val_predict", "StackingRegressor", "VotingRegressor"}
COLUMNS_ONLY |= {"permutation_importance"}


@pytest.mark.parametrize("name", [name for name in BY_HAND if name not in COLUMNS_ONLY])
def test_routed_rows_stay_in_step(name):
    with sklearn.config_context(enable_metadata_routing=True):
        numbers = META_ESTIMATORS[name](TwoStageLS(), X, Y, {"t": T, "z": Z}, METHODS)
    assert np.allclose(numbers, BY_HAND[name](), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in BY_HAND if name not in ROUTED_ONLY])
def test_columns_stay_in_step(name):
    numbers = META_ESTIMATORS[name](clone(NAMED), COLUMNS, Y, {}, METHODS)
    assert np.allclose(numbers, BY_HAND[name](), rtol=1e-8, atol=1e-10)


def test_halving_takes_the_same_rows_either_way():
    run = META_ESTIMATORS["HalvingGridSearchCV"]
    by_column = run(clone(NAMED), COLUMNS, Y, {}, METHODS)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = run(TwoStageLS(), X, Y, {"t": T, "z": Z}, METHODS)
    assert np.allclose(routed, by_column, rtol=1e-8)


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

"""Every meta-estimator of scikit-learn's that takes a regressor, in four ways of passing t, z.

``python tests/meta_estimators.py`` writes docs/_data/meta_estimators.csv.
"""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from experiments import QUICK, simulated
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFE
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbayesiv import BayesianIV

TABLE = Path(__file__).parents[1] / "docs" / "_data" / "meta_estimators.csv"
WAYS = ("meta-estimator", "routed", "columns by position", "columns by name", "routing off")
GRID = {"beta_t_scale": [0.5, 5.0]}


def pipeline(est):
    return make_pipeline(StandardScaler(), est)


def pipe_grid(est, grid):
    """The grid of an estimator at the end of a pipeline."""
    return {f"{type(est).__name__.lower()}__{name}": values for name, values in grid.items()}


# Each entry runs a meta-estimator around an estimator and returns the numbers that it gives.


def search(make):
    def run(est, X, y, params, grid):
        return make(est, grid).fit(X, y, **params).cv_results_["mean_test_score"]

    return run


def fit_predict(make):
    def run(est, X, y, params, grid):
        fitted = make(est).fit(X, y, **params)
        # Predicting needs t, or in column mode nothing.
        return fitted.predict(X, **({"t": params["t"]} if params else {}))

    return run


def scores(function, **options):
    def run(est, X, y, params, grid):
        out = function(est, X, y, cv=2, params=params or None, error_score="raise", **options)
        values = out["test_score"] if isinstance(out, dict) else out
        return values[-1] if isinstance(values, tuple) else values

    return run


def curve_of_a_parameter(est, X, y, params, grid):
    ((name, values),) = grid.items()
    run = scores(validation_curve, param_name=name, param_range=values)
    return run(est, X, y, params, grid)


def predictions(est, X, y, params, grid):
    return cross_val_predict(est, X, y, cv=2, params=params or None)


def nested(est, X, y, params, grid):
    inner = GridSearchCV(est, grid, cv=2, error_score="raise")
    return cross_val_score(inner, X, y, cv=2, params=params or None, error_score="raise")


def importance(est, X, y, params, grid):
    fitted = est.fit(X, y, **params)
    return permutation_importance(fitted, X, y, n_repeats=2, random_state=0).importances_mean


def covariate_sizes(est):
    """Coefficients of the covariates alone: coef_ begins with the treatments'."""
    return est.coef_[est.n_treatments_ :]


META_ESTIMATORS = {
    "GridSearchCV": search(lambda e, grid: GridSearchCV(e, grid, cv=2, error_score="raise")),
    "HalvingGridSearchCV": search(
        lambda e, grid: HalvingGridSearchCV(
            e, grid, cv=2, factor=2, min_resources=100, random_state=0, error_score="raise"
        )
    ),
    "RandomizedSearchCV": search(
        lambda e, grid: RandomizedSearchCV(
            e, grid, n_iter=2, cv=2, random_state=0, error_score="raise"
        )
    ),
    "Pipeline": fit_predict(pipeline),
    "Pipeline, transformer with set_output": fit_predict(
        lambda e: make_pipeline(StandardScaler().set_output(transform="pandas"), e)
    ),
    "GridSearchCV over a Pipeline": search(
        lambda e, grid: GridSearchCV(pipeline(e), pipe_grid(e, grid), cv=2, error_score="raise")
    ),
    "cross_validate": scores(cross_validate),
    "cross_val_score": scores(cross_val_score),
    "cross_val_predict": predictions,
    "learning_curve": scores(learning_curve, train_sizes=[0.5, 1.0]),
    "validation_curve": curve_of_a_parameter,
    "nested cross-validation": nested,
    "BaggingRegressor": fit_predict(lambda e: BaggingRegressor(e, n_estimators=2, random_state=0)),
    "StackingRegressor": fit_predict(
        lambda e: StackingRegressor([("iv", e), ("ols", LinearRegression())], cv=2)
    ),
    "VotingRegressor": fit_predict(
        lambda e: VotingRegressor([("iv", e), ("ols", LinearRegression())])
    ),
    "TransformedTargetRegressor": fit_predict(
        lambda e: TransformedTargetRegressor(e, transformer=StandardScaler())
    ),
    "permutation_importance": importance,
    "RFE": fit_predict(lambda e: RFE(e, n_features_to_select=1)),
    "RFE, importance_getter=covariates": fit_predict(
        lambda e: RFE(e, n_features_to_select=1, importance_getter=covariate_sizes)
    ),
}


def attempt(run, est, X, y, params):
    """Return "works", or what the error says, shortened to its first sentence."""
    try:
        out = run(est, X, y, params, GRID)
    except (ValueError, TypeError, IndexError) as error:
        text = " ".join(str(error).split())
        return f"{type(error).__name__}: {text.split('. ')[0].removesuffix('.')[:180]}"
    return "works" if np.isfinite(out).all() else "numbers are not finite"


def experiment():
    """A frame of covariates, treatment and instrument; the outcome; and X, t, z as arrays."""
    X, t, y, z = simulated(400, 2)
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "push": t, "coin": z}), y, X, t, z


def table():
    """Rows of what happens, by the columns of `WAYS`."""
    frame, y, X, t, z = experiment()
    at = BayesianIV(**QUICK, treatment=2, instruments=3)
    named = BayesianIV(**QUICK, treatment="push", instruments="coin")
    out = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, run in META_ESTIMATORS.items():
            with sklearn.config_context(enable_metadata_routing=True):
                routed = attempt(run, BayesianIV(**QUICK), X, y, {"t": t, "z": z})
            by_position = attempt(run, clone(at), frame.to_numpy(), y, {})
            by_name = attempt(run, clone(named), frame, y, {})
            off = attempt(run, BayesianIV(**QUICK), X, y, {"t": t, "z": z})
            out.append((name, routed, by_position, by_name, off))
    return out


def main():
    """Write the table for the documentation."""
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(WAYS)
        writer.writerows(table())


if __name__ == "__main__":
    main()

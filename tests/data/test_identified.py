"""Moments that no posterior follows from are refused before anything is sampled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from experiments import QUICK

from skbayesiv import BayesianIV, BayesianIVCV, TwoStageLS, fit_experiments
from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData

N = 60
RNG = np.random.default_rng(0)
Z = np.tile([0.0, 1.0], N // 2)
T = Z + RNG.normal(size=N)
X = RNG.normal(size=(N, 1))
Y = T + X[:, 0] + RNG.normal(size=N)
COLUMNS = Columns(("x",), ("z",), ("t",), "y")
BAYES, CLASSICAL = BayesianIV(random_state=0), TwoStageLS(cov_type="unadjusted")


def moments(y, rows=slice(None)):
    data = IVData(X[rows], Z[rows, None], T[rows, None], y[rows], None, COLUMNS)
    return Moments.from_data(data)


def broken(name, at):
    value = np.array(getattr(moments(Y), name))
    value[at] = np.nan
    value = float(value) if name == "weight" else value
    return replace(moments(Y), **{name: value})


NOT_FINITE = {
    "weight": (broken("weight", ()), "sample_weight must have a finite sum; got nan"),
    "total": (broken("total", 3), r"finite sums of squares: those of \['y'\] are not. Rescale"),
    "cross": (broken("cross", ...), r"those of \['x', 'z', 't', 'y'\] are not"),
    "one product": (broken("cross", ([0, 2], [2, 0])), r"those of \['x', 't'\] are not"),
}


@pytest.mark.parametrize("est", [BAYES, CLASSICAL], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("case", NOT_FINITE)
def test_moments_must_be_finite(est, case):
    bad, message = NOT_FINITE[case]
    with pytest.raises(ValueError, match=message):
        est.fit_moments(bad)


@pytest.mark.parametrize("est", [BAYES, CLASSICAL], ids=lambda e: type(e).__name__)
def test_squares_that_overflow(est):
    with pytest.raises(ValueError, match=r"those of \['y'\] are not. Rescale"):
        est.fit(X, T, 1e200 * Y, z=Z)


FITTED_EXACTLY = {
    "constant": (np.full(N, 3.5), {}, "y must vary: column 'y' is constant at 3.5"),
    "by t": (2.0 * T + 1.0, {}, r"an error: .*'y'.* the constant and \['x', 'z', 't'\]"),
    "by z": (X[:, 0] - 4.0 * Z, {}, "y must have an error"),
    "no intercept": (2.0 * T, {"fit_intercept": False}, r"linear combination of \['x', 'z', 't'\]"),
    "zero": (0.0 * T, {"fit_intercept": False}, "y must have an error"),
    "gmm": (2.0 * T, {"likelihood": "gmm"}, "y must have an error"),
}


@pytest.mark.parametrize("case", FITTED_EXACTLY)
def test_outcome_without_error(case):
    y, parameters, message = FITTED_EXACTLY[case]
    est = BayesianIV(**parameters)
    with pytest.raises(ValueError, match=message):
        est.fit(X, T, y, z=Z)


def identity():
    """Schooling and experience, of which age, an instrument, is the sum (less a constant)."""
    age, near, ability = RNG.integers(25, 40, N), RNG.integers(0, 2, N), RNG.normal(size=N)
    schooling = np.round(12 + near + 2 * ability + RNG.normal(size=N))
    return np.column_stack([schooling, age - schooling - 6]), np.column_stack([near, age])


PAIR = np.column_stack([T, X[:, 0]])
TREATMENTS_WITHOUT_ERROR = {
    "identity": (*identity(), {}, r"'t1' is a linear combination of the constant .*'z1', 't0'\]"),
    "its own instrument": (PAIR, np.column_stack([Z, X[:, 0]]), {}, "'t1' is a linear"),
    "everybody complied": (Z, Z, {}, "everybody complied, make it a column of X"),
    "no intercept": (2 * Z, Z, {"fit_intercept": False}, r"'t' is a linear combination of \['z'\]"),
    "regression": (3 - Z, Z, {"sigma_prior": "regression"}, "t must have an error"),
}


@pytest.mark.parametrize("case", TREATMENTS_WITHOUT_ERROR)
def test_treatments_without_error(case):
    """The errors' covariance is singular: the chains froze, and effects changed with the seed."""
    t, z, parameters, message = TREATMENTS_WITHOUT_ERROR[case]
    with pytest.raises(ValueError, match=message):
        BayesianIV(**parameters).fit(None, t, Y, z=z)


def test_treatments_without_error_where_none_is_needed():
    t, z, *_ = TREATMENTS_WITHOUT_ERROR["its own instrument"]
    two = TwoStageLS().fit(None, t, Y, z=z)
    x = np.column_stack([np.ones(N), t])
    fitted = (
        np.column_stack([np.ones(N), z])
        @ np.linalg.lstsq(np.column_stack([np.ones(N), z]), x, rcond=None)[0]
    )
    np.testing.assert_allclose(two.effect_, np.linalg.lstsq(fitted, Y, rcond=None)[0][1:])
    gmm = BayesianIV(likelihood="gmm", **QUICK | {"draws": 1000}).fit(None, Z, Y, z=Z)
    assert gmm.effect_ == pytest.approx(TwoStageLS().fit(None, Z, Y, z=Z).effect_, abs=0.1)


def test_outcome_without_error_in_many_fits():
    frame = pd.DataFrame({"y": np.r_[Y, 0.0 * Y], "t": np.r_[T, T], "z": np.r_[Z, Z]})
    frame["group"] = np.repeat(["a", "b"], N)
    roles = {"outcome": "y", "treatment": "t", "instruments": "z"}
    with pytest.raises(ValueError, match="Experiment 'b': y must vary"):
        fit_experiments(frame[N:], by="group", **roles, estimator=BAYES)
    y = np.where(np.arange(N) < N // 2, 1.0, Y)  # constant in the training rows of one fold
    with pytest.raises(ValueError, match="y must vary"):
        BayesianIVCV(BAYES, cv=2).fit(X, T, y, z=Z)


def test_outcome_fitted_by_as_many_columns_as_rows():
    """Then an exact fit says nothing of the error, and its posterior is proper."""
    est = BayesianIV(**QUICK | {"target_accept": 0.9})
    with pytest.warns(UserWarning, match="has not converged"):
        est.fit_moments(moments(Y, slice(4)))
    assert np.isfinite(est.idata_.posterior["beta_t"]).all()
    with pytest.raises(ValueError, match="y must have an error"):
        est.fit_moments(moments(Y, slice(4)) + moments(Y, slice(4)))


def test_classical_fit_of_an_outcome_without_error():
    assert TwoStageLS().fit(X, T, 2.0 * T, z=Z).effect_ == pytest.approx(2.0)


def test_collinear_message_says_the_threshold_and_what_to_do():
    year = 2000.0 + np.arange(N)
    powers = np.column_stack([year, year**2, year**3])
    message = r"X must not be perfectly collinear: column 'x2'.* to 1e-08 of its sum of squares"
    with pytest.raises(ValueError, match=message + ".*centre what powers"):
        BAYES.fit(powers, T, Y, z=Z)

"""Without a treatment it is least squares; and what cannot be identified."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression
from two_stage_fits import METHODS, clustered_rows

from skbayesiv import TwoStageLS


@pytest.fixture(scope="module")
def data():
    return clustered_rows()


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("width", [2, 12])
def test_without_treatment_is_least_squares(method, fit_intercept, width):
    rng = np.random.default_rng(1)
    X, y, weight = rng.normal(1.0, 1.0, (8, width)), rng.normal(size=8), rng.integers(1, 3, 8)
    est = TwoStageLS(method=method, fit_intercept=fit_intercept).fit(X, y, sample_weight=weight)
    other = LinearRegression(fit_intercept=fit_intercept).fit(X, y, sample_weight=weight)
    assert_allclose(est.coef_, other.coef_)
    assert_allclose(est.intercept_, other.intercept_, atol=1e-12)
    assert_allclose(est.predict(X), other.predict(X))
    assert np.isnan(est.covariance_.to_numpy()).all() == (width > len(y))
    assert est.score(X, y) == pytest.approx(other.score(X, y))
    with pytest.raises(AttributeError, match="without t and z"):
        _ = est.effect_


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
def test_mean_only():
    est = TwoStageLS(cov_type="unadjusted").fit(None, [1.0, 2.0, 6.0])
    assert est.intercept_ == pytest.approx(3.0)
    with pytest.raises(ValueError, match="X or t must be given when fit_intercept=False"):
        TwoStageLS(fit_intercept=False).fit(None, [1.0, 2.0, 6.0])


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
def test_exact_fit_has_no_error():
    x = np.arange(5.0)[:, None]
    table = TwoStageLS().fit(x, np.zeros(5)).summary().table
    assert_allclose(table[["estimate", "std_err"]], 0.0, atol=1e-12)


def test_dummies_without_intercept(data):
    """A full set of dummies is collinear with the constant only."""
    dummies = np.eye(3)[data["clusters"] % 3]
    args = {"t": data["t"], "z": data["z"]}
    full = TwoStageLS(fit_intercept=False).fit(dummies, data["y"], **args)
    assert_allclose(full.effect_, TwoStageLS().fit(dummies[:, 1:], data["y"], **args).effect_)


def test_irrelevant_instrument():
    y, t, z = [1.0, 2.0, 4.0, 3.0], [0, 0, 1, 1], [0, 1, 0, 1]
    with pytest.raises(ValueError, match=r"z must move t.* \['t'\] with \['z'\] is zero"):
        TwoStageLS().fit(None, t, y, z=z)


def test_one_instrument_moves_both_treatments(data):
    """Two instruments, but only their sum matters: the effects cannot be told apart."""
    z = data["z"][:, :2]
    t = np.column_stack([z.sum(axis=1), 2.0 * z.sum(axis=1)])
    noise = (
        data["t"]
        - np.column_stack([np.ones(len(t)), z])
        @ np.linalg.lstsq(np.column_stack([np.ones(len(t)), z]), data["t"], rcond=None)[0]
    )
    with pytest.raises(ValueError, match="each treatment apart"):
        TwoStageLS().fit(None, t + noise, data["y"], z=z)

"""TwoStageLS against linearmodels, and what weights, units and the order of rows change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from experiments import unchecked
from numpy.testing import assert_allclose
from scipy import stats
from two_stage_fits import COV_TYPES, METHODS, clustered_rows, fitted, linearmodels_fit

from skbayesiv import TwoStageLS


@pytest.fixture(scope="module")
def data():
    return clustered_rows()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cov_type", COV_TYPES)
@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("width", [2, 4], ids="{} instruments".format)
def test_agrees_with_linearmodels(data, method, cov_type, debiased, fit_intercept, width):
    """Two treatments, so that two instruments just identify their effects."""
    data = data | {"z": data["z"][:, :width]}
    options = {"debiased": debiased, "fit_intercept": fit_intercept}
    est = fitted(
        data, method=method, cov_type=cov_type, clusters=cov_type == "clustered", **options
    )
    other = linearmodels_fit(data, method, cov_type, **options)
    order = [*range(int(fit_intercept)), *(i + fit_intercept for i in (2, 3, 0, 1))]
    params = [est.intercept_] * fit_intercept + [*est.coef_]
    assert_allclose(params, other.params.iloc[order], rtol=1e-9)
    errors = np.sqrt(np.diag(other.cov))[order]
    cov = est.covariance_ / np.outer(errors, errors)
    expected = other.cov.iloc[order, order] / np.outer(errors, errors)
    assert_allclose(cov, expected, rtol=1e-9, atol=1e-9)
    table = est.summary(level=0.9).table
    p_values, intervals = other.pvalues.iloc[order], other.conf_int(0.9).iloc[order]
    if debiased and cov_type == "clustered":  # linearmodels has n - k degrees of freedom
        law = stats.t(len(np.unique(data["clusters"])) - 1)
        p_values = 2.0 * law.sf(np.abs(other.tstats.iloc[order]))
        reach = law.isf(0.05) * errors
        intervals = np.column_stack([params - reach, params + reach])
    assert_allclose(table["p_value"], p_values, rtol=1e-7)
    assert_allclose(table[["lower", "upper"]], intervals, rtol=1e-9)
    assert_allclose(est.effect_, est.coef_[:2])


def test_methods_differ_when_over_identified(data):
    effects = [fitted(data, method=method).effect_[0] for method in METHODS]
    assert len(set(np.round(effects, 6))) == 3


@unchecked
def test_clusters_imply_clustered_errors(data):
    est = fitted(data, clusters=True)
    assert est.cov_type_ == "clustered"
    assert_allclose(est.covariance_, fitted(data, clusters=True, cov_type="clustered").covariance_)
    labels = pd.Series(data["clusters"]).map("village {}".format)
    named = TwoStageLS().fit(data["x"], data["t"], data["y"], z=data["z"], clusters=labels)
    assert_allclose(named.covariance_, est.covariance_)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cov_type", COV_TYPES)
@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_weight_is_a_repeated_row(data, method, cov_type, debiased, fit_intercept):
    params = {"method": method, "cov_type": cov_type, "debiased": debiased}
    params |= {"fit_intercept": fit_intercept, "clusters": cov_type == "clustered"}
    rows = np.repeat(np.arange(len(data["y"])), data["weight"].astype(int))
    weighted, repeated = fitted(data, weighted=True, **params), fitted(data, rows, **params)
    assert_allclose(weighted.summary().table, repeated.summary().table, rtol=1e-9, atol=1e-14)
    assert_allclose(weighted.first_stage_coef_, repeated.first_stage_coef_)
    assert weighted.dof_ == repeated.dof_
    for rows in ({"t": data["t"]}, {"z": data["z"]}):
        predictions = [e.predict(data["x"], **rows, return_std=True) for e in (weighted, repeated)]
        assert_allclose(*predictions)


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
@pytest.mark.parametrize("cov_type", ["robust", "unadjusted"])
def test_weighted_least_squares(data, cov_type):
    rows = np.repeat(np.arange(len(data["y"])), data["weight"].astype(int))
    est = TwoStageLS(cov_type=cov_type)
    weighted = est.fit(data["x"], data["y"], sample_weight=data["weight"]).summary().table
    repeated = est.fit(data["x"][rows], data["y"][rows]).summary().table
    assert_allclose(weighted, repeated, rtol=1e-9, atol=1e-14)


def test_zero_weight_drops_the_row(data):
    kept = data["weight"] > 0
    y = np.where(kept, data["y"], 1e6)
    args = {"z": data["z"], "sample_weight": kept.astype(float)}
    weighted = TwoStageLS().fit(data["x"], data["t"], y, **args)
    assert_allclose(weighted.covariance_, fitted(data, kept).covariance_)
    assert weighted.results_.nobs == kept.sum()


def test_weights_scale_the_covariance(data):
    """Half a row each: the same coefficients, twice the variance; and a word about it."""
    one, half = fitted(data), np.full(len(data["y"]), 0.5)
    with pytest.warns(UserWarning, match=r"not whole numbers.* 150 obs.*sample_weight_type="):
        half = TwoStageLS().fit(data["x"], data["t"], data["y"], z=data["z"], sample_weight=half)
    assert_allclose(half.coef_, one.coef_)
    assert_allclose(half.covariance_, 2.0 * one.covariance_)


@pytest.mark.parametrize("method", METHODS)
def test_units(data, method):
    """The effect is in units of y per unit of t, whatever those of z."""
    one = fitted(data, method=method)
    scaled = data | {"y": 100.0 * data["y"] + 5.0, "z": data["z"] / 7.0 - 2.0}
    scaled["t"] = data["t"] / 10.0 + 3.0
    other = fitted(scaled, method=method)
    assert_allclose(other.effect_, 1000.0 * one.effect_)
    table, expected = other.summary().table, one.summary().table
    assert_allclose(table["t_stat"].iloc[1:], expected["t_stat"].iloc[1:])


def test_order_of_rows(data):
    rows = np.random.default_rng(3).permutation(len(data["y"]))
    assert_allclose(fitted(data, rows).covariance_, fitted(data).covariance_)


def test_float32(data):
    single = {name: data[name].astype(np.float32) for name in "xtyz"}
    assert_allclose(fitted(data | single).coef_, fitted(data).coef_, rtol=1e-4)
    assert fitted(data | single).coef_.dtype == np.float64

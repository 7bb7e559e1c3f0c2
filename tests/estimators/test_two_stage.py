"""TwoStageLS: published tables, linearmodels, frequency weights, and the ways to call it."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn
from linearmodels.iv import IV2SLS, IVGMM, IVLIML
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbayesiv import TwoStageLS
from skbayesiv.datasets import load_push_experiment
from skbayesiv.exceptions import NoTreatmentWarning

METHODS = ("2sls", "liml", "gmm")
COV_TYPES = ("robust", "unadjusted", "clustered")


# Published tables -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def push_frame():
    return load_push_experiment(as_frame=True).frame


PUBLISHED = {
    ("push_assigned",): """
        Intercept      69.292  0.3624 191.22 0.0000 68.581 70.002
        push_assigned  2.3636  0.5209 4.5376 0.0000 1.3427 3.3845""",
    ("push_delivered",): """
        Intercept      65.519  0.3126 209.61 0.0000 64.906 66.131
        push_delivered 13.931  0.5282 26.377 0.0000 12.896 14.967""",
    ("push_assigned", "push_delivered"): """
        Intercept      69.292  0.3624 191.22 0.0000 68.581 70.002
        push_assigned  -17.441 0.5702 -30.590 0.0000 -18.559 -16.324
        push_delivered 27.600  0.6124 45.069 0.0000 26.399 28.800""",
}
PUBLISHED_2SLS = """
        Intercept      69.292  0.3624 191.22 0.0000 68.581 70.002
        push_delivered 3.2938  0.7165 4.5974 0.0000 1.8896 4.6981"""


def cells(text):
    return [line.split() for line in text.strip().splitlines()]


def printed(summary):
    """Cells under the title and the header of the first table."""
    return cells(str(summary).partition("\n\n")[0])[2:]


@pytest.mark.parametrize("columns", PUBLISHED, ids="+".join)
def test_published_least_squares(push_frame, columns):
    with pytest.warns(NoTreatmentWarning, match="no causal effect"):
        est = TwoStageLS().fit(push_frame[list(columns)], push_frame["in_app_purchase"])
    assert printed(est.summary()) == cells(PUBLISHED[columns])


def test_warning_points_at_the_caller(push_frame):
    with pytest.warns(NoTreatmentWarning) as record:
        TwoStageLS().fit(push_frame[["push_assigned"]], push_frame["in_app_purchase"])
    assert record[0].filename == __file__


@pytest.mark.parametrize("method", METHODS)
def test_published_two_stage(push_frame, method):
    y, t, z = (push_frame[c] for c in ("in_app_purchase", "push_delivered", "push_assigned"))
    est = TwoStageLS(method=method).fit(None, t, y, z=z)
    assert printed(est.summary()) == cells(PUBLISHED_2SLS)
    assert est.conf_int(level=0.94).loc["push_delivered"].round(4).tolist() == [1.9463, 4.6414]
    assert str(est.summary()).startswith(f"{method.upper()} of in_app_purchase, 10000 observations")


def test_cell_table_gives_published_numbers(push_frame):
    """The 10,000 rows as counts of distinct rows."""
    table = push_frame.value_counts().reset_index(name="count")
    est = TwoStageLS().fit(
        None,
        table["push_delivered"],
        table["in_app_purchase"],
        z=table["push_assigned"],
        sample_weight=table["count"],
    )
    assert len(table) < 1000
    assert printed(est.summary()) == cells(PUBLISHED_2SLS)


def test_summary_is_a_table(push_frame):
    est = TwoStageLS(treatment="push_delivered", instruments="push_assigned")
    summary = est.fit(
        push_frame.drop(columns="in_app_purchase"), push_frame["in_app_purchase"]
    ).summary()
    assert list(summary.table) == ["estimate", "std_err", "t_stat", "p_value", "lower", "upper"]
    assert list(summary.table.index) == ["Intercept", "push_delivered"]
    assert repr(summary) == str(summary)
    html = summary._repr_html_()
    assert "<table" in html
    assert "3.2938" in html


def test_summary_escapes_names():
    y = pd.Series([1.0, 2.0, 4.0, 3.0], name="<b>")
    est = TwoStageLS().fit(None, [0, 0, 1, 1], y, z=[0, 0, 1, 0])
    assert "<b>" not in est.summary()._repr_html_()


# linearmodels -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    """Two treatments, four instruments, two covariates, errors that differ and cluster."""
    rng = np.random.default_rng(7)
    n, groups = 300, rng.integers(0, 30, 300)
    shared = rng.normal(size=30)[groups]
    x, z = rng.normal(3.0, 1.0, (n, 2)), rng.normal(1.0, 1.0, (n, 4))
    taste = rng.normal(size=(n, 2))
    t = z @ rng.normal(size=(4, 2)) + x @ rng.normal(size=(2, 2)) + taste
    error = taste @ [1.0, -0.5] + shared + rng.normal(size=n) * (1.0 + z[:, 0] ** 2)
    y = 2.0 + t @ [1.0, -2.0] + x @ [0.5, 1.5] + error
    weight = rng.integers(0, 4, n).astype(float)
    return {"x": x, "t": t, "z": z, "y": y, "weight": weight, "clusters": groups}


def fitted(data, rows=slice(None), *, clusters=False, weighted=False, **params):
    return TwoStageLS(**params).fit(
        data["x"][rows],
        data["t"][rows],
        data["y"][rows],
        z=data["z"][rows],
        clusters=data["clusters"][rows] if clusters else None,
        sample_weight=data["weight"] if weighted else None,
    )


def linearmodels_fit(data, method, cov_type, *, debiased, fit_intercept=True):
    constant = np.ones((len(data["y"]), int(fit_intercept)))
    args = data["y"], np.column_stack([constant, data["x"]]), data["t"], data["z"]
    groups = {"clusters": data["clusters"]} if cov_type == "clustered" else {}
    options = {"cov_type": cov_type, "debiased": debiased, **groups}
    if method == "gmm":
        return IVGMM(*args, weight_type=cov_type, **groups).fit(**options)
    return {"2sls": IV2SLS, "liml": IVLIML}[method](*args).fit(**options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cov_type", COV_TYPES)
@pytest.mark.parametrize("debiased", [False, True])
def test_agrees_with_linearmodels(data, method, cov_type, debiased):
    est = fitted(
        data, method=method, cov_type=cov_type, debiased=debiased, clusters=cov_type == "clustered"
    )
    other = linearmodels_fit(data, method, cov_type, debiased=debiased)
    order = [0, 3, 4, 1, 2]
    assert_allclose([est.intercept_, *est.coef_], other.params.iloc[order])
    assert_allclose(est.covariance_, other.cov.iloc[order, order])
    table = est.summary(level=0.9).table
    assert_allclose(table["p_value"], other.pvalues.iloc[order])
    assert_allclose(table[["lower", "upper"]], other.conf_int(0.9).iloc[order])
    assert_allclose(est.effect_, est.coef_[:2])


def test_methods_differ_when_over_identified(data):
    effects = [fitted(data, method=method).effect_[0] for method in METHODS]
    assert len(set(np.round(effects, 6))) == 3


def test_clusters_imply_clustered_errors(data):
    est = fitted(data, clusters=True)
    assert est.cov_type_ == "clustered"
    assert_allclose(est.covariance_, fitted(data, clusters=True, cov_type="clustered").covariance_)
    labels = pd.Series(data["clusters"]).map("village {}".format)
    named = TwoStageLS().fit(data["x"], data["t"], data["y"], z=data["z"], clusters=labels)
    assert_allclose(named.covariance_, est.covariance_)


# Frequency weights ------------------------------------------------------------------------------


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
    """Half a row each: the same coefficients, twice the variance."""
    one = fitted(data)
    half = TwoStageLS().fit(
        data["x"], data["t"], data["y"], z=data["z"], sample_weight=np.full(len(data["y"]), 0.5)
    )
    assert_allclose(half.coef_, one.coef_)
    assert_allclose(half.covariance_, 2.0 * one.covariance_)


# Least squares ----------------------------------------------------------------------------------


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


# Calling ----------------------------------------------------------------------------------------


def as_frame(data):
    names = [f"x{i}" for i in range(2)], [f"t{i}" for i in range(2)], [f"z{i}" for i in range(4)]
    columns = np.column_stack([data["x"], data["t"], data["z"]])
    return pd.DataFrame(columns, columns=[name for part in names for name in part])


def test_call_forms_agree(data):
    x, t, y, z = (data[name] for name in "xtyz")
    frame, one = as_frame(data), fitted(data)
    treatment, instruments = ["t0", "t1"], ["z0", "z1", "z2", "z3"]
    by_name = TwoStageLS(treatment=treatment, instruments=instruments)
    by_position = TwoStageLS(treatment=[2, 3], instruments=[4, 5, 6, 7])
    others = [
        TwoStageLS().fit(x, y, t=t, z=z),
        TwoStageLS().fit(X=x, y=y, t=t, z=z),
        by_name.fit(frame, y),
        by_position.fit(frame.to_numpy(), y),
    ]
    for other in others:
        assert_allclose(other.coef_, one.coef_)
        assert_allclose(other.covariance_, one.covariance_)
    assert list(by_name.covariance_) == ["Intercept", "t0", "t1", "x0", "x1"]
    assert list(by_name.feature_names_in_) == list(frame)
    assert_allclose(by_name.predict(frame), one.predict(x, t))
    assert by_name.score(frame, y) == pytest.approx(one.score(x, t, y, z=z))
    with pytest.raises(TypeError, match="4 positional"):
        one.fit(x, t, y, z)


def test_predictions(data):
    x, t, z = data["x"], data["t"], data["z"]
    est = fitted(data)
    assert_allclose(est.predict(x, t), est.intercept_ + t @ est.coef_[:2] + x @ est.coef_[2:])
    stage = est.first_stage_intercept_ + np.column_stack([z, x]) @ est.first_stage_coef_.T
    assert_allclose(est.predict(x, z=z), est.predict(x, stage))
    design = np.column_stack([np.ones(len(x)), z, x])
    expected = np.linalg.lstsq(design, t, rcond=None)[0]
    assert_allclose(np.vstack([est.first_stage_intercept_, est.first_stage_coef_.T]), expected)


def test_std_of_predictions(data):
    """The error's variance, and the mean's: d'Vd, or s^2 d'(D'D)^-1 d in the reduced form."""
    x, t, y, z = (data[name] for name in "xtyz")
    est = fitted(data)
    mean, std = est.predict(x, t, return_std=True)
    d = np.column_stack([np.ones(len(x)), t, x])
    spread = np.einsum("ij,jk,ik->i", d, est.covariance_, d)
    assert_allclose(std**2, np.mean((y - mean) ** 2) + spread)
    mean, std = est.predict(x, z=z, return_std=True)
    d = np.column_stack([np.ones(len(x)), z, x])
    h = np.diag(d @ np.linalg.pinv(d))
    assert_allclose(std**2, np.mean((y - mean) ** 2) * (1.0 + h))


@pytest.mark.parametrize("debiased", [False, True])
def test_intervals(data, debiased):
    """Estimate plus and minus a quantile: normal, or t with n - R degrees of freedom."""
    x, t = data["x"], data["t"]
    est = fitted(data, debiased=debiased)
    quantile = stats.t.ppf(0.95, 300 - 5) if debiased else stats.norm.ppf(0.95)
    mean, std = est.predict(x, t, return_std=True)
    expected = np.column_stack([mean - quantile * std, mean + quantile * std])
    assert_allclose(est.predict_interval(x, t, level=0.9), expected)
    other = linearmodels_fit(data, "2sls", "robust", debiased=debiased)
    step, cov = np.array([2.0, -1.0]), other.cov.iloc[3:, 3:].to_numpy()
    reach = quantile * np.sqrt(step @ cov @ step)
    centre = step @ other.params.iloc[3:]
    assert_allclose(
        est.effect_interval([1.0, 1.0], [3.0, 0.0], level=0.9), [centre - reach, centre + reach]
    )
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1"):
        est.effect_interval(level=1.0)


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
def test_no_effect_without_treatment(data):
    est = TwoStageLS().fit(data["x"], data["y"])
    assert est.predict_interval(data["x"]).shape == (300, 2)
    with pytest.raises(AttributeError, match="without t and z"):
        est.effect_interval()


def test_results_of_linearmodels_are_made_when_asked_for(data):
    """Nothing of linearmodels or pandas is stored, and looking at the estimator fits nothing."""
    est = fitted(data)
    assert "results_" not in dir(est)
    assert "results_" not in est._repr_html_()
    assert "covariance_" in est._repr_html_()
    assert "results_" not in vars(est)
    assert_allclose(est.results_.std_errors.iloc[3:], est._effect_and_error()[1])
    assert est.results_ is est.results_
    state = pickle.dumps(est)
    assert b"linearmodels" not in state
    assert b"pandas" not in state
    assert_allclose(pickle.loads(state).results_.cov, est.results_.cov)
    assert not hasattr(TwoStageLS(), "results_")
    assert not hasattr(TwoStageLS(), "covariance_")


def test_in_scikit_learn(data):
    frame = as_frame(data)
    names = {"treatment": ["t0", "t1"], "instruments": ["z0", "z1", "z2", "z3"]}
    grid = GridSearchCV(TwoStageLS(**names), {"method": list(METHODS)}).fit(frame, data["y"])
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(StandardScaler(), TwoStageLS())
        args = {"t": data["t"], "z": data["z"]}
        pipe.fit(data["x"], data["y"], **args, clusters=data["clusters"])
    assert pipe[-1].cov_type_ == "clustered"
    assert_allclose(pipe[-1].effect_, fitted(data).effect_)


def test_pickles(data):
    est = pickle.loads(pickle.dumps(fitted(data)))
    assert str(est.summary()) == str(fitted(data).summary())


def test_not_fitted():
    for method in ("summary", "conf_int"):
        with pytest.raises(NotFittedError):
            getattr(TwoStageLS(), method)()


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_level_between_0_and_1(data, level):
    with pytest.raises(ValueError, match=f"level must lie strictly between 0 and 1; got {level}"):
        fitted(data).conf_int(level)


def test_import_is_light():
    code = (
        "import sys, skbayesiv; print({'jax', 'pymc', 'arviz', 'linearmodels'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


# Properties -------------------------------------------------------------------------------------


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

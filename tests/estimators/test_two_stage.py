"""TwoStageLS: published tables, predictions, intervals, and its place in scikit-learn."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from experiments import unchecked
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from two_stage_fits import METHODS, clustered_rows, fitted, linearmodels_fit

from skbayesiv import TwoStageLS, experiment_report
from skbayesiv.datasets import load_push_experiment
from skbayesiv.exceptions import NoTreatmentWarning


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
    return [line.split() for line in text.strip().splitlines() if "Covariates" not in line]


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


@unchecked
def test_summary_escapes_names():
    y = pd.Series([1.0, 2.0, 4.0, 3.0], name="<b>")
    est = TwoStageLS().fit(None, [0, 0, 1, 1], y, z=[0, 0, 1, 0])
    assert "<b>" not in est.summary()._repr_html_()


@pytest.fixture(scope="module")
def data():
    return clustered_rows()


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
    with pytest.raises(ValueError, match="without them"):
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


@unchecked
def test_in_scikit_learn(data):
    frame = as_frame(data)
    names = {"treatment": ["t0", "t1"], "instruments": ["z0", "z1", "z2", "z3"]}
    grid = GridSearchCV(TwoStageLS(**names), {"method": list(METHODS)}).fit(frame, data["y"])
    one_by_one = [cross_val_score(TwoStageLS(method=m, **names), frame, data["y"]) for m in METHODS]
    assert_allclose(grid.cv_results_["mean_test_score"], np.mean(one_by_one, axis=1))
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


def test_the_treatment_among_its_instruments():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 200).astype(float)
    t = z + rng.normal(size=200)
    y = t + rng.normal(size=200)
    with pytest.warns(UserWarning, match="z explains t exactly.*is t among the instruments"):
        est = TwoStageLS().fit(None, t, y, z=np.column_stack([z, t]))
    assert est.effect_ == pytest.approx(np.cov(t, y)[0, 1] / t.var(ddof=1))
    TwoStageLS().fit(None, z, y, z=z)  # everybody complied: no warning
    constant = np.ones((200, 1))
    with pytest.raises(ValueError, match="There is a constant already: leave the column out"):
        TwoStageLS().fit(constant, t, y, z=z)


def test_covariates_stand_in_the_head():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(200, 14)), columns=[f"x{i}" for i in range(14)])
    z = rng.normal(size=200)
    t = z + rng.normal(size=200)
    y = t + rng.normal(size=200)
    one = TwoStageLS().fit(x[["x0", "x1"]], t, y, z=z)
    assert str(one.summary()).splitlines()[1] == "Covariates: x0, x1"
    many = str(TwoStageLS().fit(x, t, y, z=z).summary()).splitlines()[1]
    assert many.endswith("x10, x11 and 2 more")
    assert "Covariates: x0, x1" in str(experiment_report(one))

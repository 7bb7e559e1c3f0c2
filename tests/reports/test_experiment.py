"""The experiment's report: what applies to which estimator and design."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from experiments import EXACT, QUICK
from linearmodels.iv import IV2SLS
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skbayesiv import (
    BayesianIV,
    BayesianIVCV,
    HierarchicalBayesianIV,
    TwoStageLS,
    diagnostics,
    experiment_report,
)
from skbayesiv.exceptions import NoTreatmentWarning

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
INTERVAL = ["estimate", "std_err", "lower", "upper"]


@quiet
def test_without_rows(push_fit, push):
    y, t, z = push
    sums = BayesianIV(random_state=0).fit_moments(push_fit.moments_)
    report = experiment_report(sums)
    kept = experiment_report(push_fit)
    assert_allclose(report.arms, kept.arms, rtol=1e-9)
    assert report.statement == kept.statement
    assert "complier baseline" not in report.table.index
    assert report.table.loc["2SLS", "errors"] == "classical"
    assert "Robust standard errors and the complier baseline need rows" in str(report)
    passed = experiment_report(sums, X=None, t=t, y=y, z=z)
    assert_allclose(
        passed.table.loc["complier baseline", INTERVAL].astype(float),
        kept.table.loc["complier baseline", INTERVAL].astype(float),
    )


@quiet
def test_a_history_enters_the_effect_only(experiment):
    data = experiment()
    est = HierarchicalBayesianIV(effects=[1.0, 1.1], std_errors=[0.2, 0.2], **QUICK)
    table = experiment_report(est.fit(**data)).table
    draws = est.idata_.posterior["beta_t"].to_numpy()
    assert_allclose(table.loc["effect on compliers", "std_err"], draws.std())
    assert_allclose(table.loc["2SLS", "estimate"], TwoStageLS().fit(**data).effect_)


def test_general_instruments():
    """Doses, several instruments, several treatments: what applies."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1000, 3))
    taste = rng.normal(size=(1000, 2))
    t = z[:, :2] + taste
    y = t @ [1.0, 2.0] + taste.sum(axis=1) + rng.normal(size=1000)
    est = BayesianIV(likelihood="gmm", **EXACT).fit(None, t, y, z=z)
    report = experiment_report(est, cost=1.5, rope=1.5)
    assert report.compliance == "general"
    assert report.arms is None
    assert report.p_above_cost.shape == (2,)
    assert report.anderson_rubin is None
    names = ["intention to treat[z2]", "first stage[z1 -> t0]", "effect of t1", "2SLS[t1]"]
    assert set(names) < set(report.table.index)
    assert "P(effect > cost)[t1]" in str(report)
    draws = est.idata_.posterior["beta_t"].to_numpy().reshape(-1, 2)
    costs = experiment_report(est, cost=[0.9, 2.1]).p_above_cost
    assert_allclose(costs, (draws > [0.9, 2.1]).mean(axis=0))
    with pytest.raises(
        ValueError, match=r"cost must be a finite number or one per treatment \(2\)"
    ):
        experiment_report(est, cost=[1.0, 2.0, 3.0])
    other = IV2SLS(y, np.ones(1000), t, z).fit()
    assert_allclose(report.table.loc["2SLS[t1]", "std_err"], other.std_errors.iloc[-1])
    dose = experiment_report(TwoStageLS().fit(None, t[:, 0], y, z=z[:, 0] > 0))
    assert list(dose.arms.index) == [0, 1]
    assert list(dose.arms) == ["rows", "mean t", "mean y"]
    means = [t[z[:, 0] > 0, 0].mean(), t[z[:, 0] <= 0, 0].mean()]
    assert_allclose(dose.arms["mean t"], means[::-1])
    assert dose.compliance == "general"
    assert "first stage[z -> t]" in dose.table.index
    assert "complier baseline" not in dose.table.index


def test_searches_and_pipelines(experiment):
    """The best of a search, and the last step of a pipeline, are reported on."""
    data = experiment(n=600)
    columns = np.column_stack([data["t"], data["z"], data["X"]])
    est = TwoStageLS(treatment=0, instruments=1)
    expected = experiment_report(clone(est).fit(columns, data["y"]))
    search = GridSearchCV(est, {"cov_type": ["robust"]}, cv=2)
    pipeline = make_pipeline(FunctionTransformer(), search)
    for fitted in (search.fit(columns, data["y"]), pipeline.fit(columns, data["y"])):
        report = experiment_report(fitted)
        assert str(report) == str(expected)
        assert diagnostics.effective_f(fitted) == diagnostics.effective_f(search.best_estimator_)
    with pytest.raises(NotFittedError):
        experiment_report(clone(search))
    for other in (LinearRegression().fit(columns, data["y"]), "2SLS"):
        kind = type(other).__name__
        with pytest.raises(TypeError, match=rf"est must be a fitted TwoStageLS.*; got {kind}"):
            experiment_report(other)
    with pytest.raises(TypeError, match=r"est must be a fitted .*; got LinearRegression"):
        diagnostics.effective_f(LinearRegression().fit(columns, data["y"]))


@quiet
def test_a_search_over_priors(experiment):
    data = experiment(n=600)
    search = BayesianIVCV(BayesianIV(**QUICK), beta_t_scale=[1.0, 5.0], cv=2)
    search.fit(**data)
    best = search.best_estimator_
    assert str(experiment_report(search, cost=1.0)) == str(experiment_report(best, cost=1.0))
    assert diagnostics.effective_f(search) == diagnostics.effective_f(best)


def test_text_and_html(experiment):
    data = experiment()
    y = pd.Series(data["y"], name="<sales>")
    report = experiment_report(TwoStageLS().fit(None, data["t"], y, z=data["z"]))
    text, html = str(report), report._repr_html_()
    for part in ("uptake", "Two-sided", "complier share", "2SLS", "Anderson-Rubin"):
        assert part in text
        assert part in html
    assert "<sales>" not in html
    assert repr(report) == text
    assert report.to_frame() is report.table
    assert "4,000 observations" in text


def test_errors(experiment):
    est = TwoStageLS().fit(**experiment())
    with pytest.raises(ValueError, match="rope must be a positive number"):
        experiment_report(est, rope=-1.0)
    with pytest.raises(ValueError, match="cost must be a finite number or one per treatment"):
        experiment_report(est, cost="dear")
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1"):
        experiment_report(est, level=2.0)
    with pytest.raises(NotFittedError):
        experiment_report(TwoStageLS())
    with pytest.warns(NoTreatmentWarning):
        ols = TwoStageLS().fit(np.eye(5)[:, :2], np.arange(5.0))
    with pytest.raises(ValueError, match="est must be fitted with t and z"):
        experiment_report(ols)

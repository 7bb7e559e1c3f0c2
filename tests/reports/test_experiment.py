"""The experiment's report: every number from cell counts, linearmodels or a formula."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from linearmodels.iv import IV2SLS
from numpy.testing import assert_allclose
from scipy import stats
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
from skbayesiv.diagnostics import anderson_rubin_confidence_set
from skbayesiv.exceptions import NoTreatmentWarning

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
INTERVAL = ["estimate", "std_err", "lower", "upper"]


@pytest.fixture(scope="module")
def push_fit(push, notebook):
    y, t, z = push
    return BayesianIV(**notebook, random_state=3).fit(None, t, y, z=z)


def normal(estimate, error, level=0.95):
    reach = stats.norm.ppf((1 + level) / 2) * error
    return [estimate, error, estimate - reach, estimate + reach]


def test_push_experiment_from_its_cells(push_fit, push):
    """Counts, sums and sums of squares of (assigned, delivered) decide everything classical."""
    report = experiment_report(push_fit, cost=2.0, rope=(-1.0, 2.5))
    n00, s00, q00 = 5057, 350408, 27638434
    n10, s10, q10 = 1396, 72383, 4130699
    n11, s11, q11 = 3547, 281809, 24670021
    n1, mean0, mean1 = n10 + n11, s00 / n00, (s10 + s11) / (n10 + n11)
    var0, var1 = q00 / n00 - mean0**2, (q10 + q11) / n1 - mean1**2
    share = n11 / n1
    expected = {
        "intention to treat": normal(mean1 - mean0, np.sqrt(var0 / n00 + var1 / n1)),
        "complier share": normal(share, np.sqrt(share * (1 - share) / n1)),
    }
    for name, numbers in expected.items():
        assert_allclose(report.table.loc[name, INTERVAL].astype(float), numbers, rtol=1e-8)
    wald = (mean1 - mean0) / share
    assert_allclose(report.table.loc["2SLS", "estimate"], wald)
    assert_allclose(report.table.loc["2SLS", "std_err"], 0.7165, atol=5e-5)
    # With one-sided non-compliance all treated are compliers: their mean less the effect.
    assert_allclose(report.table.loc["complier baseline", "estimate"], s11 / n11 - wald)
    assert_allclose(report.arms["rows"], [n00, n1])
    assert_allclose(report.arms["uptake"], [0.0, share])
    assert_allclose(report.arms["mean y"], [mean0, mean1])
    assert report.compliance == "one-sided"
    assert "nobody was treated without assignment" in report.statement
    assert "the effect on the treated" in report.statement
    y, t, z = push
    robust = anderson_rubin_confidence_set(y, t, z)
    assert report.anderson_rubin == robust
    ends = report.table.loc["Anderson-Rubin", ["lower", "upper"]].astype(float)
    assert_allclose(ends, robust.intervals[0])


def test_posterior_of_the_push_experiment(push_fit):
    """Exact posterior 3.3194 (0.7144), nearly normal."""
    report = experiment_report(push_fit, cost=2.0, rope=(-1.0, 2.5), level=0.9)
    own = report.table.loc["effect on compliers"]
    assert_allclose([own["estimate"], own["std_err"]], [3.3194, 0.7144], atol=0.05)
    assert_allclose([own["lower"], own["upper"]], push_fit.effect_interval(level=0.9))
    exact = stats.norm(3.3194, 0.7144)
    assert report.p_above_cost == pytest.approx(exact.sf(2.0), abs=0.015)
    assert report.p_in_rope == pytest.approx(exact.cdf(2.5) - exact.cdf(-1.0), abs=0.03)
    draws = push_fit.idata_.posterior["beta_t"].to_numpy()
    assert report.p_above_cost == (draws > 2.0).mean()
    assert report.table.loc["P(effect > cost)", "estimate"] == report.p_above_cost
    assert report.table.loc["P(effect > 0)", "estimate"] > 0.999
    assert own["errors"] == "posterior"
    narrow = experiment_report(push_fit, rope=2.5)
    assert narrow.p_in_rope == (np.abs(draws) < 2.5).mean()
    assert narrow.p_above_cost is None


def simulate(always=0.2, comply=0.5, n=4000, seed=0):
    """Always-takers, compliers and never-takers with different outcomes and effects."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=[always, comply, 1 - always - comply])
    x = rng.normal(size=n)
    z = rng.integers(0, 2, n).astype(float)
    t = np.where(kind == 0, 1.0, np.where(kind == 1, z, 0.0))
    y = np.array([5.0, 2.0, 0.0])[kind] + t * np.array([3.0, 1.0, 0.0])[kind] + x
    return {"X": x[:, None], "t": t, "y": y + rng.normal(size=n), "z": z}


def test_two_sided_non_compliance():
    """Imbens and Rubin: never-takers are seen in the assigned arm, and taken off the other."""
    data = simulate()
    t, y, z = data["t"], data["y"], data["z"]
    report = experiment_report(TwoStageLS().fit(None, t, y, z=z))
    assert report.compliance == "two-sided"
    assert "compliers, who take the treatment with assignment" in report.statement
    never, always = 1 - t[z == 1].mean(), t[z == 0].mean()
    comply = 1 - never - always
    assert_allclose(report.table.loc["complier share", "estimate"], comply)
    mixed, refused = y[(z == 0) & (t == 0)].mean(), y[(z == 1) & (t == 0)].mean()
    baseline = ((never + comply) * mixed - never * refused) / comply
    assert_allclose(report.table.loc["complier baseline", "estimate"], baseline)
    assert baseline == pytest.approx(2.0, abs=0.25)
    other = IV2SLS(y * (1 - t), np.ones(len(y)), 1 - t, z).fit()
    assert_allclose(report.table.loc["complier baseline", "std_err"], other.std_errors.iloc[-1])


def test_covariates_and_clusters():
    """Everything linear in the covariates, with clustered errors, as in linearmodels."""
    data = simulate()
    groups = np.arange(4000) % 100
    est = TwoStageLS().fit(**data, clusters=groups)
    table = experiment_report(est).table
    exog = np.column_stack([np.ones(4000), data["X"]])
    t, y, z = data["t"], data["y"], data["z"]
    options = {"cov_type": "clustered", "clusters": groups}
    rivals = {
        "intention to treat": IV2SLS(y, np.column_stack([exog, z]), None, None),
        "complier share": IV2SLS(t, np.column_stack([exog, z]), None, None),
        "2SLS": IV2SLS(y, exog, t, z),
        "effect on compliers": IV2SLS(y, exog, t, z),
        "complier baseline": IV2SLS(y * (1 - t), exog, 1 - t, z),
    }
    for name, model in rivals.items():
        other = model.fit(**options)
        expected = other.params.iloc[-1], other.std_errors.iloc[-1]
        assert_allclose(table.loc[name, INTERVAL[:2]].astype(float), expected, rtol=1e-8)
        assert table.loc[name, "errors"] == "clustered"


@pytest.mark.parametrize(
    ("always", "comply", "flip", "kind", "words"),
    [
        (0.0, 0.6, False, "one-sided", "nobody was treated without assignment"),
        (0.0, 0.6, True, "one-sided", "nobody was treated with assignment"),
        (0.4, 0.6, False, "one-sided", "everybody with assignment was treated"),
        (0.0, 1.0, False, "full", "Everybody complied"),
        (0.2, 0.5, True, "two-sided", "the treatment without assignment and not with"),
    ],
)
def test_kinds_of_compliance(always, comply, flip, kind, words):
    data = simulate(always, comply)
    z = 1.0 - data["z"] if flip else data["z"]
    est = TwoStageLS().fit(None, data["t"], data["y"], z=z)
    report = experiment_report(est)
    assert report.compliance == kind
    assert words in report.statement
    share = report.table.loc["complier share", INTERVAL].astype(float)
    assert_allclose(share["estimate"], abs(est.first_stage_coef_[0, 0]))
    assert_allclose(share, normal(share["estimate"], share["std_err"]))


def test_coding_of_the_assignment_is_immaterial():
    """Two values are an assignment, whichever; the larger counts as assigned."""
    data = simulate()
    X, t, y, z = (data[name] for name in "Xtyz")
    one = experiment_report(TwoStageLS().fit(X, t, y, z=z))
    for low, high in ((1.0, 2.0), (-1.0, 1.0), (0.0, 0.5)):
        two = experiment_report(TwoStageLS().fit(X, t, y, z=low + (high - low) * z))
        assert two.compliance == "two-sided"
        assert list(two.arms.index) == [low, high]
        assert_allclose(two.arms, one.arms, rtol=1e-9)
        assert_allclose(
            two.table[INTERVAL].astype(float), one.table[INTERVAL].astype(float), rtol=1e-7
        )
    dose = experiment_report(TwoStageLS().fit(None, t + 0.5 * y, y, z=1.0 + z))
    assert_allclose(dose.table.loc["intention to treat", "estimate"], np.diff(dose.arms["mean y"]))


@pytest.mark.parametrize("instruments", ["continuous", "several"])
def test_no_baseline_without_two_arms(instruments):
    data = simulate()
    noise = np.random.default_rng(1).normal(size=4000)
    z = data["z"] + noise if instruments == "continuous" else np.column_stack([data["z"], noise])
    report = experiment_report(TwoStageLS().fit(None, data["t"], data["y"], z=z))
    assert report.compliance == "general"
    assert report.arms is None
    assert "complier baseline" not in report.table.index
    sums = TwoStageLS(cov_type="unadjusted").fit(None, data["t"], data["y"], z=z)
    sums.fit_moments(sums.moments_)
    assert experiment_report(sums).notes == (
        "Robust standard errors need rows: pass X, t, y and z.",
    )


def test_without_intercept_nothing_is_said_of_compliers():
    """E[z y] / E[z t] compares nobody: for z of 0 and 1 it is the assigned arm's ratio of means."""
    data = simulate()
    t, y, z = (data[name] for name in "tyz")
    report = experiment_report(TwoStageLS(fit_intercept=False).fit(None, t, y, z=z))
    assert report.compliance == "general"
    assert "not the effect on compliers" in report.statement
    assert_allclose(report.table.loc["effect of t", "estimate"], y[z == 1].sum() / t[z == 1].sum())
    assert not any("complier" in name for name in report.table.index)
    assert_allclose(report.arms["uptake"], [t[z == 0].mean(), t[z == 1].mean()])


def test_weights_are_rows():
    data = simulate(n=500)
    weight = np.random.default_rng(1).integers(0, 4, 500)
    again = np.repeat(np.arange(500), weight)
    one = experiment_report(TwoStageLS().fit(**data, sample_weight=weight))
    two = experiment_report(TwoStageLS().fit(**{name: a[again] for name, a in data.items()}))
    assert_allclose(one.arms, two.arms)
    numbers = [report.table[INTERVAL].astype(float) for report in (one, two)]
    assert_allclose(*numbers, rtol=1e-9)


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


def test_a_classical_estimate_has_no_probabilities():
    report = experiment_report(TwoStageLS().fit(**simulate()), cost=1.0)
    assert report.p_above_cost is None
    assert report.p_in_rope is None
    assert "need a posterior: fit BayesianIV" in str(report)
    assert not experiment_report(TwoStageLS().fit(**simulate())).notes


@quiet
def test_a_history_enters_the_effect_only():
    data = simulate()
    est = HierarchicalBayesianIV(effects=[1.0, 1.1], std_errors=[0.2, 0.2], random_state=0)
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
    est = BayesianIV(random_state=0).fit(None, t, y, z=z)
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


def test_set_that_is_no_interval():
    rng = np.random.default_rng(2)
    z = rng.integers(0, 2, 300).astype(float)
    t = (rng.random(300) < 0.5).astype(float)
    report = experiment_report(TwoStageLS().fit(None, t, rng.normal(size=300), z=z))
    assert report.anderson_rubin.kind in {"line", "rays"}
    assert "The Anderson-Rubin set is no interval" in str(report)


def test_set_that_is_empty_or_cannot_be_computed():
    """Its row stays, and a note says why it has no ends."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(500, 2))
    t = z.sum(axis=1) + rng.normal(size=500)
    y = t + 2.0 * z[:, 0] + rng.normal(size=500)
    empty = experiment_report(TwoStageLS().fit(None, t, y, z=z))
    assert empty.anderson_rubin.kind == "empty"
    assert "no effect fits: the instruments contradict each other" in str(empty)
    few = experiment_report(TwoStageLS().fit(None, t, y, z=z, clusters=np.arange(500) % 2))
    assert few.anderson_rubin is None
    assert "set was not computed: clusters must number at least 3" in str(few)
    for report in (empty, few):
        assert np.isnan(report.table.loc["Anderson-Rubin", INTERVAL].astype(float)).all()


def test_searches_and_pipelines():
    """The best of a search, and the last step of a pipeline, are reported on."""
    data = simulate(n=600)
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
def test_a_search_over_priors():
    data = simulate(n=600)
    search = BayesianIVCV(BayesianIV(random_state=0, draws=200), beta_t_scale=[1.0, 5.0], cv=2)
    search.fit(**data)
    best = search.best_estimator_
    assert str(experiment_report(search, cost=1.0)) == str(experiment_report(best, cost=1.0))
    assert diagnostics.effective_f(search) == diagnostics.effective_f(best)


def test_text_and_html():
    data = simulate()
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


def test_errors():
    est = TwoStageLS().fit(**simulate())
    with pytest.raises(ValueError, match="rope must be a positive number"):
        experiment_report(est, rope=(1.0, -1.0))
    with pytest.raises(ValueError, match="rope must be a positive number"):
        experiment_report(est, rope=-1.0)
    for rope in (np.inf, (0.0, np.nan), (1.0, 2.0, 3.0), "wide"):
        with pytest.raises(ValueError, match="rope must be a positive number or"):
            experiment_report(est, rope=rope)
    for cost in (np.nan, [1.0, 2.0], "dear"):
        with pytest.raises(ValueError, match="cost must be a finite number or one per treatment"):
            experiment_report(est, cost=cost)
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1"):
        experiment_report(est, level=2.0)
    with pytest.raises(NotFittedError):
        experiment_report(TwoStageLS())
    with pytest.warns(NoTreatmentWarning):
        ols = TwoStageLS().fit(np.eye(5)[:, :2], np.arange(5.0))
    with pytest.raises(ValueError, match="est must be fitted with t and z"):
        experiment_report(ols)

"""Numbers of an experiment's report: from cell counts, linearmodels or a formula."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import unchecked
from linearmodels.iv import IV2SLS
from numpy.testing import assert_allclose
from scipy import stats

from skbayesiv import TwoStageLS, experiment_report
from skbayesiv.diagnostics import anderson_rubin_confidence_set

INTERVAL = ["estimate", "std_err", "lower", "upper"]


def normal(estimate, error):
    reach = stats.norm.ppf(0.975) * error
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


def test_two_sided_non_compliance(experiment):
    """Imbens and Rubin: never-takers are seen in the assigned arm, and taken off the other."""
    data = experiment()
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


def test_covariates_and_clusters(experiment):
    """Everything linear in the covariates, with clustered errors, as in linearmodels."""
    data = experiment()
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


def test_weights_are_rows(experiment):
    data = experiment(n=500)
    weight = np.random.default_rng(1).integers(0, 4, 500)
    again = np.repeat(np.arange(500), weight)
    one = experiment_report(TwoStageLS().fit(**data, sample_weight=weight))
    two = experiment_report(TwoStageLS().fit(**{name: a[again] for name, a in data.items()}))
    assert_allclose(one.arms, two.arms)
    numbers = [report.table[INTERVAL].astype(float) for report in (one, two)]
    assert_allclose(*numbers, rtol=1e-9)


@unchecked
def test_set_that_is_no_interval():
    rng = np.random.default_rng(2)
    z = rng.integers(0, 2, 300).astype(float)
    t = (rng.random(300) < 0.5).astype(float)
    report = experiment_report(TwoStageLS().fit(None, t, rng.normal(size=300), z=z))
    assert report.anderson_rubin.kind in {"line", "rays"}
    assert "The Anderson-Rubin set is no interval" in str(report)


@unchecked
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

"""Whose effect it is, and the arms, from the rows or from moments."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from skbayesiv import TwoStageLS, experiment_report

INTERVAL = ["estimate", "std_err", "lower", "upper"]


def normal(estimate, error):
    reach = stats.norm.ppf(0.975) * error
    return [estimate, error, estimate - reach, estimate + reach]


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
def test_kinds_of_compliance(always, comply, flip, kind, words, experiment):
    data = experiment(always, comply)
    z = 1.0 - data["z"] if flip else data["z"]
    est = TwoStageLS().fit(None, data["t"], data["y"], z=z)
    report = experiment_report(est)
    assert report.compliance == kind
    assert words in report.statement
    share = report.table.loc["complier share", INTERVAL].astype(float)
    assert_allclose(share["estimate"], abs(est.first_stage_coef_[0, 0]))
    assert_allclose(share, normal(share["estimate"], share["std_err"]))


def test_coding_of_the_assignment_is_immaterial(experiment):
    """Two values are an assignment, whichever; the larger counts as assigned."""
    data = experiment()
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
def test_no_baseline_without_two_arms(instruments, experiment):
    data = experiment()
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


def test_without_intercept_nothing_is_said_of_compliers(experiment):
    """E[z y] / E[z t] compares nobody: for z of 0 and 1 it is the assigned arm's ratio of means."""
    data = experiment()
    t, y, z = (data[name] for name in "tyz")
    report = experiment_report(TwoStageLS(fit_intercept=False).fit(None, t, y, z=z))
    assert report.compliance == "general"
    assert "not the effect on compliers" in report.statement
    assert_allclose(report.table.loc["effect of t", "estimate"], y[z == 1].sum() / t[z == 1].sum())
    assert not any("complier" in name for name in report.table.index)
    assert_allclose(report.arms["uptake"], [t[z == 0].mean(), t[z == 1].mean()])

"""Reports name whose effect it is, and give the compliers' own beside it."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import QUICK, unchecked
from numpy.testing import assert_allclose
from stratified import COMPLIER_SHARE, ON_COMPLIERS, ON_TREATED, arrays, stratified

from skbayesiv import BayesianIV, TwoStageLS, experiment_report
from skbayesiv.diagnostics import complier_effects, whose_effect

INTERVAL = ["estimate", "std_err", "lower", "upper"]
REWEIGHTED = ["compliers", "treated compliers", "complier share"]


@unchecked
def test_a_stratified_experiment():
    data = stratified(n=20_000)
    report = experiment_report(TwoStageLS().fit(**data), level=0.9)
    table = report.table
    for name, truth in zip(REWEIGHTED, (ON_COMPLIERS, ON_TREATED, COMPLIER_SHARE), strict=True):
        estimate, error, *_ = table.loc[f"{name}, reweighted", INTERVAL]
        assert abs(estimate - truth) < 3 * error
    effects = complier_effects(*arrays(data), level=0.9).compliers
    expected = effects.estimate, effects.std_error, *effects.interval
    assert_allclose(table.loc["compliers, reweighted", INTERVAL].astype(float), expected)
    assert table.loc["weighted effect of t", "estimate"] > 1.3  # 1.44 by its weights
    for wrong in ("complier share", "effect on compliers", "complier baseline"):
        assert wrong not in table.index
    assert "so the effect on treated compliers is the effect on the treated" in report.statement
    assert "weighted by rows x Var(z | x) x share" in report.statement
    for text in (str(report), report._repr_html_()):
        assert "compliers, reweighted" in text
        assert "hold as far as the Kitagawa test sees" in text


@unchecked
def test_everybody_with_assignment():
    """Then untreated compliers are all the untreated."""
    data = stratified()
    data["t"] = np.where(data["z"] == 1.0, 1.0, data["t"] == 0.0) * 1.0
    data["t"][data["z"] == 0.0] = (np.random.default_rng(0).random(4000) < 0.3)[data["z"] == 0.0]
    data["y"] = data["y"] + 2.0 * data["t"] * data["X"][:, 0]
    report = experiment_report(TwoStageLS().fit(**data))
    assert "the effect on untreated compliers is the effect on the untreated" in report.statement
    assert "untreated compliers, reweighted" in report.table.index


def test_an_even_assignment_keeps_its_name():
    report = experiment_report(TwoStageLS().fit(**stratified(assigned=(0.5, 0.5))))
    assert "the effect on compliers is the effect on the treated" in report.statement
    table = report.table
    assert {"effect on compliers", "complier share", "complier baseline"} < set(table.index)
    assert_allclose(
        table.loc["compliers, reweighted", "estimate"],
        table.loc["effect on compliers", "estimate"],
        atol=2 * table.loc["effect on compliers", "std_err"],
    )


def test_without_covariates_nothing_is_reweighted():
    data = stratified(assigned=(0.5, 0.5)) | {"X": None}
    report = experiment_report(TwoStageLS().fit(**data))
    assert not any("reweighted" in name for name in report.table.index)
    assert report.whose_effect.weighting is None
    assert "Kitagawa" in str(report)


@unchecked
def test_moments_name_no_complier_whom_they_do_not_know():
    est = TwoStageLS(cov_type="unadjusted").fit(**stratified())
    report = experiment_report(TwoStageLS(cov_type="unadjusted").fit_moments(est.moments_))
    assert "What the effect on compliers is needs rows" in report.statement
    assert "effect on compliers" not in report.table.index
    even = TwoStageLS(cov_type="unadjusted").fit(**stratified(assigned=(0.5, 0.5)))
    report = experiment_report(TwoStageLS(cov_type="unadjusted").fit_moments(even.moments_))
    assert "effect on compliers" in report.table.index


@unchecked
def test_a_direct_effect_of_assignment_is_named():
    data = stratified(assigned=(0.5, 0.5), shares=(0.2, 0.2), always=0.4)
    data["y"] = data["y"] + 1.5 * data["z"]
    report = experiment_report(TwoStageLS().fit(**data))
    assert "is violated (Kitagawa, p = " in str(report)
    assert "assignment should be at most" in str(report)


@unchecked
def test_a_stratum_with_one_arm_is_named():
    data = stratified()
    data["z"] = np.where(data["X"][:, 0] == 1.0, 0.0, data["z"])
    data["t"] = data["t"] * data["z"]
    report = experiment_report(TwoStageLS().fit(**data))
    assert any("Not computed, reweighting: z must have both values" in n for n in report.notes)


@unchecked
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_diagnosis_shows_the_tests():
    est = BayesianIV(**QUICK).fit(**stratified(n=2000))
    diagnosis = est.diagnose()
    for text in (str(diagnosis), diagnosis._repr_html_()):
        for part in ("Whose effect (t)", "saturated", "assignment by x", "Kitagawa", "by stratum"):
            assert part in text
    frame = diagnosis.to_frame()
    assert frame.loc["p-value, assignment by x", "value"] < 1e-6
    assert frame.loc["p-value, assignment by x", "limit"] == 0.01
    sums = BayesianIV(**QUICK).fit_moments(est.moments_)
    assert sums.diagnose().whose_effect is None


def test_all_that_applies():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(800, 1)), rng.normal(size=(800, 2))
    t = z + np.where(x > 0.0, 1.0, -1.0) * z[:, ::-1] + rng.normal(size=(800, 2))
    found = whose_effect(x[:, 0], t, z, x)
    assert found.validity is None
    assert found.compliers is None
    assert "The instruments of one treatment move another" in str(found)
    assert "cross effects" in found.to_frame().index
    alone = whose_effect(x[:, 0], t, z)
    assert alone.to_frame().empty
    with pytest.raises(ValueError, match="size must lie strictly between 0 and 1"):
        whose_effect(x[:, 0], t, z, x, size=2.0)

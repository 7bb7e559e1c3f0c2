"""The report of segments: every number against a formula, written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from experiments import QUICK, in_segments
from scipy import stats

from skbayesiv import (
    HierarchicalBayesianIV,
    TwoStageLS,
    exclusion_sensitivity,
    experiment_report,
)

LONGER = QUICK | {"draws": 1000, "tune": 1000, "target_accept": 0.9}


@pytest.fixture(scope="module")
def rows():
    return in_segments()


@pytest.fixture(scope="module")
def est(rows):
    est = HierarchicalBayesianIV(**LONGER, check=False)
    return est.fit(None, rows["t"], rows["y"], z=rows["z"], segments=rows["segments"])


@pytest.fixture(scope="module")
def draws(est):
    """Draws of the effects (N, 6), their average, mean and spread, each (N,)."""
    names = ("beta_t", "effect", "beta_t_bar", "sigma_t_bar")
    return [est.idata_.posterior[name].to_numpy().reshape(2000, -1) for name in names]


def test_the_table_has_each_segment_alone_and_pooled(est, rows, draws):
    beta, _, _, sigma = draws
    table = est.segment_report(cost=1.2).table
    for g, name in enumerate(est.segments_[:5]):
        at = rows["segments"] == name
        alone = TwoStageLS(cov_type="unadjusted", check=False)
        alone.fit(None, rows["t"][at], rows["y"][at], z=rows["z"][at])
        own = table.loc[name]
        assert own["alone"] == pytest.approx(alone.effect_)
        assert own["alone sd"] == pytest.approx(alone._effect_and_error()[1][0], rel=0.02)
        z, t = rows["z"][at], rows["t"][at]
        r2 = np.corrcoef(z, t)[0, 1] ** 2
        assert own["F"] == pytest.approx(r2 / (1 - r2) * (at.sum() - 2))
        share = own["alone sd"] ** 2 / (own["alone sd"] ** 2 + sigma[:, 0] ** 2)
        assert own["shrinkage"] == pytest.approx(share.mean())
        assert own["P(effect > cost)"] == (beta[:, g] > 1.2).mean()
        assert own["P(best)"] == (beta.argmax(axis=1) == g).mean()
    assert table["P(best)"].sum() == pytest.approx(1.0)
    assert np.isnan(table.loc["s5", ["alone", "F"]].astype(float)).all()
    assert table.loc["s5", "shrinkage"] == 1.0


def test_the_population_and_whether_one_effect_would_do(est, draws):
    beta, average, bar, sigma = draws
    report = est.segment_report(rope=1.0)
    assert report.effect.mean == pytest.approx(average.mean())
    assert report.mean_effect.mean == pytest.approx(bar.mean())
    ends = [report.sigma_lower, report.sigma_median, report.sigma_upper]
    assert np.allclose(ends, np.quantile(sigma, [0.025, 0.5, 0.975]))
    near = np.abs(beta - average) < 1.0
    assert report.one_effect == near.all(axis=1).mean()
    b, s = (report.table[name].dropna() for name in ("alone", "alone sd"))
    w = s**-2.0
    q = (w * (b - (w * b).sum() / w.sum()) ** 2).sum()
    assert report.heterogeneity.q == pytest.approx(q)
    assert report.heterogeneity.p_value == pytest.approx(stats.chi2.sf(q, 4))


def test_policies_are_gains_and_losses_by_complier(est, draws):
    beta, cost = draws[0], 2.2
    report = est.segment_report(cost=cost)
    first = est.idata_.posterior["beta_z"].to_numpy().reshape(2000, 6)
    weight = est.effects_["rows"].to_numpy() * np.abs(first).mean(axis=0)
    share = weight / weight.sum()
    assert share[5] == 0.0  # nobody was treated there
    best = (np.maximum(beta - cost, 0.0) * share).sum(axis=1).mean()
    some = beta.mean(axis=0) > cost
    gains = [((beta - cost) * chosen * share).sum(axis=1).mean() for chosen in (1.0, some, 0.0)]
    assert np.allclose(report.policies["expected gain"], gains, rtol=0.01)
    assert np.allclose(report.policies["expected loss"], best - np.array(gains), rtol=0.01)
    assert report.policies["expected loss"].idxmin() == "treat segments above cost"


def test_it_names_who_cannot_speak_and_says_what_differences_are(est):
    text = str(est.segment_report())
    assert "s5 (t is 0 in all its rows)" in text
    assert "descriptive, unless the segments were set before" in text
    assert "P(effect > 0)" in text
    weak = est.segment_report().weak
    assert all(est.segment_report().table.loc[name, "F"] < 10 for name in weak)


def test_slopes_of_covariates(rows):
    income = pd.DataFrame({"income": np.arange(6.0)}, index=[f"s{g}" for g in range(6)])
    est = HierarchicalBayesianIV(segment_covariates=income, check=False, **LONGER)
    est.fit(None, rows["t"], rows["y"], z=rows["z"], segments=rows["segments"])
    delta = est.idata_.posterior["delta"].to_numpy().ravel()
    report = est.segment_report()
    assert report.slopes.loc["income", "mean"] == pytest.approx(delta.mean())
    assert "income" in str(report)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cost": np.nan}, "cost must be"),
        ({"cost": [1.0, 2.0]}, "cost must be"),
        ({"rope": -1.0}, "rope must be"),
        ({"treatment": "x"}, "treatment"),
    ],
)
def test_bad_input_is_named(est, wrong, message):
    with pytest.raises(ValueError, match=message):
        est.segment_report(**wrong)


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.ConvergenceWarning")
def test_many_segments_print_both_ends(est):
    rng = np.random.default_rng(0)
    labels, z = np.repeat(np.arange(40), 60), rng.integers(0, 2, 2400)
    t = z * (rng.uniform(size=2400) < 0.7)
    y = t + rng.normal(size=2400)
    many = HierarchicalBayesianIV(check=False, **LONGER)
    report = many.fit(None, t, y, z=z, segments=labels).segment_report()
    assert "10 segments between them are left out" in str(report)
    assert len(report.to_frame()) == 40


def test_reports_of_one_experiment_say_whom_to_ask(est):
    with pytest.raises(ValueError, match=r"est\.segment_report\(\)"):
        experiment_report(est)
    for asked in (est, est.segment("s4")):
        with pytest.raises(ValueError, match="an experiment by itself"):
            exclusion_sensitivity(asked, [0.0, 0.1])
    assert experiment_report(est.segment("s4")).to_frame() is not None

"""The summary's numbers: published ones, formulas, and the functions it calls."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from experiments import unchecked
from numpy.testing import assert_allclose

from skbayesiv import TwoStageLS, diagnostics

REGIONS = [f"reg66{i}" for i in range(2, 10)]
CONTROLS = ["exper", "expersq", "black", "smsa", "south", "smsa66", *REGIONS]


def fit_card(frame, instruments, **params):
    est = TwoStageLS(treatment="educ", instruments=instruments, **params)
    return est.fit(frame[["educ", *instruments, *CONTROLS]], frame["lwage"])


def test_weights_repeat_rows(card):
    weight = card["age"].to_numpy() % 3
    again = np.repeat(np.arange(len(card)), weight)
    one = TwoStageLS().fit(
        card[["exper"]], card["educ"], card["lwage"], z=card["nearc4"], sample_weight=weight
    )
    rows = card.iloc[again]
    two = TwoStageLS().fit(rows[["exper"]], rows["educ"], rows["lwage"], z=rows["nearc4"])
    first, second = one.summary(), two.summary()
    assert_allclose(first.regressions.table, second.regressions.table, rtol=1e-6)
    assert_allclose(first.strength.to_frame(), second.strength.to_frame(), rtol=1e-6)


@unchecked
def test_effective_f_takes_the_controls_out(card):
    """Montiel Olea and Pflueger's trace formula with residuals of lstsq; 13.2 ignores controls."""
    est = fit_card(card, ["nearc2", "nearc4"])
    strength = est.summary().strength
    x = np.column_stack([np.ones(len(card)), card[CONTROLS]])
    t, z = (
        part - x @ np.linalg.lstsq(x, part, rcond=None)[0]
        for part in (card["educ"].to_numpy(float), card[["nearc2", "nearc4"]].to_numpy(float))
    )
    z = np.linalg.qr(z)[0]
    pi = z.T @ t
    e = t - z @ pi
    expected = pi @ pi / ((z * e[:, None]) ** 2).sum()
    assert_allclose(strength.effective_f.f, expected, rtol=1e-9)
    assert abs(strength.effective_f.f - 13.2) > 4
    assert_allclose(strength.first_stage.partial_r2, pi @ pi / (t @ t), rtol=1e-9)
    assert strength.weak
    assert len(strength.overidentification) == 2
    assert strength.tf is None


@unchecked
def test_card_published(card):
    """Card (1995), table 3: 0.1315 (0.0550); Wu-Hausman p > 0.05; AR set covers it, OLS 0.0747."""
    summary = fit_card(card, ["nearc4"], cov_type="unadjusted", debiased=True).summary()
    assert_allclose(summary.table.loc["educ", ["estimate", "std_err"]], [0.1315, 0.0550], atol=5e-5)
    ols = summary.regressions.table.loc["educ", "OLS"]
    assert_allclose(ols, [0.0747, 0.0035], atol=5e-5)
    strength = summary.strength
    assert_allclose(strength.cragg_donald.f, 13.26, atol=5e-3)
    assert strength.wu_hausman.p_value > 0.05
    assert 0.1315 in strength.anderson_rubin


@unchecked
def test_block_holds_the_statistics(card):
    """The block is the functions of the sub-package, called on the estimator's rows."""
    for instruments in (["nearc4"], ["nearc2", "nearc4"]):
        est = fit_card(card, instruments)
        strength = est.summary(level=0.9).strength
        assert strength.effective_f == diagnostics.effective_f(est)
        assert strength.cragg_donald == diagnostics.cragg_donald(est)
        assert strength.kleibergen_paap == diagnostics.kleibergen_paap(est)
        assert strength.wu_hausman == diagnostics.wu_hausman(est)
        assert strength.no_effect == diagnostics.anderson_rubin(est)
        assert strength.anderson_rubin == diagnostics.anderson_rubin_confidence_set(est, level=0.9)
        if len(instruments) == 1:
            assert strength.tf == diagnostics.tf_interval(est)
            assert not strength.overidentification
        else:
            j, score = strength.overidentification
            assert j == diagnostics.hansen_j(est)
            assert score == diagnostics.wooldridge_overid(est)
        table = strength.to_frame()
        assert table.loc["effective F", "value"] == strength.effective_f.f
        assert table.loc["Anderson-Rubin 0.9", "lower"] == strength.anderson_rubin.intervals[0][0]


def test_several_treatments(linear):
    strength = TwoStageLS().fit(**linear(k=2, q=3)).summary().strength
    for name in ("effective_f", "anderson_rubin", "tf", "weak", "critical_value"):
        assert getattr(strength, name) is None
    text = str(strength)
    assert "first-stage F of t1, robust" in text
    assert "Kleibergen-Paap F" in text
    assert strength.no_effect.dof == 3


@unchecked
def test_weak_instrument_gives_unbounded_set(linear):
    summary = TwoStageLS().fit(**linear(strength=0.01)).summary()
    assert summary.strength.weak
    assert not summary.strength.anderson_rubin.is_bounded
    assert "below its critical value 23.1" in str(summary)


@unchecked
def test_what_cannot_be_computed_is_said(linear):
    """Perfect compliance leaves no endogeneity to test; few clusters leave no covariance."""
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 200).astype(float)
    y = z + rng.normal(size=200)
    text = str(TwoStageLS().fit(None, z, y, z=z).summary())
    assert "Wu-Hausman" in text
    assert "not computed: t must not be explained exactly by z" in text
    data = linear(q=3)
    few = TwoStageLS().fit(**data, clusters=np.arange(500) % 3).summary()
    assert few.strength.first_stage is None
    assert "not computed: clusters must number at least 4" in str(few)
    assert "not computed" in few._repr_html_()
    z = data["z"]
    classical = diagnostics.cragg_donald(data["y"], data["t"], z)
    assert few.strength.cragg_donald == classical


def test_summary_prints_everything(push):
    y, t, z = (pd.Series(column, name=name) for column, name in zip(push, "ytz", strict=True))
    y.name = "<in-app>"
    summary = TwoStageLS().fit(None, t, y, z=z).summary()
    text, html = str(summary), summary._repr_html_()
    for part in ("OLS", "Reduced form", "First stage", "2SLS", "effective F", "Anderson-Rubin"):
        assert part in text
        assert part in html
    assert "<in-app>" not in html
    assert repr(summary) == text
    assert summary.to_frame() is summary.table
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.strength.level = 0.5
    wide = TwoStageLS().fit(np.random.default_rng(0).normal(size=(10_000, 25)), t, y, z=z)
    assert "and 8 more in the attribute table" in str(wide.summary())

"""Diagnostics of fitted estimators: their rows or moments in place of arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from experiments import unchecked
from linearmodels.datasets import card as card_data
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError

from skbayesiv import TwoStageLS, diagnostics


@pytest.fixture(scope="module")
def card():
    return card_data.load()


CLASSICAL = ["anderson_rubin", "anderson_rubin_confidence_set", "effective_f", "tf_interval"]


def assert_equal_results(one, other, rtol=1e-7):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if np.asarray(a).dtype.kind == "U":
            assert a == b
        elif dataclasses.is_dataclass(a):
            assert_equal_results(a, b)
        elif a is not None:
            assert_allclose(np.array(a, float), np.array(b, float), rtol=rtol)


@unchecked
@pytest.mark.parametrize("q", [1, 3])
def test_functions_take_estimators(card, q):
    instruments = ["nearc4", "nearc2", "motheduc"][:q]
    X, t, y, z = card[["exper", "black"]], card["educ"], card["lwage"], card[instruments]
    z = z.fillna(z.mean())
    weight, clusters = card["age"] % 4, card["age"]
    est = TwoStageLS().fit(X, t, y, z=z, sample_weight=weight, clusters=clusters)
    names = ["first_stage", "kleibergen_paap", "wu_hausman", "effective_f", "anderson_rubin"]
    names += ["hansen_j", "wooldridge_overid"] if q > 1 else ["tf_interval"]
    for name in [*names, "anderson_rubin_confidence_set", "instrument_strength"]:
        function = getattr(diagnostics, name)
        expected = function(y, t, z, X, sample_weight=weight, clusters=clusters)
        if name == "instrument_strength":
            expected = dataclasses.replace(expected, treatments=("educ",))
            assert str(function(est)) == str(expected)
        else:
            assert_equal_results(function(est), expected)
    classical = diagnostics.cragg_donald(y, t, z, X, sample_weight=weight)
    assert_equal_results(diagnostics.cragg_donald(est), classical)
    with pytest.raises(ValueError, match=r"\['X'\] must not be given with a fitted estimator"):
        diagnostics.effective_f(est, X=X)
    with pytest.raises(ValueError, match=r"\['fit_intercept'\] must not be given with a fitted"):
        diagnostics.effective_f(est, fit_intercept=False)
    without = TwoStageLS(fit_intercept=False).fit(X, t, y, z=z)
    expected = diagnostics.first_stage(y, t, z, X, fit_intercept=False)
    assert_equal_results(diagnostics.first_stage(without, fit_intercept=False), expected)
    with pytest.raises(NotFittedError):
        diagnostics.effective_f(TwoStageLS())
    with pytest.raises(ValueError, match="t and z must be given with y"):
        diagnostics.effective_f(y)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_classical_statistics_need_moments_only(card, fit_intercept):
    X, t, y, z = card[["exper", "black"]], card["educ"], card["lwage"], card[["nearc4"]]
    rows = TwoStageLS(cov_type="unadjusted", fit_intercept=fit_intercept).fit(X, t, y, z=z)
    sums = TwoStageLS(cov_type="unadjusted", fit_intercept=fit_intercept)
    sums.fit_moments(rows.moments_)
    for name in [*CLASSICAL, "wu_hausman", "first_stage"]:
        function = getattr(diagnostics, name)
        assert_equal_results(function(sums, robust=False), function(rows, robust=False), 1e-6)
        with pytest.raises(ValueError, match="robust to heteroskedasticity: moments do not tell"):
            function(sums)
    assert_equal_results(diagnostics.cragg_donald(sums), diagnostics.cragg_donald(rows), 1e-6)
    strength = sums.summary().strength
    assert strength.errors == "classical"
    assert strength.kleibergen_paap is None
    homoskedastic = diagnostics.effective_f(rows, robust=False)
    assert_allclose(strength.effective_f.f, homoskedastic.f, rtol=1e-6)
    stage = diagnostics.first_stage(rows, robust=False)
    n, dof = len(card), stage.dof_classical
    assert_allclose(stage.f, stage.f_classical * n / dof, rtol=1e-9)

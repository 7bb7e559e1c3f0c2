"""Tests of assignment, first stage and effects by covariates, and RESET, against regressions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import expit
from stratified import arrays, stratified

from skbayesiv import TwoStageLS
from skbayesiv.diagnostics import effect_weighting, instrument_linearity, wooldridge_overid


def rival(outcome, controls, added, groups=None):
    """Score test written out: residuals, and the sum of squares of their products' sums."""
    controls = np.column_stack([np.ones(len(outcome)), controls])
    u = outcome - controls @ np.linalg.lstsq(controls, outcome, rcond=None)[0]
    h = added - controls @ np.linalg.lstsq(controls, added, rcond=None)[0]
    s = h * u[:, None]
    if groups is not None:
        s = np.array([s[groups == g].sum(axis=0) for g in np.unique(groups)])
    one = np.ones(len(s))
    fitted = s @ np.linalg.lstsq(s, one, rcond=None)[0]
    return one @ fitted  # n less the residual sum of squares of the regression of 1 on s


def curved(seed=0, n=600):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    z = (rng.random(n) < expit(x[:, 0] - 0.5 * x[:, 1])).astype(float)
    t = z * (rng.random(n) < expit(x[:, 1])) + 0.1 * rng.normal(size=n)
    return x @ [1.0, 1.0] + t + rng.normal(size=n), t, z, x


@pytest.mark.parametrize("clustered", [False, True])
def test_statistics_equal_regressions(clustered):
    y, t, z, x = curved()
    groups = np.arange(600) % 60 if clustered else None
    found = effect_weighting(y, t, z, x, clusters=groups)
    assert_allclose(found.assignment.statistic, rival(z, x[:, :0], x, groups))
    products = z[:, None] * (x - x.mean(axis=0))
    expected = rival(t, np.column_stack([x, z]), products, groups)
    assert_allclose(found.first_stage.statistic, expected)
    both = np.column_stack([z, products])
    assert_allclose(
        found.effects.statistic, wooldridge_overid(y, t, both, x, clusters=groups).statistic
    )
    assert [test.dof for test in found.tests] == [2, 2, 2]
    one = np.column_stack([np.ones(600), x])
    fitted = one @ np.linalg.lstsq(one, z, rcond=None)[0]
    reset = instrument_linearity(y, t, z, x, clusters=groups).test
    assert_allclose(reset.statistic, rival(z, x, np.column_stack([fitted**2, fitted**3]), groups))
    assert reset.dof == 2
    assert_allclose(reset.p_value, stats.chi2.sf(reset.statistic, 2))


def test_several_instruments_and_treatments_are_tested_together():
    y, t, z, x = curved()
    z = np.column_stack([z, x[:, 0] ** 2 + np.random.default_rng(1).normal(size=600)])
    found = effect_weighting(y, t, z, x)
    assert (found.assignment.dof, found.first_stage.dof, found.effects) == (4, 4, None)
    assert instrument_linearity(y, t, z, x).test.dof == 4


def test_the_strata_add_up_to_2sls():
    data = stratified(always=0.05)
    y, t, z, x = arrays(data)
    strata = effect_weighting(y, t, z, x).strata
    estimate = TwoStageLS(check=False).fit(**data).effect_
    assert_allclose((strata["weight"] * strata["effect"]).sum(), estimate)
    share, e = strata["first stage"], strata["mean z"]
    expected = strata["rows"] * e * (1 - e) * share
    assert_allclose(strata["weight"], expected / expected.sum())
    for g in (0, 1):
        here = x[:, 0] == g
        wald = TwoStageLS(check=False).fit(None, t[here], y[here], z=z[here])
        assert_allclose(strata.loc[g, "effect"], wald.effect_)
    assert effect_weighting(*curved()).strata is None


def test_what_the_estimate_is_a_mean_of():
    found = effect_weighting(*arrays(stratified()))
    assert found.weighted
    assert "weighted by rows x Var(z | x) x share" in found.statement
    even = effect_weighting(*arrays(stratified(assigned=(0.5, 0.5))))
    assert not even.weighted
    assert "does not depend on the covariates" in even.statement
    same = effect_weighting(*arrays(stratified(shares=(0.6, 0.6), effects=(1.0, 1.0))))
    assert not same.weighted
    assert "any weights give the same average" in same.statement
    effects = effect_weighting(*arrays(stratified(shares=(0.6, 0.6))))
    assert "and effects differ by them" in effects.statement


def test_saturated_covariates_leave_nothing_to_test():
    y, t, z, x = arrays(stratified())
    g = np.random.default_rng(0).integers(0, 4, len(y))
    dummies = (g[:, None] == np.arange(1, 4)).astype(float)
    for covariates in (x, dummies):
        found = instrument_linearity(y, t, z, covariates)
        assert found.saturated
        assert str(found).endswith("saturated: E[z | x] is linear by construction")
    assert not instrument_linearity(y, t, z, np.column_stack([x, g])).saturated
    own = (g[:, None] == np.arange(4)).astype(float)
    assert instrument_linearity(y, t, z, own, fit_intercept=False).saturated


def test_invariance():
    y, t, z, x = curved()
    w = np.random.default_rng(2).integers(0, 3, 600)
    again = np.repeat(np.arange(600), w)
    turn = x @ [[2.0, 1.0], [0.0, 3.0]] * 1e3 + 1e6
    for function in (
        lambda *a, **k: [test.statistic for test in effect_weighting(*a, **k).tests],
        lambda *a, **k: instrument_linearity(*a, **k).test.statistic,
    ):
        one = function(y, t, z, x)
        assert_allclose(function(3.0 * y + 1.0, 2.0 * t, 5.0 - z, turn), one, rtol=1e-5)
        assert_allclose(function(y[::-1], t[::-1], z[::-1], x[::-1]), one, rtol=1e-9)
        weighted = function(y, t, z, x, sample_weight=w)
        assert_allclose(weighted, function(y[again], t[again], z[again], x[again]), rtol=1e-9)


def shifted(y, t, z, x, shift):
    """The same data in other units, or about another mean."""
    return {
        "z far from zero": (y, t, z + 1e7, x),
        "tiny z": (y, t, 1e-30 * z, x),
        "huge z": (y, t, 1e140 * z, x),
        "tiny t": (y, 1e-100 * t, z, x),
        "t far from zero": (y, t + 1e6, z, x),
        "X far from zero": (y, t, z, x + 1e7),
        "tiny X": (y, t, z, 1e-100 * x),
    }[shift]


SHIFTS = ["z far from zero", "tiny z", "huge z", "tiny t", "t far from zero"]
SHIFTS += ["X far from zero", "tiny X"]


@pytest.mark.parametrize("shift", SHIFTS)
def test_units_and_means_do_not_matter(shift):
    data = curved()
    there = shifted(*data, shift)
    one, two = (effect_weighting(*each).to_frame() for each in (data, there))
    assert_allclose(two[["statistic", "p_value"]], one[["statistic", "p_value"]], rtol=1e-5)
    one, two = (instrument_linearity(*each).test.statistic for each in (data, there))
    assert_allclose(two, one, rtol=1e-5)
    strata = arrays(stratified())
    one, two = (effect_weighting(*each).strata for each in (strata, shifted(*strata, shift)))
    assert_allclose(two["weight"], one["weight"], rtol=1e-5)


def test_exact_outcomes_have_no_test_of_effects():
    _, t, z, x = curved()
    for exact in (x[:, 0], 1e150 * t, t - x[:, 1]):
        assert effect_weighting(exact, t, z, x).effects is None


def test_few_rows_that_are_fitted_exactly_are_no_test():
    """Each row has a residual of zero, or no product of z and X that the controls do not fit."""
    x = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0])
    z = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    t = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    order = np.array([3, 1, 6, 0, 5, 2, 4])
    one = effect_weighting(x, t, z, x).to_frame()
    two = effect_weighting(x[order], t[order], 7.0 - 4.0 * z[order], x[order]).to_frame()
    assert_allclose(two[["statistic", "p_value"]], one[["statistic", "p_value"]], rtol=1e-9)


def test_a_row_that_outweighs_all_others_leaves_numbers():
    y, t, z, x = (part[:15] for part in curved(20))
    weight = np.where(np.arange(15) == 7, 1e7, 1.0)
    for test in effect_weighting(
        y, t, z > 0.5, np.column_stack([x > 0, x]), sample_weight=weight
    ).tests:
        assert np.isfinite(test.statistic)


def test_strata_without_a_first_stage_have_no_weights():
    x, z, t = (np.tile(values, 20) for values in ([0, 0, 0, 0, 1, 1, 1, 1], [0, 1], [0, 0, 1, 1]))
    z = np.resize(z, 160)
    t = np.resize(t, 160)
    strata = effect_weighting(z + 0.5 * t, t, z, x).strata
    assert (strata["first stage"] == 0.0).all()
    assert strata[["weight", "effect"]].isna().all(axis=None)


def rejections(function, draw, reps=400):
    return np.mean([[p < 0.05 for p in function(*draw(seed))] for seed in range(reps)], axis=0)


def weighting_p(*data):
    return [test.p_value for test in effect_weighting(*data).tests]


@pytest.mark.slow
def test_size_of_all_tests():
    """Normal covariates, a linear E[z | x]: 5%, to three standard errors of 400 samples."""

    def draw(seed, n=500):
        rng = np.random.default_rng(seed)
        x, z = rng.normal(size=(n, 2)), rng.normal(size=n)
        t = 0.5 * z + rng.normal(size=n) * (1.0 + (z > 0))
        return t + rng.normal(size=n), t, z, x

    sizes = rejections(weighting_p, draw)
    assert (np.abs(sizes - 0.05) < 0.033).all()

    def dependent(seed):
        y, t, z, x = draw(seed)
        return y, t, z + x[:, 0], x

    (size,) = rejections(lambda *a: [instrument_linearity(*a).test.p_value], dependent)
    assert abs(size - 0.05) < 0.033


def test_power():
    assert (rejections(weighting_p, lambda s: arrays(stratified(s, n=1000)), 50) > 0.9).all()

    def draw(seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=1000)
        z = (rng.random(1000) < expit(3.0 * x)).astype(float)
        return x, z * (rng.random(1000) < 0.5), z, x

    assert rejections(lambda *a: [instrument_linearity(*a).test.p_value], draw, 50) > 0.9


def test_errors():
    y, t, z, x = curved()
    for function in (effect_weighting, instrument_linearity):
        with pytest.raises(ValueError, match=r"X must have a covariate .*; got none"):
            function(y, t, z)
        with pytest.raises(ValueError, match="fit_intercept must be True, or X have columns"):
            function(y, t, z, x, fit_intercept=False)
        with pytest.raises(ValueError, match=r"clusters must number at least 3 .* got 2"):
            function(y, t, z, x, clusters=np.arange(600) % 2)
    with pytest.raises(ValueError, match="size must lie strictly between 0 and 1"):
        effect_weighting(y, t, z, x, size=0.0)

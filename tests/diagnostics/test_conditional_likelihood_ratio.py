"""Conditional likelihood ratio test and its inversion."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from experiments import unchecked
from numpy.testing import assert_allclose
from scipy import integrate, linalg, stats

from skbayesiv import TwoStageLS
from skbayesiv.diagnostics import (
    anderson_rubin,
    anderson_rubin_confidence_set,
    conditional_likelihood_ratio,
    conditional_likelihood_ratio_confidence_set,
)
from skbayesiv.diagnostics._conditional_law import likelihood_ratio, p_values

REFERENCE = Path(__file__).parent / "reference" / "ivmodels_conditional.json"
IVMODELS = json.loads(REFERENCE.read_text())
OPTIONS = [{"robust": r, "debiased": d} for r in (True, False) for d in (False, True)]
options = pytest.mark.parametrize("options", OPTIONS, ids=str)


def ratios(data, effects, **given):
    return [conditional_likelihood_ratio(*data.args, effect=b, **given) for b in effects]


def partialled(data, weights):
    """Columns less their weighted regression on 1 and X; instruments with Z'WZ = I."""
    root = np.sqrt(weights)[:, None]
    controls = np.column_stack([np.ones(len(weights)), data.X])
    tables = [np.reshape(v, (len(weights), -1)) for v in (data.y, data.t, data.z)]
    y, t, z = (v - controls @ np.linalg.lstsq(root * controls, root * v)[0] for v in tables)
    return y[:, 0], t[:, 0], z @ linalg.inv(linalg.sqrtm(z.T @ (weights[:, None] * z)))


# The law


@pytest.mark.parametrize("q", [2, 3, 8, 30])
@pytest.mark.parametrize("r", [1e-3, 1.0, 30.0, 1e4])
def test_law_is_an_integral_over_the_score(q, r):
    """P(K + J x / (x + r) > x) over K, by adaptive quadrature."""
    for x in (0.1, 1.0, 4.0, 20.0):
        share = x / (x + r)

        def tail(k, x=x, share=share):
            rest = stats.chi2.sf((x - k * k) / share, q - 1)
            return 2 * stats.norm.pdf(k) * rest

        steps = np.sqrt(np.maximum(x - share * np.array([0.1, q - 1, 3 * q + 20]), 0.0))
        inner, _ = integrate.quad(tail, 0, np.sqrt(x), points=steps, limit=500, epsabs=1e-13)
        expected = inner + stats.chi2.sf(x, 1)
        assert_allclose(p_values(np.array(x), np.array(r), q), expected, atol=1e-9)


def test_law_of_the_ratio_itself():
    """Draws of A, K and, debiased, of the denominator of an F, at strengths 0 to infinite."""
    rng, q, r = np.random.default_rng(0), 4, 6.0
    k, j = rng.chisquare(1, 200_000), rng.chisquare(q - 1, 200_000)
    for dof in (None, 7.0):
        over = 1.0 if dof is None else rng.chisquare(dof, len(k)) / dof
        draws = likelihood_ratio((k + j) / over, k / over, np.full(len(k), r))
        for x in (1.0, 5.0, 12.0):
            p = float(p_values(np.array(x), np.array(r), q, dof))
            assert abs((draws > x).mean() - p) < 5 * np.sqrt(p * (1 - p) / len(k))
    x = np.array([0.0, 0.5, 3.0, 40.0])
    assert_allclose(p_values(x, 0.0 * x, q), stats.chi2.sf(x, q), rtol=1e-10)
    assert_allclose(p_values(x, np.inf + x, q), stats.chi2.sf(x, 1), rtol=1e-7)
    assert_allclose(p_values(x, 0.0 * x, q, 9.0), stats.f.sf(x / q, q, 9), rtol=1e-10)
    assert_allclose(p_values(x, np.inf + x, 1), stats.chi2.sf(x, 1), rtol=1e-10)


def test_ratio_keeps_its_digits():
    """K = A gives A whatever the strength, and an infinite strength gives K."""
    ar = np.array([0.0, 1e-9, 3.0, 50.0])
    for r in (0.0, 1.0, 1e9, 1e15):
        assert_allclose(likelihood_ratio(ar, ar, np.full(4, r)), ar, rtol=1e-12)
    assert_allclose(likelihood_ratio(ar, 0.5 * ar, np.full(4, np.inf)), 0.5 * ar)
    assert_allclose(likelihood_ratio(ar, 0.0 * ar, np.full(4, 2.0)), np.maximum(ar - 2.0, 0.0))


# The statistics


@pytest.mark.parametrize("debiased", [False, True])
def test_classical_formula(simulate, debiased):
    """Moreira (2003): S, T and the likelihood ratio of a known covariance, and LIML's minimum."""
    data = simulate(80, q=3, strength=0.2)
    w = data.options["sample_weight"].astype(float)
    y, t, z = partialled(data, w)
    both = np.column_stack([y, t])
    coef = z.T @ (w[:, None] * both)
    left = both - z @ coef
    n = w.sum() - 6 if debiased else w.sum()
    omega = left.T @ (w[:, None] * left) / n
    for effect in (-1.0, 0.5, 1.0, 4.0):
        b, a = np.array([1.0, -effect]), np.linalg.solve(omega, [effect, 1.0])
        s = coef @ b / np.sqrt(b @ omega @ b)
        strong = coef @ a / np.sqrt(a @ omega @ a)
        q_s, q_t, q_st = s @ s, strong @ strong, s @ strong
        ratio = (q_s - q_t + np.sqrt((q_s - q_t) ** 2 + 4 * q_st**2)) / 2
        result = conditional_likelihood_ratio(
            *data.args, effect=effect, robust=False, debiased=debiased, sample_weight=w
        )
        assert_allclose([result.statistic, result.strength], [ratio, q_t], rtol=1e-7)
        ar = anderson_rubin(
            *data.args, effect=effect, robust=False, debiased=debiased, sample_weight=w
        )
        least = linalg.eigh(coef.T @ coef, omega, eigvals_only=True)[0]
        assert_allclose(ratio, ar.statistic * (3 if debiased else 1) - least, rtol=1e-7)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("clustered", [False, True])
def test_robust_formula(simulate, clustered, debiased):
    """Kleibergen (2005), with scores of each row or cluster written out."""
    data = simulate(81, q=3, strength=0.2)
    w = data.options["sample_weight"].astype(float)
    y, t, z = partialled(data, w)
    error = t - z @ (z.T @ (w * t))
    groups = data.options["clusters"] if clustered else np.repeat(np.arange(len(w)), 1)
    given = data.options if clustered else {"sample_weight": w}
    m = 25.0 if clustered else w.sum()

    def covariance(one, other):
        if not clustered:
            return (z * (w * one * other)[:, None]).T @ z
        one, other = (
            np.array([(w * e * z.T)[:, groups == g].sum(axis=1) for g in range(25)])
            for e in (one, other)
        )
        return one.T @ other

    n, k = w.sum(), 6
    factor = (25 / 24 * (n - 1) if clustered else n) / (n - k) if debiased else 1.0
    for effect in (-1.0, 0.5, 1.0, 4.0):
        u = y - t * effect
        g, s, mixed = z.T @ (w * u), covariance(u, u), covariance(error, u)
        first = z.T @ (w * t) - mixed @ np.linalg.solve(s, g)
        variance = covariance(error, error) - mixed @ np.linalg.solve(s, mixed.T)
        r = first @ np.linalg.solve(variance, first) / factor
        if debiased:
            s = (s - np.outer(g, g) / m) * m / (m - 3)
        within = np.linalg.solve(s, np.column_stack([g, first]))
        ar, score = g @ within[:, 0], (g @ within[:, 1]) ** 2 / (first @ within[:, 1])
        ratio = (ar - r + np.sqrt((ar - r) ** 2 + 4 * score * r)) / 2
        result = conditional_likelihood_ratio(*data.args, effect=effect, debiased=debiased, **given)
        assert_allclose([result.statistic, result.strength], [ratio, r], rtol=1e-6)
        assert result.dof_denominator == (m - 3 if debiased else None)
        same = anderson_rubin(*data.args, effect=effect, debiased=debiased, **given)
        assert_allclose(ar, same.statistic * (3 if debiased else 1), rtol=1e-7)


@options
def test_one_instrument_is_anderson_rubin(simulate, options):
    data = simulate(82, q=1, strength=0.2)
    for effect in (-3.0, 0.0, 1.0, 2.0, 1e6):
        one = conditional_likelihood_ratio(*data.args, effect=effect, **options)
        other = anderson_rubin(*data.args, effect=effect, **options)
        assert_allclose([one.statistic, one.p_value], [other.statistic, other.p_value], rtol=1e-9)
    one = conditional_likelihood_ratio_confidence_set(*data.args, **options)
    assert one == anderson_rubin_confidence_set(*data.args, **options)


@pytest.mark.filterwarnings("ignore:sample_weight has values that are not whole numbers")
@pytest.mark.parametrize("name", sorted(IVMODELS))
def test_equals_ivmodels(name):
    """Which divides by n - k and takes chi-squares: (n - k) / n of each row without `debiased`."""
    case = IVMODELS[name]
    data = {key: np.array(values) for key, values in case["data"].items()}
    n, q = data["z"].shape
    given = {"robust": False, "sample_weight": np.full(n, (n - q - 2) / n)}
    for effect, expected in zip(case["effects"], case["tests"], strict=True):
        result = conditional_likelihood_ratio(**data, effect=effect, **given)
        assert_allclose([result.statistic, result.p_value], expected, rtol=1e-6, atol=1e-8)
    result = conditional_likelihood_ratio_confidence_set(**data, **given)
    assert result.kind == name.split()[0]
    ends = [
        (-np.inf if a is None else a, np.inf if b is None else b) for a, b in case["confidence_set"]
    ]
    assert_allclose(np.array(result.intervals), np.array(ends, dtype=float), rtol=1e-6)


def test_equals_its_classical_form_where_errors_are(simulate):
    """In a large sample of errors of one variance."""
    rng = np.random.default_rng(83)
    z, v = rng.normal(size=(200_000, 3)), rng.normal(size=200_000)
    t = 0.01 * z.sum(axis=1) + v
    y = t + 0.5 * v + rng.normal(size=200_000)
    ends = [
        conditional_likelihood_ratio_confidence_set(y, t, z, robust=robust).intervals
        for robust in (True, False)
    ]
    assert_allclose(*ends, rtol=0.02)


# The sets


@options
@pytest.mark.parametrize("q", [2, 3, 5])
def test_membership_agrees_with_the_test(simulate, q, options):
    """At random effects and next to the ends, for strong, weak and invalid instruments."""
    rng = np.random.default_rng(q)
    for seed in range(12):
        strength, direct = rng.choice([0.0, 0.1, 0.5, 50.0]), rng.choice([0.0, 1.0])
        data = simulate(90 + seed, n=60, q=q, strength=strength, direct=direct)
        result = conditional_likelihood_ratio_confidence_set(*data.args, level=0.9, **options)
        ends = np.array([e for i in result.intervals for e in i if np.isfinite(e)])
        near = 1e-6 * (1e-3 + abs(ends - 1.0))
        effects = np.r_[1.0 + rng.standard_cauchy(20), ends + near, ends - near]
        accepted = [test.p_value >= 0.1 for test in ratios(data, effects, **options)]
        assert [b in result for b in effects] == accepted
        at_ends = [test.p_value for test in ratios(data, ends, **options)]
        assert_allclose(at_ends, 0.1, rtol=1e-7)


@pytest.mark.parametrize("seed", range(8))
def test_no_piece_is_missed(seed):
    """Small samples with outliers, where robust sets are ragged, against a dense scan."""
    rng = np.random.default_rng(seed)
    z = rng.standard_t(2, size=(14, 3))
    t = 0.3 * z.sum(1) + rng.standard_t(2, size=14)
    y = z[:, 0] + rng.standard_t(2, size=14)
    result = conditional_likelihood_ratio_confidence_set(y, t, z)
    effects = np.tan(np.linspace(-1.57, 1.57, 500))
    p = [conditional_likelihood_ratio(y, t, z, effect=b).p_value for b in effects]
    assert [b in result for b in effects] == [value >= 0.05 for value in p]


def test_a_narrow_set_is_found():
    """A first stage so strong that the set is a thousandth of a step of the grid."""
    rng = np.random.default_rng(84)
    z, v = rng.normal(size=(5000, 3)), rng.normal(size=5000)
    t = 1e4 * z.sum(axis=1) + v
    y = 2.0 * t + v + rng.normal(size=5000)
    for given in OPTIONS:
        ((lower, upper),) = conditional_likelihood_ratio_confidence_set(y, t, z, **given).intervals
        assert lower < 2.0 < upper < lower + 1e-5


def test_shorter_than_anderson_rubin_where_instruments_are_many_and_strong():
    rng, shares = np.random.default_rng(85), []
    for _ in range(20):
        z = rng.normal(size=(500, 10))
        v = rng.normal(size=500) * (0.5 + np.abs(z[:, 0]))
        t = 0.2 * z.sum(axis=1) + v
        y = t + 0.8 * v + rng.normal(size=500)
        found = [
            function(y, t, z).intervals
            for function in (
                conditional_likelihood_ratio_confidence_set,
                anderson_rubin_confidence_set,
            )
        ]
        widths = [sum(b - a for a, b in intervals) for intervals in found]
        if widths[1] > 0:
            shares.append(widths[0] / widths[1])
    assert np.median(shares) < 0.75


def test_instruments_that_disagree_leave_a_set():
    rng = np.random.default_rng(86)
    z, v = rng.normal(size=(500, 3)), rng.normal(size=500)
    t = z.sum(axis=1) + v
    y = t + z[:, 0] + v + rng.normal(size=500)
    assert anderson_rubin_confidence_set(y, t, z).kind == "empty"
    assert conditional_likelihood_ratio_confidence_set(y, t, z).kind == "interval"


def test_levels_are_nested(simulate):
    data = simulate(64, q=2, strength=0.15)
    for given in OPTIONS:
        small, large = (
            conditional_likelihood_ratio_confidence_set(*data.args, level=v, **given).intervals[0]
            for v in (0.8, 0.95)
        )
        assert large[0] < small[0] < small[1] < large[1]


# Invariance


@options
def test_units(simulate, options):
    data = simulate(63, q=3)
    plain = np.array(conditional_likelihood_ratio_confidence_set(*data.args, **options).intervals)
    turned = data.z @ [[1.0, 2.0, 0.0], [0.0, 3.0, 1.0], [0.0, 0.0, 1e6]]
    scaled = (1e6 * data.y, 1e-4 * data.t, turned, data.X)
    found = conditional_likelihood_ratio_confidence_set(*scaled, **options)
    assert_allclose(found.intervals, 1e10 * plain, rtol=1e-7)
    flipped = conditional_likelihood_ratio_confidence_set(-data.y, *data.args[1:], **options)
    assert_allclose(flipped.intervals, -plain[::-1, ::-1], rtol=1e-8)
    order = np.random.default_rng(0).permutation(len(data.y))
    shuffled = [column[order] for column in data.args]
    found = conditional_likelihood_ratio_confidence_set(*shuffled, **options)
    assert_allclose(found.intervals, plain, rtol=1e-9)


@options
def test_outcome_nearly_explained_by_the_treatment(options):
    """Y -> s y + b t maps the set to s set + b, and no digits are lost when s is small."""
    rng = np.random.default_rng(68)
    z, v = rng.normal(size=(2000, 3)), rng.normal(size=2000)
    t, y = z.sum(1) + v, 0.5 * v + rng.normal(size=2000)
    plain = np.array(conditional_likelihood_ratio_confidence_set(y, t, z, **options).intervals)
    for scale in (1e-3, 1e-5):
        near = conditional_likelihood_ratio_confidence_set(5.0 * t + scale * y, t, z, **options)
        assert_allclose((np.array(near.intervals) - 5.0) / scale, plain, rtol=1e-11 / scale)


# Exact fits


@options
def test_outcome_explained_exactly(options):
    """Only the one effect fits; weak instruments reject nothing."""
    rng = np.random.default_rng(69)
    z, v = rng.normal(size=(200, 2)), rng.normal(size=200)
    strong, weak = z.sum(axis=1) + v, 0.01 * z.sum(axis=1) + v
    found = conditional_likelihood_ratio_confidence_set(5.0 * strong, strong, z, **options)
    assert_allclose(found.intervals, [[5.0, 5.0]], rtol=1e-12)
    assert conditional_likelihood_ratio(5 * strong, strong, z, effect=5.0, **options).p_value == 1.0
    assert conditional_likelihood_ratio(5 * strong, strong, z, effect=4.9, **options).p_value < 1e-6
    assert conditional_likelihood_ratio_confidence_set(5 * weak, weak, z, **options).kind == "line"


@pytest.mark.parametrize("robust", [True, False])
def test_exact_first_stage(robust):
    """Of infinite strength: the score test, chi-square with one degree of freedom."""
    rng = np.random.default_rng(87)
    z = rng.normal(size=(200, 3))
    t = z @ [1.0, 2.0, 0.0]
    y = t + rng.normal(size=200)
    test = conditional_likelihood_ratio(y, t, z, effect=1.1, robust=robust)
    assert test.strength == np.inf
    assert_allclose(test.p_value, stats.chi2.sf(test.statistic, 1), rtol=1e-7)
    ((lower, upper),) = conditional_likelihood_ratio_confidence_set(
        y, t, z, robust=robust
    ).intervals
    assert lower < 1.0 < upper


# Where it comes from


@unchecked
def test_moments_alone(simulate):
    data = simulate(88, q=3)
    est = TwoStageLS(cov_type="unadjusted").fit(data.X, data.t, data.y, z=data.z)
    alone = TwoStageLS(cov_type="unadjusted").fit_moments(est.moments_)
    for debiased in (False, True):
        given = {"robust": False, "debiased": debiased}
        one, other = (
            conditional_likelihood_ratio_confidence_set(*args, **given)
            for args in ((alone,), data.args)
        )
        assert_allclose(one.intervals, other.intervals, rtol=1e-7)
    with pytest.raises(ValueError, match="robust=False will do"):
        conditional_likelihood_ratio(alone)


def test_errors(simulate):
    data = simulate(66, k=2, q=3)
    with pytest.raises(ValueError, match="t must be one treatment for the conditional likelihood"):
        conditional_likelihood_ratio(*data.args)
    with pytest.raises(ValueError, match="t must be one treatment for a confidence set, got 2"):
        conditional_likelihood_ratio_confidence_set(*data.args)
    one, clusters = (data.y, data.t[:, 0], data.z), data.options["clusters"]
    with pytest.raises(ValueError, match=r"effect must be a finite number or one per treatment"):
        conditional_likelihood_ratio(*one, effect=[1.0, 2.0])
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1; got 95"):
        conditional_likelihood_ratio_confidence_set(*one, level=95)
    for function in (conditional_likelihood_ratio, conditional_likelihood_ratio_confidence_set):
        with pytest.raises(ValueError, match="clusters must be None when robust=False"):
            function(*one, robust=False, clusters=clusters)
        with pytest.raises(ValueError, match="clusters must number at least 4 for 3 instr"):
            function(*one, clusters=clusters % 3)


def test_text(simulate):
    test = conditional_likelihood_ratio(*simulate(67, q=3).args, effect=1.5)
    assert str(test).startswith("Conditional likelihood ratio: ")
    assert " given a strength of " in str(test)
    assert str(test).endswith("(null: the effect is 1.5)")
    assert dataclasses.replace(test, statistic=1.0) != test


# Size, at 5%


def many(rng):
    z, v = rng.normal(size=(500, 10)), rng.normal(size=500)
    t = z @ np.full(10, np.sqrt(10.0 / 500 / 10)) + v
    return t + 0.8 * v + 0.6 * rng.normal(size=500), t, z, None


def ten_clusters(rng):
    groups = np.repeat(np.arange(10), 50)
    z = rng.permutation(np.arange(10) < 5).astype(float)[groups]

    def error():
        return np.sqrt(0.2) * rng.normal(size=10)[groups] + np.sqrt(0.8) * rng.normal(size=500)

    v = error()
    t = 1.5 * z + v
    return t + 0.5 * v + np.sqrt(0.75) * error(), t, z, groups


@pytest.mark.slow
@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("draw", [many, ten_clusters])
@pytest.mark.parametrize("function", [anderson_rubin, conditional_likelihood_ratio])
def test_size(function, draw, debiased):
    rng, rejected = np.random.default_rng(89), 0
    for _ in range(2000):
        y, t, z, clusters = draw(rng)
        p = function(y, t, z, effect=1.0, clusters=clusters, debiased=debiased).p_value
        rejected += p < 0.05
    assert 0.02 < rejected / 2000 < 0.075

"""tF critical values and intervals."""

import numpy as np
import pytest
from linearmodels.iv import IV2SLS
from scipy import optimize, stats

from skbayesiv.diagnostics import first_stage, tf_critical_value, tf_interval

# Critical values for F^(1/2) = 2.0, 2.1, ..., 10.3 as published by Lee, McCrary, Moreira and Porter
# (2022, table 3), transcribed from function tF of R's ivDiag.
PUBLISHED = """
18.66 9.74 7.37 6.18 5.43 4.92 4.54 4.25 4.01 3.82 3.65 3.51 3.39 3.29 3.19 3.11 3.03 2.97 2.91 2.85
2.80 2.75 2.71 2.67 2.63 2.60 2.57 2.54 2.51 2.48 2.46 2.43 2.41 2.39 2.37 2.35 2.33 2.32 2.30 2.29
2.27 2.26 2.24 2.23 2.22 2.21 2.20 2.19 2.17 2.16 2.16 2.15 2.14 2.13 2.12 2.11 2.10 2.10 2.09 2.08
2.08 2.07 2.06 2.06 2.05 2.04 2.04 2.03 2.03 2.02 2.02 2.01 2.01 2.00 2.00 1.99 1.99 1.99 1.98 1.98
1.97 1.97 1.97 1.96
"""


def test_published_table():
    """The table rounds up, so that the tests are conservative."""
    published = np.array(PUBLISHED.split(), dtype=float)
    roots = np.arange(20, 20 + len(published)) / 10
    exact = np.array([tf_critical_value(root**2) for root in roots])
    np.testing.assert_allclose(np.ceil(100 * exact - 1e-9) / 100, published, atol=1e-12)


def test_published_thresholds():
    """Unbounded up to 1.96^2; 3.43 at F = 10; 1.96 from F = 104.67 on."""
    quantile = stats.norm.ppf(0.975)
    assert tf_critical_value(0.0) == tf_critical_value(quantile**2) == np.inf
    assert 50 < tf_critical_value(3.86) < np.inf
    np.testing.assert_allclose(tf_critical_value(10.0), 3.43, atol=0.005)
    assert tf_critical_value(104.66) > quantile + 1e-6
    for f in (104.68, 1e4, np.inf):
        np.testing.assert_allclose(tf_critical_value(f), quantile, rtol=1e-12)


def test_critical_values_fall():
    values = [tf_critical_value(f) for f in np.linspace(3.85, 110, 2000)]
    assert (np.diff(values) <= 0).all()


ROOTS = np.linspace(0.0, 40.0, 40_001)
CRITICAL = np.array([tf_critical_value(root**2) for root in ROOTS])


def worst_case_rejection(mean):
    """Correlation 1: |t| = |f| |f - m| / m with f ~ N(m, 1), its three rejection regions."""

    def excess(root, sign):
        critical = tf_critical_value(root**2)
        return -1.0 if critical == np.inf else root * (root - sign * mean) / mean - critical

    above = optimize.brentq(excess, max(mean, 1.9), mean + 20, args=(1.0,), xtol=1e-13)
    below = optimize.brentq(excess, 1.9, mean + 50, args=(-1.0,), xtol=1e-13)
    f = np.linspace(0.0, mean, 10_001)
    between = f[f * (mean - f) / mean > np.interp(f, ROOTS, CRITICAL)]
    probability = stats.norm.sf(above - mean) + stats.norm.sf(below + mean)
    if len(between):
        probability += stats.norm.cdf(between[-1] - mean) - stats.norm.cdf(between[0] - mean)
    return probability


@pytest.mark.parametrize("mean", [0.01, 0.03, 0.07, 0.1, 0.3, 1.0, 2.0, 4.0, 6.0, 8.0, 8.5])
def test_rejects_five_percent_in_the_worst_case(mean):
    np.testing.assert_allclose(worst_case_rejection(mean), 0.05, atol=2e-6)


@pytest.mark.parametrize("mean", [8.7, 9.0, 9.5, 10.0, 12.0, 15.0, 20.0, 30.0])
def test_rejects_just_below_five_percent_beyond(mean):
    assert 0.047 < worst_case_rejection(mean) < 0.05


@pytest.mark.parametrize("mean", [0.2, 1.0, 2.5, 5.0, 9.0, 12.0, 20.0])
def test_rejects_at_most_five_percent_otherwise(mean):
    """Correlations 0 to 1 of the errors, the asymptotic law of (t, f)."""
    rng = np.random.default_rng(70)
    f, noise = mean + rng.normal(size=500_000), rng.normal(size=500_000)
    for rho in (0.0, 0.5, 0.8, 0.95, 0.999):
        ar = rho * (f - mean) + np.sqrt(1 - rho**2) * noise
        t = np.abs(ar) / np.sqrt(1 - 2 * rho * ar / f + (ar / f) ** 2)
        rate = (t > np.interp(np.abs(f), ROOTS, CRITICAL)).mean()
        assert rate < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 500_000)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("debiased", [False, True])
def test_interval_is_the_estimate_plus_minus(simulate, clustered, debiased):
    data = simulate(71, q=1, strength=1.0)
    clusters = data.options["clusters"] if clustered else None
    exog = np.column_stack([np.ones(300), data.X])
    cov = {"cov_type": "clustered", "clusters": clusters} if clustered else {"cov_type": "robust"}
    reference = IV2SLS(data.y, exog, data.t, data.z).fit(debiased=debiased, **cov)
    result = tf_interval(*data.args, clusters=clusters, debiased=debiased)
    np.testing.assert_allclose(result.estimate, reference.params.iloc[-1], rtol=1e-9)
    np.testing.assert_allclose(result.std_error, reference.std_errors.iloc[-1], rtol=1e-9)
    stage = first_stage(*data.args, clusters=clusters, debiased=debiased)
    np.testing.assert_allclose(result.f, stage.f[0], rtol=1e-12)
    assert 4 < result.f < 100
    half = tf_critical_value(result.f) * result.std_error
    np.testing.assert_allclose(
        result.interval.intervals, [(result.estimate - half, result.estimate + half)], rtol=1e-12
    )
    np.testing.assert_allclose(half, stats.norm.ppf(0.975) * result.std_error_tf, rtol=1e-12)


def test_unbounded_with_a_weak_instrument(simulate):
    data = simulate(72, q=1, strength=0.0)
    result = tf_interval(*data.args)
    assert result.f < 3.84
    assert result.interval.kind == "line"
    assert np.isfinite([result.estimate, result.std_error]).all()


def test_push(push):
    """F is in the thousands: the 2SLS interval [1.8896, 4.6981] of the literature."""
    result = tf_interval(*push.args)
    np.testing.assert_allclose(result.interval.intervals, [(1.8896, 4.6981)], atol=5e-5)
    np.testing.assert_allclose([result.estimate, result.std_error], [3.2938, 0.7165], atol=5e-5)


def test_exact_first_stage():
    z = np.tile([0.0, 1.0], 20)
    result = tf_interval(np.arange(40.0) % 7, z, z)
    assert result.f == np.inf
    np.testing.assert_allclose(result.critical_value, stats.norm.ppf(0.975))


def test_errors(simulate):
    data = simulate(73, k=1, q=2)
    with pytest.raises(ValueError, match="z must have one column for a tF interval, got 2"):
        tf_interval(*data.args)
    data = simulate(73, k=2, q=2)
    with pytest.raises(ValueError, match="t must have one column for a tF interval, got 2"):
        tf_interval(*data.args)
    with pytest.raises(ValueError, match="z must be correlated with t"):
        tf_interval([1.0, 2.0, 4.0, 3.0], [0, 0, 1, 1], [0, 1, 0, 1])
    for f in (-1.0, np.nan):
        with pytest.raises(ValueError, match="f must be a number, at least 0; got"):
            tf_critical_value(f)


def test_outcome_nearly_explained_by_the_treatment():
    """Y -> s y + b t maps estimate and interval to s (...) + b, with the digits that s leaves."""
    rng = np.random.default_rng(74)
    z, v = rng.normal(size=(2, 2000))
    t, y = z + v, 0.5 * v + rng.normal(size=2000)
    plain = tf_interval(y, t, z)
    for scale in (1e-3, 1e-5):
        near = tf_interval(5.0 * t + scale * y, t, z)
        np.testing.assert_allclose(near.std_error / scale, plain.std_error, rtol=1e-12 / scale)
        np.testing.assert_allclose(
            (np.array(near.interval.intervals) - 5.0) / scale,
            plain.interval.intervals,
            rtol=1e-12 / scale,
        )


def test_t_statistic_and_text(simulate):
    result = tf_interval(*simulate(75, q=1, strength=1.0).args)
    np.testing.assert_allclose(result.t_statistic, result.estimate / result.std_error, rtol=1e-15)
    (lower, upper) = result.interval.intervals[0]
    assert (abs(result.t_statistic) > result.critical_value) == (not lower <= 0.0 <= upper)
    text = f"t = {result.t_statistic:.4g}, critical value {result.critical_value:.3f}"
    assert text in str(result)
    z = np.tile([0.0, 1.0], 20)
    assert tf_interval(-2.0 * z, z, z).t_statistic == -np.inf

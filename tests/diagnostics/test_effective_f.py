"""Effective F of Montiel Olea and Pflueger (2013)."""

import numpy as np
import pytest
from scipy import stats

from skbayesiv.diagnostics import effective_f, first_stage, partial_out


def orthonormal_blocks(data, clusters=None):
    """First-stage coefficients on instruments with Z'Z = I, and the blocks W_1, W_12, W_2."""
    p = partial_out(*data.args)
    values, vectors = np.linalg.eigh(p.z.T @ p.z)
    z = p.z @ vectors / np.sqrt(values)
    pi, delta = z.T @ p.t[:, 0], z.T @ p.y
    scores = [z * (p.y - z @ delta)[:, None], z * (p.t[:, 0] - z @ pi)[:, None]]
    if clusters is not None:
        dummies = np.eye(clusters.max() + 1)[clusters]
        scores = [dummies.T @ s for s in scores]
    return pi, scores[0].T @ scores[0], scores[0].T @ scores[1], scores[1].T @ scores[1]


def critical_value(w_2, x, size=0.05):
    """Equations of section 4: K_eff and the non-central chi-square quantile."""
    trace, top = np.trace(w_2), np.linalg.eigvalsh(w_2)[-1]
    k_eff = trace**2 * (1 + 2 * x) / (np.trace(w_2.T @ w_2) + 2 * x * trace * top)
    return stats.ncx2.ppf(1 - size, k_eff, x * k_eff) / k_eff, k_eff


@pytest.mark.parametrize("clustered", [False, True])
def test_formulas(simulate, clustered):
    data = simulate(40, q=3)
    clusters = data.options["clusters"] if clustered else None
    pi, _, _, w_2 = orthonormal_blocks(data, clusters)
    result = effective_f(*data.args, clusters=clusters)
    np.testing.assert_allclose(result.f, pi @ pi / np.trace(w_2), rtol=1e-9)
    for tau, value, k_eff in zip(result.tau, result.critical_values, result.k_eff, strict=True):
        np.testing.assert_allclose([value, k_eff], critical_value(w_2, 1 / tau), rtol=1e-9)
    for tau, value, k_eff in zip(
        result.tau, result.critical_values_tsls, result.k_eff_tsls, strict=True
    ):
        expected = critical_value(w_2, result.bias_bound / tau)
        np.testing.assert_allclose([value, k_eff], expected, rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_bias_bound_is_the_supremum(simulate, seed):
    """Against a grid over the effect, the direction maximised by an eigenvalue (theorem 1)."""
    data = simulate(41 + seed, q=2 + seed)
    _, w_1, w_12, w_2 = orthonormal_blocks(data)
    grid = np.tan(np.linspace(-np.pi / 2 + 1e-6, np.pi / 2 - 1e-6, 20_001))
    b = grid[:, None, None]
    s_12 = w_12 - b * w_2
    s_1 = w_1 - b * (w_12 + w_12.T) + b**2 * w_2
    ends = np.linalg.eigvalsh((s_12 + s_12.mT) / 2)[:, [0, -1]]
    bias = np.abs(np.linalg.trace(s_12)[:, None] - 2 * ends).max(axis=1)
    ratios = bias / np.sqrt(np.linalg.trace(s_1) * np.trace(w_2))
    np.testing.assert_allclose(effective_f(*data.args).bias_bound, ratios.max(), rtol=1e-4)


def test_bias_bound_does_not_depend_on_units(simulate):
    data = simulate(46, q=4)
    bound = effective_f(*data.args).bias_bound
    rescaled = effective_f(1e4 * data.y, 1e-3 * data.t, data.z @ np.diag([1, 10, 0.1, 3]), data.X)
    np.testing.assert_allclose(rescaled.bias_bound, bound, rtol=1e-5)


def test_one_instrument(simulate):
    """The robust F, with the published 37.42, 23.11, 15.06 and 12.05 (weakivtest)."""
    data = simulate(47, q=1)
    result = effective_f(*data.args)
    np.testing.assert_allclose(result.f, first_stage(*data.args).f[0], rtol=1e-12)
    np.testing.assert_allclose(result.critical_values[:3], [37.42, 23.11, 15.06], atol=0.005)
    # weakivtest rounds 1 / 0.3 to 3.33.
    np.testing.assert_allclose(result.critical_values[3], 12.05, atol=0.01)
    np.testing.assert_allclose(critical_value(np.eye(1), 3.33)[0], 12.04, atol=0.005)
    assert result.bias_bound == 1
    np.testing.assert_allclose(result.critical_values_tsls, result.critical_values)


def test_homoskedastic_limit():
    """Equal variances in all directions: K_eff = Q, and the bias of 2SLS vanishes for Q = 2."""
    rng = np.random.default_rng(48)
    z = rng.normal(size=(200_000, 2))
    errors = rng.normal(size=(200_000, 2)) @ [[1.0, 0.8], [0.0, 0.6]]
    t = 0.02 * z.sum(1) + errors[:, 0]
    result = effective_f(t + errors[:, 1], t, z)
    np.testing.assert_allclose(result.k_eff, 2, rtol=0.02)
    assert result.bias_bound < 0.02
    np.testing.assert_allclose(result.f, first_stage(t, t, z).f[0], rtol=0.02)


def test_controls_matter_on_card(card):
    """With nearc2 and nearc4: 8.2; leaving the controls in the instruments gives other numbers."""
    data = card("nearc2", "nearc4")
    result = effective_f(*data.args)
    pi, _, _, w_2 = orthonormal_blocks(data)
    np.testing.assert_allclose(result.f, pi @ pi / np.trace(w_2), rtol=1e-9)
    np.testing.assert_allclose(result.f, 8.18, atol=0.005)
    assert effective_f(data.y, data.t, data.z).f > 30
    debiased = effective_f(*data.args, debiased=True).f
    np.testing.assert_allclose(debiased, result.f * (3010 - 17) / 3010, rtol=1e-12)


def test_size_of_the_test():
    """At the boundary of the null, with the first stage along the noisiest direction.

    There the critical value rests on Patnaik's approximation alone.
    """
    rng = np.random.default_rng(49)
    spectrum = np.array([0.6, 0.3, 0.1])
    for tau in (0.05, 0.1, 0.3):
        mean = np.array([np.sqrt(1 / tau), 0.0, 0.0])
        draws = mean + np.sqrt(spectrum) * rng.normal(size=(400_000, 3))
        rejected = ((draws**2).sum(1) > critical_value(np.diag(spectrum), 1 / tau)[0]).mean()
        assert 0.045 < rejected < 0.055


def test_exact_first_stage():
    z = np.tile([0.0, 1.0], 20)
    result = effective_f(np.arange(40.0) % 7, z, z)
    assert result.f == np.inf
    assert result.p_values == result.p_values_tsls == (0.0,) * 4
    np.testing.assert_allclose(result.critical_values[1], 23.11, atol=0.005)


def test_errors(simulate):
    data = simulate(50, k=2, q=3)
    with pytest.raises(ValueError, match="t must be one treatment for the effective F, got 2"):
        effective_f(*data.args)
    with pytest.raises(ValueError, match="size must lie strictly between 0 and 1; got 5"):
        effective_f(data.y, data.t[:, 0], data.z, size=5)


def test_p_values(simulate):
    """A test of the size of the p-value has the statistic as its critical value."""
    data = simulate(51, q=3, strength=0.3)
    _, _, _, w_2 = orthonormal_blocks(data)
    result = effective_f(*data.args)
    for i, tau in enumerate(result.tau):
        p, p_tsls = result.p_values[i], result.p_values_tsls[i]
        np.testing.assert_allclose(critical_value(w_2, 1 / tau, p)[0], result.f, rtol=1e-6)
        x = result.bias_bound / tau
        np.testing.assert_allclose(critical_value(w_2, x, p_tsls)[0], result.f, rtol=1e-6)
        assert (p < 0.05) == (result.f > result.critical_values[i])
    assert f"effective F {result.f:.4g}; critical values" in str(result)
    assert f"bias above 10%: {result.critical_values[1]:6.2f}" in str(result)

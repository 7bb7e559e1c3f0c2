"""The inequalities that a valid instrument implies."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from stratified import arrays, stratified

from skbayesiv.diagnostics import instrument_validity


def draw(seed, n=800, *, always=0.4, comply=0.2, direct=0.0, levels=None):
    """`direct` is the assignment's own effect on the outcome."""
    rng = np.random.default_rng(seed)
    z, kind = rng.integers(0, 2, n), rng.random(n)
    t = np.where(kind < always, 1, np.where(kind < always + comply, z, 0))
    y = rng.normal(size=n) + t + direct * z
    return (y if levels is None else np.digitize(y, levels)), t, z


def test_binary_outcome_written_out():
    y, t, z = draw(0, direct=1.0, levels=[0.5])
    found = instrument_validity(y, t, z)
    ratios = {}
    n1, n0 = z.sum(), (1 - z).sum()
    for arm in (1, 0):
        for value in (0, 1):
            share = [((y == value) & (t == arm))[z == one].mean() for one in (arm, 1 - arm)]
            variance = [
                p * (1 - p) / n for p, n in zip(share, (n1, n0)[:: 2 * arm - 1], strict=True)
            ]
            floor = 0.07 / np.sqrt(n1 * n0 / (n1 + n0))
            ratios[arm, value] = (share[1] - share[0]) / max(np.sqrt(sum(variance)), floor), share
    worst = max(ratios, key=lambda at: ratios[at][0])
    assert (found.arm, found.low, found.high) == (*worst, worst[1])
    assert_allclose(found.statistic, ratios[worst][0])
    assert_allclose(found.shares, ratios[worst][1])
    assert found.n_inequalities == 4
    assert found.p_value < 0.01


def test_intervals_of_a_continuous_outcome():
    y, t, z = draw(1, direct=1.0)
    found = instrument_validity(y, t, z, n_bins=5)
    assert found.n_inequalities == 2 * 15
    inside = (y > found.low) & (y <= found.high) & (t == found.arm)
    more, less = (inside[z == value].mean() for value in (found.arm, 1 - found.arm))
    assert_allclose(found.shares, (more, less))
    assert less > more
    assert f"t = {found.arm}" in found.where


@pytest.mark.slow
def test_size_at_the_boundary():
    """Without compliers all inequalities bind: 5%, to three standard errors of 400 samples."""
    for options in ({}, {"levels": [-0.5, 0.5, 1.5]}):
        p = [instrument_validity(*draw(s, comply=0.0, **options), n_draws=400).p_value
             for s in range(400)]  # fmt: skip
        assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 0.033


@pytest.mark.slow
def test_power_and_slack():
    p = [instrument_validity(*draw(s, n=2000, direct=1.0), n_draws=400).p_value for s in range(50)]
    assert np.mean(np.array(p) < 0.05) > 0.9
    p = [instrument_validity(*draw(s, n=2000), n_draws=400).p_value for s in range(100)]
    assert np.mean(np.array(p) < 0.05) <= 0.05


def test_stratified_assignment_needs_its_strata():
    """Strata with other outcomes are assigned more often: that looks like a direct effect."""
    data = stratified(n=8000, shares=(0.3, 0.3), always=0.5)
    y, t, z, x = arrays(data)
    y = y + 2.0 * x[:, 0]
    assert instrument_validity(y, t, z).p_value < 0.001
    assert instrument_validity(y, t, z, x).p_value > 0.2


def test_invariance():
    y, t, z = draw(2, direct=0.5)
    one = instrument_validity(y, t, z)
    for other in (
        instrument_validity(7.0 * y - 3.0, t, 1 + 2 * z),
        instrument_validity(7.0 * y - 3.0, t, -z),
        instrument_validity(7.0 * y[::-1] - 3.0, t[::-1], z[::-1]),
    ):
        assert_allclose([other.statistic, *other.shares], [one.statistic, *one.shares])
        assert_allclose((other.high + 3.0) / 7.0, one.high)
        assert other.p_value == pytest.approx(one.p_value, abs=0.02)  # draws of another root
    w = np.random.default_rng(0).integers(0, 3, 800)
    again = np.repeat(np.arange(800), w)
    weighted = instrument_validity(y, t, z, sample_weight=w)
    assert_allclose(weighted.statistic, instrument_validity(y[again], t[again], z[again]).statistic)
    assert instrument_validity(y, t, z) == one
    assert instrument_validity(y, t, z, random_state=1).statistic == one.statistic


def test_outcomes_that_nobody_has_do_not_change_the_p_value():
    """They make an atom at zero, where the statistic is."""
    _, t, z = draw(17, 100, always=0.1, comply=0.7)
    rng = np.random.default_rng(1017)
    x, order = rng.integers(0, 2, 100), np.random.default_rng(0).permutation(100)
    y = (np.arange(100) == np.flatnonzero(t == 0)[0]) * 1e8
    one = instrument_validity(y, t, z, x)
    two = instrument_validity(y[order] / 7e6 - 3.0, t[order], 3.0 + 4.0 * z[order], x[order])
    assert one.statistic == pytest.approx(0.0, abs=1e-9)
    assert (one.p_value, two.p_value) == (1.0, 1.0)


def test_clusters_make_it_less_sure():
    y, t, z = draw(3, direct=1.0)
    again = np.tile(np.arange(800), 5)
    five = instrument_validity(y[again], t[again], z[again])
    one = instrument_validity(y[again], t[again], z[again], clusters=again)
    assert_allclose(one.statistic, instrument_validity(y, t, z).statistic, rtol=1e-6)
    assert five.statistic > 2.0 * one.statistic


def test_errors():
    y, t, z = draw(0)
    with pytest.raises(ValueError, match="t must be one treatment, 0 or 1"):
        instrument_validity(y, 2 * t, z)
    with pytest.raises(ValueError, match="z must have two values"):
        instrument_validity(y, t, z + (np.arange(800) < 3))
    with pytest.raises(ValueError, match="n_bins must be a whole number from 2 to 100; got 1"):
        instrument_validity(y, t, z, n_bins=1)
    with pytest.raises(ValueError, match=r"n_draws must be .* from 1 to 1,000,000; got 0.5"):
        instrument_validity(y, t, z, n_draws=0.5)
    with pytest.raises(ValueError, match=r"n_draws must be .* got 10000000000"):
        instrument_validity(y, t, z, n_draws=10**10)
    with pytest.raises(ValueError, match=r"random_state must be None, a RandomState or .* got -1"):
        instrument_validity(y, t, z, random_state=-1)

"""Leaving one experiment out is integrating the history of the others."""

from __future__ import annotations

import numpy as np
import pytest

from skbayesiv import HierarchicalBayesianIV
from skbayesiv._models.history import leave_one_out, sums
from skbayesiv._models.history.integrated import integrate
from skbayesiv._models.history.leave_one_out import leave_each_summary_out, log_density_at
from skbayesiv._models.history.meta_analysis import Mixture
from skbayesiv._models.history.table import build_history

RNG = np.random.default_rng(2)
MANY = 1.0 + 0.2 * RNG.standard_normal(60), RNG.uniform(0.1, 0.4, 60)
CASES = {
    "one": ([1.0], [0.3]),
    "two": ([1.0, 1.2], [0.3, 0.2]),
    "three": ([1.0, 1.2, 0.4], [0.3, 0.2, 0.5]),
    "many": MANY,
    "one decides": ([5.0, *MANY[0]], [1e-6, *MANY[1]]),
    "one is far away": ([300.0, *MANY[0]], [0.1, *MANY[1]]),
    "some not measured": (np.where(np.arange(60) % 7, MANY[0], np.nan), MANY[1]),
}


def history_of(effects, errors, **parameters):
    effects = np.asarray(effects, dtype=float)
    errors = np.where(np.isnan(effects), np.nan, errors)
    return build_history(HierarchicalBayesianIV(effects, errors, **parameters))


def assert_same(found, expected):
    """Equal summaries; the grids' points differ."""
    one, other = found.predictive, expected.predictive
    assert one.quantile(0.5) == pytest.approx(other.quantile(0.5), rel=1e-6, abs=1e-6)
    assert one.moments() == pytest.approx(other.moments(), rel=1e-6, nan_ok=True)
    x = np.linspace(other.quantile(0.001), other.quantile(0.999), 50)
    np.testing.assert_allclose(one.log_pdf(x), other.log_pdf(x), rtol=1e-6, atol=1e-6)
    assert found.log_evidence == pytest.approx(expected.log_evidence, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("kind", ["half-cauchy", "half-normal"])
@pytest.mark.parametrize("case", CASES)
def test_each_is_the_history_of_the_others(case, kind):
    history = history_of(*CASES[case], sigma_t_bar_prior=kind)
    n = history.n_experiments
    for j, found in enumerate(leave_each_summary_out(history, 0, n)):
        assert_same(found, integrate(history.without(j), 0))
    assert j == n - 1


def test_the_first_of_many():
    history = history_of(*MANY)
    first = list(leave_each_summary_out(history, 0, 5))
    assert len(first) == 5
    for j, found in enumerate(first):
        assert_same(found, integrate(history.without(j), 0))


def test_others_from_a_table(monkeypatch):
    history = history_of(*MANY)
    expected = [integrate(history.without(j), 0) for j in range(3)]
    monkeypatch.setattr(sums, "MAX_EXACT", 20)
    for found, other in zip(leave_each_summary_out(history_of(*MANY), 0, 3), expected, strict=True):
        assert_same(found, other)


def test_the_others_are_not_summed_again(monkeypatch):
    """But for an experiment without which sigma_bar lies elsewhere."""
    calls = []

    def count(history, treatment):
        calls.append(history.n_experiments)
        return integrate(history, treatment)

    monkeypatch.setattr(leave_one_out, "integrate_summaries", count)
    list(leave_each_summary_out(history_of(*MANY), 0, 60))
    assert calls == [60]
    calls.clear()
    effects, errors = 1.0 + 1e-3 * RNG.standard_normal(500), np.full(500, 1e-3)
    far = history_of([1e6, *effects], [1e-3, *errors])
    first = next(leave_each_summary_out(far, 0, 1))
    assert calls == [501, 500]
    assert_same(first, integrate(far.without(0), 0))


@pytest.mark.parametrize("spread", [0.05, 0.5, 50.0])
def test_density_at_draws(spread):
    """By a polynomial where that is exact, else one by one."""
    mixture = integrate(history_of(*MANY), 0).predictive
    draws = 1.0 + spread * RNG.standard_normal(1000)
    np.testing.assert_allclose(
        log_density_at(mixture, draws), mixture.log_pdf(draws), rtol=1e-10, atol=1e-10
    )


def test_few_points_stand_for_many_draws(monkeypatch):
    mixture, asked = integrate(history_of(*MANY), 0).predictive, []
    monkeypatch.setattr(
        Mixture, "log_pdf", lambda self, x, of=Mixture.log_pdf: asked.append(len(x)) or of(self, x)
    )
    log_density_at(mixture, 1.0 + 0.05 * RNG.standard_normal(4000))
    assert sum(asked) <= 64 + 256
    log_density_at(mixture, np.ones(4000))
    assert asked[-1] == 4000

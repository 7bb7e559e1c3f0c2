"""R-hat and effective sample sizes are ArviZ's."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base.array import array_stats

from skbayesiv._results.chains import ess_bulk, ess_tail, rhat

AXES = {"chain_axis": 0, "draw_axis": 1}


def autoregressive(rng, chains, draws, rho):
    """Chains of the given autocorrelation."""
    values = rng.normal(size=(chains, draws))
    for i in range(1, draws):
        values[:, i] += rho * values[:, i - 1]
    return values


def assert_arviz(values):
    assert ess_bulk(values) == pytest.approx(array_stats.ess(values, **AXES, method="bulk"))
    tail = array_stats.ess(values, **AXES, method="tail", prob=(0.05, 0.95))
    assert ess_tail(values) == pytest.approx(tail)
    if len(values) > 1:
        assert rhat(values) == pytest.approx(array_stats.rhat(values, **AXES))


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.5, 0.99])
@pytest.mark.parametrize("shape", [(1, 1000), (4, 1000), (4, 501), (2, 50), (3, 9), (4, 4)])
def test_they_are_arvizs(shape, rho):
    rng = np.random.default_rng(0)
    for _ in range(5):
        values = autoregressive(rng, *shape, rho)
        assert_arviz(values)
        assert_arviz(np.exp(5.0 * values))
        assert_arviz(np.round(values))
        assert_arviz(values + np.arange(len(values))[:, None])


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_has_none(number):
    values = np.random.default_rng(0).normal(size=(4, 100))
    values[1, 3] = number
    assert np.isnan([ess_bulk(values), ess_tail(values), rhat(values)]).all()


def test_a_constant_is_known():
    assert ess_bulk(np.ones((4, 100))) == ess_tail(np.ones((4, 100))) == 400

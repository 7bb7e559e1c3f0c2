"""R-hat and effective sample sizes are ArviZ's."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base.array import array_stats

from skbayesiv._results.chains import Chains

AXES = {"chain_axis": 0, "draw_axis": 1}


def autoregressive(rng, chains, draws, rho):
    """Chains of the given autocorrelation."""
    values = rng.normal(size=(chains, draws))
    for i in range(1, draws):
        values[:, i] += rho * values[:, i - 1]
    return values


def assert_arviz(*variables):
    found = Chains(np.array(variables))
    for i, values in enumerate(variables):
        bulk = array_stats.ess(values, **AXES, method="bulk")
        assert found.ess_bulk[i] == pytest.approx(bulk)
        tail = array_stats.ess(values, **AXES, method="tail", prob=(0.05, 0.95))
        assert found.ess_tail[i] == pytest.approx(tail)
        if len(values) > 1:
            assert found.rhat[i] == pytest.approx(array_stats.rhat(values, **AXES))


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.5, 0.99])
@pytest.mark.parametrize("shape", [(1, 1000), (4, 1000), (4, 501), (2, 50), (3, 9), (4, 4)])
def test_they_are_arvizs(shape, rho):
    rng = np.random.default_rng(0)
    for _ in range(5):
        values = autoregressive(rng, *shape, rho)
        apart = values + np.arange(len(values))[:, None]
        assert_arviz(values, np.exp(5.0 * values), np.round(values), apart)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_has_none(number):
    values = np.random.default_rng(0).normal(size=(2, 4, 100))
    values[1, 1, 3] = number
    found = Chains(values)
    for statistic in (found.ess_bulk, found.ess_tail, found.rhat):
        assert np.isfinite(statistic).tolist() == [True, False]


def test_a_constant_is_known():
    found = Chains(np.ones((1, 4, 100)))
    assert found.ess_bulk == found.ess_tail == 400

"""The shape of the weights' tail is ArviZ's."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base.array import array_stats

from skbayesiv._sampling.pareto import tail_shape


@pytest.mark.parametrize("n", [25, 100, 225, 226, 1000, 16_000])
@pytest.mark.parametrize("scale", [0.05, 0.5, 2.0, 10.0])
def test_it_is_arvizs(n, scale):
    rng = np.random.default_rng(0)
    for log_weight in (rng.normal(size=n), rng.standard_t(3, size=n), -rng.exponential(size=n)):
        weight = np.exp(scale * log_weight - scale * log_weight.max())
        weight /= weight.sum()
        expected = array_stats.pareto_khat(weight[None], r_eff=1.0, tail="right")
        assert tail_shape(weight) == pytest.approx(float(expected), abs=1e-9, nan_ok=True)


def test_equal_weights_have_no_tail():
    assert tail_shape(np.full(100, 0.01)) == 0.0


def test_where_few_weights_count_it_is_not_known():
    assert np.isnan(tail_shape(np.eye(1, 1000)[0]))

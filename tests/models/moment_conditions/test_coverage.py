"""Coverage of likelihood="gmm" under simulation, with the script that makes the docs' table."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from experiments import QUICK

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "interval_coverage.py"


@pytest.fixture(scope="module")
def coverage():
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("coverage_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("index", [0, 2, 5, 6])
def test_quadrature_is_what_is_sampled(coverage, index):
    """The study's intervals are those of a fit, up to the draws' error."""
    draw = list(coverage.DESIGNS.values())[index]
    sample = draw(np.random.default_rng(1))
    exact = coverage.quasi_posterior_interval(sample)
    sampled = coverage.sampled_interval(sample, 0, likelihood="gmm", **QUICK | {"draws": 4000})
    assert np.allclose(sampled, exact, atol=0.08 * (exact[1] - exact[0]))


@pytest.mark.slow
@pytest.mark.parametrize("index", range(8))
def test_coverage_is_nominal(coverage, index):
    """At least 0.93 of 2,000 nominal 95% intervals cover, in every design of the table."""
    draw = list(coverage.DESIGNS.values())[index]
    result = coverage.simulate(draw, 2000, [2024, index], ("gmm",))
    assert result["gmm"][0] >= 0.93

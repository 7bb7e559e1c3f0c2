"""Coverage under simulation, with the script that makes the documentation's table."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from experiments import EXACT

from skbayesiv import BayesianIV

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
FEW = 200
# Three standard errors of a share of .95 and of .93 in so few replications.
SLACK = 3 * np.sqrt(0.95 * 0.05 / FEW)


@pytest.fixture(scope="module")
def coverage():
    """The benchmark as a module."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(SCRIPTS))
    import coverage

    yield coverage
    for name in ("coverage", "designs", "simulation"):
        sys.modules.pop(name, None)
    patch.undo()


def names():
    """Of all designs, without leaving the scripts importable."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(SCRIPTS))
    from designs import DESIGNS

    sys.modules.pop("designs", None)
    patch.undo()
    return list(DESIGNS)


@pytest.mark.parametrize(
    "name",
    [
        "one-sided 10/90",
        "F 5, rho 0.8",
        "10 instruments, F 2, rho 0.5",
        "10 clusters, rho 0.5",
        "interactive IV, 20 covariates",
    ],
)
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.InferenceWarning")
def test_quadrature_is_what_is_sampled(coverage, name):
    """The study's intervals leave out as many draws of a fit as they say, up to their error."""
    sample = coverage.DESIGNS[name].draw(np.random.default_rng(1))
    ((lower, upper),) = coverage.quasi_posterior(sample).intervals
    est = BayesianIV(likelihood="gmm", **EXACT | {"draws": 4000})
    est.fit(sample.X, sample.t, sample.y, z=sample.z, clusters=sample.clusters)
    draws, share = est.idata_.posterior["beta_t"].to_numpy()[..., 0], 0.025
    for outside in (draws < lower, draws > upper):
        ess = float(array_stats.ess(outside.astype(float), chain_axis=0, draw_axis=1))
        assert abs(outside.mean() - share) < 4 * np.sqrt(share * (1 - share) / ess)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_warnings_are_worth_following(coverage, name):
    """A small version of the table: who follows the warnings has an interval that covers.

    Honest designs are hardly accused, and dishonest ones nearly always.
    """
    design = coverage.DESIGNS[name]
    outcomes = sys.modules["simulation"].simulate(coverage.replicate, design.name, FEW, [7, 0])
    cells, warned = coverage.summarise(outcomes)
    hit, width = cells["follows"]
    assert hit >= 0.93 - SLACK
    if design.honest:
        assert warned <= 0.02
        assert cells["normal"][0] >= 0.95 - SLACK
    if design.honest is False:
        assert warned >= 0.95
        assert width <= 1.02 * cells["ar"][1]


def test_every_class_of_warning_has_advice(coverage):
    """What the study does on a warning is what the warning says first."""
    kinds = {kind for several, _ in coverage.ADVICE for kind in several}
    assert kinds == set(coverage.InferenceWarning.__subclasses__())

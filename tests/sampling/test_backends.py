"""The seam between estimators and samplers: another sampler is one function."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from experiments import simulated
from metropolis import metropolis
from threadpoolctl import threadpool_info

from skbayesiv import BayesianIV, HierarchicalBayesianIV
from skbayesiv._sampling.backends import BACKENDS
from skbayesiv._sampling.nuts import sample
from skbayesiv._sampling.target import Settings, Target


@pytest.fixture
def rows():
    return simulated(300, seed=3)[1:]


HISTORY = {"effects": [1.0, 1.4, 0.8], "std_errors": [0.3, 0.2, 0.4]}


@pytest.mark.parametrize(
    "est",
    [BayesianIV(), BayesianIV(likelihood="gmm"), HierarchicalBayesianIV(**HISTORY)],
    ids=["normal", "gmm", "history"],
)
def test_a_registered_backend_gives_the_same_posterior(rows, est, monkeypatch):
    t, y, z = rows
    monkeypatch.setitem(BACKENDS, "metropolis", metropolis)
    fits = [
        est.set_params(backend=backend, random_state=1).fit(None, t, y, z=z).idata_.posterior
        for backend in ("numpyro", "metropolis")
    ]
    assert set(fits[0].data_vars) == set(fits[1].data_vars)
    for name in ("beta_t", "cov"):
        a, b = (fit[name].to_numpy().reshape(4, 1000, -1) for fit in fits)
        error = [array_stats.mcse(x, chain_axis=0, draw_axis=1) for x in (a, b)]
        assert (np.abs(a.mean((0, 1)) - b.mean((0, 1))) < 4 * np.hypot(*error)).all(), name
        assert np.allclose(a.std((0, 1)), b.std((0, 1)), rtol=0.1), name


def test_unknown_backend_names_the_known_ones(rows, monkeypatch):
    t, y, z = rows
    with pytest.raises(ValueError, match=r"'backend' parameter.*Got 'metropolis' instead"):
        BayesianIV(backend="metropolis").fit(None, t, y, z=z)
    monkeypatch.setitem(BACKENDS, "metropolis", metropolis)
    with pytest.raises(ValueError, match=r"parameter.*'metropolis'.* Got 'stan' instead"):
        BayesianIV(backend="stan").fit(None, t, y, z=z)


THREADS = []


def note_threads(shape, u, arrays, xp):
    """A density that looks at the BLAS when it is traced, and wants no program compiled."""
    pools = [info for info in threadpool_info() if info["user_api"] == "blas"]
    THREADS.extend(pool["num_threads"] for pool in pools)
    raise InterruptedError


def test_numpyro_runs_with_one_blas_thread():
    """Threads that wait for each other made gradients of 60 coefficients 7 times slower."""
    THREADS.clear()
    target = Target(note_threads, "normal", (), np.zeros(2), np.ones(2))
    with pytest.raises(InterruptedError):
        sample(target, Settings(5, 5, 1, 0.8, 0))
    assert set(THREADS) == {1}

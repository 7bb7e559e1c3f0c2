"""Data that several tests share."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pytest

NOTEBOOK = {
    "intercept_y_loc": 50.0,
    "intercept_y_scale": 10.0,
    "intercept_t_loc": 0.0,
    "intercept_t_scale": 1.0,
    "beta_t_scale": 10.0,
    "beta_z_scale": 10.0,
    "sigma_scale": 2.0,
    "lkj_eta": 2.0,
    "intercept_prior": "raw",
}


@pytest.fixture(params=["numpyro", "independence"])
def backend(request):
    """Samplers of a target, one after the other."""
    return request.param


def pytest_configure(config):
    """Let all workers, and what they start, share compiled programs through a folder.

    JAX's own variables turn its cache on from the first line that it compiles. With
    SKBAYESIV_CACHE the folder outlives the run, else it is of this run alone.
    """
    if {"JAX_COMPILATION_CACHE_DIR", "SKBAYESIV_CACHE"} & set(os.environ):
        return
    folder = tempfile.TemporaryDirectory(prefix="skbayesiv-programs-")
    patch = pytest.MonkeyPatch()
    patch.setenv("JAX_COMPILATION_CACHE_DIR", folder.name)
    patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    patch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
    config.add_cleanup(patch.undo)
    config.add_cleanup(folder.cleanup)


@pytest.fixture(scope="session")
def push():
    """Outcome, treatment and instrument of the push experiment.

    Imported here, since workers start only after this file has been read.
    """
    from skbayesiv.datasets import load_push_experiment

    _, t, y, z = load_push_experiment(return_X_t_y_z=True)
    return tuple(np.asarray(column, dtype=float) for column in (y, t, z))


@pytest.fixture(scope="session")
def notebook():
    """The published notebook's priors."""
    return dict(NOTEBOOK)

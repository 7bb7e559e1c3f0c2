"""Data that several tests share."""

from __future__ import annotations

import numpy as np
import pytest

from skbayesiv.datasets import load_push_experiment

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


@pytest.fixture(scope="session")
def push():
    """Outcome, treatment and instrument of the push experiment."""
    _, t, y, z = load_push_experiment(return_X_t_y_z=True)
    return tuple(np.asarray(column, dtype=float) for column in (y, t, z))


@pytest.fixture(scope="session")
def notebook():
    """The published notebook's priors."""
    return dict(NOTEBOOK)

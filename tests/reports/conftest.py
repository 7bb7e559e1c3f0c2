"""Data and fits that several tests of reports share."""

from __future__ import annotations

import numpy as np
import pytest
from linearmodels.datasets import card as card_data

from skbayesiv import BayesianIV


@pytest.fixture(scope="session")
def card():
    """Card's (1995) data on schooling and wages."""
    return card_data.load()


@pytest.fixture(scope="session")
def push_fit(push, notebook):
    """The push experiment under the published notebook's priors."""
    y, t, z = push
    return BayesianIV(**notebook, random_state=3).fit(None, t, y, z=z)


@pytest.fixture(scope="session")
def linear():
    """Factory of linear models: K treatments, Q continuous instruments."""

    def make(seed=0, n=500, k=1, q=1, strength=1.0):
        rng = np.random.default_rng(seed)
        z, taste = rng.normal(size=(n, q)), rng.normal(size=(n, k))
        t = strength * z @ rng.normal(size=(q, k)) + taste
        y = t.sum(axis=1) + taste.sum(axis=1) + rng.normal(size=n)
        return {"X": None, "t": t, "y": y, "z": z}

    return make


@pytest.fixture(scope="session")
def experiment():
    """Factory: always-takers, compliers and never-takers with different outcomes and effects."""

    def make(always=0.2, comply=0.5, n=4000, seed=0):
        rng = np.random.default_rng(seed)
        kind = rng.choice(3, n, p=[always, comply, 1 - always - comply])
        x = rng.normal(size=n)
        z = rng.integers(0, 2, n).astype(float)
        t = np.where(kind == 0, 1.0, np.where(kind == 1, z, 0.0))
        y = np.array([5.0, 2.0, 0.0])[kind] + t * np.array([3.0, 1.0, 0.0])[kind] + x
        return {"X": x[:, None], "t": t, "y": y + rng.normal(size=n), "z": z}

    return make

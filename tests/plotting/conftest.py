"""Fits that the displays' tests share, and a figure's layout."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from experiments import QUICK, in_segments

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv.datasets import load_push_experiment

mpl.use("Agg")

EFFECTS = [3.4, 3.6, 4.25, 4.0, 3.9]
ERRORS = [0.5, 0.55, 0.6, 0.45, 0.44]
ONE = QUICK | {"chains": 1, "draws": 4000}


@pytest.fixture(scope="session")
def frames():
    """Push experiment as pandas objects: X, t, y, z."""
    return load_push_experiment(as_frame=True, return_X_t_y_z=True)


@pytest.fixture(scope="session")
def base(frames):
    """BayesianIV of the push experiment."""
    X, t, y, z = frames
    return BayesianIV(random_state=0).fit(X, t, y, z=z)


@pytest.fixture(scope="session")
def hierarchical(base):
    """With five earlier experiments."""
    est = HierarchicalBayesianIV(EFFECTS, ERRORS, random_state=0)
    return est.fit_moments(base.moments_)


@pytest.fixture(scope="session")
def segmented():
    """Six segments, in the last of which nobody was treated."""
    rows = in_segments()
    est = HierarchicalBayesianIV(random_state=0, target_accept=0.9, check=False)
    return est.fit(None, rows["t"], rows["y"], z=rows["z"], segments=rows["segments"])


@pytest.fixture(scope="session")
def one_chain(base):
    """The same two of one chain, by the names of the others."""
    alone = BayesianIV(**ONE).fit_moments(base.moments_)
    history = HierarchicalBayesianIV(EFFECTS, ERRORS, **ONE)
    return {"base": alone, "hierarchical": history.fit_moments(base.moments_)}


@pytest.fixture(scope="session")
def two_stage(frames):
    """TwoStageLS of the push experiment."""
    X, t, y, z = frames
    return TwoStageLS().fit(X, t, y, z=z)


@pytest.fixture(autouse=True)
def close_figures():
    """Close what a test opened."""
    yield
    plt.close("all")

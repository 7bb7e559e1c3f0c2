"""Agreement with bayesm's Gibbs sampler; its figures and their script are in reference/.

The models differ in the prior of the errors' covariance only (inverse Wishart there), which
10,000 rows make negligible.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from arviz_stats.base.array import array_stats

from skbayesiv import BayesianIV

FIGURES = json.loads((Path(__file__).parents[2] / "reference" / "rivgibbs.json").read_text())


@pytest.fixture(scope="module")
def posterior(push):
    """The same normal priors on the raw coefficients."""
    y, t, z = push
    return (
        BayesianIV(
            intercept_y_loc=50.0,
            intercept_y_scale=10.0,
            intercept_t_loc=0.0,
            intercept_t_scale=1.0,
            beta_t_scale=10.0,
            beta_z_scale=10.0,
            intercept_prior="raw",
            draws=4000,
            random_state=3,
        )
        .fit(None, t, y, z=z)
        .idata_.posterior
    )


@pytest.mark.parametrize("name", FIGURES)
def test_agrees_with_rivgibbs(posterior, name):
    draws = posterior["corr"].to_numpy()[..., 0, 1] if name == "rho" else posterior[name].to_numpy()
    draws = draws.reshape(*draws.shape[:2])
    theirs = FIGURES[name]
    mcse = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1))
    their_mcse = theirs["sd"] / np.sqrt(theirs["ess"])
    assert abs(draws.mean() - theirs["mean"]) < 4 * np.hypot(mcse, their_mcse)
    assert draws.std() == pytest.approx(theirs["sd"], rel=0.05)

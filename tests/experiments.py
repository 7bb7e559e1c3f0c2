"""The simulated experiment and the settings of quick fits that most tests share.

What compiles to one program is compiled once in a run: the settings below, and up to three
covariates, make one program of each model.
"""

from __future__ import annotations

import numpy as np

from skbayesiv.datasets import make_noncompliance

QUICK = {"draws": 200, "tune": 200, "chains": 2, "random_state": 0}
# Steps so long that most are refused: the sampler does not converge.
POOR = QUICK | {"target_accept": 0.3}


def simulated(n, n_covariates=0, *, seed=0, **options):
    """X, t, y, z of an experiment with non-compliance, as arrays of floats."""
    data = make_noncompliance(n, n_covariates=n_covariates, random_state=seed, **options)
    return tuple(np.asarray(a, dtype=float) for a in (data.X, data.t, data.y, data.z))

"""The simulated experiment and the settings of quick fits that most tests share.

A sampler is compiled for each model, number of columns, number of chains and `tune`, once in a run.
So tests share the settings below, and change `draws`, seed, data and priors as they like.
"""

from __future__ import annotations

import numpy as np
import pytest

from skbayesiv.datasets import make_noncompliance

QUICK = {"draws": 200, "tune": 200, "chains": 2, "random_state": 0}
# Draws enough to compare with exact values, by the same programs.
EXACT = QUICK | {"draws": 2000}
# A test of something else, whose data are such that a fit warns of its interval.
unchecked = pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.InferenceWarning")
# Steps so long that most are refused: the sampler does not converge.
POOR = QUICK | {"target_accept": 0.3}


def simulated(n, n_covariates=0, *, seed=0, **options):
    """X, t, y, z of an experiment with non-compliance, as arrays of floats."""
    data = make_noncompliance(n, n_covariates=n_covariates, random_state=seed, **options)
    return tuple(np.asarray(a, dtype=float) for a in (data.X, data.t, data.y, data.z))


def in_segments(n_segments=6, n=150, *, seed=0, silent=True):
    """t, y, z and segments by name: effects 1, 1.5, ..., and nobody treated in the last segment.

    Segments differ in size, in the outcome's level and in the share of compliers.
    """
    rng = np.random.default_rng(seed)
    sizes = n + 10 * np.arange(n_segments)
    code = np.repeat(np.arange(n_segments), sizes)
    z = rng.integers(0, 2, len(code)).astype(float)
    comply = rng.uniform(size=len(code)) < 0.3 + 0.1 * (code % 5)
    t = z * comply
    t[code == n_segments - 1] *= not silent
    y = 3.0 * code + (1.0 + 0.5 * code) * t + comply + rng.normal(size=len(code))
    return {"t": t, "y": y, "z": z, "segments": np.array([f"s{g}" for g in code])}

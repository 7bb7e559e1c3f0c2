"""Fits with likelihood="gmm" to rows, and what their draws are compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from criterion import make_rows
from experiments import EXACT

from skbayesiv import BayesianIV
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import Reference
from skbayesiv._data.sums import Sums
from skbayesiv._models.build import build_model

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
HISTORY = {"effects": [0.5, 1.5, 1.0, 2.2], "std_errors": [0.4, 0.5, 0.3, 0.6]}


def model_of(data, clusters=None, **parameters):
    """What a fit to the rows would sample."""
    est = BayesianIV(likelihood="gmm", **parameters)
    moments = Moments.from_data(data)
    reference = Reference.from_moments(moments, fit_intercept=est.fit_intercept)
    fourth = FourthMoments.from_data(data, reference, clusters)
    return build_model(est, Sums(moments, fourth))


def fit(data, clusters=None, est=BayesianIV, **parameters):
    """A fit to the rows."""
    new = est(**{"likelihood": "gmm"} | EXACT | parameters)
    x = data.x if data.x.shape[1] else None
    return new.fit(x, data.t, data.y, z=data.z, sample_weight=data.sample_weight, clusters=clusters)


def rows_of(y, t, z):
    """Checked rows of one treatment and one instrument."""
    rows = make_rows(1, 1, 0, n=2)
    return replace(rows, x=np.empty((len(y), 0)), z=z[:, None], t=t[:, None], y=y)


def assert_matches(draws, mean, sd, rtol=0.05):
    """Draws (chain, draw): mean within 4 Monte Carlo errors, sd within 5% or 4 of its errors."""
    mcse = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="mean"))
    mcse_sd = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="sd"))
    assert abs(draws.mean() - mean) < 4 * mcse
    assert abs(draws.std() - sd) < max(rtol * sd, 4 * mcse_sd)


def same_draws(a, b):
    """Whether two fits have the same draws of everything."""
    one, two = a.idata_.posterior, b.idata_.posterior
    return all(np.array_equal(one[name], two[name]) for name in one.data_vars)

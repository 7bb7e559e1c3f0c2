"""Means of predictive densities: from moments and some pairs of draws and rows, or from all."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import QUICK, unchecked
from numpy.testing import assert_allclose

from skbayesiv import BayesianIV
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv._results import predictive

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CASES = {
    "one treatment": (1, 1, {}),
    "two treatments": (2, 3, {}),
    "direct effects": (1, 2, {"exclusion_scale": 0.5}),
    "no intercept": (1, 1, {"fit_intercept": False}),
    "regression": (0, 0, {}),
}


def simulated(k, q, n=400):
    rng = np.random.default_rng(1)
    x, z = rng.normal(3.0, 1.0, (n, 2)), rng.normal(1e3, 2.0, (n, q))
    taste = rng.normal(size=(n, k))
    t = z @ np.ones((q, k)) + x[:, :1] + taste
    y = t.sum(axis=1) + x.sum(axis=1) + taste.sum(axis=1) + rng.normal(size=n)
    return x, t, y, z


def fit(case):
    k, q, params = CASES[case]
    x, t, y, z = simulated(k, q)
    parts = (t, z) if k else (None, None)
    held = slice(300, None)
    train, test = (
        [None if a is None else a[at] for a in (x, y, *parts)] for at in (slice(300), held)
    )
    est = BayesianIV(**QUICK, **params).fit(train[0], train[1], t=train[2], z=train[3])
    return est, read_rows(*test, roles=Roles())


@unchecked
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
@pytest.mark.parametrize("case", CASES)
def test_moments_give_the_mean_over_rows(case):
    """At every draw, to rounding; instruments lie 500 of their spreads away from zero."""
    est, rows = fit(case)
    values = est._draws(None)
    new = predictive.NewRows(rows.x, rows.z, rows.t, rows.y)
    each = predictive.pointwise_log_likelihood(values, new)
    assert_allclose(predictive.mean_log_density(values, rows.moments()), each.mean(axis=1))


@unchecked
def test_few_rows_have_the_mean_of_all_draws():
    est, rows = fit("two treatments")
    values = est._draws(None)
    new = predictive.NewRows(rows.x, rows.z, rows.t, rows.y)
    expected = predictive.log_predictive(values, new).mean()
    assert predictive.mean_log_predictive(values, rows) == pytest.approx(expected, rel=1e-12)


@unchecked
def test_some_pairs_are_enough(monkeypatch):
    """Off by the error of the gap's mean over 64 draws and 64 rows, which is estimated."""
    est, rows = fit("two treatments")
    values = est._draws(None)
    new = predictive.NewRows(rows.x, rows.z, rows.t, rows.y)
    expected = predictive.log_predictive(values, new).mean()
    monkeypatch.setattr(predictive, "PAIRS", 64 * 64)
    monkeypatch.setattr(predictive, "LEAST_DRAWS", 64)
    found = predictive.mean_log_predictive(values, rows)
    density = predictive.pointwise_log_likelihood(values, new)
    batches = np.array_split(density, len(density) // 64)
    gaps = [np.log(np.exp(b).mean(axis=0)) - b.mean(axis=0) for b in batches]
    of_draws = np.std([gap.mean() for gap in gaps])
    of_rows = np.std(np.mean(gaps, axis=0)) / 8.0
    assert 0.0 < abs(found - expected) < 3.0 * np.hypot(of_draws, of_rows)
    plain = predictive.mean_log_density(values, rows.moments()).mean()
    assert expected - plain > 5.0 * np.hypot(of_draws, of_rows)


def test_rows_without_weight_have_no_say(monkeypatch):
    est, rows = fit("one treatment")
    values = est._draws(None)
    weight = np.where(np.arange(rows.n_rows) < 30, 2.0, 0.0)
    some = predictive.mean_log_predictive(values, rows.take(np.arange(30)))
    weighted = read_rows(rows.x, rows.y, rows.t, rows.z, weight, roles=Roles())
    assert predictive.mean_log_predictive(values, weighted) == pytest.approx(some, rel=1e-12)

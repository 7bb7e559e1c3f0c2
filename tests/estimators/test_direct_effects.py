"""A model that allows direct effects of the instruments on the outcome."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from experiments import EXACT, simulated
from quadrature import Prior, cross_products, posterior

from skbayesiv import BayesianIV, BayesianIVCV

N = 5


def exact_effect(push, scale):
    """Mean and sd of beta_t: given the direct effect d, y - d z has no direct effect.

    p(beta_t) = sum_d p(beta_t | d) p(d | data) on a grid of d, with p(d | data) proportional to
    the prior N(0, scale^2) times the evidence of y - d z.
    """
    y, t, z = push
    grid = scale * np.linspace(-6.0, 6.0, 25)
    parts = [posterior(cross_products(y - d * z, t, z), Prior(), points=15) for d in grid]
    log_weight = np.array([constant for _, constant in parts]) - 0.5 * (grid / scale) ** 2
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    mean, sd = np.array([found["beta_t"] for found, _ in parts]).T
    centre = weight @ mean
    return centre, np.sqrt(weight @ (sd**2 + (mean - centre) ** 2))


@pytest.mark.parametrize(
    ("scale", "about", "sd"),
    [(0.25, 0.80, 0.79385), (0.5, 0.99, 0.99399), (1.0, 1.5, 1.54662), (2.0, 2.7, 2.75761)],
)
def test_effect_on_the_push_data(push, notebook, scale, about, sd):
    """The published sds of the effect are about these; exact values by quadrature."""
    y, t, z = push
    exact = exact_effect(push, scale)
    assert exact[1] == pytest.approx(sd, abs=1e-5)
    assert exact[1] == pytest.approx(about, rel=0.035)
    est = BayesianIV(**notebook, exclusion_scale=scale, draws=4000, random_state=0)
    draws = est.fit(None, t, y, z=z).idata_.posterior["beta_t"].to_numpy()[..., 0]
    mcse = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="mean"))
    assert abs(draws.mean() - exact[0]) < 4 * mcse
    assert draws.std() == pytest.approx(sd, rel=0.03)


@pytest.fixture(scope="module")
def rows():
    return simulated(300, 2, seed=3)


def fit(rows, shift, **parameters):
    X, t, y, z = rows
    return BayesianIV(exclusion_scale=0.5, **EXACT, **parameters).fit(X, t, y, z=z + shift)


@pytest.fixture(scope="module")
def fitted(rows):
    return fit(rows, 0.0)


def predictions(est, rows, shift):
    """Everything that can be asked of do(t) and of z, without z, with it and with it alone."""
    X, t, z = rows[0][:N], rows[1][:N], rows[3][:N] + shift
    out = []
    for given in ({"t": t}, {"t": t, "z": z}, {"z": z}):
        out += [*est.predict(X, **given, return_std=True)]
    if est.likelihood == "normal":
        for given in ({"t": t}, {"t": t, "z": z}, {"z": z}):
            out += [*est.predict_interval(X, **given).T]
            tree = est.sample_posterior_predictive(X, **given, random_state=0)
            out.append(tree.posterior_predictive["y"].mean(("chain", "draw")).to_numpy())
    return np.array(out)


@pytest.mark.parametrize("likelihood", ["normal", "gmm"])
def test_coding_of_the_instrument_does_not_matter(rows, likelihood):
    one, two = (fit(rows, shift, likelihood=likelihood) for shift in (0.0, 100.0))
    expected = predictions(one, rows, 0.0)
    np.testing.assert_allclose(predictions(two, rows, 100.0), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("with_z", [False, True])
def test_mean_and_std_are_of_one_distribution(fitted, rows, with_z):
    """E[y | do(t)] = a + t b + x g + z d, at the mean of z when z is not given."""
    X, t, _, z = rows
    p = {
        name: value.to_numpy().reshape(4000, -1) for name, value in fitted.idata_.posterior.items()
    }
    at = z[:N] if with_z else np.full(N, z.mean())
    means = p["intercept_y"] + p["beta_t"] * t[:N] + p["gamma_y"] @ X[:N].T + p["direct"] * at
    given = {"z": z[:N]} if with_z else {}
    mean, std = fitted.predict(X[:N], t[:N], **given, return_std=True)
    np.testing.assert_allclose(mean, means.mean(0), rtol=1e-9)
    noise = (p["sigma"][:, 0] ** 2).mean()
    np.testing.assert_allclose(std, np.sqrt(means.var(0) + noise), rtol=1e-9)
    interval = fitted.predict_interval(X[:N], t[:N], **given)
    assert np.abs(interval - (mean + np.outer([-1.96, 1.96], std)).T).max() < 0.2 * std.min()


def test_search_predicts_as_its_best_estimator(rows):
    X, t, y, z = rows
    cv = BayesianIVCV(BayesianIV(exclusion_scale=0.5, **EXACT), beta_t_scale=[1.0])
    cv.fit(X, t, y, z=z)
    best = cv.best_estimator_
    for given in ({"t": t}, {"t": t, "z": z}):
        assert np.array_equal(cv.predict(X, **given), best.predict(X, **given))

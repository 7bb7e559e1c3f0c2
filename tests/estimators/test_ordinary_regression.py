"""Without t and z every estimator is a regression, and all that can be asked of it answers."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import EXACT
from scipy.special import logsumexp
from scipy.stats import norm, t

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv.exceptions import NoTreatmentWarning

N = 300
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 2))
Y = 1.0 + X @ [0.5, -0.3] + RNG.normal(size=N)


@pytest.fixture(scope="module")
def est():
    with pytest.warns(NoTreatmentWarning):
        return BayesianIV(**EXACT).fit(X, Y)


@pytest.fixture(scope="module")
def normals(est):
    """Each draw's distribution of each row's outcome: a mean of shape (S, n) and a deviation."""
    draws = est.idata_.posterior.to_dataset().stack(s=("chain", "draw"))
    mean = draws["intercept_y"].to_numpy()[:, None] + draws["gamma_y"].to_numpy().T @ X.T
    return mean, draws["sigma"].to_numpy()[0][:, None]


def test_standard_deviation(est, normals):
    mean, sigma = normals
    predicted, std = est.predict(X, return_std=True)
    assert np.allclose(predicted, mean.mean(axis=0))
    assert np.allclose(std, np.sqrt(mean.var(axis=0) + (sigma**2).mean()))


def test_interval(est):
    """Under flat priors of the coefficients and sigma, y is t with n - p - 1 degrees of freedom."""
    design = np.column_stack([np.ones(N), X])
    coef, (rss,), *_ = np.linalg.lstsq(design, Y)
    dof = N - design.shape[1] - 1
    leverage = np.einsum("ni,ij,nj->n", design, np.linalg.inv(design.T @ design), design)
    scale = np.sqrt(rss / dof * (1 + leverage))
    ends = np.array([t.ppf(q, dof, design @ coef, scale) for q in (0.05, 0.95)])
    errors = (est.predict_interval(X, level=0.9).T - ends) / scale
    # A 5% quantile of 4,000 draws has an error of sqrt(p q / 4000) / pdf = 0.034 sd, or 0.002 on
    # average over the rows; that of sigma is 0.001, and the prior shrinks by 1e-3.
    assert np.abs(errors).max() < 4 * 0.034
    assert (np.abs(errors.mean(axis=1)) < 0.01).all()


def test_densities(est, normals):
    mean, sigma = normals
    expected = norm.logpdf(Y, mean, sigma)
    pointwise = est.log_likelihood(X, Y)["log_likelihood"]["y_t"].to_numpy()
    assert np.allclose(pointwise.reshape(expected.shape), expected)
    assert np.array_equal(est.log_likelihood(X, y=Y)["log_likelihood"]["y_t"], pointwise)
    density = logsumexp(expected, axis=0) - np.log(len(expected))
    assert np.allclose(est.log_predictive_density(X, Y), density)


def test_simulated_outcomes(est, normals):
    mean, sigma = normals
    tree = est.sample_posterior_predictive(X, n_draws=None, random_state=0)
    assert list(tree["posterior_predictive"].data_vars) == ["y"]
    y = tree["posterior_predictive"]["y"].to_numpy().reshape(mean.shape)
    noise = (y - mean) / sigma
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / noise.size)
    prior = est.sample_prior_predictive(X, random_state=0)
    assert list(prior["prior_predictive"].data_vars) == ["y"]


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
def test_there_is_no_effect(est):
    for fitted in (est, TwoStageLS().fit(X, Y)):
        with pytest.raises(AttributeError, match=r"not defined.* without t and z"):
            fitted.effect_  # noqa: B018
        for ask in (fitted.effect, fitted.effect_interval):
            with pytest.raises(ValueError, match="t and z must be given to fit for an effect"):
                ask()

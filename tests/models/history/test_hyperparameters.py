"""A history that carries likelihoods, against integrals written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, multivariate_t, norm
from weak_experiments import THREE, experiment

from skbayesiv._models.history import hyperparameters, likelihoods
from skbayesiv._models.history.compressed import compress
from skbayesiv._models.history.hyperparameters import (
    Hyper,
    HyperPosterior,
    integrate_likelihoods,
    weighted_draws,
)
from skbayesiv._models.history.integrated import integrate, leave_each_out
from skbayesiv._models.history.likelihoods import EffectLikelihood
from skbayesiv._models.history.meta_analysis import Mixture, integrate_summaries
from skbayesiv._models.history.table import History


def history_of(each, effects=(), errors=(), *, scale=3.0, spread=0.5, loc=0.0, kind="half-cauchy"):
    """History of likelihoods first, then of normal summaries."""
    b = [own.effect for own in each] + list(effects)
    s = [own.std_error for own in each] + list(errors)
    n = len(b)
    return History(
        np.array(b)[:, None],
        np.array(s)[:, None],
        tuple(map(str, range(n))),
        ("t",),
        np.array([loc]),
        np.array([scale]),
        np.array([spread]),
        kind,
        (*each, *[None] * len(effects)),
    )


MIXED = history_of(THREE, [0.9, 1.3], [0.4, 0.3], loc=0.5)
AT = Hyper(
    np.array([0.8, 1.4, -2.0]),
    np.array([0.01, 0.4, 5.0]),
    np.array([0.9, -0.5, 0.0]),
    np.log([0.05, 0.2, 1.0]),
    np.log([1.0, 1.3, 0.8]),
)


def density_of_coefficients(own, beta, tau):
    """Density of (c, p) at effects, for one instrument, up to a constant: N(0, cov + t a a')."""
    c, p = np.sqrt(np.diag(own.explained))
    c *= np.sign(own.explained[0, 1])
    t = (tau * own.unit) ** 2
    yy, yt, tt = own.covariance[[0, 0, 1], [0, 1, 1]]
    yy, yt, tt = yy + t * beta**2, yt + t * beta, tt + t
    det = yy * tt - yt**2
    return np.exp(-0.5 * (c**2 * tt - 2 * c * p * yt + p**2 * yy) / det) / np.sqrt(det)


def test_effects_are_integrated_out():
    """At any mean, spread, correlation and strength of first stages; up to one constant each.

    And so is the mean effect, whose prior is N(0.5, 3^2).
    """
    found = HyperPosterior(MIXED).log_past(AT)
    phi = np.array([own.covariance[0, 1] / own.covariance[1, 1] for own in THREE])
    phi = (phi - phi.mean()) / phi.std()
    x = np.sinh(np.linspace(-12.0, 12.0, 200_001))
    exact = []
    for at, sigma, r, log_tau, log_k in zip(*AT, strict=True):
        value = 0.0
        for own, shift in zip(THREE, phi, strict=True):
            centre = at + r * sigma * np.exp(log_k) * shift
            sd = sigma * np.sqrt(1 - r**2)
            beta = centre + sd * x
            inside = np.abs(x) < 40.0
            integrand = density_of_coefficients(own, beta, np.exp(log_tau)) * norm.pdf(x)
            value += np.log(np.trapezoid(integrand[inside], x[inside]))
        bar = np.linspace(-20.0, 20.0, 400_001)
        joint = norm.pdf(bar, 0.5, 3.0)
        for b, s in ((0.9, 0.4), (1.3, 0.3)):
            joint = joint * norm.pdf(b, bar, np.hypot(s, sigma))
        offset = abs(r) * sigma / np.sqrt(3.0)
        if offset > 0.0:
            joint = joint * norm.pdf(at, bar, offset)
            exact.append(value + np.log(np.trapezoid(joint, bar)))
        else:
            exact.append(value + np.log(np.interp(at, bar, joint)))
    assert np.diff(found) == pytest.approx(np.diff(exact), abs=1e-4)


def test_posterior_of_two_by_quadrature():
    """With fewer than three there is no correlation: three dimensions on a grid, by brute force."""
    history = history_of(THREE[1:], kind="half-normal")
    draws = integrate_likelihoods(history)
    bar = np.linspace(-9.0, 9.0, 91)
    sigma = np.exp(np.linspace(np.log(0.5) - 7.0, np.log(2.2), 33))
    tau = np.exp(np.linspace(-6.0, 4.0, 21))
    x = np.sinh(np.linspace(-2.9, 2.9, 121))
    normal = norm.pdf(x) * np.gradient(x)
    beta = bar[:, None, None] + sigma[:, None] * x
    log = np.zeros((len(bar), len(sigma), len(tau)))
    for k, value in enumerate(tau):
        for own in THREE[1:]:
            log[:, :, k] += np.log((density_of_coefficients(own, beta, value) * normal).sum(-1))
    log += norm.logpdf(bar, 0.0, 3.0)[:, None, None]
    log += (np.log(sigma) - 0.5 * (sigma / 0.5) ** 2)[:, None]
    log += np.log(tau) - np.log1p(tau**2)
    exact = np.exp(log - logsumexp(log))
    of_bar = exact.sum((1, 2))
    mean = of_bar @ bar
    sd = np.sqrt(of_bar @ (bar - mean) ** 2)
    found, spread = draws.integrated.beta_bar.moments()
    ess = 1.0 / (draws.weight @ draws.weight)
    assert found == pytest.approx(mean, abs=3 * sd / np.sqrt(ess))
    kurtosis = of_bar @ ((bar - mean) / sd) ** 4
    assert spread == pytest.approx(sd, rel=3 * np.sqrt((kurtosis - 1) / (4 * ess)))
    at = np.cumsum(of_bar) - 0.5 * of_bar
    for p in (0.05, 0.25, 0.5, 0.75, 0.95):
        exact_quantile = np.interp(p, at, bar)
        density = np.interp(exact_quantile, bar, of_bar) / (bar[1] - bar[0])
        error = np.sqrt(p * (1 - p) / ess) / density
        quantile = draws.integrated.beta_bar.quantile(p)
        # What a grid of this width can resolve, besides.
        assert quantile == pytest.approx(exact_quantile, abs=4 * error + 0.02), p
    median = np.interp(0.5, np.cumsum(exact.sum((0, 2))), sigma)
    assert float(draws.integrated.sigma_quantile(0.5)) == pytest.approx(median, rel=0.15)


def strong_and_carried(monkeypatch):
    """A history of strong experiments, whose likelihoods are carried all the same."""
    rng = np.random.default_rng(3)
    each = [experiment(rng, 40_000.0, beta=b) for b in (1.0, 1.1, 0.8, 1.02)]
    history = history_of(each, spread=0.1)
    assert not history.carried
    monkeypatch.setattr(likelihoods, "NORMAL_F", np.inf)
    monkeypatch.setattr(hyperparameters, "ENOUGH", np.inf)  # the normal history has no correlation
    carried = history_of(each, spread=0.1)
    assert len(carried.carried) == 4
    return history, carried


def test_of_strong_experiments_it_is_the_normal_history(monkeypatch):
    history, carried = strong_and_carried(monkeypatch)
    normal, own = integrate_summaries(history, 0), integrate(carried, 0)
    for name in ("beta_bar", "predictive"):
        for p in (0.025, 0.25, 0.5, 0.75, 0.975):
            quantiles = [getattr(one, name).quantile(p) for one in (normal, own)]
            # Monte Carlo errors of a quantile, from those of the probability below it.
            ess = 1.0 / float(own.weight @ own.weight)
            mixture = getattr(normal, name)
            density = float(np.exp(mixture.log_pdf([quantiles[0]])[0]))
            error = np.sqrt(p * (1 - p) / ess) / density
            assert abs(np.diff(quantiles)[0]) < 4 * error + 0.001, (name, p)
    assert own.sigma_quantile(0.5) == pytest.approx(float(normal.sigma_quantile(0.5)), rel=0.05)
    at = np.array([0.05, 0.1, 0.2])
    assert own.variance_at(at) == pytest.approx(normal.variance_at(at), rel=0.2)


def test_a_weak_experiment_is_no_normal():
    """Its effect and standard error would say that the mean is known far better than it is."""
    rng = np.random.default_rng(5)
    weak = [experiment(rng, 1.0) for _ in range(30)]
    own = integrate(history_of(weak), 0).beta_bar
    summaries = integrate_summaries(history_of(weak), 0).beta_bar
    assert summaries.quantile(0.025) > 1.2  # of a mean effect of 1
    assert own.quantile(0.025) < 1.0 < own.quantile(0.975)


def test_leave_one_out_is_a_history_of_the_others():
    for j, left in enumerate(leave_each_out(MIXED, 0, 5)):
        anew = integrate(MIXED.without(j), 0)
        mean, sd = anew.beta_bar.moments()
        found, spread = left.beta_bar.moments()
        assert found == pytest.approx(mean, abs=0.15 * sd), j
        assert spread == pytest.approx(sd, rel=0.15), j


def test_an_experiment_that_says_nothing_changes_nothing():
    nothing = EffectLikelihood(1, np.zeros((2, 2)), np.eye(2), 1e-9)
    posterior = HyperPosterior(history_of([*THREE, nothing]))
    assert np.ptp(posterior.log_carried(AT)[:, 3]) < 1e-5


def test_weighted_draws_of_a_known_density():
    shape = np.array([[2.0, 0.6, 0.0], [0.6, 0.5, 0.1], [0.0, 0.1, 1.0]])
    normal = multivariate_normal(mean=[1.0, -2.0, 3.0], cov=shape)
    u, weight, log_integral = weighted_draws(
        lambda u: np.atleast_1d(normal.logpdf(u)) + 4.0, np.zeros(3)
    )
    assert log_integral == pytest.approx(4.0, abs=0.01)
    assert weight @ u == pytest.approx([1.0, -2.0, 3.0], abs=0.03)
    centred = u - weight @ u
    assert (weight[:, None] * centred).T @ centred == pytest.approx(shape, abs=0.08)
    heavy = multivariate_t(loc=[0.0, 1.0], shape=np.eye(2), df=4)
    _, weight, log_integral = weighted_draws(lambda u: np.atleast_1d(heavy.logpdf(u)), np.zeros(2))
    assert log_integral == pytest.approx(0.0, abs=0.02)
    assert 1.0 / (weight @ weight) > 2000


@pytest.mark.parametrize("history", [history_of(THREE[:1]), MIXED])
def test_few_components_stand_for_thousands(history):
    whole = integrate(history, 0).predictive
    few = compress(whole)
    assert len(few.weight) <= 16
    assert few.weight.sum() == pytest.approx(1.0)
    x = np.array([whole.quantile(p) for p in (0.01, 0.025, 0.1, 0.3, 0.5, 0.7, 0.9, 0.975, 0.99)])
    assert few.cdf(x) == pytest.approx(whole.cdf(x), abs=0.005)


def test_a_narrow_and_a_wide_part_are_both_kept():
    whole = Mixture(np.array([0.5, 0.5]), np.array([0.0, 10.0]), np.array([1e-4, 100.0]))
    few, x = compress(whole), np.array([-20.0, -0.01, 0.0, 0.01, 5.0, 30.0])
    assert few.cdf(x) == pytest.approx(whole.cdf(x), abs=0.01)

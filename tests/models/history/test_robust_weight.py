"""robust_weight: bridge sampling, and the mixture against quadrature when both disagree."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from experiments import EXACT
from quadrature import Prior, cross_products, posterior
from scipy import stats
from scipy.special import gammaln, logit

from skbayesiv import HierarchicalBayesianIV
from skbayesiv._models.history.evidence import log_evidence
from skbayesiv._models.history.integrated import integrate
from skbayesiv._models.history.table import build_history

# Over 16 seeds the log odds of the push experiment with 8,000 draws have a standard deviation of
# 0.007; the quadrature's own error is of the same size.
LOG_ODDS_ERROR = 4 * 0.01


def test_bridge_sampling_of_a_skewed_density():
    """exp(k x - e^x), the log of a Gamma(k), integrates to Gamma(k); tails are not normal."""
    rng = np.random.default_rng(0)
    shape = np.array([0.7, 3.0])
    draws = np.log(rng.gamma(shape, size=(8000, 2)))

    def log_density(x):
        return (shape * x - np.exp(x)).sum(axis=1)

    errors = [
        log_evidence(log_density, draws, np.random.default_rng(seed)) - gammaln(shape).sum()
        for seed in range(5)
    ]
    assert np.abs(errors).max() < 0.06


def test_bridge_sampling_of_a_normal_is_exact():
    rng = np.random.default_rng(0)
    cov = np.array([[2.0, 0.5], [0.5, 0.3]])
    law = stats.multivariate_normal([1.0, -3.0], cov)
    draws = law.rvs(4000, random_state=rng)
    found = log_evidence(lambda x: law.logpdf(x) + 700.0, draws, rng)
    assert found == pytest.approx(700.0, abs=2e-2)


@pytest.fixture(scope="module")
def far_history():
    """History three standard errors above the push experiment's estimate."""
    return {
        "effects": [5.5, 5.4, 5.45],
        "std_errors": [0.05, 0.05, 0.05],
        "beta_t_bar_loc": 4.0,
        "beta_t_bar_scale": 10.0,
        "sigma_t_bar_scale": 0.05,
        "sigma_t_bar_prior": "half-normal",
    }


@pytest.fixture(scope="module")
def by_quadrature(push, far_history):
    """`mixture_by_quadrature` of that history."""
    y, t, z = push
    history = build_history(HierarchicalBayesianIV(**far_history))
    return mixture_by_quadrature(cross_products(y, t, z), history)


def mixture_by_quadrature(gram, history, points=16):
    """log p(data | history) - log p(data | vague), and mean and sd of beta_t under both."""
    vague, base = posterior(gram, Prior(), points=31)
    grid = integrate(history, 0)
    probability = (np.arange(points) + 0.5) / points
    at = np.searchsorted(np.cumsum(grid.weight), probability)
    mean, variance = grid.predictive.mean[at], grid.predictive.variance[at]
    log_ratio, moments = [], []
    for m, v in zip(mean, variance, strict=True):
        prior = Prior(loc=(50, m, 0, 0), scale=(10, np.sqrt(v), 1, 10))
        found, constant = posterior(gram, prior, points=13, width=6.0)
        log_ratio.append(constant - base)
        moments.append(found["beta_t"])
    ratio = np.exp(log_ratio)
    weight = ratio / ratio.sum()
    centre, sd = np.array(moments).T
    near = weight @ centre
    near_sd = np.sqrt(weight @ (sd**2 + (centre - near) ** 2))
    return np.log(ratio.mean()), (near, near_sd), vague["beta_t"]


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
@pytest.mark.parametrize("weight", [0.2, 0.006])
def test_history_three_standard_errors_away(
    push, notebook, far_history, by_quadrature, weight, backend
):
    """Data and history apart, so that the posterior has two modes that no chain crosses."""
    y, t, z = push
    settings = {"draws": 2000, "target_accept": 0.95, "random_state": 0}
    parameters = {"robust_weight": weight, "backend": backend} | settings
    est = HierarchicalBayesianIV(**far_history, **notebook, **parameters).fit(None, t, y, z=z)
    log_ratio, near, vague = by_quadrature
    expected = 1.0 / (1.0 + np.exp(-log_ratio) * weight / (1 - weight))
    found = est.exchangeable_probability_
    assert abs(logit(found) - logit(expected)) < LOG_ODDS_ERROR
    # Draws of each component have its moments, and the components their probabilities.
    flags = est.idata_.posterior["exchangeable"].to_numpy() == 1.0
    draws = est.idata_.posterior["beta_t"].to_numpy()[..., 0]
    se = np.sqrt(found * (1 - found) / flags.size)
    assert abs(flags.mean() - found) < 4 * se
    assert abs(flags.mean(axis=1) - found).max() < 4 * np.sqrt(flags.shape[0]) * se
    for chosen, (mean, sd) in ((flags, near), (~flags, vague)):
        assert abs(draws[chosen].mean() - mean) < 6 * sd / np.sqrt(chosen.sum())
        assert draws[chosen].std() == pytest.approx(sd, rel=5 / np.sqrt(chosen.sum()))
    assert array_stats.rhat(draws, chain_axis=0, draw_axis=1) < 1.01
    assert not est.idata_.sample_stats["diverging"].any()


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
def test_hyperparameters_under_the_vague_component(push, notebook):
    """Where the effect is not exchangeable, the mean effect is that of the history alone."""
    y, t, z = push
    est = HierarchicalBayesianIV(
        [9.5, 9.7, 9.4],
        [0.1, 0.1, 0.1],
        robust_weight=0.5,
        sigma_t_bar_prior="half-normal",
        **notebook,
        random_state=0,
    ).fit(None, t, y, z=z)
    assert est.exchangeable_probability_ < 1e-3
    item = est.meta_analysis().treatments[0]
    bar, sigma = (
        est.idata_.posterior[name].to_numpy()[..., 0].ravel()
        for name in ("beta_t_bar", "sigma_t_bar")
    )
    n = bar.size
    assert abs(bar.mean() - item.mean_effect.mean) < 4 * item.mean_effect.sd / np.sqrt(n)
    assert bar.std() == pytest.approx(item.mean_effect.sd, rel=0.1)
    assert abs((sigma < item.sigma_median).mean() - 0.5) < 4 * 0.5 / np.sqrt(n)


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
def test_overwhelming_evidence_does_not_overflow(push, notebook):
    y, t, z = push
    far = HierarchicalBayesianIV(
        [600.0] * 5,
        [0.05] * 5,
        **notebook,
        robust_weight=1e-3,
        sigma_t_bar_prior="half-normal",
        sigma_t_bar_scale=0.05,
        random_state=0,
    ).fit(None, t, y, z=z)
    assert far.exchangeable_probability_ < 1e-100
    assert far.effect_ == pytest.approx(3.3, abs=0.2)


def test_several_treatments_come_from_one_component():
    """The mixture is of all treatments together: its probability by importance sampling."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 2))
    e = rng.normal(size=(400, 3))
    t = z @ [[1.0, 0.2], [0.3, 1.0]] + e[:, :2]
    y = t @ [1.0, -1.0] + e.sum(axis=1)
    effects = [[1.2, -1.1], [1.1, -1.2], [1.2, np.nan]]
    errors = [[0.1, 0.1], [0.1, 0.1], [0.1, np.nan]]
    base = {"robust_weight": 0.4, "beta_t_scale": 3.0, "sigma_t_bar_scale": 0.1}
    est = HierarchicalBayesianIV(
        effects, errors, **base, likelihood="gmm", **EXACT | {"draws": 16_000}
    ).fit(None, t, y, z=z)
    alone = est._without_history().idata_.posterior["beta_t"].to_numpy().reshape(-1, 2)
    history = build_history(est)
    near = sum(integrate(history, k).predictive.log_pdf(alone[:, k]) for k in (0, 1))
    ratio = np.exp(near - stats.norm(0, 3).logpdf(alone).sum(axis=1))
    se = ratio.std() / ratio.mean() / np.sqrt(len(ratio) / 2)
    expected = np.log(ratio.mean()) + logit(0.6)
    assert se < 0.05
    assert abs(logit(est.exchangeable_probability_) - expected) < LOG_ODDS_ERROR + 4 * se

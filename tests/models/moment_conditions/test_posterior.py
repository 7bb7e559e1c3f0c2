"""Draws of the effects against quadrature of the row-by-row criterion, and against priors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from criterion import criterion, make_rows, moments_on_grid, partialled
from criterion_fits import HISTORY, assert_matches, fit, model_of, rows_of
from experiments import unchecked
from scipy import stats

from skbayesiv import HierarchicalBayesianIV
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.sums import Sums
from skbayesiv._sampling.nuts import sample
from skbayesiv._sampling.target import Settings
from skbayesiv.diagnostics import anderson_rubin_confidence_set


def row_density(data, grid, scale, **options):
    """Log quasi-posterior on a grid, row by row: the criterion and the prior N(0, scale^2)."""
    y, t, z, w = partialled(data)
    m = np.array([w * z[:, 0] @ y, w * z[:, 0] @ t[:, 0]])
    products = [w * z[:, 0] ** 2 @ (a * b) for a, b in ((y, y), (y, t[:, 0]), (t[:, 0], t[:, 0]))]
    s = products[0] - 2 * grid * products[1] + grid**2 * products[2]
    share = (m[0] - grid * m[1]) ** 2 / s / w.sum()
    return (w.sum() - 1) / 2 * np.log1p(-share) - 0.5 * (grid / scale) ** 2


def test_push_posterior_is_exact(push, backend):
    y, t, z = push
    data = rows_of(y, t, z)
    grid = np.linspace(-3.0, 10.0, 4001)
    at = grid[::500]
    direct = [criterion(data, b) - 0.5 * (b / 10.0) ** 2 for b in at]
    assert np.allclose(row_density(data, at, 10.0), direct)
    mean, sd = moments_on_grid(grid, row_density(data, grid, 10.0))
    est = fit(data, beta_t_scale=10.0, draws=8000, backend=backend)
    draws = est.idata_.posterior["beta_t"].to_numpy()[..., 0]
    assert_matches(draws, mean, sd)
    assert abs(sd - 0.72) < 0.01
    assert not est.idata_.sample_stats["diverging"].any()


def test_flat_prior_gives_the_anderson_rubin_set(push):
    y, t, z = push
    est = fit(rows_of(y, t, z), beta_t_scale=1e4, draws=16_000)
    region = anderson_rubin_confidence_set(y, t, z).intervals[0]
    assert np.allclose(est.effect_interval(), region, atol=0.08)
    assert np.isclose(np.diff(est.effect_interval())[0], np.diff(region)[0], rtol=0.03)


@unchecked
def test_weak_instrument_posterior_is_exact(backend):
    """First-stage F near 1: flat tails that the prior ends."""
    rng = np.random.default_rng(3)
    n = 100
    z, v = rng.normal(size=n), rng.normal(size=n)
    t = 0.1 * z + v
    y = t + 0.8 * v + 0.6 * rng.normal(size=n)
    data = rows_of(y, t, z)
    grid = np.linspace(-50.0, 50.0, 20001)
    mean, sd = moments_on_grid(grid, row_density(data, grid, 5.0))
    est = fit(data, beta_t_scale=5.0, draws=16_000, backend=backend)
    assert_matches(est.idata_.posterior["beta_t"].to_numpy()[..., 0], mean, sd)
    assert not est.idata_.sample_stats["diverging"].any()


def test_two_treatments_by_quadrature(backend):
    data = make_rows(2, 3, 1, n=200, weighted=True)
    est = fit(data, draws=8000, beta_t_scale=3.0, backend=backend)
    draws = est.idata_.posterior["beta_t"].to_numpy()
    centre, width = draws.mean((0, 1)), draws.std((0, 1))
    axes = [np.linspace(c - 7 * w, c + 7 * w, 61) for c, w in zip(centre, width, strict=True)]
    value = np.array(
        [[criterion(data, [a, b]) - 0.5 * (a * a + b * b) / 9.0 for b in axes[1]] for a in axes[0]]
    )
    weight = np.exp(value - value.max())
    for i, axis in enumerate(axes):
        mean, sd = moments_on_grid(axis, np.log(weight.sum(axis=1 - i)))
        assert_matches(draws[..., i], mean, sd)


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_exclusion_by_quadrature(push, scale, backend):
    """Invalid instruments widen the posterior; the direct effect's draws go with the effect's."""
    y, t, z = (column[:2000] for column in push)
    y = y / y.std()
    data = rows_of(y, t, z)
    grid = np.linspace(-12.0, 12.0, 801)
    value = [criterion(data, b, direct=scale) - 0.5 * (b / 3.0) ** 2 for b in grid]
    mean, sd = moments_on_grid(grid, np.array(value))
    est = fit(data, exclusion_scale=scale, beta_t_scale=3.0, draws=8000, backend=backend)
    posterior = est.idata_.posterior
    assert_matches(posterior["beta_t"].to_numpy()[..., 0], mean, sd)
    # Given beta, delta has precision G S^-1 G n + 1 / scale^2 and mean G S^-1 g n / precision.
    beta, direct = (posterior[name].to_numpy().ravel() for name in ("beta_t", "direct"))
    y, t, z, _ = partialled(data)
    gram = (z.T @ z)[0, 0]
    s = np.array([((z[:, 0] * (y - t[:, 0] * b)) ** 2).sum() for b in beta[:200]])
    g = np.array([z[:, 0] @ (y - t[:, 0] * b) for b in beta[:200]])
    precision = gram**2 / s + scale**-2.0
    standard = (direct[:200] - gram * g / s / precision) * np.sqrt(precision)
    assert stats.kstest(standard, "norm").pvalue > 1e-3


@unchecked
@pytest.mark.parametrize("robust", [0.0, 0.3])
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
def test_hierarchical_by_quadrature(robust, backend):
    """Over (beta, beta_bar, log sigma_bar): beta_bar by its own grid, as the textbook has it."""
    data = make_rows(1, 2, 1, n=80)
    est = fit(
        data,
        est=HierarchicalBayesianIV,
        robust_weight=robust,
        beta_t_bar_scale=2.0,
        sigma_t_bar_scale=1.0,
        beta_t_scale=4.0,
        draws=16_000,
        target_accept=0.9,
        backend=backend,
        **HISTORY,
    )
    b, s = np.array(HISTORY["effects"]), np.array(HISTORY["std_errors"])
    beta = np.linspace(-20.0, 20.0, 801)  # the vague component reaches far
    bar = np.linspace(-9.0, 9.0, 301)[:, None]
    prior, log_sigmas = 0.0, np.linspace(-9.0, 6.0, 151)
    mass = []
    for log_sigma in log_sigmas:
        sigma = np.exp(log_sigma)
        weight = stats.norm.pdf(bar, 0.0, 2.0) * stats.halfcauchy.pdf(sigma) * sigma
        weight = weight * stats.norm.pdf(b, bar, np.hypot(s, sigma)).prod(axis=1, keepdims=True)
        wide = np.maximum(sigma, 0.06)  # the grid of bar resolves no narrower kernel
        near = (weight * stats.norm.pdf(beta, bar, wide)).sum(axis=0)
        far = weight.sum() * stats.norm.pdf(beta, 0.0, 4.0)
        mass.append((1 - robust) * near + robust * far)
        prior = prior + mass[-1]
    value = np.array([criterion(data, x) for x in beta])
    mean, sd = moments_on_grid(beta, value + np.log(prior))
    posterior = est.idata_.posterior
    assert_matches(posterior["beta_t"].to_numpy()[..., 0], mean, sd)
    joint = np.array(mass) @ np.exp(value - value.max())
    mean, sd = moments_on_grid(log_sigmas, np.log(joint))
    assert_matches(np.log(posterior["sigma_t_bar"].to_numpy()[..., 0]), mean, sd, rtol=0.08)
    assert "beta_j" in posterior


def test_prior_only():
    """Without observations the effect's draws are from its prior."""
    data = make_rows(2, 3, 1)
    data = replace(data, sample_weight=np.full(data.n_rows, 1e-12))
    model = model_of(data, beta_t_loc=[1.0, -2.0], beta_t_scale=[0.5, 3.0])
    draws = sample(model.target(), Settings(8000, 200, 2, 0.8, 3))
    flat = draws.position[:, ::4].reshape(-1, 2) * model.design.unit
    for i, (loc, scale) in enumerate([(1.0, 0.5), (-2.0, 3.0)]):
        assert stats.kstest(flat[:, i], stats.norm(loc, scale).cdf).pvalue > 1e-3


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
def test_prior_only_of_all_that_has_a_prior():
    """Sums over no rows: direct effects and the hierarchy are drawn from their priors."""
    data = make_rows(2, 3, 1)
    est = HierarchicalBayesianIV(
        np.full((3, 2), 0.5),
        np.full((3, 2), 1e9),
        likelihood="gmm",
        exclusion_scale=[0.1, 0.5, 2.0],
        beta_t_bar_loc=1.0,
        beta_t_bar_scale=2.0,
        sigma_t_bar_scale=0.7,
    )
    sums = Sums(Moments.empty(data.columns), FourthMoments.empty(data.columns))
    model = est._build_model(sums)
    draws = sample(model.target(), Settings(8000, 200, 2, 0.95, 3))
    values = model.posterior(draws.flat, np.random.default_rng(1)).values
    thin = {name: value[::8] for name, value in values.items()}
    laws = {
        "beta_t_bar": [stats.norm(1.0, 2.0)] * 2,
        "sigma_t_bar": [stats.halfcauchy(0.0, 0.7)] * 2,
        "direct": [stats.norm(0.0, scale) for scale in (0.1, 0.5, 2.0)],
    }
    for name, marginals in laws.items():
        for i, law in enumerate(marginals):
            assert stats.kstest(thin[name][:, i], law.cdf).pvalue > 1e-3, name
    standard = (thin["beta_t"] - thin["beta_t_bar"]) / thin["sigma_t_bar"]
    assert stats.kstest(standard.ravel(), "norm").pvalue > 1e-3
    assert np.isnan(values["beta_z"]).all()

"""With no rows the density is the prior's: finds a missing Jacobian or a wrong scale."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rowwise import collapsed
from scipy import stats

from skbayesiv import (
    BayesianIV,
    HierarchicalBayesianIV,
)
from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import standardise
from skbayesiv._models.history import density as history_density
from skbayesiv._models.history import draws as draws_of_history
from skbayesiv._models.history.draws import effect_priors
from skbayesiv._models.history.integrated import integrate
from skbayesiv._models.history.meta_analysis import Mixture
from skbayesiv._models.history.table import build_history
from skbayesiv._models.normal.design import build_design
from skbayesiv._models.normal.draws import draw_posterior
from skbayesiv._models.normal.model import NormalModel
from skbayesiv._models.normal.start import start
from skbayesiv._models.parts import error_covariance
from skbayesiv._models.parts.prior_draws import lkj_draws, prior_draws
from skbayesiv._models.parts.priors import build_priors

PRIOR = {
    "intercept_y_loc": 3.0,
    "intercept_y_scale": 2.0,
    "intercept_t_loc": -1.0,
    "intercept_t_scale": 0.5,
    "beta_t_loc": 1.0,
    "beta_t_scale": 0.7,
    "beta_z_loc": -0.5,
    "beta_z_scale": 1.5,
    "gamma_y_loc": 0.3,
    "gamma_scale": 0.9,
    "sigma_scale": 1.2,
}


def spread_out(q, size, last):
    """Coordinates q -> u, and the log Jacobian.

    Without data the regression coefficients are ratios of half-Cauchy scales, with tails that no
    sampler crosses. Here a_jk = sinh(c_jk) d_j / d_k, whose c have exponential tails, for the
    first `last` equations of the chain (with normal coefficients there is nothing to mend).
    """
    log_d = [q[j] for j in range(size)]
    u, jacobian, at = list(log_d), 0.0, size
    for j in range(last):
        for k in range(j):
            u.append(np.sinh(q[at]) * np.exp(log_d[j] - log_d[k]))
            jacobian = jacobian + np.log(np.cosh(q[at])) + log_d[j] - log_d[k]
            at += 1
    return np.stack(u + list(q[at:])), jacobian


def n_lkj(shape):
    """Number of equations whose errors have an LKJ correlation."""
    return shape.n_equations - (shape.sigma_prior == "regression")


def stretch_moves(log_density, walkers, steps, rng):
    """Walkers (dim, N) after moves that no linear map of the space changes.

    Each half moves along lines through walkers of the other (Goodman and Weare 2010, section 2),
    so that the walkers at the end are independent of each other.
    """
    dim, half = len(walkers), walkers.shape[1] // 2
    value = log_density(walkers)
    for step in range(2 * steps):
        at, others = np.arange(half) + half * (step % 2), np.arange(half) + half * (1 - step % 2)
        partner = walkers[:, rng.permutation(others)]
        stretch = (1.0 + rng.uniform(size=half)) ** 2 / 2.0
        proposal = partner + stretch * (walkers[:, at] - partner)
        proposed = log_density(proposal)
        odds = (dim - 1) * np.log(stretch) + proposed - value[at]
        accept = np.log(rng.uniform(size=half)) < odds
        walkers[:, at[accept]] = proposal[:, accept]
        value[at[accept]] = proposed[accept]
    return walkers


def prior_sample(k, q, p, bug=None, n_walkers=2000, **parameters):
    """Independent draws of all parameters from the density that is sampled, without data.

    `bug`, of (design, u), is added to the log density.
    """
    columns = Columns(
        tuple(f"x{i}" for i in range(p)),
        tuple(f"z{i}" for i in range(q)),
        tuple(f"t{i}" for i in range(k)),
        "y",
    )
    std = standardise(Moments.empty(columns))
    est = BayesianIV(**(PRIOR | parameters))
    priors = build_priors(est, std)
    design = build_design(std, priors, est.sigma_prior)
    sizes = 1 + k, n_lkj(design.shape)

    def density(q):
        u, jacobian = spread_out(q, *sizes)
        return collapsed(design, u.T) + jacobian + (0.0 if bug is None else bug(design, u))

    rng = np.random.default_rng(7)
    at, spread = start(design)
    walkers = at[:, None] + spread[:, None] * rng.normal(size=(len(at), n_walkers))
    walkers = stretch_moves(density, walkers, max(80, 25 * len(at)), rng)
    flat = spread_out(walkers, *sizes)[0].T
    values = draw_posterior(design, flat, np.random.default_rng(1)).values
    return priors, values


def p_values(priors, values):
    """Kolmogorov-Smirnov p-values of each scalar parameter against its prior."""
    out = {}
    learnt = priors.beta_z_sd_scale is not None
    for name, prior in priors.normals():
        if name == "alpha" or (learnt and name == "beta_z"):
            continue
        for index in np.ndindex(prior.loc.shape):
            law = stats.norm(prior.loc[index], prior.scale[index])
            out[f"{name}{index}"] = stats.kstest(
                values[name][(slice(None), *index)], law.cdf
            ).pvalue
    if learnt:
        out |= first_stage_p_values(priors, values)
    size = values["sigma"].shape[1]
    first = 0
    if priors.alpha is not None:
        first = 1
        cov = values["cov"]
        alpha = np.linalg.solve(cov[:, 1:, 1:], cov[:, 1:, :1])[..., 0]
        rest = np.sqrt(cov[:, 0, 0] - (alpha * cov[:, 1:, 0]).sum(-1))
        doubled = 2 * stats.t(3).cdf(rest / priors.sigma_scale[0]) - 1
        out["sd(v)"] = stats.kstest(doubled, "uniform").pvalue
        for i in range(alpha.shape[1]):
            out[f"alpha{i}"] = stats.kstest(
                alpha[:, i], stats.norm(0, priors.alpha.scale[i]).cdf
            ).pvalue
    for d in range(first, size):
        law = stats.halfcauchy(scale=priors.sigma_scale[d])
        out[f"sigma{d}"] = stats.kstest(values["sigma"][:, d], law.cdf).pvalue
    # Every correlation of LKJ(eta) in d dimensions is 2 Beta(eta + d/2 - 1) - 1.
    shape = priors.lkj_eta + (size - first) / 2 - 1
    for d in range(first, size):
        for e in range(first, d):
            law = stats.beta(shape, shape, loc=-1, scale=2)
            out[f"corr{d}{e}"] = stats.kstest(values["corr"][:, d, e], law.cdf).pvalue
    return out


def first_stage_p_values(priors, values):
    """Of the spread, of coefficients given it, and of coefficients alone (moments unit: sd 1)."""
    out, beta_z, spread = {}, values["beta_z"] - PRIOR["beta_z_loc"], values["beta_z_sd"]
    quantiles = stats.halfcauchy.ppf((np.arange(4000) + 0.5) / 4000)

    def marginal(x):
        return stats.norm.cdf(x[:, None] / quantiles).mean(axis=1)

    for k in range(spread.shape[1]):
        out[f"beta_z_sd{k}"] = stats.kstest(spread[:, k], stats.halfcauchy.cdf).pvalue
        for j in range(beta_z.shape[1]):
            given = beta_z[:, j, k] / spread[:, k]
            out[f"beta_z{j, k} | sd"] = stats.kstest(given, stats.norm.cdf).pvalue
            out[f"beta_z{j, k}"] = stats.kstest(beta_z[:, j, k], marginal).pvalue
    return out


LEARNED = {"beta_z_scale": "learned"}
CASES = {
    "regression without treatment": (0, 0, 3, {}),
    "one instrument, raw intercepts": (1, 1, 0, {"intercept_prior": "raw", "lkj_eta": 2.0}),
    "covariates and direct effects": (1, 2, 2, {"exclusion_scale": 0.4}),
    "two treatments": (2, 2, 0, {"lkj_eta": 1.5}),
    "learnt first stage": (1, 3, 1, LEARNED),
    "learnt first stage, arcsine correlation": (1, 1, 0, LEARNED | {"lkj_eta": 0.5}),
    "learnt first stages of two treatments": (2, 2, 0, LEARNED | {"lkj_eta": 1.5}),
    "regression form": (1, 1, 1, {"sigma_prior": "regression"}),
    "regression form, two treatments": (2, 2, 0, {"sigma_prior": "regression", "lkj_eta": 3.0}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_prior_only_draws_are_the_prior(case):
    k, q, p, parameters = case
    found = p_values(*prior_sample(k, q, p, **parameters))
    # Some ten tests a case: the smallest p-value of 10 uniform ones is below 1e-4 once in 1,000.
    assert min(found.values()) > 1e-4, found


def without_jacobian(design, u):
    """Half of log sigma_t's Jacobian is missing (without all of it the density is improper)."""
    return -0.5 * u[0]


def with_wrong_scale(design, u):
    """Half-Cauchy scales are 20% too large."""
    wrong = design.arrays._replace(sigma_scale=1.2 * design.arrays.sigma_scale)
    return collapsed(replace(design, arrays=wrong), u.T) - collapsed(design, u.T)


@pytest.mark.parametrize("bug", [without_jacobian, with_wrong_scale])
def test_planted_bugs_are_found(bug):
    found = p_values(*prior_sample(1, 1, 0, bug, 4000, intercept_prior="raw"))
    assert min(found.values()) < 1e-6


def without_the_spreads_jacobian(design, u):
    """The density of s stands for that of log s (half of it, or nothing would be proper)."""
    return -0.5 * u[-1]


def with_a_wider_spread(design, u):
    """The half-Cauchy scale is twice what it should be."""
    s2 = np.exp(2.0 * u[-1])
    return np.log1p(s2) - np.log1p(s2 / 4.0)


@pytest.mark.parametrize("bug", [without_the_spreads_jacobian, with_a_wider_spread])
def test_planted_bugs_in_the_spread_are_found(bug):
    found = p_values(*prior_sample(1, 2, 0, bug, 4000, **LEARNED))
    assert min(found.values()) < 1e-6


@pytest.mark.parametrize("size", [2, 3, 4])
def test_lkj_draws(size):
    eta = 1.7
    corr = lkj_draws(size, eta, 20_000, np.random.default_rng(0))
    assert np.linalg.eigvalsh(corr).min() > 0
    shape = eta + size / 2 - 1
    for d in range(size):
        for e in range(d):
            law = stats.beta(shape, shape, loc=-1, scale=2)
            assert stats.kstest(corr[:, d, e], law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("sigma_prior", ["lkj", "regression"])
def test_direct_prior_draws_agree_with_the_density(sigma_prior):
    """`sample_prior_predictive` and the density are two statements of one prior."""
    priors, values = prior_sample(2, 2, 0, sigma_prior=sigma_prior, **LEARNED)
    columns = Columns((), ("z0", "z1"), ("t0", "t1"), "y")
    direct = prior_draws(priors, np.zeros(5), columns, 8000, np.random.default_rng(5))
    assert min(first_stage_p_values(priors, direct).values()) > 1e-4
    for k in range(2):
        pair = values["beta_z_sd"][:, k], direct["beta_z_sd"][:, k]
        assert stats.ks_2samp(*pair).pvalue > 1e-4
    for d in range(3):
        assert stats.ks_2samp(values["sigma"][:, d], direct["sigma"][:, d]).pvalue > 1e-4
        for e in range(d):
            pair = values["corr"][:, d, e], direct["corr"][:, d, e]
            assert stats.ks_2samp(*pair).pvalue > 1e-4


def test_coordinates_round_trip():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 4):
        a = rng.normal(size=(size, size + 2))
        sigma = a @ a.T
        u = error_covariance.coordinates(sigma, np)
        log_d, rows = error_covariance.chain(u, size)
        assert np.allclose(error_covariance.covariance(log_d, rows, np), sigma, rtol=1e-12)
        assert np.allclose(
            error_covariance.precision(log_d, rows, np), np.linalg.inv(sigma), rtol=1e-9
        )


# --- With a history, which is data: what is left without rows is its prediction --------------

EARLIER = {
    "effects": [3.4, 3.6, 4.25, np.nan, 7.0],
    "std_errors": [0.5, 0.55, 0.6, np.nan, 0.44],
    "beta_t_bar_loc": 1.0,
    "beta_t_bar_scale": 3.0,
    "sigma_t_bar_scale": 0.8,
}


def history_draws(robust, kind="half-cauchy", n_draws=3000):
    """Draws of the effect and the hierarchy without rows, and the history on a grid.

    NUTS has no part in it: sigma_bar comes from the grid, and a robust prior's two components
    have equal evidence without rows.
    """
    est = HierarchicalBayesianIV(**EARLIER, **PRIOR, sigma_t_bar_prior=kind)
    std = standardise(Moments.empty(Columns((), ("z",), ("t",), "y")))
    model = NormalModel(build_design(std, build_priors(est, std), "lkj"))
    history, rng = build_history(est), np.random.default_rng(0)
    grid = integrate(history, 0)
    unit = model.effect_unit
    u = rng.normal(size=(n_draws, 3))
    log_sigma = np.log(grid.sigma_quantile(rng.uniform(size=(n_draws, 1))) / unit)
    flags = rng.uniform(size=n_draws) >= robust
    shape = history_density.hierarchical_shape(model, history, robust)
    arrays = history_density.hierarchical_arrays(model, history)
    chosen = draws_of_history.Chosen(u, log_sigma, flags, 1.0 - robust)
    prior = draws_of_history.effect_priors(shape, arrays, chosen)
    beta_t = model.posterior(u, rng, (prior.loc, prior.precision)).values["beta_t"]
    bar = unit * draws_of_history.draw_beta_bar(prior, flags, beta_t / unit, rng)
    beta_j = draws_of_history.draw_beta_j(history, bar, unit * prior.sigma, rng)
    return grid, {"beta_t": beta_t, "beta_t_bar": bar, "beta_j": beta_j}


def history_p_values(robust, kind="half-cauchy"):
    """p-values of beta_t, beta_t_bar and beta_j against their mixtures of normals."""
    grid, values = history_draws(robust, kind)
    vague = stats.norm(PRIOR["beta_t_loc"], PRIOR["beta_t_scale"])

    def effect(x):
        return (1 - robust) * grid.predictive.cdf(x) + robust * vague.cdf(x)

    out = {
        "beta_t": stats.kstest(values["beta_t"][:, 0], effect).pvalue,
        "beta_t_bar": stats.kstest(values["beta_t_bar"][:, 0], grid.beta_bar.cdf).pvalue,
    }
    for j, (b, s) in enumerate(zip(EARLIER["effects"], EARLIER["std_errors"], strict=True)):
        law = grid.predictive
        if np.isfinite(b):  # given sigma_bar: share b + (1 - share) beta_bar, error share s^2
            share = grid.sigma**2 / (grid.sigma**2 + s**2)
            mean = share * b + (1 - share) * grid.mean
            law = Mixture(grid.weight, mean, share * s**2 + (1 - share) ** 2 * grid.variance)
        out[f"beta_j{j}"] = stats.kstest(values["beta_j"][:, j, 0], law.cdf).pvalue
    return out


@pytest.mark.parametrize("robust", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["half-cauchy", "half-normal", "half-t"])
def test_draws_without_rows_are_what_the_history_predicts(robust, kind):
    found = history_p_values(robust, kind)
    assert min(found.values()) > 1e-4, found


def beta_bar_without_the_link(prior, exchangeable, beta_t, generator):
    """A bug: the mean effect does not learn from the effect."""
    return prior.mean + np.sqrt(prior.variance) * generator.standard_normal(prior.mean.shape)


def prior_without_the_means_variance(shape, arrays, chosen):
    """A bug: the effect varies about the mean effect's mean."""
    prior = effect_priors(shape, arrays, chosen)
    return replace(prior, precision=prior.sigma**-2.0)


def beta_j_about_its_own_estimate(history, beta_bar, sigma, generator):
    """A bug: earlier effects are not shrunk."""
    noise = generator.standard_normal((len(beta_bar), *history.effects.shape))
    return np.nan_to_num(history.effects) + np.nan_to_num(history.std_errors, nan=1.0) * noise


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("effect_priors", prior_without_the_means_variance),
        ("draw_beta_j", beta_j_about_its_own_estimate),
    ],
)
def test_planted_bugs_in_the_hierarchy_are_found(name, bug, monkeypatch):
    monkeypatch.setattr(draws_of_history, name, bug)
    assert min(history_p_values(0.3).values()) < 1e-6


def test_a_missing_link_is_found(monkeypatch):
    """Without it beta_t_bar keeps its law but loses its correlation with the effect."""
    grid, values = history_draws(0.0)

    def correlation(values):
        return np.corrcoef(*(stats.rankdata(values[k][:, 0]) for k in ("beta_t", "beta_t_bar")))

    rng = np.random.default_rng(1)
    at = grid.draw(3000, rng)
    bar = grid.mean[at] + np.sqrt(grid.variance[at]) * rng.standard_normal(3000)
    effect = bar + grid.sigma[at] * rng.standard_normal(3000)
    expected = correlation({"beta_t": effect[:, None], "beta_t_bar": bar[:, None]})[0, 1]
    assert correlation(values)[0, 1] == pytest.approx(expected, abs=4 * np.sqrt(2 / 3000))
    monkeypatch.setattr(draws_of_history, "draw_beta_bar", beta_bar_without_the_link)
    assert abs(correlation(history_draws(0.0)[1])[0, 1]) < 0.1 < expected


def off_law_of_sigma_bar(log_density):
    """How far sigma_bar's cumulative probabilities without rows are from the history's own."""
    est = HierarchicalBayesianIV(**EARLIER, **PRIOR)
    std = standardise(Moments.empty(Columns((), ("z",), ("t",), "y")))
    model = NormalModel(build_design(std, build_priors(est, std), "lkj"))
    history = build_history(est)
    shape = history_density.hierarchical_shape(model, history, 0.0)
    arrays = history_density.hierarchical_arrays(model, history)
    log_sigma = np.linspace(-12.0, 9.0, 3001)
    with jax.enable_x64(True):
        at = np.column_stack([np.zeros((3001, 3)), log_sigma])  # at one covariance
        value = np.asarray(jax.jit(jax.vmap(lambda u: log_density(shape, u, arrays, jnp)))(at))
    weight = np.exp(value - np.max(value))
    below = (np.cumsum(weight) - 0.5 * weight) / weight.sum()
    probability = np.linspace(0.02, 0.98, 25)
    quantiles = integrate(history.in_units(model.effect_unit), 0).sigma_quantile(probability)
    return np.abs(np.interp(np.log(quantiles), log_sigma, below) - probability).max()


def without_sigma_bars_jacobian(shape, u, arrays, xp):
    return history_density.log_borrowed(shape, u, arrays, xp) - u[3]


def test_sigma_bar_without_rows():
    assert off_law_of_sigma_bar(history_density.log_borrowed) < 2e-3
    assert off_law_of_sigma_bar(without_sigma_bars_jacobian) > 0.05

"""likelihood="gmm" against row-by-row criteria, quadrature, PyMC and classical estimates."""

from __future__ import annotations

import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from criterion import criterion, make_rows, moments_on_grid, partialled
from scipy import integrate, stats
from sklearn.base import clone

from skbayesiv import (
    BayesianIV,
    HierarchicalBayesianIV,
    TwoStageLS,
    exclusion_sensitivity,
)
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import Reference
from skbayesiv._data.standardised import standardise
from skbayesiv._models.build import build_likelihood
from skbayesiv._models.moment_conditions import density as criterion_density
from skbayesiv._models.moment_conditions.density import (
    log_criterion,
    log_density,
    log_likelihood_and_prior,
)
from skbayesiv._reports.borrowing import current_estimate
from skbayesiv._sampling.nuts import sample
from skbayesiv._sampling.target import Settings
from skbayesiv.diagnostics import anderson_rubin_confidence_set
from skbayesiv.exceptions import ConvergenceWarning, HeteroskedasticityWarning, NoTreatmentWarning

SIZES = [(1, 1, 0), (1, 3, 2), (2, 3, 1), (1, 10, 1)]
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def likelihood_of(data, clusters=None, **parameters):
    """What a fit to the rows would sample."""
    est = BayesianIV(likelihood="gmm", **parameters)
    moments = Moments.from_data(data)
    reference = Reference.from_moments(moments, fit_intercept=est.fit_intercept)
    fourth = FourthMoments.from_data(data, reference, clusters)
    return build_likelihood(est, standardise(moments), fourth)


def fit(data, clusters=None, est=BayesianIV, **parameters):
    """A fit to the rows."""
    new = est(likelihood="gmm", random_state=0, **parameters)
    x = data.x if data.x.shape[1] else None
    return new.fit(x, data.t, data.y, z=data.z, sample_weight=data.sample_weight, clusters=clusters)


def assert_matches(draws, mean, sd, rtol=0.05):
    """Draws (chain, draw): mean within 4 Monte Carlo errors, sd within 5% or 4 of its errors."""
    mcse = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="mean"))
    mcse_sd = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="sd"))
    assert abs(draws.mean() - mean) < 4 * mcse
    assert abs(draws.std() - sd) < max(rtol * sd, 4 * mcse_sd)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("k", "q", "p"), SIZES)
def test_criterion_is_that_of_the_rows(k, q, p, weighted, clustered, fit_intercept):
    data = make_rows(k, q, p, weighted=weighted)
    rng = np.random.default_rng(1)
    clusters = rng.integers(0, 50, data.n_rows) if clustered else None
    options = {"clusters": clusters, "fit_intercept": fit_intercept}
    for direct in (0.0, rng.uniform(0.1, 1.0, q)):
        design = likelihood_of(data, exclusion_scale=direct, **options).design
        for beta in rng.normal(1.0, 1.0, (3, k)):
            value = log_criterion(design.shape, list(beta / design.unit), design.arrays, np)
            assert np.isclose(-2 * value, criterion(data, beta, direct=direct, **options), 1e-7)


def test_criterion_far_from_zero():
    """At 10^5 standard deviations from zero as at zero."""
    near = make_rows(1, 2, 1)
    rounded = {name: np.round(getattr(near, name) * 2**20) / 2**20 for name in ("x", "z", "t", "y")}
    near = replace(near, **rounded)
    far = replace(near, **{name: value + 2.0**18 for name, value in rounded.items()})
    designs = likelihood_of(near).design, likelihood_of(far).design
    for beta in (-1.0, 1.0, 5.0):
        one, two = (log_criterion(d.shape, [beta / d.unit[0]], d.arrays, np) for d in designs)
        assert np.isclose(one, two, rtol=1e-7)


@pytest.mark.parametrize("size", [1e-3, 1e-5])
def test_criterion_of_an_outcome_that_the_treatment_explains(size):
    """y -> t b + size y takes the criterion at beta to b + size beta."""
    data = make_rows(2, 3, 1)
    b = np.array([3.0, -1.0])
    design = likelihood_of(replace(data, y=data.t @ b + size * data.y)).design
    for beta in ([1.0, 2.0], [0.0, 1.0], [4.0, 4.0]):
        u = list((b + size * np.array(beta)) / design.unit)
        value = log_criterion(design.shape, u, design.arrays, np)
        assert np.isclose(-2 * value, criterion(data, beta), rtol=2e-13 / size**2)


@pytest.mark.parametrize("direct", [0.0, 0.3])
@pytest.mark.parametrize(("k", "q"), [(1, 1), (2, 3)])
def test_gradient_and_both_algebras(k, q, direct, monkeypatch):
    design = likelihood_of(make_rows(k, q, 0), exclusion_scale=direct).design
    u = np.linspace(0.2, 0.5, k)

    def evaluate(u):
        return log_density(design.shape, u, design.arrays)

    def differences(step=1e-5):
        return [(evaluate(u + step * e) - evaluate(u - step * e)) / (2 * step) for e in np.eye(k)]

    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(evaluate)(jnp.asarray(u))
        assert np.allclose(gradient, differences(), rtol=1e-5)
        monkeypatch.setattr(criterion_density, "UNROLL_UP_TO", 0)
        dense, dense_gradient = jax.value_and_grad(evaluate)(jnp.asarray(u))
    assert np.isclose(value, dense, rtol=1e-10)
    assert np.allclose(gradient, dense_gradient, rtol=1e-8)


def test_direct_effects_are_integrated_out():
    """The closed form is the integral over delta of N(delta; 0, D) exp(-Q(beta, delta) / 2)."""
    data, scale = make_rows(1, 2, 0, n=60), np.array([0.2, 0.5])
    design = likelihood_of(data, exclusion_scale=scale).design
    y, t, z, _ = partialled(data)
    for beta in (0.5, 1.0, 3.0):
        scores = z * (y - t[:, 0] * beta)[:, None]
        inverse = np.linalg.inv(scores.T @ scores)

        def integrand(d1, d0, scores=scores, inverse=inverse):
            g = scores.sum(axis=0) - z.T @ z @ [d0, d1]
            prior = stats.norm.pdf(d0, 0, scale[0]) * stats.norm.pdf(d1, 0, scale[1])
            return prior * np.exp(-0.5 * g @ inverse @ g)

        ends = [-8 * scale[0], 8 * scale[0], -8 * scale[1], 8 * scale[1]]
        value, _ = integrate.dblquad(integrand, *ends, epsabs=0, epsrel=1e-6)
        closed = log_criterion(design.shape, [beta / design.unit[0]], design.arrays, np)
        assert np.isclose(np.log(value), closed, atol=1e-5)


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
@pytest.mark.parametrize("direct", [0.0, 0.3])
def test_pymc_states_the_same_density(direct):
    """log p(beta, delta) = log p(beta) + log N(delta | beta), with the normal computed here."""
    data = make_rows(2, 3, 1, weighted=True)
    model = likelihood_of(data, exclusion_scale=direct)
    density = model.to_pymc(data).compile_logp()
    y, t, z, w = partialled(data)
    gram = (z * w[:, None]).T @ z
    rng, gaps = np.random.default_rng(0), []
    for beta in rng.normal(1.0, 1.0, (4, 2)):
        point = {"beta_t": beta}
        conditional = 0.0
        if direct:
            scores = z * (y - t @ beta)[:, None]
            s = (scores * w[:, None]).T @ scores
            precision = gram @ np.linalg.solve(s, gram) + np.eye(3) / direct**2
            mean = np.linalg.solve(precision, gram @ np.linalg.solve(s, w @ scores))
            point["direct"] = rng.normal(0.0, direct, 3)
            law = stats.multivariate_normal(mean, np.linalg.inv(precision))
            conditional = law.logpdf(point["direct"])
        gaps.append(density(point) - log_posterior(model.design, beta) - conditional)
    assert np.allclose(gaps, gaps[0], atol=1e-6)


def log_posterior(design, beta):
    """Log quasi-posterior density of effects in raw units, up to a constant."""
    loc, precision = list(design.arrays.loc), list(design.arrays.precision)
    u = list(beta / design.unit)
    return log_likelihood_and_prior(design.shape, u, design.arrays, loc, precision, np)


def rows_of(y, t, z):
    """Push data as checked rows."""
    rows = make_rows(1, 1, 0, n=2)
    return replace(rows, x=np.empty((len(y), 0)), z=z[:, None], t=t[:, None], y=y)


def row_density(data, grid, scale, **options):
    """Log quasi-posterior on a grid, row by row: -Q/2 and the prior N(0, scale^2)."""
    y, t, z, w = partialled(data)
    m = np.array([w * z[:, 0] @ y, w * z[:, 0] @ t[:, 0]])
    products = [w * z[:, 0] ** 2 @ (a * b) for a, b in ((y, y), (y, t[:, 0]), (t[:, 0], t[:, 0]))]
    s = products[0] - 2 * grid * products[1] + grid**2 * products[2]
    return -0.5 * (m[0] - grid * m[1]) ** 2 / s - 0.5 * (grid / scale) ** 2


def test_push_posterior_is_exact(push):
    y, t, z = push
    data = rows_of(y, t, z)
    grid = np.linspace(-3.0, 10.0, 4001)
    at = grid[::500]
    direct = [-0.5 * criterion(data, b) - 0.5 * (b / 10.0) ** 2 for b in at]
    assert np.allclose(row_density(data, at, 10.0), direct)
    mean, sd = moments_on_grid(grid, row_density(data, grid, 10.0))
    est = fit(data, beta_t_scale=10.0, draws=4000)
    draws = est.idata_.posterior["beta_t"].to_numpy()[..., 0]
    assert_matches(draws, mean, sd)
    assert abs(sd - 0.72) < 0.01
    assert not est.idata_.sample_stats["diverging"].any()


def test_flat_prior_gives_the_anderson_rubin_set(push):
    y, t, z = push
    est = fit(rows_of(y, t, z), beta_t_scale=1e4, draws=8000)
    region = anderson_rubin_confidence_set(y, t, z).intervals[0]
    assert np.allclose(est.effect_interval(), region, atol=0.08)
    assert np.isclose(np.diff(est.effect_interval())[0], np.diff(region)[0], rtol=0.03)


def test_weak_instrument_posterior_is_exact():
    """First-stage F near 1: flat tails that the prior ends."""
    rng = np.random.default_rng(3)
    n = 100
    z, v = rng.normal(size=n), rng.normal(size=n)
    t = 0.1 * z + v
    y = t + 0.8 * v + 0.6 * rng.normal(size=n)
    data = rows_of(y, t, z)
    grid = np.linspace(-50.0, 50.0, 20001)
    mean, sd = moments_on_grid(grid, row_density(data, grid, 5.0))
    est = fit(data, beta_t_scale=5.0, draws=8000)
    assert_matches(est.idata_.posterior["beta_t"].to_numpy()[..., 0], mean, sd)
    assert not est.idata_.sample_stats["diverging"].any()


def test_two_treatments_by_quadrature():
    data = make_rows(2, 3, 1, n=200, weighted=True)
    est = fit(data, draws=4000, beta_t_scale=3.0)
    draws = est.idata_.posterior["beta_t"].to_numpy()
    centre, width = draws.mean((0, 1)), draws.std((0, 1))
    axes = [np.linspace(c - 7 * w, c + 7 * w, 61) for c, w in zip(centre, width, strict=True)]
    value = np.array(
        [
            [-0.5 * criterion(data, [a, b]) - 0.5 * (a * a + b * b) / 9.0 for b in axes[1]]
            for a in axes[0]
        ]
    )
    weight = np.exp(value - value.max())
    for i, axis in enumerate(axes):
        mean, sd = moments_on_grid(axis, np.log(weight.sum(axis=1 - i)))
        assert_matches(draws[..., i], mean, sd)


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_exclusion_by_quadrature(push, scale):
    """Invalid instruments widen the posterior; the direct effect's draws go with the effect's."""
    y, t, z = (column[:2000] for column in push)
    y = y / y.std()
    data = rows_of(y, t, z)
    grid = np.linspace(-12.0, 12.0, 801)
    value = [-0.5 * criterion(data, b, direct=scale) - 0.5 * (b / 3.0) ** 2 for b in grid]
    mean, sd = moments_on_grid(grid, np.array(value))
    est = fit(data, exclusion_scale=scale, beta_t_scale=3.0, draws=4000)
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


HISTORY = {"effects": [0.5, 1.5, 1.0, 2.2], "std_errors": [0.4, 0.5, 0.3, 0.6]}


@pytest.mark.parametrize("robust", [0.0, 0.3])
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
def test_hierarchical_by_quadrature(robust):
    """Over (beta, beta_bar, log sigma_bar): beta_bar by its own grid, as the textbook has it."""
    data = make_rows(1, 2, 1, n=80)
    est = fit(
        data,
        est=HierarchicalBayesianIV,
        robust_weight=robust,
        beta_t_bar_scale=2.0,
        sigma_t_bar_scale=1.0,
        beta_t_scale=4.0,
        draws=8000,
        target_accept=0.9,
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
    value = np.array([-0.5 * criterion(data, x) for x in beta])
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
    model = likelihood_of(data, beta_t_loc=[1.0, -2.0], beta_t_scale=[0.5, 3.0])
    draws = sample(model.target(), Settings(4000, 1000, 4, 0.8, 3))
    flat = draws.position[:, ::4].reshape(-1, 2) * model.design.unit
    for i, (loc, scale) in enumerate([(1.0, 0.5), (-2.0, 3.0)]):
        assert stats.kstest(flat[:, i], stats.norm(loc, scale).cdf).pvalue > 1e-3


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("p", [0, 2])
@pytest.mark.parametrize(("offset", "slope"), [(0.0, 1.0), (3.0, 2.0)])
def test_perfect_compliance(seed, p, offset, slope):
    """The treatment is linear in the assignment: the first stage has no error at all."""
    rng = np.random.default_rng(seed)
    z, x = rng.integers(0, 2, 1000).astype(float), rng.normal(size=(1000, p))
    t = offset + slope * z + x[:, 0] if p else offset + slope * z
    data = replace(rows_of(t + rng.normal(size=1000), t, z), x=x)
    data = replace(data, columns=make_rows(1, 1, p, n=2).columns)
    values = likelihood_of(data).posterior(np.full((50, 1), 0.5), rng).values
    assert all(np.isfinite(value).all() for value in values.values())
    assert np.allclose(values["beta_z"], slope, rtol=1e-5)


def test_saturated_first_stage():
    """As many coefficients as rows: nothing is left of the first stage's errors."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        data = make_rows(1, 4, 0, n=5, seed=seed)
        values = likelihood_of(data).posterior(rng.normal(size=(50, 1)), rng).values
        assert all(np.isfinite(value).all() for value in values.values())
        fitted = (data.z - data.z.mean(axis=0)) @ values["beta_z"]
        assert np.allclose(fitted, data.t - data.t.mean(), atol=5e-3 * data.t.std())


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
    std, none = standardise(Moments.empty(data.columns)), FourthMoments.empty(data.columns)
    model = build_likelihood(est, std, none)
    draws = sample(est._target(model), Settings(4000, 1000, 4, 0.95, 3))
    values = est._draw_rest(model, draws, np.random.default_rng(1)).values
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


def same_draws(a, b):
    """Whether two fits have the same draws of everything."""
    one, two = a.idata_.posterior, b.idata_.posterior
    return all(np.array_equal(one[name], two[name]) for name in one.data_vars)


@quiet
@pytest.mark.parametrize("p", [0, 2])
def test_permuted_chunked_and_weighted_rows_have_identical_draws(p):
    """Rounding makes sums canonical; see test_moments for how often an edge is met."""
    quick = {"draws": 50, "tune": 100, "chains": 1, "exclusion_scale": 0.1}
    data = make_rows(1, 2, p, weighted=True)
    weight = data.sample_weight.astype(int)
    whole = fit(data, **quick)
    order = np.random.default_rng(2).permutation(data.n_rows)
    at = {name: getattr(data, name) for name in ("x", "z", "t", "y", "sample_weight")}
    permuted = replace(data, **{name: value[order] for name, value in at.items()})
    assert same_draws(whole, fit(permuted, **quick))
    at.pop("sample_weight")
    repeated = {name: np.repeat(value, weight, axis=0) for name, value in at.items()}
    assert same_draws(whole, fit(replace(data, **repeated, sample_weight=None), **quick))
    moments = Moments.from_data(data)
    reference = Reference.from_moments(moments)
    halves = [
        replace(data, **{n: v[rows] for n, v in at.items()}, sample_weight=data.sample_weight[rows])
        for rows in (slice(0, 120), slice(120, None))
    ]
    fourth = sum(
        (FourthMoments.from_data(half, reference) for half in halves),
        FourthMoments.empty(data.columns),
    )
    est = BayesianIV(likelihood="gmm", random_state=0, **quick).fit_moments(moments, fourth)
    assert same_draws(whole, est)


def test_draws_of_all_coefficients_match_the_sandwich():
    """Strong instruments: covariances are those of two-step GMM with robust standard errors."""
    data = make_rows(1, 2, 2, n=4000, weighted=True)
    est = fit(data, draws=4000)
    gmm = TwoStageLS(method="gmm").fit(
        data.x, data.t, data.y, z=data.z, sample_weight=data.sample_weight
    )
    draws = est.idata_.posterior
    columns = [draws["intercept_y"].to_numpy().ravel(), draws["beta_t"].to_numpy().ravel()]
    columns += list(draws["gamma_y"].to_numpy().reshape(-1, 2).T)
    cov, expected = np.cov(columns), np.asarray(gmm.covariance_)
    sd = np.sqrt(np.diag(expected))
    assert np.allclose(np.sqrt(np.diag(cov)), sd, rtol=0.1)
    assert np.allclose(cov / np.outer(sd, sd), expected / np.outer(sd, sd), atol=0.1)
    assert np.allclose([est.intercept_, *est.coef_], [gmm.intercept_, *gmm.coef_], atol=0.2 * sd)


@quiet
def test_permuted_rows_and_renamed_clusters_have_identical_draws():
    quick = {"draws": 50, "tune": 100, "chains": 1, "exclusion_scale": 0.1}
    data = make_rows(1, 2, 1, weighted=True)
    rng = np.random.default_rng(4)
    clusters, order = rng.integers(0, 60, data.n_rows), rng.permutation(data.n_rows)
    whole = fit(data, clusters=clusters, **quick)
    at = {name: getattr(data, name)[order] for name in ("x", "z", "t", "y", "sample_weight")}
    names = np.array([f"unit {code}" for code in 7 * clusters[order]])
    assert same_draws(whole, fit(replace(data, **at), clusters=names, **quick))


def joint_normal(data, beta, scale, *, clusters, fit_intercept):
    """Mean and covariance of [outcome's h, first stage's (h, z) by treatment, direct] given beta.

    The scores of the rows have the covariance C / n; s_ze + G delta = g(beta) is observed.
    """
    n_rows, k, q = data.n_rows, data.t.shape[1], data.z.shape[1]
    w = np.ones(n_rows) if data.sample_weight is None else data.sample_weight
    n, one = w.sum(), np.ones((n_rows, int(fit_intercept)))
    h = np.column_stack([one, data.x])

    def regress(x, y):
        return np.linalg.solve((x * w[:, None]).T @ x, (x * w[:, None]).T @ y)

    y, t, z = (part - h @ regress(h, part) for part in (data.y, data.t, data.z))
    both = np.column_stack([h, data.z])
    first = regress(both, data.t)
    e, v = y - t @ beta, data.t - both @ first
    parts = [h * e[:, None], *(np.column_stack([h, z]) * v[:, [j]] for j in range(k))]
    scores = np.column_stack([*parts, z * e[:, None]])
    if clusters is None:
        variance = (scores * w[:, None]).T @ scores / n**2
    else:
        sums = np.array([np.bincount(clusters, w * column) for column in scores.T]).T
        variance = sums.T @ sums / n**2
    gram_h, gram_z = ((m * w[:, None]).T @ m / n for m in (h, z))
    rest = scores.shape[1] - q
    prior = np.zeros((rest + q, rest + q))
    prior[:rest, :rest], prior[rest:, rest:] = variance[:rest, :rest], np.diag(scale**2)
    with_g = np.vstack([variance[:rest, rest:], np.diag(scale**2) @ gram_z])
    var_g = variance[rest:, rest:] + gram_z @ np.diag(scale**2) @ gram_z
    gain = with_g @ np.linalg.inv(var_g)
    mean, cov = gain @ (z * w[:, None]).T @ e / n, prior - gain @ with_g.T
    # Least squares less what the scores say they are off.
    size = h.shape[1]
    constant = [regress(h, data.y - data.t @ beta), *first.T, np.zeros(q)]
    linear = np.zeros((size + k * (size + q) + q, rest + q))
    linear[:size, :size] = -np.linalg.inv(gram_h)
    linear[:size, rest:] = -regress(h, data.z)
    for j in range(k):
        at = size + j * (size + q)
        on_h, on_z = slice(at, at + size), slice(at + size, at + size + q)
        linear[on_h, on_h] = -np.linalg.inv(gram_h)
        linear[on_h, on_z] = regress(h, data.z) @ np.linalg.inv(gram_z)
        linear[on_z, on_z] = -np.linalg.inv(gram_z)
    linear[-q:, rest:] = np.eye(q)
    return np.concatenate(constant) + linear @ mean, linear @ cov @ linear.T


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("direct", [0.0, 0.2])
@pytest.mark.parametrize("clustered", [False, True])
def test_exact_draws_are_the_joint_normal_of_the_rows(clustered, direct, fit_intercept):
    data = make_rows(2, 3, 2, weighted=True)
    clusters = np.random.default_rng(2).integers(0, 120, 300) if clustered else None
    options = {"clusters": clusters, "fit_intercept": fit_intercept}
    model = likelihood_of(data, exclusion_scale=direct, **options)
    beta, n_draws = np.array([1.1, 0.8]), 100_000
    position = np.tile(beta / model.design.unit, (n_draws, 1))
    values = model.posterior(position, np.random.default_rng(0)).values
    one = ["intercept_y"] if fit_intercept else []
    columns = [*(values[name][:, None] for name in one), values["gamma_y"]]
    for j in range(2):
        columns += [values["intercept_t"][:, [j]]] if fit_intercept else []
        columns += [values["gamma_t"][:, :, j], values["beta_z"][:, :, j]]
    columns.append(values.get("direct", np.zeros((n_draws, 3))))
    drawn = np.column_stack(columns)
    mean, cov = joint_normal(data, beta, np.full(3, direct), **options)
    if not direct:
        drawn, mean, cov = drawn[:, :-3], mean[:-3], cov[:-3, :-3]
    sd = np.sqrt(np.diag(cov))
    assert (np.abs(drawn.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(n_draws)).all()
    assert np.allclose(np.cov(drawn.T) / np.outer(sd, sd), cov / np.outer(sd, sd), atol=0.015)


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
def test_first_stage_draws_are_robust_and_clustered():
    """One instrument: least squares with HC0 or cluster-robust covariance."""
    data = make_rows(1, 1, 1, n=1000)
    rng = np.random.default_rng(5)
    clusters = rng.integers(0, 100, 1000)
    t = data.t + rng.normal(size=100)[clusters, None] * 2.0
    data = replace(data, t=t, y=t[:, 0] + 3.0 * rng.normal(size=1000))
    regressors = np.column_stack([data.x, data.z])
    for groups in (None, clusters):
        est = fit(data, clusters=groups, draws=4000)
        ols = TwoStageLS().fit(regressors, t[:, 0], clusters=groups)
        draws = est.idata_.posterior
        first = np.column_stack(
            [
                draws["intercept_t"].to_numpy().reshape(-1, 1),
                draws["gamma_t"].to_numpy().reshape(-1, 1),
                draws["beta_z"].to_numpy().reshape(-1, 1),
            ]
        )
        sd = np.sqrt(np.diag(ols.covariance_))
        assert np.allclose(first.std(axis=0), sd, rtol=0.06)
        off = first.mean(axis=0) - [ols.intercept_, *ols.coef_]
        assert (np.abs(off) < 0.25 * sd).all()


def test_reduced_form_is_that_of_the_rows():
    """One instrument: beta_z beta_t is the regression of y on z, whatever the effect's draw."""
    data = make_rows(1, 1, 1, n=2000)
    est = fit(data)
    draws = est.idata_.posterior
    through = (draws["beta_z"].to_numpy()[..., 0, 0] * draws["beta_t"].to_numpy()[..., 0]).ravel()
    ols = np.linalg.lstsq(np.column_stack([np.ones(2000), data.x, data.z]), data.y)[0][2]
    assert abs(through.mean() - ols) < 0.1 * through.std() + 0.01 * abs(ols)
    assert est.score(data.x, data.t, data.y, z=data.z) > 0.3


@pytest.mark.parametrize(("p", "clustered", "passes"), [(0, False, 1), (1, False, 2), (0, True, 2)])
@quiet
def test_passes_over_the_rows(p, clustered, passes, monkeypatch):
    """Once over the rows, twice where the reference needs it; afterwards only sums are seen."""
    seen = []
    for target in (
        "skbayesiv._data.moments.Moments.from_data",
        "skbayesiv._data.fourth_moments.FourthMoments.from_data",
    ):
        owner, name = target.rsplit(".", 1)
        method = getattr(pytest.importorskip(owner.rsplit(".", 1)[0]), owner.rsplit(".", 1)[1])
        original = getattr(method, name)

        def counted(*args, original=original, **options):
            seen.append(args[0].n_rows)
            return original(*args, **options)

        monkeypatch.setattr(method, name, counted)
    data = make_rows(1, 1, p, n=500)
    clusters = np.arange(500) // 5 if clustered else None
    quick = {"draws": 50, "tune": 100, "chains": 1}
    fit(data, clusters=clusters, **quick)
    assert seen == [500] * passes
    if passes == 1:
        seen.clear()
        est = BayesianIV(likelihood="gmm", random_state=0, **quick)
        est.partial_fit(None, data.t, data.y, z=data.z)
        assert seen == [500]


def test_the_program_does_not_depend_on_the_number_of_rows():
    few, many = (likelihood_of(make_rows(2, 3, 1, n=n)).target() for n in (100, 10_000))
    assert few.shape == many.shape
    assert [np.shape(a) for a in few.arrays] == [np.shape(a) for a in many.arrays]


def test_the_same_reports(push, tmp_path):
    import arviz as az

    y, t, z = (column[:500] for column in push)
    est = fit(rows_of(y, t, z), exclusion_scale=0.5)
    tree = est.idata_
    names = {"beta_t", "direct", "beta_z", "intercept_y", "intercept_t", "cov"}
    assert names == set(tree.posterior.data_vars)
    assert {"beta_t", "direct"} == set(tree.log_prior.data_vars)
    beta, direct = (tree.posterior[name].to_numpy().ravel()[:5] for name in ("beta_t", "direct"))
    y_, t_, z_, _ = partialled(rows_of(y, t, z))
    expected = []
    for b, d in zip(beta, direct, strict=True):
        scores = z_[:, 0] * (y_ - t_[:, 0] * b)
        g = scores.sum() - (z_.T @ z_)[0, 0] * d
        expected.append(-0.5 * g**2 / (scores @ scores))
    total = tree.log_likelihood["criterion"].to_numpy().ravel()[:5]
    assert np.allclose(total, expected, rtol=1e-6)
    sums = tree.constant_data
    assert np.array_equal(sums["fourth_cross"], est.fourth_moments_.cross)
    assert sums["fourth_total"].dims == ("left", "right")
    assert list(sums["right"].to_numpy()) == ["1", "z", "t", "y"]
    tree.to_netcdf(tmp_path / "tree.nc")
    assert "beta_t[t]" in est.summary().index
    assert list(est.prior_summary().index) == ["beta_t[t]", "direct[z]"]
    assert np.isfinite(np.asarray(az.psense_summary(tree, var_names=["beta_t"])["prior"])).all()
    mean, std = est.predict(None, t=[0.0, 1.0], return_std=True)
    assert np.isclose(mean[1] - mean[0], est.effect_)
    assert (std > 0).all()
    again = pickle.loads(pickle.dumps(est))
    assert same_draws(est, again)
    rows = {"t": t, "y": y, "z": z}
    for method, arguments in (
        ("log_likelihood", {"X": None, **rows}),
        ("log_predictive_density", {"X": None, **rows}),
        ("sample_posterior_predictive", {"X": None, "z": z}),
        ("sample_prior_predictive of rows", {"z": z}),
        ("predict_interval", {"X": None, "t": t}),
    ):
        with pytest.raises(ValueError, match=f"{method} is not defined"):
            getattr(est, method.split()[0])(**arguments)


@quiet
def test_what_has_no_parameter_is_refused(push):
    import matplotlib

    matplotlib.use("Agg")
    from skbayesiv.plotting import CorrelationDisplay, ErrorDensityDisplay, PriorPosteriorDisplay

    y, t, z = (column[:500] for column in push)
    est = fit(rows_of(y, t, z), exclusion_scale=0.5, draws=100, tune=100)
    for display in (CorrelationDisplay, ErrorDensityDisplay):
        with pytest.raises(ValueError, match='is not defined with likelihood="gmm"'):
            display.from_estimator(est)
    assert est.diagnose().correlation is None
    panels = PriorPosteriorDisplay.from_estimator(est, ["beta_t", "direct"]).panels
    assert [panel.name for panel in panels] == ["beta_t[t]", "direct[z]"]
    assert [panel.name for panel in PriorPosteriorDisplay.from_estimator(est).panels] == [
        "beta_t[t]"
    ]
    with pytest.raises(ValueError, match="var_names must be variables with priors"):
        PriorPosteriorDisplay.from_estimator(est, ["sigma"])
    prior = est.sample_prior_predictive(n_draws=4000, random_state=0)["prior"]
    assert set(prior.data_vars) == {"beta_t", "direct"}
    law = stats.norm(0.0, est.prior_summary().loc["beta_t[t]", "scale"])
    assert stats.kstest(prior["beta_t"].to_numpy().ravel(), law.cdf).pvalue > 1e-3


@quiet
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
def test_prior_draws_with_a_history():
    data = make_rows(1, 2, 1)
    est = fit(data, est=HierarchicalBayesianIV, draws=50, tune=50, **HISTORY)
    prior = est.sample_prior_predictive(n_draws=4000, random_state=0)["prior"]
    assert {"beta_t", "beta_t_bar", "sigma_t_bar"} <= set(prior.data_vars)
    predicted = est.meta_analysis().treatments[0].predictive
    draws = prior["beta_t"].to_numpy().ravel()
    assert abs(np.median(draws) - predicted.quantile(0.5)) < 0.1


@quiet
def test_parameters_that_are_not_used_are_named(push):
    y, t, z = (column[:300] for column in push)
    quick = {"likelihood": "gmm", "draws": 50, "tune": 50, "chains": 1, "random_state": 0}
    est = BayesianIV(lkj_eta=2.0, gamma_scale=[1.0], beta_t_scale=3.0, **quick)
    with pytest.warns(UserWarning, match="does not use gamma_scale, lkj_eta: ") as found:
        est.fit(None, t, y, z=z)
    assert len([w for w in found if "does not use" in str(w.message)]) == 1
    assert found[0].filename == __file__
    exclusion_sensitivity(est, [0.0, 0.5])  # refits, and does not warn again


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
def test_to_pymc_needs_no_rows_and_takes_clusters():
    data = make_rows(1, 2, 1)
    clusters = np.arange(data.n_rows) // 3
    rows = {"X": data.x, "t": data.t, "y": data.y, "z": data.z}
    est = fit(data, clusters=clusters, draws=500, tune=500)
    moments = Moments.from_data(data)
    fourth = FourthMoments.from_data(data, None, clusters)
    sums = BayesianIV(likelihood="gmm", random_state=0, draws=500, tune=500)
    sums.fit_moments(moments, fourth)
    models = [est.to_pymc(), est.to_pymc(**rows, clusters=clusters), sums.to_pymc()]
    one, *others = [model.compile_logp()({"beta_t": np.array([2.0])}) for model in models]
    assert np.allclose(others, one)
    prior = np.sum(stats.norm.logpdf(2.0, 0.0, est._model.design.priors.beta_t.scale))
    assert np.isclose(one, prior - 0.5 * criterion(data, [2.0], clusters=clusters), rtol=1e-6)
    independent = est.to_pymc(**rows).compile_logp()({"beta_t": np.array([2.0])})
    assert abs(independent - one) > 1e-3
    with pytest.raises(ValueError, match="clusters must be passed with the rows"):
        est.to_pymc(clusters=clusters)


@quiet
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
@pytest.mark.parametrize("robust", [0.0, 0.3])
def test_pymc_states_the_same_hierarchy(robust):
    """Moving beta_t alone moves -Q/2 and its prior given the hierarchy, written out here."""
    data = make_rows(1, 2, 1)
    est = fit(
        data,
        est=HierarchicalBayesianIV,
        robust_weight=robust,
        beta_t_bar_scale=2.0,
        sigma_t_bar_scale=1.0,
        beta_t_scale=4.0,
        draws=50,
        tune=50,
        **HISTORY,
    )
    model = est.to_pymc()
    density, bar, sigma = model.compile_logp(), 0.5, 1.5
    point = model.initial_point() | {
        "beta_t_bar": np.array([bar]),
        "sigma_t_bar_log__": np.log([sigma]),
    }

    def stated(beta):
        moved = {"beta_t": beta} if robust else {"w": (beta - bar) / sigma}
        return density(point | {name: np.array([value]) for name, value in moved.items()})

    def written(beta):
        near, far = stats.norm.pdf(beta, bar, sigma), stats.norm.pdf(beta, 0.0, 4.0)
        return np.log((1 - robust) * near + robust * far) - 0.5 * criterion(data, [beta])

    assert np.isclose(stated(2.0) - stated(0.5), written(2.0) - written(0.5), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
@pytest.mark.parametrize("direct", [0.0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_backend_pymc_samples_the_same_posterior(direct):
    data = make_rows(2, 3, 1)
    own, other = (
        fit(data, exclusion_scale=direct, backend=backend, draws=2000)
        for backend in ("numpyro", "pymc")
    )
    for name in ("beta_t", "intercept_y", "beta_z", *(["direct"] if direct else [])):
        a, b = (est.idata_.posterior[name].to_numpy().reshape(8000, -1) for est in (own, other))
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 0.15 * a.std(axis=0)).all()
        assert np.allclose(a.std(axis=0), b.std(axis=0), rtol=0.1)


@quiet
@pytest.mark.parametrize("p", [0, 1])
@pytest.mark.parametrize("clustered", [False, True])
def test_lazy_frames_have_the_same_draws(p, clustered):
    import polars as pl

    quick = {"likelihood": "gmm", "draws": 50, "tune": 100, "chains": 1, "random_state": 0}
    data = make_rows(1, 2, p, weighted=True)
    frame = pl.DataFrame(
        {name: data.x[:, i] for i, name in enumerate(data.columns.covariates)}
        | {"z0": data.z[:, 0], "z1": data.z[:, 1], "t0": data.t[:, 0], "y": data.y}
        | {"weight": data.sample_weight}
    )
    names = {"sample_weight": "weight"}
    if clustered:
        frame = frame.with_columns(unit=np.arange(data.n_rows) // 3)
        names["clusters"] = "unit"
    est = BayesianIV(treatment="t0", instruments=["z0", "z1"], **quick)
    lazy, eager = (clone(est).fit(rows, "y", **names) for rows in (frame.lazy(), frame.to_pandas()))
    assert same_draws(lazy, eager)
    assert lazy.fourth_moments_.n_clusters == eager.fourth_moments_.n_clusters


@quiet
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
def test_clusters_are_kept_with_the_rows_only():
    rng = np.random.default_rng(0)
    z = rng.normal(size=20_001)
    t = z + rng.normal(size=20_001)
    y = t + rng.normal(size=20_001)
    quick = {"likelihood": "gmm", "draws": 50, "tune": 50, "chains": 1, "random_state": 0}
    est = BayesianIV(**quick).fit(None, t, y, z=z, clusters=np.arange(20_001) // 2)
    assert est._clusters is None
    density = est.to_pymc().compile_logp()({"beta_t": np.array([1.0])})
    assert np.isfinite(density)


@quiet
def test_clusters_that_the_fit_did_not_have_are_warned_of():
    rng = np.random.default_rng(5)
    groups = np.arange(2000) % 40
    z = (groups % 2).astype(float)
    t = z * (rng.random(2000) < 0.8)
    y = t + rng.normal(size=40)[groups] + rng.normal(size=2000)
    rows = {"X": None, "t": t, "y": y, "z": z}
    est = BayesianIV(likelihood="gmm", random_state=0, draws=200, tune=200).fit(**rows)
    assert est.diagnose().warnings == ()
    for fitted in (est, BayesianIV(random_state=0, draws=200, tune=200).fit(**rows)):
        with pytest.warns(HeteroskedasticityWarning, match=r"and fit\(\.\.\., clusters=\.\.\.\)"):
            fitted.diagnose(**rows, clusters=groups)
    assert est.fit(**rows, clusters=groups).diagnose().warnings == ()


def test_two_stage_estimate_with_its_robust_error(push):
    """What conflicts with a history are judged by is TwoStageLS's, robust or clustered."""
    data = make_rows(1, 3, 1, n=500)
    clusters = np.random.default_rng(0).integers(0, 60, 500)
    for groups in (None, clusters):
        est = fit(data, clusters=groups, draws=500, tune=500)
        other = TwoStageLS().fit(data.x, data.t, data.y, z=data.z, clusters=groups)
        effect, error = current_estimate(est)
        assert np.isclose(effect[0], other.effect_, rtol=1e-8)
        assert np.isclose(error[0], other._effect_and_error()[1][0], rtol=0.02)


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
def test_history_of_quasi_posteriors(push):
    y, t, z = (column[:2000] for column in push)
    first = fit(rows_of(y, t, z))
    second = HierarchicalBayesianIV.from_estimators(
        [first, first], likelihood="gmm", random_state=0
    )
    second.fit(None, t, y, z=z)
    assert 0.0 < second.borrowing().shrinkage < 1.0
    assert np.shape(second.next_prior().effects) == (3, 1)


@quiet
def test_grid_search_chooses_by_score():
    import pandas as pd
    from sklearn.model_selection import GridSearchCV

    data = make_rows(1, 1, 1, n=600, seed=1)
    frame = pd.DataFrame({"x": data.x[:, 0], "d": data.t[:, 0], "z": data.z[:, 0]})
    est = BayesianIV(
        likelihood="gmm",
        treatment="d",
        instruments="z",
        draws=50,
        tune=100,
        chains=2,
        random_state=0,
    )
    search = GridSearchCV(est, {"likelihood": ["normal", "gmm"], "beta_t_scale": [0.01, 5.0]}, cv=3)
    search.fit(frame, data.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["beta_t_scale"] == 5.0


def test_errors_say_what_to_do():
    data = make_rows(1, 2, 0, n=30)
    gmm = BayesianIV(likelihood="gmm", random_state=0)
    with pytest.raises(ValueError, match="fourth_moments must be given"):
        gmm.fit_moments(Moments.from_data(data))
    with pytest.raises(ValueError, match='use likelihood="gmm" for clustered errors'):
        BayesianIV().fit(None, data.t, data.y, z=data.z, clusters=np.arange(30))
    with pytest.raises(ValueError, match="more clusters than instruments"):
        gmm.fit(None, data.t, data.y, z=data.z, clusters=np.arange(30) % 2)
    with (
        pytest.raises(ValueError, match="must have t and z"),
        pytest.warns(NoTreatmentWarning),
    ):
        gmm.fit(data.z, data.y)
    with pytest.warns(ConvergenceWarning, match="raise draws"):
        gmm.set_params(draws=20, tune=50).fit(None, data.t, data.y, z=data.z)

"""likelihood="gmm" against row-by-row criteria, quadrature, PyMC and classical estimates."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from criterion import criterion, make_rows, moments_on_grid, partialled
from scipy import integrate, stats

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS, _moment_conditions
from skbayesiv._fourth_moments import FourthMoments, Reference
from skbayesiv._likelihood import build_likelihood
from skbayesiv._moment_conditions import log_criterion, log_density, log_likelihood_and_prior
from skbayesiv._moments import Moments, standardise
from skbayesiv._sampling import Settings, sample
from skbayesiv.diagnostics import anderson_rubin_confidence_set
from skbayesiv.exceptions import ConvergenceWarning, NoTreatmentWarning

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
        monkeypatch.setattr(_moment_conditions, "UNROLL_UP_TO", 0)
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
        **HISTORY,
    )
    b, s = np.array(HISTORY["effects"]), np.array(HISTORY["std_errors"])
    beta = np.linspace(-6.0, 8.0, 281)
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


def test_many_rows_cost_no_more_than_the_pass(push):
    y, t, z = push
    many = tuple(np.tile(column, 100) for column in push)
    est = BayesianIV(likelihood="gmm", random_state=0)
    normal = BayesianIV(random_state=0)
    for fitted in (est, normal):
        fitted.fit(None, t, y, z=z)

    def seconds(est, y, t, z):
        start = time.perf_counter()
        est.fit(None, t, y, z=z)
        return time.perf_counter() - start

    few = min(seconds(est, y, t, z) for _ in range(3))
    assert min(seconds(est, *many) for _ in range(3)) < 5 * few + 1.0
    assert few < 1.5 * min(seconds(normal, y, t, z) for _ in range(3)) + 0.1


def test_the_same_reports(push, tmp_path):
    import arviz as az

    y, t, z = (column[:500] for column in push)
    est = fit(rows_of(y, t, z), exclusion_scale=0.5)
    tree = est.idata_
    assert {"beta_t", "direct", "intercept_y", "sigma", "corr"} <= set(tree.posterior.data_vars)
    assert {"beta_t", "direct"} == set(tree.log_prior.data_vars)
    beta, direct = (tree.posterior[name].to_numpy().ravel()[:5] for name in ("beta_t", "direct"))
    y_, t_, z_, _ = partialled(rows_of(y, t, z))
    expected = []
    for b, d in zip(beta, direct, strict=True):
        scores = z_[:, 0] * (y_ - t_[:, 0] * b)
        g = scores.sum() - (z_.T @ z_)[0, 0] * d
        expected.append(-0.5 * g**2 / (scores @ scores))
    total = tree.log_likelihood["total"].to_numpy().ravel()[:5]
    assert np.allclose(total, expected, rtol=1e-6)
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
        ("sample_prior_predictive", {}),
        ("predict_interval", {"X": None, "t": t}),
    ):
        with pytest.raises(ValueError, match=f"{method} is not defined"):
            getattr(est, method)(**arguments)


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

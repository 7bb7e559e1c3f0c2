"""The joint model of segments: its density, its draws, and what it tends to."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytensor.tensor as pt
import pytest
from arviz_stats.base.array import array_stats
from scipy import integrate as quadrature
from scipy import stats

from skbayesiv import BayesianIV, HierarchicalBayesianIV
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv._models.build import sums_by_segment
from skbayesiv._models.history.meta_analysis import integrate_summaries
from skbayesiv._models.moment_conditions.density import log_criterion
from skbayesiv._models.normal.pymc_sampling import _covariance_values
from skbayesiv._models.parts.intercepts import at_means
from skbayesiv._models.sampling import sample_model
from skbayesiv._models.segmented import build_segmented
from skbayesiv._models.segments.density import (
    bucket,
    coordinates,
    effect_priors,
    hyper,
    log_density,
)
from skbayesiv._models.segments.model import SegmentedModel
from skbayesiv._models.segments.population import log_population, population_arrays
from skbayesiv._sampling.target import Settings

HISTORY = {"effects": [1.0, 1.4, 0.8], "std_errors": [0.3, 0.2, 0.4]}
COVARIATES = pd.DataFrame({"income": [0.5, -1.0, 2.0]}, index=["a", "b", "c"])
PARAMETERS = {
    "normal": {},
    "half-normal": {"sigma_t_bar_prior": "half-normal"},
    "fixed, regression": {"sigma_prior": "regression", "beta_z_scale": "auto"},
    "history": HISTORY,
    "segment covariates": {"segment_covariates": COVARIATES, "sigma_t_bar_prior": "half-normal"},
    "two treatments": {},
    "many instruments": {},
    "direct effects": {"exclusion_scale": 0.2},
    "gmm": {"likelihood": "gmm"},
    "gmm, history, segment covariates": HISTORY
    | {"likelihood": "gmm", "segment_covariates": COVARIATES},
    "gmm, two treatments": {"likelihood": "gmm"},
}
QUICK = Settings(draws=20, tune=200, chains=2, target_accept=0.8, seed=3)
every = pytest.mark.parametrize("name", PARAMETERS)


def raw(name, n=240):
    """X, y, t, z and labels of three segments, rounded so that sums are exact."""
    rng = np.random.default_rng(5)
    k, q = 1 + ("two" in name), 9 if "many" in name else 2
    z = rng.integers(0, 3, size=(n, q)).astype(float)
    e = rng.normal(size=n)
    x = rng.integers(0, 4, size=(n, 1)).astype(float)
    t = z @ np.resize([1.0, 0.5, -0.4], (q, k)) + 0.3 * x + e[:, None]
    t = np.round(t + rng.normal(size=(n, k)), 2)
    labels = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    effect = np.select([labels == "a", labels == "b"], [0.8, 1.2], 1.6)
    y = np.round(2.0 + effect * t.sum(axis=1) - 0.5 * x[:, 0] + e + rng.normal(size=n), 2)
    return x, y, t, z, labels


def read(x, y, t, z, labels, weight=None):
    return read_rows(x, y, t, z, weight, None, labels, roles=Roles())


def model_of(name, *rows, weight=None):
    est = HierarchicalBayesianIV(**PARAMETERS[name])
    return SegmentedModel(build_segmented(est, sums_by_segment(est, read(*rows, weight=weight))))


@cache
def fitted(name):
    return model_of(name, *raw(name))


@cache
def quick(name):
    return sample_model(fitted(name), "numpyro", QUICK)


def same(a, b):
    (draws, posterior), (other_draws, other) = a, b
    assert np.array_equal(draws.position, other_draws.position)
    for key, value in posterior.values.items():
        assert np.array_equal(value, other.values[key]), key


def test_programs_are_shared_between_numbers_of_segments():
    sizes = [bucket(n) for n in range(1, 3000)]
    assert all(size >= n for n, size in enumerate(sizes, 1))
    assert all(size <= max(4, 1.25 * n) for n, size in enumerate(sizes, 1))
    assert len(set(sizes)) <= 40


@every
def test_jax_and_numpy_have_one_density(name):
    target = fitted(name).target()
    v = np.random.default_rng(0).normal(size=(len(target.start), 5))
    at_once = log_density(target.shape, v, target.arrays, np)
    with jax.enable_x64(True):
        density = jax.jit(lambda u: log_density(target.shape, u, target.arrays, jnp))
        each = [float(density(u)) for u in v.T]
        slope = np.asarray(jax.grad(density)(v[:, 0]))
    assert np.allclose(at_once, each, rtol=1e-10)
    step = 1e-5 * np.eye(len(v))
    pairs = np.concatenate([v[:, :1] + step, v[:, :1] - step], axis=1)
    ends = log_density(target.shape, pairs, target.arrays, np)
    differences = (ends[: len(v)] - ends[len(v) :]) / 2e-5
    assert np.allclose(slope, differences, rtol=1e-4, atol=1e-3)


@every
def test_jacobians_are_those_of_the_coordinates(name):
    """Log determinants of the map from coordinates, by differences, up to a constant."""
    shape, arrays = fitted(name).design.problem
    v = np.random.default_rng(1).normal(size=(shape.dim, 3))
    at = [*range(3 * shape.segment.dim), *range(shape.inner, shape.dim)]  # three segments of more

    def image(v):
        given, outer = hyper(shape, v, arrays, np)
        prior = effect_priors(given, arrays.population.features, np)
        u, inner, _ = coordinates(shape, v, arrays, *prior, np)
        slopes = [value for row in given.slopes for value in row]
        values = [*np.stack(u, axis=1)[:3].reshape(-1, v.shape[1])]
        inner = np.broadcast_to(inner, (len(arrays.known), v.shape[1]))
        return np.array([*values, *given.bar, *given.log_sigma, *slopes]), outer + inner[:3].sum(0)

    step, found = 1e-5 * np.eye(shape.dim)[:, at], []
    for column in v.T:
        ends = image(column[:, None] + step)[0] - image(column[:, None] - step)[0]
        found.append(np.linalg.slogdet(ends / 2e-5)[1])
    assert np.ptp(image(v)[1] - found) < 1e-5


@every
def test_its_density_is_pymcs(name):
    """log prior + log likelihood of a draw, by this package and by PyMC, up to one constant."""
    if name == "many instruments":
        pytest.skip("the same with more coefficients, and slow to state")
    model, (_, posterior) = fitted(name), quick(name)
    data, at = read(*raw(name)), range(0, 40, 4)
    stated = model.to_pymc(data)
    parts = [*posterior.log_prior.values(), *posterior.log_density.values()]
    own = np.sum(parts, axis=0)[at]
    values = flat_values(model, posterior)
    density = stated.compile_logp(jacobian=False, sum=False, mode="FAST_COMPILE")
    terms = [density(point(stated, values, i)) for i in at]
    theirs = np.array([sum(float(term.sum()) for term in each) for each in terms])
    theirs -= jacobian(model, posterior, values)[at]
    assert np.ptp(own - theirs) < 1e-8 * np.abs(own).max()


def flat_values(model, posterior):
    """Draws by PyMC's names: those of a segment with its name in front."""
    values, means = posterior.values, [own.moments() for own in read_parts(model)]
    sigma = values["sigma_t_bar"][:, None]
    loc = model.design.population.mean(values)
    out = dict(values) | {"w": (values["beta_t"] - loc) / sigma}
    if "beta_j" in values:
        out["w_j"] = (values["beta_j"] - values["beta_t_bar"][:, None]) / sigma
    for g, segment in enumerate(model.design.names):
        own = {name: values[name][:, g] for name in posterior.by_segment}
        if "sigma" in own:
            own |= _covariance_values(own["cov"])
            of_y, of_t = at_means(own, means[g].mean, means[g].columns)
            own["intercept_y_centered"] = own["intercept_y"] + of_y
            own["intercept_t_centered"] = own["intercept_t"] + of_t
        out |= {f"{segment}::{name}": value for name, value in own.items()}
    return out


def read_parts(model):
    (name,) = [key for key in PARAMETERS if fitted(key) is model]
    return read(*raw(name)).by_segment.values()


def jacobian(model, posterior, values):
    """From standard normal residuals to effects, and from Cholesky factors to covariances."""
    log_sigma = np.log(posterior.values["sigma_t_bar"]).sum(axis=1)
    found = (len(model.design.names) + ("beta_j" in posterior.values) * 3) * log_sigma
    chol = [name for name in values if name.endswith("::chol_cov")]
    if chol and "sigma" in posterior.values and model.design.first.design.priors.alpha is None:
        factor = np.log(np.linalg.cholesky(posterior.values["cov"]).diagonal(axis1=2, axis2=3))
        size = factor.shape[-1]
        found = found - size * np.log(posterior.values["sigma"]).sum(axis=(1, 2))
        found = found + (factor @ np.arange(size, 0, -1)).sum(axis=1)
    return found


def point(stated, values, i):
    out = {}
    for variable in stated.free_RVs:
        value, transform = values[variable.name][i], stated.rvs_to_transforms[variable]
        if transform is not None:
            made = transform.forward(pt.as_tensor(value), *variable.owner.inputs)
            value = made.eval(mode="FAST_COMPILE")
        out[stated.rvs_to_values[variable].name] = value
    return out


@pytest.mark.parametrize("kind", ["half-cauchy", "half-normal", "half-t"])
@pytest.mark.parametrize("history", [{}, HISTORY], ids=["alone", "history"])
def test_the_population_has_a_normalised_prior_times_the_evidence_of_the_history(kind, history):
    est = HierarchicalBayesianIV(
        **history, sigma_t_bar_prior=kind, beta_t_bar_scale=1.3, sigma_t_bar_scale=0.7
    )
    design = build_segmented(est, sums_by_segment(est, read(*raw("normal"))))
    arrays = population_arrays(design.population, 4)

    def density(bar, log_sigma):
        return np.exp(log_population(kind, [bar], [log_sigma], [], arrays, np))

    total, _ = quadrature.dblquad(density, -25, 12, -15, 15, epsabs=1e-10)
    expected = 1.0
    if history:
        expected = np.exp(integrate_summaries(design.population.history, 0).log_evidence)
    assert total == pytest.approx(expected, rel=1e-5)


@every
def test_rows_in_another_order_give_the_same_draws(name):
    rows = raw(name)
    order = np.random.default_rng(1).permutation(len(rows[1]))
    permuted = model_of(name, *(column[order] for column in rows))
    same(quick(name), sample_model(permuted, "numpyro", QUICK))


@pytest.mark.parametrize("name", ["normal", "gmm"])
def test_a_weight_of_two_is_a_row_given_twice(name):
    rows = raw(name, 90)
    weighted = model_of(name, *rows, weight=np.full(90, 2.0))
    repeated = model_of(name, *(np.concatenate([column, column]) for column in rows))
    same(sample_model(weighted, "numpyro", QUICK), sample_model(repeated, "numpyro", QUICK))


@every
def test_exact_draws_depend_on_the_coordinates_and_the_generator_alone(name):
    model, (draws, posterior) = fitted(name), quick(name)
    again = model.posterior(draws.flat, QUICK.generator())
    for key, value in posterior.values.items():
        assert np.array_equal(value, again.values[key]), key


def test_segments_are_independent_given_their_population():
    """Residuals of effects about their conditional means do not go together."""
    model = fitted("normal")
    position = np.tile(quick("normal")[0].flat[:1], (4000, 1))
    effects = model.posterior(position, np.random.default_rng(0)).values["beta_t"][:, :, 0]
    off = np.corrcoef(effects.T)[np.triu_indices(3, 1)]
    assert np.abs(off).max() < 4.0 / np.sqrt(4000)


def strong(n=400, g=4, effects=(0.6, 1.0, 1.4, 1.1)):
    """X, t, y, z and labels of segments that say much."""
    rng = np.random.default_rng(2)
    labels = np.repeat([f"s{i}" for i in range(g)], n)
    z, u = rng.integers(0, 2, n * g).astype(float), rng.normal(size=n * g)
    t = 1.5 * z + u + rng.normal(size=n * g)
    y = np.repeat(effects, n) * t + u + rng.normal(size=n * g)
    return None, t, y, z, labels


EXPLICIT = {
    "intercept_y_loc": 0.0,
    "intercept_y_scale": 5.0,
    "intercept_t_loc": 0.0,
    "intercept_t_scale": 5.0,
    "beta_z_scale": 3.0,
    "sigma_scale": 4.0,
    "check": False,
    "draws": 2000,
    "random_state": 0,
}


def summary(draws):
    """Mean and standard deviation of draws (chains, draws), with their Monte Carlo errors."""
    return [
        (of(draws), float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method=method)))
        for of, method in ((np.mean, "mean"), (np.std, "sd"))
    ]


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
@pytest.mark.parametrize("likelihood", ["normal", "gmm"])
def test_a_population_without_bounds_leaves_each_segment_its_own_answer(likelihood):
    x, t, y, z, labels = strong()
    spread = np.linspace(-1e5, 1e5, 60)
    wide = {"effects": spread, "std_errors": np.ones(60), "likelihood": likelihood}
    given = EXPLICIT if likelihood == "normal" else {k: EXPLICIT[k] for k in list(EXPLICIT)[-3:]}
    est = HierarchicalBayesianIV(**wide, **given).fit(x, t, y, z=z, segments=labels)
    for g, name in enumerate(est.segments_):
        at = labels == name
        alone = BayesianIV(likelihood=likelihood, beta_t_scale=1e5, **given)
        alone.set_params(backend="independence").fit(None, t[at], y[at], z=z[at])
        pooled = summary(est.idata_.posterior["beta_t"].to_numpy()[:, :, g, 0])
        own = summary(alone.idata_.posterior["beta_t"].to_numpy()[..., 0])
        for (value, error), (other, other_error) in zip(pooled, own, strict=True):
            assert abs(value - other) < 4.5 * np.hypot(error, other_error)


@pytest.mark.parametrize("likelihood", ["normal", "gmm"])
def test_a_population_of_one_effect_gives_the_one_effect_answer(likelihood):
    """Which is that of all likelihoods of the effect together.

    The criterion's is a function of the effect; the joint model's are close to normal here.
    """
    x, t, y, z, labels = strong(1500, effects=(1.0, 1.0, 1.0, 1.0))
    est = HierarchicalBayesianIV(
        sigma_t_bar_scale=1e-5,
        sigma_t_bar_prior="half-normal",
        beta_t_bar_scale=1e3,
        likelihood=likelihood,
        check=False,
        draws=2000,
        target_accept=0.95,
        random_state=0,
    ).fit(x, t, y, z=z, segments=labels)
    effects = est.idata_.posterior["beta_t"].to_numpy()[..., 0]
    assert np.ptp(effects, axis=-1).max() < 1e-3
    (mean, error), (spread, spread_error) = summary(effects.mean(axis=-1))
    if likelihood == "gmm":
        beta = np.linspace(0.7, 1.4, 4001)
        units = [float(own.effect_unit[0]) for own in est._design.models]
        log = sum(
            log_criterion(own.shape, [beta / unit], own.arrays, np)
            for own, unit in zip(est._design.models, units, strict=True)
        )
        weight = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
        exact = weight @ beta
        assert abs(mean - exact) < 4.5 * error
        sd = np.sqrt(weight @ (beta - exact) ** 2)
        assert abs(spread - sd) < 4.5 * spread_error
        return
    found = []
    for name in est.segments_:
        at = labels == name
        alone = BayesianIV(
            beta_t_scale=1e3,
            backend="independence",
            random_state=1,
            draws=5000,
        ).fit(None, t[at], y[at], z=z[at])
        found.append([alone.effect_, alone._effect_and_error()[1][0]])
    b, s = np.array(found).T
    sd = (s**-2.0).sum() ** -0.5
    assert abs(mean - (b / s**2).sum() * sd**2) < 4.5 * error + 0.05 * sd
    assert spread == pytest.approx(sd, rel=0.06)


def test_a_silent_segment_is_drawn_from_the_population():
    x, t, y, z, labels = strong(200)
    t = np.where(labels == "s1", 0.0, t)
    est = HierarchicalBayesianIV(random_state=0, check=False).fit(x, t, y, z=z, segments=labels)
    posterior = est.idata_.posterior
    beta, bar, sigma = (
        posterior[name].to_numpy().reshape(4000, -1)
        for name in ("beta_t", "beta_t_bar", "sigma_t_bar")
    )
    white = (beta[:, 1] - bar[:, 0]) / sigma[:, 0]
    assert stats.kstest(white, "norm").pvalue > 1e-3
    means = est.segment("s0")  # others are asked as ever
    assert means.effect_ == pytest.approx(beta[:, 0].mean())
    at = labels == "s1"
    predicted = est.predict(None, t[at], segments=labels[at])
    assert predicted.mean() == pytest.approx(y[at].mean())


def test_the_average_effect_is_weighted_by_rows_and_first_stage():
    est = HierarchicalBayesianIV(random_state=0, check=False)
    x, t, y, z, labels = strong(200)
    t = np.where(labels == "s2", 0.2 * t, t)
    est.fit(x, t, y, z=z, segments=labels)
    posterior = est.idata_.posterior
    beta, first = (posterior[n].to_numpy() for n in ("beta_t", "beta_z"))
    weight = np.abs(first[..., 0, 0])
    expected = (weight * beta[..., 0]).sum(-1) / weight.sum(-1)
    assert np.allclose(posterior["effect"].to_numpy()[..., 0], expected)
    assert est.effect_ == pytest.approx(expected.mean())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
@pytest.mark.parametrize("name", ["half-normal", "segment covariates"])
def test_a_model_of_rows_sampled_by_pymc_agrees(name):
    """Everything of it but what PyMC names otherwise, within the Monte Carlo errors of both.

    Under half-Cauchy priors the spread of three effects has no variance, nor Monte Carlo errors.
    """
    import pymc as pm

    rows, settings = raw(name), Settings(1500, 1000, 4, 0.9, 1)
    model = fitted(name)
    draws, posterior = sample_model(model, "numpyro", settings)
    stated = model.to_pymc(read(*rows))
    with stated:
        tree = pm.sample(
            1500, tune=1000, chains=4, cores=1, random_seed=1, target_accept=0.95, progressbar=False
        )
    shape = draws.position.shape[:2]
    names = ["beta_t", "beta_t_bar", "sigma_t_bar", *["delta"] * ("delta" in posterior.values)]
    compared = {key: posterior.values[key] for key in names}
    for g, segment in enumerate(model.design.names):
        for key in ("beta_z", "gamma_y", "gamma_t", "intercept_y", "intercept_t", "sigma"):
            compared[f"{segment}::{key}"] = posterior.values[key][:, g]
    for key, value in compared.items():
        own = value.reshape(*shape, -1)
        theirs = tree.posterior[key].to_numpy().reshape(*shape, -1)
        for i in range(own.shape[-1]):
            for (a, error), (b, other) in zip(
                summary(own[..., i]), summary(theirs[..., i]), strict=True
            ):
                assert abs(a - b) < 4.5 * np.hypot(error, other), (key, i)

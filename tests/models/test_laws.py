"""Laws that every model keeps: one table of models, run through one list of laws.

A model that is added later is a row of `PARAMETERS`.
"""

from __future__ import annotations

import pickle
from functools import cache

import numpy as np
import pytensor.tensor as pt
import pytest
from arviz_stats.base.array import array_stats
from metropolis import metropolis
from scipy import stats

from skbayesiv import BayesianIV, FourthMoments, HierarchicalBayesianIV, Moments
from skbayesiv._columns import Columns
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv._data.sums import Sums
from skbayesiv._models.build import read_batch, read_sums
from skbayesiv._models.history.likelihoods import EffectLikelihood
from skbayesiv._models.normal.pymc_sampling import _covariance_values
from skbayesiv._models.parts.names import DIMS
from skbayesiv._models.sampling import sample_model
from skbayesiv._results.convergence import not_covered
from skbayesiv._sampling import independence, nuts
from skbayesiv._sampling.target import Settings

HISTORY = {"effects": [1.0, 1.4, 0.8], "std_errors": [0.3, 0.2, 0.4]}
WEAK = EffectLikelihood(
    2, np.array([[6.0, 5.0], [5.0, 8.0]]), np.array([[1.2, 0.7], [0.7, 1.5]]), 15.0
)
CARRIED = HISTORY | {"likelihoods": {"0": WEAK}}
HISTORY_OF_TWO = {name: np.column_stack([value, value]) for name, value in HISTORY.items()}
REGRESSION, GMM = {"sigma_prior": "regression"}, {"likelihood": "gmm"}
FIXED = {"beta_z_scale": "auto", "lkj_eta": 1.0}
ROBUST = {"robust_weight": 0.3, "sigma_t_bar_prior": "half-t"}
PARAMETERS = {
    "normal": BayesianIV(),
    "fixed": BayesianIV(**FIXED),
    "many instruments": BayesianIV(),
    "two treatments": BayesianIV(),
    "two treatments, fixed": BayesianIV(**FIXED),
    "two treatments, many instruments": BayesianIV(beta_z_loc=0.2),
    "regression": BayesianIV(**REGRESSION),
    "gmm": BayesianIV(**GMM),
    "normal, history": HierarchicalBayesianIV(**HISTORY),
    "normal, robust history": HierarchicalBayesianIV(**HISTORY, **ROBUST),
    "fixed, robust history": HierarchicalBayesianIV(**HISTORY, **ROBUST, **FIXED),
    "two treatments, history": HierarchicalBayesianIV(**HISTORY_OF_TWO),
    "gmm, history": HierarchicalBayesianIV(**HISTORY, **GMM),
    "normal, carried history": HierarchicalBayesianIV(**CARRIED),
    "gmm, carried robust history": HierarchicalBayesianIV(**CARRIED, **ROBUST, **GMM),
}
# Priors of a correlation and scales that a few t distributions may not cover, which is then said.
FUNNELS = {
    "fixed",
    "normal",
    "many instruments",
    "two treatments",
    "two treatments, fixed",
    "two treatments, many instruments",
    "normal, history",
    "two treatments, history",
    "normal, carried history",
}
QUICK = Settings(draws=20, tune=200, chains=2, target_accept=0.8, seed=3)
LONG = Settings(draws=2000, tune=200, chains=2, target_accept=0.9, seed=2)


def every(*names):
    """Run a law for all models, or for those named."""
    return pytest.mark.parametrize("name", names or PARAMETERS)


def covariates(name):
    """Names of the covariates: the criterion takes batches of rows only without any."""
    return () if "gmm" in name else ("x0",)


def columns_of(name):
    """Numbers of treatments and instruments; many instruments are solved by LAPACK."""
    return 1 + ("two" in name), 9 if "many" in name else 2


def raw(name, n=80):
    """X, y, t, z of an experiment, rounded so that sums are exact."""
    rng = np.random.default_rng(5)
    k, q = columns_of(name)
    z = rng.integers(0, 3, size=(n, q)).astype(float)
    e = rng.normal(size=n)
    x = rng.integers(0, 4, size=(n, len(covariates(name)))).astype(float)
    first_stage = np.resize([1.0, 0.5, -0.4], (q, k))
    t = z @ first_stage + 0.3 * x.sum(axis=1, keepdims=True) + e[:, None]
    t = np.round(t + rng.normal(size=(n, k)), 2)
    y = np.round(2.0 + 1.2 * t.sum(axis=1) - 0.5 * x.sum(axis=1) + e + rng.normal(size=n), 2)
    return x, y, t if k > 1 else t[:, 0], z


def read(x, y, t, z, weight=None):
    return read_rows(x, y, t, z, weight, roles=Roles())


def model_of(name, x, y, t, z, weight=None):
    est = PARAMETERS[name]
    return est._build_model(read_sums(est, read(x, y, t, z, weight)))


@cache
def fitted(name):
    """Model of the experiment."""
    return model_of(name, *raw(name))


@cache
def quick(name, backend="numpyro"):
    """A short run of it."""
    return sample_model(fitted(name), backend, QUICK)


def same(a, b):
    """Whether two runs are equal to the last bit."""
    (draws, posterior), (other_draws, other) = a, b
    assert np.array_equal(draws.position, other_draws.position)
    assert posterior.values.keys() == other.values.keys()
    for key, value in posterior.values.items():
        assert np.array_equal(value, other.values[key], equal_nan=True), key


@every()
def test_it_says_what_it_is(name):
    model, (draws, posterior) = fitted(name), quick(name)
    assert model.target().start.shape == draws.position.shape[2:]
    sizes = {dim: len(names) for dim, names in model.coords.items()}
    for key, value in posterior.values.items():
        assert value.shape == (40, *(sizes[dim] for dim in DIMS.get(key, ()))), key
    for part in (posterior.log_prior, posterior.log_density):
        assert all(value.shape == (40,) and np.isfinite(value).all() for value in part.values())
    assert set(model.prior_parameters) >= {"beta_t"}
    names = {label.partition("[")[0].partition(" ")[0] for label in model.prior_table()}
    assert names - {"alpha"} <= set(posterior.values)


@every()
def test_rows_in_another_order_give_the_same_draws(name, backend):
    rows = raw(name)
    order = np.random.default_rng(1).permutation(len(rows[1]))
    permuted = model_of(name, *(column[order] for column in rows))
    same(quick(name, backend), sample_model(permuted, backend, QUICK))


@every()
def test_rows_in_chunks_give_the_same_draws(name, backend):
    est, rows = PARAMETERS[name], raw(name)
    sums = None
    for at in (slice(0, 30), slice(30, 45), slice(45, None)):
        sums = read_batch(est, read(*(column[at] for column in rows)), sums)
    same(quick(name, backend), sample_model(est._build_model(sums), backend, QUICK))


@every()
def test_a_weight_of_two_is_a_row_given_twice(name, backend):
    rows = raw(name, 40)
    weighted = model_of(name, *rows, np.full(40, 2.0))
    repeated = model_of(name, *(np.concatenate([column, column]) for column in rows))
    same(sample_model(weighted, backend, QUICK), sample_model(repeated, backend, QUICK))


@every()
def test_it_pickles(name, backend):
    again = pickle.loads(pickle.dumps(fitted(name)))
    same(quick(name, backend), sample_model(again, backend, QUICK))


@every()
def test_exact_draws_depend_on_the_coordinates_and_the_generator_alone(name):
    """Any part of the draws can be made apart, so that a backend may hand them over in pieces."""
    if "robust" in name:
        pytest.skip("a mixture is joined by the evidence of all draws")
    model, (draws, posterior) = fitted(name), quick(name)
    again = model.posterior(draws.flat, QUICK.generator())
    for key, value in posterior.values.items():
        assert np.array_equal(value, again.values[key]), key
    other = model.posterior(draws.flat, np.random.default_rng(8))
    assert not np.array_equal(posterior.values["beta_z"], other.values["beta_z"])


@every("normal", "fixed", "regression", "gmm", "normal, history")
def test_any_sampler_gives_the_same_posterior(name):
    assert_same_posterior(fitted(name), nuts.sample, metropolis)


@every()
def test_independent_draws_are_of_the_same_posterior(name):
    assert_same_posterior(fitted(name), nuts.sample, independence.sample)


def assert_same_posterior(model, *samplers):
    """Means and standard deviations of the coordinates and effects agree."""
    found = []
    for sampler in samplers:
        draws = sampler(model.target(), LONG, None)
        beta = model.posterior(draws.flat, LONG.generator()).values["beta_t"]
        x = np.concatenate([draws.position, beta.reshape(2, 2000, -1)], axis=-1)
        found.append(x)
    for name, of in (("mean", np.mean), ("sd", np.std)):
        errors = [array_stats.mcse(x, chain_axis=0, draw_axis=1, method=name) for x in found]
        one, other = (of(x, axis=(0, 1)) for x in found)
        assert (np.abs(one - other) < 4.5 * np.hypot(*errors)).all(), name


@every()
def test_many_models_at_once_are_sampled_as_one_by_one(name):
    """All but draws whose acceptance hangs on the last bit."""
    models = [fitted(name), model_of(name, *raw(name, 60)), model_of(name, *raw(name, 70))]
    together = independence.sample_many([model.target() for model in models], LONG)
    for model, draws in zip(models, together, strict=True):
        alone = independence.sample(model.target(), LONG)
        assert draws.stats.keys() == alone.stats.keys()
        same_draw = np.isclose(draws.position, alone.position, rtol=1e-6, atol=1e-6).all(axis=-1)
        assert same_draw.mean() > 0.99


def empty_model(name):
    """Model of no rows."""
    k, q = columns_of(name)
    columns = Columns(
        covariates(name),
        tuple(f"z{i}" for i in range(q)),
        tuple(f"t{i}" for i in range(k)),
        "y",
    )
    est = PARAMETERS[name]
    fourth = FourthMoments.empty(columns) if est.likelihood == "gmm" else None
    return est._build_model(Sums(Moments.empty(columns), fourth))


def effective_share(draws):
    """Share of draws (chains, draws) that are worth independent ones, in bulk and in tails."""
    options = {"chain_axis": 0, "draw_axis": 1}
    bulk = array_stats.ess(draws, method="bulk", **options)
    tail = array_stats.ess(draws, method="tail", prob=(0.05, 0.95), **options)
    return min(float(bulk), float(tail)) / draws.size


@every()
def test_without_rows_it_is_its_prior(name, backend):
    """What the sampler finds without rows is what is drawn from the priors."""
    if "robust" in name:
        pytest.skip("a mixture that is joined by evidence: see test_prior_only")
    model = empty_model(name)
    draws, posterior = sample_model(model, backend, LONG)
    if not_covered(draws.stats):
        assert name in FUNNELS
        return
    prior = model.prior_draws(4000, np.random.default_rng(4))
    compared = set()
    for key, exact in prior.items():
        if not exact.size or key not in posterior.values:  # flat, or nothing to draw
            continue
        value, exact = posterior.values[key].reshape(2, 2000, -1), exact.reshape(4000, -1)
        for k in range(exact.shape[-1]):
            one, other = value[..., k], exact[:, k]
            if np.ptp(other) < 1e-12:  # the diagonal of corr
                continue
            thin = int(np.ceil(1.0 / effective_share(one)))
            p = stats.ks_2samp(one[:, ::thin].ravel(), other).pvalue
            assert p > 1e-5, (key, k, p)
            compared.add(key)
    expected = {"beta_t"} | ({"sigma", "corr", "beta_z"} if model.has_density else set())
    learnt = model.has_density and "fixed" not in name
    assert compared >= expected | ({"beta_z_sd"} if learnt else set())


@every(
    "normal",
    "fixed",
    "many instruments",
    "two treatments",
    "two treatments, fixed",
    "two treatments, many instruments",
    "regression",
    "gmm",
)
def test_its_density_is_pymcs(name):
    """log prior + log likelihood of a draw, by this package and by PyMC, up to one constant."""
    model, (_, posterior) = fitted(name), quick(name)
    stated, at = model.to_pymc(read(*raw(name))), range(0, 40, 2)
    parts = [*posterior.log_prior.values(), *posterior.log_density.values()]
    own = np.sum(parts, axis=0)[at]
    density = stated.compile_logp(jacobian=False, mode="FAST_COMPILE")
    theirs = np.array([float(density(point(stated, posterior, i))) for i in at])
    if "chol_cov" in stated.named_vars:
        # PyMC's density is that of the Cholesky factor L of the covariance, of size D:
        # |dL / d(sigma, R)| = prod_i sigma_i^D / L_ii^(D - i + 1), i = 1..D.
        factor = np.linalg.cholesky(posterior.values["cov"][at])
        diagonal = np.log(np.diagonal(factor, axis1=1, axis2=2))
        size = diagonal.shape[1]
        theirs += size * np.log(posterior.values["sigma"][at]).sum(1)
        theirs -= diagonal @ np.arange(size, 0, -1)
    # Moments are rounded to 36 bits: terms of the density are off by 1e-11 of their size.
    assert np.ptp(own - theirs) < 1e-9 * np.abs(own).max()


def point(stated, posterior, i):
    """One draw as PyMC holds it, by the names of its unconstrained variables."""
    values = posterior.values | {f"{k}_centered": v for k, v in posterior.centered.items()}
    if "sigma" in values:
        values = values | _covariance_values(values["cov"])
    out = {}
    for variable in stated.free_RVs:
        value, transform = values[variable.name][i], stated.rvs_to_transforms[variable]
        if transform is not None:
            made = transform.forward(pt.as_tensor(value), *variable.owner.inputs)
            value = made.eval(mode="FAST_COMPILE")
        out[stated.rvs_to_values[variable].name] = value
    return out

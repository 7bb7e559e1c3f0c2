"""One model stated twice: row by row in PyMC, and collapsed onto the moments.

At any point, with theta all coefficients and u the coordinates of the error covariance Sigma,

    log p_pymc(theta, Sigma, data) = log p_collapsed(u) + log N(theta; A^-1 b, A^-1) + const.

All but p_collapsed is computed in ``rowwise`` from the rows and the priors.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rowwise import CASES, cases, collapsed, design_of, points, problem, sigma_of, stacked
from scipy import stats

from skbayesiv import HierarchicalBayesianIV
from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import standardise
from skbayesiv._models.history import density as _borrowed
from skbayesiv._models.history.table import build_history
from skbayesiv._models.normal import density as _density
from skbayesiv._models.normal import design as _design
from skbayesiv._models.normal.density import (
    _spread_prior,
    log_density,
    log_likelihood_and_prior,
)
from skbayesiv._models.normal.model import NormalModel
from skbayesiv._models.normal.start import start
from skbayesiv._models.parts import error_covariance
from skbayesiv._models.parts.scales import HALF_CAUCHY

pytestmark = pytest.mark.filterwarnings(
    "ignore:PyTensor could not link to a BLAS installation:UserWarning"
)


def offsets(case, design=None):
    """log p_pymc - log N - log p_collapsed at each point: one constant if both are right."""
    at = points(case)
    return at.pymc - at.normal - collapsed(design or problem(case).design, at.u)


def discrepancy(case, design=None):
    """Largest difference between two points' offsets, relative to the density's own range."""
    return np.ptp(offsets(case, design)) / np.ptp(points(case).pymc)


@cases()
def test_density_parity(case):
    assert discrepancy(case) < 1e-9


@cases()
def test_rounded_moments_do_not_matter(case):
    """Moments rounded to 36 bits, as in a fit, move the log density by less than 1e-3."""
    rounded = design_of(case, standardise(Moments.from_data(problem(case).data)))
    assert np.ptp(offsets(case, rounded)) < 1e-3


@cases("one-raw", "two")
def test_constant_does_not_depend_on_the_prior_of_the_effect(case):
    """A hierarchical prior moves loc and scale of beta_t: their constants must not be dropped."""
    other = replace(case, params=case.params | {"beta_t_loc": 3.0, "beta_t_scale": 0.7})
    np.testing.assert_allclose(offsets(case), offsets(other), rtol=1e-9)


# --- A planted bug must be seen -------------------------------------------------------------


def no_jacobian(log_d, log_sigma, scale, eta, xp):
    """A prior of (log d, a) without the Jacobian of the change of variables."""
    scales = [HALF_CAUCHY.log_pdf(s, c, xp) for s, c in zip(log_sigma, scale, strict=True)]
    return (eta - 1.0) * 2.0 * (sum(log_d) - sum(log_sigma)) + sum(scales)


WRONG = {  # field of the arrays: (factor, added)
    "n": (1.0, 1.0),
    "sigma_scale": (1.1, 0.0),
    "lkj_eta": (1.0, 0.1),
    "loc": (1.0, 0.1),
    "precision": (1.1, 0.0),
    "block_loc": (1.0, 0.1),
    "block_precision": (1.1, 0.0),
    "gram": (1.001, 0.0),
    "block_mixed": (1.001, 0.0),
    "response": (1.001, 0.0),
}


@pytest.mark.parametrize("wrong", WRONG)
@cases("three-direct", "two-raw")
def test_parity_sees_a_wrong_number(case, wrong):
    design, (factor, added) = problem(case).design, WRONG[wrong]
    value = factor * getattr(design.arrays, wrong) + added
    arrays = design.arrays._replace(**{wrong: value})
    assert discrepancy(case, replace(design, arrays=arrays)) > 1e-6


@cases("ols", "one", "two", "two-regression")
def test_parity_sees_a_missing_jacobian(case, monkeypatch):
    monkeypatch.setattr(error_covariance, "log_prior_lkj", no_jacobian)
    assert discrepancy(case) > 1e-3


def no_jacobian_of_the_spread(shape, log_sd, xp):
    """The prior of s in place of log s's."""
    return _spread_prior(shape, log_sd, xp) - sum(log_sd)


def no_determinant_of_the_spread(shape, log_sd, xp):
    """The coefficients' prior loses its normalising constant."""
    count = len(shape.learned_positions) // len(log_sd)
    return _spread_prior(shape, log_sd, xp) + count * sum(log_sd)


@pytest.mark.parametrize("bug", [no_jacobian_of_the_spread, no_determinant_of_the_spread])
@cases("one", "two", "nine")
def test_parity_sees_a_wrong_prior_of_the_spread(case, bug, monkeypatch):
    monkeypatch.setattr(_density, "_spread_prior", bug)
    assert discrepancy(case) > 1e-4


# --- JAX: the same value, and the gradient --------------------------------------------------


def finite_difference(f, u, step):
    """step * gradient of f, which takes many points at once, by a fourth-order stencil."""
    f1, f_1, f2, f_2 = (f(u + s * np.diag(step)) for s in (1, -1, 2, -2))
    return (8.0 * (f1 - f_1) - (f2 - f_2)) / 12.0


both_algebras = pytest.mark.parametrize("unroll_up_to", [0, 100], ids=["dense", "unrolled"])


@both_algebras
@cases("ols-raw", "three-direct", "two", "two-no-intercept", "three-fixed", "two-fixed")
def test_jax_density_and_gradient(case, unroll_up_to, monkeypatch):
    """The closed-form gradient, in both forms of the algebra, against finite differences."""
    monkeypatch.setattr(_design, "UNROLL_UP_TO", unroll_up_to)
    design, u = problem(case).design, points(case).u[0]
    step = 0.02 * start(design)[1]
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(log_density, argnums=1)(
            design.shape, jnp.asarray(u), design.arrays, jnp
        )
        value, gradient = np.asarray(value), np.asarray(gradient)
    np.testing.assert_allclose(value, collapsed(design, u[None])[0], rtol=1e-11)
    expected = finite_difference(partial(collapsed, design), u, step)
    np.testing.assert_allclose(gradient * step, expected, rtol=1e-6, atol=1e-8)


@both_algebras
def test_jax_gradient_of_the_effects_prior(unroll_up_to, monkeypatch):
    """The hierarchical model differentiates through loc and precision of beta_t."""
    monkeypatch.setattr(_design, "UNROLL_UP_TO", unroll_up_to)
    design, u = problem(CASES["two"]).design, points(CASES["two"]).u[0]
    at = np.array([0.3, -0.2, 0.5, 2.0])  # loc and precision of two effects

    def density(u, prior, xp):
        loc, precision = list(prior[:2]), list(prior[2:])
        return log_likelihood_and_prior(design.shape, u, design.arrays, loc, precision, xp)

    def many(priors):
        return np.asarray(density(np.tile(u[:, None], len(priors)), priors.T, np))

    with jax.enable_x64(True):
        gradient = jax.grad(density, argnums=1)(jnp.asarray(u), jnp.asarray(at), jnp)
        gradient = np.asarray(gradient)
    expected = finite_difference(many, at, 0.02 * np.abs(at))
    np.testing.assert_allclose(gradient * 0.02 * np.abs(at), expected, rtol=1e-6, atol=1e-8)


# --- With a history --------------------------------------------------------------------------

EARLIER = {
    "effects": [[9.0, np.nan], [11.0, -8.0], [np.nan, -12.0], [10.0, -9.0]],
    "std_errors": [[1.0, np.nan], [2.0, 1.5], [np.nan, 3.0], [0.1, 0.5]],
    "beta_t_bar_loc": [5.0, -5.0],
    "beta_t_bar_scale": [4.0, 3.0],
    "sigma_t_bar_scale": [2.0, 1.5],
}
LAWS = {
    "half-cauchy": lambda x, scale: stats.halfcauchy(scale=scale).logpdf(x),
    "half-normal": lambda x, scale: stats.halfnorm(scale=scale).logpdf(x),
    "half-t": lambda x, scale: np.log(2) + stats.t(3, scale=scale).logpdf(x),
}


def history_for(k, kind):
    chosen = {name: np.asarray(value)[..., :k] for name, value in EARLIER.items()}
    return build_history(HierarchicalBayesianIV(**chosen, sigma_t_bar_prior=kind))


def rows_marginal(prob, u, loc, scale):
    """log p(rows | u) with beta_t ~ N(loc, scale^2), as one normal of all rows."""
    sigma, dense = sigma_of(u, prob.design.response_sd), stacked(prob, u)
    prior_loc, prior_scale = dense.loc.copy(), dense.scale.copy()
    (at,) = (at for name, _, at in dense.labels if name == "beta_t")
    prior_loc[list(at)], prior_scale[list(at)] = loc, scale
    n, size = dense.response.shape
    x = dense.x.reshape(n * size, -1)
    cov = np.kron(np.eye(n), sigma) + (x * prior_scale**2) @ x.T
    error, factor = dense.response.ravel() - x @ prior_loc, np.linalg.cholesky(cov)
    log_det = 2.0 * np.log(np.diag(factor)).sum() + len(error) * np.log(2 * np.pi)
    return -0.5 * (np.square(np.linalg.solve(factor, error)).sum() + log_det)


def given_history(history, k, sigma):
    """log p(b | sigma), and mean and sd of a new effect: by conditioning a dense normal."""
    b, s = history.effects[:, k], history.std_errors[:, k]
    b, s = b[~np.isnan(b)], s[~np.isnan(b)]
    cov = np.diag(sigma**2 + s**2) + history.scale[k] ** 2
    gain = history.scale[k] ** 2 * np.linalg.solve(cov, np.ones(len(b)))
    mean = history.loc[k] + gain @ (b - history.loc[k])
    variance = history.scale[k] ** 2 * (1.0 - gain.sum()) + sigma**2
    evidence = stats.multivariate_normal(np.full(len(b), history.loc[k]), cov).logpdf(b)
    return evidence, mean, np.sqrt(variance)


@pytest.mark.parametrize("kind", LAWS)
@cases("one", "one-no-intercept", "three-raw", "two", "two-raw", "three-fixed")
def test_density_with_a_history(case, kind):
    """Both components against the rows' dense normal density, from the same base density."""
    prob, history = problem(case), history_for(case.k, kind)
    design = prob.design
    model = NormalModel(design)
    shape = _borrowed.hierarchical_shape(model, history, 0.5)
    arrays = _borrowed.hierarchical_arrays(model, history)
    unit, prior = model.effect_unit, design.priors.beta_t
    rng = np.random.default_rng(0)
    near, vague = [], []
    for u in points(case).u:
        log_sigma = rng.normal(-1.0, 1.5, case.k)
        raw = unit * np.exp(log_sigma)
        parts = [given_history(history, k, raw[k]) for k in range(case.k)]
        evidence, loc, scale = map(np.array, zip(*parts, strict=True))
        expected = evidence.sum() + (LAWS[kind](raw, history.sigma_scale) + np.log(raw)).sum()
        expected += rows_marginal(prob, u, loc, scale)
        base = rows_marginal(prob, u, prior.loc, prior.scale)
        of_u = collapsed(design, u[None])[0]
        whole = np.concatenate([u, log_sigma])
        near.append(_borrowed.log_borrowed(shape, whole, arrays, np) - expected - of_u + base)
        vague.append(_borrowed.log_vague(shape, u, arrays, np) - of_u)
    # p(b) and sigma_bar's density are in standardised units here, in raw units above.
    known = (~np.isnan(history.effects)).sum(axis=0)
    np.testing.assert_allclose(near, known @ np.log(unit), rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(vague, 0.0, atol=1e-9)


@cases("one", "two")
def test_jax_density_with_a_history(case):
    """What NUTS sees is the sum of both components' densities."""
    history = history_for(case.k, "half-cauchy")
    model = NormalModel(problem(case).design)
    shape = _borrowed.hierarchical_shape(model, history, 0.5)
    arrays = _borrowed.hierarchical_arrays(model, history)
    u = points(case).u
    whole = np.concatenate([u[0], np.full(case.k, -0.3), u[1]])
    with jax.enable_x64(True):
        value = float(_borrowed.log_density(shape, jnp.asarray(whole), arrays, jnp))
    near = _borrowed.log_borrowed(shape, whole[: shape.dim], arrays, np)
    expected = near + _borrowed.log_vague(shape, u[1], arrays, np)
    np.testing.assert_allclose(value, expected, rtol=1e-11)

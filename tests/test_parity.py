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
from rowwise import CASES, cases, design_of, points, problem

from skbayesiv import _covariance, _design
from skbayesiv._collapsed import log_density, log_likelihood_and_prior
from skbayesiv._moments import Moments, standardise
from skbayesiv._start import start

pytestmark = pytest.mark.filterwarnings(
    "ignore:PyTensor could not link to a BLAS installation:UserWarning"
)


def collapsed(design, u):
    """The package's density in NumPy at points of shape (N, dim)."""
    shape, arrays = design.shape, design.arrays
    loc = [np.asarray(arrays.loc[j]) for j in shape.effects]
    precision = [np.asarray(arrays.precision[j]) for j in shape.effects]
    return np.asarray(log_likelihood_and_prior(shape, u.T, arrays, loc, precision, np))


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
    scales = [_covariance.log_half_cauchy(s, c, xp) for s, c in zip(log_sigma, scale, strict=True)]
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
    monkeypatch.setattr(_covariance, "log_prior_lkj", no_jacobian)
    assert discrepancy(case) > 1e-3


# --- JAX: the same value, and the gradient --------------------------------------------------


def finite_difference(f, u, step):
    """step * gradient of f, which takes many points at once, by a fourth-order stencil."""
    f1, f_1, f2, f_2 = (f(u + s * np.diag(step)) for s in (1, -1, 2, -2))
    return (8.0 * (f1 - f_1) - (f2 - f_2)) / 12.0


both_algebras = pytest.mark.parametrize("unroll_up_to", [0, 100], ids=["dense", "unrolled"])


@both_algebras
@cases("ols-raw", "three-direct", "two", "two-no-intercept")
def test_jax_density_and_gradient(case, unroll_up_to, monkeypatch):
    """The closed-form gradient, in both forms of the algebra, against finite differences."""
    monkeypatch.setattr(_design, "UNROLL_UP_TO", unroll_up_to)
    design, u = problem(case).design, points(case).u[0]
    step = 0.02 * start(design)[1]
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(log_density, argnums=1)(
            design.shape, jnp.asarray(u), design.arrays
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

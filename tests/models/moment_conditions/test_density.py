"""The criterion and the density of the effects against the rows, and its gradient."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from criterion import criterion, make_rows, partialled
from criterion_fits import model_of
from scipy import stats

from skbayesiv import BayesianIV
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.sums import Sums
from skbayesiv._models.build import build_model
from skbayesiv._models.moment_conditions import density as criterion_density
from skbayesiv._models.moment_conditions.density import log_criterion, log_density

SIZES = [(1, 1, 0), (1, 3, 2), (2, 3, 1), (1, 10, 1)]


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
        design = model_of(data, exclusion_scale=direct, **options).design
        for beta in rng.normal(1.0, 1.0, (3, k)):
            value = log_criterion(design.shape, list(beta / design.unit), design.arrays, np)
            assert np.isclose(value, criterion(data, beta, direct=direct, **options), 1e-7)


def test_criterion_far_from_zero():
    """At 10^5 standard deviations from zero as at zero."""
    near = make_rows(1, 2, 1)
    rounded = {name: np.round(getattr(near, name) * 2**20) / 2**20 for name in ("x", "z", "t", "y")}
    near = replace(near, **rounded)
    far = replace(near, **{name: value + 2.0**18 for name, value in rounded.items()})
    designs = model_of(near).design, model_of(far).design
    for beta in (-1.0, 1.0, 5.0):
        one, two = (log_criterion(d.shape, [beta / d.unit[0]], d.arrays, np) for d in designs)
        assert np.isclose(one, two, rtol=1e-7)


@pytest.mark.parametrize("size", [1e-3, 1e-5])
def test_criterion_of_an_outcome_that_the_treatment_explains(size):
    """y -> t b + size y takes the criterion at beta to b + size beta."""
    data = make_rows(2, 3, 1)
    b = np.array([3.0, -1.0])
    design = model_of(replace(data, y=data.t @ b + size * data.y)).design
    for beta in ([1.0, 2.0], [0.0, 1.0], [4.0, 4.0]):
        u = list((b + size * np.array(beta)) / design.unit)
        value = log_criterion(design.shape, u, design.arrays, np)
        assert np.isclose(value, criterion(data, beta), rtol=2e-13 / size**2)


@pytest.mark.parametrize("direct", [0.0, 0.3])
@pytest.mark.parametrize(("k", "q"), [(1, 1), (2, 3)])
def test_gradient_and_both_algebras(k, q, direct, monkeypatch):
    design = model_of(make_rows(k, q, 0), exclusion_scale=direct).design
    u = np.linspace(0.2, 0.5, k)

    def evaluate(u):
        return log_density(design.shape, u, design.arrays, jnp)

    def differences(step=1e-5):
        at = jax.jit(evaluate)
        return [(at(u + step * e) - at(u - step * e)) / (2 * step) for e in np.eye(k)]

    with jax.enable_x64(True):
        value, gradient = jax.jit(jax.value_and_grad(evaluate))(u)
        assert np.allclose(gradient, differences(), rtol=1e-5)
        monkeypatch.setattr(criterion_density, "UNROLL_UP_TO", 0)
        dense, dense_gradient = jax.jit(jax.value_and_grad(lambda u: evaluate(u)))(u)
    assert np.isclose(value, dense, rtol=1e-10)
    assert np.allclose(gradient, dense_gradient, rtol=1e-8)


def test_direct_effects_widen_the_variance_of_the_scores():
    """g'V^-1 g is the least of Q(beta, delta) + delta'D^-1 delta: no determinants are in it."""
    data, scale = make_rows(1, 2, 0, n=60), np.array([0.2, 0.5])
    design = model_of(data, exclusion_scale=scale).design
    y, t, z, _ = partialled(data)
    for beta in (0.5, 1.0, 3.0):
        scores = z * (y - t[:, 0] * beta)[:, None]
        whiten = np.linalg.inv(np.linalg.cholesky(scores.T @ scores))
        known = np.concatenate([whiten @ scores.sum(axis=0), np.zeros(2)])
        on_delta = np.vstack([whiten @ z.T @ z, np.diag(1.0 / scale)])
        least = np.linalg.lstsq(on_delta, known)[1][0]
        closed = log_criterion(design.shape, [beta / design.unit[0]], design.arrays, np)
        assert np.isclose(closed, 29.0 * np.log(1.0 - least / 60.0), rtol=1e-8)


@pytest.mark.parametrize("direct", [0.0, 0.1])
@pytest.mark.parametrize("n", [1000, 30_000])
def test_many_units_leave_the_exponential_of_the_criterion(n, direct):
    """-log is Q/2 but for Q (Q + q) / m, which is nothing where the posterior has its mass."""
    data = make_rows(1, 3, 1, n=n)
    design = model_of(data, exclusion_scale=direct).design
    y, t, z, _ = partialled(data)
    for beta in 1.0 + np.array([-2.0, 0.5, 3.0]) / np.sqrt(n):
        scores = z * (y - t[:, 0] * beta)[:, None]
        variance = scores.T @ scores + direct**2 * np.linalg.matrix_power(z.T @ z, 2)
        q = scores.sum(axis=0) @ np.linalg.solve(variance, scores.sum(axis=0))
        value = log_criterion(design.shape, [beta / design.unit[0]], design.arrays, np)
        assert abs(value + q / 2) < q * (q + 3) / n


@pytest.mark.parametrize("clustered", [False, True])
def test_a_weight_of_two_is_a_row_given_twice(clustered):
    """The same m, hence the same density; a cluster's rows are one unit, whatever their weights."""
    data = make_rows(1, 2, 1, n=40, weighted=True)
    weight, clusters = data.sample_weight.astype(int), np.arange(40) // 4
    columns = {name: getattr(data, name) for name in ("x", "z", "t", "y")}
    twice = replace(
        data,
        **{name: np.repeat(value, weight, axis=0) for name, value in columns.items()},
        sample_weight=None,
    )
    given = (clusters, np.repeat(clusters, weight)) if clustered else (None, None)
    one, two = (model_of(*both).design for both in zip((data, twice), given, strict=True))
    assert one.arrays.units == two.arrays.units == (10 if clustered else weight.sum())
    for u in (0.1, 0.5, 2.0):
        values = [log_criterion(d.shape, [u], d.arrays, np) for d in (one, two)]
        assert np.isclose(*values, rtol=1e-9)


AT = jax.jit(jax.value_and_grad(log_density, argnums=1), static_argnums=(0, 3))


def evaluated(shape, u, arrays):
    """Log density of the effects and its gradient, as the sampler sees them."""
    with jax.enable_x64(True):
        return AT(shape, np.asarray(u), arrays, jnp)


@pytest.mark.parametrize("direct", [0.0, 0.3])
def test_without_rows_the_density_is_the_prior(direct):
    columns = make_rows(2, 3, 1).columns
    est = BayesianIV(likelihood="gmm", beta_t_scale=[0.5, 2.0], exclusion_scale=direct)
    sums = Sums(Moments.empty(columns), FourthMoments.empty(columns))
    design = build_model(est, sums).design
    assert design.arrays.units == 0
    u = np.array([0.3, -1.0]) / design.unit
    value, gradient = evaluated(design.shape, u, design.arrays)
    scale = np.array([0.5, 2.0]) / design.unit
    assert np.isclose(value, stats.norm.logpdf(u, 0.0, scale).sum() + np.log(2 * np.pi))
    assert np.allclose(gradient, -u / scale**2)


@pytest.mark.parametrize(("q", "p"), [(1, 0), (2, 0), (2, 1), (10, 0)])
def test_as_few_units_as_there_may_be(q, p):
    """One row more than instruments: Q is all of m where the scores fit exactly."""
    for seed in range(10):
        data = make_rows(1, q, p, n=q + 1, seed=seed)
        design = model_of(data).design
        for u in (-3.0, 0.0, design.arrays.centre[0], 1.0):
            value, gradient = evaluated(design.shape, [u], design.arrays)
            assert np.isfinite(value)
            assert np.isfinite(gradient).all()


@pytest.mark.parametrize("q", [2, 10])
def test_a_criterion_above_its_bound_is_taken_at_it(q):
    """As rounding may leave it: the density stays finite, and the prior's gradient."""
    design = model_of(make_rows(1, q, 0)).design
    far = np.array([design.arrays.centre[0] + 3.0])
    prior = -design.arrays.precision * (far - design.arrays.loc)
    for m in (q + 1.0, q + 1.5):
        value, gradient = evaluated(design.shape, far, design.arrays._replace(units=np.array(m)))
        assert np.isfinite(value)
        assert np.allclose(gradient, prior)


def test_the_program_does_not_depend_on_the_number_of_rows():
    few, many = (model_of(make_rows(2, 3, 1, n=n)).target() for n in (100, 10_000))
    assert few.shape == many.shape
    assert [np.shape(a) for a in few.arrays] == [np.shape(a) for a in many.arrays]

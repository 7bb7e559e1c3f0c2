"""The criterion and the density of the effects against the rows, and its gradient."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from criterion import criterion, make_rows, partialled
from criterion_fits import model_of
from scipy import stats

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
            assert np.isclose(-2 * value, criterion(data, beta, direct=direct, **options), 1e-7)


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
        assert np.isclose(-2 * value, criterion(data, beta), rtol=2e-13 / size**2)


@pytest.mark.parametrize("direct", [0.0, 0.3])
@pytest.mark.parametrize(("k", "q"), [(1, 1), (2, 3)])
def test_gradient_and_both_algebras(k, q, direct, monkeypatch):
    design = model_of(make_rows(k, q, 0), exclusion_scale=direct).design
    u = np.linspace(0.2, 0.5, k)

    def evaluate(u):
        return log_density(design.shape, u, design.arrays)

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


def test_direct_effects_are_integrated_out():
    """The closed form is the integral over delta of N(delta; 0, D) exp(-Q(beta, delta) / 2)."""
    data, scale = make_rows(1, 2, 0, n=60), np.array([0.2, 0.5])
    design = model_of(data, exclusion_scale=scale).design
    y, t, z, _ = partialled(data)
    # The trapezoidal rule, whose error falls exponentially for such integrands: 8 sd each way.
    nodes = np.linspace(-8.0, 8.0, 801)
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    prior = stats.norm.pdf(grid).prod(axis=1) * (nodes[1] - nodes[0]) ** 2
    for beta in (0.5, 1.0, 3.0):
        scores = z * (y - t[:, 0] * beta)[:, None]
        inverse = np.linalg.inv(scores.T @ scores)
        g = scores.sum(axis=0) - grid * scale @ (z.T @ z)
        value = prior @ np.exp(-0.5 * ((g @ inverse) * g).sum(axis=1))
        closed = log_criterion(design.shape, [beta / design.unit[0]], design.arrays, np)
        assert np.isclose(np.log(value), closed, atol=1e-10)


def test_the_program_does_not_depend_on_the_number_of_rows():
    few, many = (model_of(make_rows(2, 3, 1, n=n)).target() for n in (100, 10_000))
    assert few.shape == many.shape
    assert [np.shape(a) for a in few.arrays] == [np.shape(a) for a in many.arrays]

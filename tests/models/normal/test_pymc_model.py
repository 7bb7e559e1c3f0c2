"""The PyMC model: its names, weights, predictions and interventions, and its sampler."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor
import pytest
import xarray as xr
from rowwise import (
    CASES,
    FAST,
    N_POINTS,
    cases,
    change_of_variables,
    points,
    problem,
    rows_log_density,
)

from skbayesiv._data.rows import IVData
from skbayesiv._models.normal.density import log_density
from skbayesiv._models.normal.draws import draw_posterior
from skbayesiv._models.normal.pymc_model import state_rows
from skbayesiv._models.normal.pymc_sampling import _initial_values, sample_rows
from skbayesiv._models.normal.start import start
from skbayesiv._models.parts.names import DIMS, coordinates
from skbayesiv._results.tree import by_chain
from skbayesiv._sampling.nuts import sample
from skbayesiv._sampling.target import Settings, Target

pytestmark = pytest.mark.filterwarnings(
    "ignore:PyTensor could not link to a BLAS installation:UserWarning"
)

DATA = ("x", "z", "t", "weight", "responses")


@cases()
def test_model_has_the_posteriors_names(case):
    prob = problem(case)
    model = state_rows(prob.data, prob.design)
    drawn = draw_posterior(prob.design, points(case).u[:1], np.random.default_rng(0))
    expected = {name for name, value in drawn.values.items() if value.size}
    helpers = {"intercept_y_centered", "intercept_t_centered", "chol_cov", "chol_cov_t"}
    helpers |= {"sigma_t", "sigma_v", "alpha"}
    assert {rv.name for rv in model.unobserved_RVs} - helpers == expected
    names = coordinates(prob.data.columns)
    for name in expected:
        assert model.named_vars_to_dims.get(name, ()) == DIMS.get(name, ())
        for dim in DIMS.get(name, ()):
            assert list(model.coords[dim]) == names[dim]
    assert "y_t ~" in pm.model_to_mermaid(model)


def test_weight_two_is_a_row_given_twice():
    prob = problem(CASES["two"])
    data = prob.data
    weight = np.where(np.arange(data.n_rows) < 7, 2.0, 1.0)
    twice = np.r_[np.arange(data.n_rows), np.arange(7)]
    repeated = IVData(
        data.x[twice], data.z[twice], data.t[twice], data.y[twice], None, data.columns
    )
    models = [
        state_rows(replace(data, sample_weight=weight), prob.design),
        state_rows(repeated, prob.design),
    ]
    one, two = (model.compile_logp(**FAST)(model.initial_point()) for model in models)
    np.testing.assert_allclose(one, two, rtol=1e-12)


def predict(model, posterior, group="posterior_predictive"):
    """Posterior predictive draws of (y, t), shape (draw, row, equation)."""
    computed = [v.name for v in model.deterministics if v.name in posterior.posterior]
    with model:
        tree = pm.sample_posterior_predictive(
            posterior,
            freeze_vars=computed,
            predictions=group == "predictions",
            progressbar=False,
            random_seed=0,
            compile_kwargs=FAST,
        )
    return tree[group]["y_t"].to_numpy()[0]


@cases("ols-no-intercept", "three-direct", "two-no-intercept")
def test_predictions_and_interventions(case):
    """Draws of the collapsed posterior go straight into the PyMC model."""
    prob = problem(case)
    model = state_rows(prob.data, prob.design)
    values = draw_posterior(prob.design, points(case).u, np.random.default_rng(0)).values
    names = coordinates(prob.data.columns)
    posterior = xr.DataTree.from_dict({"posterior": by_chain(values, 1, names)})
    natural = predict(model, posterior)
    assert natural.shape == (N_POINTS, prob.data.n_rows, 1 + case.k)
    if case.k:
        forced = predict(pm.do(model, {"t": prob.data.t + 2.0}), posterior)
        effect = 2.0 * values["beta_t"].sum(1, keepdims=True)
        np.testing.assert_allclose(forced[..., 0], natural[..., 0] + effect)
        np.testing.assert_array_equal(forced[..., 1:], natural[..., 1:])
    few = {name: value.get_value()[:3] for name, value in model.named_vars.items() if name in DATA}
    with model:
        pm.set_data(few, coords={"row": range(3)})
    assert predict(model, posterior, "predictions").shape == (N_POINTS, 3, 1 + case.k)


# --- PyMC as a sampler ----------------------------------------------------------------------


@cases()
def test_chains_start_where_they_should(case):
    """Every free variable starts, and the covariance at coordinates near the start's."""
    prob = problem(case)
    model = state_rows(prob.data, prob.design)
    initial = _initial_values(model, prob.design, Settings(1, 1, 2, 0.8, 0))
    assert [set(point) for point in initial] == [{v.name for v in model.free_RVs}] * 2
    at, spread = start(prob.design)
    jitter = np.random.default_rng(0).uniform(-1.0, 1.0, (2, at.size))
    for point, u in zip(initial, at + jitter * spread, strict=True):
        for name, value in change_of_variables(prob, u)[0].items():
            np.testing.assert_allclose(point[name], value, rtol=1e-9)


@cases("ols-no-intercept", "one-raw")
def test_sample_model(case):
    prob, settings = problem(case), Settings(6, 4, 2, 0.4, 3)
    model = state_rows(prob.data, prob.design)
    with pytensor.config.change_flags(**FAST):
        draws, drawn = sample_rows(model, prob.design, settings)
    exact = draw_posterior(prob.design, draws.position.reshape(12, -1), np.random.default_rng(0))
    assert draws.position.shape == (2, 6, points(case).u.shape[1])
    assert all(value.shape == (2, 6) for value in draws.stats.values())
    assert drawn.values.keys() == exact.values.keys()
    assert drawn.centered.keys() == exact.centered.keys()
    for name, value in exact.values.items():
        assert drawn.values[name].shape == value.shape, name
    for name in ("sigma", "corr", "cov"):
        np.testing.assert_allclose(drawn.values[name], exact.values[name], rtol=1e-8)
    expected = [rows_log_density(prob, drawn.values, i) for i in range(12)]
    np.testing.assert_allclose(drawn.log_density["total"], expected, rtol=1e-9)


@pytest.mark.slow
@cases("three-direct", "two-regression")
def test_both_samplers_agree(case):
    """Means of the effect and of the covariance's coordinates within Monte Carlo error."""
    from arviz_stats.base import array_stats

    prob, settings = problem(case), Settings(1000, 500, 4, 0.9, 1)
    slow, drawn = sample_rows(state_rows(prob.data, prob.design), prob.design, settings)
    target = Target(log_density, prob.design.shape, prob.design.arrays, *start(prob.design))
    fast = sample(target, settings)
    rest = draw_posterior(prob.design, fast.position.reshape(4000, -1), np.random.default_rng(0))
    both = []
    for position, parameters in ((slow.position, drawn), (fast.position, rest)):
        beta = parameters.values["beta_t"].reshape(*position.shape[:2], -1)
        both.append(np.concatenate([position, beta], axis=-1))
    error = [array_stats.mcse(x, chain_axis=0, draw_axis=1, method="mean") for x in both]
    difference = both[0].mean((0, 1)) - both[1].mean((0, 1))
    assert (np.abs(difference) < 4.0 * np.hypot(*error)).all()

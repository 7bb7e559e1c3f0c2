"""Draws of the coefficients given Sigma against the dense conditional normal, row by row."""

from __future__ import annotations

import numpy as np
import pytest
from rowwise import (
    CASES,
    N_POINTS,
    cases,
    learned_sd,
    points,
    problem,
    rows_log_density,
    stacked,
)
from scipy import stats

from skbayesiv import BayesianIV
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv._models.build import read_sums
from skbayesiv._models.normal.draws import draw_posterior
from skbayesiv._models.normal.model import NormalModel

pytestmark = pytest.mark.filterwarnings(
    "ignore:PyTensor could not link to a BLAS installation:UserWarning"
)


def test_size_of_chi_square_check():
    """The check below passes exact draws and fails draws that are 5% too wide."""
    z = np.random.default_rng(0).normal(size=(20_000, 6))
    assert normal_p_value(z) > 0.001
    assert normal_p_value(1.05 * z) < 1e-12
    assert normal_p_value(z + 0.05) < 1e-12


def normal_p_value(z):
    """p-value of draws (N, M) being N(0, I), from their means and their second moments.

    Under H0 N mean_j^2 ~ chi2(1), and N (S_jk - delta_jk)^2 / (1 + delta_jk) ~ chi2(1), all
    asymptotically independent.
    """
    n, m = z.shape
    second = z.T @ z / n - np.eye(m)
    lower = np.tril_indices(m)
    statistic = n * (z.mean(0) ** 2).sum() + n * (second**2 / (1.0 + np.eye(m)))[lower].sum()
    return stats.chi2.sf(statistic, m + len(lower[0]))


@cases()
def test_draws_have_the_conditional_distribution(case):
    prob, u, n = problem(case), points(case).u[1], 20_000
    rows = stacked(prob, u)
    drawn = draw_posterior(prob.design, np.tile(u, (n, 1)), np.random.default_rng(1))
    mean, a = rows.conditional(prob.weight, drawn.values["cov"][0])
    theta = rows.stack(drawn.values | drawn.centered)
    assert normal_p_value((theta - mean) @ np.linalg.cholesky(a)) > 1e-4


def test_draws_given_another_prior_of_the_effect():
    case, n = CASES["three-direct"], 20_000
    prob, u = problem(case), points(case).u[1]
    rows = stacked(prob, u)
    unit = prob.design.unit[list(prob.design.shape.effect_positions)]
    loc, scale = np.array([4.0]), np.array([0.5])
    prior = (np.tile(loc / unit, (n, 1)), np.tile((unit / scale) ** 2, (n, 1)))
    drawn = draw_posterior(prob.design, np.tile(u, (n, 1)), np.random.default_rng(2), prior)
    at = next(list(at) for name, _, at in rows.labels if name == "beta_t")
    rows.loc[at], rows.scale[at] = loc, scale
    mean, a = rows.conditional(prob.weight, drawn.values["cov"][0])
    theta = rows.stack(drawn.values | drawn.centered)
    assert normal_p_value((theta - mean) @ np.linalg.cholesky(a)) > 1e-4


@cases()
def test_draws_log_likelihood_is_the_rows(case):
    prob = problem(case)
    drawn = draw_posterior(prob.design, points(case).u, np.random.default_rng(3))
    expected = [rows_log_density(prob, drawn.values, i) for i in range(N_POINTS)]
    np.testing.assert_allclose(drawn.log_density["total"], expected, rtol=1e-9)
    sigma, corr = drawn.values["sigma"], drawn.values["corr"]
    cov = corr * sigma[:, :, None] * sigma[:, None, :]
    np.testing.assert_allclose(drawn.values["cov"], cov, rtol=1e-12)
    for u, beta_z_sd in zip(points(case).u, drawn.values.get("beta_z_sd", []), strict=False):
        np.testing.assert_allclose(beta_z_sd, learned_sd(prob, u), rtol=1e-9)
    assert ("beta_z_sd" in drawn.values) == (learned_sd(prob, points(case).u[0]) is not None)


def test_the_spread_is_learnt_only_where_there_is_a_first_stage():
    learnt = {name for name in CASES if problem(CASES[name]).design.shape.learned_positions}
    fixed = {"one-fixed", "three-fixed", "two-fixed"}
    assert learnt == {name for name, case in CASES.items() if case.q} - fixed


def model_of(seed, n_treatments, n_instruments, n_covariates, **parameters):
    """Model of 60 simulated rows."""
    rng = np.random.default_rng(seed)
    z = rng.normal(1.0, 2.0, size=(60, n_instruments))
    x = rng.normal(-1.0, 3.0, size=(60, n_covariates))
    t = z[:, :n_treatments] + rng.normal(size=(60, n_treatments))
    y = t.sum(axis=1) + x.sum(axis=1) + rng.normal(size=60) + seed
    est = BayesianIV(**parameters)
    return est._build_model(read_sums(est, read_rows(x, y, t, z, roles=Roles())))


FORMS = {
    "plain": ((1, 1, 0), {}),
    "covariates": ((1, 2, 3), {}),
    "raw intercepts": ((1, 2, 1), {"intercept_prior": "raw", "exclusion_scale": 0.2}),
    "no intercept": ((1, 1, 2), {"fit_intercept": False, "sigma_prior": "regression"}),
    "two treatments": ((2, 3, 1), {"beta_z_scale": "auto"}),
    "ten instruments": ((1, 10, 1), {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_designs_drawn_at_once_are_drawn_as_each_alone(form):
    sizes, parameters = FORMS[form]
    models = [model_of(seed, *sizes, **parameters) for seed in range(3)]
    targets = [model.target() for model in models]
    noise = np.random.default_rng(0).normal(size=(40, models[0].shape.dim))
    positions = np.stack([target.start + target.spread * noise for target in targets])
    together = NormalModel.posteriors(models, positions, np.random.default_rng(1))
    for model, position, found in zip(models, positions, together, strict=True):
        alone = model.posterior(position, np.random.default_rng(1))
        for one, other in ((found.values, alone.values), (found.centered, alone.centered)):
            assert one.keys() == other.keys()
            for name, value in one.items():
                np.testing.assert_allclose(value, other[name], rtol=1e-9, atol=1e-12)
        assert not found.log_prior
        assert {"beta_t", "sigma"} <= alone.log_prior.keys()

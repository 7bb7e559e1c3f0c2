"""The model computed from its rows and priors, with no algebra of the package.

Cases of every size and prior; all coefficients given Sigma, densely; the change of variables
between the package's coordinates of Sigma and PyMC's; and the row-level density at points.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from skbayesiv._columns import Columns
from skbayesiv._data.rows import IVData
from skbayesiv._data.standardised import Standardised
from skbayesiv._estimators.bayesian import BayesianIV
from skbayesiv._models.normal import design as _design
from skbayesiv._models.normal.density import log_likelihood_and_prior
from skbayesiv._models.normal.pymc_model import state_rows
from skbayesiv._models.normal.start import start
from skbayesiv._models.parts.priors import build_priors

FAST = {"mode": "FAST_COMPILE"}
N_POINTS = 5


@dataclass(frozen=True)
class Case:
    """K treatments, Q instruments, P covariates, weights or not, an estimator's parameters."""

    name: str
    k: int
    q: int
    p: int
    weighted: bool = False
    params: dict = field(default_factory=dict, hash=False)

    def __str__(self):
        return self.name


RAW = {"intercept_prior": "raw", "intercept_y_loc": 3.0, "intercept_y_scale": 4.0}
NONE = {"fit_intercept": False}
REGRESSION = {"sigma_prior": "regression"}
DIRECT = {"exclusion_scale": [0.1, 0.5, 2.0]}
ETA = {"lkj_eta": 2.0}
FIXED = {"beta_z_scale": "auto"}
ALL = [
    Case("constant", 0, 0, 0, True),
    Case("ols", 0, 0, 3),
    Case("ols-raw", 0, 0, 3, True, RAW | REGRESSION),
    Case("ols-no-intercept", 0, 0, 3, True, NONE | {"gamma_y_loc": 1, "gamma_scale": [0.5, 1, 9]}),
    Case("one", 1, 1, 0),
    Case("one-raw", 1, 1, 0, True, RAW | ETA),
    Case("one-no-intercept", 1, 1, 0, False, NONE | REGRESSION),
    Case("three-raw", 1, 3, 2, False, RAW | REGRESSION),
    Case("three-direct", 1, 3, 2, True, ETA | DIRECT | {"gamma_scale": 2.0}),
    Case("three-no-intercept", 1, 3, 2, False, NONE | {"beta_t_loc": 2.0, "gamma_t_loc": 1.0}),
    Case("two", 2, 3, 1),
    Case("two-regression", 2, 3, 1, True, REGRESSION | ETA | {"sigma_scale": [3.0, 0.5, 2.0]}),
    Case("two-raw", 2, 3, 1, False, RAW | ETA | DIRECT | {"beta_z_loc": 1.0}),
    Case("two-no-intercept", 2, 3, 1, True, NONE | REGRESSION),
    Case("one-fixed", 1, 1, 0, True, FIXED),
    Case("three-fixed", 1, 3, 2, False, RAW | {"beta_z_scale": 0.3, "beta_z_loc": 0.2}),
    Case("two-fixed", 2, 3, 1, True, FIXED | DIRECT),
    Case("nine", 1, 9, 1, True, {"beta_z_loc": 0.1}),
]
CASES = {case.name: case for case in ALL}


def cases(*names):
    """Parametrise a test with some cases, or all."""
    chosen = [CASES[name] for name in names] if names else ALL
    return pytest.mark.parametrize("case", chosen, ids=str)


@dataclass(frozen=True, eq=False)
class Problem:
    data: IVData
    design: _design.Design

    @property
    def weight(self):
        w = self.data.sample_weight
        return np.ones(self.data.n_rows) if w is None else w


@cache
def problem(case, n=40):
    """Rows with means, scales and signs of their own in every column."""
    rng = np.random.default_rng([case.k, case.q, case.p])
    x = rng.normal(3.0, 0.5, (n, case.p))
    z = rng.normal(size=(n, case.q)) * 4.0 - 1.0
    e = rng.normal(size=(n, 1 + case.k)) @ rng.normal(size=(1 + case.k, 1 + case.k))
    t = 5.0 + 0.3 * z @ rng.normal(size=(case.q, case.k)) + x.sum(1, keepdims=True) + e[:, 1:]
    y = 10.0 * (t.sum(1) - x.sum(1) + e[:, 0]) - 20.0
    columns = Columns(
        tuple(f"x{i}" for i in range(case.p)),
        tuple(f"z{i}" for i in range(case.q)),
        tuple(f"t{i}" for i in range(case.k)),
        "y",
    )
    weight = rng.uniform(0.5, 3.0, n) if case.weighted else None
    data = IVData(x, z, t, y, weight, columns)
    return Problem(data, design_of(case, exact_moments(data)))


def design_of(case, std):
    est = BayesianIV(**case.params)
    return _design.build_design(std, build_priors(est, std), est.sigma_prior)


def exact_moments(data):
    """Standardised moments without the rounding that makes draws reproducible."""
    rows = np.column_stack([data.x, data.z, data.t, data.y])
    weight = np.ones(len(rows)) if data.sample_weight is None else data.sample_weight
    mean = np.average(rows, axis=0, weights=weight)
    scatter = (rows - mean).T * weight @ (rows - mean) / weight.sum()
    sd = np.sqrt(np.diag(scatter))
    return Standardised(data.columns, weight.sum(), mean, sd, scatter / np.outer(sd, sd))


# --- All coefficients given Sigma, densely, from the rows -----------------------------------


@dataclass(frozen=True, eq=False)
class Stacked:
    """response_i = x_i theta + e_i with x_i of shape (D, M); theta ~ N(loc, scale^2)."""

    labels: list
    x: np.ndarray  # (n, D, M)
    response: np.ndarray  # (n, D)
    loc: np.ndarray
    scale: np.ndarray

    def unstack(self, theta):
        """Coefficients by name, in the shapes of their priors; theta is (..., M)."""
        out = {}
        for name, shape, at in self.labels:
            out[name] = theta[..., at].reshape((*theta.shape[:-1], *shape))
        return out

    def stack(self, values):
        n_draws = len(next(iter(values.values())))
        return np.concatenate([values[name].reshape(n_draws, -1) for name, *_ in self.labels], 1)

    def conditional(self, weight, sigma):
        """Mean A^-1 b and precision A of theta given Sigma."""
        omega = np.linalg.inv(sigma)
        wx = np.einsum("n,de,ndm->nem", weight, omega, self.x)
        a = np.einsum("nem,nek->mk", wx, self.x) + np.diag(self.scale**-2.0)
        b = np.einsum("nem,ne->m", wx, self.response) + self.loc / self.scale**2
        return np.linalg.solve(a, b), a


def learned_sd(prob, u):
    """beta_z_sd (K,) at coordinates u, or None where the first stage is not learnt."""
    size = 1 + prob.data.t.shape[1]
    log_sd = u[size * (size + 1) // 2 :]
    return np.exp(log_sd) * weighted_sd(prob, prob.data.t) if len(log_sd) else None


def weighted_sd(prob, value):
    centre = np.average(value, axis=0, weights=prob.weight)
    return np.sqrt(np.average((value - centre) ** 2, axis=0, weights=prob.weight))


def stacked(prob, u):
    """The dense design, its priors those at u; an intercept is the one its prior speaks of."""
    data, priors = prob.data, prob.design.priors
    beta_z_sd = learned_sd(prob, u)
    if beta_z_sd is not None:
        scale = beta_z_sd / weighted_sd(prob, data.z)[:, None]
        priors = replace(priors, beta_z=replace(priors.beta_z, scale=scale))
    n, k = data.n_rows, data.t.shape[1]
    x, z, t = (
        value - np.average(value, axis=0, weights=prob.weight) if priors.centered else value
        for value in (data.x, data.z, data.t)
    )
    one = np.ones((n, 1))
    outcome = [("intercept_y", one), ("beta_t", t), ("direct", z), ("gamma_y", x)]
    first_stage = [("intercept_t", one), ("beta_z", z), ("gamma_t", x)]
    labels, columns, loc, scale, at = [], [], [], [], 0
    for regressors, equations in ((outcome, [0]), (first_stage, range(1, 1 + k))):
        for name, value in regressors:
            prior = getattr(priors, name)
            if prior is None or not prior.loc.size:
                continue
            # The entries of (regressor, equation), regressor first as in the parameter.
            for j in range(value.shape[1]):
                for d in equations:
                    column = np.zeros((n, 1 + k))
                    column[:, d] = value[:, j]
                    columns.append(column)
            labels.append((name, prior.loc.shape, range(at, at + prior.loc.size)))
            loc.append(prior.loc.ravel())
            scale.append(prior.scale.ravel())
            at += prior.loc.size
    response = np.column_stack([data.y, data.t])
    if not columns:
        return Stacked([], np.zeros((n, 1 + k, 0)), response, np.zeros(0), np.ones(0))
    return Stacked(
        labels, np.stack(columns, -1), response, np.concatenate(loc), np.concatenate(scale)
    )


def rows_log_density(prob, draws, i):
    """log p(rows | theta, Sigma) at draw i of the raw parameters, row by row."""
    values = {name: value[i] for name, value in draws.items()}
    data = prob.data
    mean_y = data.t @ values["beta_t"] + data.x @ values["gamma_y"] + values.get("intercept_y", 0.0)
    if "direct" in values:
        mean_y = mean_y + data.z @ values["direct"]
    mean_t = data.z @ values["beta_z"] + data.x @ values["gamma_t"] + values.get("intercept_t", 0.0)
    errors = np.column_stack([data.y - mean_y, data.t - mean_t])
    normal = stats.multivariate_normal(np.zeros(errors.shape[1]), values["cov"])
    return float(prob.weight @ np.atleast_1d(normal.logpdf(errors)))


# --- The coordinates u, and PyMC's own ------------------------------------------------------


def sigma_of(u, sd, xp=np):
    """Sigma in raw units: e_j = sum_{k<j} a_jk e_k + v_j, treatments first, outcome last."""
    size, n_below = len(sd), len(sd) * (len(sd) - 1) // 2
    place = np.zeros((size, size, n_below))
    place[*np.tril_indices(size, -1), np.arange(n_below)] = 1.0
    root = xp.linalg.solve(
        np.eye(size) - place @ u[size : size + n_below], xp.diag(xp.exp(u[:size]))
    )
    order = np.array([size - 1, *range(size - 1)])  # equations: outcome, treatments
    return (root @ root.T)[order][:, order] * np.outer(sd, sd)


def collapsed(design, u):
    """The package's density in NumPy at points of shape (N, dim)."""
    shape, arrays = design.shape, design.arrays
    loc = [np.asarray(arrays.loc[j]) for j in shape.effect_positions]
    precision = [np.asarray(arrays.precision[j]) for j in shape.effect_positions]
    return np.asarray(log_likelihood_and_prior(shape, u.T, arrays, loc, precision, np))


def packed_factor(matrix):
    """Lower Cholesky factor row by row."""
    return jnp.linalg.cholesky(matrix)[np.tril_indices(len(matrix))]


def covariance_variables(u, sd, regression):
    """PyMC's free variables of the covariance, by name."""
    sigma = sigma_of(u, sd, jnp)
    if len(sd) == 1:
        return {"sigma": jnp.sqrt(sigma[0])}
    if not regression:
        return {"chol_cov": packed_factor(sigma)}
    within = sigma[1:, 1:]
    alpha = jnp.linalg.solve(within, sigma[1:, 0])
    out = {"alpha": alpha, "sigma_v": jnp.sqrt(sigma[0, 0] - alpha @ sigma[1:, 0])}
    name = "chol_cov_t" if len(sd) > 2 else "sigma_t"
    return out | {name: packed_factor(within)}


@cache
def compiled_variables(sd, regression):
    """Function of u: Jacobian of PyMC's free variables of the covariance, and their values."""

    def flat(u):
        values = covariance_variables(u, np.array(sd), regression)
        return jnp.concatenate([jnp.ravel(value) for value in values.values()]), values

    return jax.jit(jax.jacfwd(flat, has_aux=True))


def change_of_variables(prob, u):
    """PyMC's free variables at u but for the coefficients, and log |d(variables) / du|."""
    regression = prob.design.shape.sigma_prior == "regression"
    both = compiled_variables(tuple(prob.design.response_sd), regression)
    size = len(prob.design.response_sd)
    with jax.enable_x64(True):
        jacobian, values = both(u[: size * (size + 1) // 2])
        values = {name: np.asarray(value) for name, value in values.items()}
        log_jacobian = np.linalg.slogdet(np.asarray(jacobian))[1]
    beta_z_sd = learned_sd(prob, u)
    if beta_z_sd is None:
        return values, log_jacobian
    return values | {"beta_z_sd": beta_z_sd}, log_jacobian + np.log(beta_z_sd).sum()


def value_point(model, values):
    """Values of the model's free variables -> what its compiled density takes."""
    point = {}
    for rv in model.free_RVs:
        name, value = model.rvs_to_values[rv].name, np.array(values[rv.name])
        if name.endswith("_log__"):
            value = np.log(value)
        elif name.endswith("_cholesky-cov-packed__"):
            size = int((np.sqrt(8 * len(value) + 1) - 1) / 2)
            diagonal = np.cumsum(np.arange(1, size + 1)) - 1
            value[diagonal] = np.log(value[diagonal])
        point[name] = value
    return point


@dataclass(frozen=True, eq=False)
class Points:
    """Random points (theta, u), and the two densities whose difference is p_collapsed."""

    u: np.ndarray  # (N, dim)
    pymc: np.ndarray  # (N,) log p_pymc in the coordinates (theta, u)
    normal: np.ndarray  # (N,) log N(theta; A^-1 b, A^-1)


@cache
def points(case):
    """Points over several posterior standard deviations, where both densities count."""
    prob = problem(case)
    rng = np.random.default_rng(7)
    model = state_rows(prob.data, prob.design)
    log_p = model.compile_logp(jacobian=False, **FAST)
    at, spread = start(prob.design)
    u = at + 3.0 * rng.normal(size=(N_POINTS, at.size)) * spread
    pymc, normal = np.empty(N_POINTS), np.empty(N_POINTS)
    for i in range(N_POINTS):
        values, log_jacobian = change_of_variables(prob, u[i])
        sigma, rows = sigma_of(u[i], prob.design.response_sd), stacked(prob, u[i])
        mean, a = rows.conditional(prob.weight, sigma)
        theta = mean + 2.0 * np.linalg.solve(np.linalg.cholesky(a).T, rng.normal(size=len(mean)))
        normal[i] = 0.5 * (np.linalg.slogdet(a)[1] - (theta - mean) @ a @ (theta - mean))
        coefficients = rows.unstack(theta)
        values |= coefficients | {f"{name}_centered": v for name, v in coefficients.items()}
        pymc[i] = log_p(value_point(model, values)) + log_jacobian
    return Points(u, pymc, normal)

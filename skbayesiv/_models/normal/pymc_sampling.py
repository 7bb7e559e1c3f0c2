"""Sampling the row-level model with PyMC: a second way to the same posterior."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from skbayesiv._models.normal.design import Design
from skbayesiv._models.normal.draws import draw_posterior
from skbayesiv._models.normal.log_prior import log_prior
from skbayesiv._models.normal.start import start
from skbayesiv._models.parts import error_covariance as cov
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._sampling.pymc_nuts import run_nuts, statistics
from skbayesiv._sampling.target import Draws, Settings
from skbayesiv._typing import Array


def sample_rows(model: Any, design: Design, settings: Settings) -> tuple[Draws, Posterior]:
    """Sample the row-level model with PyMC's NUTS, one chain after the other.

    Chains start at draws from around the posterior's bulk, as NumPyro's do.

    Parameters
    ----------
    model : pymc.Model
        Of :func:`state_rows`.
    design : Design
    settings : Settings

    Returns
    -------
    draws : Draws
        Positions are the density's coordinates in standardised units.
    posterior : Posterior
    """
    tree = run_nuts(model, _initial_values(model, design, settings), settings)
    values = _flat(tree.posterior)
    entries = np.moveaxis(values["cov"] / np.outer(design.response_sd, design.response_sd), 0, -1)
    position = cov.coordinates([list(row) for row in entries], np).T
    if design.priors.beta_z_sd_scale is not None:
        log_sd = np.log(values["beta_z_sd"] / design.priors.beta_z_sd_scale)
        position = np.concatenate([position, log_sd], axis=1)
    shaped = position.reshape(settings.chains, settings.draws, -1)
    return Draws(shaped, statistics(tree)), _posterior(design, values)


def _initial_values(model: Any, design: Design, settings: Settings) -> list[dict[str, Array]]:
    """One point for each chain: jittered coordinates, and coefficients drawn given these."""
    at, spread = start(design)
    generator = np.random.default_rng(settings.seed)
    jitter = generator.uniform(-1.0, 1.0, (settings.chains, at.size))
    drawn = draw_posterior(design, at + jitter * spread, generator)
    values = drawn.values | {f"{name}_centered": value for name, value in drawn.centered.items()}
    values |= _covariance_values(drawn.values["cov"])
    free = [variable.name for variable in model.free_RVs]
    return [{name: values[name][i] for name in free} for i in range(settings.chains)]


def _covariance_values(matrix: Array) -> dict[str, Array]:
    """Free variables of every form of the covariance's prior, at covariances (N, D, D)."""
    within = matrix[:, 1:, 1:]
    alpha, variance = cov.split_outcome(matrix)
    return {
        "chol_cov": _packed(matrix),
        "chol_cov_t": _packed(within),
        "sigma_t": np.sqrt(np.diagonal(within, axis1=1, axis2=2)),
        "alpha": alpha,
        "sigma_v": np.sqrt(variance),
    }


def _packed(matrix: Array) -> Array:
    """Cholesky factors row by row, as PyMC keeps them."""
    at = np.tril_indices(matrix.shape[-1])
    return np.asarray(np.linalg.cholesky(matrix)[:, at[0], at[1]])


def _flat(posterior: Any) -> dict[str, Array]:
    """Draws of shape (chains * draws, ...) by name."""
    values = {name: variable.to_numpy() for name, variable in posterior.data_vars.items()}
    return {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}


def _posterior(design: Design, values: dict[str, Array]) -> Posterior:
    """Choose and complete the posterior's variables: those without entries are not in PyMC."""
    c, n_draws = design.std.columns, len(values["cov"])
    p, q, k = len(c.covariates), len(c.instruments), len(c.treatments)
    shapes = {"beta_t": (k,), "gamma_y": (p,), "beta_z": (q, k), "gamma_t": (p, k)}
    empty = {name: np.empty((n_draws, *shape)) for name, shape in shapes.items()}
    centered = {}
    if design.priors.intercept_y is not None:
        empty["intercept_t"] = np.empty((n_draws, k))
        values = empty | values
        for name in ("intercept_y", "intercept_t"):
            centered[name] = values.get(f"{name}_centered", values[name])
    kept = {"intercept_y", "direct", "beta_z_sd", "sigma", "corr", "cov", *empty}
    values = {name: value for name, value in (empty | values).items() if name in kept}
    total = {"total": _log_likelihood(design, values)}
    return Posterior(values, log_prior(design.priors, values, centered), total, centered)


def _log_likelihood(design: Design, values: dict[str, Array]) -> Array:
    """Log density of all rows at each draw, from the moments.

    The errors are e = B (w - mean w) + e(mean w) with w the columns [x, z, t, y] and B of shape
    (D, C), so that their cross-products are n (B Var(w) B' + e(mean w) e(mean w)').
    """
    c, std, n_draws = design.std.columns, design.std, len(values["cov"])
    size = design.shape.n_equations
    b = np.zeros((n_draws, size, len(c.names)))
    b[:, 0, c.y] = 1.0
    b[:, 1:, c.t] = np.eye(size - 1)
    b[:, 0, c.t] = -values["beta_t"]
    b[:, 0, c.x] = -values["gamma_y"]
    b[:, 0, c.z] = -values.get("direct", 0.0)
    b[:, 1:, c.x] = -np.swapaxes(values["gamma_t"], 1, 2)
    b[:, 1:, c.z] = -np.swapaxes(values["beta_z"], 1, 2)
    level = b @ std.mean
    if "intercept_y" in values:
        level[:, 0] -= values["intercept_y"]
        level[:, 1:] -= values["intercept_t"]
    b = b * std.sd
    products = b @ std.corr @ np.swapaxes(b, 1, 2) + level[:, :, None] * level[:, None, :]
    trace = np.trace(np.linalg.solve(values["cov"], products), axis1=1, axis2=2)
    log_det = np.linalg.slogdet(values["cov"])[1]
    return -0.5 * std.n * (size * math.log(2 * math.pi) + log_det + np.asarray(trace))

"""Log prior density of draws by parameter, in raw units."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbayesiv._models.normal.design import Design
from skbayesiv._models.normal.draws import Parameters
from skbayesiv._models.parts.priors import Normal
from skbayesiv._models.parts.scales import (
    log_half_cauchy,
    log_half_t,
    log_normal_density,
)
from skbayesiv._typing import Array


def log_prior(design: Design, parameters: Parameters) -> dict[str, Array]:
    """Log prior density of each draw by parameter, in raw units (LKJ up to its constant)."""
    priors, values = design.priors, parameters.values
    out = {}
    for name, prior in priors.normals():
        if name == "alpha":
            continue
        value = parameters.centered.get(name, values.get(name))
        out[name] = _log_normal(np.asarray(value), prior)
    log_sigma = np.log(values["sigma"])
    if priors.alpha is None:
        out["sigma"] = log_half_cauchy(log_sigma, priors.sigma_scale, np).sum(-1)
        if values["sigma"].shape[1] > 1:
            out["corr"] = (priors.lkj_eta - 1.0) * np.linalg.slogdet(values["corr"])[1]
        return out
    return out | _log_prior_regression(values, priors)


def _log_prior_regression(values: dict[str, Array], priors: Any) -> dict[str, Array]:
    """Half-t and half-Cauchy scales under ``sigma``; alpha and the treatments' R under ``corr``."""
    matrix = values["cov"]
    within = matrix[:, 1:, 1:]
    alpha = np.linalg.solve(within, matrix[:, 1:, :1])[..., 0]
    rest = matrix[:, 0, 0] - np.einsum("nk,nk->n", alpha, matrix[:, 0, 1:])
    log_sigma = np.log(values["sigma"][:, 1:])
    sigma = log_half_cauchy(log_sigma, priors.sigma_scale[1:], np).sum(-1)
    sigma = sigma + log_half_t(0.5 * np.log(rest), priors.sigma_scale[0], np)
    corr = _log_normal(alpha, priors.alpha)
    log_det = np.linalg.slogdet(values["corr"][:, 1:, 1:])[1]
    return {"sigma": sigma, "corr": corr + (priors.lkj_eta - 1.0) * log_det}


def _log_normal(value: Array, prior: Normal) -> Array:
    density = log_normal_density(value, prior.loc, prior.scale, np)
    return np.asarray(density.reshape(len(value), -1).sum(axis=1))

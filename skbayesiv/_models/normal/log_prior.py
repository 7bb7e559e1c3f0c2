"""Log prior density of draws by parameter, in raw units (LKJ up to its constant)."""

from __future__ import annotations

import numpy as np

from skbayesiv._models.parts.error_covariance import split_outcome
from skbayesiv._models.parts.priors import Normal, Priors
from skbayesiv._models.parts.scales import HALF_CAUCHY, HALF_T
from skbayesiv._typing import Values


def log_prior(priors: Priors, values: Values, centered: Values) -> Values:
    """Log prior density of each draw by parameter.

    Parameters
    ----------
    priors : Priors
    values : dict of str to ndarray of shape (N, ...)
        By the posterior's names.
    centered : dict of str to ndarray
        The intercepts as their priors see them.

    Returns
    -------
    dict of str to ndarray of shape (N,)
    """
    out = {
        name: prior.log_density(np.asarray(centered.get(name, values.get(name))))
        for name, prior in priors.normals()
        if name != "alpha"
    }
    if priors.beta_z_sd_scale is not None:
        out["beta_z"] = priors.first_stage(values).log_density(values["beta_z"])
        log_sd = np.log(values["beta_z_sd"])
        out["beta_z_sd"] = HALF_CAUCHY.log_pdf(log_sd, priors.beta_z_sd_scale, np).sum(-1)
    if priors.alpha is not None:
        return out | _regression(values, priors, priors.alpha)
    out["sigma"] = HALF_CAUCHY.log_pdf(np.log(values["sigma"]), priors.sigma_scale, np).sum(-1)
    if values["sigma"].shape[1] > 1:
        out["corr"] = (priors.lkj_eta - 1.0) * np.linalg.slogdet(values["corr"])[1]
    return out


def _regression(values: Values, priors: Priors, alpha_prior: Normal) -> Values:
    """Half-t and half-Cauchy scales under ``sigma``; alpha and the treatments' R under ``corr``."""
    alpha, variance = split_outcome(values["cov"])
    log_sigma = np.log(values["sigma"][:, 1:])
    sigma = HALF_CAUCHY.log_pdf(log_sigma, priors.sigma_scale[1:], np).sum(-1)
    sigma = sigma + HALF_T.log_pdf(0.5 * np.log(variance), priors.sigma_scale[0], np)
    log_det = np.linalg.slogdet(values["corr"][:, 1:, 1:])[1]
    corr = alpha_prior.log_density(alpha) + (priors.lkj_eta - 1.0) * log_det
    return {"sigma": sigma, "corr": corr}

"""Draws of all parameters from their priors, where these are proper."""

from __future__ import annotations

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._models.parts.error_covariance import join_outcome
from skbayesiv._models.parts.intercepts import at_means
from skbayesiv._models.parts.priors import Priors
from skbayesiv._models.parts.scales import HALF_CAUCHY, HALF_T
from skbayesiv._typing import Array, Values


def prior_draws(
    priors: Priors,
    mean: Array,
    columns: Columns,
    n_draws: int,
    generator: np.random.Generator,
    beta_t: Array | None = None,
) -> Values:
    """Draw all parameters from their priors.

    Parameters
    ----------
    priors : Priors
    mean : ndarray of shape (C,)
        Means of the columns, at which centred intercepts are defined.
    columns : Columns
    n_draws : int
    generator : numpy.random.Generator
    beta_t : ndarray of shape (n_draws, K), optional
        Draws of the effects, where their prior is another than in `priors`.
    """
    values = {"beta_t": priors.beta_t.draw(n_draws, generator)}
    if priors.beta_z_sd_scale is not None:
        shape = (n_draws, len(priors.beta_z_sd_scale))
        values["beta_z_sd"] = HALF_CAUCHY.draw(priors.beta_z_sd_scale, shape, generator)
    values["beta_z"] = priors.first_stage(values).draw(n_draws, generator)
    values["gamma_y"] = priors.gamma_y.draw(n_draws, generator)
    values["gamma_t"] = priors.gamma_t.draw(n_draws, generator)
    if beta_t is not None:
        values["beta_t"] = beta_t
    if priors.direct is not None:
        values["direct"] = priors.direct.draw(n_draws, generator)
    if priors.intercept_y is not None and priors.intercept_t is not None:
        y = priors.intercept_y.draw(n_draws, generator)
        t = priors.intercept_t.draw(n_draws, generator)
        if priors.centered:
            of_y, of_t = at_means(values, mean, columns)
            y, t = y - of_y, t - of_t
        values |= {"intercept_y": y, "intercept_t": t}
    if not priors.sigma_scale.size:  # moment conditions have no error covariance
        return values
    return values | _draw_covariance(priors, n_draws, generator)


def _draw_covariance(priors: Priors, n_draws: int, generator: np.random.Generator) -> Values:
    size = len(priors.sigma_scale)
    within = size if priors.alpha is None else size - 1
    sigma = HALF_CAUCHY.draw(priors.sigma_scale[size - within :], (n_draws, within), generator)
    corr = lkj_draws(within, priors.lkj_eta, n_draws, generator)
    cov = corr * sigma[:, :, None] * sigma[:, None, :]
    if priors.alpha is not None:
        alpha = priors.alpha.draw(n_draws, generator)
        v = HALF_T.draw(priors.sigma_scale[0], (n_draws,), generator)
        cov = join_outcome(alpha, v**2, cov, np)
    sigma = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
    return {"sigma": sigma, "cov": cov, "corr": cov / (sigma[:, :, None] * sigma[:, None, :])}


def lkj_draws(size: int, eta: float, n_draws: int, generator: np.random.Generator) -> Array:
    """Correlation matrices from LKJ(eta), by the onion method.

    Lewandowski, Kurowicka and Joe (2009), section 3.2: with beta = eta + (d - 2)/2 the first
    correlation is 2 Beta(beta, beta) - 1; then each further row is the square root of a
    Beta(k/2, beta) times a uniform direction, carried through the Cholesky factor.
    """
    corr = np.ones((n_draws, size, size))
    if size == 1:
        return corr
    beta = eta + (size - 2) / 2.0
    first = 2.0 * generator.beta(beta, beta, n_draws) - 1.0
    corr[:, 0, 1] = corr[:, 1, 0] = first
    for k in range(2, size):
        beta -= 0.5
        radius = np.sqrt(generator.beta(k / 2.0, beta, n_draws))
        direction = generator.standard_normal((n_draws, k))
        direction *= (radius / np.linalg.norm(direction, axis=1))[:, None]
        row = np.einsum("nij,nj->ni", np.linalg.cholesky(corr[:, :k, :k]), direction)
        corr[:, k, :k] = corr[:, :k, k] = row
    return corr

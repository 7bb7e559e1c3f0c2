"""Exact draws of everything else given the effects, under the moment conditions alone.

Let G, s be the means of the scores at the true coefficients: s ~ N(0, C / n) with C their robust
second moments. Given beta, the least-squares estimates differ from the truth by

    h e:  H (gamma_hat(beta) - gamma) = s_he        (outcome, gamma_hat from y - t'beta - z'delta)
    f v:  F (theta_hat - theta)       = s_fv        (first stage)
    z e:  g(beta) - G delta           = s_ze        (what the criterion looks at)

and theirs is one joint normal distribution, so that the coefficients given beta are normal,
shifted by what s_ze = g(beta) says of the other scores. Draws need no factorisation for each
beta: draw s ~ N(0, C / n) for all products f (x) d once and for all, contract it with the
contrast (1, b - beta), and correct it by Matheron's rule, s + Cov(s, g) Var(g)^-1 (g(beta) - g_s),
which is an exact draw given g(beta) (Doucet 2010). The effects themselves are drawn by the
likelihood ratio of the criterion, which for few units is wider than this normal distribution.

References
----------
Doucet, A. (2010). A note on efficient conditional simulation of Gaussian distributions.
Technical report, University of British Columbia.
"""

from __future__ import annotations

import numpy as np

from skbayesiv._models.moment_conditions.density import contrasts, log_criterion, weight_matrix
from skbayesiv._models.moment_conditions.design import CriterionDesign
from skbayesiv._models.parts.intercepts import at_means
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._typing import Array, Values

CHUNK_FLOATS = 1 << 22


def draw_given_effects(
    design: CriterionDesign, position: Array, generator: np.random.Generator
) -> Posterior:
    """Draw all coefficients given the effects.

    `cov` is no parameter but the sample's covariance of the residuals at each draw of the effects
    and the first stage. `criterion` is the log quasi-likelihood of the effects, of which the direct
    effects are no arguments. Without observations coefficients with flat priors, all but the
    effects and the direct effects, are NaN.

    Parameters
    ----------
    design : CriterionDesign
    position : ndarray of shape (N, K)
        Standardised effects.
    generator : numpy.random.Generator
    """
    scores = design.scores
    size, n_draws = scores.mean.size, len(position)
    factor = np.linalg.cholesky(scores.cross.reshape(size, size))
    rows = max(1, CHUNK_FLOATS // size)
    noise = generator.standard_normal((n_draws, size))
    direct = np.zeros((n_draws, design.shape.n_instruments))
    if design.direct_scale is not None:
        direct = design.direct_scale * generator.standard_normal(direct.shape)
    parts = []
    for start in range(0, n_draws, rows):
        at = slice(start, start + rows)
        drawn = (noise[at] @ factor.T).reshape(-1, *scores.mean.shape)
        parts.append(_condition(design, position[at], drawn, direct[at]))
    errors_h, errors_f, direct, criterion = (
        np.concatenate(piece) for piece in zip(*parts, strict=True)
    )
    h, z = slice(0, scores.n_h), slice(scores.n_h, None)
    beta_z = scores.first_stage - np.linalg.solve(scores.gram[z, z], errors_f[:, z])
    values = _coefficients(design, position, direct, beta_z, errors_h, errors_f[:, h])
    values["cov"] = _residual_covariance(design, position, direct, beta_z)
    prior = {name: normal.log_density(values[name]) for name, normal in design.priors.normals()}
    return Posterior(values, prior, {"criterion": criterion})


def _condition(
    design: CriterionDesign, beta: Array, drawn: Array, direct: Array
) -> tuple[Array, Array, Array, Array]:
    """Condition root-n scores (N, F, E) ~ N(0, C) and direct effects (N, Q) on root-n g(beta).

    Returns
    -------
    errors_h : ndarray of shape (N, H), scores h e
    errors_f : ndarray of shape (N, F, K), scores f v
    direct : ndarray of shape (N, Q)
    criterion : ndarray of shape (N,)
    """
    scores, arrays = design.scores, design.arrays
    z, k = slice(scores.n_h, None), design.shape.n_treatments
    both, root_n = slice(0, 1 + k), np.sqrt(scores.n)
    gram = root_n * scores.gram[z, z]
    a = contrasts(arrays, beta)
    g = a @ arrays.moment.T
    wide = weight_matrix(arrays.weight, a, np) + arrays.direct
    error_z = (drawn[:, z, both] @ a[..., None])[..., 0]
    pull = np.linalg.solve(wide, (g - direct @ gram - error_z)[..., None])
    lift = (pull * a[:, None, :]).reshape(len(a), -1)
    width = scores.mean.size
    drawn = drawn + (lift @ scores.cross[:, :, z, both].reshape(width, -1).T).reshape(drawn.shape)
    if design.direct_scale is not None:
        direct = direct + design.direct_scale**2 * (pull[..., 0] @ gram)
    criterion = log_criterion(design.shape, list(beta.T), arrays, np)
    drawn = drawn / (root_n or np.nan)
    errors_h = (drawn[:, : scores.n_h, both] @ a[..., None])[..., 0]
    return errors_h, drawn[:, :, 1 + k :], direct, criterion


def _coefficients(
    design: CriterionDesign,
    beta: Array,
    direct: Array,
    beta_z: Array,
    errors_y: Array,
    errors_t: Array,
) -> Values:
    """Least-squares coefficients on h less what the scores say they are off, in raw units.

    `beta_z` (N, Q, K) is the drawn first stage; `errors_y` (N, H) and `errors_t` (N, H, K) are
    the scores h e and h v.
    """
    scores, std, c = design.scores, design.std, design.std.columns
    q, k, n_h = design.shape.n_instruments, design.shape.n_treatments, scores.n_h
    on_z, on_t, on_y = np.split(scores.on_h, [q, q + k], axis=1)
    gram_h = scores.gram[:n_h, :n_h]
    outcome = on_y[:, 0] - beta @ on_t.T - direct @ on_z.T
    outcome = outcome - np.linalg.solve(gram_h, errors_y.T).T
    first = on_t - on_z @ beta_z - np.linalg.solve(gram_h, errors_t)
    p = len(c.covariates)
    sd_x, sd_z, sd_t, sd_y = std.sd[c.x], std.sd[c.z], std.sd[c.t], std.sd[c.y]
    values: Values = {
        "beta_t": beta * design.unit,
        "beta_z": beta_z * sd_t / sd_z[:, None],
        "gamma_y": outcome[:, n_h - p :] * sd_y / sd_x,
        "gamma_t": first[:, n_h - p :] * sd_t / sd_x[:, None],
    }
    if design.direct_scale is not None:
        values["direct"] = direct * sd_y / sd_z
    if n_h == p:
        return values
    of_y, of_t = at_means(values, std.mean, c)
    intercepts = {
        "intercept_y": std.mean[c.y] + outcome[:, 0] * sd_y - of_y,
        "intercept_t": std.mean[c.t] + first[:, 0] * sd_t - of_t,
    }
    return intercepts | values


def _residual_covariance(
    design: CriterionDesign, beta: Array, direct: Array, beta_z: Array
) -> Array:
    """Second moments of (y~ - t~'beta - z~'delta, t~ - beta_z'z~) at each draw, in raw units."""
    scores, std, c = design.scores, design.std, design.std.columns
    q, k = design.shape.n_instruments, design.shape.n_treatments
    contrast = np.zeros((len(beta), 1 + k, q + k + 1))
    contrast[:, 0, q + k] = 1.0
    contrast[:, 0, q : q + k] = -beta
    contrast[:, 0, :q] = -direct
    contrast[:, 1:, q : q + k] = np.eye(k)
    contrast[:, 1:, :q] = -beta_z.transpose(0, 2, 1)
    contrast = contrast * np.append(std.sd[c.y], std.sd[c.t])[:, None]
    return np.asarray(contrast @ scores.partial @ contrast.transpose(0, 2, 1))

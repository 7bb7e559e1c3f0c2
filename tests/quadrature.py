"""Exact posterior moments by quadrature, written without the package's code.

One treatment, one instrument, no covariates: a grid over (log sigma_y, log sigma_t, atanh rho)
with the coefficients (intercept_y, beta_t | intercept_t, beta_z) integrated in closed form. The
coordinates, the algebra and the prior's Jacobian all differ from the package's. With a weak
instrument the posterior is curved in these coordinates and the grid, which is laid along its axes
at the mode, misses a part of it: use it at strong instruments only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

NAMES = ("intercept_y", "beta_t", "intercept_t", "beta_z")


@dataclass(frozen=True)
class Prior:
    """Normal priors of `NAMES`, half-Cauchy scales of (y, t), LKJ shape."""

    loc: tuple[float, ...] = (50.0, 0.0, 0.0, 0.0)
    scale: tuple[float, ...] = (10.0, 10.0, 1.0, 10.0)
    sigma_scale: tuple[float, float] = (2.0, 2.0)
    eta: float = 2.0


def cross_products(y, t, z, weight=None):
    """Gram matrix of the columns (1, z, t, y)."""
    rows = np.column_stack([np.ones_like(y), z, t, y])
    weight = np.ones(len(y)) if weight is None else weight
    return (rows * weight[:, None]).T @ rows


def log_posterior(q, gram, prior):
    """Log posterior at grid points q (N, 3), and the coefficients' mean and covariance."""
    sy, st, rho = np.exp(q[:, 0]), np.exp(q[:, 1]), np.tanh(q[:, 2])
    det = (sy * st) ** 2 * (1 - rho**2)
    omega = np.empty((len(q), 2, 2))
    omega[:, 0, 0], omega[:, 1, 1] = st**2 / det, sy**2 / det
    omega[:, 0, 1] = omega[:, 1, 0] = -rho * sy * st / det
    column, equation, response = [0, 2, 0, 1], np.array([0, 0, 1, 1]), [3, 2]
    big = omega[:, equation[:, None], equation]
    precision = np.diag(np.asarray(prior.scale) ** -2.0)
    a = gram[np.ix_(column, column)] * big + precision
    b = (gram[np.ix_(column, response)] * omega[:, equation]).sum(-1) + precision @ prior.loc
    covariance = np.linalg.inv(a)
    mean = np.einsum("nij,nj->ni", covariance, b)
    value = -0.5 * gram[0, 0] * np.log(det)
    value -= 0.5 * np.einsum("nde,de->n", omega, gram[np.ix_(response, response)])
    value += 0.5 * (b * mean).sum(-1) - 0.5 * np.linalg.slogdet(a)[1]
    # d(sigma, rho)/dq = sigma_y sigma_t (1 - rho^2), LKJ(eta): (1 - rho^2)^(eta - 1).
    value += prior.eta * np.log1p(-(rho**2)) + q[:, 0] + q[:, 1]
    value -= np.log1p((sy / prior.sigma_scale[0]) ** 2)
    value -= np.log1p((st / prior.sigma_scale[1]) ** 2)
    return value, mean, covariance


def posterior(gram, prior=None, points=41, width=7.0):
    """Mean and sd of every parameter, and the log normalising constant.

    The constant includes the coefficients' prior normaliser, so that values under different
    priors of beta_t compare.
    """
    prior = prior or Prior()
    mode, hessian = _mode(lambda q: log_posterior(q, gram, prior)[0])
    root = np.linalg.cholesky(np.linalg.inv(-hessian))
    axis = np.linspace(-width, width, points)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    q = mode + grid @ root.T
    value, mean, covariance = log_posterior(q, gram, prior)
    weight = np.exp(value - value.max())
    constant = value.max() + np.log(weight.sum() * (axis[1] - axis[0]) ** 3 * np.linalg.det(root))
    precision = np.asarray(prior.scale) ** -2.0
    constant += 0.5 * np.log(precision).sum() - 0.5 * (precision * np.square(prior.loc)).sum()
    weight /= weight.sum()
    out = {}
    for i, name in enumerate(NAMES):
        out[name] = _moments(weight, mean[:, i], covariance[:, i, i])
    out["sigma_y"] = _moments(weight, np.exp(q[:, 0]), 0.0)
    out["sigma_t"] = _moments(weight, np.exp(q[:, 1]), 0.0)
    out["rho"] = _moments(weight, np.tanh(q[:, 2]), 0.0)
    return out, constant


def posterior_with_learnt_first_stage(gram, unit, prior=None, points=25, width=6.5):
    """Mean and sd of every parameter and of log s, with beta_z ~ N(loc, (s unit)^2).

    s is half-Cauchy(1). The posteriors given s, of the other three coordinates, are joined by
    their normalising constants on a grid of log s: for strong instruments, that rule out s near 0.
    """
    prior = prior or Prior()
    log_s = np.arange(-4.0, 9.0, 0.2)
    given, log_weight = [], []
    for s in np.exp(log_s):
        fixed = replace(prior, scale=(*prior.scale[:3], s * unit))
        moments, constant = posterior(gram, fixed, points, width)
        given.append(moments)
        log_weight.append(constant + np.log(s) - np.log1p(s**2))
    weight = np.exp(np.array(log_weight) - np.max(log_weight))
    weight /= weight.sum()
    out = {"log_s": _moments(weight, log_s, 0.0)}
    for name in given[0]:
        mean, sd = np.array([moments[name] for moments in given]).T
        out[name] = _moments(weight, mean, sd**2)
    return out


def _mode(density, h=1e-4):
    """Newton's method from near the push experiment's mode: the mode, and the Hessian there.

    `density` takes many points at once: derivatives are differences, and steps are tried in many
    lengths.
    """
    eye, lengths = np.eye(3), 0.5 ** np.arange(20)[:, None]
    plus, minus = (h * (eye[:, None] + sign * eye).reshape(9, 3) for sign in (1, -1))
    stencil = np.concatenate([plus, -plus, minus, -minus, h * eye, -h * eye])
    q = np.log([25.0, 0.3, np.e**0.3])
    for _ in range(100):
        value = density(q + stencil)
        pp, mm, pm, mp = value[:36].reshape(4, 9)
        hessian = ((pp + mm - pm - mp) / (4 * h * h)).reshape(3, 3)
        gradient = (value[36:39] - value[39:]) / (2 * h)
        curvature, axes = np.linalg.eigh(hessian)
        step = axes @ (axes.T @ gradient / np.abs(curvature))
        if np.abs(step).max() < 1e-6:
            return q, hessian
        tried = q + lengths * step
        q = tried[np.nanargmax(density(tried))]
    raise RuntimeError("no mode was found")


def _moments(weight, mean, variance):
    centre = (weight * mean).sum()
    return centre, np.sqrt((weight * (variance + (mean - centre) ** 2)).sum())

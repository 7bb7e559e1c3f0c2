"""Exact posterior of the push experiment under the published notebook's priors.

    python tests/reference/push_posterior.py > tests/reference/push_posterior.json

Gauss-Hermite quadrature over (log s_t, a, log s_v), where sd(e_t) = s_t and e_y = a e_t + v with
sd(v) = s_v; the four coefficients are integrated out. Neither the package's algebra, nor the
coordinates, the sums over the data and the rule of ``tests/quadrature.py``.
"""

from __future__ import annotations

import json

import numpy as np
from scipy.optimize import minimize

from skbayesiv.datasets import load_push_experiment

NODES = 20
LOC, SCALE = np.array([50.0, 0.0, 0.0, 0.0]), np.array([10.0, 10.0, 1.0, 10.0])
NAMES = ["intercept_y", "beta_t", "intercept_t", "beta_z"]


def cells():
    """Distinct (z, t): count, sum of y, sum of y^2."""
    frame = load_push_experiment(as_frame=True).frame
    y = frame["in_app_purchase"]
    table = frame.assign(y2=y**2).groupby(["push_assigned", "push_delivered"])
    table = table.agg(n=("in_app_purchase", "size"), s=("in_app_purchase", "sum"), s2=("y2", "sum"))
    return [(z, t, *row) for (z, t), row in zip(table.index, table.to_numpy(float), strict=True)]


def coefficients(a, s_t, s_v, data):
    """Log evidence, mean and covariance of the coefficients at one point.

    With t - c - z p = e_t and y - k - t b = a e_t + v, the whitened errors are e_t / s_t and
    (y - k - t b - a (t - c - z p)) / s_v: linear in (k, b, c, p).
    """
    precision, right, quadratic, n = np.diag(SCALE**-2.0), LOC / SCALE**2, 0.0, 0.0
    for z, t, count, total, squares in data:
        first = np.array([0.0, 0.0, 1.0, z]) / s_t
        second = np.array([1.0, t, -a, -a * z]) / s_v
        precision = precision + count * (np.outer(first, first) + np.outer(second, second))
        right = right + count * t / s_t * first + (total - count * a * t) / s_v * second
        quadratic += count * (t / s_t) ** 2
        quadratic += (squares - 2 * a * t * total + count * (a * t) ** 2) / s_v**2
        n += count
    covariance = np.linalg.inv(precision)
    mean = covariance @ right
    value = -n * np.log(s_t * s_v) - 0.5 * quadratic + 0.5 * right @ mean
    return value - 0.5 * np.linalg.slogdet(precision)[1], mean, covariance


def log_posterior(u, eta, data):
    """Log density of (log s_t, a, log s_v), and what else is wanted there."""
    s_t, a, s_v = np.exp(u[0]), u[1], np.exp(u[2])
    s_y = np.hypot(a * s_t, s_v)
    rho = a * s_t / s_y
    value, mean, covariance = coefficients(a, s_t, s_v, data)
    # d(s_t, rho, s_y) = (s_t s_v / s_y)^2 / s_v d(log s_t, a, log s_v), from rho = a s_t / s_y.
    value += 2 * np.log(s_t * s_v / s_y)
    value += (eta - 1.0) * np.log1p(-(rho**2))
    value -= np.log1p((s_y / 2.0) ** 2) + np.log1p((s_t / 2.0) ** 2)
    return value, np.append(mean, [s_y, s_t, rho]), np.append(np.diag(covariance), [0.0] * 3)


def posterior(eta, data):
    def negative(u):
        return -log_posterior(u, eta, data)[0]

    options = {"xatol": 1e-9, "fatol": 1e-9, "maxiter": 5000}
    mode = minimize(negative, [-1.1, 24.0, 3.2], method="Nelder-Mead", options=options).x
    step = 1e-3 * np.diag([1.0, 20.0, 1.0])
    hessian = np.array(
        [
            [
                sum(i * j * negative(mode + i * p + j * q) for i in (1, -1) for j in (1, -1))
                / (4 * p.sum() * q.sum())
                for q in step
            ]
            for p in step
        ]
    )
    root = np.linalg.cholesky(np.linalg.inv(hessian))
    x, w = np.polynomial.hermite_e.hermegauss(NODES)
    grid = np.stack(np.meshgrid(x, x, x, indexing="ij"), -1).reshape(-1, 3)
    weights = np.prod(np.stack(np.meshgrid(w, w, w, indexing="ij"), -1), -1).ravel()
    found = [log_posterior(mode + root @ point, eta, data) for point in grid]
    value = np.array([f[0] for f in found]) + 0.5 * (grid**2).sum(1)
    weights = weights * np.exp(value - value.max())
    weights /= weights.sum()
    means, variances = (np.array([f[i] for f in found]) for i in (1, 2))
    mean = weights @ means
    sd = np.sqrt(weights @ (variances + (means - mean) ** 2))
    names = [*NAMES, "sigma_y", "sigma_t", "rho"]
    return {name: [mean[i], sd[i]] for i, name in enumerate(names)}


if __name__ == "__main__":
    DATA = cells()
    print(json.dumps({f"eta={eta}": posterior(eta, DATA) for eta in (1, 2)}, indent=1))

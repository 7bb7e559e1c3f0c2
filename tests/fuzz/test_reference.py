"""The fuzz's own numbers, against formulas as they stand in a textbook."""

from __future__ import annotations

import numpy as np
import pytest
from fuzz.reference import least_squares, moments

N = 60
RNG = np.random.default_rng(0)
X, Z = RNG.normal(size=(N, 2)), RNG.normal(size=(N, 3))
T = Z.sum(axis=1, keepdims=True) + X[:, :1] + RNG.normal(size=(N, 1))
Y = 2.0 * T + X.sum(axis=1, keepdims=True) + RNG.normal(size=(N, 1))
WEIGHT = RNG.integers(1, 4, N)
CLUSTERS = np.arange(N) % 12


def textbook(cov_type, *, liml=False, rows=None):
    """Coefficients and standard errors by normal equations, a row for each unit of weight."""
    rows = np.arange(N) if rows is None else rows
    x, z, t, y, g = (part[rows] for part in (X, Z, T, Y[:, 0], CLUSTERS))
    one = np.ones((len(rows), 1))
    d, w, exogenous = np.hstack([t, x, one]), np.hstack([z, x, one]), np.hstack([x, one])
    project = w @ np.linalg.solve(w.T @ w, w.T)
    less = np.eye(len(rows)) - exogenous @ np.linalg.solve(exogenous.T @ exogenous, exogenous.T)
    v = np.column_stack([t, y])
    w0, w1 = v.T @ less @ v, v.T @ v - v.T @ project @ v
    kappa = np.linalg.eigvals(np.linalg.solve(w1, w0)).real.min() if liml else 1.0
    a = (1 - kappa) * d.T @ d + kappa * d.T @ project @ d
    b = np.linalg.solve(a, (1 - kappa) * d.T @ y + kappa * d.T @ project @ y)
    error, fitted = y - d @ b, project @ d
    scores = fitted * error[:, None]
    if cov_type == "clustered":
        scores = np.array([scores[g == label].sum(axis=0) for label in np.unique(g)])
    bread = np.linalg.inv(a)
    meat = scores.T @ scores
    cov = error @ error / len(y) * bread if cov_type == "unadjusted" else bread @ meat @ bread
    return b, np.sqrt(np.diag(cov))


@pytest.mark.parametrize("liml", [False, True])
@pytest.mark.parametrize("cov_type", ["robust", "unadjusted", "clustered"])
def test_least_squares(cov_type, liml):
    clusters = CLUSTERS if cov_type == "clustered" else None
    options = {"cov_type": cov_type, "fit_intercept": True, "debiased": False}
    answer = least_squares(Y, T, Z, X, liml=liml, weight=WEIGHT, clusters=clusters, **options)
    b, errors = textbook(cov_type, liml=liml, rows=np.repeat(np.arange(N), WEIGHT))
    np.testing.assert_allclose(answer.coef.astype(float), b[:-1], rtol=1e-10)
    np.testing.assert_allclose(float(answer.intercept), b[-1], rtol=1e-10)
    np.testing.assert_allclose(answer.std_errors.astype(float), errors[:-1], rtol=1e-10)
    assert answer.is_certain
    assert 0.0 < answer.tolerance.max() < 1e-7
    assert 0.0 < answer.std_tolerance.max() < 1e-7


def test_a_large_mean_costs_no_digits():
    options = {"cov_type": "robust", "fit_intercept": True, "debiased": False}
    shift = 2.0**40
    near, far = np.round(Y, 3) * 1024, np.round(np.round(Y, 3) * 1024) + shift
    one = least_squares(np.round(near), T, Z, X, **options)
    other = least_squares(far, T, Z, X, **options)
    np.testing.assert_allclose(other.coef.astype(float), one.coef.astype(float), rtol=1e-13)


def test_moments():
    table = np.hstack([X, Y])
    total, mean, scatter, _, allowed = moments(table, WEIGHT)
    rows = np.repeat(table, WEIGHT, axis=0)
    assert total == len(rows)
    np.testing.assert_allclose(mean.astype(float), rows.mean(axis=0), rtol=1e-12)
    found = scatter.astype(float)
    np.testing.assert_allclose(found, np.cov(rows.T, bias=True) * len(rows), rtol=1e-10)
    assert (allowed > 0).all()

"""Covariances of linear instrumental-variable estimates under frequency weights.

linearmodels takes weights as analytic: a row scaled by sqrt(w) has the score w x e, whose outer
product carries w^2. A row that stands for w equal rows contributes w x x' e^2, and w to the
number of observations, so that its covariances are computed here.

With W the weights, N their sum, X the regressors, Z the instruments (exogenous regressors are in
both) and e = y - X b, all estimators solve

    ((1 - kappa) X + kappa Z P)' W e = 0,    A = (1 - kappa) X'WX + kappa P'Z'WX,

with P = (Z'WZ)^-1 Z'WX and kappa = 0 for least squares, 1 for 2SLS, the smallest root for LIML;
GMM has kappa = 1 and P = S1^-1 Z'WX, S1 being the covariance of Z'We at the first step.
"""

from __future__ import annotations

import numpy as np

from skbayesiv._linear.covariance import COVARIANCES, cross
from skbayesiv._linear.equation import Equation
from skbayesiv._typing import Array


def two_stage(equation: Equation) -> Array:
    """Coefficients of two-stage least squares (of least squares, if all is exogenous)."""
    root = np.sqrt(equation.weight)
    exogenous = not equation.endogenous.shape[1]
    fitted = equation.x if exogenous else equation.z @ _projection(equation)
    return np.asarray(np.linalg.lstsq(root[:, None] * fitted, root * equation.y, rcond=None)[0])


def gmm_metric(equation: Equation) -> Array:
    """S1 up to scale: the covariance of Z'We at the two-stage least squares estimate."""
    error = equation.y - equation.x @ two_stage(equation)
    scores = COVARIANCES[equation.cov_type].of_scores(equation, error)
    return cross(equation.z, equation.weight, equation.z) if scores is None else scores


def sandwich(
    equation: Equation,
    params: Array,
    *,
    kappa: float | None,
    metric: Array | None,
    debiased: bool,
) -> Array:
    """Covariance of the estimate `params`, shape (R, R).

    It is A^-1 P' S P A^-1' with S the covariance of Z'We or, with homoskedastic errors, s^2 A^-1
    with the P of two-stage least squares. `kappa` is None and `metric` is S1 for GMM only.
    """
    x, z, w = equation.x, equation.z, equation.weight
    error = equation.y - x @ params
    scores = COVARIANCES[equation.cov_type].of_scores(equation, error)
    p = _projection(equation, None if scores is None else metric)
    k = 1.0 if kappa is None else kappa
    bread = np.linalg.inv((1.0 - k) * cross(x, w, x) + k * cross(z @ p, w, x))
    if scores is None:
        cov = _variance(equation, error, centre=metric is not None) * bread
    else:
        cov = bread @ p.T @ scores @ p @ bread.T
    if debiased:
        dof = equation.n - x.shape[1]
        cov = cov * small_sample_factor(equation.n, dof, equation.n_clusters)
    return np.asarray((cov + cov.T) / 2.0)


def _projection(equation: Equation, metric: Array | None = None) -> Array:
    """P, by default that of two-stage least squares."""
    x, z, w = equation.x, equation.z, equation.weight
    if metric is not None:
        return np.linalg.solve(metric, cross(z, w, x))
    root = np.sqrt(w)[:, None]
    return np.asarray(np.linalg.lstsq(root * z, root * x, rcond=None)[0])


def small_sample_factor(n: float, dof: float, n_clusters: int) -> float:
    """Factor on a covariance: N / dof, and for G clusters (N - 1) / dof G / (G - 1)."""
    return (n - 1.0) / dof * n_clusters / (n_clusters - 1.0) if n_clusters else n / dof


def _variance(equation: Equation, error: Array, *, centre: bool) -> float:
    """s^2; GMM takes it about the mean error, which matters without an intercept."""
    w, n = equation.weight, equation.n
    mean = w @ error / n if centre else 0.0
    return float(w @ (error - mean) ** 2 / n)

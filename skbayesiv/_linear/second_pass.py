"""Covariance robust to heteroskedasticity from two passes over the rows.

The first pass gives the moments, hence the coefficients and the residuals e. The second sums the
same moments with weights w e^2, which hold Z'W diag(e^2) Z, the covariance S of the scores Z'We.
With the notation of :mod:`skbayesiv._linear.sandwich` the covariance is

    A^-1 P' S P A^-1',    A = (1 - kappa) X'WX + kappa P'Z'WX,    P = (Z'WZ)^-1 Z'WX.

With an intercept a all columns are taken about their means m, so that a large mean costs no
digits; then a = a° - m'b, where a° is the intercept about the means.
"""

from __future__ import annotations

import numpy as np

from skbayesiv._data.moments import Moments
from skbayesiv._linear.least_squares import positions
from skbayesiv._typing import Array


def origin(moments: Moments, *, fit_intercept: bool) -> Array:
    """Point about which columns are taken, shape (C,)."""
    return moments.mean if fit_intercept else np.zeros_like(moments.shift)


def residual_contrast(moments: Moments, effects: Array, slopes: Array) -> Array:
    """Coefficients on the columns of the residual y - t'effects - x'slopes, shape (C,)."""
    c = moments.columns
    contrast = np.zeros(len(c.names))
    contrast[c.t], contrast[c.x], contrast[c.y] = -effects, -slopes, 1.0
    return contrast


def robust_covariance(
    moments: Moments, scores: Moments, kappa: float, *, fit_intercept: bool, debiased: bool
) -> Array:
    """Covariance of the intercept (if there is one), the effects and the slopes.

    Parameters
    ----------
    moments, scores : Moments
        Of the rows, and of the same rows with the weights w e^2.
    kappa : float
        0 for least squares, 1 for 2SLS, the smallest root for LIML.
    fit_intercept, debiased : bool
    """
    c, at = moments.columns, origin(moments, fit_intercept=fit_intercept)
    a, s = (_with_constant(part.about(at)) for part in (moments, scores))
    scale = np.sqrt(np.diag(a))
    a, s = a / np.outer(scale, scale), s / np.outer(scale, scale)
    constant = [0] if fit_intercept else []
    x, z = ([*constant, *(1 + i for i in positions(*where))] for where in ((c.t, c.x), (c.x, c.z)))
    p = np.linalg.solve(a[np.ix_(z, z)], a[np.ix_(z, x)])
    bread = np.linalg.inv((1.0 - kappa) * a[np.ix_(x, x)] + kappa * p.T @ a[np.ix_(z, x)])
    root = bread @ p.T / scale[x, None]
    if fit_intercept:
        root[0] -= at[positions(c.t, c.x)] @ root[1:]
    cov = root @ s[np.ix_(z, z)] @ root.T
    return cov * (moments.weight / (moments.weight - len(x))) if debiased else cov


def _with_constant(moments: Moments) -> Array:
    """Sums of products of [1, columns] about the moments' shift, shape (1 + C, 1 + C)."""
    total = moments.total[:, None]
    return np.block([[np.array([[moments.weight]]), total.T], [total, moments.cross]])

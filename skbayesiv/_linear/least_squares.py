"""Least squares from moments: coefficients, residual variances, leverages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import in_own_units, partial_out
from skbayesiv._typing import Array

IRRELEVANT = 1e-12


def positions(*where: slice) -> list[int]:
    """Positions that the slices cover, in turn."""
    return [i for part in where for i in range(part.start, part.stop)]


def products(moments: Moments, *, fit_intercept: bool) -> Array:
    """Sums of squares and products, about the mean or, without an intercept, about zero."""
    if fit_intercept:
        return moments.scatter
    return moments.about(np.zeros_like(moments.shift)).cross


def regress(
    moments: Moments, of: Sequence[int], on: Sequence[int], *, fit_intercept: bool
) -> tuple[Array, Array]:
    """Intercepts, shape (len(of),), and coefficients, shape (len(of), len(on))."""
    if not of:
        return np.empty(0), np.empty((0, len(on)))
    s = products(moments, fit_intercept=fit_intercept)
    scale = np.sqrt(np.diag(s)[on])
    gram = s[np.ix_(on, on)] / np.outer(scale, scale)
    coef = np.linalg.solve(gram, s[np.ix_(on, of)] / scale[:, None]).T / scale
    mean = moments.mean if fit_intercept else np.zeros_like(moments.shift)
    return mean[of] - coef @ mean[on], coef


def variance(moments: Moments, contrast: Array, *, fit_intercept: bool) -> float:
    """Mean square of a linear combination of the columns, shape (C,), less its intercept."""
    s = products(moments, fit_intercept=fit_intercept)
    return max(float(contrast @ s @ contrast), 0.0) / moments.weight


def leverage(moments: Moments, rows: Array, on: Sequence[int], *, fit_intercept: bool) -> Array:
    """d'(D'WD)^-1 d of new rows d, shape (n,), in a regression on the columns `on`."""
    s = products(moments, fit_intercept=fit_intercept)
    scale = np.sqrt(np.diag(s)[on])
    centre = moments.mean[on] if fit_intercept else 0.0
    d = (rows - centre) / scale
    gram = s[np.ix_(on, on)] / np.outer(scale, scale)
    quadratic = (d * np.linalg.solve(gram, d.T).T).sum(axis=1)
    return quadratic + (1.0 / moments.weight if fit_intercept else 0.0)


def weakest_correlation(
    moments: Moments,
    a: Sequence[int],
    b: Sequence[int],
    given: Sequence[int],
    *,
    fit_intercept: bool,
) -> float:
    """Smallest canonical correlation of two sets of columns, with others partialled out."""
    s = products(moments, fit_intercept=fit_intercept)
    order = [*given, *a, *b]
    partial, _ = partial_out(in_own_units(s)[1][np.ix_(order, order)], len(given))
    of_a, of_b = slice(0, len(a)), slice(len(a), None)
    root_a, root_b = (np.linalg.cholesky(partial[on, on]) for on in (of_a, of_b))
    half = np.linalg.solve(root_a, partial[of_a, of_b])
    return float(np.linalg.svd(np.linalg.solve(root_b, half.T), compute_uv=False).min())


def check_relevant(moments: Moments, *, fit_intercept: bool) -> float:
    """Raise if the first stage is zero to rounding error; one merely weak is let pass.

    Returns
    -------
    float
        The smallest canonical correlation of treatments and instruments given the covariates.
    """
    c = moments.columns
    t, z, x = positions(c.t), positions(c.z), positions(c.x)
    weakest = weakest_correlation(moments, t, z, x, fit_intercept=fit_intercept)
    if weakest < IRRELEVANT:
        raise ValueError(
            "z must move t, each treatment apart from the others: given X, the correlation of "
            f"{list(c.treatments)} with {list(c.instruments)} is zero."
        )
    return weakest

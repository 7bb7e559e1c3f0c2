"""The GMM criterion row by row and its posterior by quadrature, without the package's code."""

from __future__ import annotations

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._data.rows import IVData


def make_rows(k, q, p, *, n=300, weighted=False, seed=0, offset=0.0):
    """Heteroskedastic rows with K treatments, Q instruments and P covariates."""
    rng = np.random.default_rng(seed)
    x = 5.0 + 3.0 * rng.normal(size=(n, p))
    z = rng.normal(size=(n, q)) + 0.3 * x[:, :1].sum(axis=1, keepdims=True)
    v = rng.normal(size=(n, k))
    t = z @ rng.normal(size=(q, k)) + x @ rng.normal(size=(p, k)) + v
    e = v.sum(axis=1) + rng.normal(size=n) * (1.0 + np.abs(z[:, 0]))
    y = 2.0 + t @ np.arange(1.0, k + 1.0) + x @ rng.normal(size=p) + e
    weight = rng.integers(0, 4, n).astype(float) if weighted else None
    columns = Columns(
        tuple(f"x{i}" for i in range(p)),
        tuple(f"z{i}" for i in range(q)),
        tuple(f"t{i}" for i in range(k)),
        "y",
    )
    return IVData(x + offset, z + offset, t + offset, y + offset, weight, columns)


def partialled(data, *, fit_intercept=True):
    """y~, t~, z~ and the weights: residuals of weighted regressions on (1, X)."""
    n = data.n_rows
    w = np.ones(n) if data.sample_weight is None else data.sample_weight
    parts = [data.y[:, None], data.t, data.z]
    h = data.x
    if fit_intercept:
        parts = [part - part[0] for part in parts]
        h = np.column_stack([np.ones(n), h - h[:1]])
    root = np.sqrt(w)[:, None]
    y, t, z = (part - h @ np.linalg.lstsq(root * h, root * part)[0] for part in parts)
    return y[:, 0], t, z, w


def criterion(data, beta, *, clusters=None, direct=0.0, fit_intercept=True):
    """(m - q) / 2 log(1 - Q / m), Q = g' V^-1 g with scales of direct effects."""
    y, t, z, w = partialled(data, fit_intercept=fit_intercept)
    n = w.sum()
    scores = z * (y - t @ np.atleast_1d(beta))[:, None]
    g = w @ scores / n
    if clusters is None:
        s, m = (scores * w[:, None]).T @ scores / n, n
    else:
        sums = np.array([np.bincount(clusters, w * column) for column in scores.T])
        s, m = sums @ sums.T / n, len(np.unique(clusters[w > 0]))
    gram = (z * w[:, None]).T @ z / n
    wide = s / n + (gram * np.broadcast_to(np.square(direct), len(gram))) @ gram
    return (m - len(g)) / 2 * np.log1p(-(g @ np.linalg.solve(wide, g)) / m)


def moments_on_grid(grid, log_density):
    """Mean and sd of a density on a grid of one dimension."""
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mean = weight @ grid
    return mean, np.sqrt(weight @ (grid - mean) ** 2)

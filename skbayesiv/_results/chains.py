"""R-hat and effective sample sizes of chains, as ArviZ computes them [1]_.

ArviZ takes longer to import than all its numbers take to compute: what each fit checks is here.

.. [1] Vehtari, A., Gelman, A., Simpson, D., Carpenter, B. and Buerkner, P.-C. (2021).
   Rank-normalization, folding, and localization: an improved R-hat. Bayesian Analysis 16, 667-718.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri
from scipy.stats import rankdata

from skbayesiv._typing import Array

TAILS = 0.05, 0.95


def rhat(values: Array) -> float:
    """Split R-hat of ranks, the larger of that of the values and that of their distances.

    Parameters
    ----------
    values : ndarray of shape (chains, draws)
    """
    if not np.isfinite(values).all():
        return math.nan
    halves = _halves(values)
    scores = _scores(halves), _scores(np.abs(halves - np.median(halves)))
    return max(map(_spread_ratio, scores))


def ess_bulk(values: Array) -> float:
    """Effective sample size of the ranks of draws, of shape (chains, draws)."""
    return _ess(_scores(_halves(values))) if np.isfinite(values).all() else math.nan


def ess_tail(values: Array) -> float:
    """The smaller of the effective sample sizes of the two 5% quantiles."""
    if not np.isfinite(values).all():
        return math.nan
    return min(_ess(_halves(values <= quantile)) for quantile in np.quantile(values, TAILS))


def _halves(values: Array) -> Array:
    """Halves of chains as chains of their own; of an odd number of draws the middle is left out."""
    half = values.shape[1] // 2
    return np.concatenate([values[:, :half], values[:, -half:]]).astype(float)


def _scores(values: Array) -> Array:
    """Normal scores of the ranks among all values."""
    ranks = rankdata(values, axis=None).reshape(values.shape)
    return np.asarray(ndtri((ranks - 0.375) / (values.size + 0.25)))


def _spread_ratio(values: Array) -> float:
    """R-hat: spread of all draws over that within chains."""
    draws = values.shape[1]
    within = values.var(axis=1, ddof=1).mean()
    between = values.mean(axis=1).var(ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.sqrt(between / within + (draws - 1) / draws))


def _ess(values: Array) -> float:
    """Number of draws over their autocorrelation time, by Geyer's initial monotone sequence."""
    chains, draws = values.shape
    if np.ptp(values) < np.finfo(float).resolution:
        return float(values.size)
    covariance = _autocovariance(values).mean(axis=0)
    within = covariance[0] * draws / (draws - 1)
    total = covariance[0] + (values.mean(axis=1).var(ddof=1) if chains > 1 else 0.0)
    correlation = 1.0 - (within - covariance) / total
    correlation[0] = 1.0
    last = max(0, (draws - 3) // 2)
    pairs = correlation[0 : 2 * last + 1 : 2] + correlation[1 : 2 * last + 2 : 2]
    ended = pairs <= 0.0
    ended[-1] = True
    end = int(ended.argmax())
    monotone = np.minimum.accumulate(pairs[:end])
    rest = correlation[2 * end] if pairs[end] > 0.0 else max(correlation[2 * end], 0.0)
    time = -1.0 + 2.0 * monotone.sum() + rest
    return float(values.size / max(time, 1.0 / math.log10(values.size)))


def _autocovariance(values: Array) -> Array:
    """Of each chain at all lags."""
    draws = values.shape[1]
    length = next_fast_len(2 * draws)
    spectrum = rfft(values - values.mean(axis=1, keepdims=True), n=length, axis=1)
    return np.asarray(irfft(np.abs(spectrum) ** 2, n=length, axis=1)[:, :draws] / draws)

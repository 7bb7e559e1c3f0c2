"""R-hat and effective sample sizes of chains, as ArviZ computes them [1]_.

ArviZ takes longer to import than all its numbers take to compute: what each fit checks is here.

.. [1] Vehtari, A., Gelman, A., Simpson, D., Carpenter, B. and Buerkner, P.-C. (2021).
   Rank-normalization, folding, and localization: an improved R-hat. Bayesian Analysis 16, 667-718.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri

from skbayesiv._typing import Array

TAILS = 0.05, 0.95


@dataclass(frozen=True, eq=False)
class Chains:
    """Chains of V variables, all checked at once; not a number of those that are not finite.

    Attributes
    ----------
    values : ndarray of shape (V, chains, draws)
    """

    values: Array

    @cached_property
    def rhat(self) -> Array:
        """Split R-hat of ranks (V,), the larger of that of the values and of their distances."""
        middle = np.median(self._halves, axis=(1, 2), keepdims=True)
        folded = _scores(np.abs(self._halves - middle))
        return self._finite(np.maximum(spread_ratio(self._ranked), spread_ratio(folded)))

    @cached_property
    def ess_bulk(self) -> Array:
        """Effective sample sizes (V,) of the ranks of draws."""
        return self._finite(_ess(self._ranked))

    @cached_property
    def ess_tail(self) -> Array:
        """The smaller (V,) of the effective sample sizes of the two 5% quantiles."""
        at = np.quantile(self._safe, TAILS, axis=(1, 2), keepdims=True)
        return self._finite(np.minimum(*(_ess(_split(self._safe <= quantile)) for quantile in at)))

    @cached_property
    def _known(self) -> Array:
        return np.asarray(np.isfinite(self.values).all(axis=(1, 2)))

    @cached_property
    def _safe(self) -> Array:
        return np.where(self._known[:, None, None], self.values, 0.0)

    @cached_property
    def _halves(self) -> Array:
        return _split(self._safe)

    @cached_property
    def _ranked(self) -> Array:
        return _scores(self._halves)

    def _finite(self, found: Array) -> Array:
        return np.where(self._known, found, np.nan)


def _split(values: Array) -> Array:
    """Halves of chains as chains of their own; of an odd number of draws the middle is left out."""
    half = values.shape[2] // 2
    return np.concatenate([values[:, :, :half], values[:, :, -half:]], axis=1).astype(float)


def _scores(values: Array) -> Array:
    """Normal scores of the ranks among all values of a variable; equal ones share their mean."""
    each = [_row_scores(row) for row in values.reshape(len(values), -1)]
    return np.reshape(each, values.shape)


def _row_scores(row: Array) -> Array:
    _, at, count = np.unique(row, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - 0.5 * (count - 1)
    return np.asarray(ndtri((rank - 0.375) / (row.size + 0.25))[at])


def spread_ratio(values: Array) -> Array:
    """R-hat (...) of chains (..., chains, draws): spread of all draws over that within chains."""
    draws = values.shape[-1]
    within = values.var(axis=-1, ddof=1).mean(axis=-1)
    between = values.mean(axis=-1).var(axis=-1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(between / within + (draws - 1) / draws))


def _ess(values: Array) -> Array:
    """Number of draws over autocorrelation time (V,), by Geyer's initial monotone sequence."""
    _, chains, draws = values.shape
    size = chains * draws
    covariance = _autocovariance(values).mean(axis=1)
    within = covariance[:, :1] * draws / (draws - 1)
    between = values.mean(axis=2).var(axis=1, ddof=1)[:, None] if chains > 1 else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = 1.0 - (within - covariance) / (covariance[:, :1] + between)
    correlation[:, 0] = 1.0
    last = max(0, (draws - 3) // 2)
    pairs = correlation[:, 0 : 2 * last + 1 : 2] + correlation[:, 1 : 2 * last + 2 : 2]
    ended = pairs <= 0.0
    ended[:, -1] = True
    rows, end = np.arange(len(pairs)), ended.argmax(axis=1)
    before = np.arange(pairs.shape[1]) < end[:, None]
    monotone = np.where(before, np.minimum.accumulate(pairs, axis=1), 0.0).sum(axis=1)
    rest = correlation[rows, 2 * end]
    rest = np.where(pairs[rows, end] > 0.0, rest, np.maximum(rest, 0.0))
    found = size / np.maximum(2.0 * monotone + rest - 1.0, 1.0 / math.log10(size))
    constant = np.ptp(values, axis=(1, 2)) < np.finfo(float).resolution
    return np.where(constant, float(size), found)


def _autocovariance(values: Array) -> Array:
    """Of each chain at all lags."""
    draws = values.shape[2]
    length = next_fast_len(2 * draws)
    spectrum = rfft(values - values.mean(axis=2, keepdims=True), n=length, axis=2)
    return np.asarray(irfft(np.abs(spectrum) ** 2, n=length, axis=2)[:, :, :draws] / draws)

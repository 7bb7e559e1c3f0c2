"""Fourth-order sums -> canonical moments of the scores, in standardised coordinates.

With h = (1, x) and z~, t~, y~ the columns with h partialled out, v = t~ - Pi'z~, the moment
conditions of outcome and first stage are, at the effects beta,

    E[z~ e] = E[h e] = 0,  E[z~ v'] = E[h v'] = 0,    e = y~ - t~'beta,

all linear in the products f (x) d with f = (h, z~) and d = (y~ - t~'b, t~, v), b the 2SLS
effects: e is d at the contrast (1, b - beta). Taking b off first keeps the digits of an outcome
that the treatment explains almost whole. The means of f (x) d and their second moments are all
that a criterion or a robust covariance needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.products import shift_matrix, transform
from skbayesiv._data.standardised import (
    CANONICAL_BITS,
    Standardised,
    partial_out,
    round_bits,
    round_to,
)
from skbayesiv._linear.two_stage import first_stage
from skbayesiv._typing import Array

NEGLIGIBLE = 1e-7
SAME = 1e-7  # share of its size by which a mean may be off
SETTLED = 1e-6


@dataclass(frozen=True, eq=False)
class Scores:
    """First and second moments of the scores f (x) d; columns are divided by their sd.

    Sizes: H = 1 + P (P without an intercept), F = H + Q, E = 1 + 2 K.

    Attributes
    ----------
    n : float
        Sum of weights.
    mean : ndarray of shape (F, E)
        E[f d'].
    cross : ndarray of shape (F, E, F, E)
        n times the covariance of the sample's E[f d'], robust or cluster-robust: second moments
        of f d', rounded like canonical moments and positive definite.
    gram : ndarray of shape (F, F)
        E[f f'], whose blocks of h and z~ are orthogonal.
    on_h : ndarray of shape (H, Q + K + 1)
        Least-squares coefficients of the (centred) columns z, t, y on h.
    first_stage : ndarray of shape (Q, K)
        Pi.
    partial : ndarray of shape (Q + K + 1, Q + K + 1)
        Second moments of (z~, t~, y~).
    centre : ndarray of shape (K,)
        The effects b.
    """

    n: float
    mean: Array
    cross: Array
    gram: Array
    on_h: Array
    first_stage: Array
    partial: Array
    centre: Array

    @property
    def n_h(self) -> int:
        """H, where z~ begins in f."""
        return len(self.on_h)


def build_scores(fourth: FourthMoments, std: Standardised, *, fit_intercept: bool = True) -> Scores:
    """Partial h out of all columns and sum up the scores.

    Raises
    ------
    ValueError
        If both arguments are not of the same rows, or the sums were not taken about the
        least-squares coefficients on X of these rows.
    """
    c, n = std.columns, std.n
    p, q, k = len(c.covariates), len(c.instruments), len(c.treatments)
    _check_same_rows(fourth, std)
    x = c.x
    second = std.second_moments(fit_intercept=fit_intercept)
    partial, on_x = partial_out(second, p)
    stage = first_stage(partial, q)
    first = int(fit_intercept)
    h = p + first
    gram = np.zeros((h + q, h + q))
    gram[:first, :first], gram[first:h, first:h] = 1.0, second[x, x]
    gram[h:, h:] = partial[:q, :q]
    centre = stage.two_stage() if n else np.zeros(k)
    mean, cross = _centred(fourth, std, fit_intercept=fit_intercept)
    residual = np.zeros((1 + 2 * k, 2 + q + k))
    residual[0, 1 + q :] = np.append(-centre, 1.0)
    residual[1 : 1 + k, 1 + q : 1 + q + k] = residual[1 + k :, 1 + q : 1 + q + k] = np.eye(k)
    residual[1 + k :, 1 : 1 + q] = -stage.coef.T
    keep = np.eye(1 + p + q)[1 - first :]
    reach = keep @ np.sqrt(np.einsum("fefe->fe", cross)) @ np.abs(residual).T
    mean, cross = _canonical(*transform(mean, cross, keep, residual), reach)
    on_h = np.vstack([np.zeros((first, q + k + 1)), on_x])
    return Scores(n, mean, cross, gram, on_h, stage.coef, partial, centre)


def _check_same_rows(fourth: FourthMoments, std: Standardised) -> None:
    if fourth.columns != std.columns or abs(fourth.weight - std.n) > 1e-9 * std.n:
        raise ValueError(
            f"fourth_moments must be of the same rows as moments: {std.n:g} observations of "
            f"{std.columns}; got {fourth.weight:g} of {fourth.columns}."
        )
    if not std.n:
        return
    size = np.maximum(std.sd, np.abs(std.mean))
    if (np.abs(_means(fourth) - std.mean) > SAME * size).any():
        raise ValueError(
            "fourth_moments must be of the same rows as moments; got sums with other means. If "
            "they come from two passes over a query, its rows changed between these."
        )


def _means(fourth: FourthMoments) -> Array:
    """Means of the columns, which fourth-order sums contain."""
    p, n, shift = len(fourth.columns.covariates), fourth.weight, fourth.reference.shift
    x = fourth.total[1 : 1 + p, 0] / n
    rest = fourth.total[0, 1:] / n + fourth.reference.coef.T @ x
    return shift + np.concatenate([x, rest])


def _centred(
    fourth: FourthMoments, std: Standardised, *, fit_intercept: bool
) -> tuple[Array, Array]:
    """Means of f d' and of their products for f = (1, x, z~), d = (1, z~, t~, y~), scaled."""
    if not std.n:
        return fourth.total, fourth.cross
    p, q = len(std.columns.covariates), len(std.columns.instruments)
    if not fit_intercept:
        fourth = fourth.about(np.zeros_like(std.mean))
    about = float(fit_intercept) / fourth.weight
    left = shift_matrix(-about * fourth.total[1:, 0]) / np.append(1.0, std.sd[: p + q])[:, None]
    right = shift_matrix(-about * fourth.total[0, 1:]) / np.append(1.0, std.sd[p:])[:, None]
    mean, cross = transform(fourth.total / std.n, fourth.cross / std.n, left, right)
    if np.abs(mean[1 : 1 + p, 1:]).max(initial=0.0) > SETTLED:
        raise ValueError(
            "fourth_moments must be about the least-squares coefficients on X of the rows "
            "themselves; got sums about other coefficients. With covariates the sums of a subset "
            "are not those of a fit to it: take them from its rows."
        )
    return mean, cross


def _canonical(mean: Array, cross: Array, reach: Array) -> tuple[Array, Array]:
    """Round the moments of scores on the scale of each score, see `standardise`.

    `reach` (F, E) bounds the root mean squares of the terms that each score is a sum of. Where
    these cancel, an entry of the cross-products is off by eps reach_i reach_j: with r = reach /
    spread the correlations have errors of at most eps r_i r_j, and 2^-36 from rounding, whose
    quadratic form is below size (eps r_i^2 + 2^-36) x_i^2 summed over i. The diagonal is raised by
    that, so that the second moments are positive definite even where scores are linearly
    dependent. A score that cancels altogether is zero.
    """
    size, shape = mean.size, mean.shape
    square = cross.reshape(size, size)
    spread = np.sqrt(np.clip(np.diag(square), 0.0, None))
    constant = spread <= NEGLIGIBLE * reach.ravel()
    scale = np.where(constant, 1.0, round_bits(spread))
    unit = np.outer(scale, scale)
    corr = np.where(constant[:, None] | constant, 0.0, round_to(square / unit, 1.0))
    lost = np.where(constant, 0.0, np.finfo(float).eps * (reach.ravel() / scale) ** 2)
    raised = size * (round_to(lost, 1.0) + 2.0**-CANONICAL_BITS)
    np.fill_diagonal(corr, np.where(constant, 0.0, 1.0) + raised)
    shaped = scale.reshape(shape)
    return round_to(mean / shaped, 1.0) * shaped, (corr * unit).reshape(cross.shape)

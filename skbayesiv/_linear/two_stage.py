"""2SLS and its k-class of the effects alone, from second moments with covariates partialled out.

(:mod:`skbayesiv._linear.estimate` has all coefficients and their covariance.) With (1, X)
partialled out (tilde) let S be the second moments of (z~, t~, y~), and split those of
(t~, y~) into what z~ explains and what is left,

    S_(ty)(ty) = F + W,    F = S_(ty)z S_zz^-1 S_z(ty).

The k-class estimate with kappa = 1 - c solves (F_tt + c W_tt) beta = F_ty + c W_ty: c = 0 is 2SLS,
c = 1 least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbayesiv._data.standardised import Standardised, partial_out
from skbayesiv._typing import Array


@dataclass(frozen=True, eq=False)
class FirstStage:
    """Second moments of (t~, y~): what the instruments explain, and what is left.

    Attributes
    ----------
    fitted, left : ndarray of shape (K + 1, K + 1)
        F and W, the outcome last.
    coef : ndarray of shape (Q, K)
        Coefficients of the treatments on the instruments.
    """

    fitted: Array
    left: Array
    coef: Array

    def two_stage(self) -> Array:
        """2SLS effects (K,): E[t^ t~'] beta = E[t^ y~] with the fitted treatments t^ = Pi'z~."""
        return np.asarray(np.linalg.solve(self.fitted[:-1, :-1].T, self.fitted[-1, :-1]))

    def k_class(self, c: float) -> tuple[Array, Array]:
        """k-class effects (K,) with kappa = 1 - c, and the matrix F_tt + c W_tt that they solve.

        Over the error's variance, n times the matrix is the effects' precision.
        """
        a = self.fitted + c * self.left
        return np.asarray(np.linalg.solve(a[:-1, :-1], a[:-1, -1])), a[:-1, :-1]


def first_stage(partial: Array, n_instruments: int, ridge: float = 0.0) -> FirstStage:
    """Split second moments of (z~, t~, y~) by what the instruments explain.

    `ridge` is added to the instruments' own, where they may be linearly dependent.
    """
    z, rest = slice(0, n_instruments), slice(n_instruments, None)
    left, coef = partial_out(partial, n_instruments, ridge)
    # The difference would cancel when instruments are weak; under a ridge the parts must add up.
    fitted = partial[rest, rest] - left if ridge else partial[rest, z] @ coef
    return FirstStage(fitted, left, coef[:, :-1])


def two_stage_effects(
    std: Standardised,
    *,
    fit_intercept: bool = True,
    score_variance: Array | None = None,
    direct_scale: Array | None = None,
) -> tuple[Array, Array]:
    """2SLS effects (K,) and their standard errors, in raw units.

    With first stage Pi the estimate is off by L'g, where g = E_n[z~ e] and
    L = Pi (Pi'E_n[z~ z~']Pi)^-1, so that its variance is L'V L with V that of g.

    Parameters
    ----------
    std : Standardised
    fit_intercept : bool, default=True
    score_variance : ndarray of shape (Q, Q), optional
        V in standardised units; by default the classical E_n[e^2] E_n[z~ z~'] / n.
    direct_scale : ndarray of shape (Q,), optional
        Prior standard deviations of direct effects in raw units, which shift g and add to V.
    """
    c, q = std.columns, len(std.columns.instruments)
    partial, _ = partial_out(std.second_moments(fit_intercept=fit_intercept), c.x.stop)
    stage, gram = first_stage(partial, q), partial[:q, :q]
    beta = stage.two_stage()
    variance = score_variance
    if variance is None:
        contrast = np.append(-beta, 1.0)
        variance = contrast @ partial[q:, q:] @ contrast * gram / std.n
    if direct_scale is not None:
        shift = gram * (direct_scale * std.sd[c.z] / std.sd[c.y])
        variance = variance + shift @ shift.T
    pull = stage.coef @ np.linalg.inv(stage.coef.T @ gram @ stage.coef)
    unit = std.sd[c.y] / std.sd[c.t]
    return beta * unit, np.sqrt(np.diag(pull.T @ variance @ pull)) * unit

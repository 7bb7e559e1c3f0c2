r"""Scores and leverages of units -> the bias-reduced covariance of Bell and McCaffrey (2002).

With X^ the regressors projected on the instruments, M = (X^'X^)^-1 and S_g = X^_g'X^_g of the
rows of a unit g, residuals of errors of one variance s^2 have the covariance s^2 (I - H_gg),
H_gg = X^_g M X^_g'. The score X^_g'u_g is replaced by X^_g'(I - H_gg)^-1/2 u_g, so that the sum
of the outer products has no bias under such errors (CR2; of rows, HC2). As X'f(X M X') =
f(X'X M) X', this takes products of as many rows as regressors only. With M = R R' and

    H_g = R'S_g R = V_g diag(l) V_g',    F_g = V_g diag((1 - l)^-1/2) V_g',

the score R'X^_g'u_g is replaced by F_g R'X^_g'u_g. Where l = 1 the residuals are zero, and the
root is a Moore-Penrose inverse.

The variance of the contrast c'b is then a quadratic form of errors with the matrix (of units by
units) B: with d = R'c,

    B_gh = [g = h] d'F_g H_g F_g d - d'L_g L_h d,    L_g = H_g F_g,

and t statistics have about (tr B)^2 / tr B^2 degrees of freedom (Satterthwaite). No such matrix
is made: B_gg = d'H_g d - (what is lost where l = 1), and tr B^2 = sum B_gg^2 - sum (d'L_g^2 d)^2
+ |sum L_g d d'L_g|^2.

References
----------
Bell, R. M. and McCaffrey, D. F. (2002). Bias reduction in standard errors for linear regression
with multi-stage samples. Survey Methodology 28, 169-181.

Pustejovsky, J. E. and Tipton, E. (2018). Small-sample methods for cluster-robust variance
estimation and hypothesis testing in fixed effects models. Journal of Business & Economic
Statistics 36, 672-683.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.linalg import solve_triangular

from skbayesiv._linear.equation import Equation
from skbayesiv._linear.units import Scores
from skbayesiv._typing import Array

ALL = 1e-10  # 1 less this share is all of a regressor
FEW_ROWS = 2048
FRACTIONS = (
    'sample_weight must be numbers of rows for cov_type="CR2" without clusters: got a weight '
    "below 1 of a row whose leverage is above 1. Pass weights that are whole numbers, or set "
    'cov_type="robust".'
)


def bias_reduced(equation: Equation, scores: tuple[Scores, ...]) -> list[BiasReduced]:
    """Bias-reduced covariance of scores X^'e, X^ on the left; clusters are read in one pass."""
    roots = [np.linalg.cholesky(score.left.T @ equation.second @ score.left) for score in scores]
    wanted = [
        np.hstack([solve_triangular(root, score.left.T, lower=True).T, score.right])
        for root, score in zip(roots, scores, strict=True)
    ]
    units: list[_Units]
    if equation.n_clusters:
        units = [_Clusters.of(second) for second in equation.cluster_products(*wanted)]
    else:
        units = [_Rows(equation, contrasts) for contrasts in wanted]
    return [BiasReduced(root, unit) for root, unit in zip(roots, units, strict=True)]


class _Units(Protocol):
    """Units whose regressors are X^R, so that their leverages H_g add up to one."""

    def outer(self) -> Array:
        """Sum of the outer products of the replaced scores, shape (k, k)."""

    def forms(self, d: Array) -> tuple[Array, Array]:
        """tr B and tr B^2, shape (m,), of several d, shape (m, k)."""


@dataclass(frozen=True, eq=False)
class BiasReduced:
    """Covariance of scores X^'e, and degrees of freedom of the coefficients M X^'y.

    Attributes
    ----------
    root : ndarray of shape (k, k)
        Lower triangular root of X^'X^: R is the inverse of its transpose.
    units : _Units
    """

    root: Array
    units: _Units

    @cached_property
    def matrix(self) -> Array:
        """Covariance of the scores, shape (k, k)."""
        return np.asarray(self.root @ self.units.outer() @ self.root.T)

    def dof(self, contrasts: Array) -> Array:
        """Degrees of freedom of contrasts (m, k) of the coefficients, shape (m,).

        NaN for a contrast that each unit decides alone, whose residuals say nothing.
        """
        size = np.abs(contrasts).max(axis=1, keepdims=True)
        scaled = contrasts / np.where(size > 0.0, size, 1.0)
        d = solve_triangular(self.root, scaled.T, lower=True).T
        trace, square = self.units.forms(d)
        known = trace > ALL * (d**2).sum(axis=1)
        return np.asarray(np.where(known, trace, np.nan) ** 2 / np.where(known, square, 1.0))


@dataclass(frozen=True, eq=False)
class _Clusters:
    """Clusters, by the eigenvalues (G, k) and vectors of H_g and their scores along these."""

    share: Array
    vectors: Array
    scores: Array

    @classmethod
    def of(cls, products: Array) -> _Clusters:
        """Of the products (G, k + 1, k + 1) of X^R and the error in each cluster."""
        share, vectors = np.linalg.eigh(products[:, :-1, :-1])
        along = np.einsum("gkm,gk->gm", vectors, products[:, :-1, -1])
        return cls(np.clip(share, 0.0, 1.0), vectors, along)

    @cached_property
    def _factor(self) -> Array:
        """(1 - l)^-1/2, and 0 where l is 1."""
        return _inverse_root(self.share)

    def outer(self) -> Array:
        scores = np.einsum("gkm,gm->gk", self.vectors, self._factor * self.scores)
        return np.asarray(scores.T @ scores)

    def forms(self, d: Array) -> tuple[Array, Array]:
        trace, square = np.empty(len(d)), np.empty(len(d))
        for i in range(len(d)):
            along = d[i] @ self.vectors
            own = (self.share * along**2 * (self._factor > 0.0)).sum(axis=1)
            pulled = np.einsum("gkm,gm->gk", self.vectors, self.share * self._factor * along)
            size, cross = (pulled**2).sum(axis=1), pulled.T @ pulled
            trace[i], square[i] = own.sum(), own @ own - size @ size + (cross**2).sum()
        return trace, square


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows, each a unit whose H_g has one eigenvalue, its leverage: read again when asked.

    A row of weight w is w of them.
    """

    equation: Equation
    contrasts: Array

    def _blocks(self) -> Iterator[tuple[Array, Array, Array, Array, Array]]:
        """X^R (k, n), errors, leverages, their factors and weights, each of shape (n,)."""
        for values, weight in self._parts():
            regressors, error = values[:-1], values[-1]
            leverage = np.where(weight > 0.0, (regressors**2).sum(axis=0), 0.0)
            if (leverage > 1.0 + ALL).any():
                raise ValueError(FRACTIONS)
            yield regressors, error, leverage, _inverse_root(leverage), weight

    def _parts(self) -> Iterator[tuple[Array, Array]]:
        """Contrasts (k + 1, n) and weights of few rows at once, for what is made of them."""
        for values, weight in self.equation.row_blocks(self.contrasts):
            weight = np.ones(values.shape[1]) if weight is None else weight
            for start in range(0, len(weight), FEW_ROWS):
                part = slice(start, start + FEW_ROWS)
                yield values[:, part], weight[part]

    def outer(self) -> Array:
        k = self.contrasts.shape[1] - 1
        out = np.zeros((k, k))
        for regressors, error, _, factor, weight in self._blocks():
            scores = regressors * (np.sqrt(weight) * factor * error)
            out += scores @ scores.T
        return out

    def forms(self, d: Array) -> tuple[Array, Array]:
        trace, square = np.zeros(len(d)), np.zeros(len(d))
        cross = np.zeros((len(d), d.shape[1], d.shape[1]))
        for regressors, _, leverage, factor, weight in self._blocks():
            along = d @ regressors
            own = along**2 * (factor > 0.0)
            size = leverage * (factor * along) ** 2
            trace += own @ weight
            square += (own**2 - size**2) @ weight
            for total, pull in zip(cross, np.sqrt(weight) * factor * along, strict=True):
                pulled = regressors * pull
                total += pulled @ pulled.T
        return trace, square + (cross**2).sum(axis=(1, 2))


def _inverse_root(share: Array) -> Array:
    """(1 - share)^-1/2, and 0 where the share is all."""
    left = 1.0 - share
    return np.where(left > ALL, 1.0 / np.sqrt(np.maximum(left, ALL)), 0.0)

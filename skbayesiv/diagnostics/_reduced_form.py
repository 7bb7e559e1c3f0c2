"""Regression of outcome and treatments on whitened instruments.

With (1, X) partialled out and Z = Z~ R, Z~'WZ~ = I (W the frequency weights),

    C = Z~'W (y, t)                               coefficients, Q x D, D = 1 + K
    Cov(C_d, C_e) = sum_g s_gd s_ge'              s_gd = sum_{i in g} w_i z~_i e_id        (1)

where e are the residuals and g runs over clusters, or over the single observations (HC0). A row of
weight w counts as w observations. Without robustness Cov(C_d, C_e) = (e_d'W e_e / n) I. `debiased`
multiplies by n / (n - k), k = rank(1, X) + Q, and with clusters by G / (G - 1) * (n - 1) / (n - k),
as Stata's ``ivreg2`` does.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skbayesiv._linear import covariance, sandwich
from skbayesiv._typing import Array
from skbayesiv.diagnostics._partial import Partialled

# Residuals and eigenvalues this small relative to their scale are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class ReducedForm:
    """Reduced form on whitened instruments; column 0 is the outcome, the others are the treatments.

    Attributes
    ----------
    instruments : ndarray of shape (n_rows, Q)
        Whitened instruments Z~.
    root : ndarray of shape (Q, Q)
        Upper triangular R with Z = Z~ R.
    coef : ndarray of shape (Q, D)
        Coefficients C.
    residuals : ndarray of shape (n_rows, D)
        Residuals of (y, t).
    cov : ndarray of shape (D, D, Q, Q)
        ``cov[d, e]`` is Cov(C_d, C_e).
    dof_denominator : float or None
        Denominator degrees of freedom of F tests; None for chi-square tests (not debiased).
    """

    instruments: Array
    root: Array
    coef: Array
    residuals: Array
    cov: Array
    dof_denominator: float | None

    def covariance(self, direction: Array) -> Array:
        """Covariance (Q, Q) of C b for a direction b of shape (D,)."""
        return np.asarray(np.einsum("d,e,deqr->qr", direction, direction, self.cov))


def reduced_form(p: Partialled, *, robust: bool = True, debiased: bool = False) -> ReducedForm:
    """Regress (y, t) on the instruments of a partialled design."""
    instruments, root = _whiten(p)
    endogenous = np.column_stack([p.y, p.t])
    weighted = p.weights[:, None] * endogenous
    coef = instruments.T @ weighted
    residuals = endogenous - instruments @ coef
    exact = np.sqrt(p.weights @ residuals**2) <= _ROUNDING * np.sqrt((weighted * endogenous).sum(0))
    residuals[:, exact] = 0.0
    if robust:
        cov = _score_covariance(p, instruments, residuals)
    else:
        sigma = residuals.T @ (p.weights[:, None] * residuals) / p.n
        cov = np.einsum("de,qr->deqr", sigma, np.eye(p.n_instruments))
    if debiased:
        cov = cov * small_sample_factor(p, p.dof)
    return ReducedForm(
        instruments, root, coef, residuals, cov, dof_denominator(p, p.dof) if debiased else None
    )


def _whiten(p: Partialled) -> tuple[Array, Array]:
    """Instruments Z~ with Z~'WZ~ = I, and the upper triangular R of Z = Z~ R."""
    scale = np.sqrt(p.weights)[:, None]
    orthonormal, root = np.linalg.qr(scale * p.z)
    return orthonormal / scale, root


def _score_covariance(p: Partialled, instruments: Array, residuals: Array) -> Array:
    """Equation (1) for residuals (n_rows, D), as an array (D, D, Q, Q)."""
    n_rows, n_equations = residuals.shape
    n_instruments = instruments.shape[1]
    require_clusters(p, n_instruments + 1)  # residual scores add to zero, which costs one
    scores = (residuals[:, :, None] * instruments[:, None, :]).reshape(n_rows, -1)
    outer = outer_products(p, scores)
    return outer.reshape(n_equations, n_instruments, n_equations, n_instruments).transpose(
        0, 2, 1, 3
    )


def outer_products(p: Partialled, scores: Array) -> Array:
    """Sum over independent units of the outer products of their scores, which needs rows."""
    if p.classical_only:
        raise ValueError(
            "y must be arrays, or an estimator that kept its rows, for what is robust to "
            "heteroskedasticity: moments do not tell. Where there is an argument robust, "
            "robust=False will do."
        )
    return covariance.outer_products(scores, p.weights, p.clusters)


def refuse_clusters(clusters: Any, robust: bool) -> None:
    """Raise if cluster labels were given that would not be used."""
    if clusters is not None and not robust:
        raise ValueError("clusters must be None when robust=False, got cluster labels.")


def require_one_treatment(p: Partialled, what: str) -> None:
    """Raise if there are several treatments."""
    if p.n_treatments != 1:
        raise ValueError(f"t must be one treatment for {what}, got {p.n_treatments} columns.")


def require_clusters(p: Partialled, minimum: int) -> None:
    """Raise unless a cluster-robust covariance can have full rank."""
    if p.n_clusters is not None and p.n_clusters < minimum:
        raise ValueError(
            f"clusters must number at least {minimum} for {p.n_instruments} instrument(s) and "
            f"{p.n_treatments} treatment(s), got {p.n_clusters}."
        )


def small_sample_factor(p: Partialled, dof: float) -> float:
    """Factor on a covariance when dof = n - k residual degrees of freedom remain."""
    return sandwich.small_sample_factor(p.n, dof, p.n_clusters or 0)


def dof_denominator(p: Partialled, dof: float) -> float:
    """Denominator degrees of freedom of F tests: n - k, or G - 1 with clusters."""
    return dof if p.n_clusters is None else float(p.n_clusters - 1)


def quadratic_form(vector: Array, matrix: Array) -> float:
    """Compute v'M^-1 v for M positive semi-definite, infinite where v leaves the range of M."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    coordinates = vectors.T @ vector
    null = values <= _ROUNDING * max(float(values[-1]), 0.0)
    if (np.abs(coordinates[null]) > _ROUNDING * np.linalg.norm(vector)).any():
        return float("inf")
    return float((coordinates[~null] ** 2 / values[~null]).sum())


def least_squares(weights: Array, regressors: Array, values: Array) -> Array:
    """Coefficients of a weighted regression, of one outcome (n_rows,) or several (n_rows, D)."""
    root = np.sqrt(weights)
    return np.asarray(np.linalg.lstsq((root * regressors.T).T, (root * values.T).T, rcond=None)[0])


def form_about_effect(p: Partialled, *, robust: bool, debiased: bool) -> tuple[ReducedForm, Array]:
    """Reduced form of y - t'b, and b (K,), the effect that leaves the least of y.

    It is a centre about which no digits are lost.
    """
    centre = least_squares(p.weights, p.t, p.y)
    return reduced_form(less_effect(p, centre), robust=robust, debiased=debiased), centre


def less_effect(p: Partialled, effect: Array) -> Partialled:
    """Design with the outcome y - t'effect, which is zero if it is rounding only.

    Coefficients of y less those of t'effect lose digits when t nearly explains y; those of the
    difference do not.
    """
    part = p.t @ effect
    y = p.y - part
    size = np.sqrt(p.weights @ (p.y**2 + part**2))
    return replace(p, y=y if np.sqrt(p.weights @ y**2) > _ROUNDING * size else np.zeros_like(y))

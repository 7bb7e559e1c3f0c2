"""Regression of outcome and treatments on whitened instruments, with its covariance.

In the notation of :mod:`skbayesiv.diagnostics._projection`,

    Cov(C_d, C_e) = sum_g s_gd s_ge'              s_gd = sum_{i in g} w_i z~_i e_id        (1)

where g runs over clusters, or over the single observations (HC0). A row of weight w counts as w
observations. Without robustness Cov(C_d, C_e) = (e_d'W e_e / n) I. `debiased` multiplies by
n / (n - k), k = rank(1, X) + Q, and with clusters by G / (G - 1) * (n - 1) / (n - k), as Stata's
``ivreg2`` does.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skbayesiv._linear import covariance
from skbayesiv._typing import Array
from skbayesiv.diagnostics._partial import Partialled

# Coordinates and eigenvalues this small relative to their scale are rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class ReducedForm:
    """Reduced form on whitened instruments; column 0 is an outcome, the others are the treatments.

    Attributes
    ----------
    centre : ndarray of shape (K,)
        The outcome is y - t'centre.
    coef : ndarray of shape (Q, D)
        Coefficients C.
    errors : ndarray of shape (D, D)
        Weighted sums of products of the residuals.
    cov : ndarray of shape (D, D, Q, Q)
        ``cov[d, e]`` is Cov(C_d, C_e).
    dof_denominator : float or None
        Denominator degrees of freedom of F tests; None for chi-square tests (not debiased).
    """

    centre: Array
    coef: Array
    errors: Array
    cov: Array
    dof_denominator: float | None

    def covariance(self, direction: Array) -> Array:
        """Covariance (Q, Q) of C b for a direction b of shape (D,)."""
        return np.asarray(np.einsum("d,e,deqr->qr", direction, direction, self.cov))


def reduced_form(p: Partialled, *, robust: bool = True, debiased: bool = False) -> ReducedForm:
    """Regress (y - t'centre, t) on the instruments, about the centre where no digits are lost.

    The centre is least squares. Residuals that are rounding are zero, and so is the outcome.
    """
    check_flags(robust=robust, debiased=debiased)
    projection, d = p.projection, 1 + p.n_treatments
    errors = p.square("reduced form")[:d, :d]
    coef = projection.coef.copy()
    total = np.diag(errors) + (coef**2).sum(axis=0)
    own = np.diag(errors) > p.rounding * total
    if total[0] <= p.rounding * size_of_parts(p, projection.centre):
        coef[:, 0], own[0] = 0.0, False
    keep = np.outer(own, own)
    errors = np.where(keep, errors, 0.0)
    if robust:
        require_clusters(p, p.n_instruments + 1)  # residual scores add to zero, which costs one
        outer = p.outer("reduced form")[:, :d, :, :d]
        cov = outer.transpose(1, 3, 0, 2) * keep[:, :, None, None]
    else:
        cov = np.einsum("de,qr->deqr", errors / p.n, np.eye(p.n_instruments))
    if debiased:
        cov = cov * small_sample_factor(p, p.dof)
    dof = dof_denominator(p, p.dof) if debiased else None
    return ReducedForm(projection.centre, coef, errors, cov, dof)


def about_effect(p: Partialled, form: ReducedForm, effect: Array) -> ReducedForm:
    """The same with the outcome y - t'effect, which is zero if it is rounding only."""
    step = form.centre - effect
    turn = np.eye(len(form.errors))  # from (y - t'centre, t) to (y - t'effect, t)
    turn[1:, 0] = step
    coef, errors = form.coef @ turn, turn.T @ form.errors @ turn
    total = errors[0, 0] + coef[:, 0] @ coef[:, 0]
    cov = np.einsum("da,eb,deqr->abqr", turn, turn, form.cov, optimize=True)
    parts = np.abs(turn[:, 0]) @ np.sqrt(np.diag(form.errors))
    if errors[0, 0] <= ROUNDING * parts**2:  # z and X fit y - t'effect exactly
        errors[0] = errors[:, 0] = 0.0
        cov[0] = cov[:, 0] = 0.0
    if total <= p.rounding * size_of_parts(p, effect):
        coef[:, 0] = errors[0] = errors[:, 0] = 0.0
        cov[0] = cov[:, 0] = 0.0
    return replace(form, centre=effect, coef=coef, errors=errors, cov=cov)


def size_of_parts(p: Partialled, effect: Array) -> float:
    """Sums of squares of y and of t'effect, of which y - t'effect is the difference."""
    treatments, centre = p.projection.second[1:, 1:], p.projection.centre
    outcome = p.projection.second[0, 0] + centre @ treatments @ centre
    return float(outcome + effect @ treatments @ effect)


def check_flags(**flags: Any) -> None:
    """Raise unless arguments are True or False."""
    for name, flag in flags.items():
        if not isinstance(flag, bool | np.bool_):
            raise TypeError(f"{name} must be True or False; got {flag!r}.")


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
            f"{p.n_treatments} treatment(s), got {p.n_clusters}. Take fewer instruments, or "
            "smaller clusters."
        )


def small_sample_factor(p: Partialled, dof: float) -> float:
    """Factor on a covariance when dof = n - k residual degrees of freedom remain."""
    return covariance.small_sample_factor(p.n, dof, p.n_clusters or 0)


def dof_denominator(p: Partialled, dof: float) -> float:
    """Denominator degrees of freedom of F tests: n - k, or G - 1 with clusters."""
    return dof if p.n_clusters is None else float(p.n_clusters - 1)


def quadratic_form(vector: Array, matrix: Array) -> float:
    """Compute v'M^-1 v for M positive semi-definite, infinite where v leaves the range of M."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    coordinates = vectors.T @ vector
    null = values <= ROUNDING * max(float(values[-1]), 0.0)
    if (np.abs(coordinates[null]) > ROUNDING * np.linalg.norm(vector)).any():
        return float("inf")
    return float((coordinates[~null] ** 2 / values[~null]).sum())

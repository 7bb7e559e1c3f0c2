"""The error covariance: its unconstrained coordinates and its prior.

Sigma is written as a chain of regressions with the treatments first and the outcome last
(Sigma = L D^2 L'): ``e_j = sum_{k<j} a_jk e_k + v_j`` with ``sd(v_j) = d_j``. NUTS moves in
``(log d, a)``. With a weak instrument the posterior of (log sigma, atanh rho) is curved and
runs to the boundary; in these coordinates it is close to a Gaussian.
Equations are numbered 0 for the outcome, 1..K for the treatments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skbayesiv._models.parts.priors import log_normal_density
from skbayesiv._models.parts.scales import HALF_CAUCHY, HALF_T
from skbayesiv._models.parts.small_matrices import Matrix, less, total
from skbayesiv._typing import Array


def dimension(n_equations: int) -> int:
    """Number of free parameters of the covariance."""
    return n_equations * (n_equations + 1) // 2


def chain(u: Any, n_equations: int) -> tuple[list[Any], Matrix]:
    """Split coordinates into log conditional sds and regression rows.

    Returns
    -------
    log_d : list of D scalars, treatments first and the outcome last
    rows : list of D lists; row j holds the j coefficients on the earlier errors
    """
    log_d = [u[j] for j in range(n_equations)]
    rows, at = [], n_equations
    for j in range(n_equations):
        rows.append([u[at + k] for k in range(j)])
        at += j
    return log_d, rows


def _equation(position: int, n_equations: int) -> int:
    """Equation number of a position in the chain: treatments 1..K, then the outcome 0."""
    return position + 1 if position < n_equations - 1 else 0


def precision(log_d: list[Any], rows: Matrix, xp: Any) -> Matrix:
    """Omega = Sigma^-1 = B' D^-2 B in equation order, B = I - A."""
    size = len(log_d)
    weight = [xp.exp(-2.0 * value) for value in log_d]
    scaled = [[a * w for a in row] for row, w in zip(rows, weight, strict=True)]
    omega: Matrix = [[None] * size for _ in range(size)]
    for i in range(size):
        for k in range(i + 1):
            own = weight[i] if i == k else -scaled[i][k]
            entry = total([own, *(scaled[j][i] * rows[j][k] for j in range(i + 1, size))])
            d, e = _equation(i, size), _equation(k, size)
            omega[d][e] = omega[e][d] = entry
    return omega


def covariance(log_d: list[Any], rows: Matrix, xp: Any) -> Matrix:
    """Sigma = L D^2 L' in equation order, L = B^-1 (its diagonal of ones is not kept)."""
    size = len(log_d)
    lower: Matrix = []
    for j in range(size):
        row = [
            total([rows[j][i], *(rows[j][k] * lower[k][i] for k in range(i + 1, j))])
            for i in range(j)
        ]
        lower.append(row)
    d2 = [xp.exp(2.0 * value) for value in log_d]
    sigma: Matrix = [[None] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            own = d2[j] if i == j else lower[i][j] * d2[j]
            entry = total([own, *(lower[i][k] * lower[j][k] * d2[k] for k in range(j))])
            d, e = _equation(i, size), _equation(j, size)
            sigma[d][e] = sigma[e][d] = entry
    return sigma


def coordinates(sigma: Any, xp: Any) -> Any:
    """Inverse map: a covariance matrix (D, D) in equation order -> coordinates."""
    size = len(sigma)
    order = [_equation(j, size) for j in range(size)]
    a = [[sigma[i][j] for j in order] for i in order]
    lower: Matrix = [[0.0] * size for _ in range(size)]
    d2: list[Any] = []
    for j in range(size):
        d2.append(less(a[j][j], (lower[j][k] ** 2 * d2[k] for k in range(j))))
        for i in range(j + 1, size):
            products = (lower[i][k] * lower[j][k] * d2[k] for k in range(j))
            lower[i][j] = less(a[i][j], products) / d2[j]
    # Row j of A = I - L^-1 by back substitution: L row_j = sum_k a_jk (L row_k).
    rows = []
    for j in range(size):
        row = [0.0] * j
        for k in reversed(range(j)):
            row[k] = less(lower[j][k], (row[i] * lower[i][k] for i in range(k + 1, j)))
        rows.append(row)
    return xp.stack([0.5 * xp.log(v) for v in d2] + [a for row in rows for a in row])


def log_prior_lkj(
    log_d: list[Any], log_sigma: list[Any], scale: list[Any], eta: Any, xp: Any
) -> Any:
    """log p(sigma) p(R) + log |d(sigma, R) / d(log d, a)|, up to LKJ's constant.

    With Sigma = L D^2 L', dSigma = prod_j 2 d_j^(2(D-j)+2) d(log d, a) for j = 1..D, and
    dSigma = 2^D prod_i sigma_i^D d(sigma, R), so that the log Jacobian is
    sum_j (2(D-j)+2) log d_j - D sum_i log sigma_i. For D = 2 it is
    sigma_t^2 sigma_v^2 / sigma_y^2. Also log|R| = 2 sum_j log d_j - 2 sum_i log sigma_i.
    `log_sigma` and `scale` go in equation order, `log_d` in the chain's.
    """
    size = len(log_d)
    jacobian = total((2 * (size - 1 - j) + 2) * value for j, value in enumerate(log_d))
    jacobian = jacobian - size * total(log_sigma)
    log_det_r = 2.0 * (total(log_d) - total(log_sigma))
    scales = total(HALF_CAUCHY.log_pdf(s, c, xp) for s, c in zip(log_sigma, scale, strict=True))
    return jacobian + (eta - 1.0) * log_det_r + scales


def log_prior(
    kind: str,
    log_d: list[Any],
    rows: Matrix,
    scale: list[Any],
    eta: Any,
    alpha_scale: list[Any],
    xp: Any,
) -> Any:
    """Log prior density of the coordinates, up to LKJ's constant.

    ``kind="lkj"``: half-Cauchy scales and an LKJ correlation for all equations.
    ``kind="regression"``: that prior for the treatments' errors only; the outcome's error is
    ``e_y = alpha' e_t + v`` with alpha ~ N(0, alpha_scale) and sd(v) ~ half-t.
    """
    size = len(log_d)
    if kind == "lkj" or size == 1:
        sigma = covariance(log_d, rows, xp)
        log_sigma = [0.5 * xp.log(sigma[d][d]) for d in range(size)]
        return log_prior_lkj(log_d, log_sigma, scale, eta, xp)
    # The treatments come first in the chain, so theirs is a chain of its own.
    sigma = covariance(log_d[:-1], rows[:-1], xp)
    order = [_equation(j, size - 1) for j in range(size - 1)]
    log_sigma = [0.5 * xp.log(sigma[d][d]) for d in order]
    found = log_prior_lkj(log_d[:-1], log_sigma, scale[1:], eta, xp)
    found = found + HALF_T.log_pdf(log_d[-1], scale[0], xp) + log_d[-1]
    for a, s in zip(rows[-1], alpha_scale, strict=True):
        found = found + log_normal_density(a, 0.0, s, xp)
    return found


def join_outcome(alpha: Any, variance: Any, within: Any, xp: Any) -> Any:
    """Covariance (..., D, D) of (e_y, e_t) with e_y = alpha'e_t + v.

    Parameters
    ----------
    alpha : (..., K)
    variance : (...)
        Of v.
    within : (..., K, K)
        Covariance of e_t.
    xp : module
        NumPy, or PyMC's ``math``.
    """
    across = (within * alpha[..., None, :]).sum(-1)
    own = (across * alpha).sum(-1) + variance
    outcome = xp.concatenate([own[..., None], across], axis=-1)
    treatments = xp.concatenate([across[..., None], within], axis=-1)
    return xp.concatenate([outcome[..., None, :], treatments], axis=-2)


def split_outcome(matrix: Array) -> tuple[Array, Array]:
    """Return alpha (..., K) and the variance of v (...), e_y = alpha'e_t + v, of covariances."""
    across = matrix[..., 1:, :1]
    alpha = np.linalg.solve(matrix[..., 1:, 1:], across)[..., 0]
    return alpha, matrix[..., 0, 0] - (alpha * across[..., 0]).sum(-1)

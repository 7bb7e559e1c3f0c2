"""Rank of the first stage: Cragg-Donald and Kleibergen-Paap."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._partial import Partialled, partial_out
from skbayesiv.diagnostics._reduced_form import (
    quadratic_form,
    reduced_form,
    small_sample_factor,
)


@dataclass(frozen=True)
class CraggDonald:
    """Cragg-Donald test of identification under homoskedasticity.

    Attributes
    ----------
    f : float
        Smallest eigenvalue statistic, the Wald statistic divided by Q; for one treatment the
        classical first-stage F. What the tables of Stock and Yogo (2005) are for.
    statistic : float
        Wald statistic, Q times `f`.
    dof : int
        Q - K + 1.
    p_value : float
        Of `statistic` under the null that the first stage has rank K - 1.
    """

    f: float
    statistic: float
    dof: int
    p_value: float


@dataclass(frozen=True)
class KleibergenPaap:
    """Kleibergen-Paap rank statistics.

    Attributes
    ----------
    lm : float
        rk LM statistic, chi-square(dof) under the null that the first stage has rank K - 1.
    wald : float
        rk Wald statistic, the same distribution.
    f : float
        rk Wald F: `wald` with the small-sample factor of ``ivreg2``, divided by Q.
    dof : int
        Q - K + 1.
    p_value : float
        Of `lm`, the test of under-identification.
    p_value_wald : float
        Of `wald`.
    """

    lm: float
    wald: float
    f: float
    dof: int
    p_value: float
    p_value_wald: float


def cragg_donald(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
) -> CraggDonald:
    """Cragg-Donald statistic of a first stage with any number of treatments.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome; checked but not used, so that all diagnostics are called alike.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments, Q >= K.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.

    Returns
    -------
    CraggDonald
        F form, Wald form and its p-value. Variances divide by n - k, as in ``ivreg2``.

    References
    ----------
    Cragg, J. G. and Donald, S. G. (1993). Testing identifiability and specification in instrumental
    variable models. Econometric Theory 9, 222-240.

    Stock, J. H. and Yogo, M. (2005). Testing for weak instruments in linear IV regression. In
    Identification and Inference for Econometric Models, 80-108. Cambridge University Press.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import cragg_donald
    >>> z = np.tile([0, 1], 50)
    >>> t = z * (np.arange(100) % 3 > 0)
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> round(cragg_donald(y, t, z).f, 2)
    95.12
    """
    p = partial_out(y, t, z, X, sample_weight=sample_weight, fit_intercept=fit_intercept)
    *_, correlation = _canonical(p, p.projection.coef[:, 1:])
    r2 = correlation**2
    unexplained = 1.0 - r2
    statistic = p.dof * r2 / unexplained if unexplained > 64 * np.finfo(float).eps else np.inf
    dof = p.n_instruments - p.n_treatments + 1
    p_value = float(stats.chi2.sf(statistic, dof))
    return CraggDonald(float(statistic) / p.n_instruments, float(statistic), dof, p_value)


def kleibergen_paap(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
) -> KleibergenPaap:
    r"""Kleibergen-Paap rk statistics of a first stage with any number of treatments.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome; checked but not used, so that all diagnostics are called alike.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments, Q >= K.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them the covariance is HC0.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.

    Returns
    -------
    KleibergenPaap
        LM, Wald and F forms.

    Notes
    -----
    With whitened instruments and T'WT = C'C, the singular values of Theta = Z~'WT C^-1
    are the canonical correlations (Kleibergen and Paap 2006, section 2). Let v be the right
    singular vector of the smallest one and U the left singular vectors K, ..., Q. The statistic is
    lambda' Cov(lambda)^-1 lambda with lambda = U' Theta v; their normalisation of U and v cancels.
    The scores use the first-stage residuals in the Wald form and the treatments themselves in the
    LM form, as ``ivreg2`` and ``ranktest`` do.

    References
    ----------
    Kleibergen, F. and Paap, R. (2006). Generalized reduced rank tests using the singular value
    decomposition. Journal of Econometrics 133, 97-126.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import kleibergen_paap
    >>> z = np.tile([0, 1], 50)
    >>> t = z * (np.arange(100) % 3 > 0)
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> result = kleibergen_paap(y, t, z)
    >>> round(result.f, 2), round(result.lm, 2), result.dof
    (95.12, 49.25, 1)
    """
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    p.read("reduced form", "treatments")
    form = reduced_form(p)
    coef = form.coef[:, 1:]
    left, direction, _ = _canonical(p, coef)
    dof = p.n_instruments - p.n_treatments + 1
    contrast = left.T @ coef @ direction
    wald_cov = left.T @ form.covariance(np.append(0.0, direction)) @ left
    wald = quadratic_form(contrast, wald_cov)
    lm_cov = np.einsum("k,l,qkrl->qr", direction, direction, p.outer("treatments"))
    lm = quadratic_form(contrast, left.T @ lm_cov @ left)
    factor = small_sample_factor(p, p.dof)
    return KleibergenPaap(
        lm=lm,
        wald=wald,
        f=wald / factor / p.n_instruments,
        dof=dof,
        p_value=float(stats.chi2.sf(lm, dof)),
        p_value_wald=float(stats.chi2.sf(wald, dof)),
    )


def _canonical(p: Partialled, coef: Array) -> tuple[Array, Array, float]:
    """Left null space U, direction C^-1 v and smallest correlation, from Z~'WT."""
    factor = np.linalg.cholesky(p.projection.second[1:, 1:]).T
    left, correlations, right = np.linalg.svd(np.linalg.solve(factor.T, coef.T).T)
    direction = np.linalg.solve(factor, right[-1])
    return left[:, p.n_treatments - 1 :], direction, float(correlations[-1])

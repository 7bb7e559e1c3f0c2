"""Tests of over-identifying restrictions.

Notation: covariates partialled out, Z~'WZ~ = I, W the frequency weights, u the 2SLS residuals.
"""

import numpy as np
import numpy.typing as npt

from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._partial import Partialled, partial_out
from skbayesiv.diagnostics._reduced_form import quadratic_form, require_clusters
from skbayesiv.diagnostics._results import HypothesisTest

_VALID = "the instruments are valid"


def sargan(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
) -> HypothesisTest:
    """Sargan's test of the over-identifying restrictions, under homoskedasticity.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments.
    z : array-like of shape (n_rows, Q)
        Instruments, Q > K.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.

    Returns
    -------
    HypothesisTest
        n times the R2 of the 2SLS residuals on the instruments, chi-square(Q - K).

    References
    ----------
    Sargan, J. D. (1958). The estimation of economic relationships using
    instrumental variables. Econometrica 26, 393-415.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import sargan
    >>> z = np.column_stack([np.tile([0, 1], 50), np.arange(100) % 5])
    >>> t = z[:, 0] * (np.arange(100) % 3 > 0) + z[:, 1]
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> print(sargan(y, t, z))
    Sargan: chi2(1) = 0.01675, p = 0.897 (null: the instruments are valid)
    """
    p = partial_out(y, t, z, X, sample_weight=sample_weight, fit_intercept=fit_intercept)
    dof = _overidentification(p)
    moment = _moment(p)
    statistic = p.n * float(moment @ moment) / float(p.square("two stage")[0, 0])
    return HypothesisTest.chi2("Sargan", _VALID, statistic, dof)


def hansen_j(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
) -> HypothesisTest:
    """Hansen's J test of the over-identifying restrictions, from two-step GMM.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments.
    z : array-like of shape (n_rows, Q)
        Instruments, Q > K.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them the weight matrix allows for heteroskedasticity.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.

    Returns
    -------
    HypothesisTest
        Minimum of g(b)'S^-1 g(b), g = Z~'W(y - t b), chi-square(Q - K). S is the uncentred
        covariance of g at the 2SLS estimate, as in ``ivreg2``.

    References
    ----------
    Hansen, L. P. (1982). Large sample properties of generalized method of
    moments estimators. Econometrica 50, 1029-1054.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import hansen_j
    >>> z = np.column_stack([np.tile([0, 1], 50), np.arange(100) % 5])
    >>> t = z[:, 0] * (np.arange(100) % 3 > 0) + z[:, 1]
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> print(hansen_j(y, t, z))
    Hansen J: chi2(1) = 0.01695, p = 0.8964 (null: the instruments are valid)
    """
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    dof = _overidentification(p)
    require_clusters(p, p.n_instruments)
    covariance = p.outer("two stage")[:, 0, :, 0]
    outcome, treatments = p.projection.coef[:, 0], p.projection.coef[:, 1:]
    try:
        weighted = np.linalg.solve(covariance, treatments)
        effect = np.linalg.solve(treatments.T @ weighted, weighted.T @ outcome)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "y must have an error given t and X whose products with z are linearly independent; "
            "they are not."
        ) from error
    return HypothesisTest.chi2(
        "Hansen J", _VALID, quadratic_form(outcome - treatments @ effect, covariance), dof
    )


def wooldridge_overid(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
) -> HypothesisTest:
    """Wooldridge's robust score test of the over-identifying restrictions.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments.
    z : array-like of shape (n_rows, Q)
        Instruments, Q > K.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them the scores are independent across observations.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.

    Returns
    -------
    HypothesisTest
        s'S^-1 s for the scores s = sum of w u r, r the part of the instruments orthogonal to the
        fitted treatments, and S their covariance; chi-square(Q - K). Without clusters it is n minus
        the residual sum of squares of the regression of 1 on u r.

    References
    ----------
    Wooldridge, J. M. (1995). Score diagnostics for linear models estimated by
    two stage least squares. In Advances in Econometrics and Quantitative Economics, 66-87.
    Blackwell.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import wooldridge_overid
    >>> z = np.column_stack([np.tile([0, 1], 50), np.arange(100) % 5])
    >>> t = z[:, 0] * (np.arange(100) % 3 > 0) + z[:, 1]
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> print(wooldridge_overid(y, t, z))
    Wooldridge score: chi2(1) = 0.01695, p = 0.8964 (null: the instruments are valid)
    """
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    dof = _overidentification(p)
    require_clusters(p, dof)
    # The fitted treatments are Z~ C; Z~ N with N'C = 0 is orthogonal to them.
    null = np.linalg.svd(p.projection.coef[:, 1:])[0][:, p.n_treatments :]
    covariance = null.T @ p.outer("two stage")[:, 0, :, 0] @ null
    return HypothesisTest.chi2(
        "Wooldridge score", _VALID, quadratic_form(null.T @ _moment(p), covariance), dof
    )


def _overidentification(p: Partialled) -> int:
    """Count the over-identifying restrictions, Q - K."""
    dof = p.n_instruments - p.n_treatments
    if dof == 0:
        raise ValueError(
            "z must have more columns than t for a test of over-identification, "
            f"got {p.n_instruments} and {p.n_treatments}."
        )
    if not p.varies:
        raise ValueError("y must vary for a test of over-identification; it is constant.")
    return dof


def _moment(p: Partialled) -> Array:
    """Z~'Wu of shape (Q,)."""
    coef = p.projection.coef
    return np.asarray(coef[:, 0] - coef[:, 1:] @ p.projection.two_stage)

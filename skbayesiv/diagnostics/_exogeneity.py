"""Test of exogeneity."""

import numpy as np
import numpy.typing as npt

from skbayesiv._data.standardised import in_own_units
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._partial import Partialled, partial_out
from skbayesiv.diagnostics._projection import SAME, beside_treatments
from skbayesiv.diagnostics._reduced_form import (
    check_flags,
    dof_denominator,
    quadratic_form,
    refuse_clusters,
    require_clusters,
    small_sample_factor,
)
from skbayesiv.diagnostics._results import HypothesisTest


def wu_hausman(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
    robust: bool = True,
    debiased: bool = False,
) -> HypothesisTest:
    """Regression-based test that the treatments are exogenous, so that least squares would do.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments, tested together.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments, Q >= K.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them the robust covariance is HC0.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.
    robust : bool, default=True
        Whether to allow for heteroskedasticity (and clusters).
    debiased : bool, default=False
        Small-sample factor n / (n - k), k = rank(1, X) + K + r, with clusters G / (G - 1) *
        (n - 1) / (n - k), and F instead of chi-square. ``robust=False, debiased=True`` is the
        Wu-Hausman F of the textbooks.

    Returns
    -------
    HypothesisTest
        Wald test of the first-stage residuals added to the regression of y on (1, X, t), on r
        degrees of freedom: K less the number of combinations of the treatments that z and X
        explain exactly, which are exogenous.

    References
    ----------
    Hausman, J. A. (1978). Specification tests in econometrics. Econometrica 46, 1251-1271.

    Wooldridge, J. M. (2010). Econometric Analysis of Cross Section and Panel Data, section 6.3.1.
    MIT Press.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import wu_hausman
    >>> z = np.tile([0, 1], 50)
    >>> t = z * (np.arange(100) % 3 > 0)
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> print(wu_hausman(y, t, z))
    Wu-Hausman: chi2(1) = 0.04659, p = 0.8291 (null: the treatments are exogenous)
    """
    check_flags(robust=robust, debiased=debiased)
    refuse_clusters(clusters, robust)
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    if p.outcome_is_fitted:
        raise ValueError("y must not be explained exactly by X; it is.")
    projection = p.projection
    left = p.square("reduced form")[: 1 + p.n_treatments, : 1 + p.n_treatments]
    total, treatments = in_own_units(projection.second[1:, 1:])  # units have no say in the test
    _, gram = beside_treatments(left[1:, 1:] / np.outer(total, total), treatments)
    values, directions = np.linalg.eigh(gram)
    directions = directions[:, values > max(p.rounding, SAME * values[-1])]
    rank = directions.shape[1]
    if not rank:
        raise ValueError(
            "t must not be explained exactly by z, or there is no endogeneity to test; it is."
        )
    moment = directions.T @ (left[1:, 0] / total)
    if robust:
        require_clusters(p, rank)
        meat = p.outer("exogeneity")[:, 0, :, 0]
    else:
        meat = gram * float(p.square("exogeneity")[0, 0]) / p.n
    meat = directions.T @ meat @ directions
    dof = p.n - p.n_controls - p.n_treatments - rank
    wald = quadratic_form(moment, meat) / (small_sample_factor(p, dof) if debiased else 1.0)
    return HypothesisTest.wald(
        "Wu-Hausman",
        "the treatments are exogenous",
        wald,
        rank,
        dof_denominator(p, dof) if debiased else None,
    )

"""Anderson-Rubin test of an effect, and its inversion into a confidence set."""

import numpy as np
import numpy.typing as npt
from scipy import stats

from skbayesiv._data.arrays import as_numbers
from skbayesiv._data.checks import check_level
from skbayesiv.diagnostics._confidence_set import ConfidenceSet
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._inversion import accepted_effects
from skbayesiv.diagnostics._partial import Partialled, partial_out
from skbayesiv.diagnostics._reduced_form import (
    ReducedForm,
    about_effect,
    quadratic_form,
    reduced_form,
    refuse_clusters,
    require_one_treatment,
)
from skbayesiv.diagnostics._results import HypothesisTest


def anderson_rubin(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    effect: npt.ArrayLike = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
    robust: bool = True,
    debiased: bool = False,
) -> HypothesisTest:
    r"""Test that the effects of the treatments equal given values, however weak the instruments.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments, Q >= K.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    effect : float or array-like of shape (K,), default=0.0
        Hypothesised effects, outcome units per unit of treatment; a number stands for all
        treatments.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them the robust covariance is HC0.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.
    robust : bool, default=True
        Whether to allow for heteroskedasticity (and clusters).
    debiased : bool, default=False
        Small-sample factor n / (n - k), with clusters G / (G - 1) * (n - 1) / (n - k), and an F
        instead of a chi-square. With ``robust=False`` that is exact under normal errors.

    Returns
    -------
    HypothesisTest
        Wald test that the instruments do not enter the regression of y - t'effect on (1, X, z).

    Notes
    -----
    For b_0 the statistic is d'V^-1 d with d = C_y - C_t b_0 and V = Cov(d), quadratic
    in b_0, from the residuals of the unrestricted regression (``ivreg2`` calls it the
    Anderson-Rubin Wald test). As b_0 grows it tends to Q times the robust first-stage F. It rejects
    also when the instruments are invalid.

    References
    ----------
    Anderson, T. W. and Rubin, H. (1949). Estimation of the parameters of a
    single equation in a complete system of stochastic equations. Annals of Mathematical Statistics
    20, 46-63.

    Chernozhukov, V. and Hansen, C. (2008). The reduced form: a simple approach to inference with
    weak instruments. Economics Letters 100, 68-71.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import anderson_rubin
    >>> z = np.tile([0, 1], 50)
    >>> t = z * (np.arange(100) % 3 > 0)
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> print(anderson_rubin(y, t, z, effect=2.0))
    Anderson-Rubin: chi2(1) = 0.002471, p = 0.9604 (null: the effect is 2)
    """
    refuse_clusters(clusters, robust)
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    values = np.asarray(as_numbers(effect, "effect"), dtype=np.float64)
    if values.shape not in ((), (p.n_treatments,)) or not np.isfinite(values).all():
        raise ValueError(
            "effect must be a finite number or one per treatment "
            f"({p.n_treatments}), got {values.tolist()}."
        )
    values = np.broadcast_to(values, (p.n_treatments,))
    form = about_effect(p, reduced_form(p, robust=robust, debiased=debiased), values)
    null = f"the effect is {', '.join(f'{value:g}' for value in values)}"
    return HypothesisTest.wald(
        "Anderson-Rubin",
        null,
        quadratic_form(form.coef[:, 0], form.cov[0, 0]),
        p.n_instruments,
        form.dof_denominator,
    )


def anderson_rubin_confidence_set(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
    robust: bool = True,
    debiased: bool = False,
) -> ConfidenceSet:
    """All effects of one treatment that the Anderson-Rubin test does not reject.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,)
        One treatment.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    level : float, default=0.95
        Coverage.
    sample_weight, clusters, fit_intercept, robust, debiased
        As for `anderson_rubin`.

    Returns
    -------
    ConfidenceSet
        Bounded exactly when the first-stage F (of the same covariance) exceeds the critical value.
        With one instrument or ``robust=False`` it is an interval, two rays, the whole line or
        empty; with more instruments the robust set may be a union of several intervals. Empty means
        that no effect fits: the instruments contradict each other.

    Raises
    ------
    ValueError
        If there is more than one treatment.

    Notes
    -----
    With d(b) and V(b) as in `anderson_rubin` and c the critical value, d'V^-1 d <= c if
    and only if the matrix M(b) = c V(b) - d(b) d(b)' = A_0 + A_1 b + A_2 b^2 is positive
    semi-definite (Schur complement). The ends of the set are therefore among the real roots of det
    M(b), a polynomial of degree 2 Q, which are found all at once as generalised eigenvalues of a
    linear pencil; no grid is searched. With ``robust=False`` V(b) = s2(b) I and M reduces to the
    scalar c s2(b) - d(b)'d(b), a quadratic.

    References
    ----------
    Anderson, T. W. and Rubin, H. (1949). Estimation of the parameters of a
    single equation in a complete system of stochastic equations. Annals of Mathematical Statistics
    20, 46-63.

    Dufour, J.-M. and Taamouti, M. (2005). Projection-based statistical inference in linear
    structural models with possibly weak instruments. Econometrica 73, 1351-1365.

    Tisseur, F. and Meerbergen, K. (2001). The quadratic eigenvalue problem. SIAM Review 43,
    235-286.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import anderson_rubin_confidence_set
    >>> z = np.tile([0, 1], 50)
    >>> t = z * (np.arange(100) % 3 > 0)
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> print(anderson_rubin_confidence_set(y, t, z))
    [0.803959, 3.2421]
    """
    refuse_clusters(clusters, robust)
    check_level(level)
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    require_one_treatment(p, "a confidence set")
    form = reduced_form(p, robust=robust, debiased=debiased)
    pieces = accepted_effects(form, _critical_value(p, form, level), robust)
    b = float(form.centre[0])
    return ConfidenceSet(tuple((b + lower, b + upper) for lower, upper in pieces), level)


def _critical_value(p: Partialled, form: ReducedForm, level: float) -> float:
    if form.dof_denominator is None:
        return float(stats.chi2.ppf(level, p.n_instruments))
    return p.n_instruments * float(stats.f.ppf(level, p.n_instruments, form.dof_denominator))

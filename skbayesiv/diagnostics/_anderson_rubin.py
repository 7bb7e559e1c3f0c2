"""Anderson-Rubin test of an effect, and its inversion into a confidence set."""

from itertools import pairwise
from math import inf

import numpy as np
import numpy.typing as npt
from scipy import linalg, stats

from ._confidence_set import ConfidenceSet
from ._fitted import Fitted
from ._partial import FloatArray, Partialled, partial_out
from ._reduced_form import (
    ReducedForm,
    least_squares_effect,
    less_effect,
    quadratic_form,
    reduced_form,
)
from ._results import HypothesisTest


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
    _check_clusters(clusters, robust)
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    values = np.asarray(effect, dtype=np.float64)
    if values.shape not in ((), (p.n_treatments,)) or not np.isfinite(values).all():
        raise ValueError(
            "effect must be a finite number or one per treatment "
            f"({p.n_treatments}), got {values.tolist()}."
        )
    values = np.broadcast_to(values, (p.n_treatments,))
    form = reduced_form(less_effect(p, values), robust=robust, debiased=debiased)
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
    _check_clusters(clusters, robust)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}.")
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    if p.n_treatments != 1:
        raise ValueError(
            f"t must be one treatment for a confidence set, got {p.n_treatments} columns."
        )
    centre = least_squares_effect(p)
    form = reduced_form(less_effect(p, centre), robust=robust, debiased=debiased)
    pieces = _invert(form, _critical_value(p, form, level), robust)
    b = float(centre[0])
    return ConfidenceSet(tuple((b + lower, b + upper) for lower, upper in pieces), level)


def _check_clusters(clusters: npt.ArrayLike | None, robust: bool) -> None:
    if clusters is not None and not robust:
        raise ValueError("clusters must be None when robust=False, got cluster labels.")


def _critical_value(p: Partialled, form: ReducedForm, level: float) -> float:
    if form.dof_denominator is None:
        return float(stats.chi2.ppf(level, p.n_instruments))
    return p.n_instruments * float(stats.f.ppf(level, p.n_instruments, form.dof_denominator))


def _invert(form: ReducedForm, critical: float, robust: bool) -> list[tuple[float, float]]:
    """Solve M(b) >= 0 in units in which outcome and treatment have like scale."""
    a, b = form.coef[:, 0], form.coef[:, 1]
    v_00, v_01, v_11 = form.cov[0, 0], form.cov[0, 1] + form.cov[1, 0], form.cov[1, 1]
    scale = float(np.sqrt((np.trace(v_00) + a @ a) / (np.trace(v_11) + b @ b)))
    if scale == 0.0:  # t explains y exactly
        return [(-inf, inf)] if quadratic_form(b, v_11) <= critical else [(0.0, 0.0)]
    a, v_00, v_01 = a / scale, v_00 / scale**2, v_01 / scale
    if robust:
        constant = critical * v_00 - np.outer(a, a)
        linear = np.outer(a, b) + np.outer(b, a) - critical * v_01
        square = critical * v_11 - np.outer(b, b)
    else:
        constant = np.array([[critical * v_00[0, 0] - a @ a]])
        linear = np.array([[2.0 * (a @ b) - critical * v_01[0, 0]]])
        square = np.array([[critical * v_11[0, 0] - b @ b]])
    pieces = _positive_region(constant, linear, square)
    return [(scale * lower, scale * upper) for lower, upper in pieces]


def _positive_region(
    constant: FloatArray, linear: FloatArray, square: FloatArray
) -> list[tuple[float, float]]:
    """Intervals on which A_0 + A_1 b + A_2 b^2 is positive semi-definite."""
    breaks = _real_roots(constant, linear, square)
    ends = [-inf, *breaks, inf]
    pieces: list[tuple[float, float]] = []
    for lower, upper in pairwise(ends):
        point = _between(lower, upper)
        value = (constant + linear * point + square * point**2) / (1.0 + point**2)
        if np.linalg.eigvalsh(value)[0] < 0.0:
            continue
        if pieces and pieces[-1][1] == lower:
            pieces[-1] = (pieces[-1][0], upper)
        else:
            pieces.append((lower, upper))
    return pieces


def _real_roots(constant: FloatArray, linear: FloatArray, square: FloatArray) -> list[float]:
    """Real roots of det(A_0 + A_1 b + A_2 b^2), in increasing order.

    (A_0 + A_1 b + A_2 b^2) v = 0 is [[0, I], [-A_0, -A_1]] w = b [[I, 0], [0, A_2]] w with
    w = (v, b v), a linear problem. Roots at infinity are dropped. A double root is where the set
    shrinks to a point or two pieces touch; rounding may make it a complex pair, dropped too.
    """
    order = len(constant)
    identity, zero = np.eye(order), np.zeros((order, order))
    left = np.block([[zero, identity], [-constant, -linear]])
    right = np.block([[identity, zero], [zero, square]])
    numerator, denominator = linalg.eigvals(left, right, homogeneous_eigvals=True)
    real = (np.abs(denominator) > 1e-14 * np.abs(numerator)) & (numerator.imag == 0.0)
    return sorted(set((numerator[real].real / denominator[real].real).tolist()))


def _between(lower: float, upper: float) -> float:
    if lower == -inf and upper == inf:
        return 0.0
    if lower == -inf:
        return upper - 1.0 - abs(upper)
    if upper == inf:
        return lower + 1.0 + abs(lower)
    return (lower + upper) / 2

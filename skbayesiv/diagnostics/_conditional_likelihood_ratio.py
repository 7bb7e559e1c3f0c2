"""Conditional likelihood ratio test of an effect, and its inversion into a confidence set."""

import numpy as np
import numpy.typing as npt

from skbayesiv._data.checks import check_level
from skbayesiv.diagnostics._anderson_rubin import accepted_pieces, confidence_set, read_effect
from skbayesiv.diagnostics._conditional_law import p_values
from skbayesiv.diagnostics._confidence_set import ConfidenceSet
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._inversion import Pieces
from skbayesiv.diagnostics._kleibergen import Profile, accepted_by_kleibergen
from skbayesiv.diagnostics._moreira import accepted_by_moreira, ratio_and_strength
from skbayesiv.diagnostics._partial import Partialled, partial_out
from skbayesiv.diagnostics._reduced_form import (
    check_flags,
    refuse_clusters,
    require_one_treatment,
)
from skbayesiv.diagnostics._results import ConditionalTest


def conditional_likelihood_ratio(
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
) -> ConditionalTest:
    r"""Test that the effect of one treatment equals a value, however weak the instruments.

    With several instruments it has more power than `anderson_rubin`, which spends it on whether the
    instruments agree; with one instrument the two are the same test.

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
    effect : float, default=0.0
        Hypothesised effect, outcome units per unit of treatment.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them each row is a unit.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.
    robust : bool, default=True
        Whether to allow for heteroskedasticity (and clusters).
    debiased : bool, default=False
        The Anderson-Rubin statistic within is that of ``anderson_rubin(debiased=True)``, and F
        takes the place of chi-square. With one instrument it is that test.

    Returns
    -------
    ConditionalTest

    Raises
    ------
    ValueError
        If there is more than one treatment, or there are no more clusters than instruments.

    Notes
    -----
    With AR(b) of `anderson_rubin`, K(b) the part of it in the direction of the first stage, and
    r(b) the strength of the first stage,

    .. math::
        LR = \tfrac12 \left(AR - r + \sqrt{(AR - r)^2 + 4 K r}\right),

    whose law under the null, given r, is that of K chi-square with one degree of freedom and AR - K
    independent with Q - 1. The p-value is an integral over one variable (Andrews, Moreira and Stock
    2007). ``robust=False`` is Moreira's test, LR the likelihood ratio of LIML with errors of a
    known covariance. ``robust=True`` is Kleibergen's for moment conditions: r is of the first-stage
    coefficients less what of them is correlated with the scores of the effect.

    References
    ----------
    Andrews, D. W. K., Moreira, M. J. and Stock, J. H. (2007). Performance of conditional Wald
    tests in IV regression with weak instruments. Journal of Econometrics 139, 116-132.

    Kleibergen, F. (2005). Testing parameters in GMM without assuming that they are identified.
    Econometrica 73, 1103-1123.

    Moreira, M. J. (2003). A conditional likelihood ratio test for structural models. Econometrica
    71, 1027-1048.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import conditional_likelihood_ratio
    >>> z = np.column_stack([np.tile([0, 1], 60), np.arange(120) % 5])
    >>> t = z[:, 0] * (np.arange(120) % 3 > 0) + 0.2 * z[:, 1]
    >>> y = 2.0 * t + np.arange(120) % 7
    >>> test = conditional_likelihood_ratio(y, t, z, effect=1.0)
    >>> round(test.statistic, 2), round(test.strength, 1), round(test.p_value, 4)
    (4.4, 202.1, 0.0365)
    """
    refuse_clusters(clusters, robust)
    check_flags(robust=robust, debiased=debiased)
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    require_one_treatment(p, "the conditional likelihood ratio")
    values = read_effect(effect, p)
    if robust:
        profile = Profile.of(p, debiased=debiased)
        found = profile.at(profile.scores.direction(p, values))
        ratio, strength, dof = float(found.ratio), float(found.strength), profile.dof
    else:
        ratio, strength = ratio_and_strength(p, values, debiased=debiased)
        dof = p.dof if debiased else None
    q = p.n_instruments
    return ConditionalTest(
        name="Conditional likelihood ratio",
        null=f"the effect is {values[0]:g}",
        statistic=ratio,
        strength=strength,
        dof=q,
        dof_denominator=dof,
        p_value=float(p_values(np.array(ratio), np.array(strength), q, dof)),
    )


def conditional_likelihood_ratio_confidence_set(
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
    """All effects of one treatment that the conditional likelihood ratio test does not reject.

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
        As for `conditional_likelihood_ratio`.

    Returns
    -------
    ConfidenceSet
        With ``robust=False`` an interval, two rays or the whole line, about the LIML estimate; the
        robust set may be a union of several intervals. It is hardly ever empty, as the
        Anderson-Rubin set is when instruments contradict each other: ask `hansen_j` whether they
        do.

    Raises
    ------
    ValueError
        If there is more than one treatment, or there are no more clusters than instruments.

    Notes
    -----
    With ``robust=False`` the p-value is a function of the Anderson-Rubin statistic alone, so that
    the set is the solution of a quadratic inequality (Mikusheva). With one instrument it is the
    Anderson-Rubin set. The robust set has no closed form: the p-value is computed on a grid of the
    projective line, which has the infinite effect among its points, and the ends are refined by
    root finding. The zeros of the score, about which a set may be narrow, are points of the grid.

    References
    ----------
    Kleibergen, F. (2005). Testing parameters in GMM without assuming that they are identified.
    Econometrica 73, 1103-1123.

    Mikusheva, A. (2010). Robust confidence sets in the presence of weak instruments. Journal of
    Econometrics 157, 236-247.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import conditional_likelihood_ratio_confidence_set
    >>> z = np.column_stack([np.tile([0, 1], 60), np.arange(120) % 5])
    >>> t = z[:, 0] * (np.arange(120) % 3 > 0) + 0.2 * z[:, 1]
    >>> y = 2.0 * t + np.arange(120) % 7
    >>> print(conditional_likelihood_ratio_confidence_set(y, t, z))
    [1.06248, 2.78194]
    """
    refuse_clusters(clusters, robust)
    check_flags(robust=robust, debiased=debiased)
    check_level(level)
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    require_one_treatment(p, "a confidence set")
    return confidence_set(p, _pieces(p, level, robust=robust, debiased=debiased), level)


def _pieces(p: Partialled, level: float, *, robust: bool, debiased: bool) -> Pieces:
    if p.n_instruments == 1:
        return accepted_pieces(p, level, robust=robust, debiased=debiased)
    if robust:
        return accepted_by_kleibergen(Profile.of(p, debiased=debiased), level)
    return accepted_by_moreira(p, level, debiased=debiased)

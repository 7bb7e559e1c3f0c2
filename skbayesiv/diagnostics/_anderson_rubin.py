"""Anderson-Rubin test of an effect, and its inversion into a confidence set."""

import numpy as np
import numpy.typing as npt
from scipy import stats

from skbayesiv._data.arrays import as_numbers
from skbayesiv._data.checks import check_level
from skbayesiv._typing import Array
from skbayesiv.diagnostics._confidence_set import ConfidenceSet
from skbayesiv.diagnostics._effect_scores import (
    EffectScores,
    critical_value,
    hotelling,
    score_statistic,
)
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._inversion import Pieces, accepted_effects, effects_of_small_scores
from skbayesiv.diagnostics._partial import Partialled, partial_out
from skbayesiv.diagnostics._reduced_form import (
    about_effect,
    check_flags,
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
        Cluster labels; without them each row is a unit.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.
    robust : bool, default=True
        Whether to allow for heteroskedasticity (and clusters).
    debiased : bool, default=False
        An F instead of a chi-square, for small samples; see the notes.

    Returns
    -------
    HypothesisTest
        Test that the instruments are uncorrelated with y - t'effect, net of (1, X).

    Raises
    ------
    ValueError
        If there are no more clusters than instruments: the statistic of m <= Q units is m.

    Notes
    -----
    Covariates are partialled out of all columns, and the instruments Z~ are whitened. The null is
    imposed: the covariance is that of the scores of y~ - t~'b_0 itself, summed over units (rows, or
    clusters of them),

    .. math::
        AR(b_0) = g'S^{-1}g, \quad g = \sum_g s_g, \quad S = \sum_g s_g s_g', \quad
        s_g = \sum_{i \in g} w_i \tilde z_i (\tilde y_i - \tilde t_i'b_0),

    chi-square with Q degrees of freedom: the objective of continuously updated GMM, or S-statistic
    of Stock and Wright. A Wald test takes the residuals of the unrestricted regression of
    y - t'b_0 on (1, X, z) instead (Chernozhukov and Hansen), and rejects a true effect too often
    when instruments are many or clusters few.

    AR is at most the number m of units. ``debiased=True`` uses Hotelling's relation,
    F = (m - Q) / Q * AR / (m - AR) with (Q, m - Q) degrees of freedom, which is exact when the
    scores of the units are normal; m is the sum of the weights, the number of clusters or, with
    probability weights, that of rows that have one.

    ``robust=False`` assumes errors of one variance, that of the unrestricted regression. Debiased
    it has n - k degrees of freedom and is exact under normal errors.

    The test rejects also when the instruments are invalid.

    References
    ----------
    Anderson, T. W. and Rubin, H. (1949). Estimation of the parameters of a
    single equation in a complete system of stochastic equations. Annals of Mathematical Statistics
    20, 46-63.

    Anderson, T. W. (2003). An Introduction to Multivariate Statistical Analysis, 3rd edition.
    Wiley, section 5.2 (Hotelling's T^2).

    Chernozhukov, V. and Hansen, C. (2008). The reduced form: a simple approach to inference with
    weak instruments. Economics Letters 100, 68-71.

    Stock, J. H. and Wright, J. H. (2000). GMM with weak identification. Econometrica 68, 1055-1096.

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
    check_flags(robust=robust, debiased=debiased)
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    values = read_effect(effect, p)
    null = f"the effect is {', '.join(f'{value:g}' for value in values)}"
    statistic, dof_denominator = _statistic(p, values, robust=robust, debiased=debiased)
    return HypothesisTest.wald("Anderson-Rubin", null, statistic, p.n_instruments, dof_denominator)


def read_effect(effect: npt.ArrayLike, p: Partialled) -> Array:
    """Hypothesised effects, one for each treatment."""
    values = np.asarray(as_numbers(effect, "effect"), dtype=np.float64)
    if values.shape not in ((), (p.n_treatments,)) or not np.isfinite(values).all():
        raise ValueError(
            "effect must be a finite number or one per treatment "
            f"({p.n_treatments}), got {values.tolist()}."
        )
    return np.broadcast_to(values, (p.n_treatments,))


def _statistic(
    p: Partialled, effect: Array, *, robust: bool, debiased: bool
) -> tuple[float, float | None]:
    """Chi-square, or Q times an F and the degrees of freedom of its denominator."""
    if not robust:
        form = about_effect(p, reduced_form(p, robust=False, debiased=debiased), effect)
        return quadratic_form(form.coef[:, 0], form.cov[0, 0]), form.dof_denominator
    scores = EffectScores.of(p)
    statistic = score_statistic(*scores.about(scores.direction(p, effect)))
    if not debiased:
        return float(statistic), None
    dof = scores.n_units - p.n_instruments
    return float(hotelling(statistic, scores.n_units, p.n_instruments)), dof


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
        Bounded exactly when the same test rejects that there is no first stage: when the statistic
        of the scores z~ t~, those of an infinite effect, exceeds the critical value. With one
        instrument or ``robust=False`` it is an interval, two rays, the whole line or empty; with
        more instruments the robust set may be a union of several intervals. Empty means that no
        effect fits: the instruments contradict each other.

    Raises
    ------
    ValueError
        If there is more than one treatment.

    Notes
    -----
    With g(b) and S(b) as in `anderson_rubin` and c the critical value, g'S^-1 g <= c if
    and only if the matrix M(b) = c S(b) - g(b) g(b)' = A_0 + A_1 b + A_2 b^2 is positive
    semi-definite (Schur complement). The ends of the set are therefore among the real roots of det
    M(b), a polynomial of degree 2 Q, which are found all at once as generalised eigenvalues of a
    linear pencil; no grid is searched. Debiased, c is m times the quantile of a Beta(Q / 2,
    (m - Q) / 2). With ``robust=False`` S(b) = s2(b) I and M reduces to the scalar
    c s2(b) - g(b)'g(b), a quadratic.

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
    [0.778519, 3.26694]
    """
    refuse_clusters(clusters, robust)
    check_flags(robust=robust, debiased=debiased)
    check_level(level)
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    require_one_treatment(p, "a confidence set")
    pieces = accepted_pieces(p, level, robust=robust, debiased=debiased)
    return confidence_set(p, pieces, level)


def confidence_set(p: Partialled, pieces: Pieces, level: float) -> ConfidenceSet:
    """Set of effects, given those less the centre."""
    b = float(p.projection.centre[0])
    return ConfidenceSet(tuple((b + lower, b + upper) for lower, upper in pieces), level)


def accepted_pieces(p: Partialled, level: float, *, robust: bool, debiased: bool) -> Pieces:
    """Effects of one treatment, less the centre, that the test accepts."""
    q = p.n_instruments
    if robust:
        scores = EffectScores.of(p)
        critical = critical_value(level, q, scores.n_units if debiased else None)
        return effects_of_small_scores(scores, critical)
    form = reduced_form(p, robust=False, debiased=debiased)
    if form.dof_denominator is None:
        return accepted_effects(form, float(stats.chi2.ppf(level, q)))
    return accepted_effects(form, q * float(stats.f.ppf(level, q, form.dof_denominator)))

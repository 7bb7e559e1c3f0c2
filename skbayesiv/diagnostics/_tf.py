"""tF intervals: a t-statistic whose critical value depends on the first-stage F.

Derivation of the critical values (Lee, McCrary, Moreira and Porter 2022, section 3). With one
instrument let f be the first-stage t-statistic, f ~ N(m, 1). The t-test of the true effect is
furthest from its nominal size when the errors are perfectly correlated; there
|t| = |f| |f - m| / m. The critical value s, a decreasing function of |f|, is to give a rejection
probability of exactly alpha at every m > 0. The acceptance region at m ends above at f = u(m),

    u (u - m) = m s(u),                                                                   (1)

and below zero at f = -u(m'), where |f| |f - m| = m s(|f|), that is by (1) at m'

    1 - 2 m' / u(m') = m' / m.                                                            (2)

(Between 0 and m nothing is rejected as long as f^2 / (f - s(f)) > m, which holds for m < 9.6.)
Since m' < m, the size condition

    P(f > u(m)) = alpha - P(f < -u(m'))

gives u(m) from u at smaller m, and (1) gives s. The start is

    u(m) = q + q m^2 / 2 + m^3 - (q^3 / 12 + 7 q / 8) m^4 + O(m^5),

q the two-sided normal quantile, from expanding the size condition in m: for f^2 <= q^2 the interval
is unbounded. The recursion ends where s falls to q = 1.96, at m = 8.6 and F = 104.67; beyond, s = q
and the size is slightly below alpha. Only the 5 % test is offered: its values agree with the
published table, entry by entry.
"""

from dataclasses import dataclass
from functools import cache
from math import copysign, inf

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from skbayesiv._typing import Array, is_real
from skbayesiv.diagnostics._confidence_set import ConfidenceSet
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._partial import Partialled, partial_out
from skbayesiv.diagnostics._reduced_form import reduced_form

_STEP = 0.0025
_SERIES = 0.075  # largest m of the series start
_LEVEL = 0.95
_QUANTILE = float(ndtri((1.0 + _LEVEL) / 2))


@dataclass(frozen=True)
class TFInterval:
    """tF-adjusted interval for one effect.

    Attributes
    ----------
    interval : ConfidenceSet
        An interval, or the whole line when the F is too small.
    estimate : float
        Instrumental variables estimate.
    std_error : float
        Its unadjusted robust standard error.
    std_error_tf : float
        Adjusted standard error: multiplied by the normal quantile it gives the interval.
    f : float
        Robust first-stage F.
    critical_value : float
        Replacement c(F) of the normal quantile.

    Notes
    -----
    There is no p-value: it would need c(F) at every level, and the source has that of the 5 % test,
    which rejects an effect of zero when ``abs(t_statistic) > critical_value``.
    """

    interval: ConfidenceSet
    estimate: float
    std_error: float
    std_error_tf: float
    f: float
    critical_value: float

    @property
    def t_statistic(self) -> float:
        """Estimate divided by its unadjusted standard error; infinite if that is 0."""
        return self.estimate / self.std_error if self.std_error else copysign(inf, self.estimate)

    def __str__(self) -> str:
        return (
            f"tF {self.interval.level:.0%}: {self.interval} (t = {self.t_statistic:.4g}, critical "
            f"value {self.critical_value:.3f} at F = {self.f:,.4g})"
        )


def tf_critical_value(f: float) -> float:
    """Critical value of the 5 % t-test of an instrumental variables estimate, given F.

    Parameters
    ----------
    f : float
        First-stage F of the one instrument.

    Returns
    -------
    float
        Infinite up to F = 1.96^2 = 3.84, then falling, to 1.96 at F = 104.67. Rounded up to two
        decimals these are the values of the paper's table.

    References
    ----------
    Lee, D. S., McCrary, J., Moreira, M. J. and Porter, J. (2022). Valid
    t-ratio inference for IV. American Economic Review 112, 3260-3290.

    Examples
    --------
    >>> from skbayesiv.diagnostics import tf_critical_value
    >>> [round(tf_critical_value(f), 2) for f in (3.0, 4.0, 10.0, 50.0, 200.0)]
    [inf, 18.65, 3.43, 2.14, 1.96]
    """
    if not (is_real(f) and f >= 0):
        raise ValueError(f"f must be a number, at least 0; got {f!r}.")
    ends, inverse = _curve()
    root = float(f) ** 0.5
    if root <= ends[0]:
        return inf
    return 1.0 / float(np.interp(root, ends, inverse))


def tf_interval(
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
) -> TFInterval:
    """95 % interval estimate +- c(F) se, valid however weak the one instrument.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,)
        One treatment.
    z : array-like of shape (n_rows,)
        One instrument.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them the covariance is HC0.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.
    robust : bool, default=True
        Whether standard error and F allow for heteroskedasticity (and clusters).
    debiased : bool, default=False
        Small-sample factor n / (n - k) (HC1), with clusters G / (G - 1) * (n - 1) / (n - k).

    Returns
    -------
    TFInterval
        Interval, estimate, standard errors and F. Standard error and F use the same covariance.

    Raises
    ------
    ValueError
        If there is more than one treatment or instrument, or the two are uncorrelated.

    References
    ----------
    Lee, D. S., McCrary, J., Moreira, M. J. and Porter, J. (2022). Valid
    t-ratio inference for IV. American Economic Review 112, 3260-3290.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import tf_interval
    >>> z = np.tile([0, 1], 50)
    >>> t = z * (np.arange(100) % 3 > 0)
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> result = tf_interval(y, t, z)
    >>> print(result.interval, round(result.f, 2), round(result.critical_value, 3))
    [0.82675, 3.23386] 97.06 1.975
    """
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    for name, count in (("t", p.n_treatments), ("z", p.n_instruments)):
        if count != 1:
            raise ValueError(f"{name} must have one column for a tF interval, got {count}.")
    form = reduced_form(p, robust=robust, debiased=debiased)
    outcome, treatment = form.coef[0]
    if abs(treatment) <= 1e-14 * np.sqrt(p.projection.second[1, 1]):
        raise ValueError("z must be correlated with t, got a first-stage coefficient of 0.")
    ratio = float(outcome / treatment)
    estimate = float(form.centre[0]) + ratio
    error_variance = float(form.covariance(np.array([1.0, -ratio]))[0, 0])
    std_error = float(np.sqrt(error_variance)) / abs(float(treatment))
    variance = float(form.cov[1, 1, 0, 0])
    f = float(treatment) ** 2 / variance if variance > 0 else inf
    critical = tf_critical_value(f)
    half = inf if critical == inf else critical * std_error
    adjusted = half / _QUANTILE
    interval = ConfidenceSet(((estimate - half, estimate + half),), _LEVEL)
    return TFInterval(interval, estimate, std_error, adjusted, f, critical)


@cache
def _curve() -> tuple[Array, Array]:
    """Upper ends u(m) in increasing order and 1 / s there, from 0 at u = q to 1 / q."""
    m = np.arange(1, int(20 / _STEP)) * _STEP
    u = _QUANTILE * (1.0 + m**2 / 2) + m**3 - (_QUANTILE**3 / 12 + 7 * _QUANTILE / 8) * m**4
    ratio = 1.0 - 2.0 * m / u
    last = int(_SERIES / _STEP)
    while u[last - 1] * (u[last - 1] - m[last - 1]) > m[last - 1] * _QUANTILE:
        here = m[last]
        (below,) = _crossings(ratio[:last] - m[:last] / here, u[:last])
        u[last] = here - ndtri(1.0 - _LEVEL - ndtr(-below - here))
        ratio[last] = 1.0 - 2.0 * here / u[last]
        last += 1
    m, u = m[:last], u[:last]
    inverse = m / (u * (u - m))
    (end,) = _crossings(inverse - 1.0 / _QUANTILE, u)
    return np.r_[_QUANTILE, u[:-1], end], np.r_[0.0, inverse[:-1], 1.0 / _QUANTILE]


def _crossings(values: Array, positions: Array) -> Array:
    """Positions at which the values change sign, by linear interpolation."""
    left = np.flatnonzero((values[:-1] > 0) != (values[1:] > 0))
    weight = values[left] / (values[left] - values[left + 1])
    return np.asarray(positions[left] + weight * (positions[left + 1] - positions[left]))

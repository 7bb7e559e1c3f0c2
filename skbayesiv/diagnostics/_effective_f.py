"""Effective F statistic of Montiel Olea and Pflueger, with its critical values."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from skbayesiv._data.checks import check_level
from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._partial import Partialled, partial_out
from skbayesiv.diagnostics._reduced_form import (
    ReducedForm,
    about_effect,
    reduced_form,
    require_one_treatment,
)

TAU = (0.05, 0.10, 0.20, 0.30)
_DIRECTIONS = 1024


@dataclass(frozen=True)
class EffectiveF:
    """Effective first-stage F and the values it must exceed.

    Attributes
    ----------
    f : float
        Effective F statistic.
    tau : tuple of float
        Tolerated Nagar bias of 2SLS, as a share of the worst-case benchmark.
    critical_values : tuple of float
        Conservative critical values, one per tau, valid whatever the covariance of the outcome.
    critical_values_tsls : tuple of float
        Sharper critical values for 2SLS, one per tau, from the estimated covariance.
    k_eff, k_eff_tsls : tuple of float
        Effective degrees of freedom behind the critical values.
    p_values, p_values_tsls : tuple of float
        Probabilities of a larger F if the bias were just tau, one per tau, by either procedure.
    bias_bound : float
        Largest Nagar bias B relative to the benchmark, between 0 and 1; 1 for one instrument.
    size : float
        Size of the test that the bias exceeds tau.
    """

    f: float
    tau: tuple[float, ...]
    critical_values: tuple[float, ...]
    critical_values_tsls: tuple[float, ...]
    k_eff: tuple[float, ...]
    k_eff_tsls: tuple[float, ...]
    p_values: tuple[float, ...]
    p_values_tsls: tuple[float, ...]
    bias_bound: float
    size: float

    def __str__(self) -> str:
        rows = zip(self.tau, self.critical_values, self.p_values, strict=True)
        lines = [f"  bias above {tau:3.0%}: {c:6.2f}, p = {p:.4g}" for tau, c, p in rows]
        return "\n".join([f"effective F {self.f:,.4g}; critical values", *lines])


def effective_f(
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
    size: float = 0.05,
) -> EffectiveF:
    r"""Effective F of one treatment, robust to heteroskedasticity and clusters.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome, used for the sharper critical values only.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,)
        One treatment.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant; partialled out of y, t and z.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them the covariance is HC0.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.
    robust : bool, default=True
        Whether to allow for heteroskedasticity (and clusters). Without it the statistic is the
        classical first-stage F, up to degrees of freedom.
    debiased : bool, default=False
        Small-sample factor n / (n - k) (HC1), with clusters G / (G - 1) * (n - 1) / (n - k).
    size : float, default=0.05
        Size of the test of weak instruments.

    Returns
    -------
    EffectiveF
        Statistic and critical values for tau of 5, 10, 20 and 30 %.

    Raises
    ------
    ValueError
        If there is more than one treatment.

    Notes
    -----
    With whitened instruments Z~ (Z~'WZ~ = I, covariates partialled out) and W the covariance of the
    coefficients of (y, t) on Z~, in blocks W_1 (y), W_12 and W_2 (t), equations of the paper:

    .. math::
        F_{eff} &= \pi'\pi / \operatorname{tr} W_2 \\
        K_{eff} &= \frac{(\operatorname{tr} W_2)^2 (1 + 2x)}
                        {\operatorname{tr} W_2^2 + 2x \operatorname{tr}(W_2)
                        \max\operatorname{eval}(W_2)}

    and the critical value is the upper quantile of a non-central chi-square with K_eff degrees of
    freedom and non-centrality x K_eff, divided by K_eff; `p_values` are upper tail probabilities of
    the same law. `critical_values` take x = 1 / tau (the
    simplified procedure of their section 4); `critical_values_tsls` take x = B / tau, where B <= 1
    is the supremum over the effect and over the direction of the first stage of the Nagar bias
    relative to the benchmark. For one instrument B = 1, the effective F is the robust F, and the 10
    % critical value is 23.1.

    References
    ----------
    Montiel Olea, J. L. and Pflueger, C. (2013). A robust test for weak
    instruments. Journal of Business and Economic Statistics 31, 358-369.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import effective_f
    >>> z = np.tile([0, 1], 50)
    >>> t = z * (np.arange(100) % 3 > 0)
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> result = effective_f(y, t, z)
    >>> round(result.f, 2), [round(value, 1) for value in result.critical_values]
    (97.06, [37.4, 23.1, 15.1, 12.0])
    """
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    require_one_treatment(p, "the effective F")
    check_level(size, "size")
    form = reduced_form(p, robust=robust, debiased=debiased)
    form = about_effect(p, form, np.zeros(1))
    spectrum, f = _spectrum(form)
    bound = _bias_bound(form)
    values, k_eff, p_values = _null(f, spectrum, [1.0 / tau for tau in TAU], size)
    sharper, k_eff_tsls, p_values_tsls = _null(f, spectrum, [bound / tau for tau in TAU], size)
    return EffectiveF(
        f=f,
        tau=TAU,
        critical_values=values,
        critical_values_tsls=sharper,
        k_eff=k_eff,
        k_eff_tsls=k_eff_tsls,
        p_values=p_values,
        p_values_tsls=p_values_tsls,
        bias_bound=bound,
        size=size,
    )


def _spectrum(form: ReducedForm) -> tuple[Array, float]:
    """Eigenvalues of W_2 relative to their sum, and the effective F."""
    eigenvalues = np.linalg.eigvalsh(form.cov[1, 1])
    trace = float(eigenvalues.sum())
    if trace <= 0.0:  # an exact first stage
        return np.eye(len(eigenvalues))[0], float("inf")
    return eigenvalues / trace, float(form.coef[:, 1] @ form.coef[:, 1]) / trace


def f_and_critical_value(form: ReducedForm, tau: float, size: float = 0.05) -> tuple[float, float]:
    """The effective F and its critical value of the simplified procedure, for one `tau`."""
    spectrum, f = _spectrum(form)
    x = np.array(1.0 / tau)
    return f, _critical_value(round(float(_effective_dof(spectrum, x)), 9), float(x), size)


@lru_cache(maxsize=1024)
def _critical_value(k_eff: float, x: float, size: float) -> float:
    return float(stats.ncx2.isf(size, k_eff, x * k_eff)) / k_eff


def _effective_dof(spectrum: Array, x: Array) -> Array:
    """K_eff of the paper's theorem 3."""
    return np.asarray((1.0 + 2.0 * x) / ((spectrum**2).sum() + 2.0 * x * spectrum.max()))


def _null(
    f: float, spectrum: Array, non_centrality: list[float], size: float
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Critical values, K_eff and p-values, theorem 3 of the paper (Patnaik's approximation)."""
    x = np.array(non_centrality)
    k_eff = _effective_dof(spectrum, x)
    critical = stats.ncx2.isf(size, k_eff, x * k_eff) / k_eff
    p_values = stats.ncx2.sf(k_eff * f, k_eff, x * k_eff)
    return tuple(critical.tolist()), tuple(k_eff.tolist()), tuple(p_values.tolist())


def _bias_bound(form: ReducedForm) -> float:
    r"""Supremum B of the Nagar bias of 2SLS relative to the benchmark.

    For an effect b and a direction c of the first stage, |c| = 1, the ratio is

        |tr S_12 - 2 c'S_12 c| / (tr S_1 tr W_2)^(1/2),
        S_1 = W_1 - 2 b W_12 + b^2 W_2,    S_12 = W_12 - b W_2.

    The numerator is |u'p(c)| and the denominator |M^(1/2) u|, where u = (1, -b), M is the 2 x 2
    matrix of the traces of W times tr W_2, and p(c) = (tr W_12 - 2 c'W_12 c, tr W_2 - 2 c'W_2 c).
    So over all b the supremum is the largest length of M^(-1/2) p(c). A length is the largest
    projection, and for a projection the best c is an eigenvector. Projecting on 1024 directions of
    the half-circle loses at most a factor cos(pi / 2048) = 1 - 1.2e-6, which is given back: the
    bound errs upwards.
    """
    w_1, w_12, w_2 = form.cov[0, 0], (form.cov[0, 1] + form.cov[1, 0]) / 2, form.cov[1, 1]
    scales = np.sqrt(np.maximum([np.trace(w_1), np.trace(w_2)], 0.0))
    if scales.min() == 0.0:
        return 1.0
    w_12, w_2 = w_12 / scales.prod(), w_2 / scales[1] ** 2  # traces of W_1 and W_2 become 1
    correlation = np.trace(w_12)
    if 1.0 - abs(correlation) < 1e-9:  # errors of outcome and treatment are proportional
        return 1.0
    values, vectors = np.linalg.eigh([[1.0, correlation], [correlation, 1.0]])
    angles = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    on_circle = np.stack([np.cos(angles), np.sin(angles)])
    weight = vectors @ (on_circle / np.sqrt(values)[:, None])
    mixed = weight[0, :, None, None] * w_12 + weight[1, :, None, None] * w_2
    eigenvalues = np.linalg.eigvalsh(mixed)
    projections = np.abs(eigenvalues.sum(1)[:, None] - 2.0 * eigenvalues[:, [0, -1]])
    return min(float(projections.max() / np.cos(np.pi / (2 * _DIRECTIONS))), 1.0)

"""First-stage regressions and their F statistics."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats

from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._partial import Partialled, partial_out
from skbayesiv.diagnostics._reduced_form import (
    ROUNDING,
    ReducedForm,
    quadratic_form,
    reduced_form,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class FirstStage:
    """First-stage regressions, one per treatment.

    Attributes
    ----------
    coef : ndarray of shape (Q, K)
        Coefficients of the instruments.
    std_error : ndarray of shape (Q, K)
        Robust standard errors.
    partial_r2 : ndarray of shape (K,)
        Share of the variation of each treatment, net of the covariates, that the instruments
        explain.
    f : ndarray of shape (K,)
        Robust Wald statistic of all instruments divided by Q.
    p_value : ndarray of shape (K,)
        Of `f`: chi-square(Q) / Q, or F(Q, dof_denominator) if debiased.
    f_classical : ndarray of shape (K,)
        Textbook F under homoskedasticity, on (Q, n - k) degrees of freedom.
    p_value_classical : ndarray of shape (K,)
        Of `f_classical`.
    dof : int
        Number Q of instruments.
    dof_denominator : float or None
        Denominator degrees of freedom of `f`, None when it is a chi-square over Q.
    dof_classical : float
        n - k, k the rank of (1, X) plus Q.
    treatments, instruments : tuple of str
        Names of the regressions and of the rows of `coef`.
    """

    coef: Array
    std_error: Array
    partial_r2: Array
    f: Array
    p_value: Array
    f_classical: Array
    p_value_classical: Array
    dof: int
    dof_denominator: float | None
    dof_classical: float
    treatments: tuple[str, ...]
    instruments: tuple[str, ...]

    def to_frame(self) -> "pd.DataFrame":
        """One row for each treatment: coefficients, standard errors, partial R2 and F."""
        import pandas as pd

        columns = {}
        for q, name in enumerate(self.instruments):
            columns[f"coef[{name}]"] = self.coef[q]
            columns[f"std_error[{name}]"] = self.std_error[q]
        for name in ("partial_r2", "f", "p_value", "f_classical", "p_value_classical"):
            columns[name] = getattr(self, name)
        return pd.DataFrame(columns, index=list(self.treatments))

    def __str__(self) -> str:
        return str(self.to_frame().T.to_string(float_format="%.5g"))


def first_stage(
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
) -> FirstStage:
    """First stage of each treatment, with robust and classical F statistics.

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
    robust : bool, default=True
        Whether `std_error`, `f` and `p_value` allow for heteroskedasticity (and clusters).
    debiased : bool, default=False
        Small-sample factor n / (n - k) (HC1), with clusters G / (G - 1) * (n - 1) / (n - k), and F
        instead of chi-square p-values.

    Returns
    -------
    FirstStage
        Coefficients, standard errors, partial R2, F statistics.

    Notes
    -----
    The robust F is the Wald statistic divided by Q. For one instrument it is the
    squared t-statistic, and for one treatment the Kleibergen-Paap F (with ``debiased=True``). A
    rule such as F > 10 says little: see `effective_f` and, for inference that needs no rule,
    `anderson_rubin_confidence_set`.

    References
    ----------
    Bound, J., Jaeger, D. A. and Baker, R. M. (1995). Problems with instrumental variables
    estimation when the correlation between the instruments and the endogenous explanatory variable
    is weak. Journal of the American Statistical Association 90, 443-450.

    Staiger, D. and Stock, J. H. (1997). Instrumental variables regression with weak instruments.
    Econometrica 65, 557-586.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import first_stage
    >>> z = np.tile([0, 1], 50)
    >>> t = z * (np.arange(100) % 3 > 0)
    >>> y = 2.0 * t + np.arange(100) % 7
    >>> result = first_stage(y, t, z)
    >>> result.coef.round(2), result.std_error.round(3), result.f.round(1)
    (array([[0.66]]), array([[0.067]]), array([97.1]))
    """
    p = partial_out(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    return _first_stage(p, reduced_form(p, robust=robust, debiased=debiased))


def _first_stage(p: Partialled, form: ReducedForm) -> FirstStage:
    coef = form.coef[:, 1:]
    n_instruments, n_treatments = coef.shape
    inverse_root = np.linalg.inv(p.projection.root)
    blocks = [form.cov[k, k] for k in range(1, n_treatments + 1)]
    errors = [_std_errors(inverse_root, block) for block in blocks]
    wald = np.array([quadratic_form(coef[:, k], block) for k, block in enumerate(blocks)])
    explained = (coef**2).sum(0)
    unexplained = np.diag(form.errors)[1:]
    with np.errstate(divide="ignore"):  # an exact first stage has an infinite F
        f_classical = explained / n_instruments / (unexplained / p.dof)
    f = wald / n_instruments
    if form.dof_denominator is None:
        p_value = stats.chi2.sf(wald, n_instruments)
    else:
        p_value = stats.f.sf(f, n_instruments, form.dof_denominator)
    return FirstStage(
        coef=inverse_root @ coef,
        std_error=np.column_stack(errors),
        partial_r2=explained / (explained + unexplained),
        f=f,
        p_value=np.asarray(p_value),
        f_classical=f_classical,
        p_value_classical=np.asarray(stats.f.sf(f_classical, n_instruments, p.dof)),
        dof=n_instruments,
        dof_denominator=form.dof_denominator,
        dof_classical=p.dof,
        treatments=p.treatments,
        instruments=p.instruments,
    )


def _std_errors(turn: Array, covariance: Array) -> Array:
    """Standard errors of linear combinations, one a row of `turn`; what is rounding is zero."""
    length = np.abs(turn).max(axis=1)
    unit = turn / length[:, None]
    variance = np.diag(unit @ covariance @ unit.T)
    size = (unit**2).sum(axis=1) * np.trace(covariance)
    return np.asarray(length * np.sqrt(np.where(variance > ROUNDING * size, variance, 0.0)))

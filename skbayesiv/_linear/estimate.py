"""The outcome's equation -> coefficients and their covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbayesiv._linear.covariance import COVARIANCES
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.sandwich import gmm_metric, sandwich, two_stage
from skbayesiv._typing import Array


@dataclass(frozen=True, eq=False)
class Estimate:
    """Coefficients of an :class:`Equation`, in the order of its regressors.

    Attributes
    ----------
    params : ndarray of shape (R,)
    covariance : ndarray of shape (R, R)
        NaN if the coefficients are not identified.
    kappa : float or None
        As in :mod:`skbayesiv._linear.sandwich`; None for GMM.
    """

    params: Array
    covariance: Array
    kappa: float | None

    @property
    def std_errors(self) -> Array:
        """Standard errors of shape (R,)."""
        return np.sqrt(np.clip(np.diag(self.covariance), 0.0, None))


def estimate(equation: Equation, method: str, *, debiased: bool) -> Estimate:
    """Estimate by linearmodels; under frequency weights the covariance is computed here."""
    metric = _metric(equation, method)
    try:
        results = _fit(equation, method, metric, debiased=debiased)
    except ValueError as error:  # numpy's LinAlgError is one
        raise ValueError(
            f"method={method!r} cannot be computed when X and t fit y exactly, or rows and "
            f"clusters are few; got {equation.y.shape[0]} rows: {error}"
        ) from error
    params, cov = results.params.to_numpy(), results.cov.to_numpy()
    if equation.weighted or not COVARIANCES[equation.cov_type].in_linearmodels:
        cov = sandwich(equation, params, kappa=results.kappa, metric=metric, debiased=debiased)
    return Estimate(params, cov, results.kappa)


def linearmodels_results(equation: Equation, method: str, *, debiased: bool) -> Any:
    """Fit again, and return what linearmodels returns."""
    return _fit(equation, method, _metric(equation, method), debiased=debiased)


def direct_estimate(equation: Equation, *, debiased: bool) -> Estimate:
    """2SLS, or least squares without treatments, without linearmodels."""
    params = two_stage(equation)
    kappa = float(equation.endogenous.shape[1] > 0)
    cov = sandwich(equation, params, kappa=kappa, metric=None, debiased=debiased)
    return Estimate(params, cov, kappa)


def minimum_norm(equation: Equation) -> Estimate:
    """Least squares coefficients of smallest norm, for covariates without full rank."""
    first, root = equation.n_constants, np.sqrt(equation.weight)[:, None]
    rcond = 1e-12 if equation.synthetic else None
    constant, x = root * equation.exogenous[:, :first], root * equation.exogenous[:, first:]
    y = root * equation.y[:, None]
    mean_x, mean_y = (np.linalg.lstsq(constant, part, rcond=None)[0] for part in (x, y))
    coef = np.linalg.lstsq(x - constant @ mean_x, (y - constant @ mean_y)[:, 0], rcond=rcond)[0]
    params = np.concatenate([mean_y[:, 0] - mean_x @ coef, coef])
    return Estimate(params, np.full((params.size, params.size), np.nan), 0.0)


def _metric(equation: Equation, method: str) -> Array | None:
    """Return what replaces the weight matrix of linearmodels' GMM."""
    own = equation.weighted or not COVARIANCES[equation.cov_type].in_linearmodels
    return gmm_metric(equation) if method == "gmm" and own else None


def _fit(equation: Equation, method: str, metric: Array | None, *, debiased: bool) -> Any:
    """Results of linearmodels, which takes weights as analytic; `metric` replaces GMM's own."""
    from linearmodels.iv import IV2SLS, IVGMM, IVLIML

    frames = _frames(equation)
    weights = equation.weight if equation.weighted else None
    groups: dict[str, Any] = {} if equation.clusters is None else {"clusters": equation.clusters}
    known = COVARIANCES[equation.cov_type].in_linearmodels
    cov_type = equation.cov_type if known else "robust"
    options: dict[str, Any] = {"cov_type": cov_type, "debiased": debiased, **groups}
    if method == "liml":
        return IVLIML(*frames, weights=weights).fit(**options)
    if method == "gmm":
        model = IVGMM(*frames, weights=weights, weight_type=cov_type, **groups)
        if metric is None:
            return model.fit(**options)
        return model.fit(iter_limit=1, initial_weight=np.linalg.inv(metric), **options)
    return IV2SLS(*frames, weights=weights).fit(**options)


def _frames(equation: Equation) -> list[Any]:
    """Outcome, exogenous, endogenous and instruments, named; None where there is no column."""
    from pandas import DataFrame

    columns = equation.columns
    parts = (
        (equation.y[:, None], [columns.outcome]),
        (equation.exogenous, equation.exogenous_names),
        (equation.endogenous, list(columns.treatments)),
        (equation.instruments, list(columns.instruments)),
    )
    return [DataFrame(array, columns=names) if names else None for array, names in parts]

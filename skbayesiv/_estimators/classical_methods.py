"""What can be asked of a fitted classical estimate: tables, intervals, linearmodels' results."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skbayesiv._columns import INTERCEPT
from skbayesiv._data.moments import Moments
from skbayesiv._estimators.batches import SumsEstimator
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.estimate import direct_estimate
from skbayesiv._linear.least_squares import leverage, positions, variance
from skbayesiv._linear.linearmodels_results import linearmodels_results
from skbayesiv._reports.coefficients import CoefficientTable, coefficient_table, interval_reach
from skbayesiv._reports.iv_summary import IVSummary, iv_summary
from skbayesiv._typing import Array

if TYPE_CHECKING:
    import pandas as pd


class ClassicalMethods(SumsEstimator):
    """Methods of a fitted classical estimate.

    A subclass has the parameter `fit_intercept` and sets `moments_`, `method_`, `cov_type_`,
    `dof_`, and, with the intercept first and the treatments before the covariates, the rows
    `_equation` and the coefficients' `_covariance`.
    """

    fit_intercept: bool
    moments_: Moments
    method_: str
    cov_type_: str
    dof_: float | Array
    _equation: Equation
    _covariance: Array

    def __dir__(self) -> Iterable[str]:
        """All but `results_`: notebooks evaluate whatever is listed, and this one fits again."""
        names = object.__dir__(self)  # scikit-learn's own evaluates everything
        return [name for name in names if name != "results_" and hasattr(self, name)]

    def __getstate__(self) -> dict[str, Any]:
        return {name: v for name, v in super().__getstate__().items() if name != "results_"}

    @property
    def covariance_(self) -> pd.DataFrame:
        """Covariance of the intercept (if there is one) and `coef_`, by name."""
        check_is_fitted(self)
        from pandas import DataFrame

        return DataFrame(self._covariance, index=self._names(), columns=self._names())

    @cached_property
    def results_(self) -> Any:
        """Results of linearmodels, or None if least squares was short of rank."""
        check_is_fitted(self)
        if self._equation.rows is None:
            raise AttributeError("results_ is not defined: the model was fitted to moments.")
        if np.isnan(self._covariance).all():
            return None
        return linearmodels_results(self._equation, self.method_, debiased=self._small_sample)

    @property
    def _small_sample(self) -> bool:
        """Whether errors and intervals are corrected for few units."""
        return bool(np.isfinite(self.dof_).any())

    def _kept_rows(self) -> Equation | None:
        return self._equation

    def _names(self) -> list[str]:
        columns = self.moments_.columns
        first = [INTERCEPT] * len(self._equation.constant)
        return [*first, *columns.treatments, *columns.covariates]

    def _reduced_form(self) -> tuple[float, Array]:
        """E[y | X, z] = a + b'(a_t + Pi_z z + Pi_x x) + gamma'x."""
        effect, gamma = np.split(self.coef_, [self.n_treatments_])
        coef = effect @ self.first_stage_coef_
        coef[self.n_instruments_ :] += gamma
        return float(self.intercept_ + effect @ self.first_stage_intercept_), coef

    def _predictive_std(self, x: Array, t: Array | None, z: Array | None) -> Array:
        if t is None and z is not None:
            return self._reduced_form_std(np.column_stack([z, x]))
        noise = self._noise(self.coef_, self.moments_.columns.t)
        constant = np.ones((x.shape[0], len(self._equation.constant)))
        d = np.column_stack([constant, x] if t is None else [constant, t, x])
        return np.asarray(np.sqrt(noise + ((d @ self._covariance) * d).sum(axis=1)))

    def _reduced_form_std(self, rows: Array) -> Array:
        """Sd of y given z: of its error, and of the mean as a least squares estimate."""
        c = self.moments_.columns
        noise = self._noise(self._reduced_form()[1], c.z)
        h = leverage(self.moments_, rows, positions(c.z, c.x), fit_intercept=self.fit_intercept)
        return np.asarray(np.sqrt(noise * (1.0 + h)))

    def _noise(self, coef: Array, where: slice) -> float:
        """Mean square of y less its regression on the columns at `where`, then covariates."""
        c = self.moments_.columns
        contrast = np.zeros(len(c.names))
        contrast[c.y] = 1.0
        contrast[positions(where, c.x)] = -coef
        return variance(self.moments_, contrast, fit_intercept=self.fit_intercept)

    def _effect_covariance(self) -> Array:
        at = slice(len(self._equation.constant), len(self._equation.constant) + self.n_treatments_)
        return self._covariance[at, at]

    def _effect_and_error(self) -> tuple[Array, Array]:
        variances = np.diag(self._effect_covariance())
        return self.coef_[: self.n_treatments_], np.sqrt(np.clip(variances, 0.0, None))

    def predict_interval(self, X: Any, t: Any = None, z: Any = None, level: float = 0.95) -> Array:
        """Predictive interval of the outcome: its mean and a multiple of its standard deviation.

        Parameters
        ----------
        X, t, z
            As in `predict`: the outcome under do(t), or given z.
        level : float, default=0.95
            Probability, under normal errors, that the outcome lies inside.

        Returns
        -------
        ndarray of shape (n_samples, 2)

        Notes
        -----
        The multiple is that of the t distribution with `dof_` degrees of freedom; where each
        coefficient has its own (CR2) it is that of the normal, for the outcome's own error, whose
        variance all rows tell, is most of the standard deviation.
        """
        mean, std = self.predict(X, t, z, return_std=True)
        dof = np.inf if np.ndim(self.dof_) else self.dof_
        reach = interval_reach(dof, level) * std
        return np.column_stack([mean - reach, mean + reach])

    def effect_interval(self, t0: Any = 0.0, t1: Any = None, level: float = 0.95) -> Array:
        """Confidence interval of the effect of moving the treatment from t0 to t1.

        Parameters
        ----------
        t0, t1 : float or array-like of shape (K,)
            By default from 0 to 1, each of several treatments alone.
        level : float, default=0.95

        Returns
        -------
        ndarray of shape (2,), or (K, 2) for each treatment alone
        """
        steps = self._steps(t0, t1)
        centre = steps @ self.coef_[: self.n_treatments_]
        variance = ((steps @ self._effect_covariance()) * steps).sum(axis=-1)
        reach = interval_reach(self._effect_dof(steps), level) * np.sqrt(variance)
        return np.stack([centre - reach, centre + reach], axis=-1)

    def _effect_dof(self, steps: Array) -> float | Array:
        """Degrees of freedom of effects of steps (K,) or (m, K); rows are read for a mixed one."""
        if not np.ndim(self.dof_):
            return self.dof_
        at = slice(len(self._equation.constant), len(self._equation.constant) + self.n_treatments_)
        moved = steps != 0.0
        if (moved.sum(axis=-1) <= 1).all():
            return np.asarray(self.dof_)[at][moved.argmax(axis=-1)]
        contrasts = np.zeros((*steps.shape[:-1], len(self._covariance)))
        contrasts[..., at] = steps
        found = direct_estimate(self._equation).dof_of(np.atleast_2d(contrasts))
        return found.reshape(steps.shape[:-1])

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Confidence intervals of the intercept and the coefficients.

        Parameters
        ----------
        level : float, default=0.95
            Probability that an interval covers, between 0 and 1.

        Returns
        -------
        DataFrame
            Columns lower and upper; one row for each parameter, by name.
        """
        return self._coefficients(level).table[["lower", "upper"]]

    def summary(self, level: float = 0.95) -> CoefficientTable | IVSummary:
        """Table of the coefficients, beside least squares, and how strong the instruments are.

        Parameters
        ----------
        level : float, default=0.95
            Probability of the intervals.

        Returns
        -------
        IVSummary or, without treatment, CoefficientTable
            Prints as tables; the attribute `table` is the DataFrame of the coefficients, at full
            precision.
        """
        coefficients = self._coefficients(level)
        if not self.n_treatments_:
            return coefficients
        method = self.method_.upper()
        return iv_summary(
            coefficients,
            self._equation,
            method,
            level=level,
            debiased=self._small_sample,
            found=self.warnings_,
        )

    def _coefficients(self, level: float) -> CoefficientTable:
        check_is_fitted(self)
        columns, n = self.moments_.columns, self.moments_.weight
        count = f"{n:.1f} effective" if self._equation.probability else f"{n:.12g}"
        params = [self.intercept_][: len(self._equation.constant)]
        return coefficient_table(
            f"{self.method_.upper()} of {columns.outcome}, {count} observations, "
            f"{self.cov_type_} standard errors",
            self._names(),
            np.concatenate([params, self.coef_]),
            np.sqrt(np.clip(np.diag(self._covariance), 0.0, None)),
            dof=self.dof_,
            level=level,
            given=columns.given,
        )

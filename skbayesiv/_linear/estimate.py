"""An equation and a regression of its columns -> coefficients and their covariance.

With W the weights, N their sum, X the regressors, Z the instruments (exogenous regressors are in
both) and e = y - X b, all estimators solve

    ((1 - kappa) X + kappa Z P)' W e = 0,    A = (1 - kappa) X'WX + kappa P'Z'WX,

with P = (Z'WZ)^-1 Z'WX and kappa = 0 for least squares, 1 for 2SLS, the smallest root for LIML;
GMM has kappa = 1 and P = S1^-1 Z'WX, S1 being the covariance of Z'We at the 2SLS estimate. The
coefficients' covariance is A^-1 P' S P A^-1' with S the covariance of Z'We: with errors of one
variance s^2 A^-1 and the P of 2SLS, else from a pass over the rows.

Columns are taken about their means where there is an intercept, so that a large mean costs no
digits, and in units of their root mean squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from skbayesiv._data.standardised import in_own_units, partial_out
from skbayesiv._linear.covariance import COVARIANCES, small_sample_factor
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.two_stage import first_stage
from skbayesiv._typing import Array

ROUNDING = 1e-13  # an eigenvalue this small of a correlation matrix is zero


@dataclass(frozen=True)
class Regression:
    """Which columns explain which, and with which instruments.

    Attributes
    ----------
    names : tuple of str
        The regressors, the constant ("Intercept") first if there is one.
    outcome : int
        Position of the outcome in v.
    x, z : list of int
        Positions of the regressors, in the order of `names`, and of all instruments, exogenous
        regressors among them.
    """

    names: tuple[str, ...]
    outcome: int
    x: list[int]
    z: list[int]

    @classmethod
    def of(
        cls, equation: Equation, outcome: str, on: Sequence[str], by: Sequence[str] | None = None
    ) -> Regression:
        """Regression on some columns, then the covariates, with instruments `by` for the first.

        Without `by` it is least squares.
        """
        covariates = equation.columns.covariates
        first, rest = equation.constant, equation.at(*covariates)
        (at,) = equation.at(outcome)
        names = (*["Intercept"] * len(first), *on, *covariates)
        x, z = ([*first, *equation.at(*part), *rest] for part in (on, on if by is None else by))
        return cls(names, at, x, z)

    @classmethod
    def own(cls, equation: Equation) -> Regression:
        """The equation's own: the outcome on the treatments, with its instruments."""
        c = equation.columns
        return cls.of(equation, c.outcome, c.treatments, c.instruments)

    @property
    def exogenous(self) -> list[int]:
        """Regressors that are instruments."""
        return [i for i in self.x if i in self.z]

    @property
    def endogenous(self) -> list[int]:
        """Regressors that are no instruments."""
        return [i for i in self.x if i not in self.z]


@dataclass(frozen=True, eq=False)
class Estimate:
    """Coefficients of a :class:`Regression`, in the order of its names.

    Attributes
    ----------
    params : ndarray of shape (R,)
    covariance : ndarray of shape (R, R)
        NaN if the coefficients are not identified.
    """

    params: Array
    covariance: Array

    @property
    def std_errors(self) -> Array:
        """Standard errors of shape (R,)."""
        return np.sqrt(np.clip(np.diag(self.covariance), 0.0, None))


def check_size(equation: Equation, method: str, *, debiased: bool) -> None:
    """Raise unless there are rows and clusters enough for the method and its covariance."""
    regression = Regression.own(equation)
    r, m, n_rows = len(regression.x), len(regression.z), equation.moments.n_rows
    least = m + 1 + len(regression.endogenous)
    if not r:
        raise ValueError("X or t must be given when fit_intercept=False; got no regressor.")
    if debiased and equation.n <= r:
        raise ValueError(
            f"debiased=True needs more observations than coefficients ({r}); got {equation.n:g}."
        )
    if method == "liml" and n_rows < least:
        raise ValueError(
            f"method='liml' needs at least {least} rows, one for each instrument, regressor "
            f"and outcome; got {n_rows}."
        )
    least = m + 1 if method == "gmm" else 2
    if equation.cov_type == "clustered" and equation.n_clusters < least:
        raise ValueError(
            f"clusters must form at least {least} groups with method={method!r}; got "
            f"{equation.n_clusters}."
        )


def estimate(equation: Equation, method: str, *, debiased: bool) -> Estimate:
    """Estimate the effects by "ols", "2sls", "liml" or "gmm"."""
    try:
        return regress_by(equation, Regression.own(equation), method, debiased=debiased)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"method={method!r} cannot be computed when X and t fit y exactly, or rows and "
            f"clusters are few; got {equation.moments.n_rows} rows: {error}"
        ) from error


def direct_estimate(
    equation: Equation, regression: Regression | None = None, *, debiased: bool = False
) -> Estimate:
    """2SLS, or least squares where all is exogenous, of the equation's own or any regression."""
    own = Regression.own(equation) if regression is None else regression
    method = "2sls" if own.endogenous else "ols"
    return regress_by(equation, own, method, debiased=debiased)


def regress_by(
    equation: Equation, regression: Regression, method: str, *, debiased: bool
) -> Estimate:
    """Estimate any regression by any method."""
    system = _System.of(equation, regression)
    solution = {"liml": system.liml, "gmm": system.gmm}.get(method, system.two_stage)()
    covariance = system.covariance(solution)
    if debiased:
        dof = equation.n - len(regression.x)
        covariance = covariance * small_sample_factor(equation.n, dof, equation.n_clusters)
    return _raw(equation, regression, system.params(solution), (covariance + covariance.T) / 2.0)


@dataclass(frozen=True, eq=False)
class _Solution:
    """Scaled coefficients with the A and the P that they solve; whether P is that of GMM."""

    params: Array
    a: Array
    p: Array
    gmm: bool = False


@dataclass(frozen=True, eq=False)
class _System:
    """Second moments of the columns of a regression, each over its root mean square `scale`."""

    equation: Equation
    regression: Regression
    scale: Array
    second: Array

    @classmethod
    def of(cls, equation: Equation, regression: Regression) -> _System:
        return cls(equation, regression, *in_own_units(equation.second))

    def part(self, rows: Sequence[int], columns: Sequence[int]) -> Array:
        return self.second[rows][:, columns]

    def two_stage(self, kappa: float = 1.0) -> _Solution:
        """k-class: 2SLS by default, which is least squares where all is exogenous."""
        x, z, y = self.regression.x, self.regression.z, self.regression.outcome
        xx, xy = self.part(x, x), self.second[x, y]
        if x == z:
            return _Solution(np.linalg.solve(xx, xy), xx, np.eye(len(x)))
        zx, zy = self.part(z, x), self.second[z, y]
        p = np.linalg.solve(self.part(z, z), zx)
        a = (1.0 - kappa) * xx + kappa * p.T @ zx
        return _Solution(np.linalg.solve(a, (1.0 - kappa) * xy + kappa * p.T @ zy), a, p)

    def liml(self) -> _Solution:
        """The smallest root kappa of |W0 - kappa W1|, both over (t, y) given exogenous or all."""
        r = self.regression
        excluded = [i for i in r.z if i not in r.x]
        order = [*r.exogenous, *excluded, *r.endogenous, r.outcome]
        partial, _ = partial_out(self.part(order, order), len(r.exogenous))
        stage = first_stage(partial, len(excluded))
        smallest = eigh(stage.fitted, stage.left, eigvals_only=True, subset_by_index=[0, 0])
        return self.two_stage(1.0 + float(smallest[0]))

    def gmm(self) -> _Solution:
        """Two-step GMM, efficient under the equation's `cov_type`."""
        r, first = self.regression, self.two_stage()
        metric = self._of_scores(np.eye(len(r.z)), first)
        if metric is None:
            return _Solution(first.params, first.a, first.p, gmm=True)
        zx, zy = self.part(r.z, r.x), self.second[r.z, r.outcome]
        p = np.linalg.solve(metric, zx)
        a = p.T @ zx
        return _Solution(np.linalg.solve(a, p.T @ zy), a, p, gmm=True)

    def params(self, solution: _Solution) -> Array:
        """Coefficients in the units of the columns."""
        return solution.params * self.scale[self.regression.outcome] / self.scale[self.regression.x]

    def covariance(self, solution: _Solution) -> Array:
        """Covariance of the coefficients."""
        scores = self._of_scores(solution.p, solution)
        bread = np.linalg.inv(solution.a)
        scaled = (
            bread @ scores @ bread.T if scores is not None else self._variance(solution) * bread
        )
        scale = self.scale[self.regression.x]
        return np.asarray(scaled / np.outer(scale, scale))

    def error(self, solution: _Solution) -> Array:
        """Contrast of the error y - X b, shape (1 + C,)."""
        contrast = np.zeros(len(self.scale))
        contrast[self.regression.outcome] = 1.0
        contrast[self.regression.x] -= self.params(solution)
        return contrast

    def _of_scores(self, p: Array, solution: _Solution) -> Array | None:
        """Covariance of P'Z'We, the columns of Z over their scale."""
        z = self.regression.z
        left = np.zeros((len(self.scale), p.shape[1]))
        left[z] = p / self.scale[z, None]
        covariance = COVARIANCES[self.equation.cov_type]
        return covariance.of_scores(self.equation, left, self.error(solution))

    def _variance(self, solution: _Solution) -> float:
        """s^2; GMM takes it about the mean error, which matters without an intercept."""
        error, n = self.error(solution), self.equation.n
        mean = self.equation.second[0] @ error / n if solution.gmm else 0.0
        return max(float(self.equation.squares(error[:, None])[0, 0]) / n - mean**2, 0.0)


def _raw(equation: Equation, regression: Regression, params: Array, covariance: Array) -> Estimate:
    """From an intercept about the means to the one about zero."""
    if not equation.fit_intercept:
        return Estimate(params, covariance)
    origin = np.append(0.0, equation.origin)
    turn = np.eye(len(params))
    turn[0, 1:] = -origin[regression.x[1:]]
    params = turn @ params
    params[0] += origin[regression.outcome]
    return Estimate(params, turn @ covariance @ turn.T)


def gmm_metric(equation: Equation) -> Array:
    """Covariance of Z'We at the 2SLS estimate, Z = (constant, covariates, instruments) as given."""
    c = equation.columns
    system = _System.of(equation, Regression.own(equation))
    at = [*equation.constant, *equation.at(*c.covariates, *c.instruments)]
    left = np.eye(len(system.scale))[:, at]
    left[0] += np.append(0.0, equation.origin)[at]
    error = system.error(system.two_stage())
    scores = COVARIANCES[equation.cov_type].of_scores(equation, left, error)
    return left.T @ equation.second @ left if scores is None else scores


def minimum_norm(equation: Equation) -> Estimate:
    """Least squares coefficients of smallest norm, for covariates without full rank."""
    regression = Regression.own(equation)
    first = len(equation.constant)
    system = _System.of(equation, regression)
    x = regression.x[first:]
    values, vectors = np.linalg.eigh(system.part(x, x))
    known = values > ROUNDING * len(x)
    pull = vectors[:, known].T @ system.second[x, regression.outcome]
    coef = vectors[:, known] @ (pull / values[known]) / system.scale[x]
    free = vectors[:, ~known] / system.scale[x, None]
    coef = coef - free @ np.linalg.lstsq(free, coef, rcond=None)[0]
    params = np.append(np.zeros(first), coef * system.scale[regression.outcome])
    return _raw(equation, regression, params, np.full((params.size, params.size), np.nan))

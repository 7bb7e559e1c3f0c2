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
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import eigh

from skbayesiv._columns import INTERCEPT
from skbayesiv._data.standardised import in_own_units, partial_out
from skbayesiv._linear.covariance import (
    COVARIANCES,
    DegreesOfFreedom,
    small_sample_dof,
    small_sample_factor,
)
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.two_stage import first_stage
from skbayesiv._linear.units import Scores
from skbayesiv._typing import Array

LEAST_ERROR = 1e-10  # a share of the outcome's squares, of which fewer digits are right
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
        names = (*[INTERCEPT] * len(first), *on, *covariates)
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
    common_dof : float
        Degrees of freedom of t statistics; infinite if they are normal.
    own_dof : callable or None
        Those (m,) of contrasts (m, R) where each has its own.
    """

    params: Array
    covariance: Array
    common_dof: float = np.inf
    own_dof: DegreesOfFreedom | None = None

    @cached_property
    def dof(self) -> float | Array:
        """Degrees of freedom: one number, or one for each coefficient, shape (R,)."""
        return self.common_dof if self.own_dof is None else self.own_dof(np.eye(len(self.params)))

    def dof_of(self, contrasts: Array) -> Array:
        """Degrees of freedom of contrasts (m, R), shape (m,)."""
        if self.own_dof is None:
            return np.full(len(contrasts), self.common_dof)
        return self.own_dof(contrasts)

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
    COVARIANCES[equation.cov_type].check(equation, method, m)


def estimate(equation: Equation, method: str, *, debiased: bool) -> Estimate:
    """Estimate the effects by "ols", "2sls", "liml" or "gmm"."""
    try:
        (own,) = _regress(equation, [Regression.own(equation)], method, debiased=debiased)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"method={method!r} cannot be computed when X and t fit y exactly, or rows and "
            f"clusters are few; got {equation.moments.n_rows} rows: {error}"
        ) from error
    return own


def direct_estimate(equation: Equation, *, debiased: bool = False) -> Estimate:
    """The equation's own 2SLS, or least squares without treatments."""
    (own,) = direct_estimates(equation, [Regression.own(equation)], debiased=debiased)
    return own


def direct_estimates(
    equation: Equation, regressions: Sequence[Regression], *, debiased: bool
) -> list[Estimate]:
    """2SLS of several regressions, least squares where all is exogenous; rows are read once."""
    return _regress(equation, regressions, "2sls", debiased=debiased)


def _regress(
    equation: Equation, regressions: Sequence[Regression], method: str, *, debiased: bool
) -> list[Estimate]:
    """Estimate regressions by a method."""
    systems = [_System.of(equation, regression) for regression in regressions]
    solutions = [system.solve(method) for system in systems]
    return [
        _estimate(system, solution, *found, debiased=debiased)
        for system, solution, found in zip(
            systems, solutions, _covariances(equation, systems, solutions), strict=True
        )
    ]


def _covariances(
    equation: Equation, systems: list[_System], solutions: list[_Solution]
) -> list[tuple[Array, DegreesOfFreedom | None]]:
    """Covariances of the coefficients, with one pass over the rows for all, and their own dof."""
    pairs = list(zip(systems, solutions, strict=True))
    scores = [system.scores(solution.p, solution) for system, solution in pairs]
    found = COVARIANCES[equation.cov_type].of_scores(equation, *scores)
    if found is None:
        squares = np.diag(equation.squares(np.hstack([score.right for score in scores])))
        return [
            (system.classical(solution, float(square)), None)
            for (system, solution), square in zip(pairs, squares, strict=True)
        ]
    return [
        (system.sandwich(solution, meat.matrix), meat.dof)
        for (system, solution), meat in zip(pairs, found, strict=True)
    ]


def _estimate(
    system: _System,
    solution: _Solution,
    covariance: Array,
    own_dof: DegreesOfFreedom | None,
    *,
    debiased: bool,
) -> Estimate:
    """Estimate with an intercept about zero; what has its own degrees of freedom is corrected."""
    equation, regression = system.equation, system.regression
    n, k, groups = equation.n, len(regression.x), equation.n_clusters
    dof = np.inf
    if debiased and own_dof is None:
        covariance = covariance * small_sample_factor(n, n - k, groups)
        dof = small_sample_dof(n, k, groups)
    covariance = (covariance + covariance.T) / 2.0
    raw = _raw(equation, regression, system.params(solution), covariance)
    return replace(raw, common_dof=dof, own_dof=own_dof and system.raw_dof(own_dof))


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

    def solve(self, method: str) -> _Solution:
        """Solve by "liml" or "gmm", and otherwise by 2SLS."""
        return {"liml": self.liml, "gmm": self.gmm}.get(method, self.two_stage)()

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
        """The smallest root kappa of |W0 - kappa W1|, both over (t, y) given exogenous or all.

        It is 1 with as many instruments as regressors.
        """
        r = self.regression
        if len(r.z) == len(r.x):
            return self.two_stage()
        excluded = [i for i in r.z if i not in r.x]
        order = [*r.exogenous, *excluded, *r.endogenous, r.outcome]
        partial, _ = partial_out(self.part(order, order), len(r.exogenous))
        stage = first_stage(partial, len(excluded))
        left, _ = partial_out(stage.left, len(r.endogenous))
        if left[0, 0] < LEAST_ERROR * self.second[r.outcome, r.outcome]:
            raise np.linalg.LinAlgError("the outcome's error is rounding")
        # Relative to their sum, which is no nearer to singular than what is left alone.
        whole = stage.fitted + stage.left
        share = eigh(stage.fitted, whole, eigvals_only=True, subset_by_index=[0, 0])
        return self.two_stage(1.0 / (1.0 - float(share[0])))

    def gmm(self) -> _Solution:
        """Two-step GMM, efficient under the equation's `cov_type`."""
        r, first = self.regression, self.two_stage()
        if len(r.z) == len(r.x):  # any metric gives the same
            return _Solution(first.params, first.a, first.p, gmm=True)
        scores = self.scores(np.eye(len(r.z)), first)
        metric = COVARIANCES[self.equation.cov_type].of_scores(self.equation, scores)
        if metric is None:
            return _Solution(first.params, first.a, first.p, gmm=True)
        zx, zy = self.part(r.z, r.x), self.second[r.z, r.outcome]
        p = np.linalg.solve(metric[0].matrix, zx)
        a = p.T @ zx
        return _Solution(np.linalg.solve(a, p.T @ zy), a, p, gmm=True)

    def params(self, solution: _Solution) -> Array:
        """Coefficients in the units of the columns."""
        return solution.params * self.scale[self.regression.outcome] / self.scale[self.regression.x]

    def sandwich(self, solution: _Solution, meat: Array) -> Array:
        """Covariance of the coefficients, given that of :meth:`scores`."""
        bread = np.linalg.inv(solution.a)
        return self._unscaled(bread @ meat @ bread.T)

    def classical(self, solution: _Solution, square: float) -> Array:
        """The same with errors of one variance, given their sum of squares in the outcome's unit.

        GMM takes the variance about the mean error, which matters without an intercept.
        """
        n = self.equation.n
        error = self.error(solution) / self.unit
        mean = self.equation.second[0] @ error / n if solution.gmm else 0.0
        return self._unscaled(max(square / n - mean**2, 0.0) * np.linalg.inv(solution.a))

    def raw_dof(self, of_scaled: DegreesOfFreedom) -> DegreesOfFreedom:
        """Degrees of freedom of contrasts of the coefficients with an intercept about zero."""
        scaling = _turn(self.equation, self.regression) / self.scale[self.regression.x]
        return lambda contrasts: of_scaled(contrasts @ scaling)

    def _unscaled(self, covariance: Array) -> Array:
        """In the units of the columns; raise if a variance in these is no number."""
        scale = self.scale[self.regression.x] / self.unit
        with np.errstate(over="ignore", under="ignore"):
            out = np.asarray(covariance / scale[:, None] / scale)
        own, raw = np.diag(covariance), np.diag(out)
        lost = (own > 0.0) & ~((raw > np.finfo(float).tiny) & (raw < np.inf))
        if lost.any():
            names = [self.regression.names[i] for i in np.flatnonzero(lost)]
            raise ValueError(
                f"X, t and y must have units in which variances are numbers: those of {names} are "
                "too large or too small. Rescale the columns."
            )
        return out

    @property
    def unit(self) -> float:
        """Unit of the outcome, and of errors in scores."""
        return float(self.scale[self.regression.outcome])

    def error(self, solution: _Solution) -> Array:
        """Contrast of the error y - X b, shape (1 + C,)."""
        contrast = np.zeros(len(self.scale))
        contrast[self.regression.outcome] = 1.0
        contrast[self.regression.x] -= self.params(solution)
        return contrast

    def scores(self, p: Array, solution: _Solution) -> Scores:
        """Scores P'Z'We, the columns of Z over their scale, and e over the outcome's."""
        z = self.regression.z
        left = np.zeros((len(self.scale), p.shape[1]))
        left[z] = p / self.scale[z, None]
        return Scores(left, self.error(solution)[:, None] / self.unit)


def _raw(equation: Equation, regression: Regression, params: Array, covariance: Array) -> Estimate:
    """From an intercept about the means to the one about zero."""
    if not equation.fit_intercept:
        return Estimate(params, covariance)
    turn = _turn(equation, regression)
    params = turn @ params
    params[0] += np.append(0.0, equation.origin)[regression.outcome]
    return Estimate(params, _without_rounding(turn, covariance))


def _turn(equation: Equation, regression: Regression) -> Array:
    """Matrix from coefficients with an intercept about the means to those with one about zero."""
    turn = np.eye(len(regression.x))
    if equation.fit_intercept:
        turn[0, 1:] = -np.append(0.0, equation.origin)[regression.x[1:]]
    return turn


def _without_rounding(turn: Array, covariance: Array) -> Array:
    """Covariance of linear combinations; a variance that is rounding of its parts is zero."""
    out = turn @ covariance @ turn.T
    size = (np.abs(turn) @ np.sqrt(np.diag(np.abs(covariance)))) ** 2
    known = ~(np.diag(out) <= ROUNDING * size)  # of what is not identified it stays NaN
    return np.asarray(out * np.outer(known, known))


def gmm_metric(equation: Equation) -> Array:
    """Covariance of Z'We at the 2SLS estimate, Z = (constant, covariates, instruments) as given."""
    c = equation.columns
    system = _System.of(equation, Regression.own(equation))
    at = [*equation.constant, *equation.at(*c.covariates, *c.instruments)]
    left = np.eye(len(system.scale))[:, at]
    left[0] += np.append(0.0, equation.origin)[at]
    error = system.error(system.two_stage())
    found = COVARIANCES[equation.cov_type].of_scores(equation, Scores(left, error[:, None]))
    return left.T @ equation.second @ left if found is None else found[0].matrix


def minimum_norm(equation: Equation, *, debiased: bool) -> Estimate:
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
    dof = small_sample_dof(equation.n, params.size, equation.n_clusters) if debiased else np.inf
    raw = _raw(equation, regression, params, np.full((params.size, params.size), np.nan))
    return replace(raw, common_dof=dof)

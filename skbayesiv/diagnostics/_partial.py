"""From raw arrays to one checked design with the covariates partialled out."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from skbayesiv._data.identified import check_sums_finite, collinear_error, constant_error, explained
from skbayesiv._data.rows import IVData
from skbayesiv._linear.equation import NEEDS_ROWS, Equation
from skbayesiv._linear.units import ScoreSums
from skbayesiv._typing import Array, Codes
from skbayesiv.diagnostics._arrays import read_arrays
from skbayesiv.diagnostics._fitted import Fitted, fitted_estimator, rows_of
from skbayesiv.diagnostics._projection import Projection

# Shares of a column's sum of squares: what is less is rounding.
_ROUNDING = 1e-13
_ROUNDING_OF_ROWS = 1e-15


@dataclass(frozen=True, eq=False)
class Partialled:
    """Outcome, treatments and instruments with (1, X) partialled out.

    By the Frisch-Waugh-Lovell theorem every statistic of this sub-package is a function of it. It
    knows the moments; rows are read, in one pass for all statistics that ask together, for what is
    robust. The residuals `y`, `t` and `z` are made when asked for.

    Attributes
    ----------
    y : ndarray of shape (n_rows,)
        Residual of the outcome.
    t : ndarray of shape (n_rows, K)
        Residuals of the treatments.
    z : ndarray of shape (n_rows, Q)
        Residuals of the instruments.
    weights : ndarray of shape (n_rows,)
        Frequency weights, all positive: a row of weight w stands for w equal rows.
    clusters : ndarray of int of shape (n_rows,) or None
        Cluster of each row, numbered from 0.
    n : float
        Number of observations, the sum of the weights.
    n_controls : int
        Rank of (1, X).
    treatments, instruments : tuple of str
        Names of the columns of t and z.
    classical_only : bool
        Whether only moments are known, so that nothing robust can be computed.
    """

    _equation: Equation
    _contrasts: Array
    _second: Array
    n_controls: int
    _found: dict[str, ScoreSums] = field(default_factory=dict)

    @property
    def y(self) -> Array:
        """Residual of the outcome, shape (n_rows,)."""
        return self._residuals(slice(-1, None))[:, 0]

    @property
    def t(self) -> Array:
        """Residuals of the treatments, shape (n_rows, K)."""
        return self._residuals(slice(self.n_instruments, -1))

    @property
    def z(self) -> Array:
        """Residuals of the instruments, shape (n_rows, Q)."""
        return self._residuals(slice(0, self.n_instruments))

    def _residuals(self, which: slice) -> Array:
        return self._equation.each_row(self._contrasts[:, which])[self._used]

    @property
    def weights(self) -> Array:
        """Frequency weights, all positive, shape (n_rows,)."""
        weight = self._rows.sample_weight
        return np.ones(self._rows.n_rows) if weight is None else weight[self._used]

    @property
    def clusters(self) -> Codes | None:
        """Cluster of each row, numbered from 0, shape (n_rows,); None without clusters."""
        codes = self._rows.clusters
        return None if codes is None else np.unique(codes[self._used], return_inverse=True)[1]

    @property
    def equation(self) -> Equation:
        """What it was made from."""
        return self._equation

    @property
    def contrasts(self) -> Array:
        """What makes the residuals of z, t and y from an equation's columns."""
        return self._contrasts

    @property
    def _rows(self) -> IVData:
        rows = self._equation.rows
        if rows is None:
            raise ValueError(NEEDS_ROWS)
        return rows

    @property
    def _used(self) -> Any:
        """Rows that have a weight."""
        weight = self._rows.sample_weight
        return slice(None) if weight is None else weight > 0

    @property
    def n(self) -> float:
        """Number of observations."""
        return self._equation.n

    @property
    def treatments(self) -> tuple[str, ...]:
        """Names of the columns of t."""
        return self._equation.columns.treatments

    @property
    def instruments(self) -> tuple[str, ...]:
        """Names of the columns of z."""
        return self._equation.columns.instruments

    @property
    def classical_only(self) -> bool:
        """Whether only moments are known."""
        return self._equation.classical_only

    @property
    def any_scores(self) -> bool:
        """Whether scores of the treatments are known, and not of the instruments alone."""
        return self._equation.any_scores

    @property
    def n_treatments(self) -> int:
        """Number K of treatments."""
        return len(self.treatments)

    @property
    def n_instruments(self) -> int:
        """Number Q of instruments."""
        return len(self.instruments)

    @property
    def n_clusters(self) -> int | None:
        """Number G of clusters, None without clusters."""
        return self._equation.n_clusters or None

    @property
    def n_units(self) -> float:
        """Number of independent units: clusters, or rows as often as they count.

        Probability weights are not counts: a row that has one is one unit.
        """
        if self.n_clusters is not None:
            return float(self.n_clusters)
        if self._equation.probability:
            return float(len(self.weights))
        return self.n

    @property
    def dof(self) -> float:
        """Residual degrees of freedom of a regression on (1, X, z)."""
        return self.n - self.n_controls - self.n_instruments

    @property
    def outcome_is_fitted(self) -> bool:
        """Whether the covariates leave nothing of the outcome but rounding."""
        return bool(self._second[-1, -1] <= _ROUNDING * self._equation.second[-1, -1])

    @property
    def varies(self) -> bool:
        """Whether the outcome does."""
        return bool(_varies(self._equation)[-1])

    @property
    def rounding(self) -> float:
        """Share of a sum of squares that is rounding: of rows, or of sums from moments."""
        return _ROUNDING if self._equation.rows is None else _ROUNDING_OF_ROWS

    @cached_property
    def projection(self) -> Projection:
        """Regression of outcome and treatments on whitened instruments."""
        return Projection.of(self._contrasts, self._second, self.n_instruments)

    def read(self, *names: str) -> None:
        """Read the sums of several scores (see :meth:`Projection.scores`) in one pass."""
        asked = [name for name in names if name not in self._found]
        if asked:
            sums = self._equation.sums(*map(self.projection.scores, asked))
            self._found.update(zip(asked, sums, strict=True))

    def outer(self, name: str) -> Array:
        """Sums over units of the products of scores, shape (A, B, A, B).

        They need rows, or fourth-order sums of these.
        """
        self.read(name)
        return self._found[name].outer

    def square(self, name: str) -> Array:
        """Sums of products of the scores' right-hand sides, from rows where there are any."""
        if self._equation.rows is not None:
            self.read(name)
            return self._found[name].square
        return self._equation.squares(self.projection.scores(name).right)


def partial_out(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
) -> Partialled:
    """Check the arrays and take the covariates out of outcome, treatments and instruments.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments, Q >= K.
    X : array-like of shape (n_rows,) or (n_rows, P), optional
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice, weight 0 a row left out.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.

    Returns
    -------
    Partialled
        The design all statistics are computed from.

    Raises
    ------
    ValueError
        If lengths differ, values are missing, instruments are fewer than treatments, or a column of
        t or z is explained by the others and the covariates.

    Examples
    --------
    >>> from skbayesiv.diagnostics import partial_out
    >>> design = partial_out([1.0, 2.0, 4.0, 3.0], [0, 0, 1, 1], [0, 1, 0, 1])
    >>> design.t.ravel()
    array([-0.5, -0.5,  0.5,  0.5])
    >>> design.dof
    2.0
    """
    if not isinstance(fit_intercept, bool | np.bool_):
        raise TypeError(f"fit_intercept must be True or False; got {fit_intercept!r}.")
    others = {"t": t, "z": z, "X": X, "sample_weight": sample_weight, "clusters": clusters}
    if isinstance(y, Partialled):
        _check_alone(others, "a partialled design", fit_intercept)
        return y
    if isinstance(y, Fitted) or hasattr(y, "get_params"):
        est = fitted_estimator(y)
        _check_alone(others, "a fitted estimator", fit_intercept or not est.fit_intercept)
        return partial_equation(rows_of(est))
    if t is None or z is None:
        raise ValueError("t and z must be given with y, got None.")
    data = read_arrays(y, t, z, X, sample_weight=sample_weight, clusters=clusters)
    return partial_equation(Equation.from_data(data, fit_intercept=fit_intercept))


def _check_alone(others: dict[str, Any], what: str, fit_intercept: bool) -> None:
    """Raise if arguments were given beside what already has them."""
    given = [name for name, value in others.items() if value is not None]
    given += [] if fit_intercept else ["fit_intercept"]
    if given:
        raise ValueError(
            f"{given} must not be given with {what}, which has them. What is not of rows is passed "
            "by name, as in effect=1.5."
        )


def partial_equation(equation: Equation, *, checked: bool = False) -> Partialled:
    """An equation's columns with the covariates partialled out, these perhaps short of rank.

    `checked` says that a fit has checked them.
    """
    if not checked:
        check_sums_finite(equation.moments)
    if not (checked or equation.fit_intercept):
        check_sums_finite(equation.moments.about(np.zeros_like(equation.moments.shift)))
    c, second, varies = equation.columns, equation.second, _varies(equation)
    scale = np.sqrt(np.diag(second))
    scale[~varies] = np.inf  # no column then
    s = second / np.outer(scale, scale)
    x, rest = slice(1, 1 + c.x.stop), slice(1 + c.x.stop, None)
    values, vectors = np.linalg.eigh(s[x, x])
    known = values > _ROUNDING * max(c.x.stop, 1)
    basis = vectors[:, known] / np.sqrt(values[known])
    on_basis = basis.T @ s[x, rest]
    partial = s[rest, rest] - on_basis.T @ on_basis
    if not checked:
        _check_variation(equation, partial, varies[1:])
    own = np.sqrt(np.diag(second))[rest]
    contrasts = np.zeros((len(scale), len(own)))
    contrasts[rest] = np.eye(len(own))
    contrasts[x] = -(basis @ on_basis) * own / scale[x, None]
    partialled = Partialled(
        equation,
        contrasts,
        partial * np.outer(own, own),
        n_controls=len(equation.constant) + int(known.sum()),
    )
    if partialled.dof <= 0:
        n_columns = partialled.n_controls + partialled.n_instruments
        raise ValueError(
            "y must have more rows (sample_weight a larger sum) than a regression on (1, X, z) has "
            f"coefficients, got {equation.n:g} for {n_columns}."
        )
    return partialled


def _varies(equation: Equation) -> Any:
    """Whether each of (1, columns) varies or, without an intercept, is not zero."""
    if not equation.fit_intercept:
        return np.diag(equation.second) > 0.0
    return np.append(True, equation.moments.spread > 0.0)


def _check_variation(equation: Equation, partial: Array, varies: Any) -> None:
    """Raise if a column of z or t is constant, or explained by covariates and those before it."""
    c = equation.columns
    for argument, where in (("z", c.z), ("t", c.t)):
        names = c.names[where]
        for at in np.flatnonzero(~varies[where])[:1]:
            raise constant_error(argument, names[at], equation.moments.mean[where][at])
        first = c.x.stop
        for at in explained(partial, [*range(where.start - first, where.stop - first)])[:1]:
            name = c.names[first + at]
            others = [*c.covariates, *names[: names.index(name)]]
            raise collinear_error(argument, name, others, fit_intercept=equation.fit_intercept)

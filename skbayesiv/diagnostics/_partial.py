"""From raw arrays to one checked design with the covariates partialled out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skbayesiv._data.identified import collinear_error, constant_error, explained
from skbayesiv._linear.equation import Equation
from skbayesiv._typing import Array, Codes
from skbayesiv.diagnostics._arrays import read_arrays
from skbayesiv.diagnostics._fitted import Fitted, fitted_estimator, rows_of

# Directions of the covariates this short, relative to the longest, are rounding.
_RANK = 1e-10


@dataclass(frozen=True, eq=False)
class Partialled:
    """Outcome, treatments and instruments with (1, X) partialled out.

    By the Frisch-Waugh-Lovell theorem every statistic of this sub-package is a function of it.

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
        Whether the rows are made up from moments, so that nothing robust can be computed.
    """

    y: Array
    t: Array
    z: Array
    weights: Array
    clusters: Codes | None
    n: float
    n_controls: int
    treatments: tuple[str, ...]
    instruments: tuple[str, ...]
    classical_only: bool = False

    @property
    def n_treatments(self) -> int:
        """Number K of treatments."""
        return self.t.shape[1]

    @property
    def n_instruments(self) -> int:
        """Number Q of instruments."""
        return self.z.shape[1]

    @property
    def n_clusters(self) -> int | None:
        """Number G of clusters, None without clusters."""
        return None if self.clusters is None else int(self.clusters.max()) + 1

    @property
    def dof(self) -> float:
        """Residual degrees of freedom of a regression on (1, X, z)."""
        return self.n - self.n_controls - self.n_instruments


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
    others = {"t": t, "z": z, "X": X, "sample_weight": sample_weight, "clusters": clusters}
    if isinstance(y, Partialled):
        _check_alone(others, "a partialled design", fit_intercept)
        return y
    if isinstance(y, Fitted) or hasattr(y, "get_params"):
        est = fitted_estimator(y)
        _check_alone(others, "a fitted estimator", fit_intercept or not est.fit_intercept)
        return partial_rows(rows_of(est))
    if t is None or z is None:
        raise ValueError("t and z must be given with y, got None.")
    rows = read_arrays(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=fit_intercept
    )
    return partial_rows(rows)


def _check_alone(others: dict[str, Any], what: str, fit_intercept: bool) -> None:
    """Raise if arguments were given beside what already has them."""
    given = [name for name, value in others.items() if value is not None]
    given += [] if fit_intercept else ["fit_intercept"]
    if given:
        raise ValueError(f"{given} must not be given with {what}, which has them.")


def partial_rows(rows: Equation) -> Partialled:
    """Rows of an equation, or rows made up from moments, with the covariates partialled out."""
    # The constant of made-up rows is a column as any other, not 1 in each.
    first = 0 if rows.synthetic else rows.n_constants
    parts = {"y": rows.y[:, None], "t": rows.endogenous, "z": rows.instruments}
    parts["X"] = rows.exogenous[:, first:]
    shifted = centred = parts
    if first:
        # Centre on the first row before the mean, so that large means cost no digits.
        shifted = {name: values - values[0] for name, values in parts.items()}
        centred = {name: v - rows.weight @ v / rows.n for name, v in shifted.items()}
    root = np.sqrt(rows.weight)[:, None]
    scaled = {name: root * values for name, values in centred.items()}
    basis = _basis(_unit_columns(scaled["X"], root * shifted["X"]))
    residual = {name: scaled[name] - basis @ (basis.T @ scaled[name]) for name in "ytz"}
    if not rows.synthetic:  # the moments were checked
        _check_variation(rows, scaled, residual)
    groups = None if rows.clusters is None else np.unique(rows.clusters, return_inverse=True)[1]
    design = Partialled(
        y=(residual["y"] / root)[:, 0],
        t=residual["t"] / root,
        z=residual["z"] / root,
        weights=rows.weight,
        clusters=groups,
        n=rows.n,
        n_controls=basis.shape[1] + first,
        treatments=rows.columns.treatments,
        instruments=rows.columns.instruments,
        classical_only=rows.classical_only,
    )
    if design.dof <= 0:
        raise ValueError(
            "y must have more rows (sample_weight a larger sum) than a regression on (1, X, z) has "
            f"coefficients, got {rows.n:g} for {design.n_controls + design.n_instruments}."
        )
    return design


def _unit_columns(centred: Array, original: Array) -> Array:
    """Columns scaled to length one; those without variation are dropped."""
    length = np.linalg.norm(centred, axis=0)
    kept = length > _RANK * np.linalg.norm(original, axis=0)
    unit: Array = centred[:, kept] / length[kept]
    return unit


def _basis(controls: Array) -> Array:
    """Orthonormal basis of the column space."""
    left, singular, _ = np.linalg.svd(controls, full_matrices=False)
    basis: Array = left[:, singular > _RANK * singular.max(initial=0.0)]
    return basis


def _check_variation(rows: Equation, scaled: dict[str, Array], residual: dict[str, Array]) -> None:
    """Raise if a column of z or t is explained by the covariates and those before it."""
    c, constant = rows.columns, rows.n_constants == 1
    for argument, names, values in (
        ("z", c.instruments, rows.instruments),
        ("t", c.treatments, rows.endogenous),
    ):
        length = np.linalg.norm(scaled[argument], axis=0)
        for at in np.flatnonzero(length == 0.0)[:1]:
            raise constant_error(argument, names[at], values[0, at])
        unit = residual[argument] / length
        for at in explained(unit.T @ unit, [*range(len(names))])[:1]:
            others = [*c.covariates, *names[:at]]
            raise collinear_error(argument, names[at], others, fit_intercept=constant)

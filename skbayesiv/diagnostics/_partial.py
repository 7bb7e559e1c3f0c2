"""From raw arrays to one checked design with the covariates partialled out."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skbayesiv._columns import column_names
from skbayesiv._linear.equation import Equation

from ._fitted import Fitted, fitted_estimator, rows_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

# Columns whose variation shrinks by this factor are taken as explained by the covariates.
_COLLINEAR = 1e-10


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

    y: FloatArray
    t: FloatArray
    z: FloatArray
    weights: FloatArray
    clusters: IntArray | None
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
    columns = {"y": _matrix("y", y), "t": _matrix("t", t), "z": _matrix("z", z)}
    if columns["y"].shape[1] != 1:
        raise ValueError(f"y must be one outcome of shape (n_rows,), got shape {np.shape(y)}.")
    n_rows = len(columns["y"])
    columns["X"] = np.empty((n_rows, 0)) if X is None else _matrix("X", X)
    for name, values in columns.items():
        _check_length(name, len(values), n_rows)
    n_treatments, n_instruments = columns["t"].shape[1], columns["z"].shape[1]
    if n_instruments < n_treatments:
        raise ValueError(
            f"z must have at least as many columns as t: got {n_instruments} instrument(s) "
            f"for {n_treatments} treatment(s)."
        )
    weights = _weights(sample_weight, n_rows)
    codes = None if clusters is None else _codes(clusters, n_rows)
    keep = weights > 0
    if not keep.all():
        columns = {name: values[keep] for name, values in columns.items()}
        weights, codes = weights[keep], None if codes is None else codes[keep]
    names = {"t": column_names(t, "t", n_treatments), "z": column_names(z, "z", n_instruments)}
    return _partial_out(columns, names, weights, codes, fit_intercept)


def partial_rows(rows: Equation) -> Partialled:
    """Rows of an equation, or rows made up from moments, with the covariates partialled out."""
    c = rows.columns
    return replace(
        partial_out(**rows.design),
        treatments=c.treatments,
        instruments=c.instruments,
        classical_only=rows.classical_only,
    )


def _check_alone(others: dict[str, Any], what: str, fit_intercept: bool) -> None:
    """Raise if arguments were given beside what already has them."""
    given = [name for name, value in others.items() if value is not None]
    given += [] if fit_intercept else ["fit_intercept"]
    if given:
        raise ValueError(f"{given} must not be given with {what}, which has them.")


def _partial_out(
    columns: dict[str, FloatArray],
    names: dict[str, tuple[str, ...]],
    weights: FloatArray,
    codes: IntArray | None,
    fit_intercept: bool,
) -> Partialled:
    """Project with checked arrays and positive weights."""
    n = float(weights.sum())
    if fit_intercept:
        # Centre on the first row before the mean, so that large means cost no digits.
        shifted = {name: values - values[0] for name, values in columns.items()}
        centred = {name: values - weights @ values / n for name, values in shifted.items()}
    else:
        shifted = centred = columns
    root = np.sqrt(weights)[:, None]
    controls = _unit_columns(root * centred["X"], root * shifted["X"])
    basis = _basis(controls)
    residual = {}
    for name in ("y", "t", "z"):
        scaled = root * centred[name]
        scaled = scaled - basis @ (basis.T @ scaled)
        residual[name] = scaled / root
        if name != "y":
            _check_variation(name, scaled, root * shifted[name])
    design = Partialled(
        y=residual["y"][:, 0],
        t=residual["t"],
        z=residual["z"],
        weights=weights,
        clusters=None if codes is None else np.unique(codes, return_inverse=True)[1],
        n=n,
        n_controls=basis.shape[1] + int(fit_intercept),
        treatments=names["t"],
        instruments=names["z"],
    )
    if design.dof <= 0:
        raise ValueError(
            "y must have more rows (sample_weight a larger sum) than a regression on (1, X, z) has "
            f"coefficients, got {n:g} for {design.n_controls + design.n_instruments}."
        )
    return design


def _matrix(name: str, values: npt.ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(
            f"{name} must be a non-empty array of 1 or 2 dimensions, got shape {array.shape}."
        )
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} missing or infinite value(s).")
    return array


def _check_length(name: str, length: int, n_rows: int) -> None:
    if length != n_rows:
        raise ValueError(f"{name} must have as many rows as y ({n_rows}), got {length}.")


def _weights(sample_weight: npt.ArrayLike | None, n_rows: int) -> FloatArray:
    if sample_weight is None:
        return np.ones(n_rows)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim != 1:
        raise ValueError(f"sample_weight must have 1 dimension, got shape {weights.shape}.")
    _check_length("sample_weight", len(weights), n_rows)
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(
            "sample_weight must be finite, not negative and not all zero, "
            f"got values from {weights.min():g} to {weights.max():g}."
        )
    return weights


def _codes(clusters: npt.ArrayLike, n_rows: int) -> IntArray:
    labels = np.asarray(clusters)
    if labels.ndim != 1:
        raise ValueError(f"clusters must have 1 dimension, got shape {labels.shape}.")
    _check_length("clusters", len(labels), n_rows)
    codes = np.asarray(pd.factorize(labels)[0], dtype=np.intp)
    if (codes < 0).any():
        raise ValueError(
            f"clusters must not be missing, got {int((codes < 0).sum())} missing label(s)."
        )
    return codes


def _unit_columns(centred: FloatArray, original: FloatArray) -> FloatArray:
    """Columns scaled to length one; those without variation are dropped."""
    length = np.linalg.norm(centred, axis=0)
    kept = length > _COLLINEAR * np.linalg.norm(original, axis=0)
    unit: FloatArray = centred[:, kept] / length[kept]
    return unit


def _basis(controls: FloatArray) -> FloatArray:
    """Orthonormal basis of the column space."""
    left, singular, _ = np.linalg.svd(controls, full_matrices=False)
    basis: FloatArray = left[:, singular > _COLLINEAR * singular.max(initial=0.0)]
    return basis


def _check_variation(name: str, residual: FloatArray, original: FloatArray) -> None:
    unit = _unit_columns(residual, original)
    rank = int(np.linalg.matrix_rank(unit, tol=_COLLINEAR)) if unit.size else 0
    if rank < residual.shape[1]:
        raise ValueError(
            f"{name} must vary beyond the covariates, each column beyond the others, got "
            f"{residual.shape[1]} column(s) of rank {rank} after the covariates are partialled out."
        )

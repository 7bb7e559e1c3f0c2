"""Checked data or moments -> frozen :class:`Equation`: the rows of the outcome's equation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._linear.pseudo_rows import stack
from skbayesiv._typing import Array, Codes


@dataclass(frozen=True, eq=False)
class Equation:
    """Rows of y = X b + e, the instruments of X, and how the errors are related.

    Attributes
    ----------
    y : ndarray of shape (n,)
    exogenous : ndarray of shape (n, 1 + P) or (n, P)
        The constant, if there is one, and the covariates.
    endogenous : ndarray of shape (n, K)
        Treatments.
    instruments : ndarray of shape (n, Q)
    weight : ndarray of shape (n,)
        Positive frequency weights.
    clusters : ndarray of int of shape (n,) or None
        Cluster of each row; without clusters all observations are independent.
    cov_type : {"robust", "unadjusted", "clustered"}
        Whether errors are independent with any variances, independent with one variance, or
        correlated within clusters.
    columns : Columns
    synthetic : bool
        Whether the rows were made up to have given moments; without clusters, nothing that is
        robust to heteroskedasticity can be computed from them.
    """

    y: Array
    exogenous: Array
    endogenous: Array
    instruments: Array
    weight: Array
    clusters: Codes | None
    cov_type: str
    columns: Columns
    synthetic: bool = False

    @classmethod
    def from_data(
        cls, data: IVData, *, fit_intercept: bool, cov_type: str | None = None
    ) -> Equation:
        """Rows with a positive weight, in double precision.

        Clusters decide `cov_type` where there are any; without them it is robust by default.
        """
        weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
        keep = weight > 0
        y, x, t, z = (
            np.asarray(part[keep], dtype=np.float64) for part in (data.y, data.x, data.t, data.z)
        )
        if fit_intercept:
            x = np.column_stack([np.ones(y.shape[0]), x])
        groups = None if data.clusters is None else data.clusters[keep]
        cov_type = "clustered" if data.grouped else cov_type or "robust"
        return cls(y, x, t, z, weight[keep], groups, cov_type, data.columns)

    @classmethod
    def from_moments(
        cls, moments: Moments, clusters: Sequence[Moments] = (), *, fit_intercept: bool
    ) -> Equation:
        """A few rows with the moments of all, or of each cluster that has a weight."""
        clusters = [part for part in clusters if part.n_rows]
        rows, weight, codes = stack(clusters or [moments])
        c, columns = moments.columns, rows[:, 1:]
        exogenous = np.column_stack([rows[:, : int(fit_intercept)], columns[:, c.x]])
        return cls(
            y=columns[:, c.y],
            exogenous=exogenous,
            endogenous=columns[:, c.t],
            instruments=columns[:, c.z],
            weight=weight,
            clusters=codes if clusters else None,
            cov_type="clustered" if clusters else "unadjusted",
            columns=c,
            synthetic=True,
        )

    @property
    def x(self) -> Array:
        """Regressors X: the exogenous, then the endogenous, shape (n, R)."""
        return np.column_stack([self.exogenous, self.endogenous])

    @property
    def z(self) -> Array:
        """All instruments Z: the exogenous regressors, then the instruments, shape (n, M)."""
        return np.column_stack([self.exogenous, self.instruments])

    @property
    def n_constants(self) -> int:
        """1 if the exogenous regressors begin with the constant, else 0."""
        return self.exogenous.shape[1] - len(self.columns.covariates)

    @property
    def exogenous_names(self) -> list[str]:
        """Names of the constant, if there is one, and the covariates."""
        return ["Intercept"] * self.n_constants + list(self.columns.covariates)

    @property
    def n(self) -> float:
        """Number of observations, the sum of the weights."""
        return float(self.weight.sum())

    @property
    def n_clusters(self) -> int:
        """Number of clusters; 0 without clusters."""
        return 0 if self.clusters is None else int(np.unique(self.clusters).size)

    @property
    def weighted(self) -> bool:
        """Whether any row stands for other than one observation."""
        return bool((self.weight != 1.0).any())

    @property
    def classical_only(self) -> bool:
        """Whether only what assumes independent errors of one variance can be computed."""
        return self.synthetic and self.clusters is None

    def regression(self, outcome: Array, name: str, on: Array, names: Sequence[str]) -> Equation:
        """Least squares of another outcome on the exogenous regressors and other columns."""
        columns = Columns((*self.columns.covariates, *names), (), (), name)
        nothing = np.empty((len(outcome), 0))
        exogenous = np.column_stack([self.exogenous, on])
        return replace(
            self,
            y=outcome,
            exogenous=exogenous,
            endogenous=nothing,
            instruments=nothing,
            columns=columns,
        )


def check_size(equation: Equation, method: str, *, debiased: bool) -> None:
    """Raise unless there are rows and clusters enough for the method and its covariance."""
    r, m, k = equation.x.shape[1], equation.z.shape[1], equation.endogenous.shape[1]
    if not r:
        raise ValueError("X or t must be given when fit_intercept=False; got no regressor.")
    if debiased and equation.n <= r:
        raise ValueError(
            f"debiased=True needs more observations than coefficients ({r}); got {equation.n:g}."
        )
    if method == "liml" and equation.y.shape[0] < m + 1 + k:
        raise ValueError(
            f"method='liml' needs at least {m + 1 + k} rows, one for each instrument, regressor "
            f"and outcome; got {equation.y.shape[0]}."
        )
    least = m + 1 if method == "gmm" else 2
    if equation.clusters is not None and equation.n_clusters < least:
        raise ValueError(
            f"clusters must form at least {least} groups with method={method!r}; got "
            f"{equation.n_clusters}."
        )

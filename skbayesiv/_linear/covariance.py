"""What is assumed of the errors: one class for each value of `cov_type`.

Each says how the covariance of scores is estimated, and what it needs. One that is added to
`COVARIANCES` can be chosen by its name; linearmodels, which takes weights as analytic, need not
know it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from skbayesiv._linear.bias_reduced import bias_reduced
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.units import Scores
from skbayesiv._typing import Array

type DegreesOfFreedom = Callable[[Array], Array]


class ScoreCovariance(Protocol):
    """Covariance of scores, and what is known of its own precision.

    Attributes
    ----------
    matrix : ndarray of shape (A, A)
    dof : callable or None
        Degrees of freedom (m,) of contrasts (m, A) of the least squares coefficients that have
        these scores: then the matrix is corrected for few units. None if it is not.
    """

    @property
    def matrix(self) -> Array: ...

    @property
    def dof(self) -> DegreesOfFreedom | None: ...


@dataclass(frozen=True, eq=False)
class Uncorrected:
    """A covariance that is right for many units."""

    matrix: Array
    dof: None = None


class Covariance(Protocol):
    """Covariance of the scores of an equation.

    Attributes
    ----------
    label : str
        What a report calls it.
    robust : bool
        Whether it allows for errors of different variances.
    in_linearmodels : bool
    few_units : bool
        Whether it is corrected for few rows or clusters.
    """

    @property
    def label(self) -> str: ...

    @property
    def robust(self) -> bool: ...

    @property
    def in_linearmodels(self) -> bool: ...

    @property
    def few_units(self) -> bool: ...

    def suits(self, *, clusters: bool) -> bool:
        """Whether it is for units with, or without, clusters."""

    def check(self, equation: Equation, method: str, n_moments: int) -> None:
        """Raise unless it has what it needs, with a method of so many moment conditions."""

    def of_scores(self, equation: Equation, *scores: Scores) -> Sequence[ScoreCovariance] | None:
        """Covariances of the sums of scores that have one error each on the right.

        None where nothing but the error's variance is needed. All are had in one pass over rows.
        """


class _OfRows:
    """What needs no more than rows, each of them a unit."""

    def suits(self, *, clusters: bool) -> bool:
        """Without clusters only."""
        return not clusters

    def check(self, equation: Equation, method: str, n_moments: int) -> None:
        """All is well."""


@dataclass(frozen=True)
class Unadjusted(_OfRows):
    """Independent errors of one variance."""

    label: str = "classical"
    robust: bool = False
    in_linearmodels: bool = True
    few_units: bool = False

    def of_scores(self, equation: Equation, *scores: Scores) -> None:
        """None: nothing but the variance is needed."""
        return None


@dataclass(frozen=True)
class Robust(_OfRows):
    """Independent errors with any variances (White 1982)."""

    label: str = "robust"
    robust: bool = True
    in_linearmodels: bool = True
    few_units: bool = False

    def of_scores(self, equation: Equation, *scores: Scores) -> list[Uncorrected]:
        """Sums of the outer products of the units' scores."""
        return [Uncorrected(found.outer[:, 0, :, 0]) for found in equation.sums(*scores)]


@dataclass(frozen=True)
class Clustered(Robust):
    """Errors that are correlated within clusters: the units of the equation are these."""

    label: str = "clustered"

    def suits(self, *, clusters: bool) -> bool:
        """With clusters only."""
        return clusters

    def check(self, equation: Equation, method: str, n_moments: int) -> None:
        """Raise unless there are clusters enough."""
        least = n_moments + 1 if method == "gmm" else 2
        if equation.n_clusters < least:
            raise ValueError(
                f"clusters must form at least {least} groups with method={method!r}; got "
                f"{equation.n_clusters}."
            )


@dataclass(frozen=True)
class BellMcCaffrey:
    """Errors as in clusters, or robust without them, corrected for few units."""

    label: str = "CR2"
    robust: bool = True
    in_linearmodels: bool = False
    few_units: bool = True

    def suits(self, *, clusters: bool) -> bool:
        """With and without clusters."""
        return True

    def check(self, equation: Equation, method: str, n_moments: int) -> None:
        """Raise unless it is least squares, of units that are known."""
        if method not in ("ols", "2sls"):
            raise ValueError(
                'method must be "2sls" with cov_type="CR2", which corrects residuals as least '
                f'squares leaves them; got {method!r}. Set method="2sls", or cov_type="robust" '
                '("clustered" with clusters).'
            )
        if equation.probability:
            raise ValueError(
                'sample_weight_type must be "frequency" with cov_type="CR2": got "probability". '
                'Set cov_type="robust" ("clustered" with clusters).'
            )
        if equation.n_clusters == 1:
            raise ValueError('clusters must form at least 2 groups with cov_type="CR2"; got 1.')
        if not equation.n_clusters and equation.rows is None:
            raise ValueError(
                'X must be in memory for cov_type="CR2" without clusters, which needs the leverage '
                "of each row; got a lazy frame. Pass the name of a column of clusters, collect "
                'the frame, or set cov_type="robust".'
            )

    def of_scores(self, equation: Equation, *scores: Scores) -> Sequence[ScoreCovariance]:
        """Sums of the outer products of scores of corrected residuals."""
        return bias_reduced(equation, scores)


COVARIANCES: dict[str, Covariance] = {
    "robust": Robust(),
    "unadjusted": Unadjusted(),
    "clustered": Clustered(),
    "CR2": BellMcCaffrey(),
}


def suitable(cov_type: str, *, clusters: bool) -> str:
    """`cov_type`, or what is robust where it is not for such units."""
    if COVARIANCES[cov_type].suits(clusters=clusters):
        return cov_type
    return "clustered" if clusters else "robust"


def small_sample_factor(n: float, dof: float, n_clusters: int) -> float:
    """Factor on a covariance: N / dof, and for G clusters (N - 1) / dof G / (G - 1)."""
    if n_clusters == 1:
        raise ValueError("clusters must number at least 2 for debiased=True, got 1.")
    return (n - 1.0) / dof * n_clusters / (n_clusters - 1.0) if n_clusters else n / dof


def small_sample_dof(n: float, n_params: int, n_clusters: int) -> float:
    """Degrees of freedom: N - k, and for G clusters G - 1."""
    return n_clusters - 1.0 if n_clusters else n - n_params

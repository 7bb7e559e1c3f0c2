"""What is assumed of the errors: one class for each value of `cov_type`.

Each says how the covariance of scores is estimated. One that is added to `COVARIANCES` can be
chosen by its name; linearmodels, which takes weights as analytic, need not know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from skbayesiv._linear.equation import Equation
from skbayesiv._linear.units import Scores
from skbayesiv._typing import Array


class Covariance(Protocol):
    """Covariance of the scores of an equation.

    Attributes
    ----------
    label : str
        What a report calls it.
    in_linearmodels : bool
    uneven, clustered, few_clusters : bool
        Whether it allows for unequal variances, for clusters, and for few of these.
    """

    @property
    def label(self) -> str: ...

    @property
    def in_linearmodels(self) -> bool: ...

    @property
    def uneven(self) -> bool: ...

    @property
    def clustered(self) -> bool: ...

    @property
    def few_clusters(self) -> bool: ...

    def of_scores(self, equation: Equation, *scores: Scores) -> list[Array] | None:
        """Covariances (A, A) of the sums of scores that have one error each on the right.

        None where nothing but the error's variance is needed. All are had in one pass over rows.
        """


@dataclass(frozen=True)
class Unadjusted:
    """Independent errors of one variance."""

    label: str = "classical"
    in_linearmodels: bool = True
    uneven: bool = False
    clustered: bool = False
    few_clusters: bool = False

    def of_scores(self, equation: Equation, *scores: Scores) -> None:
        """None: nothing but the variance is needed."""
        return None


@dataclass(frozen=True)
class Robust:
    """Independent errors with any variances (White 1982)."""

    label: str = "robust"
    in_linearmodels: bool = True
    uneven: bool = True
    clustered: bool = False
    few_clusters: bool = False

    def of_scores(self, equation: Equation, *scores: Scores) -> list[Array]:
        """Sums of the outer products of the units' scores."""
        return [found.outer[:, 0, :, 0] for found in equation.sums(*scores)]


@dataclass(frozen=True)
class Clustered(Robust):
    """Errors that are correlated within clusters: the units of the equation are these."""

    label: str = "clustered"
    clustered: bool = True


COVARIANCES: dict[str, Covariance] = {
    "robust": Robust(),
    "unadjusted": Unadjusted(),
    "clustered": Clustered(),
}


def small_sample_factor(n: float, dof: float, n_clusters: int) -> float:
    """Factor on a covariance: N / dof, and for G clusters (N - 1) / dof G / (G - 1)."""
    if n_clusters == 1:
        raise ValueError("clusters must number at least 2 for debiased=True, got 1.")
    return (n - 1.0) / dof * n_clusters / (n_clusters - 1.0) if n_clusters else n / dof

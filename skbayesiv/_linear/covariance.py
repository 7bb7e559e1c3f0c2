"""What is assumed of the errors: one class for each value of `cov_type`.

Each says how the covariance of the scores Z'We is estimated. One that is added to `COVARIANCES`
can be chosen by its name; linearmodels, which takes weights as analytic, need not know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from skbayesiv._linear.equation import Equation
from skbayesiv._typing import Array, Codes


class Covariance(Protocol):
    """Covariance of the scores of an equation.

    Attributes
    ----------
    label : str
        What a report calls it.
    in_linearmodels : bool
    """

    @property
    def label(self) -> str: ...

    @property
    def in_linearmodels(self) -> bool: ...

    def of_scores(self, equation: Equation, error: Array) -> Array | None:
        """Covariance of Z'We, shape (M, M); None where it is s^2 Z'WZ."""


@dataclass(frozen=True)
class Unadjusted:
    """Independent errors of one variance."""

    label: str = "classical"
    in_linearmodels: bool = True

    def of_scores(self, equation: Equation, error: Array) -> None:
        """None: the scores' covariance is s^2 Z'WZ."""
        return None


@dataclass(frozen=True)
class Robust:
    """Independent errors with any variances (White 1982)."""

    label: str = "robust"
    in_linearmodels: bool = True

    def of_scores(self, equation: Equation, error: Array) -> Array:
        """Sum of the outer products of the rows' scores."""
        return outer_products(equation.z * error[:, None], equation.weight, None)


@dataclass(frozen=True)
class Clustered:
    """Errors that are correlated within clusters."""

    label: str = "clustered"
    in_linearmodels: bool = True

    def of_scores(self, equation: Equation, error: Array) -> Array:
        """Sum of the outer products of the clusters' scores."""
        return outer_products(equation.z * error[:, None], equation.weight, equation.clusters)


COVARIANCES: dict[str, Covariance] = {
    "robust": Robust(),
    "unadjusted": Unadjusted(),
    "clustered": Clustered(),
}


def cross(a: Array, w: Array, b: Array) -> Array:
    """A'WB."""
    return np.asarray(a.T @ (w[:, None] * b))


def outer_products(scores: Array, weight: Array, clusters: Codes | None) -> Array:
    """Sum over independent units of the outer products of their scores, shape (M, M).

    The units are the clusters; without clusters a row of weight w is w independent units.
    """
    if clusters is None:
        return cross(scores, weight, scores)
    sums = np.array([np.bincount(clusters, weight * column) for column in scores.T])
    return np.asarray(sums @ sums.T)

"""Fourth-order sums as what is known of the units: sums of products of scores without the rows.

:class:`FourthMoments` hold sums over units of u u' with u = f (x) d, f = (1, x, z°) and
d = (1, z°, t°, y°), where ° means less a shift and a regression on x with given coefficients G.
A score (l'v)(r'v) of v = (1, [x, z, t, y]) whose left-hand side has no t and no y is an entry of
L u R' as soon as r'v is a combination of d, which has no x. With r_x and r_o its coefficients on x
and on the others,

    r'v = r_0 + (r_x + G r_o)'x + r_o'(z°, t°, y°),                                       (1)

so that x must cancel. It does, up to rounding, in residuals of a regression on x with these
coefficients, which are the least-squares ones of the rows that were summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import transform
from skbayesiv._linear.units import Scores, ScoreSums
from skbayesiv._typing import Array

CANCELLED = 1e-6  # share of a right-hand side's size that covariates may leave in it

ONLY_INSTRUMENTS = (
    "y must be arrays, or an estimator that kept its rows, for scores of the treatment: sums of "
    "fourth order have those of instruments and covariates. Where there is an argument robust, "
    "robust=False will do."
)
NOT_EACH = (
    'clusters must each be known for cov_type="CR2": pass rows, or the moments of each cluster; '
    "got fourth-order sums, which are of all of them."
)
OTHER_COEFFICIENTS = (
    "fourth_moments must be about the least-squares coefficients on X of the rows themselves for "
    "what is robust to heteroskedasticity; got sums about other coefficients. Take them from these "
    "rows, or pass the rows."
)


@dataclass(frozen=True, eq=False)
class ProductSums:
    """Units of which the fourth-order sums are known, rows or clusters."""

    fourth: FourthMoments
    probability: bool = False  # rows that have such weights are clusters

    @property
    def n_clusters(self) -> int:
        """Number of clusters; 0 if each observation is a unit."""
        return self.fourth.n_clusters or 0

    def sums(self, moments: Moments, origin: Array, asked: Sequence[Scores]) -> list[ScoreSums]:
        """Linear combinations of the sums, if the scores are of instruments and covariates."""
        return [self._sums(moments, scores.about(origin)) for scores in asked]

    def cluster_products(
        self, moments: Moments, origin: Array, asked: Sequence[Array]
    ) -> list[Array]:
        """Raise: clusters are known only all together."""
        raise ValueError(NOT_EACH)

    def _sums(self, moments: Moments, scores: Scores) -> ScoreSums:
        square = scores.right.T @ moments.with_constant @ scores.right
        own = scores.about(moments.shift - self.fourth.reference.shift)
        left, right = self._left(own.left), self._right(own.right, moments)
        _, outer = transform(self.fourth.total, self.fourth.cross, left.T, right.T)
        return ScoreSums(outer, square)

    def _left(self, contrasts: Array) -> Array:
        """Contrasts of f."""
        width, p, q = len(contrasts), len(self.coef), len(self.fourth.columns.instruments)
        if contrasts[1 + p + q : width].any():
            raise ValueError(ONLY_INSTRUMENTS)
        instruments = contrasts[1 + p : 1 + p + q]
        on_x = contrasts[1 : 1 + p] + self.coef[:, :q] @ instruments
        return np.vstack([contrasts[:1], on_x, instruments])

    def _right(self, contrasts: Array, moments: Moments) -> Array:
        """Contrasts of d, see equation (1)."""
        p = len(self.coef)
        others = contrasts[1 + p :]
        on_x = contrasts[1 : 1 + p] + self.coef @ others
        spread = np.sqrt(np.maximum(np.diag(moments.scatter), 0.0))
        left, size = spread[:p] @ np.abs(on_x), spread[p:] @ np.abs(others)
        if (left > CANCELLED * size).any():
            raise ValueError(OTHER_COEFFICIENTS)
        return np.vstack([contrasts[:1], others])

    @property
    def coef(self) -> Array:
        """Coefficients G on the covariates, shape (P, Q + K + 1)."""
        return self.fourth.reference.coef

"""A sample of rows in the place of all of them, where what is asked for is a share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._linear.units import Rows, Scores, ScoreSums
from skbayesiv._typing import Array

GOLDEN = (5.0**0.5 - 1.0) / 2.0
LEAST_CLUSTERS = 100
FAR = 4.0  # standard errors that a random sample's mean is hardly off


@dataclass(frozen=True, eq=False)
class SampledRows:
    """Some rows, of all clusters or all of some clusters', whose sums stand for those of all.

    They are drawn when sums are asked for.

    Attributes
    ----------
    data : IVData
    total : int
        Number of all rows, of which `data` may be the first.
    limit : int
        About how many of `data` to take, evenly spaced.
    """

    data: IVData
    total: int
    limit: int

    @cached_property
    def drawn(self) -> IVData:
        """The sample."""
        return sample_rows(self.data, self.limit)

    @cached_property
    def _thinned(self) -> bool:
        """Whether clusters are known by some of their rows."""
        return self.drawn.grouped and Rows(self.drawn).n_clusters == self.n_clusters

    @cached_property
    def share(self) -> float:
        """Share of the units that were drawn, or of each cluster's rows."""
        drawn, data = self.drawn, self.data
        if drawn is data:
            return min(data.n_rows / self.total, 1.0)
        if drawn.grouped and not self._thinned:
            return Rows(drawn).n_clusters / self.n_clusters
        if data.sample_weight is None or drawn.sample_weight is None or data.probability:
            return drawn.n_rows / self.total
        return float(drawn.sample_weight.sum() / data.sample_weight.sum())

    @property
    def probability(self) -> bool:
        """As the rows have them."""
        return self.data.probability

    @cached_property
    def n_clusters(self) -> int:
        """Number of clusters of all rows; 0 without clusters."""
        return Rows(self.data).n_clusters

    def sums(self, moments: Moments, origin: Array, asked: Sequence[Scores]) -> list[ScoreSums]:
        """Sums of the sample, scaled up; squares are those of the moments."""
        second = moments.with_constant
        rights = [scores.about(origin).right for scores in asked]
        return [
            ScoreSums(outer, right.T @ second @ right)
            for outer, right in zip(self._outers(moments, origin, asked), rights, strict=True)
        ]

    def _outers(self, moments: Moments, origin: Array, asked: Sequence[Scores]) -> list[Array]:
        """Sums of outer products.

        A cluster's total T, known by a share f of its rows with scores s, has the expectation
        f^2 TT' + f (1 - f) sum ss'.
        """
        drawn, f = self.drawn, self.share
        outers = [found.outer for found in Rows(drawn).sums(moments, origin, asked)]
        if not self._thinned or f == 1.0:
            return [outer / f for outer in outers]
        alone = replace(drawn, clusters=None, probability=True)  # the squares of w s
        own = [found.outer for found in Rows(alone).sums(moments, origin, asked)]
        return [(outer - (1.0 - f) * part) / f**2 for outer, part in zip(outers, own, strict=True)]

    def cluster_products(
        self, moments: Moments, origin: Array, asked: Sequence[Array]
    ) -> list[Array]:
        """Products in every cluster, by some of its rows."""
        thin = _thin(self.data, self.limit)
        found = Rows(thin).cluster_products(moments, origin, asked)
        scale = max(self.total / thin.n_rows, 1.0)
        return [products * scale for products in found]


def sample_rows(data: IVData, limit: int) -> IVData:
    """Evenly spaced rows, those of few clusters among them, or some of many clusters.

    All rows if they are few.
    """
    if data.clusters is not None and data.n_rows > limit:
        labels = np.flatnonzero(np.bincount(data.clusters))
        wanted = max(LEAST_CLUSTERS, len(labels) * limit // data.n_rows)
        if wanted < len(labels):
            drawn = np.zeros(labels[-1] + 1, dtype=bool)
            drawn[labels[evenly_spaced(len(labels), wanted)]] = True
            return data.take(np.flatnonzero(drawn[data.clusters]))
    return _thin(data, limit)


def _thin(data: IVData, limit: int) -> IVData:
    return data.take(evenly_spaced(data.n_rows, limit)) if data.n_rows > limit else data


def looks_random(part: Moments, whole: Moments) -> bool:
    """Whether the means of some rows are as near to those of all as a random sample's are."""
    sd = np.sqrt(np.clip(np.diag(whole.scatter), 0.0, None) / whole.weight)
    return bool((np.abs(part.mean - whole.mean) <= FAR * sd / np.sqrt(part.n_rows)).all())


def evenly_spaced(n: int, m: int) -> NDArray[Any]:
    """Positions of m of n rows: one in each of m equal stretches, at no fixed place in these.

    A fixed step would see one arm only where arms alternate.
    """
    steps = np.arange(m)
    return ((steps + (steps * GOLDEN) % 1.0) * (n / m)).astype(np.intp)

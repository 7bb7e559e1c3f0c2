"""A sample of rows in the place of all of them, where what is asked for is a share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._linear.units import Rows, Scores, ScoreSums
from skbayesiv._typing import Array, Codes

GOLDEN = (5.0**0.5 - 1.0) / 2.0
LEAST_CLUSTERS = 100
FAR = 4.0  # standard errors that a random sample's mean is hardly off


@dataclass(frozen=True, eq=False)
class SampledRows:
    """Some rows, or all rows of some clusters, whose sums stand for those of all.

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
    def _sample(self) -> tuple[Rows, float]:
        part, share = sample_rows(self.data, self.limit)
        return Rows(part), share * min(self.data.n_rows / self.total, 1.0)

    @property
    def share(self) -> float:
        """Share of the units that were drawn."""
        return self._sample[1]

    @cached_property
    def n_clusters(self) -> int:
        """Number of clusters of all rows; 0 without clusters."""
        return Rows(self.data).n_clusters

    def sums(self, moments: Moments, origin: Array, asked: Sequence[Scores]) -> list[ScoreSums]:
        """Sums of the sample, scaled up; squares are those of the moments."""
        part, share = self._sample
        found = part.sums(moments, origin, asked)
        second = moments.with_constant
        rights = [scores.about(origin).right for scores in asked]
        return [
            ScoreSums(own.outer / share, right.T @ second @ right)
            for own, right in zip(found, rights, strict=True)
        ]

    def cluster_products(
        self, moments: Moments, origin: Array, asked: Sequence[Array]
    ) -> list[Array]:
        """Products in every cluster, by some of its rows."""
        n, m = self.data.n_rows, self.limit
        thin = self.data.take(evenly_spaced(n, m)) if n > m else self.data
        found = Rows(thin).cluster_products(moments, origin, asked)
        scale = max(self.total / thin.n_rows, 1.0)
        return [products * scale for products in found]


def sample_rows(data: IVData, limit: int) -> tuple[IVData, float]:
    """Evenly spaced rows, or clusters with all their rows; and the share that was drawn.

    All rows if they are few, or if their clusters are.
    """
    if data.n_rows <= limit:
        return data, 1.0
    if data.clusters is None:
        rows = evenly_spaced(data.n_rows, limit)
        weight = data.sample_weight
        if weight is None or data.probability:
            return data.take(rows), limit / data.n_rows
        return data.take(rows), float(weight[rows].sum() / weight.sum())
    return _sample_clusters(data, data.clusters, limit)


def _sample_clusters(data: IVData, codes: Codes, limit: int) -> tuple[IVData, float]:
    labels = np.flatnonzero(np.bincount(codes))
    wanted = max(LEAST_CLUSTERS, len(labels) * limit // data.n_rows)
    if wanted >= len(labels):
        return data, 1.0
    chosen = labels[evenly_spaced(len(labels), wanted)]
    wanted_codes = np.zeros(labels[-1] + 1, dtype=bool)
    wanted_codes[chosen] = True
    part = data.take(np.flatnonzero(wanted_codes[codes]))
    return part, wanted / len(labels)


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

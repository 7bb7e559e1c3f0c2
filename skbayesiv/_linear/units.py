"""What is known of the independent units beyond their moments: sums of products of their scores.

With v = (1, [x, z, t, y] less an origin) for each row, a *score* is a product (l'v)(r'v), such as
that of an instrument and an error. Estimates follow from moments; what their covariances and all
robust statistics need besides is

    sum over units of s s',    s = the unit's weighted sum of (L'v) (x) (R'v),

for a few matrices L and R. Rows in memory give it in one pass over blocks, whatever is asked for
together; moments of each cluster give it at once, for scores are bilinear in a row; a lazy frame
gives it in a pass of its engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from skbayesiv._data.blocks import blocks, count_clusters
from skbayesiv._data.moments import Moments
from skbayesiv._data.named import NamedFrame
from skbayesiv._data.rows import IVData
from skbayesiv._typing import Array, Codes


@dataclass(frozen=True, eq=False)
class Scores:
    """All products of a linear combination on the left and one on the right.

    Attributes
    ----------
    left : ndarray of shape (1 + C, A)
        Coefficients of the constant and the columns; A may be 0.
    right : ndarray of shape (1 + C, B)
    """

    left: Array
    right: Array

    @property
    def size(self) -> int:
        """Number of scores, A B."""
        return self.left.shape[1] * self.right.shape[1]

    def about(self, offset: Array) -> Scores:
        """The same for columns less `offset`, shape (C,), more."""
        return Scores(*(_about(part, offset) for part in (self.left, self.right)))


class ScoreSums(NamedTuple):
    """Sums over units, in the order of `Scores`.

    Attributes
    ----------
    outer : ndarray of shape (A, B, A, B)
        Sum over units of the outer products of their scores.
    square : ndarray of shape (B, B)
        Weighted sum over rows of the products of the right-hand sides.
    """

    outer: Array
    square: Array


class Units(Protocol):
    """Independent units: rows, or clusters of them."""

    @property
    def n_clusters(self) -> int:
        """Number of clusters; 0 if each observation is a unit."""

    @property
    def probability(self) -> bool:
        """Whether rows have probability weights."""

    def sums(self, moments: Moments, origin: Array, asked: Sequence[Scores]) -> list[ScoreSums]:
        """Sums for several scores at once.

        Parameters
        ----------
        moments : Moments
            Of all rows.
        origin : ndarray of shape (C,)
            What is taken off the columns, given as the distance from the moments' shift.
        asked : sequence of Scores
        """

    def cluster_products(
        self, moments: Moments, origin: Array, asked: Sequence[Array]
    ) -> list[Array]:
        """Sums of products of contrasts (1 + C, A) in each cluster, shape (G, A, A).

        A cluster without weight may be among them. Those of several are had at once.
        """


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows in memory; each, or each cluster of them, is a unit. They are not copied."""

    data: IVData

    @cached_property
    def n_clusters(self) -> int:
        """Number of clusters that have a weight."""
        codes = self.data.clusters
        return 0 if codes is None else count_clusters(codes, self.data.sample_weight)

    @property
    def probability(self) -> bool:
        """As the rows have them."""
        return self.data.probability

    def sums(self, moments: Moments, origin: Array, asked: Sequence[Scores]) -> list[ScoreSums]:
        """One pass over blocks of rows."""
        data, asked = self.data, [scores.about(origin) for scores in asked]
        adders = [(_ByRow if data.clusters is None else _ByCluster)(s, data) for s in asked]
        for block, at in blocks(data, moments.shift):
            columns = block[: 1 + len(origin)]
            weight = None if data.sample_weight is None else data.sample_weight[at]
            for scores, adder in zip(asked, adders, strict=True):
                adder.add(scores.left.T @ columns, scores.right.T @ columns, weight, at)
        return [adder.sums() for adder in adders]

    def cluster_products(
        self, moments: Moments, origin: Array, asked: Sequence[Array]
    ) -> list[Array]:
        """One pass over blocks of rows."""
        codes = self.data.clusters
        assert codes is not None
        sizes = [contrasts.shape[1] for contrasts in asked]
        upper = [np.triu_indices(size) for size in sizes]
        totals = [np.zeros((len(rows), int(codes.max()) + 1)) for rows, _ in upper]
        for values, weight, at in self.each(moments, origin, np.hstack(asked)):
            clusters = _BlockClusters(codes[at])
            parts = np.split(values, np.cumsum(sizes)[:-1])
            for total, (rows, columns), part in zip(totals, upper, parts, strict=True):
                weighted = part if weight is None else part * weight
                for out, i, j in zip(total, rows, columns, strict=True):
                    clusters.add_to(out, weighted[i] * part[j])
        return [_symmetric(*found) for found in zip(totals, upper, sizes, strict=True)]

    def each(
        self, moments: Moments, origin: Array, contrasts: Array
    ) -> Iterator[tuple[Array, Array | None, slice]]:
        """Blocks of contrasts (1 + C, A) of the rows, shape (A, n), their weights and places."""
        contrasts, weight = _about(contrasts, origin), self.data.sample_weight
        for block, at in blocks(self.data, moments.shift):
            values = contrasts.T @ block[: len(contrasts)]
            yield values, None if weight is None else weight[at], at

    def combine(self, moments: Moments, origin: Array, contrasts: Array) -> Array:
        """Linear combinations of each row, shape (n, A), of contrasts (1 + C, A)."""
        out = np.empty((self.data.n_rows, contrasts.shape[1]))
        for values, _, at in self.each(moments, origin, contrasts):
            out[at] = values.T
        return out


class _ByRow:
    """Adds up the scores of rows that are units.

    A row of frequency weight w is w of them; one of probability weight w has the score w s.
    """

    def __init__(self, scores: Scores, data: IVData) -> None:
        a, b = scores.left.shape[1], scores.right.shape[1]
        self.outer, self.square = np.zeros((a * b, a * b)), np.zeros((b, b))
        self.shape = a, b, a, b
        self.probability = data.probability

    def add(self, left: Array, right: Array, weight: Array | None, at: slice) -> None:
        if weight is not None:
            right = right * np.sqrt(weight)
        self.square += right @ right.T
        if weight is not None and self.probability:
            right = right * np.sqrt(weight)
        scores = _products(left, right)
        self.outer += scores @ scores.T

    def sums(self) -> ScoreSums:
        return ScoreSums(self.outer.reshape(self.shape), self.square)


class _ByCluster(_ByRow):
    """Adds up the scores of each cluster."""

    def __init__(self, scores: Scores, data: IVData) -> None:
        super().__init__(scores, data)
        assert data.clusters is not None
        self.codes = data.clusters
        self.totals = np.zeros((scores.size, int(data.clusters.max()) + 1))

    def add(self, left: Array, right: Array, weight: Array | None, at: slice) -> None:
        weighted = right if weight is None else right * weight
        self.square += weighted @ right.T
        clusters = _BlockClusters(self.codes[at])
        for total, score in zip(self.totals, _products(left, weighted), strict=True):
            clusters.add_to(total, score)

    def sums(self) -> ScoreSums:
        return ScoreSums((self.totals @ self.totals.T).reshape(self.shape), self.square)


def _products(left: Array, right: Array) -> Array:
    """All products of a row of one and a row of the other, shape (A B, n)."""
    return np.asarray((left[:, None] * right).reshape(-1, right.shape[1]))


class _BlockClusters:
    """Clusters of a block of rows, of which the same one may come many times in a row."""

    def __init__(self, codes: Codes) -> None:
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        self.starts = starts if 4 * len(starts) < len(codes) else None
        self.codes = codes if self.starts is None else codes[starts]

    def add_to(self, totals: Array, values: Array) -> None:
        """Add the values of the block to the totals of the clusters."""
        if self.starts is not None:
            values = np.add.reduceat(values, self.starts)
        if len(totals) > len(values):  # bincount makes totals of all clusters
            np.add.at(totals, self.codes, values)
        else:
            totals += np.bincount(self.codes, values, minlength=len(totals))


def _symmetric(totals: Array, upper: tuple[Codes, Codes], size: int) -> Array:
    """Matrices (G, size, size) of the entries (size (size + 1) / 2, G) of their upper halves."""
    out = np.empty((totals.shape[1], size, size))
    for total, i, j in zip(totals, *upper, strict=True):
        out[:, i, j] = out[:, j, i] = total
    return out


@dataclass(frozen=True, eq=False)
class ClusterMoments:
    """Moments of each cluster, of which each has a weight: scores are bilinear in a row."""

    parts: tuple[Moments, ...]
    probability: bool = False

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.parts)

    def sums(self, moments: Moments, origin: Array, asked: Sequence[Scores]) -> list[ScoreSums]:
        """The totals of the clusters, one after the other."""
        asked = [scores.about(origin) for scores in asked]
        totals = [np.empty((self.n_clusters, s.size)) for s in asked]
        for i, part in enumerate(self.parts):
            second = part.about(moments.shift).with_constant
            for total, s in zip(totals, asked, strict=True):
                total[i] = (s.left.T @ second @ s.right).ravel()
        second = moments.with_constant
        return [
            ScoreSums((total.T @ total).reshape(2 * (s.left.shape[1], s.right.shape[1])), square)
            for total, s in zip(totals, asked, strict=True)
            for square in [s.right.T @ second @ s.right]
        ]

    def cluster_products(
        self, moments: Moments, origin: Array, asked: Sequence[Array]
    ) -> list[Array]:
        """Those of the clusters' own columns, one cluster after the other."""
        asked = [_about(contrasts, origin) for contrasts in asked]
        out = [np.empty((self.n_clusters, *2 * contrasts.shape[1:])) for contrasts in asked]
        for i, part in enumerate(self.parts):
            second = part.about(moments.shift).with_constant
            for products, contrasts in zip(out, asked, strict=True):
                products[i] = contrasts.T @ second @ contrasts
        return out


@dataclass(frozen=True, eq=False)
class FrameRows:
    """Rows of a lazy frame, each a unit: its engine sums them again with weights w e^2."""

    named: NamedFrame
    n_clusters: int = 0
    probability: bool = False

    def sums(self, moments: Moments, origin: Array, asked: Sequence[Scores]) -> list[ScoreSums]:
        """A pass for each of the scores, which have one right-hand side."""
        return [self._pass(moments, origin, scores) for scores in asked]

    def cluster_products(
        self, moments: Moments, origin: Array, asked: Sequence[Array]
    ) -> list[Array]:
        """None: there are no clusters."""
        return [np.empty((0, *2 * contrasts.shape[1:])) for contrasts in asked]

    def _pass(self, moments: Moments, origin: Array, scores: Scores) -> ScoreSums:
        here = scores.about(origin)
        square = here.right.T @ moments.with_constant @ here.right
        own = here.about(moments.shift - self.named.shift)
        again = self.named.residual_moments(own.right[:, 0])
        outer = own.left.T @ again.with_constant @ own.left
        return ScoreSums(outer[:, None, :, None], square)


@np.errstate(over="ignore", invalid="ignore")  # totals that are not finite do not add up
def check_clusters_add_up(moments: Moments, parts: Sequence[Moments]) -> None:
    """Raise unless clusters have the columns of the whole, and its weight and totals."""
    for part in parts:
        if part.columns != moments.columns:
            raise ValueError(
                f"cluster_moments must be of the columns of moments, {moments.columns}; got "
                f"{part.columns}."
            )
    weight = sum(part.weight for part in parts)
    total = sum((part.about(moments.shift).total for part in parts), np.zeros_like(moments.shift))
    spread = np.sqrt(np.clip(np.diag(moments.cross), 0.0, None) * max(moments.weight, 1.0))
    close = np.abs(total - moments.total) <= 1e-6 * np.maximum(spread, np.finfo(float).tiny)
    if not (np.isclose(weight, moments.weight, rtol=1e-9) and close.all()):
        raise ValueError(
            f"cluster_moments must add up to moments, {moments.weight:.12g} observations; got "
            f"{weight:.12g}" + ("." if close.all() else " with other totals.")
        )


def _about(contrasts: Array, offset: Array) -> Array:
    """Contrasts of (1, columns) that equal these of (1, columns - offset)."""
    moved = contrasts.copy()
    moved[0] -= offset @ contrasts[1:]
    return moved

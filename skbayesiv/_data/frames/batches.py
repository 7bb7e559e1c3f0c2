"""The block kernel: batches of rows -> sums, with one BLAS call for each block of about 1 MB."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from skbayesiv._data.frames.columns import MISSING, UNSEEN, factorise, level_codes, numbers
from skbayesiv._data.frames.plan import Layout, Plan, Tallies
from skbayesiv._data.frames.streams import Frame
from skbayesiv._typing import Array

BLOCK_BYTES = 1 << 20
LARGE_BLOCK_BYTES = 1 << 23
LONG_RUN = 1 << 14
FEW_ROWS = 64
LANES = 4  # BLAS takes half as long for the products of 8 rows as for those of 7


def block_rows(width: int) -> int:
    """Number of rows in a block: 1 MB of them, or up to 8 where that would be few."""
    least = BLOCK_BYTES // (8 * width)
    return max(1, least, min(LONG_RUN, LARGE_BLOCK_BYTES // (8 * width)))


def lanes(width: int) -> int:
    """Number of rows that BLAS sums the products of fastest: `width` or a little more.

    What it is more is room for a constant, whose products with the others are their totals.
    """
    return -(-width // LANES) * LANES


def tally_batches(batches: Iterable[Frame], plan: Plan) -> Tallies:
    """Tallies over batches of rows."""
    accumulator = Accumulator(plan)
    for batch in batches:
        accumulator.add(batch)
    return accumulator.sums()


@dataclass(frozen=True)
class Block:
    """Some rows as arrays.

    Attributes
    ----------
    values : tuple of ndarray of shape (n,)
        One for each data source: numbers with NaN where missing, or codes of a factor's levels.
    weight : ndarray of shape (n,) or None
    group : ndarray of shape (n,) or None
        Which row of the table the sums go to.
    """

    values: tuple[NDArray[Any], ...]
    weight: Array | None
    group: NDArray[np.intp] | None

    def __len__(self) -> int:
        return len(self.values[0])

    def take(self, which: Any) -> Block:
        """Rows by slice or mask."""
        weight = None if self.weight is None else self.weight[which]
        group = None if self.group is None else self.group[which]
        return Block(tuple(value[which] for value in self.values), weight, group)


class Accumulator:
    """Adds batches up; one row of `table` is the vector of one group."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.layout: Layout = plan.layout
        self.groups: dict[Any, int] = {None: 0}
        self.table = self.layout.zeros(plan.shift)[None]
        self.lanes = lanes(self.layout.width)
        self.step = block_rows(self.lanes)
        self.buffer = np.empty(self.step * self.lanes)
        position = {name: i for i, name in enumerate(plan.data)}
        self.reads = [
            (position[t.source], None if t.level is None else plan.levels[t.source].index(t.level))
            for t in plan.terms
        ]
        self.factors = [i for i, name in enumerate(plan.data) if name in plan.levels]

    def sums(self) -> Tallies:
        """The vector of each group; rows in no group stand under None."""
        return {key: self.table[i].copy() for key, i in self.groups.items()}

    def add(self, batch: Frame) -> None:
        """Add a batch of rows."""
        rows = self._read(batch)
        # A missing or infinite value shows in the sums; it is no reason for a warning.
        with np.errstate(all="ignore"):
            for start in range(0, len(rows), self.step):
                self._add_block(rows.take(slice(start, start + self.step)))

    def _read(self, batch: Frame) -> Block:
        plan = self.plan
        values = tuple(
            level_codes(batch[name], plan.levels[name])
            if name in plan.levels
            else numbers(batch[name], plan.argument)
            for name in plan.data
        )
        weight = None
        if plan.weight is not None:
            weight = numbers(batch[plan.weight], plan.argument).astype(np.float64)
        group = None if plan.by is None else self._group_rows(batch[plan.by])
        return Block(values, weight, group)

    def _group_rows(self, keys: nw.Series[Any]) -> NDArray[np.intp]:
        """Row of the table for each key, made where new; MISSING where there is no key."""
        codes, found = factorise(keys)
        where = [self.groups.setdefault(key, len(self.groups)) for key in found]
        if len(self.groups) > len(self.table):
            more = 2 * len(self.groups) - len(self.table)
            new = np.tile(self.layout.zeros(self.plan.shift), (more, 1))
            self.table = np.concatenate([self.table, new])
        return np.asarray([*where, MISSING], dtype=np.intp)[codes]

    def _add_block(self, rows: Block) -> None:
        block = self._fill(rows)
        weight = self._weights(block, rows.weight)
        sums = self._sums(block, weight) if rows.group is None else None
        total = self._total(block, weight) if sums is None else sums[self.layout.total]
        if not self._is_clean(total, rows):
            rows = self._screen(rows)
            block = self._fill(rows)
            weight = self._weights(block, rows.weight)
            sums = self._sums(block, weight) if rows.group is None else None
        if sums is not None:
            self.table[0] += self._again(sums, block, rows)
        elif rows.group is not None and len(rows):
            self._add_groups(block, weight, rows.group)

    def _again(self, sums: Array, block: Array, rows: Block) -> Array:
        """In a second pass, the rows and sums that the first one had too."""
        at = self.layout
        if at.second:
            own = np.ones(len(rows)) if rows.weight is None else rows.weight
            sums[at.n_rows] = np.count_nonzero(own)
            sums[at.again] = np.append(own.sum(), self._total(block, own))
        return sums

    def _weights(self, block: Array, weight: Array | None) -> Array | None:
        """The rows' weights, times the squared residual where the plan has one."""
        if self.plan.residual is None:
            return weight
        columns = block[: self.layout.width]
        square = (self.plan.residual[0] + self.plan.residual[1:] @ columns) ** 2
        return square if weight is None else weight * square

    def _fill(self, rows: Block) -> Array:
        """Shifted columns in double precision and, where there is room, the constant, (L, n)."""
        block = self.buffer[: self.lanes * len(rows)].reshape(self.lanes, len(rows))
        width = self.layout.width
        block[width:] = 1.0
        for out, (at, level), shift in zip(block[:width], self.reads, self.plan.shift, strict=True):
            if level is None:
                np.subtract(rows.values[at], shift, out=out, dtype=np.float64)
            else:
                np.equal(rows.values[at], level, out=out)
                out -= shift
        return block

    def _is_clean(self, total: Array, rows: Block) -> bool:
        """Whether there is nothing to count: a value that is not finite spoils its sum."""
        if not np.isfinite(total).all():
            return False
        signed = [rows.values[i] for i in self.factors]
        signed += [extra for extra in (rows.weight, rows.group) if extra is not None]
        return all(value.min(initial=0) >= 0 for value in signed)

    def _screen(self, rows: Block) -> Block:
        """Count what is wrong with a block; return the rows that may be added."""
        plan, at = self.plan, self.layout
        named = self._by_name(rows)
        missing = [
            np.isnan(values) if name in plan.numbers else values == MISSING
            for name, values in named.items()
        ]
        if plan.drop:
            keep = ~np.logical_or.reduce(missing)
            rows = rows.take(keep)
            named = {name: value[keep] for name, value in named.items()}
        counts = np.zeros(at.size)
        counts[at.missing] = 0 if plan.drop else [mask.sum() for mask in missing]
        counts[at.infinite] = [
            np.isinf(values).sum() if name in plan.numbers else 0 for name, values in named.items()
        ]
        used = True if rows.weight is None else rows.weight != 0
        counts[at.unseen] = [((named[name] == UNSEEN) & used).sum() for name in plan.levels]
        counts[at.negative] = 0 if rows.weight is None else (rows.weight < 0).sum()
        self.table[0] += counts
        return rows.take(slice(0, 0)) if counts.any() else rows

    def _by_name(self, rows: Block) -> dict[str, NDArray[Any]]:
        """Values of the plan's sources, in their order."""
        named = dict(zip(self.plan.data, rows.values, strict=True))
        extra = ((self.plan.weight, rows.weight), (self.plan.by, rows.group))
        for name, values in extra:
            if name is not None and values is not None:
                named.setdefault(name, values)
        return named

    def _sums(self, block: Array, weight: Array | None) -> Array:
        """Tallies of a block, to be added to those about the same point."""
        at, vector = self.layout, np.zeros(self.layout.size)
        total = self._total(block, weight) if self.lanes == at.width else None
        if weight is None:
            vector[at.weight] = vector[at.n_rows] = block.shape[1]
        else:
            vector[at.weight] = weight.sum()
            vector[at.n_rows] = np.count_nonzero(weight)
            block = block * np.sqrt(weight)
        products = block @ block.T
        vector[at.total] = products[-1, : at.width] if total is None else total
        vector[at.cross] = products[at.triangle]
        return vector

    def _total(self, block: Array, weight: Array | None) -> Array:
        """Weighted sum of each column."""
        columns = block[: self.layout.width]
        total: Array = columns.sum(axis=1) if weight is None else columns @ weight
        return total

    def _add_groups(self, block: Array, weight: Array | None, group: NDArray[np.intp]) -> None:
        """Add the sums of a block to the groups' rows."""
        order = np.argsort(group, kind="stable")
        group, block = group[order], block[:, order]
        columns = block[: self.layout.width]
        weight = None if weight is None else weight[order]
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        columns -= self._own_shifts(columns, weight, group, starts)
        if len(group) < FEW_ROWS * len(starts):
            self.table[group[starts]] += self._segments(columns, weight, starts)
            return
        for start, stop in zip(starts, [*starts[1:], len(group)], strict=True):
            part = block[:, start:stop]
            w = None if weight is None else weight[start:stop]
            self.table[group[start]] += self._sums(part, w)

    def _own_shifts(
        self, block: Array, weight: Array | None, group: NDArray[np.intp], starts: NDArray[np.intp]
    ) -> Array:
        """Distance of each row's group from the plan's shift, shape (C, n).

        A group whose level lies far from the others' is summed about the mean of its first rows.
        """
        at, which = self.layout, group[starts]
        n = np.add.reduceat(np.ones(len(group)) if weight is None else weight, starts)
        new = (self.table[which, at.weight] == 0.0) & (n > 0.0)
        if new.any():
            total = np.add.reduceat(block if weight is None else block * weight, starts, axis=1)
            self.table[which[new], at.shift] += (total[:, new] / n[new]).T
        own = self.table[which, at.shift] - self.plan.shift
        return np.repeat(own.T, np.diff([*starts, len(group)]), axis=1)

    def _segments(self, block: Array, weight: Array | None, starts: NDArray[np.intp]) -> Array:
        """Tallies of many short runs of rows at once, shape (runs, size)."""
        at, vectors = self.layout, np.zeros((len(starts), self.layout.size))
        ones = np.ones(block.shape[1]) if weight is None else weight
        vectors[:, at.weight] = np.add.reduceat(ones, starts)
        vectors[:, at.n_rows] = np.add.reduceat((ones > 0).astype(np.float64), starts)
        weighted = block if weight is None else block * weight
        vectors[:, at.total] = np.add.reduceat(weighted, starts, axis=1).T
        column = at.cross.start
        for i, row in enumerate(weighted):
            products = np.add.reduceat(row * block[i:], starts, axis=1)
            vectors[:, column : column + len(products)] = products.T
            column += len(products)
        return vectors

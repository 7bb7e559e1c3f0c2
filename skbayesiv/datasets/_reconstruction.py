"""Counts, sums and sums of squares -> rows that have them exactly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from skbayesiv.datasets._table import Column


def reconstruct(
    cells: Mapping[tuple[int, int], tuple[int, int, int]], names: tuple[str, str, str]
) -> dict[str, Column]:
    """Build rows with the given count, sum and sum of squares of y in each (z, t) cell.

    The columns are y, z and t, under the given names.
    """
    counts = [count for count, _, _ in cells.values()]
    outcome = np.concatenate([_integers_with_moments(*moments) for moments in cells.values()])
    assigned, delivered = np.repeat(np.array(list(cells)), counts, axis=0).T
    # RandomState's stream is frozen for good, so the order is the same everywhere.
    order = np.random.RandomState(0).permutation(len(outcome))
    columns = (outcome[order], assigned[order], delivered[order])
    return dict(zip(names, columns, strict=True))


def _integers_with_moments(count: int, total: int, squares: int) -> NDArray[np.int64]:
    """Build sorted, gamma-shaped integers with an exact count, sum and sum of squares.

    Rounded quantiles of the gamma distribution come close: rounding adds about
    1/12 to the variance (Sheppard's correction). Unit steps settle the rest.
    """
    mean = total / count
    variance = squares / count - mean**2
    quantiles = gammaincinv(mean**2 / variance, (np.arange(count) + 0.5) / count)
    standardised = (quantiles - quantiles.mean()) / quantiles.std()
    values = np.rint(mean + np.sqrt(variance - 1 / 12) * standardised).astype(np.int64)
    _settle_sum(values, total)
    _settle_squares(values, squares)
    return values


def _settle_sum(values: NDArray[np.int64], total: int) -> None:
    """Move values between the quartiles of sorted `values` by one, to reach the sum."""
    missing = total - int(values.sum())
    quartiles = len(values) // 4, 3 * len(values) // 4
    values[np.linspace(*quartiles, abs(missing), dtype=np.int64)] += np.sign(missing)
    values.sort()


def _settle_squares(values: NDArray[np.int64], squares: int) -> None:
    """Move pairs of sorted `values` by one in opposite directions, to reach the squares.

    Raising a by one and lowering b by one keeps the sum and adds
    (a + 1)^2 - a^2 + (b - 1)^2 - b^2 = 2 (a - b + 1) to the squares. A sum and a
    sum of squares of integers have the same parity, so what is missing is even.
    """
    centre, reach = int(np.median(values)), 2 * int(values.std())
    while missing := (squares - int(values @ values)) // 2:
        step = int(np.clip(missing, -reach, reach))
        lowered = centre - step // 2
        raised = lowered + step - 1
        values[np.searchsorted(values, raised, side="right") - 1] += 1
        values[np.searchsorted(values, lowered, side="left")] -= 1

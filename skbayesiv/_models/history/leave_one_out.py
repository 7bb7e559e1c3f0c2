"""Leaving each earlier experiment out of a history, without summing all the others again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from operator import add

import numpy as np
from numpy.polynomial import chebyshev

from skbayesiv._models.history.meta_analysis import (
    GRID_POINTS,
    Integrated,
    Mixture,
    SigmaPosterior,
    covered,
    integrate_summaries,
    whole_range,
)
from skbayesiv._models.history.sums import (
    Experiments,
    Sums,
    chebyshev_series,
    earlier_experiments,
    in_chunks,
)
from skbayesiv._models.history.table import History
from skbayesiv._typing import Array

ENOUGH = 100
NODES = (64, 256)
ROUNDING = 1e-12


def leave_each_summary_out(history: History, treatment: int, n_left: int) -> Iterator[Integrated]:
    """Integrate one treatment's history without each of the first experiments.

    The sums over all but one are those before it and those after it, added: nothing is subtracted,
    so that no digits are lost when one experiment outweighs the others. They are taken on one grid,
    up to twice as wide as the whole history's. Where that does not cover a posterior, or has too
    few points in it, the others are summed anew.
    """
    posterior = SigmaPosterior.of(history, treatment)
    ends = whole_range(history, treatment)
    grid = _wide_grid(np.log(integrate_summaries(history, treatment).sigma), ends)
    for j, sums in enumerate(_all_but_one(history, treatment, n_left, grid)):
        at = covered(posterior.log_density(grid, sums))
        inside = grid[at]
        cut = ends[0] < grid[0] == inside[0] or inside[-1] == grid[-1] < ends[1]
        if cut or len(inside) < ENOUGH:
            yield integrate_summaries(history.without(j), treatment)
        else:
            yield posterior.on_grid(inside, Sums(sums.n, *(values[at] for values in sums[1:])))


def _wide_grid(log_sigma: Array, ends: tuple[float, float]) -> Array:
    """Grid with half the reach more on each side, where log sigma_bar can be."""
    low, high = log_sigma[[0, -1]]
    more = 0.5 * (high - low)
    return np.linspace(max(low - more, ends[0]), min(high + more, ends[1]), GRID_POINTS)


def _all_but_one(history: History, treatment: int, n_left: int, grid: Array) -> Iterator[Sums]:
    """Sums at each point without the first, the second, and so on."""
    b = history.effects[:, treatment] - history.loc[treatment]
    s = history.std_errors[:, treatment]
    rest = in_chunks(earlier_experiments(b[n_left:], s[n_left:]), grid)
    nothing = Experiments.of(b[:0], s[:0]).sums(grid, np)
    each = [Experiments.of(b[[j]], s[[j]]).sums(grid, np) for j in range(n_left)]
    after = [*accumulate(reversed(each), add, initial=rest)][-2::-1]
    before = accumulate(each, add, initial=nothing)
    yield from map(add, before, after)


def log_density_at(mixture: Mixture, draws: Array) -> Array:
    """Log density of a mixture at many draws (N,), from a polynomial through fewer points.

    It is taken where the polynomial's coefficients fall to rounding, as they do unless the draws
    reach far beyond the mixture's bulk.
    """
    low, high = draws.min(), draws.max()
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    for size in NODES:
        if len(draws) > size and half > 0.0:
            nodes = chebyshev.chebpts1(size)
            values = mixture.log_pdf(middle + half * nodes)
            series = chebyshev_series(values, nodes)
            if np.abs(series[-size // 4 :]).max() < ROUNDING:
                return np.asarray(chebyshev.chebval((draws - middle) / half, series))
    return mixture.log_pdf(draws)

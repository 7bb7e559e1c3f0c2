"""What all measurements share: lines of the table, paired timing, data."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from arviz_stats.base.array import array_stats

from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv.datasets import load_push_experiment

NOTEBOOK = {
    "intercept_y_loc": 50.0,
    "intercept_y_scale": 10.0,
    "intercept_t_loc": 0.0,
    "intercept_t_scale": 1.0,
    "beta_t_scale": 10.0,
    "beta_z_scale": 10.0,
    "sigma_scale": 2.0,
    "lkj_eta": 2.0,
    "intercept_prior": "raw",
}


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: str
    rival: str = ""
    ratio: str = ""


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def paired(*runs: Callable[[], object], repeat: int) -> list[float]:
    """Median seconds of each after a warm-up, the runs alternating."""
    for run in runs:
        run()
    times = [[seconds(run) for run in runs] for _ in range(repeat)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def alternating(own: Callable[[], object], rival: Callable[[], object], repeat: int) -> list[float]:
    """Median seconds of both; after a warm-up where there is more than one run of each."""
    if repeat > 1:
        return paired(own, rival, repeat=repeat)
    own()
    return [min(seconds(own) for _ in range(3)), seconds(rival)]


def push(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, treatment and instrument of the push data, repeated or cut to n rows."""
    _, t, y, z = load_push_experiment(return_X_t_y_z=True)
    return tuple(np.resize(np.asarray(a, dtype=float), n) for a in (y, t, z))


def push_moments(n: int) -> Callable[[], Moments]:
    """The pass over those rows, to be timed by itself."""
    y, t, z = push(n)
    columns = Columns((), ("z",), ("t",), "y")
    data = IVData(np.empty((n, 0)), z[:, None], t[:, None], y, None, columns)
    return lambda: Moments.from_data(data)


def ess(draws: Any) -> float:
    """Bulk effective sample size of (chain, draw)."""
    return float(array_stats.ess(np.asarray(draws), chain_axis=0, draw_axis=1, method="bulk"))


def least_ess(posterior: Any) -> float:
    """Smallest bulk effective sample size of the coefficients and the standard deviations."""
    names = ("beta_t", "beta_z", "intercept_y", "intercept_t", "sigma")
    flat = [posterior[name].to_numpy() for name in names if name in posterior]
    flat = [a.reshape(*a.shape[:2], -1) for a in flat]
    return min(ess(a[..., k]) for a in flat for k in range(a.shape[2]))

"""What people wait for: the first fit, a search, a thousand experiments."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import pandas as pd
from measure import Figure, paired, push
from sklearn.model_selection import GridSearchCV

from skbayesiv import BayesianIV, BayesianIVCV, fit_experiments
from skbayesiv.datasets import make_noncompliance
from skbayesiv.metrics import log_predictive_density_scorer

FIRST = """
import time
start = time.perf_counter()
import jax, numpyro
libraries = time.perf_counter()
from collections import Counter
spent = Counter()
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **_: spent.update({event.rsplit("/")[-1]: duration})
)
from skbayesiv import BayesianIV
from skbayesiv.datasets import load_push_experiment
X, t, y, z = load_push_experiment(return_X_t_y_z=True)
imported = time.perf_counter()
BayesianIV(random_state=0).fit(X, t, y, z=z)
fitted = time.perf_counter()
trace = spent["jaxpr_trace_duration"] + spent["jaxpr_to_mlir_module_duration"]
compile = spent["backend_compile_duration"]
rest = fitted - imported - trace - compile
print(libraries - start, imported - libraries, trace, compile, rest)
"""


def bench_first_fit(repeat: int) -> Iterator[Figure]:
    """The first fit of a process, without and with the compilation cache."""
    with tempfile.TemporaryDirectory() as folder:
        for label, extra in (("", {}), (", compilation cache", {"SKBAYESIV_CACHE": folder})):
            runs = [_first(extra) for _ in range(repeat + 1)][1:]
            libraries, own, trace, compile_, rest = (
                statistics.median(column) for column in zip(*runs, strict=True)
            )
            total = statistics.median(sum(run) for run in runs)
            yield Figure(
                f"first fit in a fresh process{label}",
                f"{total:.1f} s: import skbayesiv {own:.1f}, trace {trace:.1f}, "
                f"compile {compile_:.1f}, sample and the rest {rest:.1f}",
                f"import jax, numpyro {libraries:.1f} s",
                f"1.5 x imports + {total - 1.5 * libraries:.1f} s",
            )


def _first(extra: dict[str, str]) -> list[float]:
    out = subprocess.run(
        [sys.executable, "-c", FIRST],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | extra,
    )
    return [float(value) for value in out.stdout.split()]


def bench_grid(repeat: int) -> Iterator[Figure]:
    """Grid search over ten scales and five folds."""
    y, t, z = push(10**4)
    X = np.column_stack([t, z])
    est = BayesianIV(random_state=0, treatment=0, instruments=1)
    scales = list(np.geomspace(0.1, 100, 10))
    grid = GridSearchCV(est, {"beta_t_scale": scales}, cv=5)
    threads = GridSearchCV(est, {"beta_t_scale": scales}, cv=5, n_jobs=2)
    own = BayesianIVCV(est, beta_t_scale=scales, cv=5, n_jobs=2)
    fit, searched, parallel, vectorised = paired(
        lambda: est.fit(X, y),
        lambda: grid.fit(X, y),
        lambda: _with_threads(threads, X, y),
        lambda: own.fit(X, y),
        repeat=repeat,
    )
    yield Figure(
        "GridSearchCV, 10 scales x 5 folds",
        f"{searched:.2f} s",
        f"one warm fit {fit:.3f} s",
        f"{searched / fit:.0f} warm fits",
    )
    yield Figure(
        "GridSearchCV, the same, two threads",
        f"{parallel:.2f} s",
        f"one thread {searched:.2f} s",
        f"{searched / parallel:.1f} x faster",
    )
    yield Figure(
        "BayesianIVCV, the same, two threads",
        f"{vectorised:.2f} s",
        f"GridSearchCV {searched:.2f} s",
        f"{searched / vectorised:.1f} x faster",
    )


def bench_scored_grid(repeat: int) -> Iterator[Figure]:
    """A grid of 3 x 3 prior scales, five folds, scored by the predictive density of (y, t)."""
    rng = np.random.default_rng(0)
    n = 20_000
    x, z, taste = rng.normal(size=(n, 7)), rng.integers(0, 2, n), rng.normal(size=n)
    t = 0.7 * z + x[:, 0] + taste
    y = 2.0 * t + x.sum(axis=1) + taste + rng.normal(size=n)
    X = np.column_stack([x, t, z])
    est = BayesianIV(random_state=0, treatment=7, instruments=8)
    scales = {"beta_t_scale": [0.1, 1, 10], "gamma_scale": [0.1, 1, 10]}
    grid = GridSearchCV(est, scales, scoring=log_predictive_density_scorer)
    held = X[:4000], y[:4000]
    fit, searched, scored, each_row = paired(
        lambda: est.fit(X, y),
        lambda: grid.fit(X, y),
        lambda: log_predictive_density_scorer(est, *held),
        lambda: est.log_predictive_density(held[0], y=held[1]),
        repeat=repeat,
    )
    yield Figure(
        "GridSearchCV, 3 x 3 scales x 5 folds, 20,000 rows x 9 columns, log predictive density",
        f"{searched:.2f} s",
        f"one warm fit {fit:.3f} s",
        f"{searched / fit:.0f} warm fits",
    )
    yield Figure(
        "log predictive density of 4,000 held-out rows",
        f"{scored:.3f} s",
        f"every row with every draw {each_row:.2f} s",
        f"{scored / each_row:.3f} x its time",
    )


def _with_threads(search: GridSearchCV, X: np.ndarray, y: np.ndarray) -> None:
    from joblib import parallel_config

    with parallel_config("threading"):
        search.fit(X, y)


def bench_many(repeat: int) -> Iterator[Figure]:
    """A thousand experiments in one call."""
    parts = [make_noncompliance(200, random_state=i) for i in range(50)]
    frame = pd.concat(
        pd.DataFrame({"e": 50 * k + i, "t": p.t, "y": p.y + 0.1 * k * p.t, "z": p.z})
        for k in range(20)
        for i, p in enumerate(parts)
    )
    roles = {"by": "e", "outcome": "y", "treatment": "t", "instruments": "z"}
    (took,) = paired(lambda: fit_experiments(frame, **roles, n_jobs=2), repeat=repeat)
    yield Figure(
        "fit_experiments, 1,000 experiments of 200 rows, 2 x (500 + 500) draws",
        f"{took:.2f} s",
        "",
        f"{took:.2f} ms each",
    )

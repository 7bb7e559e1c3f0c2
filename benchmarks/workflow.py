"""What people wait for: the first fit, a search, a thousand experiments."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from measure import Figure, paired, push
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skbayesiv import BayesianIV, BayesianIVCV, fit_experiments
from skbayesiv.datasets import make_noncompliance
from skbayesiv.metrics import log_predictive_density_scorer

IMPORTS = {
    "scikit-learn, SciPy, pandas": "import sklearn.model_selection, scipy.stats, scipy.optimize, "
    "pandas",
    "JAX, NumPyro": "import jax, numpyro",
}
FIRST = """
from skbayesiv import BayesianIV
from skbayesiv.datasets import load_push_experiment
X, t, y, z = load_push_experiment(return_X_t_y_z=True)
BayesianIV(backend="{}", random_state=0).fit(X, t, y, z=z){}
"""


def bench_first_fit(repeat: int) -> Iterator[Figure]:
    """The first fit of a process beside bare imports: whole processes, alternating."""
    with tempfile.TemporaryDirectory() as folder:
        fits = {
            "independence": partial(_process, FIRST.format("independence", "")),
            "independence, and its tree": partial(
                _process, FIRST.format("independence", ".idata_")
            ),
            "NumPyro": partial(_process, FIRST.format("numpyro", "")),
            "NumPyro, compilation cache": partial(_process, FIRST.format("numpyro", ""), folder),
        }
        imports = {name: partial(_process, code) for name, code in IMPORTS.items()}
        times = paired(*imports.values(), *fits.values(), repeat=repeat)
    bare = dict(zip(IMPORTS, times, strict=False))
    for label, took in zip(fits, times[len(bare) :], strict=True):
        for name, least in bare.items():
            if label.startswith("independence") and name.startswith("JAX"):
                continue
            yield Figure(
                f"first fit in a fresh process, {label}",
                f"{took:.1f} s",
                f"import {name} {least:.1f} s",
                f"{took / least:.2f} x, + {took - least:.1f} s",
            )


def _process(code: str, cache: str = "0") -> None:
    """Run code in a fresh process."""
    env = os.environ | {"SKBAYESIV_CACHE": cache}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True)


def bench_grid(repeat: int) -> Iterator[Figure]:
    """Grid search over ten scales and five folds."""
    y, t, z = push(10**4)
    X = np.column_stack([t, z])
    est = BayesianIV(random_state=0, treatment=0, instruments=1)
    scales = list(np.geomspace(0.1, 100, 10))
    grid = GridSearchCV(est, {"beta_t_scale": scales}, cv=5)
    threads = GridSearchCV(est, {"beta_t_scale": scales}, cv=5, n_jobs=2)
    nuts = BayesianIVCV(est, beta_t_scale=scales, cv=5, n_jobs=2)
    template = clone(est).set_params(backend="independence")  # which is the default
    own = BayesianIVCV(template, beta_t_scale=scales, cv=5)
    fit, searched, parallel, by_nuts, by_default = paired(
        lambda: est.fit(X, y),
        lambda: grid.fit(X, y),
        lambda: _with_threads(threads, X, y),
        lambda: nuts.fit(X, y),
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
        "BayesianIVCV, the same, with NumPyro in two threads",
        f"{by_nuts:.2f} s",
        f"GridSearchCV {searched:.2f} s",
        f"{searched / by_nuts:.1f} x faster",
    )
    yield Figure(
        "BayesianIVCV, the same, by default (independence)",
        f"{by_default:.2f} s",
        f"with NumPyro in two threads {by_nuts:.2f} s",
        f"{by_nuts / by_default:.1f} x faster",
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
    nuts = BayesianIV(chains=2, draws=500, tune=500, backend="numpyro")
    took, *by_nuts = paired(
        lambda: fit_experiments(frame, **roles),
        lambda: fit_experiments(frame, **roles, estimator=nuts),
        lambda: fit_experiments(frame, **roles, estimator=nuts, n_jobs=2),
        repeat=repeat,
    )
    yield Figure(
        "fit_experiments, 1,000 experiments of 200 rows, 2 x 500 draws, by default (independence)",
        f"{took:.2f} s, {took:.2f} ms each",
        "with NumPyro {:.2f} s, in two threads {:.2f} s".format(*by_nuts),
        ", ".join(f"{other / took:.1f} x" for other in by_nuts) + " faster",
    )

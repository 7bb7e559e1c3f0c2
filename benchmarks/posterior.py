"""BayesianIV against samplers of the same model, and as the data grow."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import NOTEBOOK, Figure, ess, least_ess, paired, push, push_moments

from skbayesiv import BayesianIV


def warm(n: int, repeat: int) -> tuple[BayesianIV, float]:
    """A fit of the push data at n rows, and the seconds of a warm one."""
    y, t, z = push(n)
    est = BayesianIV(**NOTEBOOK, random_state=0)
    (took,) = paired(lambda: est.fit(None, t, y, z=z), repeat=repeat)
    return est, took


def bench_rows(repeat: int) -> Iterator[Figure]:
    """Warm fits as rows grow; after the pass they cost the same."""
    base = None
    for n in (10**3, 10**4, 10**5, 10**6, 10**7):
        y, t, z = push(n)
        est = BayesianIV(**NOTEBOOK, random_state=0)
        took, one_pass = paired(
            lambda y=y, t=t, z=z, est=est: est.fit(None, t, y, z=z), push_moments(n), repeat=repeat
        )
        base = base or took
        posterior = est.idata_.posterior
        rate, least = ess(posterior["beta_t"][..., 0]) / took, least_ess(posterior) / took
        yield Figure(
            f"BayesianIV, warm fit, n = {n:,}",
            f"{took:.3f} s; effective draws per second: beta_t {rate:,.0f}, least {least:,.0f}",
            f"one pass over the rows {one_pass:.3f} s",
            f"pass + {(took - one_pass) / base:.2f} x the fit at n = 1,000",
        )


def bench_rowlevel(repeat: int) -> Iterator[Figure]:
    """The row-level model in PyMC with three samplers; one short run each, for it takes minutes."""
    runs = (
        ("PyMC + NumPyro", "numpyro", 10**3, 300),
        ("PyMC", "pymc", 10**3, 300),
        ("PyMC + nutpie", "nutpie", 10**3, 300),
        ("PyMC + NumPyro", "numpyro", 10**4, 300),
        ("PyMC", "pymc", 10**4, 150),
        ("PyMC + nutpie", "nutpie", 10**4, 150),
    )
    for label, sampler, n, draws in runs:
        try:
            tree, took = _rowlevel(sampler, n, draws)
        except ImportError:
            continue
        est, own = warm(n, repeat)
        theirs = ess(tree.posterior["beta_t"][..., 0]) / took
        ours = ess(est.idata_.posterior["beta_t"][..., 0]) / own
        least = least_ess(est.idata_.posterior) / own
        yield Figure(
            f"effective draws of beta_t per second, n = {n:,}",
            f"{ours:,.0f} (least of all parameters {least:,.0f})",
            f"{label} on rows {theirs:.2f} (least {least_ess(tree.posterior) / took:.2f}; "
            f"2 x ({draws} + {draws}) in {took:.0f} s)",
            f"{ours / theirs:,.0f} x",
        )


def _rowlevel(sampler: str, n: int, draws: int) -> tuple[Any, float]:
    import pymc as pm

    if sampler == "nutpie":
        import nutpie  # noqa: F401
    y, t, z = push(n)
    model = BayesianIV(**NOTEBOOK).to_pymc(None, t, y, z=z)
    start = time.perf_counter()
    tree = pm.sample(
        draws,
        tune=draws,
        chains=2,
        cores=1 if sampler == "numpyro" else 2,
        nuts_sampler=sampler,
        random_seed=1,
        progressbar=False,
        compute_convergence_checks=False,
        model=model,
    )
    return tree, time.perf_counter() - start


def bench_rivgibbs(repeat: int) -> Iterator[Figure]:
    """Bayesm's Gibbs sampler in C++, when R has it."""
    if shutil.which("Rscript") is None:
        return
    script = Path(__file__).with_name("rivgibbs.R")
    for n, draws in ((10**4, 4000), (10**6, 300)):
        y, t, z = push(n)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "push.csv"
            frame = pd.DataFrame({"y": y, "t": t, "z": z}).astype(int)
            frame.to_csv(path, index=False)
            command = ["Rscript", str(script), str(path), str(draws)]
            out = subprocess.run(command, capture_output=True, text=True, check=False)
        if out.returncode:
            return
        took, share = map(float, out.stdout.split()[-2:])
        theirs = share * draws / took
        est, own = warm(n, repeat)
        ours = ess(est.idata_.posterior["beta_t"][..., 0]) / own
        yield Figure(
            f"effective draws of beta_t per second, n = {n:,}",
            f"{ours:,.0f}",
            f"bayesm's rivGibbs {theirs:,.1f} ({draws:,} draws in {took:.1f} s)",
            f"{ours / theirs:,.0f} x",
        )


def bench_width(repeat: int) -> Iterator[Figure]:
    """Growth with covariates, instruments and treatments, each paired with the plain model."""
    rng = np.random.default_rng(0)
    n = 5000
    runs = {}
    for k, q, p in (
        (1, 1, 0),
        (1, 1, 10),
        (1, 1, 50),
        (1, 1, 200),
        (1, 5, 0),
        (1, 20, 0),
        (2, 2, 0),
    ):
        X, z = rng.normal(size=(n, p)), rng.normal(size=(n, q))
        v = rng.normal(size=(n, k))
        t = z @ rng.normal(size=(q, k)) + v
        y = t.sum(1) + v.sum(1) + rng.normal(size=n)
        est = BayesianIV(random_state=0)
        runs[k, q, p] = partial(est.fit, X if p else None, t, y, z=z)
    times = dict(zip(runs, paired(*runs.values(), repeat=repeat), strict=True))
    for (k, q, p), took in times.items():
        yield Figure(
            f"BayesianIV, warm fit, K = {k}, Q = {q}, P = {p}",
            f"{took:.3f} s",
            "K = Q = 1, P = 0",
            f"{took / times[1, 1, 0]:.1f} x",
        )

"""How fast it is: ratios against rivals, measured side by side in one run.

    python benchmarks/speed.py [--only NAME ...] [--repeat 5] [--output docs/_data/benchmarks.csv]

Each measurement is the median of paired runs: ours and the rival's alternate. Rivals that are not
installed (R with bayesm, pyfixest) are left out. Time on a busy machine means nothing.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from arviz_stats.base.array import array_stats
from sklearn.model_selection import GridSearchCV

from skbayesiv import BayesianIV, BayesianIVCV, TwoStageLS, fit_experiments
from skbayesiv._moments import Moments
from skbayesiv._validation import Columns, IVData
from skbayesiv.datasets import load_push_experiment, make_noncompliance
from skbayesiv.exceptions import ConvergenceWarning

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
REPEAT = 5


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


def paired(*runs: Callable[[], object]) -> list[float]:
    """Median seconds of each, the runs alternating."""
    for run in runs:
        run()
    times = [[seconds(run) for run in runs] for _ in range(REPEAT)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def push(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, treatment and instrument of the push data, repeated or cut to n rows."""
    _, t, y, z = load_push_experiment(return_X_t_y_z=True)
    return tuple(np.resize(np.asarray(a, dtype=float), n) for a in (y, t, z))


def ess(draws: np.ndarray) -> float:
    """Bulk effective sample size of (chain, draw)."""
    return float(array_stats.ess(draws, chain_axis=0, draw_axis=1, method="bulk"))


def effective_per_second(n: int) -> tuple[float, float]:
    """Effective draws of beta_t per second of a warm fit, and its seconds."""
    y, t, z = push(n)
    est = BayesianIV(**NOTEBOOK, random_state=0)
    (took,) = paired(lambda: est.fit(None, t, y, z=z))
    return ess(est.idata_.posterior["beta_t"].to_numpy()[..., 0]) / took, took


def bench_fit() -> Iterator[Figure]:
    """Warm fits of BayesianIV as rows grow."""
    base = None
    for n in (10**3, 10**4, 10**5, 10**6, 10**7):
        rate, took = effective_per_second(n)
        y, t, z = push(n)
        columns = Columns((), ("z",), ("t",), "y")
        data = IVData(np.empty((n, 0)), z[:, None], t[:, None], y, None, columns)
        (one_pass,) = paired(lambda data=data: Moments.from_data(data))
        base = base or took
        yield Figure(
            f"BayesianIV warm fit, n = {n:,}",
            f"{took:.3f} s, {rate:,.0f} effective draws/s",
            f"pass over the moments {one_pass:.3f} s",
            f"{(took - one_pass) / base:.2f} x the fit at n = 1,000 after the pass",
        )


def bench_rivgibbs() -> Iterator[Figure]:
    """Bayesm's Gibbs sampler, when R has it."""
    if shutil.which("Rscript") is None:
        return
    script = Path(__file__).with_name("rivgibbs.R")
    for n, draws in ((10**4, 4000), (10**6, 300)):
        y, t, z = push(n)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "push.csv"
            pd.DataFrame({"y": y.astype(int), "t": t.astype(int), "z": z.astype(int)}).to_csv(
                path, index=False
            )
            out = subprocess.run(
                ["Rscript", str(script), str(path), str(draws)],
                capture_output=True,
                text=True,
                check=False,
            )
        if out.returncode:
            return
        took, share = map(float, out.stdout.split()[-2:])
        theirs = share * draws / took
        ours, _ = effective_per_second(n)
        yield Figure(
            f"effective draws of beta_t per second, n = {n:,}",
            f"{ours:,.0f}",
            f"rivGibbs {theirs:,.1f}",
            f"{ours / theirs:,.0f} x",
        )


def bench_rowlevel() -> Iterator[Figure]:
    """PyMC's row-level model with NumPyro's NUTS: one short run, for it takes minutes."""
    import pymc as pm

    y, t, z = push(10**4)
    est = BayesianIV(**NOTEBOOK, random_state=0).fit(None, t, y, z=z)
    draws = 150
    start = time.perf_counter()
    tree = pm.sample(
        draws,
        tune=draws,
        chains=2,
        cores=1,
        nuts_sampler="numpyro",
        random_seed=1,
        progressbar=False,
        compute_convergence_checks=False,
        model=est.to_pymc(),
    )
    took = time.perf_counter() - start
    theirs = ess(tree.posterior["beta_t"].to_numpy()[..., 0]) / took
    ours, _ = effective_per_second(10**4)
    yield Figure(
        "effective draws of beta_t per second, n = 10,000",
        f"{ours:,.0f}",
        f"PyMC + NumPyro on rows {theirs:.2f} (2 x ({draws} + {draws}) draws in {took:.0f} s)",
        f"{ours / theirs:,.0f} x",
    )


FIRST = """
import time
start = time.perf_counter()
import jax, numpyro.infer.hmc
libraries = time.perf_counter()
from skbayesiv import BayesianIV
from skbayesiv.datasets import load_push_experiment
X, t, y, z = load_push_experiment(return_X_t_y_z=True)
imported = time.perf_counter()
BayesianIV(random_state=0).fit(X, t, y, z=z)
print(libraries - start, imported - libraries, time.perf_counter() - imported)
"""


def bench_first_fit() -> Iterator[Figure]:
    """The first fit of a process, without and with the compilation cache."""
    with tempfile.TemporaryDirectory() as folder:
        for label, extra in (("", {}), (", cache", {"SKBAYESIV_CACHE": folder})):
            runs = []
            for _ in range(REPEAT + 1):
                out = subprocess.run(
                    [sys.executable, "-c", FIRST],
                    capture_output=True,
                    text=True,
                    check=True,
                    env=os.environ | extra,
                )
                runs.append([float(v) for v in out.stdout.split()])
            libraries, own, fit = (statistics.median(c) for c in zip(*runs[1:], strict=True))
            yield Figure(
                f"first fit in a fresh process{label}",
                f"{own + fit:.1f} s (import skbayesiv {own:.1f}, compile and fit {fit:.1f})",
                f"import jax, numpyro {libraries:.1f} s",
                f"total {libraries + own + fit:.1f} s = 1.5 x imports "
                f"+ {own + fit - 0.5 * libraries:.1f} s",
            )


def bench_grid() -> Iterator[Figure]:
    """Grid search over ten scales and five folds."""
    y, t, z = push(10**4)
    X = np.column_stack([t, z])
    est = BayesianIV(random_state=0, treatment=0, instruments=1)
    scales = list(np.geomspace(0.1, 100, 10))
    grid = GridSearchCV(est, {"beta_t_scale": scales}, cv=5)
    own = BayesianIVCV(est, beta_t_scale=scales, cv=5)
    fit, searched, vectorised = paired(
        lambda: est.fit(X, y), lambda: grid.fit(X, y), lambda: own.fit(X, y)
    )
    yield Figure(
        "GridSearchCV, 10 scales x 5 folds",
        f"{searched:.2f} s",
        f"one warm fit {fit:.3f} s",
        f"{searched / fit:.0f} warm fits",
    )
    yield Figure(
        "BayesianIVCV, the same",
        f"{vectorised:.2f} s",
        f"GridSearchCV {searched:.2f} s",
        f"{searched / vectorised:.1f} x faster",
    )


def bench_many() -> Iterator[Figure]:
    """A thousand experiments in one call."""
    parts = [make_noncompliance(200, random_state=i) for i in range(50)]
    frame = pd.concat(
        pd.DataFrame({"e": 50 * k + i, "t": p.t, "y": p.y + 0.1 * k * p.t, "z": p.z})
        for k in range(20)
        for i, p in enumerate(parts)
    )
    roles = {"by": "e", "outcome": "y", "treatment": "t", "instruments": "z"}
    (took,) = paired(lambda: fit_experiments(frame, **roles, n_jobs=2))
    yield Figure("fit_experiments, 1,000 experiments", f"{took:.2f} s", "", f"{took:.2f} ms each")


def bench_width() -> Iterator[Figure]:
    """Growth with covariates, instruments and treatments."""
    rng = np.random.default_rng(0)
    n, base = 5000, None
    for k, q, p in ((1, 1, 0), (1, 1, 10), (1, 1, 50), (1, 1, 200), (1, 20, 0), (2, 2, 0)):
        X, z = rng.normal(size=(n, p)), rng.normal(size=(n, q))
        v = rng.normal(size=(n, k))
        t = z @ rng.normal(size=(q, k)) + v
        y = t.sum(1) + v.sum(1) + rng.normal(size=n)
        est = BayesianIV(random_state=0)
        (took,) = paired(lambda X=X, t=t, y=y, z=z, est=est: est.fit(X if p else None, t, y, z=z))  # noqa: B023
        base = base or took
        yield Figure(
            f"warm fit, K = {k}, Q = {q}, P = {p}", f"{took:.3f} s", "", f"{took / base:.1f} x"
        )


def bench_two_stage() -> Iterator[Figure]:
    """TwoStageLS against linearmodels and, from moments, pyfixest."""
    from linearmodels.iv import IV2SLS

    for n in (10**4, 10**6):
        y, t, z = push(n)
        one = np.ones((n, 1))
        columns = Columns((), ("z",), ("t",), "y")
        data = IVData(np.empty((n, 0)), z[:, None], t[:, None], y, None, columns)
        ours, theirs, moments = paired(
            lambda t=t, y=y, z=z: TwoStageLS().fit(None, t, y, z=z),
            lambda t=t, y=y, z=z, one=one: IV2SLS(y, one, t, z).fit().std_errors,
            lambda data=data: TwoStageLS(cov_type="unadjusted").fit_moments(
                Moments.from_data(data)
            ),
        )
        yield Figure(
            f"TwoStageLS, n = {n:,}",
            f"{ours:.3f} s",
            f"linearmodels {theirs:.3f} s",
            f"{ours / theirs:.2f} x its time",
        )
        yield Figure(f"TwoStageLS from moments, n = {n:,}", f"{moments:.3f} s")


BENCHES = {
    "fit": bench_fit,
    "rivgibbs": bench_rivgibbs,
    "first": bench_first_fit,
    "grid": bench_grid,
    "many": bench_many,
    "width": bench_width,
    "two-stage": bench_two_stage,
    "row-level": bench_rowlevel,
}


def main() -> None:
    """Run and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=BENCHES, default=list(BENCHES))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    global REPEAT
    REPEAT = options.repeat
    warnings.simplefilter("ignore", ConvergenceWarning)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    figures = [Figure("machine", machine, f"Python {platform.python_version()}")]
    print(*astuple(figures[0]), sep=" | ")
    for name in options.only:
        for figure in BENCHES[name]():
            print(*astuple(figure), sep=" | ", flush=True)
            figures.append(figure)
    if options.output:
        with options.output.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["what", "value", "rival", "ratio"])
            writer.writerows(astuple(figure) for figure in figures)


if __name__ == "__main__":
    main()

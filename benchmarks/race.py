"""The data of the two pictures: effective draws per second as rows grow, and the first minute."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path

import pandas as pd
from measure import NOTEBOOK, Figure, ess, paired, push

from skbayesiv import BayesianIV

HERE = Path(__file__).parent
BACKENDS = ("independence", "numpyro")
NAMES = {
    "independence": "skbayesiv, independence",
    "numpyro": "skbayesiv, NumPyro",
    "pymc": "PyMC on rows",
    "pymc-numpyro": "PyMC + NumPyro on rows",
    "pymc-nutpie": "PyMC + nutpie on rows",
    "rivgibbs": "bayesm's rivGibbs",
}
OWN_ROWS = (10**3, 10**4, 10**5, 10**6, 10**7)
ROW_LEVEL = {10**3: 1000, 10**4: 500, 10**5: 100}  # draws by rows; tuning takes as many again
FASTEST = "pymc-nutpie"  # of the row-level ones, which alone runs at 10^5
RIVGIBBS = {10**4: 4000, 10**5: 500, 10**6: 300}
MINUTE, LIMIT = 60.0, 90.0  # seconds of a run in the first minute and in the race
ENOUGH = 20  # effective draws, with fewer of which a rate is not told
TIMES = 3  # runs of what takes seconds, of which the median is taken


@dataclass(frozen=True)
class Rate:
    """One point of the race; seconds of a warm fit, or of the draws alone for the others."""

    method: str
    rows: int
    effective: float
    seconds: float

    @property
    def per_second(self) -> float:
        """Effective draws per second."""
        return self.effective / self.seconds


@dataclass(frozen=True)
class Minute:
    """One bar of the first minute."""

    method: str
    imports: float
    compile: float
    draws: float
    rest: float
    effective: float
    finished: bool

    @property
    def total(self) -> float:
        """Wall time."""
        return self.imports + self.compile + self.draws + self.rest


def fresh(
    name: str,
    method: str,
    *,
    rows: int = 10**4,
    draws: int = 1000,
    chains: int = 4,
    limit: float = MINUTE,
    programs: str = "0",
) -> Minute | None:
    """Run a method in a fresh process; None if it cannot run here.

    `programs` is the folder of the compilation cache; 0 is none.
    """
    sizes = {"rows": rows, "draws": draws, "chains": chains, "limit": limit}
    command = [sys.executable, str(HERE / "fresh.py"), method]
    command += [f"--{key}={value}" for key, value in sizes.items()]
    devices = f"--xla_force_host_platform_device_count={chains}" if method[:4] == "pymc" else ""
    env = os.environ | {"SKBAYESIV_CACHE": programs, "XLA_FLAGS": devices}
    command.append(f"--launched={time.time()}")
    out = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if out.returncode:
        print(f"{name} left out: {(out.stderr.splitlines() or ['?'])[-1]}", file=sys.stderr)
        return None
    line = json.loads(out.stdout.splitlines()[-1])
    return Minute(name, line.pop("import"), **line)


def rivgibbs(rows: int, draws: int) -> Minute | None:
    """Bayesm's Gibbs sampler in C++, when R has it."""
    if shutil.which("Rscript") is None:
        return None
    y, t, z = push(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "push.csv"
        pd.DataFrame({"y": y, "t": t, "z": z}).astype(int).to_csv(path, index=False)
        start = time.perf_counter()
        command = ["Rscript", str(HERE / "rivgibbs.R"), str(path), str(draws)]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - start
    if out.returncode:
        return None
    imported, _, took, share = map(float, out.stdout.split()[-4:])
    rest = wall - imported - took
    return Minute(NAMES["rivgibbs"], imported, 0.0, took, rest, share * draws, True)


def own_rates(rows: int, repeat: int) -> Iterator[Rate]:
    """Warm fits of both backends, alternating."""
    y, t, z = push(rows)
    fits = [BayesianIV(**NOTEBOOK, backend=backend, random_state=0) for backend in BACKENDS]
    times = paired(*(partial(est.fit, None, t, y, z=z) for est in fits), repeat=repeat)
    for backend, est, took in zip(BACKENDS, fits, times, strict=True):
        yield Rate(NAMES[backend], rows, ess(est.idata_.posterior["beta_t"][..., 0]), took)


def rival_rates() -> Iterator[Rate]:
    """The row-level model by sampler and rows, and rivGibbs; one run each."""
    for method in ("pymc", "pymc-numpyro", "pymc-nutpie"):
        for rows, draws in ROW_LEVEL.items():
            if rows == max(ROW_LEVEL) and method != FASTEST:
                continue
            run = fresh(NAMES[method], method, rows=rows, draws=draws, chains=2, limit=LIMIT)
            if run and run.effective >= ENOUGH:
                yield Rate(run.method, rows, run.effective, run.draws)
    for rows, draws in RIVGIBBS.items():
        run = rivgibbs(rows, draws)
        if run and run.effective >= ENOUGH:
            yield Rate(run.method, rows, run.effective, run.draws)


@cache
def rates(repeat: int) -> tuple[Rate, ...]:
    """All points, measured once."""
    own = (rate for rows in OWN_ROWS for rate in own_rates(rows, repeat))
    found = []
    for rate in chain(own, rival_rates()):
        print(rate, file=sys.stderr, flush=True)
        found.append(rate)
    return tuple(found)


def bench_race(repeat: int) -> Iterator[Rate]:
    """Effective draws of beta_t per second as rows grow: the first picture."""
    yield from rates(repeat)


def bench_rivals(repeat: int) -> Iterator[Figure]:
    """The same as lines of the table: each rival beside both backends."""
    own = {(rate.method, rate.rows): rate.per_second for rate in rates(repeat)}
    for rate in rates(repeat):
        if rate.method in {NAMES[backend] for backend in BACKENDS}:
            continue
        mine = [own[NAMES[backend], rate.rows] for backend in BACKENDS]
        yield Figure(
            f"effective draws of beta_t per second, n = {rate.rows:,}",
            ", ".join(f"{b} {value:,.0f}" for b, value in zip(BACKENDS, mine, strict=True)),
            f"{rate.method} {rate.per_second:,.3g} ({rate.seconds:.1f} s of draws)",
            ", ".join(f"{value / rate.per_second:,.0f} x" for value in mine),
        )


def bench_first_minute(repeat: int) -> Iterator[Minute]:
    """What the wall time of a fresh process goes to: the second picture."""
    with tempfile.TemporaryDirectory() as folder:
        for method, label, programs in (
            ("independence", "", "0"),
            ("numpyro", "", "0"),
            ("numpyro", ", cache", folder),
        ):
            run = partial(fresh, NAMES[method] + label, method, programs=programs)
            yield from _median([run() for _ in range(1 + min(repeat, TIMES))][1:])
    yield from _median([rivgibbs(10**4, 4000) for _ in range(min(repeat, TIMES))])
    for method in ("pymc-numpyro", "pymc-nutpie", "pymc"):
        yield from _median([fresh(NAMES[method], method)])


def _median(runs: list[Minute | None]) -> list[Minute]:
    """The run of median wall time, if there is one."""
    done = sorted((run for run in runs if run), key=lambda run: run.total)
    return done[len(done) // 2 : len(done) // 2 + 1]

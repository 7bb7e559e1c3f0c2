"""One sampler in a fresh process: effective draws of beta_t, and the seconds until they are there.

    python benchmarks/fresh.py independence --rows 10000 --draws 1000

prints JSON: the seconds spent on imports, on compilation, on draws (tuning included) and on the
rest, the effective draws, and whether all draws were made. At the limit the process ends and says
what there is until then. Libraries are imported inside functions, where the clock sees it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STAGES = ("import", "compile", "draws", "rest")
COMPILING = {"jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration"}


class Clock:
    """Seconds by stage: the innermost stage counts, and an import wherever it happens."""

    def __init__(self, launched: float) -> None:
        self.since = launched
        self.stages = ["rest"]
        self.spent: Counter[str] = Counter()
        self.compiled: list[tuple[float, float]] = []
        find = importlib._bootstrap._find_and_load
        importlib._bootstrap._find_and_load = self.timed(find, "import")

    def book(self) -> None:
        """Count the time until now."""
        now = time.time()
        self.spent[self.stages[-1]] += now - self.since
        self.since = now

    def switch(self, stage: str) -> None:
        """Begin the next stage."""
        self.book()
        self.stages[0] = stage

    @contextmanager
    def inside(self, stage: str) -> Iterator[None]:
        """A stage within the present one."""
        self.book()
        self.stages.append(stage)
        try:
            yield
        finally:
            self.book()
            self.stages.pop()

    def timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """A function whose time in the main thread counts for a stage."""

        def run(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            with self.inside(stage):
                return function(*args, **kwargs)

        return run

    def listen(self) -> None:
        """Ask JAX what it compiles: it does so at the first draw."""
        import jax

        jax.monitoring.register_event_duration_secs_listener(self._event)

    def _event(self, event: str, duration: float, **_: Any) -> None:
        """Note a span of compilation among the draws; it may contain earlier ones."""
        if "draws" in self.stages and event.rsplit("/")[-1] in COMPILING:
            end = time.time()
            start = end - duration
            self.compiled = [span for span in self.compiled if span[0] < start] + [(start, end)]

    def seconds(self) -> dict[str, float]:
        """What each stage took until now."""
        self.book()
        out = {stage: self.spent[stage] for stage in STAGES}
        compiled = min(out["draws"], sum(end - start for start, end in self.compiled))
        out["compile"] += compiled
        out["draws"] -= compiled
        return out


class Run:
    """One run: its size, its clock, and the draws of each chain so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.clock = Clock(options.launched or time.time())
        self.so_far: Callable[[], Any] = list
        self.sizes = {"draws": options.draws, "tune": options.draws, "chains": options.chains}
        self.end = self.clock.since + options.limit
        self.watch = threading.Timer(max(self.end - time.time(), 0.0), self.give_up)
        self.watch.daemon = True
        self.watch.start()

    def report(self, chains: Any, seconds: dict[str, float], finished: bool) -> None:
        """Print the line and end the process, with what other threads and processes do."""
        line = {**seconds, "effective": effective(chains), "finished": finished}
        print(json.dumps(line), flush=True)
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(0)

    def give_up(self, so_far: Callable[[], Any] | None = None) -> None:
        """The limit is reached."""
        seconds = self.clock.seconds()
        self.report((so_far or self.so_far)(), seconds, finished=False)

    def model(self) -> Any:
        """The row-level model."""
        from measure import NOTEBOOK, push

        from skbayesiv import BayesianIV

        y, t, z = push(self.options.rows)
        self.clock.switch("compile")
        return BayesianIV(**NOTEBOOK).to_pymc(None, t, y, z=z)


def effective(chains: Any) -> float:
    """Effective sample size of draws by chain, the chains cut to the shortest; 0 if too few."""
    length = min((len(chain) for chain in chains), default=0)
    if length < 4:
        return 0.0
    from measure import ess

    return ess([chain[:length] for chain in chains])


def ours(run: Run, backend: str) -> Any:
    """BayesianIV with a backend."""
    from measure import NOTEBOOK, push

    from skbayesiv._estimators import bayesian

    if backend == "numpyro":
        run.clock.listen()
    bayesian.sample_model = run.clock.timed(bayesian.sample_model, "draws")
    y, t, z = push(run.options.rows)
    est = bayesian.BayesianIV(**NOTEBOOK, backend=backend, random_state=1, **run.sizes)
    return est.fit(None, t, y, z=z).idata_.posterior["beta_t"].to_numpy()[..., 0]


def with_pymc(run: Run, **options: Any) -> Any:
    """The row-level model with one of PyMC's samplers."""
    import pymc as pm

    tree = pm.sample(
        **run.sizes,
        **options,
        model=run.model(),
        random_seed=1,
        progressbar=False,
        quiet=True,
        compute_convergence_checks=False,
    )
    run.clock.switch("rest")
    return tree.posterior["beta_t"].to_numpy()[..., 0]


def pymc(run: Run) -> Any:
    """PyMC's own NUTS, which tells of each draw."""
    chains: dict[int, list[float]] = defaultdict(list)

    def callback(trace: Any, draw: Any) -> None:
        if run.clock.stages[0] != "draws":
            run.clock.switch("draws")
        if not draw.tuning:
            chains[draw.chain].append(float(draw.point["beta_t"][0]))

    run.so_far = lambda: list(chains.values())
    return with_pymc(run, nuts_sampler="pymc", cores=2, callback=callback)


def pymc_numpyro(run: Run) -> Any:
    """NumPyro's NUTS, which hands out all draws at the end; the chains run at once."""
    run.clock.listen()
    import pymc.sampling.jax as pymc_jax

    sample = pymc_jax._sample_numpyro_nuts
    pymc_jax._sample_numpyro_nuts = run.clock.timed(sample, "draws")
    return with_pymc(run, nuts_sampler="numpyro")


def pymc_nutpie(run: Run) -> Any:
    """Nutpie, which can be looked into while it runs."""
    import nutpie

    compiled = nutpie.compile_pymc_model(run.model())
    run.clock.switch("draws")
    sampler = nutpie.sample(
        compiled, **run.sizes, cores=2, seed=1, progress_bar=False, blocking=False
    )
    run.watch.cancel()  # only the thread that waits can ask for the draws so far
    while True:
        try:
            tree = sampler.wait(timeout=0.1)
            break
        except TimeoutError:
            if time.time() > run.end:
                run.give_up(lambda: _by_chain(sampler.abort()))
    run.clock.switch("rest")
    return _by_chain(tree)


def _by_chain(tree: Any) -> list[Any]:
    """Draws of each chain that has some: of an unfinished run the others are missing."""
    import numpy as np

    chains = [chain[~np.isnan(chain)] for chain in tree.posterior["beta_t"].to_numpy()[..., 0]]
    return [chain for chain in chains if chain.size]


METHODS: dict[str, Callable[[Run], Any]] = {
    "independence": lambda run: ours(run, "independence"),
    "numpyro": lambda run: ours(run, "numpyro"),
    "pymc": pymc,
    "pymc-numpyro": pymc_numpyro,
    "pymc-nutpie": pymc_nutpie,
}


def main() -> None:
    """Run one method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=1000, help="and as many to tune")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds until the process ends")
    parser.add_argument("--launched", type=float, help="time at which the process was started")
    run = Run(parser.parse_args())
    sys.modules["coverage"] = None  # numba would take the script of this name for the package
    chains = METHODS[run.options.method](run)
    run.report(chains, run.clock.seconds(), finished=True)


if __name__ == "__main__":
    main()

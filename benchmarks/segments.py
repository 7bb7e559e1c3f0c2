"""Segments that share a population: the errors and coverage of a fit, and its time.

    python benchmarks/segments.py study [--replications 400] [--output docs/_data]
    python benchmarks/segments.py speed [--rows 10_000_000] [--output docs/_data]

``study`` simulates experiments in G segments of unequal sizes and uptakes, whose effects are
N(1, sigma^2), and compares three answers to "what is the effect in each segment?": all of them
together (HierarchicalBayesianIV), each alone (2SLS), and one for all (2SLS with an intercept for
each segment). Of many segments there are fewer replications. ``speed`` times the fit of 100
segments from a Parquet file. Time on a busy machine means nothing; the table says how busy it was.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from arviz_stats.base.array import array_stats
from measure import Figure, ess
from scipy import stats

from skbayesiv import HierarchicalBayesianIV
from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv.exceptions import ConvergenceWarning

# Share of --replications by the number of segments.
SHARES = {8: 1.0, 30: 0.25, 200: 0.04}
SIGMAS = (0.0, 0.2, 0.5)
CELLS = [(g, sigma, "normal") for g, sigma in itertools.product(SHARES, SIGMAS)]
CELLS.append((30, 0.2, "gmm"))
MEAN = 1.0
CONFOUNDING = 0.5  # correlation of the outcome's error with who takes the treatment
METHODS = ("together", "alone", "one for all")
QUICK = {"draws": 500, "tune": 500, "chains": 2, "check": False}
TAILS = [0.025, 0.975]
NEVER = 0.05  # a lower end above it says of equal effects that they differ
HEADER = [
    "segments",
    "sigma",
    "likelihood",
    "method",
    "replications",
    "mse",
    "mse_error",
    "ratio",
    "ratio_error",
    "median_error",
    "coverage",
    "coverage_error",
    "width",
    "mean_coverage",
    "mean_coverage_error",
    "mean_width",
    "average_coverage",
    "average_coverage_error",
    "average_width",
    "sigma_coverage",
    "sigma_coverage_error",
    "sigma_width",
    "sigma_upper",
    "sigma_above",
    "sigma_above_error",
]

READ = [
    "segments",
    "spread of effects",
    "MSE alone / pooled",
    "MSE one effect / pooled",
    "coverage, pooled",
    "alone",
    "one effect",
    "of sigma_t_bar",
    "of beta_t_bar",
    "of the compliers' average",
]

COLUMNS = Columns((), ("z",), ("t",), "y")
PLACES = {"treatment": "t", "instruments": "z", "covariates": "x"}


@dataclass(frozen=True)
class Experiment:
    """Rows in segments: labels g, columns (n, 3) of z, t and y; and the truth by segment."""

    g: np.ndarray
    rows: np.ndarray
    effects: np.ndarray
    compliers: np.ndarray

    @property
    def average(self) -> float:
        """Effect on the compliers, of whom a segment has as many as rows times its uptake."""
        return float(np.average(self.effects, weights=self.compliers))

    def part(self, label: int) -> IVData:
        """Rows of a segment."""
        z, t, y = self.rows[self.g == label].T
        return IVData(np.empty((len(y), 0)), z[:, None], t[:, None], y, None, COLUMNS)


def experiment(rng: np.random.Generator, groups: int, sigma: float) -> Experiment:
    """Each segment has its own size, intercept, uptake and effect; half of the rows are assigned.

    Nobody takes the treatment unassigned, and those who take it differ in their outcomes: the
    error has a standard deviation of 1.
    """
    size = np.maximum(rng.lognormal(np.log(300.0), 0.7, groups).astype(int), 40)
    uptake, intercept = rng.uniform(0.2, 0.8, groups), 2.0 * rng.normal(size=groups)
    effects = MEAN + sigma * rng.normal(size=groups)
    g = np.repeat(np.arange(groups), size)
    z = np.concatenate([rng.permutation(np.arange(n) < n / 2) for n in size]).astype(float)
    taker = (rng.uniform(size=len(g)) < uptake[g]).astype(float)
    unlike = (taker - uptake[g]) / np.sqrt(uptake[g] * (1.0 - uptake[g]))
    noise = np.sqrt(1.0 - CONFOUNDING**2) * rng.normal(size=len(g))
    t = z * taker
    y = intercept[g] + effects[g] * t + CONFOUNDING * unlike + noise
    return Experiment(g, np.column_stack([z, t, y]), effects, size * uptake)


def one_for_all(sample: Experiment) -> tuple[float, float]:
    """2SLS with an intercept for each segment: the effect and its standard error."""
    size = np.bincount(sample.g)
    means = [np.bincount(sample.g, column) / size for column in sample.rows.T]
    z, t, y = (sample.rows - np.column_stack(means)[sample.g]).T
    effect = z @ y / (z @ t)
    error = y - effect * t
    variance = error @ error / (len(y) - len(size) - 1)
    return float(effect), float(np.sqrt(variance * (z @ z)) / abs(z @ t))


def normal(centre: Any, error: Any) -> np.ndarray:
    """95% intervals (..., 2)."""
    z = stats.norm.ppf(TAILS[1])
    return np.stack([centre - z * error, centre + z * error], axis=-1)


@dataclass(frozen=True)
class Answer:
    """What a method says: effects (G,), their ends (G, 2); ends of what else it estimates."""

    effects: np.ndarray
    ends: np.ndarray
    mean: np.ndarray | None = None
    average: np.ndarray | None = None
    sigma: np.ndarray | None = None


@dataclass(frozen=True)
class Outcome:
    """One replication: the truth, and the answer of each method."""

    sample: Experiment
    answers: dict[str, Answer]


def replicate(groups: int, sigma: float, likelihood: str, seed: np.random.SeedSequence) -> Outcome:
    """One experiment, and what each method says of it."""
    sample = experiment(np.random.default_rng(seed), groups, sigma)
    est = HierarchicalBayesianIV(
        likelihood=likelihood, random_state=int(seed.generate_state(1)[0] >> 1), **QUICK
    )
    if likelihood == "normal":
        est.fit_moments({g: Moments.from_data(sample.part(g)) for g in range(groups)})
    else:
        z, t, y = sample.rows.T
        est.fit(None, t, y, z=z, segments=sample.g)
    draws = {
        name: est.idata_.posterior[name].to_numpy().ravel()
        for name in ("beta_t_bar", "effect", "sigma_t_bar")
    }
    found = est.effects_
    together = Answer(
        found["effect"].to_numpy(),
        found[["2.5%", "97.5%"]].to_numpy(),
        *(np.quantile(own, TAILS) for own in draws.values()),
    )
    effects, errors = (own[:, 0] for own in est._model.two_stage())
    effect, error = one_for_all(sample)
    ends = normal(effect, error)
    common = Answer(np.full(groups, effect), np.tile(ends, (groups, 1)), average=ends)
    alone = Answer(effects, normal(effects, errors))
    answers = dict(zip(METHODS, (together, alone, common), strict=True))
    return Outcome(Experiment(*(vars(sample) | {"g": None, "rows": None}).values()), answers)


def covers(ends: np.ndarray, truth: Any) -> np.ndarray:
    """Whether intervals (..., 2) have the truth in them; not a number where there is none."""
    inside = (ends[..., 0] <= truth) & (truth <= ends[..., 1])
    return np.where(np.isnan(ends[..., 0]), np.nan, inside)


def with_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean over replications and its Monte Carlo standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def squares(outcomes: list[Outcome], method: str) -> np.ndarray:
    """Mean squared error over the segments, by replication; those without an estimate left out."""
    return np.array(
        [np.nanmean((o.answers[method].effects - o.sample.effects) ** 2) for o in outcomes]
    )


def interval_cells(name: str, ends: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Coverage with its error and mean width of one interval per replication, (R, 2)."""
    coverage, error = with_error(covers(ends, truth))
    keys = (f"{name}_coverage", f"{name}_coverage_error", f"{name}_width")
    return dict(zip(keys, (coverage, error, float(np.diff(ends).mean())), strict=True))


def cells(outcomes: list[Outcome], method: str, sigma: float) -> dict[str, float]:
    """A method's part of one row of the table.

    `ratio` is the mean squared error over that of the fit together; `median_error` the median
    absolute error, and `width` the mean over replications of the median width: 2SLS of a weak
    instrument has no mean.
    """
    own, together = squares(outcomes, method), squares(outcomes, METHODS[0])
    ratio = own.mean() / together.mean()
    _, ratio_error = with_error((own - ratio * together) / together.mean())
    answers = [(o.answers[method], o.sample) for o in outcomes]
    off = np.concatenate([np.abs(a.effects - s.effects) for a, s in answers])
    hits = with_error([float(np.nanmean(covers(a.ends, s.effects))) for a, s in answers])
    out = dict(zip(("mse", "mse_error"), with_error(own), strict=True))
    out |= {"ratio": float(ratio), "ratio_error": ratio_error}
    out |= {"median_error": float(np.nanmedian(off))}
    out |= {"coverage": hits[0], "coverage_error": hits[1]}
    out["width"] = float(np.mean([np.nanmedian(np.diff(a.ends)) for a, _ in answers]))
    truth = {"mean": np.full(len(answers), MEAN), "sigma": np.full(len(answers), sigma)}
    truth["average"] = np.array([s.average for _, s in answers])
    for name, true in truth.items():
        ends = [getattr(a, name) for a, _ in answers]
        if ends[0] is None:
            continue
        ends = np.array(ends)
        if name == "sigma" and not sigma:
            above = with_error(ends[:, 0] > NEVER)
            out |= {"sigma_upper": float(np.median(ends[:, 1]))}
            out |= {"sigma_above": above[0], "sigma_above_error": above[1]}
        else:
            out |= interval_cells(name, ends, true)
    return out


def study(replications: int, seed: int) -> Iterator[list[str]]:
    """Rows of the table."""
    for index, (groups, sigma, likelihood) in enumerate(CELLS):
        begin = time.perf_counter()
        count = max(2, round(replications * SHARES[groups]))
        children = np.random.SeedSequence([seed, index]).spawn(count)
        outcomes = [replicate(groups, sigma, likelihood, child) for child in children]
        for method in METHODS:
            found = cells(outcomes, method, sigma)
            texts = [f"{found[name]:.3g}" if name in found else "" for name in HEADER[5:]]
            yield [str(groups), f"{sigma:g}", likelihood, method, str(count), *texts]
        print(f"  {count} replications in {time.perf_counter() - begin:.0f} s", flush=True)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time and what it gives."""
    begin = time.perf_counter()
    found = run()
    return time.perf_counter() - begin, found


def write_rows(path: Path, n_rows: int, groups: int, seed: int, block: int = 1_000_000) -> None:
    """Rows of segments in no order, in row groups of a million."""
    rng = np.random.default_rng(seed)
    names = pa.array([f"country {g:03d}" for g in range(groups)])
    share = rng.dirichlet(np.full(groups, 2.0))
    uptake, intercept = rng.uniform(0.2, 0.8, groups), 2.0 * rng.normal(size=groups)
    effects = MEAN + 0.2 * rng.normal(size=groups)
    writer = None
    for start in range(0, n_rows, block):
        n = min(block, n_rows - start)
        g = rng.choice(groups, size=n, p=share)
        z, x = rng.integers(0, 2, n), rng.normal(size=n)
        taker = rng.uniform(size=n) < uptake[g]
        t = z * taker
        error = CONFOUNDING * (taker - uptake[g]) + rng.normal(size=n)
        y = intercept[g] + effects[g] * t + 0.3 * x + error
        columns = {"country": names.take(pa.array(g)), "t": t, "z": z, "y": y, "x": x}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def health(est: Any) -> tuple[int, float, float]:
    """Divergences, the largest R-hat and the smallest effective sample size of all parameters."""
    tree = est.idata_
    divergent = int(tree.sample_stats["diverging"].to_numpy().sum())
    hats, sizes = [], []
    for own in tree.posterior.data_vars.values():
        draws = own.to_numpy().reshape(*own.shape[:2], -1)
        for k in range(draws.shape[2]):
            one = draws[..., k]
            if np.ptp(one) > 0.0:
                hats.append(array_stats.rhat(one, chain_axis=0, draw_axis=1))
                sizes.append(ess(one))
    return divergent, float(max(hats)), float(min(sizes))


def load() -> str:
    """How busy the machine is."""
    return ", ".join(f"{own:.2f}" for own in os.getloadavg())


def fitted(what: str, took: float, est: Any) -> tuple[Figure, tuple[int, float, float]]:
    """The line of one fit."""
    found = health(est)
    text = f"{found[0]} divergences, R-hat up to {found[1]:.4f}, ESS from {found[2]:.0f}"
    return Figure(what, f"{took:.2f} s", text), found


def speed(n_rows: int, seed: int) -> Iterator[Figure]:
    """Lines of the table."""
    yield Figure("load before (1, 5, 15 minutes)", load(), f"{os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_rows(path, n_rows, 100, seed)
        yield Figure(
            "rows, size of the file", f"{n_rows:.0e}", f"{path.stat().st_size / 1e6:.0f} MB"
        )
        names = PLACES | {"outcome": "y", "by": "country"}
        sources = {"pyarrow": lambda: ds.dataset(path), "polars": lambda: pl.scan_parquet(path)}
        for source, opened in sources.items():
            took = [timed(lambda: Moments.from_frame(opened(), **names))[0] for _ in range(2)]  # noqa: B023
            yield Figure(f"the pass, {source}", f"{min(took):.2f} s", f"first {took[0]:.2f} s")
            for state, name in enumerate(("first", "warm")):
                est = HierarchicalBayesianIV(segments="country", random_state=state, **PLACES)
                whole, est = timed(lambda: est.fit(opened(), y="y"))  # noqa: B023
                line, found = fitted(f"fit of 100 segments, {source}, {name}", whole, est)
                yield line
                yield Figure("  without the pass", f"{whole - min(took):.2f} s")
            met = whole < min(took) + 6.0 and found[0] == 0 and found[1] < 1.01
            yield Figure(
                f"the pass plus 6 s warm, no divergence, R-hat < 1.01, {source}",
                "met" if met else "missed",
                f"{whole:.2f} s of {min(took) + 6.0:.2f} s",
            )
    yield Figure("load after the file (1, 5, 15 minutes)", load())
    for groups in (10, 100, 1000):
        sample = experiment(np.random.default_rng([seed, groups]), groups, 0.2)
        moments = {g: Moments.from_data(sample.part(g)) for g in range(groups)}
        settings = {"draws": 500, "tune": 500, "chains": 2} if groups == 1000 else {}
        size = "2 x 500 draws" if settings else "4 x 1000 draws"
        for state, name in enumerate(("first", "warm")):
            est = HierarchicalBayesianIV(random_state=state, **settings)
            took, est = timed(lambda: est.fit_moments(moments))  # noqa: B023
            yield fitted(f"fit of moments of {groups} segments, {size}, {name}", took, est)[0]
    yield Figure("load after (1, 5, 15 minutes)", load())


def write(path: Path, rows: list[Sequence[str]]) -> None:
    """Write a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def for_readers(rows: list[Sequence[str]]) -> list[Sequence[str]]:
    """One line of the table for each cell, with the Monte Carlo errors of coverages."""
    found: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in rows[1:]:
        named = dict(zip(rows[0], row, strict=True))
        key = (named["segments"], named["sigma"], named["likelihood"])
        found.setdefault(key, {})[named["method"]] = named
    out: list[Sequence[str]] = [READ]
    for (groups, sigma, likelihood), own in found.items():
        if len(own) < len(METHODS):
            continue
        pooled, alone, one = (own[method] for method in METHODS)
        kind = groups if likelihood == "normal" else f"{groups}, {likelihood}"
        covered = [_cover(pooled, "coverage"), alone["coverage"], one["coverage"]]
        more = [_cover(pooled, f"{name}_coverage") for name in ("sigma", "mean", "average")]
        ratios = [f"{float(part['ratio']):.2g}" for part in (alone, one)]
        out.append([kind, sigma, *ratios, *covered, *more])
    return out


def _cover(named: dict[str, str], name: str) -> str:
    """Coverage with its Monte Carlo error, if it is defined."""
    if not named[name]:
        return ""
    return f"{float(named[name]):.3f} ({float(named[f'{name}_error']):.3f})"


def main() -> None:
    """Run one of the two and write its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["study", "speed"])
    parser.add_argument("--replications", type=int, default=400)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if options.what == "study":
        rows, name = [HEADER], "segments.csv"
        found = study(options.replications, options.seed)
    else:
        rows, name = [["what", "value", "more"]], "segments_speed.csv"
        figures = speed(options.rows, options.seed)
        found = ([own.what, own.value, own.rival] for own in figures)
    for row in found:
        print(*row, sep=" | ", flush=True)
        rows.append(row)
        if options.output:
            write(options.output / name, rows)
            if options.what == "study":
                write(options.output / "segments_table.csv", for_readers(rows))


if __name__ == "__main__":
    main()

"""Coverage and width of 95% intervals of the effect under simulation.

    python benchmarks/interval_coverage.py --replications 2000 --output docs/_data/coverage.csv

makes the table of the documentation, in about twenty minutes: a row for each design, in each cell
the coverage and, in brackets, the median width.

Each design is drawn many times and each method's interval compared with the true effect:

gmm      BayesianIV(likelihood="gmm") at its default prior
normal   BayesianIV(), the joint normal likelihood, at its default priors
2sls     two-stage least squares, classical standard errors
robust   two-stage least squares, robust (in the clustered design cluster-robust) standard errors
ar       inverted Anderson-Rubin test, robust or cluster-robust

The quasi-posterior of one effect is one-dimensional: its quantiles are taken by quadrature of the
density that the sampler sees. The normal likelihood is sampled. Equal-tailed intervals throughout;
an unbounded Anderson-Rubin set has infinite width.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from skbayesiv import BayesianIV
from skbayesiv._columns import Columns
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import Reference
from skbayesiv._data.rows import IVData
from skbayesiv._data.sums import Sums
from skbayesiv._models.build import build_model
from skbayesiv.diagnostics import anderson_rubin, anderson_rubin_confidence_set

LEVEL = 0.95
EFFECT = 1.0
METHODS = ("gmm", "normal", "2sls", "robust", "ar")
GRID = 4001


@dataclass(frozen=True)
class Sample:
    """One simulated experiment: y (n,), t (n,), z (n, Q), clusters (n,) or None."""

    y: np.ndarray
    t: np.ndarray
    z: np.ndarray
    clusters: np.ndarray | None = None

    @property
    def data(self) -> IVData:
        names = tuple(f"z{i}" for i in range(self.z.shape[1]))
        columns = Columns((), names, ("t",), "y")
        return IVData(np.empty((len(self.y), 0)), self.z, self.t[:, None], self.y, None, columns)


def one_sided(rng: np.random.Generator) -> Sample:
    """10% assigned, 60% of them take the treatment, whose effect varies between them."""
    n = 1000
    z = rng.permutation(np.arange(n) < n // 10).astype(float)
    taker = rng.normal(size=n)
    t = z * (taker > stats.norm.ppf(0.4))
    effect = EFFECT + 3.0 * rng.normal(size=n)
    y = 0.5 * taker + rng.normal(size=n) + t * effect
    return Sample(y, t, z[:, None])


def weak(strength: float) -> Callable[[np.random.Generator], Sample]:
    """One instrument, errors correlated by 0.8, concentration parameter `strength`."""

    def draw(rng: np.random.Generator) -> Sample:
        n = 100
        z, v = rng.normal(size=n), rng.normal(size=n)
        e = 0.8 * v + 0.6 * rng.normal(size=n)
        t = np.sqrt(strength / n) * z + v
        return Sample(EFFECT * t + e, t, z[:, None])

    return draw


def three_instruments(rng: np.random.Generator) -> Sample:
    """Three instruments, concentration parameter 30 (10 each), heteroskedastic errors."""
    n = 500
    z, v = rng.normal(size=(n, 3)), rng.normal(size=n)
    e = (0.5 * v + np.sqrt(0.75) * rng.normal(size=n)) * np.sqrt(0.5 + 0.5 * z[:, 0] ** 2)
    t = np.sqrt(10.0 / n) * z.sum(axis=1) + v
    return Sample(EFFECT * t + e, t, z)


def clustered(rng: np.random.Generator) -> Sample:
    """60 clusters of 20, assigned as a whole; a third of the errors' variance is theirs."""
    groups, size = 60, 20
    clusters = np.repeat(np.arange(groups), size)
    z = rng.permutation(np.arange(groups) < groups // 2).astype(float)[clusters]

    def errors() -> np.ndarray:
        common = rng.normal(size=groups)[clusters]
        return np.sqrt(1 / 3) * common + np.sqrt(2 / 3) * rng.normal(size=groups * size)

    v = errors()
    e = 0.5 * v + np.sqrt(0.75) * errors()
    t = 1.0 * z + v
    return Sample(EFFECT * t + e, t, z[:, None], clusters)


def heavy_tails(rng: np.random.Generator) -> Sample:
    """Errors with 4 degrees of freedom, correlated by 0.5, concentration parameter 40."""
    n = 200
    z = rng.normal(size=n)
    scale = np.sqrt(2.0 / rng.chisquare(4, size=n))  # unit variance: t4 / sqrt 2
    v = rng.normal(size=n) * scale
    e = 0.5 * v + np.sqrt(0.75) * rng.normal(size=n) * scale
    t = np.sqrt(40.0 / n) * z + v
    return Sample(EFFECT * t + e, t, z[:, None])


DESIGNS: dict[str, Callable[[np.random.Generator], Sample]] = {
    "one-sided 10/90, varying effects": one_sided,
    "first-stage F 1": weak(1.0),
    "first-stage F 4": weak(4.0),
    "first-stage F 10": weak(10.0),
    "first-stage F 40": weak(40.0),
    "three instruments, heteroskedastic": three_instruments,
    "60 clusters": clustered,
    "t errors, 4 degrees of freedom": heavy_tails,
}


def quasi_posterior_interval(sample: Sample) -> tuple[float, float]:
    """Quantiles of the effect under likelihood="gmm", by quadrature on a grid."""
    moments = Moments.from_data(sample.data)
    fourth = FourthMoments.from_data(sample.data, Reference.from_moments(moments), sample.clusters)
    model = build_model(BayesianIV(likelihood="gmm"), Sums(moments, fourth))
    arrays, shape = model.design.arrays, model.design.shape

    def density(beta: np.ndarray) -> np.ndarray:
        loc, precision = [arrays.loc[0]], [arrays.precision[0]]
        return model.given_prior(shape, [beta], arrays, loc, precision, np)

    reach = 9.0 / np.sqrt(arrays.precision[0])
    grid = np.linspace(arrays.loc[0] - reach, arrays.loc[0] + reach, 10 * GRID)
    for _ in range(2):
        value = density(grid)
        inside = np.flatnonzero(value > value.max() - 30.0)
        first, last = max(inside[0] - 1, 0), min(inside[-1] + 1, len(grid) - 1)
        grid = np.linspace(grid[first], grid[last], GRID)
    value = density(grid)
    weight = np.exp(value - value.max())
    cumulative = (np.cumsum(weight) - 0.5 * weight) / weight.sum()
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    lower, upper = np.interp(tails, cumulative, grid) * model.design.unit[0]
    return float(lower), float(upper)


def sampled_interval(sample: Sample, seed: int, **parameters: Any) -> tuple[float, float]:
    """Quantiles of the effect's draws."""
    est = BayesianIV(**{"draws": 500, "tune": 500, "random_state": seed} | parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if parameters.get("likelihood") == "gmm":
            est.fit(None, sample.t, sample.y, z=sample.z, clusters=sample.clusters)
        else:
            est.fit(None, sample.t, sample.y, z=sample.z)
    lower, upper = est.effect_interval(level=LEVEL)
    return float(lower), float(upper)


def two_stage_intervals(sample: Sample) -> tuple[tuple[float, float], tuple[float, float]]:
    """Classical and robust intervals of two-stage least squares."""
    y, t, z = (column - column.mean(axis=0) for column in (sample.y, sample.t, sample.z))
    fitted = z @ np.linalg.lstsq(z, t)[0]
    beta = fitted @ y / (fitted @ t)
    e = y - t * beta
    score = fitted * e
    if sample.clusters is not None:
        score = np.bincount(sample.clusters, score)
    classical = np.sqrt(e @ e / len(e) / (fitted @ t))
    robust = np.sqrt(score @ score) / abs(fitted @ t)
    reach = stats.norm.ppf((1 + LEVEL) / 2)
    return tuple((beta - reach * se, beta + reach * se) for se in (classical, robust))


def intervals(sample: Sample, seed: int, methods: tuple[str, ...]) -> Iterator[tuple]:
    """Method, whether it covers the effect, and its width."""
    classical, robust = two_stage_intervals(sample)
    found = {"2sls": classical, "robust": robust}
    if "gmm" in methods:
        found["gmm"] = quasi_posterior_interval(sample)
    if "normal" in methods:
        found["normal"] = sampled_interval(sample, seed)
    for method, (lower, upper) in found.items():
        yield method, lower <= EFFECT <= upper, upper - lower
    if "ar" in methods:
        arguments = (sample.y, sample.t, sample.z)
        test = anderson_rubin(*arguments, effect=EFFECT, clusters=sample.clusters)
        region = anderson_rubin_confidence_set(*arguments, level=LEVEL, clusters=sample.clusters)
        width = sum(upper - lower for lower, upper in region.intervals)
        yield "ar", test.p_value > 1 - LEVEL, width


def simulate(
    draw: Callable[[np.random.Generator], Sample],
    replications: int,
    seed: int | list[int],
    methods: tuple[str, ...] = METHODS,
) -> dict[str, tuple[float, float]]:
    """Coverage and median width by method."""
    covered: dict[str, list[bool]] = {method: [] for method in methods}
    width: dict[str, list[float]] = {method: [] for method in methods}
    for child in np.random.SeedSequence(seed).spawn(replications):
        sample = draw(np.random.default_rng(child))
        sampler_seed = int(child.generate_state(1)[0] >> 1)
        for method, hit, size in intervals(sample, sampler_seed, methods):
            if method in covered:
                covered[method].append(hit)
                width[method].append(size)
    return {m: (float(np.mean(covered[m])), float(np.median(width[m]))) for m in methods}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    methods = tuple(options.methods)
    table = []
    print(f"{'':36}" + "".join(f"{method:>16}" for method in methods))
    for index, (name, draw) in enumerate(DESIGNS.items()):
        begin = time.perf_counter()
        result = simulate(draw, options.replications, [options.seed, index], methods)
        cells = "".join(f"{hit:9.3f} {size:6.3g}" for hit, size in result.values())
        print(f"{name:36}{cells}   ({time.perf_counter() - begin:.0f} s)", flush=True)
        table.append([name, *(f"{hit:.3f} ({size:.3g})" for hit, size in result.values())])
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with options.output.open("w", newline="") as file:
            csv.writer(file).writerows([["design", *methods], *table])


if __name__ == "__main__":
    main()

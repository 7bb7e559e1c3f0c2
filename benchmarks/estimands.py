"""Whose effect: 2SLS with covariates against reweighting, and size and power of the tests.

``python benchmarks/estimands.py --output docs/_data`` writes the two tables of docs/estimand.rst,
in less than five minutes on one core.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from skbayesiv import TwoStageLS
from skbayesiv.diagnostics import (
    complier_effects,
    cross_effects,
    effect_weighting,
    instrument_linearity,
    instrument_validity,
)
from skbayesiv.exceptions import EstimandWarning

type Rng = np.random.Generator
LEVEL = 0.95
POPULATION = 1_000_000  # rows that the true means are taken over


@dataclass(frozen=True)
class Experiment:
    """Rows of an experiment, and what only a simulation knows.

    Attributes
    ----------
    x, t, y, z : ndarray
    complier : ndarray of bool of shape (n,)
    effect : ndarray of shape (n,)
        Of each person.
    e : ndarray of shape (n,)
        Probability of assignment.
    """

    x: np.ndarray
    t: np.ndarray
    y: np.ndarray
    z: np.ndarray
    complier: np.ndarray
    effect: np.ndarray
    e: np.ndarray

    @property
    def truths(self) -> tuple[float, float]:
        """Mean effect on compliers, and on treated ones."""
        effect, e = self.effect[self.complier], self.e[self.complier]
        return float(effect.mean()), float(np.average(effect, weights=e))


def experiment(
    rng: Rng, x: Any, e: Any, share: Any, effect: Any, baseline: Any, always: float = 0.0
) -> Experiment:
    """Assign by e, let a share comply and some take it anyway."""
    n = len(e)
    z, kind = (rng.random(n) < e).astype(float), rng.random(n)
    complier = kind < share
    t = np.where(complier, z, (kind > 1.0 - always).astype(float))
    y = baseline + effect * t + rng.normal(size=n)
    return Experiment(x, t, y, z, complier, effect, e)


def stratified(
    rng: Rng,
    n: int = 2000,
    assigned: tuple[float, float] = (0.95, 0.5),
    shares: tuple[float, float] = (0.9, 0.3),
    effects: tuple[float, float] = (0.5, 2.0),
) -> Experiment:
    """Two strata, a dummy of one as covariate."""
    g = rng.integers(0, 2, n)
    e, share, effect = (np.array(pair)[g] for pair in (assigned, shares, effects))
    return experiment(rng, g[:, None] * 1.0, e, share, effect, g)


def many_strata(rng: Rng, n: int = 400, strata: int = 20) -> Experiment:
    """Twenty strata of twenty rows, seven in ten assigned."""
    g = np.arange(n) % strata
    x = (g[:, None] == np.arange(1, strata)).astype(float)
    share = np.where(g % 2 == 0, 0.9, 0.5)
    return experiment(rng, x, np.where(g % 4 < 2, 0.8, 0.6), share, 1.0 + g % 2, g / strata)


def randomised(rng: Rng, n: int = 2000) -> Experiment:
    """Assignment by a coin; compliance and effects differ by a covariate."""
    x = rng.normal(size=(n, 1))
    one = x[:, 0]
    return experiment(rng, x, np.full(n, 0.5), expit(one), 1.0 + one, one)


def curved(rng: Rng, n: int = 2000, share: float = 0.6, step: bool = False) -> Experiment:
    """Assignment is a curve in the covariate, as outcomes are: a logit, or two steps."""
    x = rng.normal(size=(n, 1))
    one = x[:, 0]
    e = np.where((one > -0.5) & (one < 1.0), 0.8, 0.2) if step else expit(1.5 * one)
    return experiment(rng, x, e, np.full(n, share), 1.0 + 0.5 * one, one + one**3 / 3.0)


ESTIMATES: dict[str, Callable[[Rng], Experiment]] = {
    "stratified, 2 strata": stratified,
    "stratified, even effects": lambda rng: stratified(rng, effects=(1.0, 1.0)),
    "stratified, 20 small strata": many_strata,
    "randomised": randomised,
    "E[z | x] a logit": curved,
    "E[z | x] two steps, no logit": lambda rng: curved(rng, step=True),
}


def estimates(found: Experiment) -> tuple[np.ndarray, np.ndarray, bool]:
    """Estimates and errors: 2SLS, compliers, treated ones; and whether the fit warned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        est = TwoStageLS().fit(found.x, found.t, found.y, z=found.z)
    warned = any(isinstance(one, EstimandWarning) for one in est.warnings_)
    error = (est.effect_interval(level=LEVEL)[1] - est.effect_) / 1.959964
    own = complier_effects(found.y, found.t, found.z, found.x)
    numbers = [(float(est.effect_), float(error))]
    numbers += [(one.estimate, one.std_error) for one in (own.compliers, own.treated)]
    value, std_error = np.array(numbers).T
    return value, std_error, warned


def estimate_table(replications: int) -> pd.DataFrame:
    """Bias and coverage of both effects, by either estimate."""
    rows = {}
    for name, draw in ESTIMATES.items():
        truths = np.repeat(draw_population(draw), 2)
        values, errors, warned = zip(*_attempts(draw, replications), strict=True)
        at = [0, 1, 0, 2]  # 2SLS and reweighted, for compliers and for treated ones
        value, error = np.array(values)[:, at], np.array(errors)[:, at]
        bias = value.mean(axis=0) - truths
        covers = (np.abs(value - truths) < 1.959964 * error).mean(axis=0)
        cells = [f"{b:+.3f} ({c:.3f})" for b, c in zip(bias, covers, strict=True)]
        rows[name] = [f"{truths[0]:.2f}", *cells[:2], f"{truths[2]:.2f}", *cells[2:]]
        rows[name] += [f"{np.mean(warned):.3f}", str(len(values))]
    columns = [
        "on compliers",
        "2SLS",
        "reweighted",
        "on treated compliers",
        "2SLS of these",
        "reweighted to these",
    ]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[*columns, "warned", "samples"])
    return table.rename_axis("design")


def draw_population(draw: Callable[..., Experiment]) -> tuple[float, float]:
    """True means: those of many samples."""
    parts = [draw(np.random.default_rng([1, seed])) for seed in range(POPULATION // 2000)]
    whole = {name: np.concatenate([getattr(part, name) for part in parts])
             for name in Experiment.__dataclass_fields__}  # fmt: skip
    return Experiment(**whole).truths


def _attempts(
    draw: Callable[..., Experiment], replications: int
) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Estimates of each sample; none of one that has a stratum with one arm, which is refused."""
    for seed in range(replications):
        try:
            yield estimates(draw(np.random.default_rng([0, seed])))
        except ValueError:
            continue


def linear(rng: Rng, n: int = 500, heavy: bool = False) -> tuple[np.ndarray, ...]:
    """A coin, covariates that do nothing to effects or compliance: normal, or log-normal."""
    x = rng.normal(size=(n, 3))
    x = np.exp(x) if heavy else x
    z = rng.integers(0, 2, n)
    t = z * (rng.random(n) < 0.6)
    return x[:, 0] + t + rng.normal(size=n), t, z, x


def probability(rng: Rng, shape: str, n: int = 1000) -> tuple[np.ndarray, ...]:
    """Assignment with a probability linear in x, a logit, or one of a product of covariates."""
    x = rng.normal(size=(n, 2))
    one = x[:, 0] = rng.uniform(-1.0, 1.0, size=n) if shape == "linear" else x[:, 0]
    shapes = {
        "linear": 0.5 + 0.4 * one,
        "logit": expit(2.0 * one),
        "product": expit(x.prod(axis=1)),
    }
    z = rng.random(n) < shapes[shape]
    t = z * (rng.random(n) < 0.6)
    return one, t, z, x


def arms(
    rng: Rng, comply: float, direct: float = 0.0, n: int = 1000, always: float = 0.3
) -> tuple[np.ndarray, ...]:
    """Compliers, and a direct effect of assignment on the outcome."""
    z, kind = rng.integers(0, 2, n), rng.random(n)
    t = np.where(kind < always, 1, np.where(kind < always + comply, z, 0))
    return rng.normal(size=n) + t + direct * z, t, z


def several(
    rng: Rng, cross: float = 0.0, same: float = 0.0, n: int = 800
) -> tuple[np.ndarray, ...]:
    """Two treatments; cross effects that change sign at the median of x, or do not."""
    x = rng.normal(size=n)
    z = rng.normal(size=(n, 2)) + x[:, None]
    upper = np.where(x > 0.0, 1.0, -1.0)[:, None]
    differs = 0.0 if same else 0.25  # then neither half is like the whole
    own = z * (1.0 + differs * upper * np.array([1.0, -1.0]))
    t = own + (same + cross * upper) * z[:, ::-1] + rng.normal(size=(n, 2)) + x[:, None]
    return x, t, z, x


def _of(draw: Callable[[Rng], Experiment]) -> Callable[[Rng], tuple[np.ndarray, ...]]:
    def arrays(rng: Rng) -> tuple[np.ndarray, ...]:
        found = draw(rng)
        return found.y, found.t, found.z, found.x

    return arrays


def _reset(*data: np.ndarray) -> float:
    return instrument_linearity(*data).test.p_value


def _weighting(name: str) -> Callable[..., float]:
    return lambda *data: getattr(effect_weighting(*data), name).p_value


def _kitagawa(*data: np.ndarray) -> float:
    return instrument_validity(*data, n_draws=500).p_value


def _cross(*data: np.ndarray) -> float:
    return cross_effects(*data).test.p_value


# Test, whether its null holds, design, draw.
TESTS: list[tuple[str, str, str, Callable[..., float], Callable[[Rng], Any]]] = [
    ("assignment by x", "yes", "a coin, 500 rows", _weighting("assignment"), linear),
    ("assignment by x", "no", "50% and 60% assigned, 1,000 rows", _weighting("assignment"),
     _of(lambda r: stratified(r, n=1000, assigned=(0.5, 0.6)))),
    ("assignment by x", "no", "a logit of x1 x2", _weighting("assignment"),
     lambda r: probability(r, "product")),
    ("first stage by x", "yes", "normal x, 500 rows", _weighting("first_stage"), linear),
    ("first stage by x", "yes", "log-normal x, 500 rows", _weighting("first_stage"),
     lambda r: linear(r, heavy=True)),
    ("first stage by x", "no", "shares .6 and .7, 1,000 rows", _weighting("first_stage"),
     _of(lambda r: stratified(r, n=1000, assigned=(0.5, 0.5), shares=(0.6, 0.7)))),
    ("effects by x", "yes", "normal x, 500 rows", _weighting("effects"), linear),
    ("effects by x", "no", "effects .5 and 1, 1,000 rows", _weighting("effects"),
     _of(lambda r: stratified(r, n=1000, assigned=(0.5, 0.5), shares=(0.6, 0.6),
                              effects=(0.5, 1.0)))),
    ("RESET of z on X", "yes", "linear probability, 1,000 rows", _reset,
     lambda r: probability(r, "linear")),
    ("RESET of z on X", "no", "a logit of 2 x1, 1,000 rows", _reset,
     lambda r: probability(r, "logit")),
    ("RESET of z on X", "no", "a logit of x1 x2", _reset, lambda r: probability(r, "product")),
    ("Kitagawa", "yes", "no compliers: at the bound", _kitagawa, lambda r: arms(r, 0.0)),
    ("Kitagawa", "yes", "three in ten comply", _kitagawa, lambda r: arms(r, 0.3)),
    ("Kitagawa", "no", "direct effect .5 sd, one in ten comply", _kitagawa,
     lambda r: arms(r, 0.1, 0.5)),
    ("Kitagawa", "no", "direct effect .5 sd, three in ten comply", _kitagawa,
     lambda r: arms(r, 0.3, 0.5)),
    ("Kitagawa", "no", "direct effect 1 sd, three in ten comply", _kitagawa,
     lambda r: arms(r, 0.3, 1.0)),
    ("cross effects", "yes", "none, 800 rows", _cross, several),
    ("cross effects", "no", "of other signs below and above", _cross,
     lambda r: several(r, cross=0.15)),
    ("cross effects", "no", "the same everywhere", _cross, lambda r: several(r, same=0.5)),
]  # fmt: skip


def test_table(replications: int) -> pd.DataFrame:
    """Share of samples in which each test rejects at 5%."""
    rows = []
    for name, null, design, p_value, draw in TESTS:
        found = [p_value(*draw(np.random.default_rng([2, seed]))) for seed in range(replications)]
        rows.append((name, design, null, f"{np.mean(np.array(found) < 0.05):.3f}"))
    columns = ["test", "design", "null holds", "rejects at 5%"]
    return pd.DataFrame(rows, columns=columns).set_index("test")


def main() -> None:
    """Simulate, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=500)
    parser.add_argument("--output", type=Path, help="folder for the two CSV files")
    args = parser.parse_args()
    tables = {
        "estimands.csv": estimate_table(args.replications),
        "estimand_tests.csv": test_table(args.replications),
    }
    for name, table in tables.items():
        print(table.to_string(), end="\n\n")
        if args.output is not None:
            table.to_csv(args.output / name)


if __name__ == "__main__":
    main()

"""Hostile histories of earlier experiments, and what is made of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from fuzz.arguments import arguments_of
from fuzz.case import Case, Wrong, argument_names, choose
from fuzz.experiment import draw_experiment
from fuzz.posterior import ROUGH, TEMPLATE, fitted
from fuzz.two_stage import fitted as classical
from fuzz.use import printed
from fuzz.values import odd, shown

from skbayesiv import BayesianIV, HierarchicalBayesianIV

OWN = sorted(set(HierarchicalBayesianIV().get_params()) - set(TEMPLATE.get_params()))
NUMBERS = {
    "a column": lambda rng, j: rng.normal(1.0, 0.3, (j, 1)),
    "two columns": lambda rng, j: rng.normal(1.0, 0.3, (j, 2)),
    "of three dimensions": lambda rng, j: np.ones((j, 1, 1)),
    "with NaN": lambda rng, j: np.where(np.arange(j) == 0, np.nan, 1.0),
    "all NaN": lambda rng, j: np.full(j, np.nan),
    "with inf": lambda rng, j: np.where(np.arange(j) == 0, np.inf, 1.0),
    "zero": lambda rng, j: np.zeros(j),
    "negative": lambda rng, j: -np.ones(j),
    "tiny": lambda rng, j: np.full(j, 1e-300) * (1 + np.arange(j)),
    "denormal": lambda rng, j: np.full(j, 5e-324),
    "huge": lambda rng, j: np.full(j, 1e300) * (1 + np.arange(j) / 10),
    "uneven": lambda rng, j: 10.0 ** rng.integers(-12, 13, j),
    "far away": lambda rng, j: np.full(j, 1e12) + np.arange(j),
    "whole": lambda rng, j: np.arange(1, j + 1),
    "Booleans": lambda rng, j: np.ones(j, dtype=bool),
    "complex": lambda rng, j: np.ones(j) + 1j,
    "dates": lambda rng, j: np.full(j, np.datetime64("2026-01-01")),
    "durations": lambda rng, j: np.arange(1, j + 1).astype("timedelta64[s]"),
    "masked": lambda rng, j: np.ma.masked_array(np.ones(j), mask=np.arange(j) == 0),
}
OBJECTS = {
    "strings": lambda rng, j: ["a"] * j,
    "strings of numbers": lambda rng, j: ["1.5"] * j,
    "with None": lambda rng, j: [None, *[1.0] * (j - 1)],
    "ragged": lambda rng, j: [[1.0], *[[1.0, 2.0]] * (j - 1)],
    "a generator": lambda rng, j: (1.0 for _ in range(j)),
    "odd": lambda rng, j: odd(rng),
}
INDEXES = ["abcdefghijkl", [1] * 12, "aabbccddeeff", [np.nan] * 12, range(5, 17), [None] * 12]
COLUMNS = [["t", "u"], ["t", "t"], [0, 1], ["x", "y"]]


def draw_numbers(rng, j, positive):
    """Effects or errors of j experiments, and a note."""
    if rng.random() < 0.4:
        value, kind = rng.normal(1.0, 0.3, j), "plain"
        value = np.abs(value) if positive else value
    else:
        kind = choose(rng, [*NUMBERS, *OBJECTS])
        value = (NUMBERS | OBJECTS)[kind](rng, j)
    if not isinstance(value, np.ndarray) or value.ndim > 2 or rng.random() > 0.3 or not value.ndim:
        return value, kind
    index = list(choose(rng, INDEXES))[: len(value)]
    if value.ndim == 1:
        name = choose(rng, [None, "t", 3])
        return pd.Series(value, index=index, name=name), f"{kind}, index {index}"[:60]
    columns = choose(rng, COLUMNS)[: value.shape[1]]
    return pd.DataFrame(value, index=index, columns=columns), f"{kind}, columns {columns}"[:60]


def draw_history(rng):
    """Parameters of a history, and notes."""
    j = int(choose(rng, [1, 2, 3, 6, 12]))
    effects, of_effects = draw_numbers(rng, j, positive=False)
    errors, of_errors = draw_numbers(rng, j, positive=True)
    out = {"effects": effects, "std_errors": errors}
    notes = [f"effects {of_effects}", f"std_errors {of_errors}"]
    if rng.random() < 0.3:
        name = choose(rng, OWN)
        out[name] = odd(rng, "half-normal", "half-t", 0.3)
        notes += shown(**{name: out[name]})
    return out, notes


def analyse(rng):
    """meta_analysis of a hostile history."""
    parameters, notes = draw_history(rng)
    est = HierarchicalBayesianIV(**ROUGH).set_params(**parameters)
    return Case(
        "HierarchicalBayesianIV.meta_analysis",
        lambda: with_frame(printed(est.meta_analysis())),
        argument_names(HierarchicalBayesianIV),
        given_of(parameters),
        est,
        check=lambda result: is_pooled(result, parameters),
        # A prediction of few experiments may have no mean, and one has no heterogeneity.
        infinite=(r"predicted\.(mean|sd)", "predictive", r"mean_effect\.sd", "heterogeneity"),
        notes=notes,
    )


def given_of(parameters):
    return [value for value in parameters.values() if isinstance(value, np.ndarray | list)]


def with_frame(result):
    """The result, after its table was made."""
    result.to_frame()
    return result


def is_pooled(result, parameters):
    """Raise `Wrong` unless Cochran's Q is the plain one, and intervals are in order."""
    for item in result.treatments:
        for part in (item.mean_effect, item.predicted):
            if not part.lower <= part.median <= part.upper:
                raise Wrong(f"{part} is not in order")
    given = [parameters[name] for name in ("effects", "std_errors")]
    try:
        b, s = (np.asarray(value, dtype=np.longdouble) for value in given)
    except (TypeError, ValueError) as error:
        raise Wrong("an answer for what are no numbers") from error
    named = any(isinstance(value, pd.Series | pd.DataFrame) for value in given)
    if named or b.ndim != 1 or b.shape != s.shape:
        return
    b, s = b[~np.isnan(b)], s[~np.isnan(b)]
    w = 1 / s**2
    q = (w * (b - (w * b).sum() / w.sum()) ** 2).sum()
    found = result.treatments[0].heterogeneity.q
    if not abs(found - q) <= 1e-8 * q + 1e-13 * (w * b**2).sum() + 1e-300:
        raise Wrong(f"Cochran's Q is {found}, not {q}")


def fit(rng):
    """A fit under a hostile history."""
    parameters, notes = draw_history(rng)
    est = HierarchicalBayesianIV(**ROUGH).set_params(**parameters)
    arguments = arguments_of(draw_experiment(rng, small=False, plain=True))
    return Case(
        "HierarchicalBayesianIV.fit",
        lambda: est.fit(**arguments.values),
        argument_names(BayesianIV.fit, est),
        given_of(parameters),
        est,
        notes=notes,
    )


def from_estimators(rng):
    """Histories made of estimators, or of what is none."""
    pool = [classical(), classical(rows=1), fitted(), fitted(HierarchicalBayesianIV)]
    pool += [classical(treated=False), BayesianIV(), BayesianIV]
    some = [choose(rng, pool) for _ in range(int(rng.integers(0, 4)))]
    some = some if rng.random() < 0.6 else odd(rng, tuple(some), some[:1] * 2, iter(some), pool[0])
    options = {} if rng.random() < 0.5 else {"names": odd(rng, "ab", ["a", "b"], ["a", "a"])}
    make = HierarchicalBayesianIV.from_estimators
    return Case(
        "HierarchicalBayesianIV.from_estimators",
        lambda: make(some, **options),
        argument_names(make) | {"est"},
        notes=shown(estimators=some, **options),
    )

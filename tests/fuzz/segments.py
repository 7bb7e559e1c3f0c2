"""Hostile segments: labels that are none, parts that say nothing, and what is asked of a fit."""

from __future__ import annotations

import copy
import warnings
from functools import cache

import numpy as np
import pandas as pd
from fuzz.arguments import arguments_of
from fuzz.case import EITHER, ERROR, Case, argument_names, choose
from fuzz.experiment import draw_experiment
from fuzz.posterior import HISTORY, ROUGH
from fuzz.use import printed
from fuzz.values import odd, shown

from skbayesiv import HierarchicalBayesianIV

LABELS = {
    "few": lambda rng, n: rng.integers(0, 3, n),
    "words": lambda rng, n: np.array(["a", "b", ""])[rng.integers(0, 3, n)],
    "one": lambda rng, n: np.zeros(n, dtype=int),
    "one row": lambda rng, n: np.where(np.arange(n) == 0, 5, rng.integers(0, 2, n)),
    "each row": lambda rng, n: np.arange(n),
    "Booleans": lambda rng, n: rng.random(n) < 0.5,
    "mixed": lambda rng, n: np.array([1, "1", "b", 2.0], dtype=object)[rng.integers(0, 4, n)],
    "missing": lambda rng, n: [None, *["a"] * (n - 1)],
    "with NaN": lambda rng, n: np.where(np.arange(n) == 0, np.nan, 1.0),
    "halves": lambda rng, n: rng.integers(0, 3, n) / 2,
    "dates": lambda rng, n: np.datetime64("2026-01-01") + rng.integers(0, 2, n),
    "categories": lambda rng, n: pd.Categorical(np.array(list("ab"))[rng.integers(0, 2, n)]),
    "two columns": lambda rng, n: np.ones((n, 2)),
    "short": lambda rng, n: np.zeros(max(n - 1, 0), dtype=int),
    "odd": lambda rng, n: odd(rng),
}
WRONG = {"missing", "with NaN", "halves", "two columns", "short"}
COVARIATES = [None, pd.DataFrame({"w": [0.0, 1.0, 3.0]}), pd.DataFrame({"w": [np.nan, 1.0, 2.0]})]


def fit(rng):
    """A fit to segments."""
    arguments = arguments_of(draw_experiment(rng, small=rng.random() < 0.3, plain=True))
    kind = choose(rng, LABELS)
    labels = LABELS[kind](rng, len(arguments.values["y"]))
    options = {"likelihood": choose(rng, ["normal", "normal", "gmm"])}
    if rng.random() < 0.3:
        options["segment_covariates"] = choose(rng, COVARIATES)
    if rng.random() < 0.2:
        options |= HISTORY
    est = HierarchicalBayesianIV(**ROUGH).set_params(**options)
    return Case(
        "HierarchicalBayesianIV.fit",
        lambda: est.fit(**arguments.values, segments=labels),
        argument_names(HierarchicalBayesianIV.fit, est) | {"X"},
        [],
        est,
        must=ERROR if kind in WRONG else EITHER,
        notes=[f"segments {kind}", *shown(**options)],
    )


@cache
def _fitted(likelihood):
    experiment = draw_experiment(np.random.default_rng(1), small=False, plain=True)
    arguments = arguments_of(experiment).values
    labels = np.arange(len(arguments["y"])) % 3
    est = HierarchicalBayesianIV(**ROUGH, likelihood=likelihood)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return est.fit(**arguments, segments=labels)


def report(rng):
    """segment_report under odd costs and regions."""
    est = copy.copy(_fitted(choose(rng, ["normal", "gmm"])))
    options = {
        name: odd(rng, 0.1, (-0.1, 0.1), 0) for name in ("cost", "rope") if rng.random() < 0.5
    }
    return Case(
        "HierarchicalBayesianIV.segment_report",
        lambda: printed(est.segment_report(**options)),
        argument_names(HierarchicalBayesianIV.segment_report),
        [],
        est,
        infinite=("table", "policies", "within", "one_effect"),
        notes=shown(**options),
    )


def segment(rng):
    """The fit of a segment, or of what is none."""
    est = copy.copy(_fitted(choose(rng, ["normal", "gmm"])))
    label = choose(rng, [0, 1, 2]) if rng.random() < 0.5 else odd(rng, 7, "0", np.int64(1))
    return Case(
        "HierarchicalBayesianIV.segment",
        lambda: est.segment(label).effect_,
        argument_names(HierarchicalBayesianIV.segment),
        [],
        est,
        notes=shown(label=label),
    )

"""Hostile calls of the diagnostics of whose effect it is: what has no units must not change."""

from __future__ import annotations

import dataclasses
import inspect
import re

import numpy as np
from fuzz import diagnostic
from fuzz.arguments import draw_arguments
from fuzz.case import EITHER, ERROR, Case, Wrong, argument_names, choose, nothing
from fuzz.experiment import Experiment
from fuzz.outcome import numbers
from fuzz.reference import Scaled, used
from fuzz.two_stage import answer_of, owing
from fuzz.use import printed
from fuzz.values import odd, seed, shown

from skbayesiv import diagnostics

TABLES = ["to_frame"]
# Functions, the methods of their results, and which need covariates.
FUNCTIONS = {
    "complier_effects": ("ComplierEffects", ["to_frame", "lines"]),
    "cross_effects": ("CrossEffects", TABLES),
    "effect_weighting": ("EffectWeighting", TABLES),
    "instrument_linearity": ("InstrumentLinearity", []),
    "instrument_validity": ("InstrumentValidity", []),
    "whose_effect": ("WhoseEffect", TABLES),
}
BY_COVARIATES = ["cross_effects", "effect_weighting", "instrument_linearity"]
# Open intervals of outcomes; strata whose instrument does not vary, or that have no compliers.
INFINITE = (r"(^|validity)\.(low|high)$", r"strata\.(first stage|effect|weight)\[")
OPTIONS = {
    "propensity": ["cells", "logit", "auto", "probit"],
    "level": [0.9, 0.5, 1e-9, 1 - 1e-9],
    "size": [0.01, 0.5, 1e-9, 1 - 1e-9],
    "fit_intercept": [True, False],
    "n_bins": [2, 5, 19, 1],
    "n_draws": [1, 50, 0, 2.0],
    "random_state": [0, 1, -1],  # None draws from the generator that all share
}
# Numbers that have no units, and those of compliers, that have these of y and t.
TEST = r"(statistic|p_value)$|strata\.(weight|rows)\["
ON_COMPLIERS = re.compile(r"(?:^|compliers)\.(compliers|treated|untreated)\.(estimate|std_error)$")
SHARE = re.compile(r"(^|compliers)\.share\.(estimate|std_error)$")


def draw_strata(rng, **shape):
    """Covariates of which assignment, compliance and effects depend, in strata or in no such."""
    n = int(choose(rng, [4, 8, 15])) if rng.random() < 0.1 else 60 + int(rng.integers(0, 120))
    k = 1 if rng.random() < 0.8 else 2
    q = k + int(rng.random() < 0.15)
    g, x = rng.integers(0, 3, n), rng.normal(size=(n, 2))
    covariates = {
        "no covariates": x[:, :0],
        "a dummy": g[:, None] == 1,
        "dummies": g[:, None] == [1, 2],
        "codes": g[:, None],
        "numbers": x[:, : int(rng.integers(1, 3))],
        "a dummy and numbers": np.column_stack([g == 1, x]),
    }
    what = choose(rng, covariates)
    lean = 0.3 * (g == 1) + 0.3 * x[:, 0]
    z = rng.normal(size=(n, q)) + lean[:, None]
    notes = [what]
    if rng.random() < 0.8:
        low, high = choose(rng, [(0.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (7.0, 3.0)])
        z, notes = np.where(z > 0, high, low), [*notes, f"z {low:g} or {high:g}"]
    hidden = rng.normal(size=(n, 1))
    moved = 1.5 * (z - z.mean(axis=0)) @ np.eye(q, k) / z.std(axis=0).max()
    t = moved * (1.0 + 0.5 * (g == 2)[:, None]) + hidden + 0.5 * rng.normal(size=(n, k))
    if rng.random() < 0.7:
        t, notes = (t > 0).astype(float), [*notes, "t 0 or 1"]
    y = t.sum(axis=1, keepdims=True) * (1.0 + (g == 1)[:, None]) + hidden + lean[:, None]
    if rng.random() < 0.3:
        y, notes = np.round(y), [*notes, "y rounded"]
    columns = {"X": covariates[what].astype(float), "t": t, "z": z, "y": y}
    out = Experiment(columns, notes=notes)
    if n < 60:
        out.spoil(f"{n} rows")
    return out


def of_arrays(rng):
    """A function of arrays, whose result is printed and tabulated."""
    name = choose(rng, FUNCTIONS)
    function, (kind, methods) = getattr(diagnostics, name), FUNCTIONS[name]
    arguments = draw_arguments(rng, make=draw_strata)
    options, wrong = draw_options(rng, inspect.signature(function).parameters)
    method = choose(rng, methods) if methods and rng.random() < 0.5 else None
    case = Case(
        f"diagnostics.{name}" if method is None else f"diagnostics.{kind}.{method}",
        lambda: read(function(**arguments.values, **options), method),
        argument_names(function),
        given=list(arguments.values.values()),
        infinite=INFINITE,
        notes=[name, *shown(**options), *arguments.notes],
    )
    parameters = {"method": "2sls", "cov_type": "robust", "debiased": False}
    parameters["fit_intercept"] = options.get("fit_intercept", True)
    answer = None if wrong else answer_of(arguments, parameters)
    applies = answer is not None and has_answer(name, arguments, options)
    owed = owing(case, [arguments.must] if applies else [arguments.must, EITHER], answer)
    sure = answer is not None and answer.is_certain and keeps_digits(arguments, parameters)
    check = (
        (lambda result: unchanged(rng, result, function, arguments, options)) if sure else nothing
    )
    return dataclasses.replace(owed, check=check)


def read(result, method):
    """The result, after it has been printed and a method of it called."""
    printed(result)
    if method is not None:
        list(getattr(result, method)())
    return result


def draw_options(rng, known):
    """Keyword options of a function, and whether one of them may be wrong."""
    options = {name: choose(rng, OPTIONS[name]) for name in OPTIONS if name in known}
    out = {name: value for name, value in options.items() if rng.random() < 0.25}
    wrong = out.get("propensity") == "probit" or out.get("n_bins") == 1
    wrong |= out.get("n_draws") in (0, 2.0) or out.get("random_state") == -1
    if not options or rng.random() > 0.1:
        return out, wrong
    name = choose(rng, options)
    return out | {name: seed(rng) if name == "random_state" else odd(rng)}, True


def has_answer(name, arguments, options):
    """Whether a function is sure to be defined: with covariates an arm may lack in a cell."""
    x, t, z = (arguments.numbers[role] for role in ("X", "t", "z"))
    if name == "whose_effect":
        return True
    if name in BY_COVARIATES:
        several = t.shape[1] > 1 or name != "cross_effects"
        centred = options.get("fit_intercept", True) and "clusters" not in arguments.values
        return bool(x.shape[1] and several and centred)
    two = t.shape[1] == z.shape[1] == 1 and len(np.unique(z)) == 2
    binary = np.isin(t, (0.0, 1.0)).all() or name != "instrument_validity"
    return bool(two and binary and not x.shape[1])


def keeps_digits(arguments, parameters):
    """Whether no covariate, nearly constant, is the constant, and no row outweighs all others."""
    weight = arguments.numbers["sample_weight"]
    some = np.ones(1) if weight is None else np.asarray(weight, dtype=float)
    some = some[some > 0.0]
    return parameters["fit_intercept"] is True and some.max() < 1e6 * some.min()


def clean(rng, numbers, fit_intercept):
    """Standardised rows in another order, whole weights as repeated rows; and sizes of t and y."""
    weight, (x, t, z, y) = used(numbers["sample_weight"], *(numbers[r] for r in "Xtzy"))
    kept = None if numbers["sample_weight"] is None else weight
    rows, sizes = np.arange(len(y)), {}
    if kept is not None and (weight == np.round(weight)).all() and weight.max() < 5:
        rows, kept = np.repeat(rows, weight.astype(int)), None
    rows = rng.permutation(rows)
    out = {}
    for name, table in (("X", x), ("t", t), ("z", z), ("y", y)):
        sizes[name] = np.ones(table.shape[1])
        if name == "t" and np.isin(table, (0.0, 1.0)).all():
            out[name] = table.astype(float)[rows]
        elif table.shape[1]:
            scaled = Scaled.of(table, weight, fit_intercept)
            sizes[name] = np.where(scaled.length > 0, scaled.length, 1)
            # Not of the weighted table: equal values must stay equal.
            out[name] = ((table - scaled.mean) / sizes[name]).astype(float)[rows]
    if kept is not None:
        out["sample_weight"] = kept.astype(float)[rows]
    if numbers["clusters"] is not None:
        given = numbers["sample_weight"]
        clusters = np.asarray(numbers["clusters"])
        out["clusters"] = (clusters if given is None else clusters[np.asarray(given) > 0])[rows]
    return out, sizes


def unchanged(rng, result, function, arguments, options):
    """Raise `Wrong` if standardised, repeated rows in another order say something else."""
    known = inspect.signature(function).parameters
    constant = options.get("fit_intercept", True)
    values, sizes = clean(rng, arguments.numbers, constant or "fit_intercept" not in known)
    try:
        right = function(**values, **options)
    except ValueError as error:
        raise Wrong(f"an answer, but of standardised rows: {error}") from error
    found, due = (list(comparable(r)) for r in (result, right))
    if [path for path, _ in found] != [path for path, _ in due]:
        raise Wrong(f"{found}, of standardised rows {due}")
    for (path, one), (_, other) in zip(found, due, strict=True):
        target = float(other) * units(path, sizes)
        random = "validity" in function.__name__ + path and path.endswith("p_value")
        allowed = 1e-9 * units(path, sizes) + abs(target) * (1e-5 + 1e-13 * abs(target))
        if random:
            allowed = 4.0 / np.sqrt(options.get("n_draws", 2000))
        if not (one == target or abs(one - target) <= allowed):
            raise Wrong(f"{path} is {one}, not {target} as of standardised rows")


def comparable(result):
    """Numbers that are the same up to units, and where; labels of strata are in units."""
    for path, value in numbers(result):
        if re.search(TEST, path) or ON_COMPLIERS.search(path) or SHARE.search(path):
            yield re.sub(r"\[.*", "", path), float(value)


def units(path, sizes):
    """What a number of standardised rows is multiplied by."""
    if ON_COMPLIERS.search(path):
        return float(sizes["y"][0] / sizes["t"][0])
    return float(sizes["t"][0]) if SHARE.search(path) else 1.0


def of_estimator(rng):
    """A function of a fitted estimator, a design, sums, or of what is neither."""
    case = diagnostic.of_estimator(rng, FUNCTIONS, draw_options)
    sums = "a fit to moments" in case.notes
    return dataclasses.replace(case, must=ERROR if sums else case.must, infinite=INFINITE)

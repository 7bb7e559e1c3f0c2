"""Hostile calls of the diagnostics: units, means and containers must not change a test."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import warnings

import numpy as np
from fuzz.arguments import draw_arguments
from fuzz.case import ANSWER, EITHER, ERROR, Case, Wrong, argument_names, choose, worst
from fuzz.reference import LONG, Scaled
from fuzz.two_stage import answer_of, fitted

from skbayesiv import diagnostics
from skbayesiv.diagnostics import ConfidenceSet, HypothesisTest, partial_out, tf_critical_value

FUNCTIONS = (
    "anderson_rubin anderson_rubin_confidence_set cragg_donald effective_f first_stage hansen_j "
    "instrument_strength kleibergen_paap partial_out sargan tf_interval wooldridge_overid wu_hausman"
).split()
# A first stage or a fit without error has an infinite statistic, and a weak one an unbounded set.
INFINITE = (
    r"interval", r"\.anderson_rubin", r"\.tf\b", r"critical_value", r"\.f$", r"statistic", r"std_error_tf",
    r"\.wald$", r"\.f\b", r"f_classical",
)  # fmt: skip
NO_UNITS = ("f", "p_value", "statistic", "lm", "wald", "partial_r2", "f_classical", "p_value_wald",
            "p_value_classical", "p_values", "bias_bound", "dof", "dof_denominator")  # fmt: skip
WRONG = {
    "level": [0.0, 1.0, 95, "a", None, np.nan, [0.9], True, -1, np.float32(0.9), "0.9"],
    "size": [0.0, 1.0, 5, "a", None, np.nan, [0.05]],
    "effect": ["a", None, np.nan, [0.0, 0.0, 0.0], [], np.inf, {}, object(), 1e300, 1 + 1j, True, "1.0", [[0.0]]],
    "robust": ["yes", None, 2, np.nan],
    "debiased": ["yes", None, 2, np.array([True, False])],
    "fit_intercept": ["no", None, [], np.array([True, False])],
}  # fmt: skip


def of_arrays(rng):
    """A function of arrays."""
    name = choose(rng, FUNCTIONS)
    function = getattr(diagnostics, name)
    known = inspect.signature(function).parameters
    arguments = draw_arguments(rng, weights="sample_weight" in known, clusters="clusters" in known)
    must, notes = arguments.must, list(arguments.notes)
    options = draw_options(rng, known, arguments.values)
    wrong = [(k, v) for k, v in options.items() if k in WRONG and any(v is w for w in WRONG[k])]
    if wrong:
        notes += [f"{key}={value!r}" for key, value in wrong]
        must = worst([must, EITHER])
    answer = answer_of(arguments, {"method": "2sls", "cov_type": "robust", "debiased": False, "fit_intercept": options.get("fit_intercept", True) is not False})  # fmt: skip
    sure = answer is not None and answer.is_certain and not wrong
    applies = _applies(name, arguments, options)
    return Case(
        f"diagnostics.{name}",
        lambda: function(**arguments.values, **options),
        argument_names(function),
        given=list(arguments.values.values()),
        must=EITHER if must == ANSWER and not (sure and applies) else must,
        check=(lambda result: unchanged(result, function, arguments, options)) if sure else (lambda result: None),
        infinite=INFINITE,
        notes=[*(f"{k}={v}" for k, v in options.items() if (k, v) not in wrong), *notes],
    )  # fmt: skip


def _applies(name, arguments, options):
    """Whether a function has an answer for so many columns, with or without clusters."""
    if arguments.numbers is None:
        return False
    k, q = (arguments.numbers[role].shape[1] for role in ("t", "z"))
    if not options.get("robust", True) and "clusters" in arguments.values:
        return False
    if name in ("anderson_rubin_confidence_set", "effective_f"):
        return k == 1
    if name == "tf_interval":
        return k == q == 1
    return q > k or name not in ("sargan", "hansen_j", "wooldridge_overid")


def draw_options(rng, known, values):
    """Keyword options of a function, most of them benign."""
    out = {}
    for name in ("robust", "debiased", "fit_intercept"):
        if name in known and rng.random() < 0.4:
            out[name] = bool(rng.random() < 0.5)
    if "level" in known and rng.random() < 0.3:
        out["level"] = choose(rng, [0.5, 0.9, 0.99, 1e-9, 1 - 1e-9])
    if "effect" in known and rng.random() < 0.3:
        out["effect"] = choose(rng, [1.0, [0.0], -1e6, 1e-9])
    if rng.random() < 0.08:
        name = choose(rng, [name for name in WRONG if name in known] or ["robust"])
        if name in known:
            out[name] = choose(rng, WRONG[name])
    return out


def standardised(numbers, fit_intercept):
    """The same columns, centred and of one size: all that has no units stays."""
    weight = numbers["sample_weight"]
    n = len(numbers["y"])
    used = np.ones(n, dtype=LONG) if weight is None else np.asarray(weight).astype(LONG)
    keep = used > 0
    out = {}
    for name in ("X", "t", "z", "y"):
        if numbers[name].shape[1] or name != "X":
            table = Scaled.of(np.asarray(numbers[name])[keep], used[keep], fit_intercept)
            root = np.sqrt(used[keep] / used[keep].sum())[:, None]
            out[name] = (table.table / root).astype(float)
    for name in ("sample_weight", "clusters"):
        if numbers[name] is not None:
            out[name] = np.asarray(numbers[name])[keep]
    return out


def unchanged(result, function, arguments, options):
    """Raise `Wrong` if what has no units is another number for standardised columns."""
    if options.get("effect", 0.0) not in (0.0,) or not dataclasses.is_dataclass(result):
        return
    clean = standardised(arguments.numbers, options.get("fit_intercept", True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            right = function(**clean, **options)
        except ValueError as error:
            raise Wrong(f"an answer, but of standardised columns: {error}") from error
    for name in NO_UNITS:
        if name in {field.name for field in dataclasses.fields(result)}:
            found, due = (np.asarray(getattr(r, name), dtype=float) for r in (result, right))
            if not np.allclose(found, due, rtol=1e-5, atol=1e-9, equal_nan=True):
                raise Wrong(f"{name} is {found}, not {due} as of standardised columns")


def of_estimator(rng):
    """A function of a fitted estimator, of a design, or of what is neither."""
    name = choose(rng, FUNCTIONS)
    function = getattr(diagnostics, name)
    subjects = {
        "TwoStageLS": lambda: fitted(),
        "TwoStageLS of no treatment": lambda: fitted(treated=False),
        "TwoStageLS, not fitted": lambda: type(fitted())(),
        "a class": lambda: type(fitted()),
        "a design": lambda: partial_out(fitted()),
        "None": lambda: None,
        "a string": lambda: "TwoStageLS",
        "a dict": lambda: {},
        "an object": object,
    }
    what = choose(rng, subjects)
    subject = subjects[what]()
    extra = {} if rng.random() < 0.6 else choose(rng, [{"t": [1.0]}, {"sample_weight": [1.0]}, {"fit_intercept": False}, {"X": [[1.0]]}, {"z": "z"}])  # fmt: skip
    options = draw_options(rng, inspect.signature(function).parameters, {})
    return Case(
        f"diagnostics.{name}",
        lambda: function(subject, **options | extra),
        argument_names(function) | {"est"},
        est=copy.copy(subject) if hasattr(subject, "fit") and not isinstance(subject, type) else None,
        must=EITHER if what in ("TwoStageLS", "a design") else ERROR,
        infinite=INFINITE,
        notes=[f"y={what}", *(f"{k}={v!r}" for k, v in (options | extra).items())],
    )  # fmt: skip


NUMBERS = [0.0, 1.0, 3.84, 4.0, 10.0, 104.67, 1e300, np.inf, np.nan, -1.0, -0.0, "a", "10", None,
           [10.0], np.array([10.0, 20.0]), True, 10 + 1j, np.float32(10), object(), 5e-324, [], {}]  # fmt: skip


def critical_value(rng):
    """tf_critical_value of anything."""
    value = choose(rng, NUMBERS)
    return Case(
        "diagnostics.tf_critical_value",
        lambda: tf_critical_value(value),
        {"f"},
        given=[value],
        infinite=("",),
        check=lambda result: _is_critical(value, result),
        notes=[f"f={value!r}"],
    )


def _is_critical(f, result):
    if not (isinstance(result, float) and result >= 1.9599):
        raise Wrong(f"critical value {result!r} of f={f!r}")


def results(rng):
    """The results that can be made by hand."""
    ends = choose(rng, [((0.0, 1.0),), (), ((1.0, 0.0),), ((0.0, 2.0), (1.0, 3.0)), ((np.nan, 1.0),), "ab",
                        None, ((0.0,),), ((-np.inf, np.inf),), 1.0, (("a", "b"),)])  # fmt: skip
    value = choose(rng, [0.5, np.nan, "a", None, np.inf])
    if rng.random() < 0.5:
        return Case(
            "diagnostics.ConfidenceSet",
            lambda: ConfidenceSet(ends).contains(value),
            {"intervals", "value", "level"},
            infinite=("",),
            notes=[f"intervals={ends!r}", f"value={value!r}"],
        )  # fmt: skip
    statistic, dof = choose(rng, [0.0, 3.84, 1e300, np.inf, -1.0]), choose(rng, [None, 5.0])
    return Case(
        "diagnostics.HypothesisTest",
        lambda: HypothesisTest.wald("a test", "a null", statistic, 1, dof),
        {"statistic"},
        infinite=("statistic",),
        notes=[f"statistic={statistic!r}"],
    )  # fmt: skip

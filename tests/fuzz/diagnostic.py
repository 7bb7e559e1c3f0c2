"""Hostile calls of the diagnostics: units, means and containers must not change a test."""

from __future__ import annotations

import dataclasses
import inspect
import warnings

import numpy as np
from fuzz.arguments import draw_arguments
from fuzz.case import EITHER, ERROR, Case, Wrong, argument_names, choose, nothing
from fuzz.reference import LONG, Scaled
from fuzz.two_stage import answer_of, fitted, owing
from fuzz.values import odd, shown

from skbayesiv import TwoStageLS, diagnostics
from skbayesiv.diagnostics import ConfidenceSet, HypothesisTest, partial_out, tf_critical_value

OVERIDENTIFIED = ["sargan", "hansen_j", "wooldridge_overid"]
CONDITIONAL = ["conditional_likelihood_ratio", "conditional_likelihood_ratio_confidence_set"]
ONE_TREATMENT = ["anderson_rubin_confidence_set", "effective_f", *CONDITIONAL]
FUNCTIONS = [*OVERIDENTIFIED, *ONE_TREATMENT, "tf_interval", "anderson_rubin", "cragg_donald"]
FUNCTIONS += ["first_stage", "instrument_strength", "kleibergen_paap", "partial_out", "wu_hausman"]
# A first stage or a fit without error has an infinite statistic, and a weak one an unbounded set.
INFINITE = ("interval", "anderson_rubin", r"\.tf\b", "critical_value", r"\.f$", r"\.f\b")
INFINITE += ("statistic", r"\.strength$", "std_error_tf", r"\.wald$", "f_classical")
NO_UNITS = {"f", "p_value", "statistic", "lm", "wald", "partial_r2", "f_classical", "p_value_wald"}
NO_UNITS |= {"p_value_classical", "p_values", "bias_bound", "dof", "dof_denominator"}
SWITCHES = ("robust", "debiased", "fit_intercept")


def of_arrays(rng):
    """A function of arrays."""
    name = choose(rng, FUNCTIONS)
    function = getattr(diagnostics, name)
    known = inspect.signature(function).parameters
    arguments = draw_arguments(rng, weights="sample_weight" in known, clusters="clusters" in known)
    options, is_odd = draw_options(rng, known)
    case = Case(
        f"diagnostics.{name}",
        lambda: function(**arguments.values, **options),
        argument_names(function),
        given=list(arguments.values.values()),
        infinite=INFINITE,
        notes=[*shown(**options), *arguments.notes],
    )
    parameters = {"method": "2sls", "cov_type": "robust", "debiased": False}
    parameters["fit_intercept"] = options.get("fit_intercept", True)
    answer = None if is_odd else answer_of(arguments, parameters)
    applies = answer is not None and has_answer(name, arguments, options)
    owed = owing(case, [arguments.must] if applies else [arguments.must, EITHER], answer)
    sure = answer is not None and answer.is_certain
    check = (lambda result: unchanged(result, function, arguments, options)) if sure else nothing
    return dataclasses.replace(owed, check=check)


def draw_options(rng, known):
    """Keyword options of a function, and whether one of them is none."""
    out = {name: bool(rng.random() < 0.5) for name in SWITCHES if name in known}
    out = {name: value for name, value in out.items() if rng.random() < 0.4}
    if "level" in known and rng.random() < 0.3:
        out["level"] = choose(rng, [0.5, 0.9, 0.99, 1e-9, 1 - 1e-9])
    if "effect" in known and rng.random() < 0.3:
        out["effect"] = choose(rng, [1.0, 0.0, -1e6, 1e-9])
    names = [name for name in (*SWITCHES, "level", "effect", "size") if name in known]
    if rng.random() > 0.1:
        return out, False
    return out | {choose(rng, names): odd(rng)}, True


def has_answer(name, arguments, options):
    """Whether a function is defined for so many columns, with or without clusters."""
    k, q = (arguments.numbers[role].shape[1] for role in ("t", "z"))
    if not options.get("robust", True) and "clusters" in arguments.values:
        return False
    if name == "tf_interval":
        return k == q == 1
    return (k == 1 or name not in ONE_TREATMENT) and (q > k or name not in OVERIDENTIFIED)


def standardised(numbers, fit_intercept):
    """The same columns, centred and of one size: all that has no units stays."""
    weight, n = numbers["sample_weight"], len(numbers["y"])
    used = np.ones(n, dtype=LONG) if weight is None else np.asarray(weight).astype(LONG)
    keep = used > 0
    root = np.sqrt(used[keep] / used[keep].sum())[:, None]
    out = {}
    for name in ("X", "t", "z", "y"):
        if numbers[name].shape[1]:
            table = Scaled.of(np.asarray(numbers[name])[keep], used[keep], fit_intercept)
            out[name] = (table.table / root).astype(float)
    extra = {name: numbers[name] for name in ("sample_weight", "clusters")}
    return out | {name: np.asarray(a)[keep] for name, a in extra.items() if a is not None}


def unchanged(result, function, arguments, options):
    """Raise `Wrong` if what has no units is another number for standardised columns."""
    if np.any(options.get("effect", 0.0)):
        return
    clean = standardised(arguments.numbers, options.get("fit_intercept", True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            right = function(**clean, **options)
        except ValueError as error:
            raise Wrong(f"an answer, but of standardised columns: {error}") from error
    for field in dataclasses.fields(result):
        if field.name in NO_UNITS:
            found, due = (np.asarray(getattr(r, field.name), dtype=float) for r in (result, right))
            # A large statistic is one over what is left: rounding, if it is large enough.
            allowed = 1e-9 + np.abs(due) * (1e-5 + 1e-13 * np.abs(due))
            same = (found == due) | (np.isnan(found) & np.isnan(due))
            if not (same | (np.abs(found - due) <= allowed)).all():
                raise Wrong(f"{field.name} is {found}, not {due} as of standardised columns")


def fitted_to_moments():
    return TwoStageLS(cov_type="unadjusted").fit_moments(fitted().moments_)


SUBJECTS = {
    "a fit": fitted,
    "a fit to moments": fitted_to_moments,
    "a design": lambda: partial_out(fitted()),
    "a fit without treatment": lambda: fitted(treated=False),
    "not fitted": TwoStageLS,
    "a class": lambda: TwoStageLS,
}
BESIDE = [{"t": [1.0]}, {"sample_weight": [1.0]}, {"fit_intercept": False}, {"X": [[1.0]]}]


def of_estimator(rng, names=FUNCTIONS, draw=draw_options):
    """A function of a fitted estimator, of a design, or of what is neither."""
    name = choose(rng, names)
    function = getattr(diagnostics, name)
    what = choose(rng, SUBJECTS) if rng.random() < 0.8 else "odd"
    subject = odd(rng) if what == "odd" else SUBJECTS[what]()
    options, _ = draw(rng, inspect.signature(function).parameters)
    beside = choose(rng, BESIDE) if rng.random() < 0.3 else {}
    options |= {k: v for k, v in beside.items() if k in inspect.signature(function).parameters}
    fine = what in ("a fit", "a fit to moments", "a design", "odd")
    return Case(
        f"diagnostics.{name}",
        lambda: function(subject, **options),
        argument_names(function) | {"est"},
        [subject],
        must=EITHER if fine else ERROR,
        infinite=INFINITE,
        notes=[what, *shown(y=subject, **options)],
    )


def critical_value(rng):
    """tf_critical_value of anything."""
    f = choose(rng, [0.0, 3.84, 4.0, 104.67, 1e9]) if rng.random() < 0.3 else odd(rng)
    return Case(
        "diagnostics.tf_critical_value",
        lambda: tf_critical_value(f),
        {"f"},
        given=[f],
        infinite=("",),
        check=is_critical,
        notes=shown(f=f),
    )


def is_critical(result):
    """Raise `Wrong` unless it is a number of at least the normal quantile."""
    if not (isinstance(result, float) and result >= 1.9599):
        raise Wrong(f"the critical value is {result!r}")


ENDS = [
    ((0.0, 1.0),),
    (),
    ((1.0, 0.0),),
    ((0.0, 2.0), (1.0, 3.0)),
    ((np.nan, 1.0),),
    "ab",
    ((0.0,),),
]


def results(rng):
    """The results that a person may make by hand."""
    if rng.random() < 0.6:
        ends, value = odd(rng, *ENDS), odd(rng)
        run, words = lambda: ConfidenceSet(ends).contains(value), {"intervals", "value", "level"}
        return Case("diagnostics.ConfidenceSet", run, words, notes=shown(ends=ends, value=value))
    statistic, dof = choose(rng, [0.0, 3.84, 1e300]), choose(rng, [None, 5.0])
    return Case(
        "diagnostics.HypothesisTest",
        lambda: HypothesisTest.wald("a test", "a null", statistic, 1, dof),
        {"statistic"},
        notes=shown(statistic=statistic, dof=dof),
    )

"""Hostile calls of TwoStageLS, and what plain numpy says of their answers."""

from __future__ import annotations

import copy
import warnings
from functools import cache

import numpy as np
from fuzz.arguments import arguments_of, draw_arguments
from fuzz.case import ANSWER, EITHER, ERROR, Case, Wrong, argument_names, choose, worst
from fuzz.experiment import draw_experiment
from fuzz.reference import least_squares

from skbayesiv import TwoStageLS

METHODS = ("2sls", "liml", "gmm")
COV_TYPES = ("robust", "unadjusted", "clustered")
WRONG_PARAMETERS = {
    "method": ["ols", None, 3, "", ["2sls"]],
    "cov_type": ["HC3", None, 1.0, b"robust"],
    "debiased": ["yes", None, 2, np.nan],
    "fit_intercept": ["no", None, 0.5],
    "treatment": ["t", 0, [], [None], {}, 1.5, "x0", ["x0", "x0"], True, np.nan, [np.nan]],
    "instruments": ["z", -1, [], [()], object(), b"z", ["x1"], 99, False, [[0]]],
}


def draw_parameters(rng, clustered, wrong=0.08):
    """Parameters of the estimator, what they owe, and what is wrong with them."""
    cov_type = choose(rng, COV_TYPES, p=[0.6, 0.35, 0.05])
    out = {
        "method": choose(rng, METHODS, p=[0.6, 0.2, 0.2]),
        "cov_type": "robust" if clustered and rng.random() < 0.5 else cov_type,
        "debiased": bool(rng.random() < 0.3),
        "fit_intercept": bool(rng.random() < 0.8),
    }
    notes = [f"{name}={value}" for name, value in out.items()]
    if rng.random() >= wrong:
        return out, EITHER if out["cov_type"] == "clustered" and not clustered else ANSWER, notes
    name = choose(rng, WRONG_PARAMETERS)
    value = choose(rng, WRONG_PARAMETERS[name])
    must = EITHER if name in ("treatment", "instruments") else ERROR
    return out | {name: value}, must, [*notes, f"{name}={value!r}"]


@cache
def _fitted(treated, rows):
    rng = np.random.default_rng(rows)
    arguments = arguments_of(draw_experiment(rng, treated=treated, small=False, plain=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TwoStageLS().fit(**arguments.values)


def fitted(treated=True, rows=0):
    """A copy of an estimator that was fitted before."""
    return copy.copy(_fitted(treated, rows))


def call_of(rng, method, values):
    """One of the forms of `fit` and `score`, and its name."""
    rest = dict(values)
    form = int(rng.integers(3))
    if form == 0 and {"X", "t", "y"} <= set(rest):
        first = [rest.pop(name) for name in ("X", "t", "y")]
        return (lambda: method(*first, **rest)), f"{method.__name__}(X, t, y, ...)"
    if form == 1 and "X" in rest:
        x = rest.pop("X")
        return (lambda: method(x, **rest)), f"{method.__name__}(X, ...)"
    return (lambda: method(**rest)), f"{method.__name__}(...)"


def fit(rng):
    """fit(rows) of all forms; then perhaps what is read from the fit."""
    arguments = draw_arguments(rng, treated=rng.random() < 0.9)
    parameters, must, notes = draw_parameters(rng, arguments.values.get("clusters") is not None)
    before = rng.random() < 0.3
    est = fitted() if before else TwoStageLS()
    est.set_params(**parameters)
    words = argument_names(TwoStageLS.fit, est)
    run, form = call_of(rng, est.fit, arguments.values)
    reader = choose(rng, READERS) if not before and rng.random() < 0.5 else None
    if reader is not None:
        fit_first, run = run, lambda: (fit_first(), READERS[reader](est, arguments.values))[0]
        words = words | {"level", "t0", "t1"}
    answer = answer_of(arguments, parameters) if must == ANSWER else None
    must = worst([must, arguments.must])
    if must == ANSWER and (answer is None or not answer.is_certain):
        must = EITHER
    return Case(
        "TwoStageLS.fit",
        run,
        words,
        given=list(arguments.values.values()),
        est=None if reader else est,
        must=must,
        check=lambda result: agree(result, answer),
        infinite=("dof_", *UNIDENTIFIED * bool(parameters["method"] and not has_t(arguments))),
        notes=[form, *notes, *arguments.notes, *([f"then {reader}"] if reader else [])],
    )


UNIDENTIFIED = ("covariance",)  # least squares short of rank has no standard errors


def has_t(arguments):
    return arguments.values.get("t") is not None


READERS = {
    "summary": lambda est, values: str(est.summary(0.9)),
    "conf_int": lambda est, values: finite(est.conf_int(0.9)),
    "effect_interval": lambda est, values: finite(est.effect_interval(0, 2, 0.9)),
    "covariance_": lambda est, values: est.covariance_,
    "predict": lambda est, values: finite(est.predict(values.get("X"), z=values.get("z"))),
}


def finite(result):
    """Raise what the verdict takes for wrong if a number is not finite."""
    if not np.isfinite(np.asarray(result, dtype=float)).all():
        raise ArithmeticError("what was read from the fit is not finite")
    return result


def wrong_types(parameters):
    """Whether a parameter that the reference needs is none of those that there are."""
    fine = parameters["cov_type"] in COV_TYPES and parameters["method"] in METHODS
    return not fine or not all(isinstance(parameters[n], bool) for n in ("debiased", "fit_intercept"))


def answer_of(arguments, parameters, from_sums=False):
    """Reference, or None where there is none: numbers unknown, or a method without."""
    numbers = arguments.numbers
    if numbers is None or arguments.must == ERROR or wrong_types(parameters):
        return None
    x, t, z, y = (numbers[name] for name in ("X", "t", "z", "y"))
    over = z.shape[1] > t.shape[1]
    gmm_about_mean = parameters["method"] == "gmm" and not parameters["fit_intercept"]
    if t.shape[1] != 0 and parameters["method"] != "2sls" and (over or gmm_about_mean):
        return None
    clustered = numbers["clusters"] is not None
    d, by = np.column_stack([t, x]), np.column_stack([z, x])
    total = np.sum(numbers["sample_weight"]) if numbers["sample_weight"] is not None else len(y)
    if by.shape[1] >= len(y) or d.shape[1] + parameters["fit_intercept"] >= total:
        return None
    with np.errstate(all="ignore"):
        return least_squares(
            y, d, by, weight=numbers["sample_weight"], clusters=numbers["clusters"],
            cov_type="clustered" if clustered else parameters["cov_type"],
            fit_intercept=parameters["fit_intercept"], debiased=parameters["debiased"],
            from_sums=from_sums and parameters["cov_type"] == "unadjusted",
        )  # fmt: skip


def agree(est, answer):
    """Raise `Wrong` if coefficients or standard errors are not those of the reference."""
    if answer is None or not answer.is_certain:
        return
    n = len(answer.coef)
    errors = np.sqrt(np.diag(est.covariance_.to_numpy()))[-n:] if n else np.empty(0)
    for what, found, right, allowed in (
        ("coef_", est.coef_, answer.coef, answer.tolerance),
        ("std_error", errors, answer.std_errors, answer.std_tolerance),
        ("intercept_", est.intercept_, answer.intercept, answer.intercept_tolerance),
    ):
        if np.shape(found) != np.shape(right):
            raise Wrong(f"{what} has shape {np.shape(found)}, not {np.shape(right)}")
        gap = np.abs(np.asarray(found, dtype=np.longdouble) - right)
        if not (gap <= allowed).all():
            raise Wrong(f"{what} is {found}, not {right} within {allowed}")

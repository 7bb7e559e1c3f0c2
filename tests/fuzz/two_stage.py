"""Hostile fits of TwoStageLS, and what plain numpy says of their answers."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
from fuzz.arguments import arguments_of, draw_arguments
from fuzz.case import (
    ANSWER,
    EITHER,
    ERROR,
    Case,
    Wrong,
    argument_names,
    choose,
    nothing,
    worst,
)
from fuzz.experiment import draw_experiment
from fuzz.reference import least_squares
from fuzz.values import odd, shown

from skbayesiv import TwoStageLS

METHODS = ("2sls", "liml", "gmm")
COV_TYPES = ("robust", "unadjusted", "clustered")
KNOWN = TwoStageLS().get_params()
# Names and positions of columns, most of which there are not.
PLACES = ["t", 0, -1, 99, ["x0", "x0"], ["x1"], [0, 0], [True], [1.5], "rest", ["rest"], [b"z"]]
# Least squares short of rank has no standard errors, and without `debiased` infinite `dof_`.
NO_NUMBERS = ("dof_", "covariance")


def draw_parameters(rng, clustered, wrong=0.08):
    """Parameters of the estimator, what a fit under them owes, and notes."""
    cov_type = choose(rng, COV_TYPES, p=[0.6, 0.35, 0.05])
    out = {
        "method": choose(rng, METHODS, p=[0.6, 0.2, 0.2]),
        "cov_type": "robust" if clustered and rng.random() < 0.5 else cov_type,
        "debiased": bool(rng.random() < 0.3),
        "fit_intercept": bool(rng.random() < 0.8),
    }
    if "sample_weight_type" in KNOWN:
        out["sample_weight_type"] = choose(rng, ["frequency", "probability"], p=[0.8, 0.2])
    must = EITHER if out["cov_type"] == "clustered" and not clustered else ANSWER
    if (out.get("sample_weight_type"), out["cov_type"]) == ("probability", "unadjusted"):
        must = EITHER  # which has no meaning
    if rng.random() < wrong:
        name = choose(rng, KNOWN)
        out[name] = odd(rng, *(PLACES if name in ("treatment", "instruments") else ["ols", "HC3"]))
        must = EITHER
    return out, must, shown(**out)


@cache
def _fitted(treated, rows):
    rng = np.random.default_rng(rows)
    arguments = arguments_of(draw_experiment(rng, treated=treated, small=False, plain=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TwoStageLS().fit(**arguments.values)


def fitted(treated=True, rows=0):
    """A copy of an estimator that was fitted to one treatment, instrument and covariate."""
    return copy.copy(_fitted(treated, rows))


def call_of(rng, method, values):
    """One of the forms of `fit` and `score`, and its name."""
    rest, name = dict(values), method.__name__
    form = int(rng.integers(3))
    if form == 0 and {"X", "t", "y"} <= set(rest):
        first = [rest.pop(name) for name in ("X", "t", "y")]
        return (lambda: method(*first, **rest)), f"{name}(X, t, y, ...)"
    if form == 1 and "X" in rest:
        x = rest.pop("X")
        return (lambda: method(x, **rest)), f"{name}(X, ...)"
    return (lambda: method(**rest)), f"{name}(...)"


def fit(rng):
    """Rows, of an estimator that was fitted before or not; perhaps the fit is read."""
    arguments = draw_arguments(rng, treated=rng.random() < 0.9, in_columns=True)
    parameters, must, notes = draw_parameters(rng, "clusters" in arguments.values)
    before = rng.random() < 0.3
    est = fitted() if before else TwoStageLS()
    est.set_params(**{**arguments.places, **parameters})
    run, form = call_of(rng, est.fit, arguments.values)
    reader = choose(rng, READERS) if not before and rng.random() < 0.5 else None
    case = Case(
        "TwoStageLS.fit",
        run if reader is None else lambda: read(est, run, reader, arguments.values),
        argument_names(TwoStageLS.fit, est) | ({"level", "t0", "t1"} if reader else set()),
        given=list(arguments.values.values()),
        est=None if reader else est,
        infinite=NO_NUMBERS if arguments.values.get("t") is None else ("dof_",),
        notes=[form, *notes, *arguments.notes, *([f"then {reader}"] if reader else [])],
    )
    return owing(case, [must, arguments.must], answer_of(arguments, parameters))


def owing(case, musts, answer):
    """The case with what it must answer, which is sure only where the reference is."""
    must = worst(musts)
    sure = answer is not None and answer.is_certain
    return replace(
        case,
        must=EITHER if must == ANSWER and not sure else must,
        check=(lambda result: agree(result, answer)) if sure else nothing,
    )


READERS = {
    "summary": lambda est, values: len(str(est.summary(0.9))),
    "conf_int": lambda est, values: est.conf_int(0.9),
    "effect_interval": lambda est, values: est.effect_interval(level=0.9),
    "covariance_": lambda est, values: est.covariance_.fillna(0.0),
    "predict": lambda est, values: est.predict(values.get("X"), z=values.get("z")),
}


def read(est, run, reader, values):
    """Fit, then ask something of the fit."""
    run()
    if reader == "effect_interval" and not est.n_treatments_:
        return est
    found = np.asarray(READERS[reader](est, values), dtype=float)
    unidentified = reader == "conf_int" and est.covariance_.isna().to_numpy().all()
    if not np.isfinite(found).all() and not unidentified:
        raise ArithmeticError(f"{reader} is not finite after a fit")
    return est


def are_right(parameters):
    """Whether all parameters that the reference needs have a value that they may have."""
    known = parameters["cov_type"] in COV_TYPES and parameters["method"] in METHODS
    switches = all(isinstance(parameters[name], bool) for name in ("debiased", "fit_intercept"))
    return known and switches and not {"treatment", "instruments", "covariates"} & set(parameters)


def answer_of(arguments, parameters, from_sums=False):
    """Reference, or None where there is none: numbers unknown, or a method without."""
    numbers = arguments.numbers
    try:
        if numbers is None or arguments.must == ERROR or not are_right(parameters):
            return None
    except (TypeError, ValueError):  # what cannot be looked up
        return None
    x, t, z, y = (numbers[name] for name in ("X", "t", "z", "y"))
    method, constant = parameters["method"], parameters["fit_intercept"]
    over = z.shape[1] > t.shape[1]
    if t.shape[1] and method == "gmm" and (over or not constant):
        return None
    weight, clusters = numbers["sample_weight"], numbers["clusters"]
    n, width = len(y), x.shape[1] + t.shape[1] + constant
    n_weighted = n if weight is None else np.asarray(weight, dtype=float).sum()
    if not width or width >= n_weighted or x.shape[1] + z.shape[1] >= n:
        return None
    options = {name: parameters[name] for name in ("debiased", "fit_intercept")}
    options["cov_type"] = parameters["cov_type"] if clusters is None else "clustered"
    options["from_sums"] = from_sums and options["cov_type"] == "unadjusted"
    options["liml"] = method == "liml" and t.shape[1] > 0
    with np.errstate(all="ignore"):
        found = least_squares(y, t, z, x, weight=weight, clusters=clusters, **options)
    kind = parameters.get("sample_weight_type")
    if found is not None and isinstance(kind, str) and kind == "probability":
        return replace(found, std_tolerance=np.inf + found.std_tolerance)
    return found


def agree(est, answer):
    """Raise `Wrong` if coefficients or standard errors are not those of the reference."""
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


def odd_call(rng):
    """Calls of `fit` that are none of its forms."""
    arguments = arguments_of(draw_experiment(rng, small=False, plain=True))
    x, t, z, y = (arguments.values.get(name) for name in ("X", "t", "z", "y"))
    est = fitted() if rng.random() < 0.5 else TwoStageLS()
    calls = {
        "fit(X, t, y, z)": lambda: est.fit(x, t, y, z),
        "fit()": lambda: est.fit(),
        "fit(X)": lambda: est.fit(x),
        "fit(X, t, y)": lambda: est.fit(x, t, y),
        "fit(X, t, y, z=z, wrong=1)": lambda: est.fit(x, t, y, z=z, wrong=1),
        "fit(X, t, y, t=t, z=z)": lambda: est.fit(x, t, y, t=t, z=z),
        "fit(X, 'y', t=t, z=z)": lambda: est.fit(x, "y", t=t, z=z),
        "fit(X, y, t='t', z='z')": lambda: est.fit(x, y, t="t", z="z"),
        "fit(X, y, z=z)": lambda: est.fit(x, y, z=z),
        "fit(X, y, t=y, z=y)": lambda: est.fit(x, y, t=y, z=y),
        "fit(y=y)": lambda: est.fit(y=y),
        "fit(X, t, y, z=z, sample_weight='w')": lambda: est.fit(x, t, y, z=z, sample_weight="w"),
        "fit(X, t, y, z=z, clusters='g')": lambda: est.fit(x, t, y, z=z, clusters="g"),
        "fit(*[])": lambda: est.fit(*[None] * 5),
    }
    form = choose(rng, calls)
    words = argument_names(TwoStageLS.fit, est) | {"wrong"}
    must = EITHER if form in ("fit(y=y)", "fit(X, y, t=y, z=y)") else ERROR
    given, infinite = [x, t, z, y], NO_NUMBERS
    return Case(
        "TwoStageLS.fit", calls[form], words, given, est, must, infinite=infinite, notes=[form]
    )

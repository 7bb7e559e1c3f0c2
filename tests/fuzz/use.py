"""Hostile uses of what is fitted: predictions, scores, effects, intervals.

Each function takes what makes a fitted estimator, of one treatment, instrument and covariate, so
that it serves the Bayesian estimators too.
"""

from __future__ import annotations

import numpy as np
from fuzz.arguments import draw_arguments
from fuzz.case import EITHER, ERROR, Case, Wrong, argument_names, choose, nothing
from fuzz.reference import EPS, LONG
from fuzz.two_stage import call_of, fitted
from fuzz.values import odd, shown

from skbayesiv import TwoStageLS

GIVEN = [("X", "t"), ("X", "z"), ("X", "t", "z"), ("X",), ("t",)]


def draw_rows(rng, **options):
    """Rows that fit the estimator, but for what is wrong with them."""
    return draw_arguments(rng, plain=True, clusters=False, **options)


def case_of(est, method, run, given, **options):
    """A case of a method of a fitted estimator."""
    function = getattr(type(est), method)
    name = f"{type(est).__name__}.{method}"
    return Case(name, run, argument_names(function, est), given, est, **options)


def predict(rng, make=fitted):
    """predict, with a standard deviation or without, and predict_interval."""
    arguments, est = draw_rows(rng, weights=False), make()
    method = choose(rng, ["predict", "predict", "predict_interval"])
    given = choose(rng, GIVEN, p=[0.4, 0.4, 0.1, 0.05, 0.05])
    values = {"X": None} | {name: arguments.values.get(name) for name in given}
    options = {"level": level(rng)} if method == "predict_interval" else {}
    if method == "predict" and rng.random() < 0.4:
        options["return_std"] = choose(rng, [True, False])
    numbers = arguments.numbers
    bad = numbers is not None and not all(
        np.isfinite(numbers[n].astype(float)).all() for n in given
    )
    return case_of(
        est,
        method,
        lambda: getattr(est, method)(**values, **options),
        list(values.values()),
        must=ERROR if bad else EITHER,
        check=lambda result: is_linear(est, values, numbers, method, result),
        notes=[f"of {', '.join(given)}", *shown(**options), *arguments.notes],
    )


def is_linear(est, values, numbers, method, result):
    """Raise `Wrong` unless a prediction is the plain linear one."""
    if numbers is None or method != "predict" or not isinstance(est, TwoStageLS):
        return
    mean = result[0] if isinstance(result, tuple) else result
    effect, gamma = est.coef_[:1].astype(LONG), est.coef_[1:].astype(LONG)
    intercept, name = LONG(est.intercept_), "t"
    if values.get("t") is None:
        first, name = est.first_stage_coef_.astype(LONG), "z"
        intercept += effect @ est.first_stage_intercept_
        effect, gamma = effect @ first[:, :1], effect @ first[:, 1:] + gamma
    design = np.column_stack([numbers[name], numbers["X"]]).astype(LONG)
    if design.shape[1] != 2:
        raise Wrong("predictions of rows of another width")
    parts = np.column_stack([np.full(len(design), intercept), design * np.r_[effect, gamma]])
    allowed = 50 * EPS * (np.abs(parts).sum(axis=1) + abs(est.intercept_))
    if mean.shape != allowed.shape or not (np.abs(mean - parts.sum(axis=1)) <= allowed).all():
        raise Wrong("the prediction is not the linear one")


def score(rng, make=fitted):
    """R^2 of hostile rows."""
    arguments, est = draw_rows(rng), make()
    run, form = call_of(rng, est.score, arguments.values)
    given = list(arguments.values.values())
    return case_of(est, "score", run, given, check=at_most_one, notes=[form, *arguments.notes])


def at_most_one(result):
    """Raise `Wrong` if R^2 is above 1."""
    if not result <= 1.0:
        raise Wrong(f"R^2 is {result}")


def level(rng):
    """A level that is one, or none."""
    return choose(rng, [0.9, 0.5, 1e-9, 1 - 1e-12]) if rng.random() < 0.6 else odd(rng)


def step(rng):
    """A treatment from which or to which to move."""
    return choose(rng, [0.0, 1.0, -2, np.float32(3.0)]) if rng.random() < 0.4 else odd(rng)


def effect(rng, make=fitted):
    """The effect of a step of the treatment, and its interval."""
    est, method, t0, t1 = make(), choose(rng, ["effect", "effect_interval"]), step(rng), step(rng)
    options = {"level": level(rng)} if method == "effect_interval" and rng.random() < 0.5 else {}
    return case_of(
        est,
        method,
        lambda: getattr(est, method)(t0, t1, **options),
        [t0, t1],
        check=(lambda result: is_step(est, t0, t1, result)) if method == "effect" else nothing,
        notes=shown(t0=t0, t1=t1, **options),
    )


def is_step(est, t0, t1, result):
    """Raise `Wrong` unless an effect is the step's length times that of one unit."""
    try:
        ends = (t0, 1.0 if t1 is None else t1)
        start, end = (float(np.squeeze(np.asarray(value, dtype=float))) for value in ends)
    except (TypeError, ValueError) as error:
        raise Wrong(f"an effect of t0={t0!r}, t1={t1!r}") from error
    if not np.isclose(result, est.effect_ * (end - start), rtol=1e-12, atol=0.0):
        raise Wrong(f"{result}, not {est.effect_ * (end - start)}")


def table(rng):
    """conf_int and summary at any level."""
    est, method, at = (
        fitted(treated=rng.random() < 0.8),
        choose(rng, ["conf_int", "summary"]),
        level(rng),
    )
    return case_of(
        est,
        method,
        lambda: printed(getattr(est, method)(at)),
        [at],
        check=has_width,
        # Cells of regressors that an equation does not have, and unbounded sets.
        infinite=(r"^\.regressions", r"^\.strength"),
        notes=shown(level=at),
    )


def printed(result):
    """The result, after it has been printed."""
    str(result)
    return result


def has_width(result):
    """Raise `Wrong` if an interval's ends are in the wrong order."""
    frame = getattr(result, "table", result)
    if not (frame["lower"] <= frame["upper"]).all():
        raise Wrong("an interval's ends are in the wrong order")


def not_fitted(rng):
    """Everything asked of an estimator that is not fitted."""
    est = TwoStageLS()
    row = {"X": [[1.0]], "t": [1.0], "z": [1.0]}
    calls = {
        "predict": lambda: est.predict(**row),
        "predict_interval": lambda: est.predict_interval(**row),
        "score": lambda: est.score(**row, y=[1.0]),
        "effect": lambda: est.effect(),
        "effect_interval": lambda: est.effect_interval(),
        "conf_int": lambda: est.conf_int(),
        "summary": lambda: est.summary(),
    }
    method = choose(rng, calls)
    return case_of(est, method, calls[method], [], must=ERROR, notes=["not fitted"])

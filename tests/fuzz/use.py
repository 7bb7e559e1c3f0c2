"""Hostile calls of what is fitted: predictions, scores, effects, intervals."""

from __future__ import annotations

import numpy as np
from fuzz.arguments import draw_arguments
from fuzz.case import ANSWER, EITHER, ERROR, Case, Wrong, argument_names, choose, worst
from fuzz.reference import EPS, LONG
from fuzz.two_stage import call_of, fitted

LEVELS = [0.9, 0.5, 1e-9, 1 - 1e-12, np.float32(0.9), 0.0, 1.0, 95, -1, np.nan, "0.9", None, [0.9],
          True, np.array(0.9), np.array([0.9]), 1 + 0j]  # fmt: skip
STEPS = [0.0, 1.0, 1e300, -1e300, 5e-324, np.nan, np.inf, None, "a", "1.0", [1.0], [1.0, 2.0], [], {},
         np.array(1.0), np.array([1]), True, 1 + 1j, [None], object(), np.datetime64("2026-01-01"),
         np.timedelta64(1, "s"), [[1.0]], (1,), {1.0}, b"1", np.ma.masked, np.ma.masked_array([1.0], mask=[True])]  # fmt: skip
BAD_STEPS = ("nan", "inf", "None", "'a'", "[]", "{}", "[None]", "masked", "--", "object", "datetime", "timedelta")


def draw_rows(rng):
    """Rows for an estimator of one treatment, one instrument and one covariate."""
    return draw_arguments(rng, plain=True, weights=False, clusters=False)


def predict(rng, make=fitted, entry="TwoStageLS"):
    """predict, with a standard deviation or without, and predict_interval."""
    arguments, est = draw_rows(rng), make()
    method = choose(rng, ["predict", "predict", "predict_interval"])
    given = choose(rng, [("X", "t"), ("X", "z"), ("X", "t", "z"), ("X",), ("t",)], p=[0.4, 0.4, 0.1, 0.05, 0.05])
    values = {name: arguments.values.get(name) for name in given}
    values.setdefault("X", None)
    options, notes = {}, []
    if method == "predict_interval":
        options["level"] = choose(rng, LEVELS)
    elif rng.random() < 0.4:
        options["return_std"] = choose(rng, [True, False, 1, "yes"])
    must = worst([arguments.must, EITHER])
    if any("y" in note.split()[:1] for note in arguments.notes) or len(given) != 2 or "X" not in given:
        must = EITHER
    if must == ERROR and not _blamed(arguments, given):
        must = EITHER
    notes = [f"{method}({', '.join(given)})", *(f"{k}={v!r}" for k, v in options.items()), *arguments.notes]
    check = (lambda result: _predicts(est, given, arguments.numbers, result)) if method == "predict" else (lambda result: None)  # fmt: skip
    return Case(
        f"{entry}.{method}", lambda: getattr(est, method)(**values, **options),
        argument_names(getattr(type(est), method), est), list(values.values()), est, must, check, notes=notes,
    )  # fmt: skip


def _blamed(arguments, given):
    """Whether what must raise is in what was given; numbers of one role do not concern another."""
    if arguments.numbers is None:
        return False
    return any(not np.isfinite(arguments.numbers[name].astype(float)).all() for name in given)


def _predicts(est, given, numbers, result):
    """The plain linear prediction."""
    if numbers is None or type(est).__name__ != "TwoStageLS":
        return
    mean = result[0] if isinstance(result, tuple) else result
    x = numbers["X"].astype(LONG)
    if "t" in given:
        parts = [np.full(len(x), LONG(est.intercept_)), *(np.column_stack([numbers["t"].astype(LONG), x]) * est.coef_).T]
    else:
        effect, gamma = est.coef_[:1], est.coef_[1:]
        coef = np.r_[effect @ est.first_stage_coef_[:, :1], effect @ est.first_stage_coef_[:, 1:] + gamma]
        start = LONG(est.intercept_) + effect @ est.first_stage_intercept_
        parts = [np.full(len(x), start), *(np.column_stack([numbers["z"].astype(LONG), x]) * coef).T]
    allowed = 50 * EPS * (np.abs(parts).sum(axis=0) + abs(est.intercept_))
    if mean.shape != parts[0].shape or not (np.abs(mean - np.sum(parts, axis=0)) <= allowed).all():
        raise Wrong("the prediction is not the linear one")


def score(rng, make=fitted, entry="TwoStageLS"):
    """R^2 of hostile rows."""
    arguments, est = draw_arguments(rng, plain=True, clusters=False), make()
    run, form = call_of(rng, est.score, arguments.values)
    blamed = {**arguments.values, "t": None}
    return Case(
        f"{entry}.score", run, argument_names(type(est).score, est), list(blamed.values()), est,
        EITHER if arguments.must == ERROR else arguments.must,
        infinite=() if arguments.must != ERROR else (), notes=[form, *arguments.notes],
    )  # fmt: skip


def effect(rng, make=fitted, entry="TwoStageLS"):
    """The effect of a step of the treatment, and its interval."""
    est, method = make(), choose(rng, ["effect", "effect_interval"])
    t0, t1 = choose(rng, STEPS), choose(rng, STEPS)
    options = {"level": choose(rng, LEVELS)} if method == "effect_interval" and rng.random() < 0.5 else {}
    return Case(
        f"{entry}.{method}", lambda: getattr(est, method)(t0, t1, **options),
        argument_names(getattr(type(est), method), est), [t0, t1], est, EITHER,
        lambda result: _steps(est, t0, t1, result, method),
        notes=[f"t0={t0!r}", f"t1={t1!r}", *(f"{k}={v!r}" for k, v in options.items())],
    )  # fmt: skip


def _steps(est, t0, t1, result, method):
    try:
        step = float(np.squeeze(np.asarray(t1, dtype=float))) - float(np.squeeze(np.asarray(t0, dtype=float)))
    except (TypeError, ValueError) as error:
        raise Wrong(f"an answer for t0={t0!r}, t1={t1!r}") from error
    if method == "effect" and not np.isclose(result, est.effect_ * step, rtol=1e-12, atol=0.0):
        raise Wrong(f"{result}, not {est.effect_ * step}")


def table(rng, make=fitted, entry="TwoStageLS"):
    """conf_int and summary at any level."""
    treated = rng.random() < 0.8
    est, method = make(treated=treated), choose(rng, ["conf_int", "summary"])
    level = choose(rng, LEVELS)
    return Case(
        f"{entry}.{method}", lambda: (out := getattr(est, method)(level), str(out))[0],
        argument_names(getattr(type(est), method), est), [], est, EITHER, _has_width,
        infinite=(r"^\.regressions",), notes=[f"level={level!r}"],
    )  # fmt: skip


def _has_width(result):
    frame = getattr(result, "table", result)
    if hasattr(frame, "columns") and "lower" in frame and not (frame["lower"] <= frame["upper"]).all():
        raise Wrong("an interval's ends are in the wrong order")


def not_fitted(rng):
    """Everything asked of an estimator that is not fitted."""
    est = type(fitted())()
    calls = {
        "predict": lambda: est.predict([[1.0]], [1.0]), "score": lambda: est.score([[1.0]], [1.0], t=[1.0], z=[1.0]),
        "effect": lambda: est.effect(), "effect_": lambda: est.effect_, "conf_int": lambda: est.conf_int(),
        "summary": lambda: est.summary(), "covariance_": lambda: est.covariance_, "results_": lambda: est.results_,
        "predict_interval": lambda: est.predict_interval([[1.0]], [1.0]), "effect_interval": lambda: est.effect_interval(),
    }  # fmt: skip
    name = choose(rng, calls)
    return Case("TwoStageLS, not fitted", calls[name], {"fit", "fitted"}, est=est, must=ERROR, notes=[name])

"""Calls with a frame and names of its columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
from fuzz.case import ANSWER, EITHER, ERROR, Case, Wrong, argument_names, choose, nothing
from fuzz.columns import LAZY
from fuzz.frame import draw_frame, in_engine
from fuzz.posterior import TEMPLATE
from fuzz.reference import moments as reference_moments
from fuzz.two_stage import KNOWN, NO_NUMBERS, answer_of, draw_parameters, owing
from fuzz.values import odd, shown

from skbayesiv import FourthMoments, Moments, TwoStageLS, fit_experiments

COMPARED = ("pandas", "polars")  # whose frames can be compared before and after
NO_FRAMES = [np.zeros((3, 3)), pd.Series([1.0], name="y"), pl.Series("y", [1.0]), pd.DataFrame]
LEVELS = [{"g": ["g0"]}, {"x0": [0.0, 1.0]}, {"x0": []}, {"x0": ["a", "a"]}, {1: [2]}]
LEVELS += [{"x0": "ab"}, {"x0": None}, {"x0": [[1]]}, {"x0": [np.nan]}]
COLUMNS = ["nobody", ["x0", "x0"], b"y0", ("y0",), {"t0": 1}, np.array(["x0"]), "w", "y0", "g"]


def from_frame(rng):
    """Moments or FourthMoments of a frame."""
    frame, kind = draw_frame(rng), FourthMoments if rng.random() < 0.3 else Moments
    given, engine = in_engine(rng, frame)
    if rng.random() < 0.05:
        given, engine = odd(rng, *NO_FRAMES), "no frame"
        frame.owe("", ERROR)
    roles, options, extra = named_columns(rng, frame, fourth=kind is FourthMoments)
    plain = not extra and kind is Moments
    drops = {"missing", "categories"} & set(options)
    must = frame.must if plain or (frame.must == ERROR and not drops) else EITHER
    if set(extra) - set(options):  # a role that is another column's may leave out what is wrong
        must = EITHER
    return Case(
        f"{kind.__name__}.from_frame",
        lambda: kind.from_frame(given, **roles | options),
        argument_names(kind.from_frame) | frame.words,
        [given] if engine in COMPARED else [],
        must=must,
        check=(lambda result: equal_moments(result, frame.numbers)) if plain else nothing,
        notes=[engine, *shown(**extra), *frame.notes],
    )


def named_columns(rng, frame, fourth=False):
    """Columns by role, options, and those of both that are odd or not the default."""
    roles = {name: names for name, names in frame.roles.items() if names or fourth}
    roles["outcome"] = frame.outcome
    for name in ("treatment", "instruments", "covariates"):
        if name in roles and len(roles[name]) == 1 and rng.random() < 0.5:
            (roles[name],) = roles[name]
    options, extra = {}, {}
    if rng.random() < 0.3:
        options["missing"] = (
            choose(rng, ["drop", "drop", "raise"]) if rng.random() < 0.8 else odd(rng)
        )
    if rng.random() < 0.3:
        options["by"] = "g" if rng.random() < 0.6 else odd(rng, frame.outcome, "w", "nobody")
    if rng.random() < 0.1:
        options["categories"] = odd(rng, *LEVELS)
    if rng.random() < 0.1:
        extra[name] = roles[name] = odd(rng, *COLUMNS) if (name := choose(rng, roles)) else None
    return roles, options, extra | options


def equal_moments(moments, numbers):
    """Raise `Wrong` unless means and scatter are those of plain numpy."""
    if numbers is None:
        return
    table = np.column_stack([numbers[name] for name in ("X", "z", "t", "y")])
    with np.errstate(all="ignore"):
        total, mean, scatter, off, allowed = reference_moments(table, numbers["sample_weight"])
    if not np.isclose(moments.weight, float(total), rtol=1e-12):
        raise Wrong(f"weight is {moments.weight}, not {total}")
    if not (np.abs(moments.mean - mean) <= off).all():
        raise Wrong(f"mean is {moments.mean}, not {mean} within {off}")
    if not (np.abs(moments.scatter - scatter) <= allowed).all():
        raise Wrong(f"scatter is {np.diag(moments.scatter)}, not {np.diag(scatter)}")


def fit(rng):
    """fit(frame, "y"), and partial_fit."""
    frame, clusters = draw_frame(rng), "g" if rng.random() < 0.2 else None
    parameters, must, notes = draw_parameters(rng, clusters is not None, wrong=0.03)
    est = TwoStageLS(**places(frame) | parameters)
    options = {"clusters": clusters} if clusters else {}
    options |= {"sample_weight": "w"} if "sample_weight" in frame.roles else {}
    if clusters and frame.numbers is not None:
        frame.numbers["clusters"] = frame.table["g"].to_numpy()
    unused = {"w", "g"} - set(options.values())
    given, engine = in_engine(rng, frame, without=unused)
    method = "partial_fit" if rng.random() < 0.1 and not clusters else "fit"
    case = Case(
        f"TwoStageLS.{method}",
        lambda: getattr(est, method)(given, frame.outcome, **options),
        argument_names(TwoStageLS.fit, est) | {"frame"} | frame.words,
        [given] if engine in COMPARED else [],
        est,
        infinite=NO_NUMBERS if not frame.roles["treatment"] else ("dof_",),
        notes=[engine, *notes, *shown(**options), *frame.notes],
    )
    whole = method == "fit"
    answer = answer_of(frame, parameters, from_sums=engine in LAZY) if whole else None
    few = EITHER if clusters or not whole else ANSWER  # three clusters
    if parameters.get("sample_weight_type") == "probability" and engine in LAZY:
        few = EITHER  # such weights need rows in memory
    if not (frame.roles["treatment"] or frame.roles["covariates"]):
        few = EITHER  # nothing is named
    return owing(case, [must, frame.must, few], answer)


def places(frame):
    """Parameters that say where treatment, instruments and, if asked for, covariates are."""
    names = ["treatment", "instruments", *["covariates"] * ("covariates" in KNOWN)]
    return {name: frame.roles[name] for name in names if frame.roles[name]}


def experiments(rng):
    """fit_experiments of hostile frames, names and templates."""
    frame = draw_frame(rng)
    given, engine = in_engine(rng, frame)
    roles, _, extra = named_columns(rng, frame, fourth=True)
    extra = {name: value for name, value in extra.items() if name in roles}
    by = "g" if rng.random() < 0.6 else odd(rng, "w", frame.outcome, "nobody")
    template = TEMPLATE if rng.random() < 0.8 else odd(rng, TwoStageLS(), type(TEMPLATE))
    must = ERROR if frame.must == ERROR and not extra else EITHER
    return Case(
        "fit_experiments",
        lambda: fit_experiments(given, by=by, estimator=template, **roles),
        argument_names(fit_experiments)
        | frame.words
        | argument_names(type(TEMPLATE))
        | {"X", "t", "y", "z"},
        infinite=("effects", "std_errors"),  # of experiments that cannot be fitted
        must=must,
        notes=[engine, *shown(by=by, estimator=template, **extra), *frame.notes],
    )

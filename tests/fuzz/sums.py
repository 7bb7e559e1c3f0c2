"""Hostile sums: moments that no rows have, added and fitted; batches of rows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
from fuzz.arguments import Arguments, draw_arguments
from fuzz.case import EITHER, ERROR, Case, Wrong, argument_names, choose, nothing
from fuzz.experiment import draw_experiment
from fuzz.frame import frame_of
from fuzz.named import equal_moments
from fuzz.two_stage import NO_NUMBERS, answer_of, call_of, draw_parameters, fitted, owing
from fuzz.values import odd, shown

from skbayesiv import FourthMoments, Moments, TwoStageLS

ROWS = {"X", "t", "y", "z", "sample_weight"}  # what sums are of: an error may name these


@cache
def some_sums(seed, kind=Moments):
    """Sums of a benign experiment, of one treatment for seeds below 2; its frame and itself."""
    rng = np.random.default_rng(seed)
    experiment = draw_experiment(rng, small=False, plain=seed < 2)
    frame = frame_of(rng, experiment)
    return of_frame(kind, frame), frame, experiment


def of_frame(kind, frame):
    return kind.from_frame(frame.table, **frame.roles | {"outcome": frame.outcome})


def spoilt(rng, m):
    """Moments that no rows have, or hardly any, and a note."""
    i, j = rng.integers(len(m.total), size=2)
    bad = m.cross.copy()
    bad[i, j] = choose(rng, [np.nan, np.inf, -1.0, 1e300, 0.0])
    shapes = [bad, -m.cross, 0 * m.cross, m.cross[0], m.cross.astype(str), m.cross[:-1, :-1]]
    c = m.columns
    fields = {
        "cross": shapes,
        "weight": [-m.weight, 10 * m.weight, 1e-300],
        "n_rows": [0, -5, 10**18, m.n_rows + 0.5],
        "shift": [m.shift * np.nan, m.shift[:-1], m.shift + 1e300, m.shift.astype(str)],
        "total": [m.total + np.inf, m.total + 1e6, m.total[:-1], m.total * 1e200],
        "columns": [
            replace(c, outcome="z0"),
            replace(c, treatments=()),
            replace(c, covariates=list(c.covariates)),
            replace(c, instruments="ab"),
        ],
    }
    name = choose(rng, fields)
    value = choose(rng, [*fields[name], None, np.nan, np.inf, "a"])
    return replace(m, **{name: value}), shown(**{name: value})[0]


def fit_moments(rng):
    """fit_moments of right, of changed and of no moments, perhaps by cluster."""
    parameters, _, notes = draw_parameters(rng, False, wrong=0.03)
    if rng.random() < 0.8:
        parameters["cov_type"] = "unadjusted"
    est = (fitted() if rng.random() < 0.3 else TwoStageLS()).set_params(**parameters)
    moments, note, answer, must = *some_sums(int(rng.integers(8)))[:1], "right", None, EITHER
    drawn = rng.random()
    if drawn < 0.2:
        moments, _, experiment = some_sums(int(rng.integers(8)))
        truth = {**experiment.columns, "sample_weight": None, "clusters": None}
        answer = answer_of(Arguments({}, truth), parameters, from_sums=True)
    elif drawn < 0.85:
        moments, note = spoilt(rng, moments)
    else:
        moments, must = odd(rng, {"a": moments}, Moments), ERROR
        note = shown(moments=moments)[0]
    options = {}
    if rng.random() < 0.2:
        parts = [[moments], {"a": moments}, [None], moments, [moments, 1]]
        options, answer, must = {"cluster_moments": odd(rng, *parts)}, None, EITHER
    case = Case(
        "TwoStageLS.fit_moments",
        lambda: est.fit_moments(moments, **options),
        argument_names(TwoStageLS.fit_moments, est) | ROWS,
        est=est,
        infinite=("dof_",),
        notes=[note, *notes, *shown(**options)],
    )
    return owing(case, [must, EITHER], answer)


def partial_fit(rng):
    """A batch that is hostile, after one that was not, or the first."""
    later = rng.random() < 0.5
    arguments = draw_arguments(rng, clusters=False, plain=later)
    parameters, _, notes = draw_parameters(rng, False, wrong=0.03)
    parameters["cov_type"] = "unadjusted"
    est = (fitted() if later else TwoStageLS()).set_params(**parameters)
    run, form = call_of(rng, est.partial_fit, arguments.values)
    case = Case(
        "TwoStageLS.partial_fit",
        run,
        argument_names(TwoStageLS.partial_fit, est),
        list(arguments.values.values()),
        est,
        infinite=NO_NUMBERS,
        notes=[form, "later" if later else "first", *notes, *arguments.notes],
    )
    answer = None if later else answer_of(arguments, parameters, from_sums=True)
    return owing(case, [arguments.must, EITHER], answer)


def arithmetic(rng):
    """Sums and differences of moments, and of what is none."""
    kind, seed = choose(rng, [Moments, Moments, FourthMoments]), int(rng.integers(8))
    one, frame, experiment = some_sums(seed, kind)
    half = replace(frame, table=frame.table.head(len(frame.table) // 2))
    others = {
        "itself": lambda: one,
        "another": lambda: some_sums(int(rng.integers(8)), kind)[0],
        "a part": lambda: of_frame(kind, half),
        "the other kind": lambda: some_sums(seed, {Moments: FourthMoments}.get(kind, Moments))[0],
        "odd": lambda: odd(rng, 0, pl.DataFrame()),
        "spoilt": lambda: spoilt(rng, some_sums(seed)[0])[0],
    }
    what, sign = choose(rng, others), choose(rng, ["+", "-", "from the right"])
    other = others[what]()
    calls = {"+": lambda: one + other, "-": lambda: one - other}
    itself = what == "itself" and kind is Moments
    return Case(
        f"{kind.__name__}.__{'sub' if sign == '-' else 'add'}__",
        calls.get(sign, lambda: other + one),
        {"Moments", "FourthMoments", "operand", "operands", "rows", "columns", "sums", "moments"}
        | {"fourth_moments"},
        infinite=("",) if what == "spoilt" else (),
        check=(lambda result: is_double(result, experiment, sign)) if itself else nothing,
        notes=[sign, what, *shown(other=other)],
    )


def is_double(result, experiment, sign):
    """Raise `Wrong` unless moments and themselves are twice the rows, or none."""
    if sign != "-":
        twice = {name: np.concatenate([part] * 2) for name, part in experiment.columns.items()}
        equal_moments(result, {**twice, "sample_weight": None})
    elif result.weight or result.n_rows or np.any(result.cross):
        raise Wrong("moments less themselves are not nothing")

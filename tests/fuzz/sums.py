"""Hostile sums: moments that were changed, added, stored and read, and fits to them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from fuzz.arguments import draw_arguments
from fuzz.case import EITHER, ERROR, Case, Wrong, argument_names, choose
from fuzz.experiment import draw_experiment
from fuzz.frame import equal_moments
from fuzz.two_stage import agree, answer_of, call_of, draw_parameters, fitted

from skbayesiv import FourthMoments, Moments, TwoStageLS


def frame_of(experiment):
    """A DataFrame and its roles."""
    import pandas as pd

    roles = {a: [f"{r.lower()}{i}" for i in range(experiment.columns[r].shape[1])]
             for a, r in (("covariates", "X"), ("instruments", "z"), ("treatment", "t"))}  # fmt: skip
    roles["outcome"] = "y0"
    columns = {f"{r.lower()}{i}": c for r, table in experiment.columns.items() for i, c in enumerate(table.T)}
    return pd.DataFrame(columns), roles


@cache
def some_sums(seed, fourth=False):
    """Sums of a benign experiment of one treatment, and its rows."""
    experiment = draw_experiment(np.random.default_rng(seed), small=False, plain=seed < 2)
    frame, roles = frame_of(experiment)
    kind = FourthMoments if fourth else Moments
    return kind.from_frame(frame, **roles), frame, experiment


def spoilt(rng, moments):
    """Moments that no rows have, or hardly any; their note, and what a fit of them owes."""
    m, width = moments, len(moments.total)
    bad = m.cross.copy()
    i, j = rng.integers(width, size=2)
    bad[i, j] = choose(rng, [np.nan, np.inf, -1.0, 1e300, 0.0])
    changes = {
        "cross with a bad entry": {"cross": bad},
        "cross negative": {"cross": -m.cross},
        "cross zero": {"cross": 0 * m.cross},
        "cross 1-D": {"cross": m.cross[0]},
        "cross of strings": {"cross": m.cross.astype(str)},
        "cross of a block": {"cross": m.cross[:-1, :-1]},
        "cross None": {"cross": None},
        "weight 0": {"weight": 0.0}, "weight negative": {"weight": -m.weight}, "weight NaN": {"weight": np.nan},
        "weight inf": {"weight": np.inf}, "weight a string": {"weight": "a"}, "weight tiny": {"weight": 1e-300},
        "weight of an array": {"weight": np.array([1.0, 2.0])},
        "n_rows 0": {"n_rows": 0}, "n_rows negative": {"n_rows": -5}, "n_rows None": {"n_rows": None},
        "n_rows NaN": {"n_rows": np.nan}, "n_rows large": {"n_rows": 10**18},
        "shift NaN": {"shift": m.shift * np.nan}, "shift short": {"shift": m.shift[:-1]}, "shift None": {"shift": None},
        "shift large": {"shift": m.shift + 1e300}, "total inf": {"total": m.total + np.inf}, "total None": {"total": None},
        "total large": {"total": m.total + 1e6}, "columns None": {"columns": None},
        "other columns": {"columns": replace(m.columns, outcome="z0")},
        "no treatments": {"columns": replace(m.columns, treatments=())},
        "a list of names": {"columns": replace(m.columns, covariates=list(m.columns.covariates))},
    }  # fmt: skip
    note = choose(rng, changes)
    return replace(moments, **changes[note]), note


NO_MOMENTS = [None, "moments", 1, [], {}, object(), np.zeros((3, 3)), {"a": 1}, Moments, 0.0, ()]


def fit_moments(rng):
    """fit_moments of right, of changed and of no moments, perhaps by cluster."""
    parameters, _, notes = draw_parameters(rng, False, wrong=0.03)
    if rng.random() < 0.8:
        parameters["cov_type"] = "unadjusted"
    est = fitted() if rng.random() < 0.3 else TwoStageLS()
    est.set_params(**parameters)
    moments, _, experiment = some_sums(int(rng.integers(8)))
    drawn = rng.random()
    must, answer = EITHER, None
    if drawn < 0.2:
        truth = {**experiment.columns, "sample_weight": None, "clusters": None}
        answer = answer_of(type("Rows", (), {"numbers": truth, "must": EITHER}), parameters, from_sums=True)
    elif drawn < 0.8:
        moments, note = spoilt(rng, moments)
        notes = [*notes, note]
    else:
        moments = choose(rng, NO_MOMENTS)
        notes, must = [*notes, f"moments={moments!r}"], ERROR
    options = {}
    if rng.random() < 0.2:
        options["cluster_moments"] = choose(rng, [[], [moments], {"a": moments}, {}, 1, "ab", [None], moments, [moments, 1], iter([moments])])  # fmt: skip
        notes, answer, must = [*notes, f"cluster_moments of {type(options['cluster_moments']).__name__}"], None, EITHER
    return Case(
        "TwoStageLS.fit_moments", lambda: est.fit_moments(moments, **options),
        argument_names(TwoStageLS.fit_moments, est) | {"X", "t", "y", "z", "sample_weight"}, [], est, must,
        lambda result: agree(result, answer), ("dof_",), notes,
    )  # fmt: skip


def partial_fit(rng):
    """A batch that is hostile, after one that was not, or first."""
    later = rng.random() < 0.5
    arguments = draw_arguments(rng, clusters=False, plain=later)
    parameters, _, notes = draw_parameters(rng, False, wrong=0.03)
    parameters["cov_type"] = "unadjusted"
    est = (fitted() if later else TwoStageLS()).set_params(**parameters)
    run, form = call_of(rng, est.partial_fit, arguments.values)
    answer = None if later else answer_of(arguments, parameters, from_sums=True)
    return Case(
        "TwoStageLS.partial_fit", run, argument_names(TwoStageLS.partial_fit, est), list(arguments.values.values()),
        est, EITHER if arguments.must != ERROR else ERROR, lambda result: agree(result, answer),
        ("dof_", *("covariance",) * ("t" not in arguments.values)), [form, "later" if later else "first", *notes, *arguments.notes],
    )  # fmt: skip


def arithmetic(rng):
    """Sums and differences of moments, and of what is none."""
    fourth = rng.random() < 0.4
    one, frame, experiment = some_sums(int(rng.integers(8)), fourth)
    other = choose(rng, ["same", "same", "another", "spoilt", "nothing", "the other kind", "a part"])
    right = {
        "same": lambda: one, "another": lambda: some_sums(int(rng.integers(8)), fourth)[0],
        "spoilt": lambda: one if fourth else spoilt(rng, one)[0], "nothing": lambda: choose(rng, [*NO_MOMENTS, 0]),
        "the other kind": lambda: some_sums(0, not fourth)[0], "a part": lambda: _part(frame, experiment, type(one)),
    }[other]()  # fmt: skip
    sign = choose(rng, ["+", "-", "radd"])
    calls = {"+": lambda: one + right, "-": lambda: one - right, "radd": lambda: right + one}
    check = (lambda result: _added(result, one, experiment, sign, other)) if not fourth else (lambda result: None)
    return Case(
        f"{type(one).__name__} arithmetic", calls[sign],
        {"Moments", "FourthMoments", "operand", "rows", "columns", "sums", "moments"},
        check=check, notes=[sign, other, repr(right)[:40]],
    )  # fmt: skip


def _part(frame, experiment, kind):
    _, roles = frame_of(experiment)
    return kind.from_frame(frame.iloc[: len(frame) // 2], **roles)


def _added(result, one, experiment, sign, other):
    if other == "same" and sign == "+":
        twice = {name: np.concatenate([part, part]) for name, part in experiment.columns.items()}
        equal_moments(result, {**twice, "sample_weight": None})
    if other == "same" and sign == "-" and (result.weight or np.abs(result.cross).max() > 1e-9 * np.abs(one.cross).max()):
        raise Wrong("moments less themselves are not nothing")


def stored(rng):
    """A file whose bytes or contents were changed, or that is none."""
    fourth = rng.random() < 0.4
    sums, _, _ = some_sums(int(rng.integers(8)), fourth)
    kind = choose(rng, ["bytes", "bytes", "contents", "cut", "no file", "untouched", "folder", "other kind"])
    folder = tempfile.mkdtemp(prefix="fuzz-")
    path = Path(folder) / "sums.npz"
    sums.save(path)
    note = change_file(rng, path, kind, type(sums))
    reader = choose(rng, [Moments, FourthMoments]) if kind == "other kind" else type(sums)
    target = {"no file": Path(folder) / "none.npz", "folder": Path(folder)}.get(kind, path)
    if rng.random() < 0.1:
        target, note = choose(rng, [None, 1.5, object(), [], b"x", ""]), "no path"
    return Case(
        f"{reader.__name__}.load", lambda: reader.load(target), {"path", "save", reader.__name__},
        files=True, notes=[kind, note],
    )  # fmt: skip


def change_file(rng, path, kind, of):
    """Change a stored file in place; a note of what was done."""
    data = bytearray(path.read_bytes())
    if kind == "bytes":
        for _ in range(int(rng.integers(1, 8))):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        path.write_bytes(bytes(data))
    if kind == "cut":
        path.write_bytes(bytes(data[: int(rng.integers(len(data)))]))
    if kind != "contents":
        return ""
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    name = choose(rng, content)
    values = {"columns": [json.dumps(v) for v in ({}, [], {"covariates": "ab", "instruments": [], "treatments": [], "outcome": 3}, None)]}  # fmt: skip
    value = choose(rng, values.get(name, [np.nan, -1, "a", np.zeros(0), np.zeros((2, 2)), 1j, np.inf, b"x", np.array([None])[:0].astype(float)]))  # fmt: skip
    if rng.random() < 0.3:
        del content[name]
        value = "left out"
    else:
        content[name] = np.asarray(value)
    np.savez(path, **content)
    return f"{name}={value!r}"

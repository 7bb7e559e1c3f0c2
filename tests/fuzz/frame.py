"""Hostile frames: every engine, odd types of columns, odd names, and sums of these."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
from fuzz.case import ANSWER, EITHER, ERROR, Case, Wrong, argument_names, choose, worst
from fuzz.experiment import draw_experiment, spoil_numbers
from fuzz.reference import moments as reference_moments
from fuzz.two_stage import agree, answer_of, draw_parameters

from skbayesiv import FourthMoments, Moments, TwoStageLS, fit_experiments

ENGINES = {
    "pandas": lambda f: f.to_pandas(),
    "pandas of arrow": lambda f: f.to_pandas(use_pyarrow_extension_array=True),
    "polars": lambda f: f,
    "polars, lazy": lambda f: f.lazy(),
    "arrow": lambda f: f.to_arrow(),
    "duckdb": lambda f: duckdb.from_arrow(f.to_arrow()),
    "pandas with an odd index": lambda f: f.to_pandas().set_axis([0] * len(f), axis=0),
    "a record batch": lambda f: f.to_arrow().combine_chunks().to_batches()[0],
}
LAZY = ("polars, lazy", "duckdb")
NO_FRAMES = [None, "frame", 1, [], {}, object(), np.zeros((3, 3)), np.zeros(3), [[1.0]], {"y": [1.0]},
             pd.Series([1.0], name="y"), pl.Series("y", [1.0]), pd.DataFrame, (), b"", float("nan")]  # fmt: skip


def _cycle(*values):
    return lambda n: [values[i % len(values)] for i in range(n)]


def _one(value, others):
    return lambda n: [value if i == 1 else others(i) for i in range(n)]


# A type of column -> how to make it, and whether it is of numbers, labels or neither.
TYPES = {
    "null in one row": (lambda n: pl.Series(_one(None, float)(n)), "missing"),
    "NaN in one row": (lambda n: pl.Series(_one(float("nan"), float)(n)), "missing"),
    "inf in one row": (lambda n: pl.Series(_one(float("inf"), float)(n)), "infinite"),
    "all null": (lambda n: pl.Series([None] * n, dtype=pl.Float64), "missing"),
    "all null of no type": (lambda n: pl.Series([None] * n), "neither"),
    "integers with null": (lambda n: pl.Series(_one(None, int)(n)), "missing"),
    "Booleans": (lambda n: pl.Series(_cycle(True, False, False)(n)), "numbers"),
    "Booleans with null": (lambda n: pl.Series(_one(None, lambda i: i % 2 > 0)(n)), "missing"),
    "int8": (lambda n: pl.Series(_cycle(-100, 1, 100, 7)(n), dtype=pl.Int8), "numbers"),
    "uint8": (lambda n: pl.Series(_cycle(0, 1, 250, 7)(n), dtype=pl.UInt8), "numbers"),
    "int64, large": (lambda n: pl.Series(_cycle(2**60, 1, -(2**60))(n), dtype=pl.Int64), "large"),
    "uint64, large": (lambda n: pl.Series(_cycle(2**63, 1, 5)(n), dtype=pl.UInt64), "large"),
    "float32": (lambda n: pl.Series(_cycle(0.5, 1.25, -3.0)(n), dtype=pl.Float32), "numbers"),
    "decimals": (lambda n: pl.Series(_cycle(Decimal("1.25"), Decimal("0.50"), Decimal(-7))(n)), "numbers"),
    "dates": (lambda n: pl.Series(_cycle(date(2026, 1, 1), date(2026, 1, 2))(n)), "labels"),
    "times": (lambda n: pl.Series(_cycle(datetime(2026, 1, 1), datetime(2026, 1, 2))(n)), "labels"),
    "durations": (lambda n: pl.Series(_cycle(timedelta(1), timedelta(2))(n)), "labels"),
    "strings": (lambda n: pl.Series(_cycle("b", "a", "c")(n)), "labels"),
    "one string": (lambda n: pl.Series(["a"] * n), "labels"),
    "strings with null": (lambda n: pl.Series(_one(None, lambda i: "ab"[i % 2])(n)), "missing"),
    "odd strings": (lambda n: pl.Series(_cycle("", " ", "a]", "[a", "\n", "χ")(n)), "labels"),
    "all different strings": (lambda n: pl.Series([f"s{i}" for i in range(n)]), "labels"),
    "categories": (lambda n: pl.Series(_cycle("b", "a")(n), dtype=pl.Categorical), "labels"),
    "an enum": (lambda n: pl.Series(_cycle("b", "a")(n), dtype=pl.Enum(["a", "b", "c"])), "labels"),
    "binary": (lambda n: pl.Series(_cycle(b"a", b"b")(n)), "neither"),
    "lists": (lambda n: pl.Series(_cycle([1.0], [2.0, 3.0])(n)), "neither"),
    "structs": (lambda n: pl.Series(_cycle({"a": 1.0}, {"a": 2.0})(n)), "neither"),
    "constant": (lambda n: pl.Series([0.1] * n), "numbers"),
}  # fmt: skip
ODD_NAMES = ["Intercept", "", "a[b]", "x y", "'", '"', "null", "SELECT", "count", "χ", "a" * 300, "1", "nan",
             "__tmp", "w*w", "y", "t.z", "%", "\\", "\n", "level_0", "literal", "len"]  # fmt: skip


@dataclass
class Frame:
    """A frame, who is who in it, and the numbers in it."""

    table: pl.DataFrame
    roles: dict
    numbers: dict | None
    must: str = ANSWER
    notes: list[str] = field(default_factory=list)

    def owe(self, note, must=EITHER):
        self.notes.append(note)
        self.must = worst([self.must, must])


def draw_frame(rng):
    """Columns x, z, t, y, w, g, of which some are hostile."""
    experiment = draw_experiment(rng, treated=rng.random() < 0.9)
    steps = int(choose(rng, [0, 1, 2], p=[0.2, 0.6, 0.2]))
    drawn = [choose(rng, ["numbers", "type", "type", "name", "weights"]) for _ in range(steps)]
    for _ in range(drawn.count("numbers")):
        spoil_numbers(rng, experiment)
    columns, roles = {}, {}
    for argument, role in (("covariates", "X"), ("instruments", "z"), ("treatment", "t"), ("outcome", "y")):
        table = experiment.columns[role]
        roles[argument] = [f"{role.lower()}{i}" for i in range(table.shape[1])]
        columns |= {name: pl.Series(c) for name, c in zip(roles[argument], table.T, strict=True)}
    n = experiment.n
    columns["w"] = pl.Series(rng.integers(1, 4, n).astype(float))
    columns["g"] = pl.Series([f"g{i % 3}" for i in range(n)])
    numbers = {**experiment.columns, "sample_weight": None, "clusters": None}
    out = Frame(pl.DataFrame(columns), roles, numbers, experiment.must, list(experiment.notes))
    if not all(np.isfinite(part).all() for part in experiment.columns.values()):
        out.must = ERROR
    for kind in drawn:
        change = {"type": retype, "name": rename, "weights": reweigh}.get(kind)
        if change is not None:
            change(rng, out)
    return out


def retype(rng, frame):
    """Put another type of column in a role."""
    argument = choose(rng, ["outcome", "treatment", "instruments", "covariates", "covariates"])
    if not frame.roles[argument]:
        return
    kind = choose(rng, TYPES)
    make, sort = TYPES[kind]
    name = choose(rng, frame.roles[argument])
    if name not in frame.table.columns:
        return
    series = make(len(frame.table)).alias(name)
    frame.table = frame.table.with_columns(series)
    frame.numbers = None
    wrong = sort in ("missing", "infinite", "neither") or (sort == "labels" and argument != "covariates")
    frame.owe(f"{argument} {kind}", ERROR if wrong else EITHER)


def rename(rng, frame):
    """Give a column an odd name."""
    argument = choose(rng, [argument for argument, names in frame.roles.items() if names])
    old, new = choose(rng, frame.roles[argument]), choose(rng, ODD_NAMES)
    if new in frame.table.columns or old not in frame.table.columns:
        return
    frame.table = frame.table.rename({old: new})
    frame.roles[argument] = [new if name == old else name for name in frame.roles[argument]]
    frame.owe(f"{argument} named {new!r}"[:60])


def reweigh(rng, frame):
    """Another column of weights, perhaps a hostile one."""
    n = len(frame.table)
    kinds = {
        "ones": (pl.Series([1.0] * n), ANSWER), "zeros": (pl.Series([0.0] * n), ERROR),
        "negative": (pl.Series(_one(-1.0, lambda i: 1.0)(n)), ERROR),
        "NaN": (pl.Series(_one(float("nan"), lambda i: 1.0)(n)), ERROR),
        "null": (pl.Series(_one(None, lambda i: 1.0)(n)), ERROR),
        "inf": (pl.Series(_one(float("inf"), lambda i: 1.0)(n)), ERROR),
        "strings": (pl.Series(["1"] * n), ERROR), "dates": (pl.Series([date(2026, 1, 1)] * n), ERROR),
        "Booleans": (pl.Series(_cycle(True, True, False)(n)), EITHER),
        "durations": (pl.Series([timedelta(1)] * n), ERROR), "lists": (pl.Series([[1.0]] * n), ERROR),
        "counts": (pl.Series(_cycle(1, 2, 3)(n), dtype=pl.UInt8), ANSWER),
        "huge": (pl.Series([1e300, *[1.0] * (n - 1)]), EITHER),
    }  # fmt: skip
    kind = choose(rng, kinds)
    series, must = kinds[kind]
    frame.table = frame.table.with_columns(series.alias("w"))
    frame.roles["sample_weight"] = "w"
    if frame.numbers is not None:
        frame.numbers["sample_weight"] = series.cast(pl.Float64, strict=False).to_numpy() if must != ERROR else None
    frame.owe(f"sample_weight {kind}", must)


def columns_named(frame):
    """A column's name in quotes says as much as the argument's."""
    return {repr(name) for name in frame.table.columns}


def in_engine(rng, frame):
    """The frame in some engine; one that cannot hold it is passed over for polars."""
    engine = choose(rng, ENGINES)
    try:
        return ENGINES[engine](frame.table), engine
    except Exception:
        return frame.table, "polars"


def columns_of(rng, frame, fourth=False):
    """Arguments of from_frame: names, as a string where there is one, or hostile ones."""
    roles = {a: names[0] if len(names) == 1 and rng.random() < 0.5 else list(names) for a, names in frame.roles.items() if names or fourth}  # fmt: skip
    roles["outcome"] = frame.roles["outcome"][0]
    extra = {}
    if rng.random() < 0.3:
        extra["missing"] = choose(rng, ["drop", "drop", "raise", "ignore", None, True])
    if rng.random() < 0.3:
        extra["by"] = choose(rng, ["g", "g", frame.roles["outcome"][0], "nobody", 1, ["g"], ""])
    if rng.random() < 0.1:
        extra["categories"] = choose(rng, [{"g": ["g0"]}, {}, [], "g", {"x0": [0.0, 1.0]}, {"x0": []}, {"x0": ["a", "a"]}, {1: [2]}, {"x0": "ab"}, {"x0": None}, {"x0": [[1]]}])  # fmt: skip
    if rng.random() < 0.1:
        name = choose(rng, roles)
        roles[name] = choose(rng, [None, 1, "nobody", ["x0", "x0"], [None], b"y0", ("y0",), {"t0": 1}, np.array(["x0"]), 1.5, [], "w", "y0", iter(["x0"])])  # fmt: skip
        extra["odd"] = name
    return roles, extra


def from_frame(rng):
    """Moments or FourthMoments of a frame."""
    frame, fourth = draw_frame(rng), rng.random() < 0.3
    kind = FourthMoments if fourth else Moments
    given, engine = in_engine(rng, frame)
    if rng.random() < 0.05:
        given, engine = choose(rng, NO_FRAMES), "no frame"
        frame.must = ERROR
    roles, extra = columns_of(rng, frame, fourth)
    odd = extra.pop("odd", None)
    changed = odd or extra or fourth
    keep = frame.must if not changed else EITHER
    if frame.must == ERROR and not odd and extra.get("missing") != "drop" and not extra.get("categories"):
        keep = ERROR
    if fourth and engine != "no frame" and not frame.roles["treatment"]:
        keep = EITHER
    return Case(
        f"{kind.__name__}.from_frame", lambda: kind.from_frame(given, **roles, **extra),
        argument_names(kind.from_frame) | columns_named(frame), [given] if engine in ("pandas", "polars") else [], None, keep,
        (lambda result: None) if changed else (lambda result: equal_moments(result, frame.numbers)),
        notes=[engine, *(f"{k}={v!r}" for k, v in extra.items()), *([f"{odd}={roles[odd]!r}"] if odd else []), *frame.notes],
    )  # fmt: skip


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
    frame = draw_frame(rng)
    clusters = "g" if rng.random() < 0.2 else None
    parameters, must, notes = draw_parameters(rng, clusters is not None, wrong=0.03)
    roles = {a: names for a, names in frame.roles.items() if a in ("treatment", "instruments") and names}
    est = TwoStageLS(**parameters).set_params(**roles)
    known = est.get_params()
    drop = [name for name in ("w", "g") if name not in (frame.roles.get("sample_weight"), clusters)]
    given, engine = in_engine(rng, replace(frame, table=frame.table.drop(drop, strict=False)))
    options = {"sample_weight": "w"} if "sample_weight" in frame.roles else {}
    if clusters:
        options["clusters"] = "g"
        frame.owe("clusters g")
        if frame.numbers:
            frame.numbers["clusters"] = frame.table["g"].to_numpy()
    if "covariates" in known:
        est.set_params(covariates=frame.roles["covariates"] or None)
    method = "partial_fit" if rng.random() < 0.1 and not clusters else "fit"
    answer = None if method == "partial_fit" else answer_of(frame, parameters, from_sums=engine in LAZY)
    owed = worst([must, frame.must, EITHER if method == "partial_fit" else ANSWER])
    if owed == ANSWER and (answer is None or not answer.is_certain):
        owed = EITHER
    return Case(
        f"TwoStageLS.{method} of a frame", lambda: getattr(est, method)(given, frame.roles["outcome"][0], **options),
        argument_names(TwoStageLS.fit, est) | {"frame"} | columns_named(frame), [given] if engine in ("pandas", "polars") else [], est,
        owed, lambda result: agree(result, answer),
        ("dof_", *("covariance",) * (not frame.roles["treatment"])), [engine, *notes, *frame.notes],
    )  # fmt: skip


def experiments(rng):
    """fit_experiments of hostile frames and names; what is right in all of it is rarely sampled."""
    from fuzz.posterior import TEMPLATE

    frame = draw_frame(rng)
    given, engine = in_engine(rng, frame)
    roles, _ = columns_of(rng, frame, fourth=True)
    by = choose(rng, ["g", "g", "w", "nobody", None, 1, ["g"], "y0"])
    options = {"estimator": copy.copy(TEMPLATE)}
    if rng.random() < 0.3:
        options["estimator"] = choose(rng, [TwoStageLS(), "BayesianIV", object(), 1, type(TEMPLATE)])
    return Case(
        "fit_experiments", lambda: fit_experiments(given, by=by, **roles, **options),
        argument_names(fit_experiments) | {"Experiment"} | columns_named(frame), [], None, ERROR if frame.must == ERROR else EITHER,
        notes=[engine, f"by={by!r}", f"{options['estimator']!r}", *frame.notes],
    )  # fmt: skip

"""Hostile frames: every engine, odd types of columns, odd names."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from fuzz.case import ANSWER, EITHER, ERROR, choose, worst
from fuzz.columns import ENGINES, LABELS, MISSING, NAMES, NEITHER, TYPES, WEIGHTS
from fuzz.experiment import draw_experiment, spoil_numbers

ROLE = {"covariates": "X", "instruments": "z", "treatment": "t", "outcome": "y"}


@dataclass
class Frame:
    """A table, the names of its columns by role, and the numbers in it, None if there are none."""

    table: pl.DataFrame
    roles: dict
    numbers: dict | None
    must: str = ANSWER
    notes: list[str] = field(default_factory=list)

    def owe(self, note, must=EITHER):
        """Note something hostile, and what it allows."""
        self.notes.append(note)
        self.must = worst([self.must, must])

    @property
    def outcome(self):
        """Name of the outcome."""
        return self.roles["outcome"][0]

    @property
    def words(self):
        """Names of columns in quotes: they say as much as the argument's name."""
        return {repr(name) for name in self.table.columns}


def draw_frame(rng):
    """Columns x, z, t, y, and w and g for weights and groups; some are hostile."""
    experiment = draw_experiment(rng, treated=rng.random() < 0.9)
    steps = int(choose(rng, [0, 1, 2], p=[0.2, 0.6, 0.2]))
    drawn = [choose(rng, ["numbers", "type", "type", "name", "weights"]) for _ in range(steps)]
    for _ in range(drawn.count("numbers")):
        spoil_numbers(rng, experiment)
    out = frame_of(rng, experiment)
    if not all(np.isfinite(part).all() for part in experiment.columns.values()):
        out.must = ERROR
    for kind in drawn:
        change = {"type": retype, "name": rename, "weights": reweigh}.get(kind)
        if change is not None:
            change(rng, out)
    return out


def frame_of(rng, experiment):
    """The experiment as a frame."""
    columns, roles = {}, {}
    for argument, role in ROLE.items():
        table = experiment.columns[role]
        roles[argument] = [f"{role.lower()}{i}" for i in range(table.shape[1])]
        columns |= {name: pl.Series(c) for name, c in zip(roles[argument], table.T, strict=True)}
    n = experiment.n
    columns["w"] = pl.Series(rng.integers(1, 4, n).astype(float))
    columns["g"] = pl.Series([f"g{i % 3}" for i in range(n)])
    numbers = {**experiment.columns, "sample_weight": None, "clusters": None}
    return Frame(pl.DataFrame(columns), roles, numbers, experiment.must, list(experiment.notes))


def retype(rng, frame):
    """Put another type of column in a role."""
    if frame.numbers is None:
        return
    argument = choose(rng, [name for name in ROLE if frame.roles[name]])
    kind, name = choose(rng, TYPES), choose(rng, frame.roles[argument])
    make, holds = TYPES[kind]
    frame.table = frame.table.with_columns(make(len(frame.table)).alias(name))
    frame.numbers = None
    wrong = holds in (MISSING, NEITHER) or (holds == LABELS and argument != "covariates")
    frame.owe(f"{argument} {kind}", ERROR if wrong else EITHER)


def rename(rng, frame):
    """Give a column an odd name."""
    argument = choose(rng, [name for name in ROLE if frame.roles[name]])
    old, new = choose(rng, frame.roles[argument]), choose(rng, NAMES)
    if new in frame.table.columns:
        return
    frame.table = frame.table.rename({old: new})
    frame.roles[argument] = [new if name == old else name for name in frame.roles[argument]]
    frame.owe(f"{argument} named {new!r}"[:60])


def reweigh(rng, frame):
    """A column of weights."""
    if "sample_weight" in frame.roles:
        return
    kind = choose(rng, WEIGHTS)
    make, must = WEIGHTS[kind]
    series = make(len(frame.table)).alias("w")
    frame.table, frame.roles["sample_weight"] = frame.table.with_columns(series), "w"
    if frame.numbers is not None and must != ERROR:
        frame.numbers["sample_weight"] = series.cast(pl.Float64).to_numpy()
    frame.owe(f"sample_weight {kind}", must)


def in_engine(rng, frame, without=()):
    """The frame in some engine, and its name; in polars where that cannot hold it."""
    engine, table = choose(rng, ENGINES), frame.table.drop(without, strict=False)
    try:
        return ENGINES[engine](table), engine
    except Exception:  # each engine has its own
        return table, "polars"

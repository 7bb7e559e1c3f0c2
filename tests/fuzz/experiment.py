"""Random experiments, and what can be wrong with their numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from fuzz.case import ANSWER, EITHER, ERROR, choose, worst

ROLES = ("X", "t", "z", "y")


@dataclass
class Experiment:
    """Columns by role, each a 2-D array of floats, with weights and clusters or without.

    `must` says what a fit of these numbers owes (see `Case`), `notes` what is hostile in them.
    """

    columns: dict[str, np.ndarray]
    weight: np.ndarray | None = None
    clusters: np.ndarray | None = None
    must: str = ANSWER
    notes: list[str] = field(default_factory=list)

    @property
    def n(self):
        return len(self.columns["y"])

    def spoil(self, note, must=EITHER):
        self.notes.append(note)
        self.must = worst([self.must, must])


def draw_experiment(rng, *, treated=True, small=True, plain=False):
    """A benign experiment: an instrument that moves the treatment, which moves the outcome."""
    n = int(choose(rng, [3, 5, 8, 12, 20])) if small and rng.random() < 0.1 else 30
    n += int(rng.integers(0, 30)) * (n >= 30)
    k = 1 if plain or rng.random() < 0.8 else 2
    p, q = (1, 1) if plain else (int(rng.integers(0, 4)), k + int(choose(rng, [0, 0, 1, 2])))
    x, z = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    if rng.random() < 0.3:
        z = (z > 0).astype(float)
    hidden = rng.normal(size=(n, 1))
    t = 1.5 * z @ np.eye(q, k) + 0.5 * z.mean(axis=1, keepdims=True) + 0.5 * hidden
    t = t + 0.3 * x.sum(axis=1, keepdims=True) + rng.normal(size=(n, k))
    y = 1.0 + t.sum(axis=1, keepdims=True) + 0.5 * x.sum(axis=1, keepdims=True) + hidden
    if not treated:
        t, z = t[:, :0], z[:, :0]
    out = Experiment({"X": x, "t": t, "z": z, "y": y + rng.normal(size=(n, 1))})
    if n < 30:
        out.spoil(f"{n} rows")
    return out


SCALES = (-310, -300, -200, -160, -155, -100, -30, -12, 12, 30, 100, 150, 155, 160, 200, 300)
MEANS = (1e10, 1e12, -1e12, 1e200)


def one(value):
    def spoil(rng, column, others):
        column[rng.integers(len(column))] = value
        return column

    return spoil


def every(value):
    return lambda rng, column, others: np.full_like(column, value)


def scaled(factor):
    return lambda rng, column, others: column * factor


def moved(mean):
    return lambda rng, column, others: column + mean


def copy_of(rng, column, others):
    return choose(rng, others).copy() if others else column


def sum_of(rng, column, others):
    return sum(others) if others else column


def nearly_sum_of(rng, column, others):
    error = 10.0 ** rng.integers(-10, -2)
    return sum(others) + error * column if others else column


def one_odd_row(rng, column, others):
    column[:] = 0.0
    column[rng.integers(len(column))] = choose(rng, [1.0, 1e8, -3.0])
    return column


def two_values(rng, column, others):
    return (column > np.median(column)).astype(float)


def orthogonal(rng, column, others):
    """Nothing to do with the other columns, to rounding."""
    if len(others) >= len(column) - 1 or not np.isfinite(others).all():
        return column
    design = np.column_stack([np.ones(len(column)), *others])
    return column - design @ np.linalg.lstsq(design, column, rcond=None)[0]


# What is done to one column -> what a call of it then owes.
NUMBERS = {
    "one NaN": (one(np.nan), EITHER),
    "one inf": (one(np.inf), EITHER),
    "one -inf": (one(-np.inf), EITHER),
    "all NaN": (every(np.nan), EITHER),
    "all inf": (every(np.inf), EITHER),
    "one 1e300": (one(1e300), EITHER),
    "one 1e8": (one(1e8), EITHER),
    **{f"scaled by 1e{k}": (scaled(10.0**k), EITHER) for k in SCALES},
    **{f"scaled by 1e{k}": (scaled(10.0**k), ANSWER) for k in (-6, -3, 3, 6)},
    **{f"mean {mean:g}": (moved(mean), EITHER) for mean in MEANS},
    **{f"mean {mean:g}": (moved(mean), ANSWER) for mean in (1e3, -1e5, 1e7)},
    "constant 0": (every(0.0), EITHER),
    "constant 1": (every(1.0), EITHER),
    "constant 0.1": (every(0.1), EITHER),
    "constant 1e12": (every(1e12), EITHER),
    "copy of another column": (copy_of, EITHER),
    "sum of the others": (sum_of, EITHER),
    "nearly the sum of the others": (nearly_sum_of, EITHER),
    "one odd row": (one_odd_row, EITHER),
    "two values": (two_values, EITHER),
    "orthogonal to the others": (orthogonal, EITHER),
}


def spoil_numbers(rng, experiment):
    """Do something to one column."""
    role = choose(rng, [role for role in ROLES if experiment.columns[role].shape[1]])
    table = experiment.columns[role]
    at = int(rng.integers(table.shape[1]))
    others = [
        c for r in ROLES for i, c in enumerate(experiment.columns[r].T) if (r, i) != (role, at)
    ]
    name = choose(rng, NUMBERS)
    change, must = NUMBERS[name]
    with np.errstate(all="ignore"):
        table[:, at] = change(rng, table[:, at].copy(), others)
    experiment.spoil(f"{role} {name}", must)


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES = [*INTEGERS, "bool", "float16", "float32", "longdouble", ">f8", ">i4"]


def cast(rng, table):
    """Another type of numbers, and its name; what does not fit becomes what the type can hold."""
    dtype = np.dtype(choose(rng, DTYPES))
    with np.errstate(all="ignore"):
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            table = np.clip(np.nan_to_num(np.rint(10 * table)), max(limits.min, -100), 100)
        return table.astype(dtype), dtype.name


WEIGHTS = {
    "ones": (lambda rng, n: np.ones(n), ANSWER),
    "counts": (lambda rng, n: rng.integers(1, 4, n).astype(float), ANSWER),
    "counts and zeros": (lambda rng, n: rng.integers(0, 4, n).astype(float), EITHER),
    "fractions": (lambda rng, n: rng.uniform(0.1, 2.0, n), EITHER),
    "huge": (lambda rng, n: rng.integers(1, 4, n) * 1e12, EITHER),
    "overflowing": (lambda rng, n: np.full(n, 1e308), EITHER),
    "tiny": (lambda rng, n: rng.integers(1, 4, n) * 1e-12, EITHER),
    "denormal": (lambda rng, n: np.full(n, 5e-324), EITHER),
    "uneven": (lambda rng, n: 10.0 ** rng.integers(-8, 9, n), EITHER),
    "one row has it all": (lambda rng, n: np.where(np.arange(n) == n // 2, 1e7, 1.0), EITHER),
    "all zero": (lambda rng, n: np.zeros(n), EITHER),
    "one row only": (lambda rng, n: (np.arange(n) == 1).astype(float), EITHER),
    "one negative": (lambda rng, n: np.where(np.arange(n) == 1, -1.0, 1.0), EITHER),
    "negative zero": (lambda rng, n: np.where(np.arange(n) == 1, -0.0, 1.0), EITHER),
    "one NaN": (lambda rng, n: np.where(np.arange(n) == 1, np.nan, 1.0), EITHER),
    "one inf": (lambda rng, n: np.where(np.arange(n) == 1, np.inf, 1.0), EITHER),
}


def weigh(rng, experiment):
    """Weights that are benign or not."""
    if experiment.weight is not None:
        return
    name = choose(rng, WEIGHTS)
    make, must = WEIGHTS[name]
    experiment.weight = make(rng, experiment.n)
    experiment.spoil(f"sample_weight {name}", must)


def codes(rng, n):
    return rng.permutation(np.arange(n) % max(n // 2, 1))


LABELS = {
    "whole numbers": (codes, ANSWER),
    "strings": (lambda rng, n: np.array([f"c{i}" for i in codes(rng, n)]), ANSWER),
    "floats": (lambda rng, n: codes(rng, n) + 0.5, ANSWER),
    "negative": (lambda rng, n: codes(rng, n) - 10, ANSWER),
    "far apart": (lambda rng, n: codes(rng, n) * 10**15, ANSWER),
    "bytes": (lambda rng, n: codes(rng, n).astype("S4"), EITHER),
    "dates": (lambda rng, n: np.datetime64("2026-01-01") + codes(rng, n), EITHER),
    "tuples": (lambda rng, n: objects([(int(i), "a") for i in codes(rng, n)]), EITHER),
    "lists": (lambda rng, n: objects([[int(i)] for i in codes(rng, n)]), EITHER),
    "of mixed types": (
        lambda rng, n: objects([i if i % 2 else f"{i}" for i in codes(rng, n)]),
        EITHER,
    ),
    "NaN in one row": (lambda rng, n: np.where(np.arange(n) == 1, np.nan, codes(rng, n)), ERROR),
    "None in one row": (lambda rng, n: objects([None, *codes(rng, n)[1:].tolist()]), ERROR),
    "NaT in one row": (
        lambda rng, n: np.r_[np.datetime64("NaT"), np.datetime64("2026-01-01") + codes(rng, n)[1:]],
        ERROR,
    ),
    "one": (lambda rng, n: np.zeros(n, dtype=int), EITHER),
    "two": (lambda rng, n: np.arange(n) % 2, EITHER),
    "all different": (lambda rng, n: np.arange(n), EITHER),
    "true or false": (lambda rng, n: np.arange(n) % 3 > 0, EITHER),
    "in two columns": (lambda rng, n: np.zeros((n, 2)), ERROR),
    "one short": (lambda rng, n: codes(rng, n - 1), ERROR),
    "complex": (lambda rng, n: codes(rng, n) + 1j, EITHER),
}


def objects(values):
    """An array of Python objects, whatever they are."""
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def cluster(rng, experiment):
    """Labels that are benign or not."""
    if experiment.clusters is not None:
        return
    name = choose(rng, LABELS)
    make, must = LABELS[name]
    experiment.clusters = make(rng, experiment.n)
    experiment.spoil(f"clusters {name}", must)

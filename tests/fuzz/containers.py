"""The same numbers in every type that a person may have them in, and types that hold none."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from fuzz.case import ANSWER, EITHER, ERROR, choose
from fuzz.experiment import objects
from scipy import sparse


def entrywise(change):
    """An array of Python objects made of each number."""

    def make(rng, a):
        return objects([change(float(v)) for v in a.ravel()]).reshape(a.shape)

    return make


def spoilt(value):
    """Python objects, of which one is no number."""

    def make(rng, a):
        out = a.astype(object)
        if out.size:
            out.flat[rng.integers(out.size)] = value
        return out

    return make


def fraction(value):
    return Fraction(value) if np.isfinite(value) else value


def as_pandas(a, index=None, names=None, dtype=None):
    """A Series of a vector, a DataFrame of a table."""
    if a.ndim == 1:
        return pd.Series(a, index=index, dtype=dtype)
    return pd.DataFrame(a, index=index, columns=names, dtype=dtype)


def as_polars(rng, a):
    return (
        pl.Series(a)
        if a.ndim == 1
        else pl.DataFrame(a, schema=[f"c{i}" for i in range(a.shape[1])])
    )


def as_arrow(rng, a):
    if a.ndim == 1:
        return choose(rng, [pa.array, lambda v: pa.chunked_array([v[:2], v[2:]])])(a)
    return pa.table({f"c{i}": column for i, column in enumerate(a.T)})


def with_na(dtype):
    """A nullable type of pandas in which a value is missing."""

    def make(rng, a):
        values = spoilt(pd.NA)(rng, np.rint(np.nan_to_num(a, posinf=9, neginf=-9)).clip(0, 1))
        return as_pandas(values, dtype=dtype)

    return make


def masked(rng, a):
    mask = np.zeros(a.shape, dtype=bool)
    if mask.size:
        mask.flat[rng.integers(mask.size)] = True
    return np.ma.masked_array(a, mask=mask)


def categories(make):
    def of(rng, a):
        columns = [pd.Series(pd.Categorical(make(c))) for c in np.atleast_2d(a.T)]
        return (
            columns[0] if a.ndim == 1 else pd.concat(columns, axis=1) if columns else as_pandas(a)
        )

    return of


def words(rng, a):
    return np.full(a.shape, "a")


def generator(rng, a):
    return (row for row in a.tolist())


def structured(rng, a):
    return np.array([(1.0, 2.0)] * len(a), dtype=[("a", float), ("b", float)])


INDEXES = {
    "strings": lambda rng, n: [f"customer{i}" for i in range(n)],
    "shuffled": lambda rng, n: rng.permutation(n),
    "from 1": lambda rng, n: np.arange(1, n + 1),
    "of one label": lambda rng, n: [0] * n,
    "dates": lambda rng, n: pd.date_range("2026-01-01", periods=n),
    "of levels": lambda rng, n: pd.MultiIndex.from_arrays([np.arange(n) % 2, np.arange(n)]),
    "with NaN": lambda rng, n: np.where(np.arange(n) == 1, np.nan, np.arange(n)),
}
NAMES = {
    "Intercept": lambda i: "Intercept",
    "empty": lambda i: "",
    "of a level": lambda i: f"x[{i}]",
    "of numbers": lambda i: i,
    "of numbers from 5": lambda i: 5 + i,
    "tuples": lambda i: ("a", i),
    "None": lambda i: None,
    "NaN": lambda i: np.nan,
    "of the outcome": lambda i: "y" if not i else f"t{i}",
    "mixed": lambda i: i if i % 2 else "a",
    "all the same": lambda i: "x",
    "long": lambda i: "x" * 3000 + str(i),
    "bytes": lambda i: f"{i}".encode(),
    "of another alphabet": lambda i: f"χ{i}\n",
}


def indexed(make):
    return lambda rng, a: as_pandas(
        a,
        index=make(rng, len(a)),
        names=[f"c{i}" for i in range(np.atleast_2d(a).shape[-1])] if a.ndim > 1 else None,
    )


def named(make):
    def of(rng, a):
        if a.ndim == 1:
            return pd.Series(a, name=make(0))
        return pd.DataFrame(a, columns=[make(i) for i in range(a.shape[1])])

    return of


def numpy_only(change):
    return lambda rng, a: change(a)


# What is made of an array -> what a call of it owes, and whether the numbers are still there.
KEEP = {
    "a list": (lambda rng, a: a.tolist(), ANSWER),
    "a tuple": (lambda rng, a: tuple(map(tuple, a.tolist()) if a.ndim > 1 else a.tolist()), ANSWER),
    "a memoryview": (lambda rng, a: memoryview(np.ascontiguousarray(a)), EITHER),
    "in Fortran order": (numpy_only(np.asfortranarray), ANSWER),
    "with negative strides": (numpy_only(lambda a: a[::-1].copy()[::-1]), ANSWER),
    "not contiguous": (numpy_only(lambda a: np.repeat(a, 2, axis=0)[::2]), ANSWER),
    "a matrix": (numpy_only(lambda a: a.view(np.matrix) if a.ndim == 2 else a), EITHER),
    "objects": (entrywise(float), EITHER),
    "Decimals": (entrywise(lambda v: Decimal(v)), EITHER),
    "Fractions": (entrywise(fraction), EITHER),
    "strings of numbers": (entrywise(repr), EITHER),
    "bytes of numbers": (entrywise(lambda v: repr(v).encode()), EITHER),
    "pandas": (lambda rng, a: as_pandas(a), ANSWER),
    "pandas of nullable floats": (lambda rng, a: as_pandas(a, dtype="Float64"), EITHER),
    "pandas of arrow's floats": (lambda rng, a: as_pandas(a, dtype="float64[pyarrow]"), EITHER),
    "pandas of objects": (lambda rng, a: as_pandas(a, dtype=object), EITHER),
    "polars": (as_polars, ANSWER),
    "arrow": (as_arrow, ANSWER),
    "a masked array without a mask": (numpy_only(np.ma.masked_array), EITHER),
    "categories of numbers": (categories(lambda c: c), EITHER),
    **{f"pandas with an index {k}": (indexed(v), EITHER) for k, v in INDEXES.items()},
    **{f"pandas with names {k}": (named(v), EITHER) for k, v in NAMES.items()},
}
LOSE = {
    "a masked array": masked,
    "words": words,
    "words as objects": lambda rng, a: words(rng, a).astype(object),
    "with a None": spoilt(None),
    "with a string": spoilt("a"),
    "with a list": spoilt([1.0]),
    "with a dict": spoilt({}),
    "with pd.NA": spoilt(pd.NA),
    "with NaT": spoilt(pd.NaT),
    "nullable integers with NA": with_na("Int64"),
    "nullable Booleans with NA": with_na("boolean"),
    "categories of strings": categories(lambda c: np.where(np.arange(len(c)) % 2, "a", "b")),
    "complex": numpy_only(lambda a: a + 1j),
    "dates": numpy_only(lambda a: np.full(a.shape, np.datetime64("2026-01-01"))),
    "durations": numpy_only(lambda a: np.arange(a.size).reshape(a.shape).astype("timedelta64[s]")),
    "bytes": numpy_only(lambda a: np.full(a.shape, b"a")),
    "structured": structured,
    "a generator": generator,
    "a set": lambda rng, a: set(range(len(a))),
    "a dict": lambda rng, a: {"a": a.tolist()},
    "a string": lambda rng, a: "a",
    "an empty string": lambda rng, a: "",
    "bytes in one": lambda rng, a: b"a" * len(a),
    "a number": lambda rng, a: 1.0,
    "NaN": lambda rng, a: np.nan,
    "an object": lambda rng, a: object(),
    "a class": lambda rng, a: float,
    "a function": lambda rng, a: len,
    "a ragged list": lambda rng, a: (
        [[1.0], *a.tolist()[1:]] if a.ndim == 1 else [[], *a.tolist()[1:]]
    ),
    "an array of no dimensions": lambda rng, a: np.array(1.0),
    "a polars Series of strings": lambda rng, a: pl.Series(["a"] * len(a)),
    "a polars Series with a null": lambda rng, a: pl.Series([None] + [1.0] * (len(a) - 1)),
    "arrow with a null": lambda rng, a: pa.array([None] + [1.0] * (len(a) - 1)),
}
LOSE_X = {
    "a Series": lambda rng, a: pd.Series(np.arange(float(len(a)))),
    "a vector": lambda rng, a: np.arange(float(len(a))),
}
SPARSE = {
    "a sparse matrix": lambda rng, a: sparse.csr_matrix(a),
    "a sparse array": lambda rng, a: sparse.csc_array(a),
    "sparse pandas": lambda rng, a: pd.DataFrame(a).astype(pd.SparseDtype(float)),
}
SHAPES = {
    "without rows": lambda a: a[:0],
    "one row short": lambda a: a[:-1],
    "one row long": lambda a: np.concatenate([a, a[:1]]),
    "one row": lambda a: a[:1],
    "on its side": lambda a: np.atleast_2d(a.T) if a.ndim == 1 else a.T,
    "of three dimensions": lambda a: a.reshape(*a.shape[:1], -1, 1),
    "twice": lambda a: np.column_stack([a, a]),
    "wider than long": lambda a: np.column_stack([a] * (len(a) + 2)),
}


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def wrap(rng, name, a):
    """A container for an argument: its value, what is hostile in it, and what it owes."""
    if name == "X" and rng.random() < 0.1:
        kind = choose(rng, SPARSE)
        finite = np.isfinite(a.astype(float)).all()
        held = finite and a.dtype != np.float16  # which no sparse matrix holds
        return (SPARSE[kind](rng, a) if held else a), kind, EITHER
    if rng.random() < 0.65:
        kind = choose(rng, KEEP)
        make, must = KEEP[kind]
        if not np.isfinite(a.astype(float)).all() and kind == "Fractions":
            return a, "", ANSWER
        return make(rng, a.astype(float)), kind, must
    lose = LOSE | (LOSE_X if name == "X" else {})
    kind = choose(rng, lose)
    scalar = name == "sample_weight" and kind in ("a number", "an array of no dimensions")
    if scalar and not (a == 1.0).all():
        return a, "", ANSWER  # one number for all would be another weight
    fine = scalar or kind in LOSE_X  # a vector of covariates is one to the diagnostics
    return lose[kind](rng, a.astype(float)), kind, EITHER if fine else ERROR

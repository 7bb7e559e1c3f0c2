"""Columns of frames in all types that engines have, and odd names for them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import duckdb
import polars as pl
from fuzz.case import ANSWER, EITHER, ERROR

ENGINES = {
    "pandas": lambda f: f.to_pandas(),
    "pandas of arrow": lambda f: f.to_pandas(use_pyarrow_extension_array=True),
    "pandas with an odd index": lambda f: f.to_pandas().set_axis([0] * len(f), axis=0),
    "polars": lambda f: f,
    "polars, lazy": lambda f: f.lazy(),
    "arrow": lambda f: f.to_arrow(),
    "a record batch": lambda f: f.to_arrow().combine_chunks().to_batches()[0],
    "duckdb": lambda f: duckdb.from_arrow(f.to_arrow()),
}
LAZY = ("polars, lazy", "duckdb")


def cycle(*values, dtype=None):
    """Values that repeat."""
    return lambda n: pl.Series([values[i % len(values)] for i in range(n)], dtype=dtype)


def one(value, others):
    """A value in one row, others in all others."""
    return lambda n: pl.Series([value if i == 1 else others(i) for i in range(n)])


def nulls(n):
    return pl.Series([None] * n)


NUMBERS, LABELS, NEITHER, MISSING, LARGE = "numbers", "labels", "neither", "missing", "large"
# A type of column -> how to make it, and what it holds.
TYPES = {
    "null in one row": (one(None, float), MISSING),
    "NaN in one row": (one(float("nan"), float), MISSING),
    "integers with null": (one(None, int), MISSING),
    "Booleans with null": (one(None, lambda i: i % 2 > 0), MISSING),
    "strings with null": (one(None, lambda i: "ab"[i % 2]), MISSING),
    "all null": (lambda n: nulls(n).cast(pl.Float64), MISSING),
    "all null of no type": (nulls, NEITHER),
    "inf in one row": (one(float("inf"), float), NEITHER),
    "Booleans": (cycle(True, False, False), NUMBERS),
    "int8": (cycle(-100, 1, 100, 7, dtype=pl.Int8), NUMBERS),
    "uint8": (cycle(0, 1, 250, 7, dtype=pl.UInt8), NUMBERS),
    "int64, large": (cycle(2**60, 1, -(2**60), dtype=pl.Int64), LARGE),
    "uint64, large": (cycle(2**63, 1, 5, dtype=pl.UInt64), LARGE),
    "float32": (cycle(0.5, 1.25, -3.0, dtype=pl.Float32), NUMBERS),
    "decimals": (cycle(Decimal("1.25"), Decimal("0.50"), Decimal(-7)), NUMBERS),
    "constant": (cycle(0.1), NUMBERS),
    "dates": (cycle(date(2026, 1, 1), date(2026, 1, 2)), LABELS),
    "times": (cycle(datetime(2026, 1, 1), datetime(2026, 1, 2)), LABELS),
    "durations": (cycle(timedelta(1), timedelta(2)), LABELS),
    "strings": (cycle("b", "a", "c"), LABELS),
    "one string": (cycle("a"), LABELS),
    "strings of numbers": (cycle("1.5", "2", "-1"), LABELS),
    "odd strings": (cycle("", " ", "a]", "[a", "\n", "χ"), LABELS),
    "all different strings": (lambda n: pl.Series([f"s{i}" for i in range(n)]), LABELS),
    "categories": (cycle("b", "a", dtype=pl.Categorical), LABELS),
    "an enum": (cycle("b", "a", dtype=pl.Enum(["a", "b", "c"])), LABELS),
    "binary": (cycle(b"a", b"b"), NEITHER),
    "lists": (cycle([1.0], [2.0, 3.0]), NEITHER),
    "structs": (cycle({"a": 1.0}, {"a": 2.0}), NEITHER),
}
WEIGHTS = {
    "ones": (cycle(1.0), ANSWER),
    "counts": (cycle(1, 2, 3, dtype=pl.UInt8), ANSWER),
    "Booleans": (cycle(True, True, False), EITHER),
    "uneven": (one(1e300, lambda i: 1.0), EITHER),
    "zeros": (cycle(0.0), ERROR),
    "negative in one row": (one(-1.0, lambda i: 1.0), ERROR),
    "NaN in one row": (one(float("nan"), lambda i: 1.0), ERROR),
    "null in one row": (one(None, lambda i: 1.0), ERROR),
    "inf in one row": (one(float("inf"), lambda i: 1.0), ERROR),
    "strings": (cycle("1"), ERROR),
    "dates": (cycle(date(2026, 1, 1)), ERROR),
    "durations": (cycle(timedelta(1)), ERROR),
    "lists": (cycle([1.0]), ERROR),
}
NAMES = ["Intercept", "", "a[b]", "x y", "'", '"', "null", "SELECT", "count", "χ", "a" * 300, "1"]
NAMES += [
    "nan",
    "w*w",
    "y",
    "t.z",
    "%",
    "\\",
    "\n",
    "level_0",
    "literal",
    "len",
    "index",
    "x0 * y0",
]

"""Python values that a parameter may be given by mistake."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
from fuzz.case import choose

NUMBERS = [0.0, 1.0, -1.0, 0.5, 2, 95, 10**30, 1e300, 1e-300, 5e-324, np.nan, np.inf, -np.inf]
STRINGS = ["", "a", "1.0", "auto", "x0", b"1", b"a"]
SCALARS = [None, True, False, 1j, np.float32(0.9), np.int8(3), Decimal("0.5"), Fraction(1, 2)]
NESTED = [[], [1.0], [1.0, 2.0], [[1.0]], [None], [np.nan], ["a"], [0], (0, 1), (1.0,), {}, [[]]]


def objects():
    """Those that must be made anew, since a call may use them up."""
    return [
        object(),
        float,
        len,
        {1.0},
        {"a": 1.0},
        iter([1.0]),
        np.array(1.0),
        np.array([1.0]),
        np.array([True, False]),
        np.ma.masked,
        np.ma.masked_array([1.0], mask=[True]),
        np.datetime64("2026-01-01"),
        np.timedelta64(1, "s"),
        pd.NA,
        pd.NaT,
        pd.Series([1.0]),
        np.random.default_rng(0),
    ]


def odd(rng, *more):
    """One of all these, or as often one of those that are odd for the parameter at hand."""
    if more and rng.random() < 0.5:
        return choose(rng, more)
    return choose(rng, [*NUMBERS, *STRINGS, *SCALARS, *NESTED, *objects()])


def seed(rng):
    """A `random_state`: not None, which is to draw from numpy's global generator."""
    value = 0 if rng.random() < 0.7 else odd(rng, 2**40)
    return 0 if value is None else value


def shown(**values):
    """Notes of values, on one short line each."""
    return [f"{name}={' '.join(repr(value).split())}"[:80] for name, value in values.items()]

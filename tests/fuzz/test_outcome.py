"""The verdict finds each thing that a call must not do, and lets pass what it may."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from fuzz.case import ANSWER, ERROR, Case, Wrong
from fuzz.outcome import judge, names_one_of

from skbayesiv import TwoStageLS
from skbayesiv.diagnostics import HypothesisTest

ARRAY = np.arange(3.0)
FRAME = pd.DataFrame({"a": [1.0, 2.0]})
EST = TwoStageLS()


def fail(error):
    def run():
        raise error

    return run


def warn(text, category):
    return lambda: warnings.warn(text, category, stacklevel=1)


def spoil():
    ARRAY[0] += 1.0


def relabel():
    FRAME.index = FRAME.index + 1


def half_fit():
    EST.coef_ = ARRAY
    raise ValueError("y must be better")


def loop():
    while True:
        pass


def contradict(result):
    raise Wrong("it is another")


BAD = {
    "exception": {"run": fail(KeyError("y"))},
    "names no argument": {"run": fail(ValueError("it can't be"))},
    "refused": {"run": fail(ValueError("y must be better")), "must": ANSWER},
    "accepted": {"run": lambda: 1.0, "must": ERROR},
    "not finite": {"run": lambda: HypothesisTest("a", "b", np.nan, 1, None, 0.5)},
    "warning": {"run": warn("y is odd", RuntimeWarning)},
    "changed input": {"run": spoil, "given": [ARRAY]},
    "changed estimator": {"run": half_fit, "est": EST},
    "changed random state": {"run": lambda: np.random.rand()},  # noqa: NPY002
    "hang": {"run": loop, "seconds": 0.1},
    "wrong": {"run": lambda: 1.0, "check": contradict},
}
GOOD = {
    "an answer": {"run": lambda: FRAME, "must": ANSWER},
    "an error": {"run": fail(ValueError("y must be better"))},
    "a warning": {"run": warn("y is odd", UserWarning)},
    "a documented infinity": {"run": lambda: {"sd": np.inf}, "infinite": ("sd",)},
}


@pytest.mark.parametrize("kind", BAD)
def test_finds(kind):
    assert judge(Case("f", words={"y", "t"}, **BAD[kind])).kind == kind


@pytest.mark.parametrize("name", GOOD)
def test_lets_pass(name):
    assert judge(Case("f", words={"y", "t"}, **GOOD[name])) is None


def test_labels_of_frames_are_input():
    assert judge(Case("f", relabel, {"y"}, [FRAME])).kind == "changed input"


@pytest.mark.parametrize(
    ("text", "found"),
    [("t must be", True), ("column 't'", True), ("it can't be", False), ("at best", False)],
)
def test_names(text, found):
    assert names_one_of({"t"}, text) == found

"""Thousands of hostile calls: each has the right answer, or an error that names an argument.

A failure prints the seed: ``python -m tests.fuzz SEED`` runs it alone.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from fuzz.entries import ELSEWHERE, ENTRIES, case, draw
from fuzz.outcome import judge

import skbayesiv
from skbayesiv import datasets, diagnostics, metrics

CHUNK = 50
FEW, MANY = 600, 20_000
DRAWS = 60  # of each entry, which name what they call


def run(first):
    found = [finding for seed in range(first, first + CHUNK) if (finding := judge(case(seed)))]
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("first", range(0, FEW, CHUNK))
def test_hostile_calls(first):
    run(first)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FEW, MANY, CHUNK))
def test_many_hostile_calls(first):
    run(first)


def test_a_seed_is_one_case():
    for seed in range(20):
        assert str(case(seed)) == str(case(seed))


@pytest.fixture(scope="module")
def called():
    """Names of what cases call: "TwoStageLS.fit", "diagnostics.sargan"."""
    return {draw(entry, np.random.default_rng(i)).entry for entry in ENTRIES for i in range(DRAWS)}


def public():
    """Public functions, and the public methods of public classes that they define or change."""
    for module in (skbayesiv, diagnostics, metrics, datasets):
        prefix = "" if module is skbayesiv else f"{module.__name__.split('.')[-1]}."
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) and methods(value):
                yield from (f"{prefix}{name}.{method}" for method in methods(value))
            elif callable(value):
                yield f"{prefix}{name}"


def methods(kind):
    """Public methods of a class, but for those that another public class has as they are."""
    parents = [parent for parent in kind.__mro__[1:] if hasattr(skbayesiv, parent.__name__)]
    return [
        name
        for name, value in inspect.getmembers(kind, callable)
        if not name.startswith("_")
        and (getattr(value, "__module__", None) or "").startswith("skbayesiv")
        and not any(getattr(parent, name, None) is value for parent in parents)
    ]


def test_everything_public_is_called(called):
    accounted = called | set(ELSEWHERE)
    assert not {n for n in public() if not accounted & {n, n.rpartition(".")[0]}}


def test_nothing_is_left_out_without_need(called):
    assert not called & set(ELSEWHERE)
    assert set(ELSEWHERE) <= {part for name in public() for part in (name, name.rpartition(".")[0])}

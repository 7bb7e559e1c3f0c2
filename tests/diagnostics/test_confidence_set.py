"""Confidence sets as objects."""

from math import inf

import pytest

from skbayesiv.diagnostics import ConfidenceSet

SHAPES = [
    ((), "empty", "empty set", True),
    (((1.0, 2.0),), "interval", "[1, 2]", True),
    (((-inf, 2.5),), "ray", "(-inf, 2.5]", False),
    (((0.0, inf),), "ray", "[0, inf)", False),
    (((-inf, -1.0), (2.0, inf)), "rays", "(-inf, -1] ∪ [2, inf)", False),
    (((-inf, inf),), "line", "(-inf, inf)", False),
    (((-1.0, 0.0), (2.0, 3.0)), "union", "[-1, 0] ∪ [2, 3]", True),
    (((-inf, 0.0), (2.0, 3.0)), "union", "(-inf, 0] ∪ [2, 3]", False),
    (((-inf, -1.0), (0.0, 1.0), (2.0, inf)), "union", "(-inf, -1] ∪ [0, 1] ∪ [2, inf)", False),
]


@pytest.mark.parametrize(("intervals", "kind", "text", "bounded"), SHAPES)
def test_shapes(intervals, kind, text, bounded):
    result = ConfidenceSet(intervals, 0.9)
    assert result.kind == kind
    assert str(result) == text
    assert result.is_bounded is bounded
    assert result.level == 0.9


def test_membership():
    result = ConfidenceSet(((-inf, -1.0), (2.0, 3.0)))
    for value in (-1e300, -1.0, 2.0, 2.5, 3.0):
        assert value in result
        assert result.contains(value)
    for value in (-0.999, 0.0, 1.999, 3.001, inf):
        assert value not in result
        assert not result.contains(value)
    assert 0.0 not in ConfidenceSet(())


def test_sets_are_values():
    assert ConfidenceSet(((0.0, 1.0),)) == ConfidenceSet(((0.0, 1.0),))
    assert len({ConfidenceSet(()), ConfidenceSet(())}) == 1


@pytest.mark.parametrize(
    "intervals", [((1.0, 0.0),), ((0.0, 2.0), (1.0, 3.0)), ((2.0, 3.0), (0.0, 1.0))]
)
def test_disorder_is_refused(intervals):
    with pytest.raises(ValueError, match="intervals must be increasing and disjoint, got ends"):
        ConfidenceSet(intervals)

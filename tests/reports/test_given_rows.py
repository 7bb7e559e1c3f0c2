"""Rows that are handed to a report must be those of the fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skbayesiv import BayesianIV


@pytest.fixture(scope="module")
def sums(push_fit):
    """The push experiment without its rows."""
    return BayesianIV(random_state=0).fit_moments(push_fit.moments_)


def test_rows_passed_are_rows_kept(push_fit, sums, push):
    y, t, z = push
    kept, passed = push_fit.diagnose(), sums.diagnose(None, t, y, z=z)
    assert str(passed.strength) == str(kept.strength)
    assert_allclose(passed.strength.to_frame(), kept.strength.to_frame())
    assert passed.note == kept.note == ""
    rows = np.random.default_rng(0).permutation(10_000)
    assert_allclose(sums.diagnose(None, t[rows], y[rows], z=z[rows]).std_errors, kept.std_errors)


def test_rows_of_named_columns(push_fit, push):
    y, t, z = push
    named = BayesianIV(treatment="t", instruments="z", random_state=0)
    named.fit_moments(push_fit.moments_)
    found = named.diagnose(pd.DataFrame({"t": t, "z": z}), y)
    assert_allclose(found.std_errors, push_fit.diagnose().std_errors)


def test_without_rows_what_moments_tell(sums):
    without = sums.diagnose()
    assert list(without.std_errors) == ["classical"]
    assert without.strength.errors == "classical"
    assert str(without.strength) in str(without)
    assert "Heteroskedasticity was not checked" in without.note
    assert without.note in str(without)
    assert without.note in without._repr_html_()


def test_other_rows_are_refused(sums, push):
    y, t, z = push
    with pytest.raises(ValueError, match="must be the rows of the fit, 10000 observations"):
        sums.diagnose(None, t[1:], y[1:], z=z[1:])
    rows = np.random.default_rng(0).permutation(10_000)
    for other in ((t, 1.00001 * y, z), (t, y + 0.01, z), (t[rows], y, z), (z, y, t)):
        with pytest.raises(ValueError, match=r"rows of the fit.* with other moments"):
            sums.diagnose(None, *other[:2], z=other[2])


@pytest.mark.parametrize("name", ["z", "sample_weight", "clusters"])
def test_parts_of_rows_are_refused(sums, push, name):
    with pytest.raises(ValueError, match=rf"{name} must be passed with the rows .* got {name}"):
        sums.diagnose(**{name: push[2]})

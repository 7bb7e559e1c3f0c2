"""Cross effects of several treatments."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skbayesiv.diagnostics import cross_effects

PI = np.array([[1.0, 0.3], [-0.4, 1.0]])


def draw(seed, n=800, *, cross=0.0, same=0.0, own=0.5):
    """Own first stages that differ by x; `cross` ones that do too, `same` ones that do not."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    z = rng.normal(size=(n, 2)) + x[:, :1]
    p, upper = z @ PI, x[:, :1] > 0.0
    t = p * (1.0 + own * upper * np.array([1.0, -0.5]))
    t = t + (same + cross * np.where(upper, 1.0, -1.0)) * p[:, ::-1]
    t = t + x + rng.normal(size=(n, 2)) * (1.0 + np.abs(z[:, :1]))
    return x[:, 0], t, z, x


def rejections(reps, **options):
    return np.mean([cross_effects(*draw(s, **options)).test.p_value < 0.05 for s in range(reps)])


@pytest.mark.slow
def test_size():
    """5%, to three standard errors of 200 samples: with own first stages that differ, too."""
    for own in (0.0, 0.5):
        assert abs(rejections(200, own=own) - 0.05) < 0.046


def test_power():
    assert rejections(30, cross=0.4) > 0.9


@pytest.mark.slow
def test_what_is_the_same_everywhere_is_not_seen():
    assert rejections(60, same=0.4, own=0.0) < 0.2


def test_table_and_degrees_of_freedom():
    y, t, z, x = draw(0)
    found = cross_effects(y, t, z, x)
    assert found.test.dof == 2 * 2 * 1
    assert found.table.shape == (8, 2)
    one = np.column_stack([np.ones(800), x])
    z = z - one @ np.linalg.lstsq(one, z, rcond=None)[0]
    predicted = z @ np.linalg.lstsq(z, t, rcond=None)[0]
    upper = x[:, 1] > np.sort(x[:, 1])[399]
    columns = np.column_stack([predicted, one])[upper]
    expected = np.linalg.lstsq(columns, t[upper], rcond=None)[0][:2].T
    assert_allclose(found.table.loc["x1", "upper"], expected, rtol=1e-8)


def test_invariance():
    y, t, z, x = draw(1, cross=0.2)
    one = cross_effects(y, t, z, x).test.statistic
    assert_allclose(cross_effects(y, 3.0 * t, z @ PI, 10.0 * x + 5.0).test.statistic, one)
    far = cross_effects(y, 1e-100 * t, 1e7 + 1e-3 * z, 1e6 + x).test.statistic
    assert_allclose(far, one, rtol=1e-5)
    order = np.random.default_rng(0).permutation(800)
    assert_allclose(cross_effects(y, t[order], z[order], x[order]).test.statistic, one)
    w = np.random.default_rng(1).integers(1, 3, 800)
    again = np.repeat(np.arange(800), w)
    weighted = cross_effects(y, t, z, x, sample_weight=w).test.statistic
    assert_allclose(
        weighted, cross_effects(y[again], t[again], z[again], x[again]).test.statistic, rtol=1e-8
    )


def test_a_dummy_splits_the_rows():
    y, t, z, x = draw(2)
    for dummy in (x[:, 0] > 1.0, x[:, 0] > -1.0):
        found = cross_effects(y, t, z, dummy)
        assert found.test.dof == 2


def test_errors():
    y, t, z, x = draw(0)
    with pytest.raises(ValueError, match="t must be two or more treatments for cross effects"):
        cross_effects(y, t[:, 0], z, x)
    with pytest.raises(ValueError, match=r"X must have a covariate .*; got none"):
        cross_effects(y, t, z)
    with pytest.raises(
        ValueError, match=r"does not explain t exactly; got none among \['x0', 'x1'"
    ):
        cross_effects(y, z @ PI, z, x)

"""Properties that hold for all data, tried on many (Hypothesis)."""

from __future__ import annotations

import numpy as np
from experiments import unchecked
from hypothesis import given, settings
from hypothesis import strategies as st

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._data.standardised import standardise
from skbayesiv._models.normal.design import build_design
from skbayesiv._models.parts.priors import build_priors

COLUMNS = Columns(("x",), ("z",), ("t",), "y")


def experiment(seed, n, location, scale):
    """Rows of an experiment in given units, as a table of x, z, t, y."""
    rng = np.random.default_rng(seed)
    x, z, v = rng.normal(size=(3, n))
    t = z + 0.5 * x + v
    y = t - x + v + rng.normal(size=n)
    return (np.column_stack([x, z, t, y]) + location) * scale


def moments(table, weight=None):
    return Moments.from_data(
        IVData(table[:, :1], table[:, 1:2], table[:, 2:3], table[:, 3], weight, COLUMNS)
    )


def effect(table, weight=None):
    est = TwoStageLS().fit(
        table[:, :1], table[:, 2], table[:, 3], z=table[:, 1], sample_weight=weight
    )
    return est.effect_


CASES = {
    "seed": st.integers(0, 2**32 - 1),
    "n": st.integers(30, 400),
    "location": st.sampled_from([0.0, 1.0, -1e3]),
    "scale": st.sampled_from([1e-3, 1.0, 1e3]),
}


@settings(max_examples=60, deadline=None)
@given(**CASES, cut=st.floats(0.0, 1.0))
def test_adding_then_subtracting_is_the_identity(seed, n, location, scale, cut):
    table = experiment(seed, n, location, scale)
    at = int(cut * (n - 10)) + 5
    one, two = moments(table[:at]), moments(table[at:])
    back = (one + two) - two
    assert back.n_rows == one.n_rows
    assert np.allclose(back.mean, one.mean, rtol=1e-12, atol=1e-9 * scale)
    limit = 1e-11 * np.abs((one + two).scatter).max()
    assert np.abs(back.scatter - one.scatter).max() <= limit


@settings(max_examples=60, deadline=None)
@given(**CASES, weights=st.integers(0, 3))
def test_order_and_weights_do_not_change_canonical_moments(seed, n, location, scale, weights):
    table = experiment(seed, n, location, scale)
    rng = np.random.default_rng(seed)
    weight = rng.integers(1, 2 + weights, n).astype(float)
    order = rng.permutation(n)
    weighted = standardise(moments(table, weight))
    others = (
        moments(table[order], weight[order]),
        moments(np.repeat(table, weight.astype(int), axis=0)),
    )
    for other in map(standardise, others):
        # Equal to the last of 36 bits, but for a value that sits on a rounding edge.
        assert other.n == weighted.n
        assert np.allclose(other.sd, weighted.sd, rtol=2.0**-34, atol=0)
        assert np.allclose(other.corr, weighted.corr, rtol=0, atol=2.0**-34)


@unchecked
@settings(max_examples=40, deadline=None)
@given(
    **CASES,
    y=st.sampled_from([-2.0, 1e-4, 100.0]),
    t=st.sampled_from([-1.0, 1e-2, 1e3]),
    z=st.sampled_from([-5.0, 1e-3, 10.0]),
)
def test_units_rescale_the_effect(seed, n, location, scale, y, t, z):
    table = experiment(seed, n, location, scale)
    rescaled = table * [1.0, z, t, y] + np.array([0.0, 3.0 * z, -2.0 * t, 5.0 * y]) * scale
    assert np.isclose(effect(rescaled), effect(table) * y / t, rtol=1e-5)


def design(table, sigma_prior):
    std = standardise(moments(table))
    return build_design(std, build_priors(BayesianIV(), std), sigma_prior)


POSITIVE = st.sampled_from([1e-4, 0.3, 1.0, 50.0, 1e5])


@settings(max_examples=60, deadline=None)
@given(
    **CASES,
    units=st.tuples(POSITIVE, POSITIVE, POSITIVE, POSITIVE),
    shifts=st.tuples(*[st.sampled_from([0.0, -2.0, 30.0])] * 4),
    sigma_prior=st.sampled_from(["lkj", "regression"]),
)
def test_units_do_not_change_the_standardised_design(
    seed, n, location, scale, units, shifts, sigma_prior
):
    """Under "auto" priors the sampler is given the same numbers, so the same posterior follows."""
    table = experiment(seed, n, location, scale)
    rescaled = (table + np.array(shifts) * scale) * units
    one, two = design(table, sigma_prior), design(rescaled, sigma_prior)
    assert one.shape == two.shape
    for name, value in one.arrays._asdict().items():
        limit = 2.0**-32 * max(1.0, np.abs(value).max())
        np.testing.assert_allclose(getattr(two.arrays, name), value, atol=limit, err_msg=name)
    _, z, t, y = units
    expected = one.unit * [y / t if name == "beta_t" else t / z for name, _ in one.labels]
    np.testing.assert_allclose(two.unit, expected, rtol=1e-9)

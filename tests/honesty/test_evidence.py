"""Evidence equals what the estimators and the diagnostics say, and a sample stands for all rows."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import simulated
from faulty_experiments import clustered, strong, uneven, weak
from numpy.testing import assert_allclose, assert_array_equal

from skbayesiv import TwoStageLS
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv._honesty.evidence import Evidence
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.sampled import SampledRows, evenly_spaced, sample_rows
from skbayesiv.diagnostics import effective_f, first_stage


def read(t, y, z, X=None, **extra):
    return read_rows(X, y, t, z, **extra, roles=Roles(None, None))


def evidence(**arrays):
    return Evidence.of(Equation.from_data(read(**arrays), fit_intercept=True))


def covariates_and_weights():
    X, t, y, z = simulated(400, 2)
    return {"X": X, "t": t, "y": y, "z": z, "sample_weight": 1.0 + np.arange(400) % 3}


def two_treatments():
    r = np.random.default_rng(0)
    z, v = r.normal(size=(300, 3)), r.normal(size=(300, 2))
    t = z @ r.normal(size=(3, 2)) + v
    return {"t": t, "y": t.sum(axis=1) + v[:, 0] * z[:, 0] + r.normal(size=300), "z": z}


DATA = {
    "strong": strong(),
    "uneven": uneven(),
    "covariates and weights": covariates_and_weights(),
    "two treatments": two_treatments(),
}


@pytest.mark.parametrize("name", DATA)
def test_spread_is_that_of_two_stage_least_squares(name):
    data = dict(DATA[name])
    found = evidence(**data).spread
    X = data.pop("X", None)
    for cov_type, ours in (("unadjusted", found.classical), ("robust", found.robust)):
        est = TwoStageLS(cov_type=cov_type, check=False).fit(X, **data)
        assert_allclose(ours, est._effect_and_error()[1], rtol=1e-9)


def test_spread_of_clusters():
    data = clustered()
    found = evidence(**data).spread
    est = TwoStageLS(check=False).fit(None, **data)
    assert_allclose(found.robust, est._effect_and_error()[1], rtol=1e-9)


def test_t_is_that_of_a_correlation():
    """Of the squared error and of the square of what it is weighed by (Koenker 1981)."""
    data = uneven()
    t, y, z = (data[name] - data[name].mean() for name in ("t", "y", "z"))
    error = y - t * (z @ y) / (z @ t)
    expected = np.sqrt(len(y)) * np.corrcoef(z**2, error**2)[0, 1]
    assert_allclose(evidence(**data).spread.t, expected, rtol=1e-9)


@pytest.mark.parametrize("data", [strong(), weak(), weak(q=3)], ids=["strong", "weak", "three"])
def test_f_is_the_effective_and_the_classical_f(data):
    found = evidence(**data)
    assert_allclose(found.f, effective_f(data["y"], data["t"], data["z"]).f, rtol=1e-9)
    classical = first_stage(data["y"], data["t"], data["z"], robust=False, debiased=True).f
    assert_allclose(found.classical_f, classical, rtol=1e-9)


def test_bias_by_many_instruments():
    """Q / mu standard errors at worst, with mu^2 = Q F."""
    found = evidence(**weak(q=5))
    assert_allclose(found.many, 4.0 / np.sqrt(5.0 * found.f))


def test_too_few_rows_are_no_evidence():
    assert evidence(t=[0.0, 1.0, 1.0], y=[1.0, 2.0, 4.0], z=np.eye(3)[:, :2]) is None


@pytest.mark.parametrize(("n", "m"), [(10, 10), (101, 10), (10**6, 10**5), (7, 3)])
def test_rows_are_spread_evenly(n, m):
    rows = evenly_spaced(n, m)
    assert len(rows) == m
    assert rows.min() >= 0
    assert rows.max() < n
    assert_array_equal(rows * m // n, np.arange(m))  # one of each stretch


def test_arms_that_alternate_are_both_seen():
    z = np.arange(10_000) % 2
    assert 0.4 < z[evenly_spaced(10_000, 5000)].mean() < 0.6


def sampled(data, limit):
    rows = read(**data)
    moments = rows.moments()
    kind = "robust" if rows.clusters is None else "clustered"
    units = SampledRows(rows, moments.n_rows, limit)
    return Evidence.of(Equation(moments, units, True, kind)), units.share


@pytest.mark.parametrize("weighted", [False, True])
def test_a_sample_stands_for_all_rows(weighted):
    data = uneven(n=40_000)
    if weighted:
        data["sample_weight"] = 1.0 + np.arange(40_000) % 3
    part, share = sampled(data, 10_000)
    whole, one = sampled(data, 40_000)
    assert one == 1.0
    assert_allclose(share, 0.25, rtol=0.02)
    # The relative error of a robust variance, a mean of n z^2 e^2, is about sqrt(kurtosis / n).
    assert_allclose(part.spread.robust, whole.spread.robust, rtol=0.1)
    assert_allclose(part.spread.classical, whole.spread.classical, rtol=1e-9)
    assert_allclose(part.spread.t / np.sqrt(share), whole.spread.t, rtol=0.2)
    assert_allclose(part.f, whole.f, rtol=0.1)


def test_clusters_are_sampled_whole():
    data = clustered(groups=2000, size=10, treated=1000)
    rows = sample_rows(read(**data), 5000)
    assert len(np.unique(rows.clusters)) == 500
    assert_array_equal(np.unique(rows.clusters, return_counts=True)[1], 10)
    part, share = sampled(data, 5000)
    assert share == 0.25
    whole, _ = sampled(data, 20_000)
    assert_allclose(part.spread.robust, whole.spread.robust, rtol=0.15)
    assert part.design.n_clusters == 2000


@pytest.mark.parametrize("weighted", [False, True])
def test_few_clusters_are_known_by_some_of_their_rows(weighted):
    """Without bias: the mean over samples that start elsewhere is that of all rows."""
    data = clustered(size=1000)
    if weighted:
        data["sample_weight"] = 1.0 + np.arange(30_000) % 2
    whole, _ = sampled(data, 30_000)
    ratios = []
    for seed in range(40):
        order = np.random.default_rng(seed).permutation(30_000)
        part, share = sampled({name: values[order] for name, values in data.items()}, 1500)
        assert_allclose(share, 0.05, rtol=0.1)
        ratios.append((part.spread.robust / whole.spread.robust) ** 2)
    error = np.std(ratios) / np.sqrt(40)
    assert error < 0.05
    assert abs(np.mean(ratios) - 1.0) < 3.0 * error

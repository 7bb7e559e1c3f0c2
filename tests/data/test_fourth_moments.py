"""Sums of products of columns: additivity, units far from zero, clusters."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from criterion import make_rows

from skbayesiv import BayesianIV
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import Reference
from skbayesiv._data.standardised import standardise
from skbayesiv._models.moment_conditions.scores import build_scores


def take(data, rows):
    """Some of the rows."""
    weight = None if data.sample_weight is None else data.sample_weight[rows]
    parts = {name: getattr(data, name)[rows] for name in ("x", "z", "t", "y")}
    return replace(data, **parts, sample_weight=weight)


def reference_of(data):
    return Reference.from_moments(Moments.from_data(data))


def assert_same_sums(a, b):
    b = b.about(a.reference.shift)
    assert a.n_rows == b.n_rows
    assert a.n_clusters == b.n_clusters
    assert np.allclose(a.total, b.total, rtol=1e-9, atol=1e-9 * np.abs(a.total).max())
    assert np.allclose(a.cross, b.cross, rtol=1e-9, atol=1e-9 * np.abs(a.cross).max())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("p", [0, 2])
def test_sums_are_those_of_the_rows(p, weighted):
    data = make_rows(1, 2, p, n=50, weighted=weighted)
    sums = FourthMoments.from_data(data)
    x = data.x - sums.reference.shift[:p]
    rest = np.column_stack([data.z, data.t, data.y]) - sums.reference.shift[p:]
    rest -= x @ sums.reference.coef
    f = np.column_stack([np.ones(50), x, rest[:, :2]])
    d = np.column_stack([np.ones(50), rest])
    w = np.ones(50) if data.sample_weight is None else data.sample_weight
    assert np.allclose(sums.total, np.einsum("n,nf,nd->fd", w, f, d))
    cross = np.einsum("n,nf,nd,ng,ne->fdge", w, f, d, f, d)
    assert np.allclose(sums.cross, cross, atol=1e-10 * np.abs(cross).max())
    assert sums.weight == w.sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_without_covariates_any_subsets_add_and_subtract(weighted):
    """Each part has a reference of its own; moving it is exact."""
    data = make_rows(2, 2, 0, n=90, weighted=weighted, offset=1e3)
    parts = [FourthMoments.from_data(take(data, slice(i, i + 30))) for i in (0, 30, 60)]
    total = FourthMoments.from_data(data)
    assert_same_sums(total, parts[0] + parts[1] + parts[2])
    assert_same_sums(parts[0] + parts[1], total - parts[2])
    empty = FourthMoments.empty(data.columns)
    assert empty + total is total
    assert total + empty is total
    assert total - empty is total


def test_with_covariates_sums_add_about_one_reference():
    data = make_rows(1, 2, 2, n=90)
    halves = take(data, slice(0, 40)), take(data, slice(40, 90))
    reference = reference_of(data)
    one, two = (FourthMoments.from_data(half, reference) for half in halves)
    assert_same_sums(FourthMoments.from_data(data), one + two)
    with pytest.raises(ValueError, match="same coefficients on X"):
        one + FourthMoments.from_data(halves[1])
    std = standardise(Moments.from_data(halves[0]))
    with pytest.raises(ValueError, match="coefficients on X of the rows themselves"):
        build_scores(one, std)


def test_clusters_take_the_rows_place():
    data = make_rows(1, 1, 1, n=60, weighted=True)
    clusters = np.random.default_rng(1).integers(0, 20, 60)
    reference = reference_of(data)
    sums = FourthMoments.from_data(data, reference, clusters)
    by_row = FourthMoments.from_data(data, reference, np.arange(60))
    singles = [FourthMoments.from_data(take(data, [i]), reference) for i in range(60)]
    of = [sum((s.total for i, s in enumerate(singles) if clusters[i] == g), 0.0) for g in range(20)]
    of = np.array([value for value in of if np.ndim(value)])
    assert np.allclose(sums.total, of.sum(axis=0))
    assert np.allclose(sums.cross, np.einsum("gab,gcd->abcd", of, of))
    rows = np.array([s.total for s in singles])
    assert np.allclose(by_row.cross, np.einsum("gab,gcd->abcd", rows, rows))
    one, two = clusters < 8, clusters >= 8
    parts = [FourthMoments.from_data(take(data, at), reference, clusters[at]) for at in (one, two)]
    assert_same_sums(sums, parts[0] + parts[1])
    with pytest.raises(ValueError, match="rows and over clusters"):
        sums + singles[0]


def test_clusters_may_span_blocks(monkeypatch):
    data = make_rows(1, 1, 0, n=200)
    clusters = np.repeat([0, 1, 2], [150, 3, 47])
    whole = FourthMoments.from_data(data, None, clusters)
    for size in (1, 7, 50):
        monkeypatch.setattr("skbayesiv._data.products.block_rows", lambda width, size=size: size)
        assert_same_sums(whole, FourthMoments.from_data(data, None, clusters))


@pytest.mark.parametrize("p", [0, 1])
def test_nothing_is_lost_far_from_zero(p):
    """The same rows 10^5 standard deviations away have the same scores."""
    data = make_rows(1, 2, p)
    rounded = {name: np.round(getattr(data, name) * 2**20) / 2**20 for name in ("x", "z", "t", "y")}
    near = replace(data, **rounded)
    far = replace(data, **{name: value + 2.0**17 for name, value in rounded.items()})
    one, two = (
        build_scores(FourthMoments.from_data(rows), standardise(Moments.from_data(rows)))
        for rows in (near, far)
    )
    scale = np.sqrt(np.einsum("abab->ab", one.cross))
    assert np.allclose(one.mean / scale, two.mean / scale, atol=1e-8)
    unit = scale[:, :, None, None] * scale
    assert np.allclose(one.cross / unit, two.cross / unit, atol=1e-8)


def test_pickle_round_trip():
    sums = FourthMoments.from_data(make_rows(1, 1, 1))
    copy = pickle.loads(pickle.dumps(sums))
    assert np.array_equal(copy.cross, sums.cross)
    assert (copy + sums).n_rows == 2 * sums.n_rows


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("p", [0, 2])
def test_sums_over_rows_contain_the_moments(p, fit_intercept):
    data = make_rows(2, 3, p, weighted=True, offset=10.0)
    fourth = FourthMoments.from_data(data, fit_intercept=fit_intercept)
    one, two = fourth.moments(), Moments.from_data(data)
    assert (one.columns, one.weight, one.n_rows) == (two.columns, two.weight, two.n_rows)
    assert np.allclose(one.mean, two.mean, rtol=1e-10)
    assert np.allclose(one.scatter, two.scatter, rtol=1e-9)
    clustered = FourthMoments.from_data(data, None, np.arange(data.n_rows) // 2)
    with pytest.raises(ValueError, match="moments must come from the rows"):
        clustered.moments()


def test_sorted_rows_have_the_same_scores():
    """Without covariates the reference is the mean of rows spread over the whole, not the first."""
    data = make_rows(1, 1, 0, n=5000)
    order = np.argsort(data.z[:, 0])
    one, two = (
        build_scores(FourthMoments.from_data(rows), standardise(Moments.from_data(rows)))
        for rows in (data, take(data, order))
    )
    assert np.array_equal(one.mean, two.mean)
    assert np.array_equal(one.cross, two.cross)
    reference = FourthMoments.from_data(take(data, order)).reference
    assert np.allclose(reference.shift, Moments.from_data(data).mean, atol=0.2)


@pytest.mark.parametrize("clustered", [False, True])
def test_save_and_load(clustered, tmp_path):
    data = make_rows(1, 2, 1, n=40)
    clusters = np.arange(40) // 2 if clustered else None
    sums = FourthMoments.from_data(data, None, clusters)
    sums.save(tmp_path / "sums")
    back = FourthMoments.load(tmp_path / "sums")
    assert (back.columns, back.n_rows, back.n_clusters) == (data.columns, 40, sums.n_clusters)
    for name in ("total", "cross"):
        assert np.array_equal(getattr(back, name), getattr(sums, name))
    for name in ("shift", "coef"):
        assert np.array_equal(getattr(back.reference, name), getattr(sums.reference, name))
    assert (back + sums).n_rows == 80
    Moments.from_data(data).save(tmp_path / "moments")
    with pytest.raises(ValueError, match=r"must be a file that FourthMoments\.save wrote"):
        FourthMoments.load(tmp_path / "moments")


def test_errors_say_what_to_do():
    sums = FourthMoments.from_data(make_rows(1, 1, 0, n=30))
    with pytest.raises(ValueError, match="same columns"):
        sums + FourthMoments.from_data(make_rows(1, 2, 0, n=30))
    with pytest.raises(ValueError, match="cannot be taken"):
        sums - (sums + sums)
    wide = make_rows(1, 1, 1100, n=3)
    with pytest.raises(ValueError, match="fewer columns"):
        FourthMoments.from_data(wide, Reference.empty(wide.columns))
    other = Moments.from_data(make_rows(1, 1, 0, n=40))
    with pytest.raises(ValueError, match="same rows"):
        BayesianIV(likelihood="gmm").fit_moments(other, sums)

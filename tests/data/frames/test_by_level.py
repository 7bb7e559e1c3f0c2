"""Factors with many levels: the numbers' sums by level are all that a query has to give."""

from __future__ import annotations

import datetime
from datetime import UTC

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from engines import Engine, assert_same, experiment, reference, roles, skewed

from skbayesiv._columns import Columns
from skbayesiv._data.frames import sources
from skbayesiv._data.frames.by_level import Combinations, number_layout, with_indicators
from skbayesiv._data.frames.columns import MISSING, UNSEEN
from skbayesiv._data.frames.expressions import _aggregations
from skbayesiv._data.frames.plan import Plan, Term
from skbayesiv._data.frames.planning import make_plan
from skbayesiv._data.frames.query import Query
from skbayesiv._data.frames.sources import open_source
from skbayesiv._data.moments import Moments

N = 3000
# One covariate stands between the factors, so that the indicators' columns are in two places.
COVARIATES = ["city", "x0", "shop", "x1"]


@pytest.fixture(params=["polars_lazy", "duckdb"])
def queried(request, tmp_path, monkeypatch):
    """An engine that is queried, however many columns there are."""
    monkeypatch.setattr(sources, "NARROW", 1000)
    return Engine(request.param, tmp_path)


def cities(n=N, n_cities=40, n_shops=15):
    """An experiment with two factors, whose levels are not independent."""
    rng = np.random.default_rng(3)
    table = experiment(n)
    city = rng.integers(0, n_cities, n)
    shop = (city + rng.integers(0, n_shops - 3, n)) % n_shops
    for name, codes in (("city", city), ("shop", shop)):
        values = np.array([f"{name} {code:03d}" for code in codes])
        table = table.append_column(name, pa.array(values))
    return table, roles(table) | {"covariates": COVARIATES}


def encoded(table):
    """The same with columns of indicators, in the places that the factors give them."""
    names = []
    for name in COVARIATES:
        if name.startswith("x"):
            names.append(name)
            continue
        values = np.array(table[name].to_pylist())
        for level in np.unique(values)[1:]:
            names.append(f"{name}[{level}]")
            table = table.append_column(names[-1], pa.array((values == level).astype(float)))
    return table, names


def expected(table, weight=None, keep=None):
    """Moments by numpy, with the covariates in their order."""
    table, names = encoded(table)
    plain = [name for name in table.column_names if not name.startswith("x")]
    renamed = {name: f"x {i:04d}" for i, name in enumerate(names)}
    whole = table.select([*(n for n in plain if n not in renamed), *names])
    whole = whole.rename_columns([renamed.get(name, name) for name in whole.column_names])
    moments = reference(whole, weight, keep)
    columns = Columns(tuple(names), moments.columns.instruments, ("t",), "y")
    numbers = moments.shift, moments.weight, moments.n_rows, moments.total, moments.cross
    return Moments(columns, *numbers)


def same(moments, other):
    """Equal but for levels without rows in a group, which have no spread to compare with."""
    assert moments.columns == other.columns
    found = np.flatnonzero(np.diag(other.scatter) > 1e-9)
    empty = np.setdiff1d(np.arange(len(other.total)), found)
    assert np.abs(moments.scatter[empty]).max(initial=0.0) < 1e-3
    names = np.array(other.columns.names)
    columns = Columns(tuple(names[found][:-1]), (), (), "y")

    def part(m):
        numbers = m.total[found], m.cross[np.ix_(found, found)]
        return Moments(columns, m.shift[found], m.weight, m.n_rows, *numbers)

    assert_same(part(moments), part(other), canonical=False)


@pytest.mark.parametrize("weight", [None, "weight"])
def test_two_factors(engine, weight):
    table, names = cities()
    moments = Moments.from_frame(engine(*skewed(table)), sample_weight=weight, **names)
    same(moments, expected(table, weight))


@pytest.mark.parametrize("weight", [None, "weight"])
def test_by_group(queried, weight):
    table, names = cities()
    groups = Moments.from_frame(queried(*skewed(table)), sample_weight=weight, by="fold", **names)
    fold = table["fold"].to_numpy()
    assert list(groups) == [0, 1, 2]
    for key, moments in groups.items():
        same(moments, expected_in(table, weight, fold == key))


def expected_in(table, weight, keep):
    """Moments of some rows, with the indicators of all."""
    table, names = encoded(table)
    rows = table.filter(pa.array(keep)).to_pandas()
    columns = Columns(tuple(names), ("z", "z_cost"), ("t",), "y")
    values = rows[list(columns.names)].to_numpy(dtype=np.longdouble)
    w = np.ones(len(rows)) if weight is None else rows[weight].to_numpy(dtype=float)
    shift = (w @ values / w.sum()).astype(float)
    values -= shift
    total, cross = w @ values, (w[:, None] * values).T @ values
    numbers = float(w.sum()), int((w > 0).sum()), total.astype(float), cross.astype(float)
    return Moments(columns, shift, *numbers)


def test_groups_far_from_each_other(queried):
    """They are summed about their own means, by level as well."""
    table, names = cities()
    fold = table["fold"].to_numpy()
    y = np.random.default_rng(7).standard_normal(N) + 1e5 * fold
    table = table.set_column(table.column_names.index("y"), "y", pa.array(y))
    groups = Moments.from_frame(queried(*skewed(table)), by="fold", sample_weight="weight", **names)
    for key, moments in groups.items():
        same(moments, expected_in(table, "weight", fold == key))


def test_rows_without_a_group_far_from_the_others(queried):
    table, names = cities()
    fold = table["fold"].to_numpy()
    y = np.random.default_rng(7).standard_normal(N) + 1e5 * fold
    table = table.set_column(table.column_names.index("y"), "y", pa.array(y))
    group = pa.array(fold, mask=fold == 2)
    table = table.append_column("group", group)
    with pytest.raises(ValueError, match=f"got {(fold == 2).sum()} in 'group'"):
        Moments.from_frame(queried(*skewed(table)), by="group", **names)


def test_dropped_and_missing(queried):
    table, names = cities()
    y, city = table["y"].to_numpy().copy(), np.array(table["city"].to_pylist(), dtype=object)
    y[3::100], city[5::200] = np.nan, None
    holes = table.set_column(table.column_names.index("y"), "y", pa.array(y))
    holes = holes.set_column(holes.column_names.index("city"), "city", pa.array(city))
    frame = queried(*skewed(holes))
    with pytest.raises(ValueError, match=r"15 in 'city', 30 in 'y'"):
        Moments.from_frame(frame, **names)
    keep = np.isfinite(y) & np.array([value is not None for value in city])
    same(Moments.from_frame(frame, missing="drop", **names), expected_in(table, None, keep))


def test_unseen_levels_count_with_a_weight(queried):
    table, names = cities()
    seen = sorted(set(table["city"].to_pylist()))[:-1]
    odd = np.array(table["city"].to_pylist()) > seen[-1]
    weight = np.where(odd, 0, 2)
    weight[np.flatnonzero(odd)[:4]] = 1
    table = table.append_column("w", pa.array(weight)).append_column(
        "none", pa.array(np.where(odd, 0, 2))
    )
    frame = queried(*skewed(table))
    with pytest.raises(ValueError, match=r"'city' must have the levels .* in 4 rows"):
        Moments.from_frame(frame, categories={"city": seen}, sample_weight="w", **names)
    moments = Moments.from_frame(frame, categories={"city": seen}, sample_weight="none", **names)
    assert moments.n_rows == (~odd).sum()


@pytest.mark.parametrize("n_levels", [40, 1500])
def test_weights_from_residuals(queried, n_levels):
    """The second pass has the indicators of all levels in one expression."""
    rng, n = np.random.default_rng(5), 6000
    codes = np.arange(n) % n_levels
    levels = [f"v{i:04d}" for i in range(n_levels)]
    table = pa.table({"x": rng.normal(5.0, 1.0, n), "y": rng.standard_normal(n)})
    table = table.append_column("city", pa.array(np.array(levels)[codes]))
    columns = Columns(("city", "x"), (), (), "y")
    query = Query.open(queried(table), columns, categories={"city": levels})
    contrast = rng.standard_normal(n_levels + 2)
    totals = query.residual_totals(contrast)
    dummies = codes[:, None] == np.arange(1, n_levels)
    rows = np.column_stack([dummies, table["x"], table["y"]])
    weight = (contrast[0] + (rows - query.totals().shift) @ contrast[1:]) ** 2
    about = rows - totals.shift
    assert totals.weight == pytest.approx(weight.sum(), rel=1e-11)
    scale = np.sqrt(weight @ about**2)
    np.testing.assert_allclose(totals.total / scale, weight @ about / scale, atol=1e-9)
    cross = (about.T * weight) @ about
    np.testing.assert_allclose(
        totals.cross / np.outer(scale, scale), cross / np.outer(scale, scale), atol=1e-10
    )


KINDS = {
    "integers": lambda k: pa.array(k.astype(np.int32)),
    "floats": lambda k: pa.array((k / 2).astype(np.float32)),
    "Booleans": lambda k: pa.array(k > 0),
    "days": lambda k: pa.array([datetime.date(2020, 1, 1 + i) for i in k]),
    "times": lambda k: pa.array([datetime.datetime(2020, 1, 1 + i, tzinfo=UTC) for i in k]),
    "labels": lambda k: pa.array([str(i) for i in k]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_levels_of_other_types(queried, kind):
    rng = np.random.default_rng(5)
    table = pa.table({"x": rng.standard_normal(90), "y": rng.standard_normal(90)})
    table = table.append_column("c", KINDS[kind](rng.integers(0, 3, 90)))
    levels = sorted(set(table["c"].to_pylist()))
    size = len(levels) + 1
    queries = [
        Query.open(frame, Columns(("c", "x"), (), (), "y"), categories={"c": levels})
        for frame in (queried(table), table)
    ]
    contrast = rng.standard_normal(size + 1)
    passes = [(q.totals(), q.residual_totals(contrast)) for q in queries]
    for ours, others in zip(*passes, strict=True):
        np.testing.assert_allclose(ours.total, others.total, atol=1e-11)
        np.testing.assert_allclose(ours.cross, others.cross, atol=1e-11)


def test_the_query_does_not_grow_with_the_levels(tmp_path):
    counts = []
    for n_cities in (5, 200):
        table, _ = cities(n_cities=n_cities)
        source = open_source(Engine("polars_lazy", tmp_path)(table))
        columns = Columns(tuple(COVARIATES), ("z",), ("t",), "y")
        plan = make_plan(source, columns, None, None, drop=False, categories=None)
        assert len(plan.terms) == n_cities - 1 + 15 - 1 + 5
        counts.append(len(_aggregations(plan)))
    assert counts[0] == counts[1] < 50


def test_few_numbers_are_summed_by_the_engine(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "STREAMS", {})
    table, names = cities()
    for engine in ("polars_lazy", "duckdb"):
        moments = Moments.from_frame(Engine(engine, tmp_path)(table), **names)
        assert moments.n_rows == N


def test_many_combinations_are_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "COMBINATIONS", 599)
    streamed, stream = [], dict(sources.STREAMS)

    def count(engine):
        return lambda query: streamed.append(engine) or stream[engine](query)

    monkeypatch.setattr(sources, "STREAMS", {engine: count(engine) for engine in stream})
    table, names = cities()
    same(Moments.from_frame(Engine("polars_lazy", tmp_path)(table), **names), expected(table))
    assert len(streamed) == 1
    monkeypatch.setattr(sources, "COMBINATIONS", 600)
    Moments.from_frame(Engine("polars_lazy", tmp_path)(table), **names)
    assert len(streamed) == 1


def test_sums_about_different_points_are_of_one_group():
    """Two parts of a group, each about its own point, with levels missing, unseen and first."""
    levels = {"a": ("p", "q", "r"), "b": (0, 1)}
    terms = (Term("a", "q"), Term("a", "r"), Term("x"), Term("b", 1), Term("y"))
    columns = Columns(("a[q]", "a[r]", "x", "b[1]"), (), (), "y")
    plan = Plan(columns, terms, levels, None, None, frozenset(), False, np.array([0, 0, 3, 0, 5.0]))
    rng = np.random.default_rng(0)
    n = 300
    rows, own = rng.normal([3.0, 5.0], size=(n, 2)), number_layout(plan)
    codes = [rng.integers(-2, 3, n), rng.integers(0, 2, n)]
    group, part = rng.integers(0, 2, n), rng.integers(0, 2, n)
    keys = pd.DataFrame({"group": group, "part": part, "a": codes[0], "b": codes[1]})
    sums, found = [], []
    for key, where in keys.groupby([*keys]).groups.items():
        vector = own.zeros(plan.shift[[2, 4]] + key[1] * np.array([7.0, -2.0]))
        d = rows[where] - vector[own.shift]
        vector[own.weight] = vector[own.n_rows] = len(where)
        vector[own.total], vector[own.cross] = d.sum(axis=0), (d.T @ d)[own.triangle]
        sums.append(vector)
        found.append(key)
    group_of, _, a, b = np.array(found).T
    parts = Combinations(np.array(sums), group_of, [a, b], 2)
    for key, vector in enumerate(with_indicators(parts, plan)):
        here = group == key
        x, y = rows[here].T
        first, second = (code[here] for code in codes)
        whole = np.array([first == 1, first == 2, x, second == 1, y], dtype=float)
        totals = plan.totals(vector)
        about = whole - totals.shift[:, None]
        assert totals.n_rows == here.sum()
        np.testing.assert_allclose(totals.total, about.sum(axis=1), atol=1e-9)
        np.testing.assert_allclose(totals.cross, about @ about.T, atol=1e-8)
        assert vector[plan.layout.unseen].tolist() == [(first == UNSEEN).sum(), 0]
        assert (first == MISSING).any()

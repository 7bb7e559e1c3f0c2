"""Factors: levels found once, fixed over partitions, unseen levels refused."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from engines import assert_same, experiment, reference, roles, skewed

from skbayesiv._data.moments import Moments

LEVELS = ["Bern", "Genf", "Zug"]


def with_city(table, kind="string", seed=5, levels=LEVELS):
    """Append a column of cities, the last level in the last partition only."""
    n = len(table)
    codes = np.random.default_rng(seed).integers(0, len(levels) - 1, n)
    codes[-n // 10 :: 3] = len(levels) - 1
    city = pa.array(np.array(levels)[codes])
    city = city.dictionary_encode() if kind == "dictionary" else city
    return table.append_column("city", city), codes


def encoded(table, codes, covariates=("city[Genf]", "city[Zug]")):
    """Reference table with the indicators in place of the city."""
    table = table.drop_columns(["city"])
    for level, name in enumerate(covariates, start=1):
        table = table.append_column(f"x{name}", pa.array((codes == level).astype(float)))
    return table


def check(moments, expected):
    """Compare moments but for the names of the indicators."""
    assert moments.columns.covariates[-2:] == ("city[Genf]", "city[Zug]")
    renamed = Moments(
        expected.columns,
        moments.shift,
        moments.weight,
        moments.n_rows,
        moments.total,
        moments.cross,
    )
    assert_same(renamed, expected)


def arguments(table, extra=("city",)):
    """Roles with the city among the covariates."""
    names = roles(table)
    return names | {"covariates": [*names["covariates"], *extra]}


@pytest.mark.parametrize("width", [2, 14], ids=["narrow", "wide"])
@pytest.mark.parametrize("kind", ["string", "dictionary"])
def test_indicators(engine, kind, width):
    table, codes = with_city(experiment(width=width), kind)
    frame = engine(*skewed(table))
    moments = Moments.from_frame(frame, sample_weight="weight", **arguments(table))
    check(moments, reference(encoded(table, codes), "weight"))
    groups = Moments.from_frame(frame, by="city", **arguments(table, ()))
    assert list(groups) == LEVELS
    assert [group.n_rows for group in groups.values()] == np.bincount(codes).tolist()


def test_given_levels(engine):
    """The caller's first level is the reference; a level without rows keeps its column."""
    table, codes = with_city(experiment(500))
    levels = ["Zug", "Uri", "Genf", "Bern"]
    moments = Moments.from_frame(
        engine(*skewed(table)), categories={"city": levels}, **arguments(table)
    )
    names = [f"city[{level}]" for level in levels[1:]]
    assert list(moments.columns.covariates[-3:]) == names
    at = [moments.columns.names.index(name) for name in names]
    counts = [0, *(np.bincount(codes)[LEVELS.index(level)] for level in levels[2:])]
    np.testing.assert_allclose(moments.mean[at] * 500, counts, atol=1e-9)


def test_a_level_without_weight_is_none(engine):
    table, codes = with_city(experiment(500))
    weight = np.where(codes == 2, 0, table["weight"].to_numpy())
    table = table.append_column("w", pa.array(weight))
    moments = Moments.from_frame(engine(*skewed(table)), sample_weight="w", **arguments(table))
    assert moments.columns.covariates[-1] == "city[Genf]"
    genf = np.average(codes == 1, weights=weight)
    at = moments.columns.names.index("city[Genf]")
    assert moments.mean[at] == pytest.approx(genf, rel=1e-13)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (["Bern", None], "must not list a missing value; got None"),
        (["Bern", np.nan], "must not list a missing value; got nan"),
        ([0, 1], "must list values that a column of type .* can have; got 0"),
    ],
)
def test_levels_that_the_column_cannot_have(engine, levels, message):
    table, _ = with_city(experiment(50))
    frame = engine(*skewed(table))
    with pytest.raises(ValueError, match=rf"categories\['city'\] {message}"):
        Moments.from_frame(frame, categories={"city": levels}, **arguments(table))


def test_levels_of_other_types(engine):
    """A whole number is a level of an integer or a float, a date of a date; text is neither."""
    table = experiment(300)
    fold = table["fold"].to_numpy()
    days = [datetime.date(2020, 1, 1 + int(k)) for k in fold]
    table = table.append_column("half", pa.array(fold / 2)).append_column("day", pa.array(days))
    names = roles(table) | {"covariates": ["half", "fold", "day"]}
    frame = engine(*skewed(table))
    with pytest.raises(ValueError, match=r"categories\['fold'\] .*column of type Int.*got '0'"):
        Moments.from_frame(frame, categories={"fold": ["0", "1"]}, **names)
    if engine.name in {"pandas", "dask"}:  # where a date is a Python object
        names["covariates"] = ["half", "fold"]
    levels = {
        "half": [0, np.float32(0.5), 1],
        "fold": [np.int64(0), 1.0, 2],
        "day": [datetime.date(2020, 1, day) for day in (1, 2, 3)],
    }
    levels = {name: levels[name] for name in names["covariates"]}
    moments = Moments.from_frame(frame, categories=levels, **names)
    expected = [
        "half[0.5]",
        "half[1.0]",
        "fold[1]",
        "fold[2]",
        "day[2020-01-02]",
        "day[2020-01-03]",
    ]
    assert list(moments.columns.covariates) == expected[: len(moments.columns.covariates)]
    shares = [(fold == k).mean() for k in (1, 2)] * 3
    at = moments.columns.x
    np.testing.assert_allclose(moments.mean[at], shares[: at.stop], rtol=1e-12)


def test_numbers_as_levels(engine):
    table = experiment(500)
    moments = Moments.from_frame(
        engine(*skewed(table)),
        **arguments(table, ["fold"]),
        categories={"fold": [0, 1, 2]},
    )
    fold = table["fold"].to_numpy()
    at = [moments.columns.names.index(name) for name in ("fold[1]", "fold[2]")]
    np.testing.assert_allclose(moments.mean[at], [(fold == k).mean() for k in (1, 2)], rtol=1e-13)


@pytest.mark.parametrize("kind", ["string", "dictionary"])
def test_unseen_levels(engine, kind):
    table, codes = with_city(experiment(500), kind)
    message = rf"'city' must have the levels \['Bern', 'Genf'\]; got \['Zug'\] in {sum(codes == 2)}"
    with pytest.raises(ValueError, match=message):
        Moments.from_frame(
            engine(*skewed(table)), categories={"city": LEVELS[:2]}, **arguments(table)
        )


@pytest.mark.parametrize("kind", ["string", "dictionary"])
def test_missing_levels(engine, kind):
    """A level that stands in dropped rows only is no level."""
    table, codes = with_city(experiment(500))
    city = np.array([*LEVELS, "Uri"])[codes].astype(object)
    y = table["y"].to_numpy().copy()
    city[3], y[3] = "Uri", np.nan
    city[[10, 400]] = None
    table = table.set_column(0, "y", pa.array(y))
    city = pa.array(city).dictionary_encode() if kind == "dictionary" else pa.array(city)
    frame = table.set_column(table.column_names.index("city"), "city", city)
    with pytest.raises(ValueError, match=r"2 in 'city'.*1 in 'y'"):
        Moments.from_frame(engine(*skewed(frame)), **arguments(table))
    keep = np.isfinite(y) & city.is_valid().to_numpy(zero_copy_only=False)
    moments = Moments.from_frame(engine(*skewed(frame)), missing="drop", **arguments(table))
    check(moments, reference(encoded(table, codes), keep=keep))


def test_enumerations():
    import polars as pl

    table, codes = with_city(experiment(500))
    kinds = [pl.Enum(["Zug", "Uri", "Genf", "Bern"]), pl.Categorical]
    for kind in kinds:
        frame = pl.from_arrow(table).with_columns(pl.col("city").cast(kind))
        for rows in (frame, frame.lazy()):
            moments = Moments.from_frame(rows, **arguments(table))
            check(moments, reference(encoded(table, codes)))


def test_categories_without_rows():
    table, codes = with_city(experiment(500))
    frame = table.to_pandas()
    frame["city"] = frame["city"].astype("category").cat.add_categories("Uri")
    moments = Moments.from_frame(frame, **arguments(table))
    check(moments, reference(encoded(table, codes)))


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ({"y": ["a", "b"]}, r"must name covariates: \['x0', 'x1', 'city'\]; got 'y'"),
        ({"city": ["Bern", "Bern"]}, r"categories\['city'\] must list each level once"),
        ({"city": "Bern"}, r"categories\['city'\] must list each level once; got 'Bern'"),
        ({"city": ["Bern"]}, r"'city' must have two levels; got \['Bern'\]"),
    ],
)
def test_bad_categories(categories, message):
    table, _ = with_city(experiment(50))
    with pytest.raises(ValueError, match=message):
        Moments.from_frame(table, categories=categories, **arguments(table))


def test_too_many_levels():
    table = experiment(1200)
    names = pa.array([f"user {i}" for i in range(1200)])
    table = table.append_column("city", names)
    with pytest.raises(ValueError, match="at most 1000 levels: column 'city' has more"):
        Moments.from_frame(table, **arguments(table))


def test_numbers_as_categories():
    """A Categorical of numbers keeps them as levels, in their order."""
    frame = experiment(500).to_pandas()
    frame["rank"] = (frame["fold"] * 9).astype("category")
    names = roles(experiment(5)) | {"covariates": "rank"}
    for rows in (frame, pa.Table.from_pandas(frame)):
        moments = Moments.from_frame(rows, by="rank", **names)
        assert list(moments) == [0, 9, 18]
        assert moments[0].columns.covariates == ("rank[9]", "rank[18]")

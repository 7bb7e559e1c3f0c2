"""Arguments: an error names the argument, what is allowed and what arrived."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from engines import assert_same, experiment, reference, roles, skewed

from skbayesiv._data.moments import Moments


@pytest.mark.parametrize("role", ["outcome", "treatment", "instruments", "sample_weight", "by"])
def test_unknown_column(engine, role):
    table = experiment(20)
    with pytest.raises(ValueError, match=rf"{role} must name columns .*'y'.*; got 'yy'"):
        Moments.from_frame(engine(table), **(roles(table) | {role: "yy"}))


@pytest.mark.parametrize("role", ["outcome", "treatment", "instruments", "sample_weight"])
def test_strings_are_not_numbers(engine, role):
    table = experiment(20).append_column("name", pa.array(["a", "b"] * 10))
    with pytest.raises(ValueError, match=f"{role} must be numeric; got column 'name' of type Str"):
        Moments.from_frame(engine(table), **(roles(table) | {role: "name"}))


def test_dates_are_no_covariates(engine):
    table = experiment(20).append_column("day", pa.array([datetime.datetime(2020, 1, 1)] * 20))
    with pytest.raises(ValueError, match="numeric, Boolean or categorical; got column 'day'"):
        Moments.from_frame(engine(table), **(roles(table) | {"covariates": "day"}))


def test_dates_are_groups(engine):
    days = [datetime.datetime(2020, 1, 1 + i % 2) for i in range(20)]
    table = experiment(20).append_column("day", pa.array(days))
    groups = Moments.from_frame(engine(table), by="day", **roles(table))
    assert list(groups) == sorted(set(days))


def test_one_column_two_roles():
    table = experiment(20)
    with pytest.raises(ValueError, match="got 't' as treatment and covariates"):
        Moments.from_frame(table, **(roles(table) | {"covariates": ["t", "x0"]}))
    with pytest.raises(ValueError, match="got 'x0' as covariates and covariates"):
        Moments.from_frame(table, **(roles(table) | {"covariates": ["x0", "x0"]}))


def test_weights_and_groups_may_have_a_role():
    table = experiment(200)
    names = roles(table) | {"covariates": ["x0", "weight", "fold"]}
    groups = Moments.from_frame(table, sample_weight="weight", by="fold", **names)
    weight, fold = (table[name].to_numpy().astype(float) for name in ("weight", "fold"))
    for key, moments in groups.items():
        inside = fold == key
        mean = np.average(weight[inside], weights=weight[inside])
        assert moments.mean[1] == pytest.approx(mean, rel=1e-13)
        assert moments.mean[2] == pytest.approx(key, abs=1e-13)


def test_missing_is_checked():
    table = experiment(20)
    with pytest.raises(ValueError, match="missing must be 'raise' or 'drop'; got 'ignore'"):
        Moments.from_frame(table, missing="ignore", **roles(table))


@pytest.mark.parametrize("frame", [np.zeros((3, 2)), {"y": [1.0]}, None])
def test_not_a_frame(frame):
    with pytest.raises(TypeError, match=f"frame must be a data frame.*got {type(frame).__name__}"):
        Moments.from_frame(frame, outcome="y")


def test_python_objects_in_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"y": [1.0, 2.0, 4.0], "t": pd.Series([True, None, False], dtype=object)})
    moments = Moments.from_frame(frame, outcome="y", covariates="t", missing="drop")
    np.testing.assert_allclose(moments.mean, [0.5, 2.5])
    frame["t"] = pd.Series([1.5, "many", 2], dtype=object)
    with pytest.raises(ValueError, match=r"frame must be numeric .* 'many' in column 't'"):
        Moments.from_frame(frame, outcome="y", covariates="t")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"outcome": 0}, "outcome must be the name of a column, a string; got 0"),
        ({"outcome": ["y"]}, "outcome must be the name of a column, a string; got list"),
        ({"treatment": None}, "treatment must be a name of a column or some names; got None"),
        ({"instruments": [2]}, "instruments must be the name of a column, a string; got 2"),
        ({"covariates": None}, "covariates must be a name of a column or some names; got None"),
        ({"sample_weight": np.ones(20)}, "sample_weight must be the name of a .*; got ndarray"),
        ({"by": ["fold", "z"]}, "by must be the name of a column, a string; got list"),
        ({"categories": ["x0"]}, "categories must be a mapping from covariates.*; got list"),
    ],
)
def test_names_are_strings(arguments, message):
    table = experiment(20)
    with pytest.raises(TypeError, match=message):
        Moments.from_frame(table, **(roles(table) | arguments))


def test_wrapped_frames():
    """Frames of narwhals' own, of whatever version, and a dask frame among them."""
    import narwhals
    import narwhals.stable.v1

    table = experiment(300)
    expected = reference(table)
    for wrap in (narwhals.from_native, narwhals.stable.v1.from_native):
        assert_same(Moments.from_frame(wrap(table), **roles(table)), expected)
    dd = pytest.importorskip("dask.dataframe")
    with pytest.warns(FutureWarning, match="Dask support is moving"):
        wrapped = narwhals.from_native(dd.from_pandas(table.to_pandas(), npartitions=3))
    groups = Moments.from_frame(wrapped, by="fold", **roles(table))
    assert_same(sum(groups.values()), expected)


def test_record_batches():
    table = experiment(300)
    moments = Moments.from_frame(table.combine_chunks().to_batches()[0], **roles(table))
    assert_same(moments, reference(table))
    with pytest.raises(TypeError, match="frame must be one that can be read twice; got RecordB"):
        Moments.from_frame(table.to_reader(), **roles(table))


@pytest.mark.parametrize("by", [None, "fold"])
def test_squares_that_overflow(engine, by):
    table = experiment(60)
    large = np.where(np.arange(60) % 2, 1e200, -1e200)
    table = table.append_column("x_big", pa.array(large))
    with pytest.raises(ValueError, match=r"squares below .*; got too large values in 'x_big'\.$"):
        Moments.from_frame(engine(*skewed(table)), by=by, **roles(table))

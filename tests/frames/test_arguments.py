"""Arguments: an error names the argument, what is allowed and what arrived."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from frames.engines import experiment, roles
from skbayesiv._moments import Moments


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
    with pytest.raises(ValueError, match="Column 't' must be numeric"):
        Moments.from_frame(frame, outcome="y", covariates="t")

"""Null and NaN: counted by name in every engine, and dropped in the same rows."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from engines import assert_same, experiment, reference, roles, skewed

from skbayesiv._data.moments import Moments

WIDTHS = pytest.mark.parametrize("width", [2, 14], ids=["narrow", "wide"])


def replace(table, name, values, mask=None, type=None):
    """Return the table with another column of values, null where masked."""
    at = table.column_names.index(name)
    return table.set_column(at, name, pa.array(values, type=type, mask=mask, from_pandas=False))


def with_holes(table):
    """Nulls, NaN, or both in a float, a single, an integer, a Boolean, weights and groups."""
    n, rng = len(table), np.random.default_rng(3)
    holes = {name: rng.random(n) < 0.02 for name in ("y", "t", "z", "z_cost", "weight", "fold")}
    complete = ~np.logical_or.reduce(list(holes.values()))
    for name in ("z", "z_cost", "weight", "fold"):
        table = replace(table, name, table[name].to_numpy(), holes[name], table[name].type)
    is_nan = rng.random(n) < 0.5
    for name in ("y", "t"):
        values = np.where(holes[name] & is_nan, np.nan, table[name].to_numpy())
        table = replace(table, name, values, holes[name] & ~is_nan, table[name].type)
    return table, holes, complete


@WIDTHS
def test_missing_values_are_counted(engine, width):
    table, holes, _ = with_holes(experiment(width=width))
    frame = engine(*skewed(table))
    with pytest.raises(ValueError, match="must not have missing values") as error:
        Moments.from_frame(frame, sample_weight="weight", by="fold", **roles(table))
    found = {name: int(n) for n, name in re.findall(r"(\d+) in '(\w+)'", str(error.value))}
    assert found == {name: hole.sum() for name, hole in holes.items()}


@WIDTHS
def test_rows_with_missing_values_are_dropped(engine, width):
    table, _, complete = with_holes(experiment(width=width))
    # The rows to be dropped are not looked at: neither infinite values nor negative weights.
    odd = np.flatnonzero(~complete & table["weight"].is_valid().to_numpy())[:2]
    weight = table["weight"].to_numpy(zero_copy_only=False).copy()
    weight[odd] = -1
    frame = replace(table, "weight", np.nan_to_num(weight), table["weight"].is_null().to_numpy())
    frame = engine(*skewed(frame))
    common = {"sample_weight": "weight", "missing": "drop", **roles(table)}
    groups = Moments.from_frame(frame, by="fold", **common)
    fold = table["fold"].to_numpy(zero_copy_only=False)
    for key, moments in groups.items():
        assert_same(moments, reference(table, "weight", complete & (fold == key)))
    assert list(groups) == [0, 1, 2]


def test_ungrouped_rows_count_without_the_group(engine):
    table, holes, _ = with_holes(experiment())
    complete = ~np.logical_or.reduce([holes[name] for name in ("y", "t", "z", "z_cost")])
    moments = Moments.from_frame(engine(*skewed(table)), missing="drop", **roles(table))
    assert_same(moments, reference(table, keep=complete))


@WIDTHS
@pytest.mark.parametrize("missing", ["raise", "drop"])
def test_infinite_values_are_counted(engine, width, missing):
    table = experiment(width=width)
    y, t = table["y"].to_numpy().copy(), table["t"].to_numpy().copy()
    y[[5, 700]], t[2000] = [np.inf, -np.inf], np.inf
    table = replace(replace(table, "y", y), "t", t)
    with pytest.raises(ValueError, match=r"infinite values: 1 in 't', 2 in 'y'\.$"):
        Moments.from_frame(engine(*skewed(table)), missing=missing, **roles(table))


@WIDTHS
def test_negative_weights_are_counted(engine, width):
    table = experiment(width=width)
    weight = table["weight"].to_numpy().copy()
    weight[[4, 5, 1999]] = -2
    frame = engine(*skewed(replace(table, "weight", weight)))
    with pytest.raises(ValueError, match="3 negative values in column 'weight'"):
        Moments.from_frame(frame, sample_weight="weight", **roles(table))


def test_weights_without_a_positive_entry(engine):
    table = experiment(50)
    frame = engine(*skewed(replace(table, "weight", np.zeros(50))))
    with pytest.raises(ValueError, match="positive entry; got none in column 'weight'"):
        Moments.from_frame(frame, sample_weight="weight", **roles(table))


@pytest.mark.parametrize("weight", [None, "weight"])
def test_dropping_every_row(engine, weight):
    table = replace(experiment(50), "y", np.full(50, np.nan))
    message = "must leave some rows" if weight is None else "in rows without missing values"
    with pytest.raises(ValueError, match=message):
        Moments.from_frame(
            engine(*skewed(table)), sample_weight=weight, missing="drop", **roles(table)
        )


@WIDTHS
@pytest.mark.parametrize("kind", ["number", "bool", "string"])
def test_missing_groups(engine, width, kind):
    table = experiment(600, width=width)
    fold, hole = table["fold"].to_numpy(), np.arange(600) % 50 == 7
    values = {"number": fold * 0.5, "bool": fold > 0, "string": np.array(["a", "b", "c"])[fold]}
    group = values[kind]
    if kind == "number":
        group = np.where(hole & (fold == 1), np.nan, group)
        table = table.append_column("group", pa.array(group, mask=hole & (fold != 1)))
    else:
        table = table.append_column("group", pa.array(group, mask=hole))
    with pytest.raises(ValueError, match=r"got 12 in 'group'\. missing='drop' leaves out"):
        Moments.from_frame(engine(*skewed(table)), by="group", **roles(table))
    groups = Moments.from_frame(engine(*skewed(table)), by="group", missing="drop", **roles(table))
    assert list(groups) == sorted(set(group[~hole].tolist()))
    for key, moments in groups.items():
        assert_same(moments, reference(table, keep=~hole & (group == key)))


def test_missing_numbers_as_levels(engine):
    """NaN is no level."""
    table = experiment(600)
    values = table["fold"].to_numpy() * 0.5
    values[[3, 30, 300]] = np.nan
    table = table.append_column("half", pa.array(values))
    names = roles(table) | {"covariates": ["half"]}
    frame, levels = engine(*skewed(table)), {"half": [0.0, 0.5, 1.0]}
    with pytest.raises(ValueError, match=r"got 3 in 'half'\."):
        Moments.from_frame(frame, categories=levels, **names)
    moments = Moments.from_frame(frame, categories=levels, missing="drop", **names)
    assert moments.n_rows == 597
    with pytest.raises(ValueError, match=r"levels \[0.0, 0.5\]; got \[1.0\] in"):
        Moments.from_frame(frame, categories={"half": [0.0, 0.5]}, missing="drop", **names)

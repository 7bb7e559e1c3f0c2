"""Every engine's fourth-order sums are numpy's, and make the same fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from engines import experiment, roles, skewed

from skbayesiv import FourthMoments, Moments
from skbayesiv._columns import Columns
from skbayesiv._data.products import Reference
from skbayesiv._data.rows import IVData
from skbayesiv._data.standardised import standardise
from skbayesiv._models.moment_conditions.scores import build_scores


def rows(table, weight=None, where=None):
    """Rows of a table, or some of them."""
    named = roles(table)
    where = np.ones(len(table), bool) if where is None else where
    z = named["instruments"]
    columns = Columns(tuple(named["covariates"]), tuple(z), ("t",), "y")

    def values(names):
        arrays = [table[name].to_numpy().astype(float)[where] for name in names]
        return np.stack(arrays, axis=1) if arrays else np.empty((where.sum(), 0))

    w = None if weight is None else values([weight])[:, 0]
    x, z, t, y = (values(names) for names in (columns.covariates, z, ["t"], ["y"]))
    return IVData(x, z, t, y[:, 0], w, columns)


def assert_same_scores(fourth, expected, moments):
    """Equal counts, and equal moments of the scores on the scale of each score."""
    assert fourth.columns == expected.columns
    assert (fourth.n_rows, fourth.n_clusters) == (expected.n_rows, expected.n_clusters)
    one, two = (build_scores(sums, standardise(moments)) for sums in (fourth, expected))
    scale = np.sqrt(np.einsum("abab->ab", two.cross))
    np.testing.assert_allclose(one.mean / scale, two.mean / scale, atol=1e-8)
    unit = scale[:, :, None, None] * scale
    np.testing.assert_allclose(one.cross / unit, two.cross / unit, atol=1e-8)


@pytest.mark.parametrize("width", [0, 2])
@pytest.mark.parametrize("weight", [None, "weight"])
def test_agree_with_numpy(engine, width, weight):
    table = experiment(width=width)
    data = rows(table, weight)
    frame = engine(*skewed(table))
    fourth = FourthMoments.from_frame(frame, sample_weight=weight, **roles(table))
    assert_same_scores(fourth, FourthMoments.from_data(data), Moments.from_data(data))


def test_clusters_and_groups(engine):
    table = experiment(700, width=0)
    cluster = np.random.default_rng(1).permutation(np.arange(700) // 3)
    frame = engine(*skewed(table.append_column("cluster", pa.array(cluster))))
    named = roles(table) | {"sample_weight": "weight"}
    data = rows(table, "weight")
    moments = Moments.from_data(data)
    clustered = FourthMoments.from_frame(frame, clusters="cluster", **named)
    assert_same_scores(clustered, FourthMoments.from_data(data, None, cluster), moments)
    folds = FourthMoments.from_frame(frame, by="fold", **named)
    assert list(folds) == [0, 1, 2]
    empty = FourthMoments.empty(data.columns)
    assert_same_scores(sum(folds.values(), empty), FourthMoments.from_data(data), moments)
    part = rows(table, "weight", table["fold"].to_numpy() == 1)
    assert_same_scores(folds[1], FourthMoments.from_data(part), Moments.from_data(part))


def test_missing_rows_and_categories(engine):
    table = experiment(600, width=1)
    level = np.where(np.arange(600) % 3 == 0, "a", np.where(np.arange(600) % 7 == 0, "c", "b"))
    names = pa.array(level, mask=np.arange(600) % 50 == 1)
    y = pa.array(table["y"].to_numpy(), mask=np.arange(600) % 40 == 2)
    gaps = table.drop(["y"]).append_column("y", y).append_column("x_level", names)
    frame = engine(*skewed(gaps))
    with pytest.raises(ValueError, match="missing values"):
        FourthMoments.from_frame(frame, **roles(gaps))
    complete = gaps.drop_null()
    dummies = {f"x_level[{k}]": np.asarray(complete["x_level"]) == k for k in "bc"}
    filled = complete.drop(["x_level"])
    for name, column in dummies.items():
        filled = filled.append_column(name, pa.array(column))
    data = rows(filled)
    fourth = FourthMoments.from_frame(frame, missing="drop", **roles(gaps))
    assert_same_scores(fourth, FourthMoments.from_data(data), Moments.from_data(data))


def test_given_reference_saves_a_pass(monkeypatch):
    table = experiment(500)
    frame, data = table.to_pandas(), rows(table)
    reference = Reference.from_moments(Moments.from_frame(frame, **roles(table)))
    passes = []
    tally = "skbayesiv._data.frames.sources.EagerSource.tally"
    monkeypatch.setattr(tally, lambda *_: passes.append(1))
    fourth = FourthMoments.from_frame(frame, reference=reference, **roles(table))
    assert not passes
    np.testing.assert_array_equal(fourth.reference.coef, reference.coef)
    assert_same_scores(fourth, FourthMoments.from_data(data), Moments.from_data(data))


def test_long_batches_are_cut(monkeypatch):
    table = experiment(300, width=0)
    frame, named = table.to_pandas(), roles(table)
    whole = FourthMoments.from_frame(frame, **named)
    monkeypatch.setattr("skbayesiv._data.frames.products.BATCH_FLOATS", 7 * 14)
    cut = FourthMoments.from_frame(frame, **named)
    assert_same_scores(cut, whole, Moments.from_data(rows(table)))


@pytest.mark.parametrize("covariates", [[], ["x0", "x1"]])
def test_without_an_intercept(covariates):
    rng = np.random.default_rng(0)
    names = ["x0", "x1", "z", "t", "y"]
    frame = pd.DataFrame(rng.normal(1.0, 1.0, (300, 5)), columns=names)
    fourth = FourthMoments.from_frame(
        frame,
        outcome="y",
        treatment="t",
        instruments="z",
        covariates=covariates,
        fit_intercept=False,
    )
    columns = Columns(tuple(covariates), ("z",), ("t",), "y")
    x, z, t = (frame[list(names)].to_numpy() for names in (covariates, ["z"], ["t"]))
    data = IVData(x, z, t, frame["y"].to_numpy(), None, columns)
    expected = FourthMoments.from_data(data, fit_intercept=False)
    assert not fourth.reference.shift.any()
    np.testing.assert_allclose(fourth.cross, expected.cross, rtol=1e-9, atol=1e-9)


def test_errors_say_what_to_do():
    frame = pd.DataFrame({"y": [1.0, 2, 4], "t": [0.0, 1, 1], "z": [0, 1, 0], "g": [1, 1, 2]})
    named = {"outcome": "y", "treatment": "t", "instruments": "z"}
    with pytest.raises(ValueError, match="by and clusters must not both be given"):
        FourthMoments.from_frame(frame, by="g", clusters="g", **named)
    with pytest.raises(ValueError, match="instruments must name columns"):
        FourthMoments.from_frame(frame, **named | {"instruments": "assigned"})
    with pytest.raises(ValueError, match="missing must be"):
        FourthMoments.from_frame(frame, missing="keep", **named)
    frame.loc[1, "t"] = np.nan
    with pytest.raises(ValueError, match="1 in 't'"):
        FourthMoments.from_frame(frame, **named)

"""The same rows in another order, in chunks, weighted, in a lazy frame: the same draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from criterion import make_rows
from criterion_fits import fit, quiet, same_draws
from experiments import QUICK
from sklearn.base import clone

from skbayesiv import BayesianIV
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import Reference


@quiet
@pytest.mark.parametrize("p", [0, 2])
def test_permuted_chunked_and_weighted_rows_have_identical_draws(p):
    """Rounding makes sums canonical; see test_moments for how often an edge is met."""
    quick = QUICK | {"exclusion_scale": 0.1}
    data = make_rows(1, 2, p, weighted=True)
    weight = data.sample_weight.astype(int)
    whole = fit(data, **quick)
    order = np.random.default_rng(2).permutation(data.n_rows)
    at = {name: getattr(data, name) for name in ("x", "z", "t", "y", "sample_weight")}
    permuted = replace(data, **{name: value[order] for name, value in at.items()})
    assert same_draws(whole, fit(permuted, **quick))
    at.pop("sample_weight")
    repeated = {name: np.repeat(value, weight, axis=0) for name, value in at.items()}
    assert same_draws(whole, fit(replace(data, **repeated, sample_weight=None), **quick))
    moments = Moments.from_data(data)
    reference = Reference.from_moments(moments)
    halves = [
        replace(data, **{n: v[rows] for n, v in at.items()}, sample_weight=data.sample_weight[rows])
        for rows in (slice(0, 120), slice(120, None))
    ]
    fourth = sum(
        (FourthMoments.from_data(half, reference) for half in halves),
        FourthMoments.empty(data.columns),
    )
    est = BayesianIV(likelihood="gmm", **quick).fit_moments(moments, fourth)
    assert same_draws(whole, est)


@quiet
def test_permuted_rows_and_renamed_clusters_have_identical_draws():
    quick = QUICK | {"exclusion_scale": 0.1}
    data = make_rows(1, 2, 1, weighted=True)
    rng = np.random.default_rng(4)
    clusters, order = rng.integers(0, 60, data.n_rows), rng.permutation(data.n_rows)
    whole = fit(data, clusters=clusters, **quick)
    at = {name: getattr(data, name)[order] for name in ("x", "z", "t", "y", "sample_weight")}
    names = np.array([f"unit {code}" for code in 7 * clusters[order]])
    assert same_draws(whole, fit(replace(data, **at), clusters=names, **quick))


@quiet
@pytest.mark.parametrize("p", [0, 1])
@pytest.mark.parametrize("clustered", [False, True])
def test_lazy_frames_have_the_same_draws(p, clustered):
    import polars as pl

    data = make_rows(1, 2, p, weighted=True)
    frame = pl.DataFrame(
        {name: data.x[:, i] for i, name in enumerate(data.columns.covariates)}
        | {"z0": data.z[:, 0], "z1": data.z[:, 1], "t0": data.t[:, 0], "y": data.y}
        | {"weight": data.sample_weight}
    )
    names = {"sample_weight": "weight"}
    if clustered:
        frame = frame.with_columns(unit=np.arange(data.n_rows) // 3)
        names["clusters"] = "unit"
    est = BayesianIV(likelihood="gmm", treatment="t0", instruments=["z0", "z1"], **QUICK)
    lazy, eager = (clone(est).fit(rows, "y", **names) for rows in (frame.lazy(), frame.to_pandas()))
    assert same_draws(lazy, eager)
    assert lazy.fourth_moments_.n_clusters == eager.fourth_moments_.n_clusters

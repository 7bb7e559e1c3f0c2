"""Sums over independent units: against their definition, in one pass, without copies of rows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from experiments import unchecked
from numpy.testing import assert_allclose
from two_stage_fits import clustered_rows, fitted

from skbayesiv import Moments, TwoStageLS, diagnostics
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.units import ClusterMoments, Rows, Scores


@pytest.fixture(scope="module")
def data():
    return clustered_rows()


def equation_of(data, *, weighted=False, clustered=False, fit_intercept=True):
    rows = read_rows(
        data["x"],
        data["y"],
        data["t"],
        data["z"],
        data["weight"] if weighted else None,
        data["clusters"] if clustered else None,
        roles=Roles(),
    )
    return Equation.from_data(rows, fit_intercept=fit_intercept)


def some_scores(seed=0):
    """Three by two, one by one, and none: contrasts of the constant and nine columns."""
    rng = np.random.default_rng(seed)
    return [
        Scores(*(rng.normal(size=(10, k)) for k in shape)) for shape in ((3, 2), (1, 1), (0, 2))
    ]


def table(data):
    columns = np.column_stack([data["x"], data["z"], data["t"], data["y"]])
    return np.column_stack([np.ones(len(columns)), columns])


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("clustered", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_sums_are_their_definition(data, weighted, clustered, fit_intercept):
    """Weight w is w units without clusters; with them it multiplies a row's score."""
    equation = equation_of(
        data, weighted=weighted, clustered=clustered, fit_intercept=fit_intercept
    )
    w = data["weight"] if weighted else np.ones(len(data["y"]))
    v = table(data)
    v[:, 1:] -= (w @ v[:, 1:] / w.sum()) if fit_intercept else 0.0
    assert_allclose(equation.second, v.T @ (w[:, None] * v), atol=1e-9)
    for scores, found in zip(some_scores(), equation.sums(*some_scores()), strict=True):
        left, right = v @ scores.left, v @ scores.right
        each = np.einsum("na,nb->nab", left, right).reshape(len(v), -1)
        if clustered:
            codes = data["clusters"]
            units = np.array([w[codes == g] @ each[codes == g] for g in np.unique(codes)])
        else:
            units = np.sqrt(w)[:, None] * each
        assert_allclose(found.outer.reshape(scores.size, scores.size), units.T @ units)
        assert_allclose(found.square, right.T @ (w[:, None] * right))


def test_moments_of_clusters_say_the_same(data):
    rows = equation_of(data, clustered=True)
    parts = []
    for g in np.unique(data["clusters"]):
        own = {name: values[data["clusters"] == g] for name, values in data.items()}
        parts.append(equation_of(own).moments)
    clusters = Equation(rows.moments, ClusterMoments(tuple(parts)), True, "clustered")
    assert clusters.n_clusters == rows.n_clusters == 30
    for one, two in zip(clusters.sums(*some_scores()), rows.sums(*some_scores()), strict=True):
        assert_allclose(one.outer, two.outer)
        assert_allclose(one.square, two.square)


def test_together_is_one_by_one(data):
    equation = equation_of(data, weighted=True)
    for scores, together in zip(some_scores(), equation.sums(*some_scores()), strict=True):
        (alone,) = equation.sums(scores)
        assert np.array_equal(alone.outer, together.outer)
        assert np.array_equal(alone.square, together.square)


def test_clusters_without_weight_do_not_count(data):
    weight = np.where(data["clusters"] < 7, 0.0, 1.0)
    assert equation_of(data | {"weight": weight}, weighted=True, clustered=True).n_clusters == 23


def test_nothing_is_lost_far_from_zero(data):
    """Columns 10^8 of their spreads away from zero have the same scores; whole numbers exactly."""
    whole = {name: np.round(data[name] * 100) for name in ("x", "t", "z", "y")}
    far = {name: values + 1e10 for name, values in whole.items()}
    for one, two in zip(
        equation_of(data | whole).sums(*some_scores()),
        equation_of(data | far).sums(*some_scores()),
        strict=True,
    ):
        assert_allclose(one.outer, two.outer, rtol=1e-10)


@pytest.fixture
def passes(monkeypatch):
    """How often rows were read for sums of scores."""
    read = []
    once: Callable = Rows.sums
    monkeypatch.setattr(Rows, "sums", lambda *args: (read.append(1), once(*args))[1])
    return read


def test_one_pass_serves_all_statistics(data, passes):
    args = data["y"], data["t"][:, 0], data["z"], data["x"]
    diagnostics.instrument_strength(*args)
    assert len(passes) == 1
    design = diagnostics.partial_out(*args)
    diagnostics.effective_f(design)
    diagnostics.first_stage(design, debiased=True)
    diagnostics.anderson_rubin_confidence_set(design)
    assert len(passes) == 2


@pytest.mark.parametrize("cov_type", ["robust", "unadjusted"])
def test_a_summary_reads_the_rows_twice(data, passes, cov_type):
    """For least squares, reduced form and first stages together, and for all diagnostics."""
    est = fitted(data, cov_type=cov_type)
    passes.clear()
    est.summary()
    assert len(passes) == 2


@pytest.mark.parametrize(
    ("params", "number"), [({}, 1), ({"method": "liml"}, 1), ({"method": "gmm"}, 2)], ids=str
)
def test_a_fit_reads_the_rows_once_more(data, passes, params, number):
    """For the covariance of the scores; GMM also for its weight matrix."""
    fitted(data, **params)
    assert len(passes) == number


CASES = (
    *("robust", "gmm", "weights", "clusters", "names", "whole numbers", "columns", "summary"),
    *("CR2", "CR2 in clusters"),
)


@pytest.mark.parametrize("case", CASES)
def test_rows_are_not_copied(case):
    """Of 200,000 rows (9.6 MB) no more than blocks: 3 MB, 4 with what CR2 makes of them, and 6 to
    number clusters by name or to look at a sample of them."""
    rng = np.random.default_rng(0)
    n = 200_000
    x, z = rng.normal(size=(n, 3)), rng.normal(size=n)
    t = z + rng.normal(size=n)
    y = t + rng.normal(size=n)
    frame = np.column_stack([x, t, z])
    whole = [(values > 0).astype(np.int64) for values in (t, z)]
    weight, groups = rng.integers(0, 3, n).astype(float), rng.integers(0, 500, n)
    names = np.array([f"village {g}" for g in range(500)])[groups]
    est = TwoStageLS().fit(x, t, y, z=z)
    runs = {
        "robust": lambda: TwoStageLS().fit(x, t, y, z=z),
        "gmm": lambda: TwoStageLS(method="gmm").fit(x, t, y, z=z),
        "weights": lambda: TwoStageLS().fit(x, t, y, z=z, sample_weight=weight),
        "clusters": lambda: TwoStageLS().fit(x, t, y, z=z, clusters=groups),
        "CR2": lambda: TwoStageLS(cov_type="CR2").fit(x, t, y, z=z),
        "CR2 in clusters": lambda: TwoStageLS(cov_type="CR2").fit(x, t, y, z=z, clusters=groups),
        "names": lambda: TwoStageLS().fit(x, t, y, z=z, clusters=names),
        "whole numbers": lambda: TwoStageLS().fit(x, whole[0], y, z=whole[1]),
        "columns": lambda: TwoStageLS(treatment=3, instruments=[4]).fit(frame, y),
        "summary": est.summary,
    }
    tracemalloc.start()
    runs[case]()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < {"names": 6e6, "clusters": 5e6, "CR2": 4e6, "CR2 in clusters": 5e6}.get(case, 3e6)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.uint8])
def test_whole_numbers_are_numbers(data, dtype):
    """Unconverted, they give the fit of the same numbers in double precision."""
    binary = {"t": data["t"][:, :1] > 0, "z": data["z"] > 1, "x": data["x"] > 3}
    one = fitted(data | {name: values.astype(dtype) for name, values in binary.items()})
    other = fitted(data | {name: values.astype(float) for name, values in binary.items()})
    assert one._equation.rows.t.dtype == dtype
    assert np.array_equal(one.coef_, other.coef_)
    assert_allclose(one.covariance_, other.covariance_, rtol=1e-12)
    assert_allclose(one.summary().strength.effective_f.f, other.summary().strength.effective_f.f)
    assert_allclose(one.results_.params, other.results_.params)


@unchecked
def test_labels_of_clusters_only_tell_rows_apart(data):
    """Codes with gaps, numbers from anywhere, and names."""
    codes = data["clusters"]
    expected = fitted(data, clusters=True).covariance_
    names = np.array([f"village {g}" for g in codes])
    for labels in (codes * 7, codes - 1000, codes.astype(np.int8), codes / 3.0, names):
        assert_allclose(fitted(data | {"clusters": labels}, clusters=True).covariance_, expected)


def test_the_estimator_keeps_what_it_was_given(data):
    est = fitted(data)
    for name in ("x", "t", "y", "z"):
        assert np.shares_memory(getattr(est._equation.rows, name), data[name])


def test_gmm_of_moments_needs_clusters(data):
    moments = equation_of(data).moments
    assert isinstance(moments, Moments)
    with pytest.raises(ValueError, match="needs rows, or cluster_moments"):
        TwoStageLS(method="gmm", cov_type="unadjusted").fit_moments(moments)

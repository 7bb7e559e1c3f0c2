"""Fits without rows: from moments, from moments by cluster, from batches."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from experiments import QUICK, unchecked
from numpy.testing import assert_allclose
from sklearn.base import clone

from skbayesiv import BayesianIV, HierarchicalBayesianIV, Moments, TwoStageLS
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv.datasets import make_noncompliance
from skbayesiv.exceptions import NoTreatmentWarning

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def data():
    """Two treatments, four instruments, two covariates far from zero, weights and clusters."""
    rng = np.random.default_rng(3)
    n, groups = 400, rng.integers(0, 25, 400)
    x, z = rng.normal(50.0, 1.0, (n, 2)), rng.normal(size=(n, 4))
    taste = rng.normal(size=(n, 2)) + rng.normal(size=(25, 2))[groups]
    t = z @ rng.normal(size=(4, 2)) + x @ rng.normal(size=(2, 2)) + taste
    y = 5.0 + t @ [1.0, -2.0] + x @ [0.5, 1.5] + taste @ [1.0, 1.0] + rng.normal(size=n)
    weight = rng.integers(0, 4, n).astype(float)
    return {"X": x, "t": t, "y": y, "z": z, "weight": weight, "clusters": groups}


def moments_of(data, at=slice(None), weight=None):
    columns = {name: data[name][at] for name in ("X", "t", "y", "z")}
    return Moments.from_data(read_rows(**columns, sample_weight=weight, roles=Roles()))


def by_cluster(data):
    return {g: moments_of(data, data["clusters"] == g) for g in np.unique(data["clusters"])}


def fit_rows(est, data, **options):
    return est.fit(data["X"], data["t"], data["y"], z=data["z"], **options)


def assert_same(one, other, rtol=1e-8):
    for name in ("coef_", "intercept_", "first_stage_coef_", "dof_"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol)
    assert_allclose(one.covariance_, other.covariance_, rtol=rtol, atol=1e-12)
    assert list(one.covariance_) == list(other.covariance_)
    assert one.cov_type_ == other.cov_type_


@pytest.mark.parametrize("method", ["2sls", "liml"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_moments_give_the_classical_fit(data, method, fit_intercept, debiased, weighted):
    est = TwoStageLS(
        method=method, cov_type="unadjusted", fit_intercept=fit_intercept, debiased=debiased
    )
    weight = data["weight"] if weighted else None
    rows = fit_rows(clone(est), data, sample_weight=weight)
    sums = est.fit_moments(moments_of(data, weight=weight))
    assert_same(sums, rows)
    assert_allclose(*[e.predict_interval(data["X"], data["t"]) for e in (sums, rows)], rtol=1e-8)
    assert str(sums.summary().coefficients) == str(rows.summary().coefficients)


@unchecked
@pytest.mark.parametrize("method", ["2sls", "liml", "gmm"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("debiased", [True, False])
def test_moments_by_cluster_give_clustered_errors(data, method, fit_intercept, debiased):
    est = TwoStageLS(method=method, fit_intercept=fit_intercept, debiased=debiased)
    rows = fit_rows(clone(est), data, clusters=data["clusters"])
    parts = by_cluster(data)
    assert_same(est.fit_moments(moments_of(data), parts), rows, rtol=1e-6)
    assert_same(clone(est).fit_moments(moments_of(data), parts.values()), rows, rtol=1e-6)
    strength, expected = (e.summary().strength for e in (est, rows))
    assert strength.errors == expected.errors == "clustered"
    assert_allclose(strength.first_stage.f, expected.first_stage.f, rtol=1e-6)
    assert_allclose(strength.kleibergen_paap.f, expected.kleibergen_paap.f, rtol=1e-6)


@unchecked
def test_clusters_from_a_data_frame():
    data = make_noncompliance(300, random_state=1)
    frame = pd.DataFrame({"y": data.y, "t": data.t, "z": data.z, "village": np.arange(300) % 17})
    roles = {"outcome": "y", "treatment": "t", "instruments": "z"}
    parts = Moments.from_frame(frame, **roles, by="village")
    sums = TwoStageLS().fit_moments(Moments.from_frame(frame, **roles), parts)
    rows = TwoStageLS().fit(None, frame["t"], frame["y"], z=frame["z"], clusters=frame["village"])
    assert_same(sums, rows)


def test_least_squares_from_moments(data):
    moments = Moments.from_data(read_rows(data["X"], data["y"], roles=Roles()))
    est = TwoStageLS(cov_type="unadjusted")
    with pytest.warns(NoTreatmentWarning):
        sums = clone(est).fit_moments(moments)
    with pytest.warns(NoTreatmentWarning):
        assert_same(sums, est.fit(data["X"], data["y"]), rtol=1e-6)
    collinear = np.column_stack([data["X"], data["X"].sum(axis=1)])
    with pytest.warns(NoTreatmentWarning):
        short = clone(est).partial_fit(collinear, data["y"])
    with pytest.warns(NoTreatmentWarning):
        rows = clone(est).fit(collinear, data["y"])
    assert_allclose(short.coef_, rows.coef_, rtol=1e-6)
    assert np.isnan(short.covariance_.to_numpy()).all()


@unchecked
def test_clusters_alone_are_enough(data):
    parts = by_cluster(data)
    whole = TwoStageLS().fit_moments(moments_of(data), parts)
    assert_same(TwoStageLS().fit_moments(None, parts), whole)
    assert_same(TwoStageLS().fit_moments(sum(parts.values()), parts.values()), whole)


@unchecked
def test_a_cluster_without_weight_is_none():
    data = make_noncompliance(300, random_state=1)
    village = np.arange(300) % 17
    names = {"y": "y", "sample_weight": "w", "clusters": "village"}
    frame = pd.DataFrame({"y": data.y, "t": data.t, "z": data.z, "village": village})
    frame["w"] = np.where(village == 3, 0, 1 + village % 2)
    est = TwoStageLS(treatment="t", instruments="z")
    roles = {"outcome": "y", "treatment": "t", "instruments": "z", "sample_weight": "w"}
    parts = Moments.from_frame(frame, by="village", **roles)
    assert parts[3].n_rows == 0
    assert_same(clone(est).fit_moments(None, parts), est.fit(frame, **names))


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (lambda m: {"a": m}, "moments must be Moments; got dict: of moments by group pass one, or"),
        (lambda m: pd.DataFrame({"y": [1.0]}), "moments must be Moments; got DataFrame"),
        (lambda m: [m], "moments must be Moments; got list"),
        (lambda m: None, "moments must be Moments; got NoneType"),
    ],
)
def test_moments_are_checked(data, moments, message):
    for est in (TwoStageLS(cov_type="unadjusted"), BayesianIV(**QUICK)):
        with pytest.raises(TypeError, match=message):
            est.fit_moments(moments(moments_of(data)))
    with pytest.raises(TypeError, match="cluster_moments must be Moments; got str"):
        TwoStageLS().fit_moments(moments_of(data), pd.DataFrame({"y": [1.0]}))


def test_instruments_without_treatment():
    data = make_noncompliance(300, random_state=1)
    frame = pd.DataFrame({"y": data.y, "z": data.z})
    moments = Moments.from_frame(frame, outcome="y", instruments="z")
    for est in (TwoStageLS(cov_type="unadjusted"), BayesianIV(**QUICK)):
        with (
            pytest.warns(NoTreatmentWarning),
            pytest.raises(ValueError, match=r"t must be given with z.*got \['z'\] without"),
        ):
            est.fit_moments(moments)


@pytest.mark.parametrize(
    "named",
    [{"treatment": "push", "instruments": ["coin"]}, {"treatment": 0, "instruments": [-1]}],
    ids=["names", "positions"],
)
def test_predict_after_moments_in_column_mode(named):
    """Moments have no order of columns: new data are matched by name, or as the positions say."""
    data = make_noncompliance(300, n_covariates=2, random_state=0)
    x = np.asarray(data.X)
    frame = pd.DataFrame({"push": data.t, "a": x[:, 0], "b": x[:, 1], "coin": data.z})
    roles = {"outcome": "y", "treatment": "push", "instruments": "coin", "covariates": ["a", "b"]}
    moments = Moments.from_frame(frame.assign(y=data.y), **roles)
    est = TwoStageLS(cov_type="unadjusted", **named)
    expected = clone(est).fit(frame, data.y).predict(frame)
    est.fit_moments(moments)
    assert_allclose(est.predict(frame), expected, rtol=1e-10)
    if named["treatment"] == 0:
        assert est.feature_names_in_.tolist() == list(frame)
        return
    for columns in (["coin", "b", "a", "push"], ["y", "push", "b", "coin", "a"]):
        other = frame.assign(y=data.y)[columns]
        assert_allclose(est.predict(other), expected, rtol=1e-10)
        assert_allclose(est.predict(pl.from_pandas(other)), expected, rtol=1e-10)
    with pytest.raises(ValueError, match=r"X must have the columns .*got \['push', 'a', 'b'\]\.$"):
        est.predict(frame[["push", "a", "b"]])


def test_moments_must_have_the_named_columns(data):
    moments = moments_of({**data, "t": data["t"][:, :1]})
    message = r"treatment must name the columns that moments have as treatment: \['t'\]; got 'push'"
    with pytest.raises(ValueError, match=message):
        TwoStageLS(treatment="push", instruments=["z0", "z1", "z2", "z3"]).fit_moments(moments)
    with pytest.raises(ValueError, match="instruments must name the columns that moments have"):
        TwoStageLS(treatment="t", instruments=["z0", "z1"]).fit_moments(moments)


def test_what_needs_rows_says_so(data):
    moments, parts = moments_of(data), list(by_cluster(data).values())
    with pytest.raises(ValueError, match="cov_type='robust' needs rows, or cluster_moments"):
        TwoStageLS().fit_moments(moments)
    with pytest.raises(ValueError, match="cov_type='clustered' needs rows"):
        TwoStageLS(cov_type="clustered").fit_moments(moments)
    with pytest.raises(ValueError, match="method='gmm' needs rows"):
        TwoStageLS(method="gmm", cov_type="unadjusted").fit_moments(moments)
    with pytest.raises(ValueError, match="must add up to moments, 400 observations; got"):
        TwoStageLS().fit_moments(moments, parts[1:])
    shifted = moments_of(data | {"y": data["y"] + 1.0})
    with pytest.raises(ValueError, match="with other totals"):
        TwoStageLS().fit_moments(shifted, parts)
    other = [moments_of({**data, "z": data["z"][:, :3]})]
    with pytest.raises(ValueError, match="cluster_moments must be of the columns of moments"):
        TwoStageLS().fit_moments(moments, other)
    est = TwoStageLS(cov_type="unadjusted").fit_moments(moments)
    assert not hasattr(est, "results_")
    assert pickle.loads(pickle.dumps(est)).effect_interval([0, 0], [1, 0]).shape == (2,)


# Batches ----------------------------------------------------------------------------------------


def batches(data, sizes):
    ends = np.cumsum(sizes)
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


@unchecked
@pytest.mark.parametrize("sizes", [[400], [100, 300], [37, 200, 63, 100]])
@pytest.mark.parametrize("method", ["2sls", "liml"])
def test_batches_give_the_fit_of_all_rows(data, sizes, method):
    est = TwoStageLS(method=method, cov_type="unadjusted")
    for at in batches(data, sizes):
        est.partial_fit(
            data["X"][at],
            data["t"][at],
            data["y"][at],
            z=data["z"][at],
            sample_weight=data["weight"][at],
        )
    whole = fit_rows(
        TwoStageLS(method=method, cov_type="unadjusted"), data, sample_weight=data["weight"]
    )
    assert_same(est, whole)
    assert "unadjusted standard errors" in str(est.summary())


def test_partial_fit_goes_on_from_fit(data):
    first, rest = batches(data, [150, 250])
    est = TwoStageLS()
    est.fit(data["X"][first], data["t"][first], data["y"][first], z=data["z"][first])
    with pytest.warns(UserWarning, match='cov_type="robust" needs the rows.*Set cov_type="unadj'):
        est.partial_fit(data["X"][rest], data["y"][rest], t=data["t"][rest], z=data["z"][rest])
    assert_same(est, fit_rows(TwoStageLS(cov_type="unadjusted"), data))
    fit_rows(est, data)
    assert est.moments_.n_rows == 400


@quiet
@pytest.mark.parametrize(
    "est",
    [
        BayesianIV(**QUICK),
        HierarchicalBayesianIV(effects=[1.0, 1.5], std_errors=[0.3, 0.2], **QUICK),
    ],
    ids=["bayes", "hierarchical"],
)
def test_batches_give_the_same_posterior(est):
    """Canonical moments: the same draws, to the last bit."""
    data = make_noncompliance(500, n_covariates=1, random_state=2)
    whole = clone(est).fit(data.X, data.t, data.y, z=data.z)
    for at in (slice(200), slice(200, 500)):
        est.partial_fit(data.X[at], data.t[at], data.y[at], z=data.z[at])
    assert est.idata_.posterior.equals(whole.idata_.posterior)


@quiet
def test_batches_of_the_criterion():
    data = make_noncompliance(500, random_state=2)
    est = BayesianIV(likelihood="gmm", **QUICK)
    for at in (slice(200), slice(200, 500)):
        est.partial_fit(None, data.t[at], data.y[at], z=data.z[at])
    whole = BayesianIV(likelihood="gmm", **QUICK).fit(None, data.t, data.y, z=data.z)
    assert isinstance(est.fourth_moments_, FourthMoments)
    assert_allclose(est.fourth_moments_.weight, 500)
    assert_allclose(est.effect_, whole.effect_, rtol=1e-6)
    with pytest.raises(ValueError, match='X must be None to partial_fit with likelihood="gmm"'):
        clone(est).partial_fit(np.arange(500.0)[:, None], data.t, data.y, z=data.z)
    normal = BayesianIV(**QUICK).partial_fit(None, data.t, data.y, z=data.z)
    with pytest.raises(ValueError, match="from the first batch on"):
        normal.set_params(likelihood="gmm").partial_fit(None, data.t, data.y, z=data.z)


def test_batches_must_agree(data):
    first = pd.DataFrame(data["X"], columns=["age", "income"])
    est = TwoStageLS(cov_type="unadjusted").partial_fit(first, data["t"], data["y"], z=data["z"])
    before = dict(vars(est))
    with pytest.raises(ValueError, match="feature names"):
        est.partial_fit(first.rename(columns={"age": "height"}), data["t"], data["y"], z=data["z"])
    with pytest.raises(ValueError, match="Moments must be of the same columns"):
        est.partial_fit(first, data["t"][:, :1], data["y"], z=data["z"])
    with pytest.raises(ValueError, match="NaN"):
        est.partial_fit(first, data["t"], data["y"] * np.nan, z=data["z"])
    assert vars(est) == before
    with pytest.raises(ValueError, match="cov_type='clustered' needs rows"):
        TwoStageLS(cov_type="clustered").partial_fit(first, data["t"], data["y"], z=data["z"])
    with pytest.raises(ValueError, match="method='gmm' needs rows"):
        TwoStageLS(method="gmm").partial_fit(first, data["t"], data["y"], z=data["z"])


@quiet
def test_callbacks_do_not_disturb_fits_to_moments(data):
    """Progress is told of fits to rows; sums are fitted silently."""
    from sklearn.callback import ProgressBar

    one = data | {name: data[name][:, :1] for name in ("t", "z")}
    est = BayesianIV(**QUICK).set_callbacks(ProgressBar())
    est.fit_moments(moments_of(one))
    est.partial_fit(one["X"], one["t"], one["y"], z=one["z"])
    assert est.moments_.n_rows == 800

"""fit(frame, y="column"): one frame holds everything, in memory or not."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from experiments import QUICK, unchecked
from numpy.testing import assert_allclose
from sklearn.base import clone

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, Moments, TwoStageLS
from skbayesiv.exceptions import NoTreatmentWarning

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAMED = {"treatment": "opened", "instruments": ["sent", "hour"], "covariates": "tenure"}
ROLES = {"outcome": "spend", **NAMED}
FEATURES = ["opened", "tenure", "sent", "hour"]
ESTIMATORS = {
    "2sls": TwoStageLS(cov_type="unadjusted", **NAMED),
    "bayes": BayesianIV(**QUICK, **NAMED),
    "hierarchy": HierarchicalBayesianIV(
        effects=[1.0, 1.5], std_errors=[0.3, 0.2], **QUICK, **NAMED
    ),
}


@pytest.fixture(scope="module")
def table():
    """Errors whose variance depends on the instruments; weights, villages, cities."""
    rng = np.random.default_rng(11)
    n = 600
    sent, hour, taste = rng.integers(0, 2, n), rng.standard_normal(n), rng.standard_normal(n)
    tenure, village = rng.normal(3.0, 1.0, n), rng.integers(0, 30, n)
    opened = 0.8 * sent + 0.3 * hour + taste + 0.2 * tenure
    error = taste + (1.0 + hour**2) * rng.standard_normal(n) + rng.standard_normal(30)[village]
    columns = {
        "opened": opened,
        "spend": 2.0 + 1.2 * opened + 0.5 * tenure + error,
        "tenure": tenure,
        "sent": sent.astype(bool),
        "hour": hour,
        "copies": rng.integers(0, 3, n),
        "village": village,
        "city": np.array(["Bern", "Genf", "Zug"])[rng.integers(0, 3, n)],
    }
    return pa.table(columns)


def lean(table, *more):
    """The table with the columns that every fit uses, and some more."""
    return table.select(["opened", "spend", "tenure", "sent", "hour", *more])


def assert_same(est, other, rtol=1e-9):
    for name in ("coef_", "intercept_", "first_stage_coef_", "covariance_"):
        assert_allclose(getattr(est, name), getattr(other, name), rtol=rtol, atol=1e-13)
    assert list(est.covariance_) == list(other.covariance_)
    assert (est.cov_type_, est.method_, est.dof_) == (other.cov_type_, other.method_, other.dof_)


@unchecked
@quiet
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_fit_of_the_moments(engine, table, name):
    """To the last bit for draws, whatever engine holds the frame."""
    frame = engine(lean(table, "copies"))
    est = clone(ESTIMATORS[name]).fit(frame, y="spend", sample_weight="copies")
    moments = Moments.from_frame(frame, sample_weight="copies", **ROLES)
    other = clone(ESTIMATORS[name]).fit_moments(moments)
    assert est.feature_names_in_.tolist() == FEATURES
    assert est.n_features_in_ == 4
    assert est.moments_.columns == moments.columns
    if name == "2sls":
        assert_same(est, other)
    else:
        assert est.idata_.posterior.equals(other.idata_.posterior)
    frame = lean(table).drop_columns("spend").to_pandas()
    assert_allclose(est.predict(frame)[:2], other.predict(frame[[*reversed(FEATURES)]])[:2])


@pytest.mark.parametrize("weight", [None, "copies"])
@pytest.mark.parametrize(
    "options", [{}, {"method": "liml", "debiased": True}, {"method": "gmm"}], ids=str
)
def test_robust_errors(engine, table, weight, options):
    """By default, and from lazy frames by a second pass over the rows."""
    rows = lean(table, *filter(None, [weight]))
    est = TwoStageLS(**options, **NAMED).fit(engine(rows), y="spend", sample_weight=weight)
    frame = rows.to_pandas()
    expected = TwoStageLS(**options).fit(
        frame[["tenure"]],
        frame["opened"],
        frame["spend"],
        z=frame[["sent", "hour"]].astype(float),
        sample_weight=None if weight is None else frame[weight],
    )
    assert est.cov_type_ == "robust"
    assert_same(est, expected)
    title = f"{est.method_.upper()} of spend, {est.moments_.weight:.0f} observations, robust"
    assert str(est.summary()).startswith(title)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_robust_errors_far_from_zero(polars_lazy, table, fit_intercept):
    """Against the sandwich in extended precision, with mean/sd = 1e3."""
    frame = lean(table).to_pandas()
    frame["tenure"] += 1e3
    est = TwoStageLS(fit_intercept=fit_intercept, **NAMED).fit(
        polars_lazy(pa.Table.from_pandas(frame)), y="spend"
    )
    rows = {name: frame[name].to_numpy().astype(np.longdouble) for name in frame}
    # The slopes' covariance does not depend on where a column with an intercept is centred.
    tenure = rows["tenure"] - (rows["tenure"].mean() if fit_intercept else 0)
    constant = [np.ones_like(tenure)] * fit_intercept
    x = np.stack([*constant, rows["opened"], tenure], axis=1)
    z = np.stack([*constant, rows["sent"], rows["hour"], tenure], axis=1)
    projected = z @ solve(z.T @ z, z.T @ x)
    coef = solve(projected.T @ projected, projected.T @ rows["spend"][:, None])
    scores = projected * (rows["spend"][:, None] - x @ coef)
    bread = solve(projected.T @ projected, np.eye(x.shape[1]))
    expected = np.sqrt(np.diag(bread @ scores.T @ scores @ bread))[-2:].astype(float)
    assert_allclose(np.sqrt(np.diag(est.covariance_))[-2:], expected, rtol=1e-9)


def solve(a, b):
    """Gaussian elimination, in extended precision, which numpy's does not have."""
    a, b = a.astype(np.longdouble), b.astype(np.longdouble)
    for i in range(len(a)):
        pivot = a[i] / a[i, i], b[i] / a[i, i]
        factor = a[:, [i]].copy()
        factor[i] = 0
        a, b = a - factor * pivot[0], b - factor * pivot[1]
        a[i], b[i] = pivot
    return b


@unchecked
@pytest.mark.parametrize("method", ["2sls", "liml", "gmm"])
def test_clustered_errors(engine, table, method):
    frame = engine(lean(table, "village", "copies"))
    names = {"y": "spend", "sample_weight": "copies", "clusters": "village"}
    est = TwoStageLS(method=method, **NAMED).fit(frame, **names)
    expected = TwoStageLS(method=method, **NAMED).fit(
        lean(table, "village", "copies").to_pandas(), **names
    )
    assert est.cov_type_ == "clustered"
    assert_same(est, expected, rtol=1e-7)


@unchecked
@quiet
@pytest.mark.parametrize("clusters", [None, "village"])
def test_the_criterion(polars_lazy, table, clusters):
    """likelihood="gmm" reads its fourth-order sums from the query."""
    rows = lean(table, *filter(None, [clusters]))
    est = BayesianIV(likelihood="gmm", **QUICK, **NAMED)
    lazy = clone(est).fit(polars_lazy(rows), y="spend", clusters=clusters)
    expected = est.fit(rows, y="spend", clusters=clusters)
    assert lazy.fourth_moments_.n_clusters == expected.fourth_moments_.n_clusters
    assert_allclose(lazy.effect_, expected.effect_, rtol=1e-6)


@unchecked
@pytest.mark.parametrize("cov_type", ["robust", "unadjusted"])
def test_categories(polars_lazy, table, cov_type):
    """Indicators of all levels but the first, in memory or not, and in new rows too."""
    est = TwoStageLS(cov_type=cov_type, **NAMED | {"covariates": ["tenure", "city"]})
    frame = lean(table, "city").to_pandas()
    wide = frame.drop(columns="city")
    for city in ("Genf", "Zug"):
        wide[f"city[{city}]"] = (table["city"].to_numpy() == city).astype(float)
    expected = clone(est).set_params(covariates="rest").fit(wide, y="spend")
    for rows in (polars_lazy(lean(table, "city")), frame, frame.astype({"city": "category"})):
        named = clone(est).fit(rows, y="spend")
        assert_same(named, expected)
        assert named.feature_names_in_.tolist() == [*FEATURES, "city"]
        shuffled = frame[[*reversed(frame.columns)]]
        assert_allclose(named.predict(shuffled), expected.predict(wide), rtol=1e-12)
        assert_allclose(named.score(shuffled, frame["spend"]), expected.score(wide, frame["spend"]))
        with pytest.raises(ValueError, match=r"levels of the fit in column 'city'.* 600 other"):
            named.predict(frame.assign(city="Basel"))
        with pytest.raises(ValueError, match=r"must be a data frame.*\['city'\] are categories"):
            named.predict(wide.to_numpy())


@unchecked
def test_categories_of_later_batches(table):
    """They have the levels of the first, also where some do not occur."""
    est = TwoStageLS(cov_type="unadjusted", **NAMED | {"covariates": ["tenure", "city"]})
    frame = lean(table, "city").to_pandas()
    later = (frame["city"] != "Bern") & (np.arange(600) % 2 == 0)
    est.partial_fit(frame[~later], y="spend").partial_fit(frame[later], y="spend")
    whole = clone(est).fit(frame, y="spend")
    assert_allclose(est.coef_, whole.coef_, rtol=1e-9)
    with pytest.raises(ValueError, match=r"must have the levels .* in column 'city'|'Basel'"):
        est.partial_fit(frame.assign(city="Basel"), y="spend")
    with pytest.raises(ValueError, match=r"X must have the columns of the first rows"):
        est.set_params(covariates="tenure").partial_fit(frame, y="spend")


def test_only_what_is_named_is_a_covariate(engine, table):
    """A table also holds a user's number, dates and what the treatment moved."""
    frame = table.append_column("day", pa.array([datetime(2026, 1, 1)] * 600))
    est = TwoStageLS(**NAMED).fit(engine(frame), y="spend")
    expected = TwoStageLS(**NAMED).fit(engine(lean(table)), y="spend")
    assert_same(est, expected)
    assert est.moments_.columns.covariates == ("tenure",)
    none = TwoStageLS(**NAMED | {"covariates": None}).fit(engine(frame), y="spend")
    assert none.moments_.columns.covariates == ()
    assert_allclose(none.coef_, TwoStageLS(**NAMED | {"covariates": []}).fit(frame, "spend").coef_)
    rest = TwoStageLS(**NAMED | {"covariates": "rest"}).fit(engine(lean(table)), y="spend")
    assert_same(rest, expected)
    with pytest.raises(ValueError, match=r'covariates must name columns .* covariates="rest" ta'):
        TwoStageLS().fit(engine(frame), y="spend")


def test_covariates_of_an_array_of_columns(table):
    """Where y is an array, X is what its columns say, or the columns that are named."""
    frame = lean(table, "village", "city").to_pandas()
    x, y = frame.drop(columns="spend"), frame["spend"]
    expected = TwoStageLS(**NAMED).fit(frame, y="spend")
    est = TwoStageLS(**NAMED).fit(x, y)
    assert_same(est, expected)
    assert est.n_features_in_ == x.shape[1]
    assert_allclose(est.predict(x), expected.predict(frame))
    position = list(x).index("tenure")
    assert_same(TwoStageLS(**NAMED | {"covariates": [position]}).fit(x, y), expected)
    apart = TwoStageLS(covariates="tenure").fit(x, x["opened"], y, z=x[["sent", "hour"]] * 1.0)
    assert_same(apart, expected)
    two = x[["village", "tenure"]]
    assert TwoStageLS().fit(two, x["opened"], y, z=x["hour"]).coef_.shape == (3,)
    with pytest.raises(ValueError, match="instruments and covariates must name different columns"):
        TwoStageLS(**NAMED | {"covariates": ["tenure", "hour"]}).fit(x, y)
    with pytest.raises(ValueError, match=r"covariates must name columns of X.*'tenor'"):
        TwoStageLS(**NAMED | {"covariates": "tenor"}).fit(x, y)


@unchecked
@quiet
def test_rows_in_memory_are_kept(table):
    for frame in (
        lean(table),
        lean(table).to_pandas(),
        pl.from_arrow(lean(table)),
        lean(table).to_pandas(types_mapper=pd.ArrowDtype),
    ):
        est = BayesianIV(**QUICK, **NAMED).fit(frame, y="spend")
        assert est._rows_or_moments().rows is not None
        assert est.moments_.columns.outcome == "spend"
        assert est.feature_names_in_.tolist() == FEATURES


def test_positions_leave_the_outcome_out(polars_lazy, table):
    by_position = TwoStageLS(treatment=0, instruments=[2, -1], covariates=1).fit(
        polars_lazy(lean(table)), y="spend"
    )
    by_name = TwoStageLS(**NAMED).fit(lean(table), y="spend")
    assert_same(by_position, by_name)


def test_least_squares(engine, table):
    frame = table.select(["hour", "spend", "tenure"])
    with pytest.warns(NoTreatmentWarning):
        est = TwoStageLS(covariates="rest").fit(engine(frame), y="spend")
    with pytest.warns(NoTreatmentWarning):
        expected = TwoStageLS(covariates=["hour", "tenure"]).fit(frame.to_pandas(), y="spend")
    assert_same(est, expected)
    outcome = table.select(["spend"])
    with pytest.warns(NoTreatmentWarning):
        mean = TwoStageLS(cov_type="unadjusted", covariates=[]).fit(engine(outcome), y="spend")
    assert mean.intercept_ == pytest.approx(outcome["spend"].to_numpy().mean(), rel=1e-13)


@unchecked
@quiet
def test_batches(engine, table):
    names = {"y": "spend", "sample_weight": "copies"}
    whole = clone(ESTIMATORS["bayes"]).fit(lean(table, "copies"), **names)
    est = clone(ESTIMATORS["bayes"])
    for start, stop in ((0, 250), (250, 600)):
        est.partial_fit(engine(lean(table, "copies").slice(start, stop - start)), **names)
    assert est.idata_.posterior.equals(whole.idata_.posterior)
    assert est.feature_names_in_.tolist() == FEATURES


@unchecked
@quiet
def test_a_pass_that_fails_changes_nothing(polars_lazy, table):
    rows = pl.from_arrow(lean(table)).lazy()

    def broken():
        """A query whose second pass fails, after the one for the pilot mean."""
        passes = []

        def read(frame):
            passes.append(len(frame))
            if len(passes) > 1:
                raise OSError("the disk is gone")
            return frame

        return rows.map_batches(read)

    for est in ESTIMATORS.values():
        est = clone(est).fit(polars_lazy(lean(table)), y="spend")
        before = dict(vars(est))
        for method in (est.fit, est.partial_fit):
            with pytest.raises(Exception, match="the disk is gone"):
                method(broken(), y="spend")
            with pytest.raises(ValueError, match="must not have missing values"):
                method(rows.with_columns(hour=pl.lit(np.nan)), y="spend")
        assert vars(est) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.zeros(600)}, "y must name a column of X when X is a lazy frame.*got ndarray"),
        ({}, "y must name a column of X when X is a lazy frame.*got None"),
        ({"y": "spent"}, r"y must name a column of X: \['opened', .*; got 'spent'"),
        ({"y": "spend", "t": np.zeros(600)}, "name the column with the parameter treatment; got"),
        ({"y": "spend", "z": "sent"}, "with the parameter instruments; got 'sent'"),
        ({"y": "spend", "sample_weight": np.ones(600)}, "sample_weight must name a column"),
        ({"y": "spend", "clusters": np.ones(600)}, "clusters must name a column"),
        ({"y": "spend", "clusters": "land"}, "clusters must name a column of X.*'land'"),
        ({"y": "opened"}, r"treatment must name columns of X.*; got 'opened'"),
    ],
)
def test_arguments_of_lazy_frames(lazy, table, arguments, message):
    with pytest.raises(ValueError, match=message):
        TwoStageLS(**NAMED).fit(lazy(lean(table)), **arguments)


def test_arguments_of_frames_in_memory(table):
    frame = lean(table).to_pandas()
    est = TwoStageLS(**NAMED)
    with pytest.raises(ValueError, match=r"y must name a column of X: \['opened', .*'spent'"):
        est.fit(frame, y="spent")
    with pytest.raises(TypeError, match="X must be a data frame when y names a column; got ndarr"):
        est.fit(frame.to_numpy(), y="spend")
    with pytest.raises(TypeError, match=r"X must be a data frame.*got None"):
        est.fit(None, y="spend")
    with pytest.raises(ValueError, match="To name a column of X use the parameter treatment"):
        TwoStageLS().fit(frame, y="spend", t="opened", z="sent")
    frame.loc[3, "spend"] = np.nan
    with pytest.raises(ValueError, match="y must be numeric and finite"):
        est.fit(frame, y="spend")


def test_what_needs_rows_says_so(polars_lazy, table):
    frame = polars_lazy(lean(table))
    with pytest.raises(ValueError, match="clusters must be passed to fit"):
        TwoStageLS(cov_type="clustered", **NAMED).fit(frame, y="spend")
    with pytest.raises(TypeError, match="X must be a frame in memory: BayesianIVCV needs rows"):
        BayesianIVCV(BayesianIV(**NAMED)).fit(frame, y="spend")

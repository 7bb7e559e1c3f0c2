"""CR2 against its definition in matrices of rows by rows, exact cases, published numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from experiments import unchecked
from numpy.testing import assert_allclose
from scipy import stats
from two_stage_fits import clustered_rows, fitted

from skbayesiv import Moments, TwoStageLS, experiment_report

pytestmark = pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
ROLES = {"treatment": "t", "instruments": "z", "covariates": ["x"]}


@pytest.fixture(scope="module")
def data():
    return clustered_rows()


class Definition:
    """Bell and McCaffrey's covariance of least squares of y on x with instruments z, by rows."""

    def __init__(self, x, y, clusters=None, z=None):
        n = len(y)
        clusters = np.arange(n) if clusters is None else clusters
        self.x = x if z is None else z @ np.linalg.lstsq(z, x, rcond=None)[0]
        self.bread = np.linalg.inv(self.x.T @ self.x)
        self.params = self.bread @ self.x.T @ y
        self.left = np.eye(n) - self.x @ self.bread @ self.x.T
        self.groups = [np.flatnonzero(clusters == g) for g in np.unique(clusters)]
        error = y - x @ self.params
        scores = [self._adjusted(at).T @ error[at] for at in self.groups]
        self.covariance = self.bread @ sum(np.outer(s, s) for s in scores) @ self.bread

    def _adjusted(self, at):
        values, vectors = np.linalg.eigh(self.left[np.ix_(at, at)])
        root = np.where(values > 1e-10, 1.0 / np.sqrt(np.maximum(values, 1e-10)), 0.0)
        return vectors @ (root[:, None] * vectors.T) @ self.x[at]

    def dof(self, contrast):
        """From the matrix of clusters by clusters, under errors of one variance."""
        pulls = [self.left[:, at] @ self._adjusted(at) @ self.bread for at in self.groups]
        form = np.array([pull @ contrast for pull in pulls])
        form = form @ form.T
        return np.trace(form) ** 2 / (form**2).sum()

    def dofs(self):
        return np.array([self.dof(contrast) for contrast in np.eye(len(self.params))])


def definition(data, clusters, *, instruments=True, fit_intercept=True, rows=slice(None)):
    """That of a fit, treatments before covariates."""
    x, t, z, y = (data[name][rows] for name in "xtzy")
    constant = np.ones((len(y), int(fit_intercept)))
    clusters = clusters[rows] if clusters is not None else None
    if not instruments:
        return Definition(np.hstack([constant, x]), y, clusters)
    exogenous = np.hstack([constant, z, x])
    return Definition(np.hstack([constant, t, x]), y, clusters, exogenous)


def assert_is(est, expected):
    params = np.append([est.intercept_] * est.fit_intercept, est.coef_)
    assert_allclose(params, expected.params, rtol=1e-8)
    errors = np.sqrt(np.diag(expected.covariance))
    unit = np.outer(errors, errors)
    assert_allclose(est.covariance_ / unit, expected.covariance / unit, atol=1e-9)
    assert_allclose(est.dof_, expected.dofs(), rtol=1e-8)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("clustered", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("instruments", [True, False])
def test_is_its_definition(data, instruments, weighted, clustered, fit_intercept):
    """Two treatments with four instruments, or least squares; a weight is a repeated row."""
    rows = np.repeat(np.arange(300), data["weight"].astype(int)) if weighted else slice(None)
    clusters = data["clusters"] if clustered else None
    given = {"clusters": clusters, "sample_weight": data["weight"] if weighted else None}
    est = TwoStageLS(cov_type="CR2", fit_intercept=fit_intercept)
    if instruments:
        est.fit(data["x"], data["t"], data["y"], z=data["z"], **given)
    else:
        est.fit(data["x"], data["y"], **given)
    assert est.cov_type_ == "CR2"
    options = {"instruments": instruments, "fit_intercept": fit_intercept, "rows": rows}
    assert_is(est, definition(data, clusters, **options))


def test_few_clusters_of_rows_with_leverage():
    """Clusters that decide much of a coefficient, and one row that decides nearly all of it."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(40, 2)), np.repeat([5.0, 0.01], [1, 39])])
    y, clusters = rng.normal(size=40), np.repeat(np.arange(5), 8)
    design = np.column_stack([np.ones(40), x])
    for groups in (clusters, None):
        est = TwoStageLS(cov_type="CR2").fit(x, y, clusters=groups)
        assert_is(est, Definition(design, y, groups))


def test_a_cluster_that_fits_exactly(data):
    """Its own indicator leaves no residuals: the root is a Moore-Penrose inverse."""
    own = (data["clusters"] == 3).astype(float)
    x = np.column_stack([data["x"], own])
    est = TwoStageLS(cov_type="CR2").fit(x, data["y"], clusters=data["clusters"])
    design = np.column_stack([np.ones(300), x])
    assert_is(est, Definition(design, data["y"], data["clusters"]))


def test_a_cluster_is_a_row(data):
    one = fitted(data, cov_type="CR2")
    other = fitted(data | {"clusters": np.arange(300)}, clusters=True, cov_type="CR2")
    assert_allclose(one.covariance_, other.covariance_)
    assert_allclose(one.dof_, other.dof_)


def test_mean():
    y = np.random.default_rng(0).normal(size=12)
    est = TwoStageLS(cov_type="CR2").fit(None, y)
    assert_allclose(est.conf_int(), [stats.ttest_1samp(y, 0.0).confidence_interval()])


def test_two_groups_of_rows():
    """Welch's standard error, and his degrees of freedom under one variance."""
    rng = np.random.default_rng(0)
    n, m = 5, 20
    y, x = rng.normal(size=n + m), np.repeat([1.0, 0.0], [n, m])
    est = TwoStageLS(cov_type="CR2").fit(x[:, None], y)
    one, other = y[:n], y[n:]
    variance = one.var(ddof=1) / n + other.var(ddof=1) / m
    dof = (1 / n + 1 / m) ** 2 / (1 / n**2 / (n - 1) + 1 / m**2 / (m - 1))
    assert_allclose(est.covariance_.iloc[1, 1], variance)
    assert_allclose(est.dof_, [m - 1, dof])


def test_two_groups_of_equal_clusters():
    """The t test of the clusters' means."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 7)
    x = (groups % 2).astype(float)
    y = rng.normal(size=10)[groups] + rng.normal(size=70)
    est = TwoStageLS(cov_type="CR2").fit(x[:, None], y, clusters=groups)
    means = y.reshape(10, 7).mean(axis=1)
    test = stats.ttest_ind(means[1::2], means[::2])
    assert_allclose(est.dof_[1], 8.0)
    assert_allclose(est.conf_int().iloc[1], test.confidence_interval())
    assert_allclose(est.summary().table["p_value"].iloc[1], test.pvalue)


def test_published_errors_of_stata():
    """Stata's HC2, as in the tests of the R package dfadjust (Kolesar)."""
    n = np.arange(1.0, 11.0)
    y, x = np.append(np.cos(n - 1.0), np.tan(n)), np.append(np.sin(n), np.sin(n + 1.0))
    est = TwoStageLS(cov_type="CR2").fit(x[:, None], y)
    assert_allclose(np.sqrt(np.diag(est.covariance_)), [0.4227339762, 0.4421048122], atol=1e-10)


@pytest.mark.parametrize("clustered", [True, False])
def test_units_and_means(data, clustered):
    """Neither units nor large means matter to t statistics and degrees of freedom."""
    one = fitted(data, clusters=clustered, cov_type="CR2")
    moved = data | {"y": 1e3 * data["y"], "t": data["t"] / 50.0, "x": 1e-3 * data["x"] + 1e5}
    other = fitted(moved, clusters=clustered, cov_type="CR2")
    assert_allclose(other.dof_[1:], one.dof_[1:], rtol=1e-6)
    assert_allclose(
        other.summary().table["t_stat"].iloc[1:], one.summary().table["t_stat"].iloc[1:], rtol=1e-5
    )


@pytest.mark.parametrize("clustered", [True, False])
def test_order_and_labels(data, clustered):
    one = fitted(data, clusters=clustered, cov_type="CR2")
    rows = np.random.default_rng(0).permutation(300)
    names = data["clusters"] * 7 + 3
    other = fitted(data | {"clusters": names}, rows, clusters=clustered, cov_type="CR2")
    assert_allclose(other.covariance_, one.covariance_)
    assert_allclose(other.dof_, one.dof_)


def test_runs_of_clusters_are_added_up_as_others():
    """Long runs, alternating rows, and clusters of few rows in many."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60_000, 2)), rng.normal(size=60_000)
    for codes in (np.arange(60_000) // 1000, np.arange(60_000) // 2):
        rows = rng.permutation(60_000)
        one = TwoStageLS(cov_type="CR2").fit(x, y, clusters=codes)
        other = TwoStageLS(cov_type="CR2").fit(x[rows], y[rows], clusters=codes[rows])
        assert_allclose(one.covariance_, other.covariance_, rtol=1e-9, atol=1e-15)
        assert_allclose(one.dof_, other.dof_)


@unchecked
def test_moments_of_clusters_and_lazy_frames(data):
    frame = pd.DataFrame({name: data[name][:, 0] for name in "xtz"})
    frame = frame.assign(y=data["y"], g=data["clusters"])
    est = TwoStageLS(cov_type="CR2", **ROLES)
    rows = est.fit(frame, y="y", clusters="g").summary().table
    lazy = est.fit(pl.from_pandas(frame).lazy(), y="y", clusters="g")
    assert lazy.cov_type_ == "CR2"
    assert_allclose(lazy.summary().table, rows)
    roles = {"outcome": "y", "treatment": "t", "instruments": "z", "covariates": "x", "by": "g"}
    parts = Moments.from_frame(frame, **roles)
    assert_allclose(est.fit_moments(None, parts).summary().table, rows)


@pytest.mark.parametrize("clustered", [True, False])
def test_effects_of_several_treatments(data, clustered):
    """Each alone, and a step of both, with the degrees of freedom of the contrast."""
    est = fitted(data, clusters=clustered, cov_type="CR2")
    expected = definition(data, data["clusters"] if clustered else None)
    assert_allclose(est.effect_interval(), est.conf_int().iloc[1:3])
    assert_allclose(est.effect_interval([0, 1], [0, 3]), 2.0 * est.effect_interval()[1])
    contrast = np.array([0.0, 1.0, 2.0, 0.0, 0.0])
    error = np.sqrt(contrast @ expected.covariance @ contrast)
    reach = stats.t(expected.dof(contrast)).isf(0.05) * error
    centre = contrast @ expected.params
    found = est.effect_interval([0.0, 0.0], [1.0, 2.0], level=0.9)
    assert_allclose(found, [centre - reach, centre + reach], rtol=1e-8)
    assert_allclose(est.effect_interval([1.0, 1.0], [1.0, 1.0]), [0.0, 0.0])


def test_debiased_changes_nothing(data):
    one, other = (
        fitted(data, clusters=True, cov_type="CR2", debiased=debiased) for debiased in (False, True)
    )
    assert_allclose(one.summary().table, other.summary().table, rtol=0, atol=0)
    assert_allclose(one.dof_, other.dof_)


def test_clusters_that_decide_alone_say_nothing(data):
    """Of two clusters, each with one value of the instrument: no interval."""
    groups = (np.arange(300) % 2).astype(int)
    est = TwoStageLS(cov_type="CR2").fit(groups[:, None].astype(float), data["y"], clusters=groups)
    assert np.isnan(est.dof_).all()
    assert np.isnan(est.conf_int()).all(axis=None)


def test_predictions(data):
    """The normal reach, for most of the deviation is the outcome's own error."""
    est = fitted(data, cov_type="CR2")
    mean, std = est.predict(data["x"], data["t"], return_std=True)
    interval = est.predict_interval(data["x"], data["t"])
    assert_allclose(interval[:, 1], mean + stats.norm.ppf(0.975) * std)


@unchecked
def test_results_of_linearmodels_are_clustered(data):
    results = fitted(data, clusters=True, cov_type="CR2").results_
    plain = fitted(data, clusters=True, debiased=True).covariance_
    assert_allclose(results.std_errors.iloc[[0, 3, 4]], np.sqrt(np.diag(plain))[:3])
    assert fitted(data, cov_type="CR2").results_.cov_type == "robust"


@pytest.mark.parametrize("cov_type", ["CR2", "clustered"])
@unchecked
def test_reports_show_the_estimators_interval(data, cov_type):
    """And their regressions those of least squares, with the same correction."""
    args = {"X": data["x"], "t": data["t"][:, 0], "z": data["z"][:, 0], "y": data["y"]}
    groups = data["clusters"] % 7
    est = TwoStageLS(cov_type=cov_type, debiased=True).fit(**args, clusters=groups)
    assert cov_type == "CR2" or est.dof_ == 6.0
    expected = est.conf_int().iloc[1]
    for report in (experiment_report(est), experiment_report(est, **args, clusters=groups)):
        for name in ("2SLS", "effect of t"):
            line = report.table.loc[name]
            assert_allclose(line[["lower", "upper"]].astype(float), expected)
            few = "" if cov_type == "CR2" else ", not to be trusted: few clusters"
            assert line["errors"] == cov_type + few * (name != "2SLS")
        assert report.table.loc["Anderson-Rubin", "errors"] == "clustered"
        design = np.column_stack([data["z"][:, 0], data["x"]])
        for name, outcome in (("intention to treat", "y"), ("first stage[z -> t]", "t")):
            plain = TwoStageLS(cov_type=cov_type, debiased=True)
            plain.fit(design, args[outcome], clusters=groups)
            line = report.table.loc[name, ["lower", "upper"]].astype(float)
            assert_allclose(line, plain.conf_int().iloc[1], rtol=1e-8)
    table = est.summary().regressions.table["Reduced form"]
    plain = TwoStageLS(cov_type=cov_type, debiased=True).fit(design, data["y"], clusters=groups)
    assert_allclose(table.loc["z", "std_err"], np.sqrt(plain.covariance_.iloc[1, 1]))


def test_a_complier_baseline_is_corrected():
    rng = np.random.default_rng(0)
    z = np.arange(200) % 2
    t = z * (rng.random(200) < 0.6)
    y = t + rng.normal(size=200)
    groups = np.arange(200) // 10
    est = TwoStageLS(cov_type="CR2").fit(None, t, y, z=z, clusters=groups)
    line = experiment_report(est).table.loc["complier baseline", ["lower", "upper"]]
    other = TwoStageLS(cov_type="CR2").fit(None, 1 - t, y * (1 - t), z=z, clusters=groups)
    assert_allclose(line.astype(float), other.effect_interval())


ERRORS = {
    "liml": ({"method": "liml"}, {}, r'method must be "2sls" .*got \'liml\'\. Set method='),
    "gmm": ({"method": "gmm"}, {}, r"method must be .*got 'gmm'"),
    "probability": (
        {"sample_weight_type": "probability"},
        {"sample_weight": np.arange(1.0, 301.0)},
        'sample_weight_type must be "frequency".*Set cov_type="robust"',
    ),
    "one cluster": ({}, {"clusters": np.zeros(300)}, "clusters must form at least 2 groups.*got 1"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(data, case):
    params, given, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        TwoStageLS(cov_type="CR2", **params).fit(
            data["x"], data["t"], data["y"], z=data["z"], **given
        )


@pytest.mark.filterwarnings("ignore:sample_weight:UserWarning")
def test_a_fraction_of_a_row_has_no_leverage():
    x, y = np.repeat([1.0, 0.0], [1, 20])[:, None], np.arange(21.0)
    with pytest.raises(ValueError, match="sample_weight must be numbers of rows"):
        TwoStageLS(cov_type="CR2").fit(x, y, sample_weight=np.repeat([0.1, 1.0], [1, 20]))


def test_what_needs_rows_or_clusters(data):
    frame = pd.DataFrame({name: data[name][:, 0] for name in "xtz"}).assign(y=data["y"])
    est = TwoStageLS(cov_type="CR2", **ROLES)
    with pytest.raises(ValueError, match=r"X must be in memory.*Pass the name of a column of clus"):
        est.fit(pl.from_pandas(frame).lazy(), y="y")
    with pytest.raises(ValueError, match="cov_type='CR2' needs rows, or cluster_moments"):
        est.partial_fit(frame, y="y")
    moments = Moments.from_frame(frame, outcome="y", treatment="t", instruments="z")
    with pytest.raises(ValueError, match="cov_type='CR2' needs rows, or cluster_moments"):
        TwoStageLS(cov_type="CR2").fit_moments(moments)


def clustered(rng, groups, size, assigned):
    """Assignment by cluster; 20% of both errors' variance is between clusters."""
    code = np.repeat(np.arange(groups), size)
    z = rng.permutation(np.arange(groups) < assigned).astype(float)[code]
    v, e = (
        np.sqrt(0.2) * rng.normal(size=groups)[code] + np.sqrt(0.8) * rng.normal(size=len(code))
        for _ in range(2)
    )
    t = 1.5 * z + v
    return {"t": t, "y": t + 0.5 * v + np.sqrt(0.75) * e, "z": z, "clusters": code}


@pytest.mark.slow
@pytest.mark.parametrize("design", [(10, 50, 5), (30, 30, 5), (30, 30, 15)], ids=str)
def test_coverage_with_few_clusters(design):
    """Of the effect 1, by 95% intervals."""
    draws, covered = 2000, np.zeros(2)
    for seed in range(draws):
        data = clustered(np.random.default_rng(seed), *design)
        for i, cov_type in enumerate(("CR2", "clustered")):
            low, high = TwoStageLS(cov_type=cov_type).fit(None, **data).effect_interval()
            covered[i] += low <= 1.0 <= high
    corrected, plain = covered / draws
    assert corrected == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / draws))
    assert plain < corrected - 0.01
    if design != (30, 30, 15):
        assert plain < 0.92

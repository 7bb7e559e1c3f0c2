"""likelihood="gmm" in an estimator: what it reports, refuses, warns of and passes on."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from criterion import criterion, make_rows
from criterion_fits import HISTORY, fit, quiet, rows_of, same_draws
from experiments import EXACT, POOR, QUICK, unchecked
from scipy import stats

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS, exclusion_sensitivity
from skbayesiv._data.moments import Moments
from skbayesiv.exceptions import ConvergenceWarning, IgnoredClustersWarning, NoTreatmentWarning


@pytest.mark.parametrize(("p", "clustered", "passes"), [(0, False, 1), (1, False, 2), (0, True, 2)])
@quiet
def test_passes_over_the_rows(p, clustered, passes, monkeypatch):
    """Once over the rows, twice where the reference needs it; afterwards only sums are seen."""
    seen = []
    for target in (
        "skbayesiv._data.moments.Moments.from_data",
        "skbayesiv._data.fourth_moments.FourthMoments.from_data",
    ):
        owner, name = target.rsplit(".", 1)
        method = getattr(pytest.importorskip(owner.rsplit(".", 1)[0]), owner.rsplit(".", 1)[1])
        original = getattr(method, name)

        def counted(*args, original=original, **options):
            seen.append(args[0].n_rows)
            return original(*args, **options)

        monkeypatch.setattr(method, name, counted)
    data = make_rows(1, 1, p, n=500)
    clusters = np.arange(500) // 5 if clustered else None
    fit(data, clusters=clusters, **QUICK)
    assert seen == [500] * passes
    if passes == 1:
        seen.clear()
        est = BayesianIV(likelihood="gmm", **QUICK)
        est.partial_fit(None, data.t, data.y, z=data.z)
        assert seen == [500]


def test_the_same_reports(push, tmp_path):
    import arviz as az
    from arviz_stats.psense import psense

    y, t, z = (column[:500] for column in push)
    est = fit(rows_of(y, t, z), exclusion_scale=0.5)
    tree = est.idata_
    names = {"beta_t", "direct", "beta_z", "intercept_y", "intercept_t", "cov"}
    assert names == set(tree.posterior.data_vars)
    assert {"beta_t", "direct"} == set(tree.log_prior.data_vars)
    beta = tree.posterior["beta_t"].to_numpy().ravel()[:5]
    expected = [criterion(rows_of(y, t, z), b, direct=0.5) for b in beta]
    total = tree.log_density["criterion"].to_numpy().ravel()[:5]
    assert np.allclose(total, expected, rtol=1e-6)
    sums = tree.constant_data
    assert np.array_equal(sums["fourth_cross"], est.fourth_moments_.cross)
    assert sums["fourth_total"].dims == ("left", "right")
    assert list(sums["right"].to_numpy()) == ["1", "z", "t", "y"]
    tree.to_netcdf(tmp_path / "tree.nc")
    assert "beta_t[t]" in est.summary().index
    assert list(est.prior_summary().index) == ["beta_t[t]", "direct[z]"]
    with pytest.raises(TypeError, match="log likelihood not found"):  # a criterion is none
        az.loo(tree)
    assert np.isfinite(psense(tree, var_names=["beta_t"], group="prior")["beta_t"]).all()
    mean, std = est.predict(None, t=[0.0, 1.0], return_std=True)
    assert np.isclose(mean[1] - mean[0], est.effect_)
    assert (std > 0).all()
    again = pickle.loads(pickle.dumps(est))
    assert same_draws(est, again)
    rows = {"t": t, "y": y, "z": z}
    for method, arguments in (
        ("log_likelihood", {"X": None, **rows}),
        ("log_predictive_density", {"X": None, **rows}),
        ("sample_posterior_predictive", {"X": None, "z": z}),
        ("sample_prior_predictive of rows", {"z": z}),
        ("predict_interval", {"X": None, "t": t}),
    ):
        with pytest.raises(ValueError, match=f"{method} is not defined"):
            getattr(est, method.split()[0])(**arguments)


@quiet
def test_what_has_no_parameter_is_refused(push):
    import matplotlib

    matplotlib.use("Agg")
    from skbayesiv.plotting import CorrelationDisplay, ErrorDensityDisplay, PriorPosteriorDisplay

    y, t, z = (column[:500] for column in push)
    est = fit(rows_of(y, t, z), exclusion_scale=0.5, **QUICK)
    for display in (CorrelationDisplay, ErrorDensityDisplay):
        with pytest.raises(ValueError, match='is not defined with likelihood="gmm"'):
            display.from_estimator(est)
    assert est.diagnose().correlation is None
    panels = PriorPosteriorDisplay.from_estimator(est, ["beta_t", "direct"]).panels
    assert [panel.name for panel in panels] == ["beta_t[t]", "direct[z]"]
    assert [panel.name for panel in PriorPosteriorDisplay.from_estimator(est).panels] == [
        "beta_t[t]"
    ]
    with pytest.raises(ValueError, match="var_names must be variables with priors"):
        PriorPosteriorDisplay.from_estimator(est, ["sigma"])
    prior = est.sample_prior_predictive(n_draws=4000, random_state=0)["prior"]
    assert set(prior.data_vars) == {"beta_t", "direct"}
    law = stats.norm(0.0, est.prior_summary().loc["beta_t[t]", "scale"])
    assert stats.kstest(prior["beta_t"].to_numpy().ravel(), law.cdf).pvalue > 1e-3


@quiet
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
def test_prior_draws_with_a_history():
    data = make_rows(1, 2, 1)
    est = fit(data, est=HierarchicalBayesianIV, **QUICK, **HISTORY)
    prior = est.sample_prior_predictive(n_draws=4000, random_state=0)["prior"]
    assert {"beta_t", "beta_t_bar", "sigma_t_bar"} <= set(prior.data_vars)
    predicted = est.meta_analysis().treatments[0].predictive
    draws = prior["beta_t"].to_numpy().ravel()
    assert abs(np.median(draws) - predicted.quantile(0.5)) < 0.1


@quiet
def test_parameters_that_are_not_used_are_named(push):
    y, t, z = (column[:300] for column in push)
    est = BayesianIV(likelihood="gmm", lkj_eta=2.0, gamma_scale=[1.0], beta_t_scale=3.0, **QUICK)
    with pytest.warns(UserWarning, match="does not use gamma_scale, lkj_eta: ") as found:
        est.fit(None, t, y, z=z)
    assert len([w for w in found if "does not use" in str(w.message)]) == 1
    assert found[0].filename == __file__
    exclusion_sensitivity(est, [0.0, 0.5])  # refits, and does not warn again


@quiet
def test_clusters_that_the_fit_did_not_have_are_warned_of():
    rng = np.random.default_rng(5)
    groups = np.arange(2000) % 40
    z = (groups % 2).astype(float)
    t = z * (rng.random(2000) < 0.8)
    y = t + rng.normal(size=40)[groups] + rng.normal(size=2000)
    rows = {"X": None, "t": t, "y": y, "z": z}
    est = BayesianIV(likelihood="gmm", **QUICK).fit(**rows)
    assert est.diagnose().warnings == ()
    for fitted in (est, BayesianIV(**QUICK).fit(**rows)):
        with pytest.warns(IgnoredClustersWarning, match='"gmm" with fit'):
            fitted.diagnose(**rows, clusters=groups)
    assert est.fit(**rows, clusters=groups).diagnose().warnings == ()


@quiet
def test_two_stage_estimate_with_its_robust_error():
    """What conflicts with a history are judged by is TwoStageLS's, robust or clustered."""
    data = make_rows(1, 2, 1, n=500)
    clusters = np.random.default_rng(0).integers(0, 60, 500)
    for groups in (None, clusters):
        est = fit(data, clusters=groups, **QUICK)
        other = TwoStageLS().fit(data.x, data.t, data.y, z=data.z, clusters=groups)
        effect, error = est._model.two_stage()
        assert np.isclose(effect[0], other.effect_, rtol=1e-8)
        assert np.isclose(error[0], other._effect_and_error()[1][0], rtol=0.02)


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
def test_history_of_quasi_posteriors():
    data = make_rows(1, 2, 0, n=2000)
    first = fit(data)
    second = HierarchicalBayesianIV.from_estimators([first, first], likelihood="gmm", **EXACT)
    second.fit(None, data.t, data.y, z=data.z)
    assert 0.0 < second.borrowing().shrinkage < 1.0
    assert np.shape(second.next_prior().effects) == (3, 1)


@unchecked
@quiet
def test_grid_search_chooses_by_score():
    import pandas as pd
    from sklearn.model_selection import GridSearchCV

    data = make_rows(1, 1, 1, n=600, seed=1)
    frame = pd.DataFrame({"x": data.x[:, 0], "d": data.t[:, 0], "z": data.z[:, 0]})
    est = BayesianIV(likelihood="gmm", treatment="d", instruments="z", **QUICK)
    search = GridSearchCV(est, {"likelihood": ["normal", "gmm"], "beta_t_scale": [0.01, 5.0]}, cv=3)
    search.fit(frame, data.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["beta_t_scale"] == 5.0


@unchecked
def test_errors_say_what_to_do():
    data = make_rows(1, 2, 0, n=30)
    gmm = BayesianIV(likelihood="gmm", **QUICK)
    with pytest.raises(ValueError, match="fourth_moments must be given"):
        gmm.fit_moments(Moments.from_data(data))
    with pytest.raises(ValueError, match="more clusters than instruments"):
        gmm.fit(None, data.t, data.y, z=data.z, clusters=np.arange(30) % 2)
    with (
        pytest.raises(ValueError, match="must have t and z"),
        pytest.warns(NoTreatmentWarning),
    ):
        gmm.fit(data.z, data.y)
    with pytest.warns(ConvergenceWarning, match="raise draws"):
        gmm.set_params(**POOR).fit(None, data.t, data.y, z=data.z)

"""BayesianIV against exact values, and what a fit costs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from arviz_stats.base.array import array_stats
from experiments import EXACT, QUICK, simulated, unchecked
from quadrature import (
    Prior,
    cross_products,
    posterior,
    posterior_with_learnt_first_stage,
)
from sklearn.model_selection import GridSearchCV

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv.exceptions import ConvergenceWarning, NoTreatmentWarning

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "push_posterior.json").read_text()
)


GRID = {"push": {}, "moderate": {"points": 31, "width": 8.0}}


def flat(est):
    """Draws of the quantities that quadrature gives, by name, of shape (chain, draw)."""
    p = est.idata_.posterior
    return {
        "intercept_y": p["intercept_y"].to_numpy(),
        "beta_t": p["beta_t"].to_numpy()[..., 0],
        "intercept_t": p["intercept_t"].to_numpy()[..., 0],
        "beta_z": p["beta_z"].to_numpy()[..., 0, 0],
        "sigma_y": p["sigma"].to_numpy()[..., 0],
        "sigma_t": p["sigma"].to_numpy()[..., 1],
        "rho": p["corr"].to_numpy()[..., 0, 1],
    }


def assert_matches(draws, exact):
    """Mean within 4 Monte Carlo standard errors, standard deviation within 5%."""
    for name, (mean, sd) in exact.items():
        x = draws[name]
        mcse = float(array_stats.mcse(x, chain_axis=0, draw_axis=1, method="mean"))
        assert abs(x.mean() - mean) < 4 * mcse, name
        assert abs(x.std() / sd - 1) < 0.05, name


@pytest.mark.parametrize("eta", [1.0, 2.0])
def test_push_posterior_is_exact(push, notebook, eta, backend):
    y, t, z = push
    own = notebook | {"lkj_eta": eta, "backend": backend}
    est = BayesianIV(**own, random_state=1).fit(None, t, y, z=z)
    assert_matches(flat(est), REFERENCE[f"eta={eta:g}"])
    assert int(est.idata_.sample_stats["diverging"].sum()) == 0
    draws = est.idata_.posterior["beta_t"].to_numpy()
    assert array_stats.rhat(draws, chain_axis=0, draw_axis=1)[0] < 1.01


PUBLISHED = {
    "beta_t": [3.3194, 0.7144],
    "beta_z": [0.7176, 0.0063],
    "intercept_y": [69.2699, 0.3607],
    "intercept_t": [-0.0001, 0.0045],
    "rho": [0.2988, 0.0121],
}


@pytest.mark.parametrize("eta", [1, 2])
def test_exact_values(push, eta):
    """Two quadratures, by different rules in different coordinates, agree."""
    y, t, z = push
    exact, _ = posterior(cross_products(y, t, z), Prior(eta=float(eta)))
    assert set(exact) == set(REFERENCE[f"eta={eta}"])
    for name, figures in REFERENCE[f"eta={eta}"].items():
        np.testing.assert_allclose(exact[name], figures, rtol=1e-9)


def test_published_exact_values():
    for name, figures in PUBLISHED.items():
        assert np.round(REFERENCE["eta=2"][name], 4).tolist() == figures


@unchecked
def test_weak_instrument_posterior_is_exact(backend):
    """First-stage F near 1: the posterior is far from normal and nothing diverges."""
    rng = np.random.default_rng(3)
    n = 100
    z = rng.normal(size=n)
    v = rng.normal(size=n)
    t = 0.1 * z + v
    y = t + 0.8 * v + 0.6 * rng.normal(size=n)
    prior = Prior(loc=(0, 0, 0, 0), scale=(5, 5, 5, 5), sigma_scale=(2.5, 2.5), eta=1.0)
    est = BayesianIV(
        intercept_y_loc=0.0,
        intercept_y_scale=5.0,
        intercept_t_loc=0.0,
        intercept_t_scale=5.0,
        beta_t_scale=5.0,
        beta_z_scale=5.0,
        sigma_scale=2.5,
        lkj_eta=1.0,
        intercept_prior="raw",
        draws=4000,
        backend=backend,
        random_state=0,
    ).fit(None, t, y, z=z)
    exact, _ = posterior(cross_products(y, t, z), prior, points=121, width=24.0)
    draws = flat(est)
    for name in ("sigma_t", "intercept_t", "beta_z", "rho"):
        assert_matches({name: draws[name]}, {name: exact[name]})
    x = draws["beta_t"]
    mcse = float(array_stats.mcse(x, chain_axis=0, draw_axis=1, method="mean"))
    assert abs(x.mean() - exact["beta_t"][0]) < 4 * mcse
    assert int(est.idata_.sample_stats["diverging"].sum()) == 0


def moderate():
    """y, t, z of 60 rows with a first-stage F near 15, where the learnt spread matters."""
    rng = np.random.default_rng(11)
    z, v = rng.normal(size=60), rng.normal(size=60)
    t = 0.5 * z + v
    return t + 0.6 * v + 0.8 * rng.normal(size=60), t, z


@pytest.mark.parametrize("data", ["push", "moderate"])
def test_posterior_with_a_learnt_first_stage_is_exact(push, notebook, data, backend):
    """Against quadrature over the covariance and the spread, in other code."""
    y, t, z = push if data == "push" else moderate()
    own = {"beta_z_scale": "learned", "lkj_eta": 0.5, "backend": backend}
    if data == "moderate":
        notebook = notebook | {"intercept_y_loc": 0.0, "beta_t_scale": 2.0}
    own = notebook | own
    unit = t.std() / z.std()
    prior = Prior(
        loc=(own["intercept_y_loc"], 0.0, 0.0, 0.0),
        scale=(10.0, own["beta_t_scale"], 1.0, 1.0),
        eta=0.5,
    )
    exact = posterior_with_learnt_first_stage(cross_products(y, t, z), unit, prior, **GRID[data])
    est = BayesianIV(**own, draws=4000, random_state=1, check=False).fit(None, t, y, z=z)
    spread = est.idata_.posterior["beta_z_sd"].to_numpy()[..., 0]
    assert_matches(flat(est) | {"log_s": np.log(spread / t.std())}, exact)


def test_strong_instruments_need_no_prior_of_the_first_stage(push):
    """The effect's posterior is the same, learnt or fixed, within Monte Carlo error."""
    y, t, z = push
    effects = [
        BayesianIV(beta_z_scale=scale, random_state=i, draws=4000).fit(None, t, y, z=z)
        for i, scale in enumerate(["learned", "auto"])
    ]
    draws = [est.idata_.posterior["beta_t"].to_numpy()[..., 0] for est in effects]
    options = {"chain_axis": 0, "draw_axis": 1}
    for method in ("mean", "sd"):
        one, other = (getattr(x, {"sd": "std"}.get(method, method))() for x in draws)
        error = np.hypot(*(array_stats.mcse(x, method=method, **options) for x in draws))
        assert abs(one - other) < 4 * error


@unchecked
@pytest.mark.parametrize("unit", ["y", "t", "z"])
def test_units_do_not_matter_to_a_learnt_first_stage(unit):
    """An effect goes with y / t, beta_z_sd with t alone."""
    y, t, z = moderate()
    data = {"y": y, "t": t, "z": z}
    scaled = data | {unit: 8.0 * data[unit]}  # a power of 2: the moments are the same bits
    fits = [
        BayesianIV(**EXACT).fit(None, d["t"], d["y"], z=d["z"]).idata_.posterior
        for d in (data, scaled)
    ]
    factor = {"y": (8.0, 1.0), "t": (1 / 8.0, 8.0), "z": (1.0, 1.0)}[unit]
    for name, by in zip(("beta_t", "beta_z_sd"), factor, strict=True):
        one, other = (fit[name].to_numpy() for fit in fits)
        np.testing.assert_allclose(other, by * one, rtol=1e-9)


@unchecked
@pytest.mark.parametrize("scale", ["something", "Learned"])
def test_an_unknown_prior_of_the_first_stage_is_named(scale):
    y, t, z = moderate()
    with pytest.raises(ValueError, match=r"beta_z_scale.*'(auto|learned)', '(auto|learned)'") as e:
        BayesianIV(beta_z_scale=scale).fit(None, t, y, z=z)
    assert scale in str(e.value)


@unchecked
def test_priors_of_a_learnt_first_stage_are_shown():
    y, t, z = moderate()
    est = BayesianIV(**EXACT).fit(None, t, y, z=z)
    table = est.prior_summary()
    assert table.loc["beta_z_sd[t]"].tolist() == ["HalfCauchy", 0.0, pytest.approx(t.std())]
    assert table.loc["beta_z[z, t]", "distribution"] == "Normal(0, beta_z_sd / sd z)"
    assert table.loc["beta_z[z, t]", ["loc", "scale"]].isna().all()
    fixed = BayesianIV(beta_z_scale="auto", **EXACT).fit(None, t, y, z=z)
    assert fixed.prior_summary().loc["beta_z[z, t]", "scale"] == pytest.approx(
        2.5 * t.std() / z.std()
    )
    assert "beta_z_sd" not in fixed.idata_.posterior


@unchecked
def test_the_prior_of_the_first_stage_can_be_searched():
    y, t, z = (column.reshape(-1, 1) for column in moderate())
    frame = pd.DataFrame(np.column_stack([t, z]), columns=["t", "z"])
    est = BayesianIV(treatment="t", instruments="z", **EXACT)
    grid = {"beta_z_scale": ["learned", "auto", 1.0]}
    search = GridSearchCV(est, grid, cv=3).fit(frame, y.ravel())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["beta_z_scale"] in grid["beta_z_scale"]


def test_strong_data_agree_with_two_stage(push):
    """Under wide priors the posterior mean is 2SLS within Monte Carlo error and O(1/n)."""
    y, t, z = push
    est = BayesianIV(random_state=0, draws=4000).fit(None, t, y, z=z)
    classical = TwoStageLS(cov_type="unadjusted").fit(None, t, y, z=z)
    sd = float(est.idata_.posterior["beta_t"].std())
    assert abs(est.effect_ - classical.effect_) < 0.05 * sd
    assert abs(sd / classical.results_.std_errors.iloc[-1] - 1) < 0.05


def test_many_rows_cost_no_more_than_the_pass(push):
    """10^6 rows take the time of 10^4 rows plus one pass over the data."""
    y, t, z = push
    many = tuple(np.tile(column, 100) for column in push)
    est = BayesianIV(random_state=0)
    est.fit(None, t, y, z=z)

    def seconds(y, t, z):
        start = time.perf_counter()
        est.fit(None, t, y, z=z)
        return time.perf_counter() - start

    few = min(seconds(y, t, z) for _ in range(3))
    large = min(seconds(*many) for _ in range(3))
    sums = est.idata_.sample_stats["n_steps"].to_numpy().mean()
    assert sums < 20
    # Row by row, 10^6 rows cost about 100 times as much; the pass itself takes some 50 ms.
    assert large < 5 * few + 1.0


def test_same_seed_same_draws(push):
    y, t, z = push
    one = BayesianIV(**QUICK | {"random_state": 4})
    with pytest.warns(ConvergenceWarning):
        a = one.fit(None, t, y, z=z).idata_.posterior["beta_t"].to_numpy()
    with pytest.warns(ConvergenceWarning):
        b = one.fit(None, t, y, z=z).idata_.posterior["beta_t"].to_numpy()
    with pytest.warns(ConvergenceWarning):
        c = one.set_params(random_state=5).fit(None, t, y, z=z).idata_.posterior["beta_t"]
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c.to_numpy())


def test_summary_names_the_columns(push):
    y, t, z = push
    frame = pd.DataFrame({"bought": y, "delivered": t, "assigned": z})
    est = BayesianIV(random_state=0, treatment="delivered", instruments="assigned")
    est.fit(frame[["delivered", "assigned"]], frame["bought"])
    table = est.summary()
    assert "beta_t[delivered]" in table.index
    assert "beta_z[assigned, delivered]" in table.index
    assert "sigma[bought]" in table.index


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"beta_t_scale": [1, "auto"]}, r"an array of numbers or \"auto\"; got \[1, 'auto'\]"),
        ({"beta_t_scale": "wide"}, "'beta_t_scale' parameter .* Got 'wide'"),
        ({"beta_t_scale": [1.0, 2.0]}, r"must be a number or have shape \(1,\); got shape \(2,\)"),
        ({"beta_t_loc": [[1.0], [2.0, 3.0]]}, "beta_t_loc must be a number, an array of numbers"),
        ({"gamma_scale": [np.inf]}, "gamma_scale must be finite"),
        ({"draws": 3}, r"'draws' parameter .* range \[4, inf\)"),
    ],
)
def test_parameters_are_checked(push, parameters, message):
    y, t, z = push
    with pytest.raises(ValueError, match=message):
        BayesianIV(**parameters).fit(None, t, y, z=z)


@pytest.mark.parametrize("n_draws", [0, -1, 2.5, "all"])
def test_number_of_draws_is_checked(n_draws):
    _, t, y, z = simulated(100)
    est = BayesianIV(random_state=0).fit(None, t, y, z=z)
    message = f"n_draws must be a positive integer; got {n_draws!r}"
    for ask in (
        lambda: est.sample_prior_predictive(n_draws=n_draws),
        lambda: est.sample_posterior_predictive(None, t, z=z, n_draws=n_draws),
        lambda: est.log_likelihood(None, t, y, z=z, n_draws=n_draws),
    ):
        with pytest.raises(ValueError, match=message):
            ask()


@pytest.mark.parametrize("name", ["X", "t", "z", "y"])
def test_dates_are_refused(name):
    n = 30
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    t = z + rng.normal(size=n)
    rows = {"X": rng.normal(size=(n, 1)), "t": t, "z": z, "y": t + rng.normal(size=n)}
    days = pd.date_range("2020-01-01", periods=n)
    for dates in (pd.Series(days), days - days[0], pl.Series(days)):
        value = pl.DataFrame({"day": dates}) if name == "X" else dates
        with pytest.raises(ValueError, match=f"{name} must be numeric.*: make them numbers"):
            TwoStageLS().fit(**rows | {name: value})


def test_series_without_a_name_are_named_by_role():
    _, t, y, z = simulated(100)
    for series in (pl.Series, pd.Series):
        est = TwoStageLS().fit(None, series(t), series(y), z=series(z))
        assert est.moments_.columns.names == ("z", "t", "y")
    named = TwoStageLS().fit(None, pl.Series("push", t), y, z=z)
    assert named.moments_.columns.treatments == ("push",)


def test_without_treatment_it_is_bayesian_regression():
    """D = 1 under wide priors: the posterior mean is least squares."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3))
    y = 1.0 + X @ [1.0, -2.0, 0.5] + rng.normal(size=500)
    with pytest.warns(NoTreatmentWarning):
        est = BayesianIV(gamma_scale=100.0, **EXACT).fit(X, y)
    design = np.column_stack([np.ones(500), X])
    ols, rss = np.linalg.lstsq(design, y)[:2]
    assert np.allclose([est.intercept_, *est.coef_], ols, atol=4 * np.sqrt(rss / 500 / 500 / 3000))
    draws = est.idata_.posterior["gamma_y"].to_numpy().reshape(-1, 3)
    expected = np.sqrt(np.diag(np.linalg.inv(design.T @ design))[1:] * rss / 496)
    assert np.allclose(draws.std(axis=0), expected, rtol=0.05)
    assert not hasattr(est, "effect_")
    assert est.score(X, y) > 0.7

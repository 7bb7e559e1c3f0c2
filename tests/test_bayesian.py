"""BayesianIV against exact values, and what a fit costs and imports."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from quadrature import Prior, cross_products, posterior

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv.exceptions import ConvergenceWarning, NoTreatmentWarning


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
def test_push_posterior_is_exact(push, notebook, eta):
    y, t, z = push
    est = BayesianIV(**(notebook | {"lkj_eta": eta}), random_state=1).fit(None, t, y, z=z)
    exact, _ = posterior(cross_products(y, t, z), Prior(eta=eta))
    assert_matches(flat(est), exact)
    assert int(est.idata_.sample_stats["diverging"].sum()) == 0
    draws = est.idata_.posterior["beta_t"].to_numpy()
    assert array_stats.rhat(draws, chain_axis=0, draw_axis=1)[0] < 1.01


def test_published_exact_values(push):
    """The quadrature itself gives the values published with the data."""
    y, t, z = push
    exact, _ = posterior(cross_products(y, t, z), Prior())
    assert np.round(exact["beta_t"], 4).tolist() == [3.3194, 0.7144]
    assert np.round(exact["rho"], 4).tolist() == [0.2988, 0.0121]


def test_weak_instrument_posterior_is_exact():
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
        intercept_prior="raw",
        draws=4000,
        random_state=0,
    ).fit(None, t, y, z=z)
    exact, _ = posterior(cross_products(y, t, z), prior, points=161, width=24.0)
    draws = flat(est)
    for name in ("sigma_t", "intercept_t", "beta_z", "rho"):
        assert_matches({name: draws[name]}, {name: exact[name]})
    x = draws["beta_t"]
    mcse = float(array_stats.mcse(x, chain_axis=0, draw_axis=1, method="mean"))
    assert abs(x.mean() - exact["beta_t"][0]) < 4 * mcse
    assert int(est.idata_.sample_stats["diverging"].sum()) == 0


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
    one = BayesianIV(draws=50, chains=2, random_state=4)
    with pytest.warns(ConvergenceWarning):
        a = one.fit(None, t, y, z=z).idata_.posterior["beta_t"].to_numpy()
    with pytest.warns(ConvergenceWarning):
        b = one.fit(None, t, y, z=z).idata_.posterior["beta_t"].to_numpy()
    with pytest.warns(ConvergenceWarning):
        c = one.set_params(random_state=5).fit(None, t, y, z=z).idata_.posterior["beta_t"]
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c.to_numpy())


def test_summary_names_the_columns(push):
    import pandas as pd

    y, t, z = push
    frame = pd.DataFrame({"bought": y, "delivered": t, "assigned": z})
    est = BayesianIV(random_state=0, treatment="delivered", instruments="assigned")
    est.fit(frame[["delivered", "assigned"]], frame["bought"])
    table = est.summary()
    assert "beta_t[delivered]" in table.index
    assert "beta_z[assigned, delivered]" in table.index
    assert "sigma[bought]" in table.index


def test_without_treatment_it_is_bayesian_regression():
    """D = 1 under wide priors: the posterior mean is least squares."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3))
    y = 1.0 + X @ [1.0, -2.0, 0.5] + rng.normal(size=500)
    with pytest.warns(NoTreatmentWarning):
        est = BayesianIV(random_state=0, gamma_scale=100.0).fit(X, y)
    design = np.column_stack([np.ones(500), X])
    ols, rss = np.linalg.lstsq(design, y)[:2]
    assert np.allclose([est.intercept_, *est.coef_], ols, atol=4 * np.sqrt(rss / 500 / 500 / 3000))
    draws = est.idata_.posterior["gamma_y"].to_numpy().reshape(-1, 3)
    expected = np.sqrt(np.diag(np.linalg.inv(design.T @ design))[1:] * rss / 496)
    assert np.allclose(draws.std(axis=0), expected, rtol=0.05)
    assert not hasattr(est, "effect_")
    assert est.score(X, y) > 0.7


@pytest.mark.parametrize(
    ("script", "absent"),
    [
        ("import skbayesiv", ("jax", "pymc", "arviz", "numpyro", "xarray")),
        (
            "import numpy as np, skbayesiv\n"
            "from skbayesiv.datasets import load_push_experiment\n"
            "X, t, y, z = load_push_experiment(return_X_t_y_z=True)\n"
            "skbayesiv.BayesianIV(random_state=0).fit(X, t, y, z=z)",
            ("pymc", "pytensor", "arviz", "matplotlib"),
        ),
    ],
    ids=["import", "fit"],
)
def test_imports(script, absent):
    code = f"{script}\nimport sys\nprint([m for m in {absent!r} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert out.stdout.strip() == "[]"

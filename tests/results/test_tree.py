"""What the posterior tree supports, and properties of the posterior."""

from __future__ import annotations

import gc
import pickle
import warnings
import weakref

import matplotlib as mpl
import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from experiments import EXACT, QUICK, simulated
from scipy import stats

from skbayesiv import BayesianIV
from skbayesiv._data.rows import KEPT_ROWS
from skbayesiv._estimators import bayesian
from skbayesiv._results.tree import build_tree
from skbayesiv.exceptions import NoTreatmentWarning

mpl.use("Agg")


@pytest.fixture(scope="module")
def rows():
    """X, t, y, z of a small simulated experiment with covariates."""
    return simulated(300, 2, seed=3)


@pytest.fixture(scope="module")
def fitted(rows):
    """A fit of it."""
    X, t, y, z = rows
    return BayesianIV(**EXACT).fit(X, t, y, z=z)


@pytest.fixture(scope="module")
def full_tree(fitted, rows):
    """Everything merged into one tree."""
    X, _, _, z = rows
    tree = fitted.idata_.copy()
    tree.update(fitted.sample_prior_predictive(X, z=z, random_state=0).children)
    tree.update(fitted.sample_posterior_predictive(X, z=z, random_state=0).children)
    return tree


def test_named_dimensions(fitted):
    p = fitted.idata_.posterior
    assert p["beta_t"].dims == ("chain", "draw", "treatment")
    assert p["beta_z"].dims == ("chain", "draw", "instrument", "treatment")
    assert p["corr"].dims == ("chain", "draw", "equation", "equation_")
    assert np.allclose(
        p["cov"], p["corr"] * p["sigma"] * p["sigma"].rename(equation="equation_"), rtol=1e-10
    )
    groups = {"posterior", "sample_stats", "log_prior", "log_density", "constant_data"}
    assert groups | {"observed_data"} == set(fitted.idata_.children)
    assert fitted.idata_.observed_data["y"].size == 300


def test_it_is_built_when_it_is_first_looked_at(rows, monkeypatch):
    X, t, y, z = rows
    built = []

    def build(*parts):
        built.append(parts)
        return build_tree(*parts)

    monkeypatch.setattr(bayesian, "build_tree", build)
    est = BayesianIV(backend="independence", random_state=0)
    assert not hasattr(est, "idata_")
    est.fit(X, t, y, z=z)
    assert np.isfinite([est.effect_, *est.predict(X, t)]).all()
    assert not built
    tree = est.idata_
    assert est.idata_ is tree
    assert len(built) == 1
    est.fit(X, t, y, z=z)
    again = pickle.loads(pickle.dumps(est))
    assert len(built) == 2
    assert again.idata_.equals(est.idata_)
    assert est.idata_.equals(tree)
    assert est.idata_ is not tree
    assert len(built) == 2


@pytest.mark.parametrize("kept", [True, False])
def test_a_tree_that_was_not_looked_at_holds_no_more_rows_than_a_fit(kept):
    """At most `KEPT_ROWS` of them."""
    _, t, y, z = simulated(KEPT_ROWS + (not kept), seed=3)
    y = np.array(y, dtype=float)
    there = weakref.ref(y)
    est = BayesianIV(backend="independence", random_state=0).fit(None, t, y, z=z)
    del y
    gc.collect()
    assert (there() is not None) == kept
    assert ("observed_data" in est.idata_.children) == kept


@pytest.mark.filterwarnings("ignore::RuntimeWarning:arviz_stats")
@pytest.mark.filterwarnings("ignore::UserWarning:arviz_stats")
def test_arviz_statistics(fitted, rows, tmp_path):
    import arviz as az

    X, t, y, z = rows
    table = az.summary(fitted.idata_, var_names=["beta_t", "beta_z"])
    assert table.shape[0] == 2
    with pytest.raises(TypeError, match="compute ELPD"):  # a total is not one of each row
        az.compare({"one": fitted.idata_, "two": fitted.idata_})
    pointwise = fitted.log_likelihood(X, t, y, z=z)
    total = fitted.idata_.log_density["total"]
    assert np.allclose(pointwise.log_likelihood["y_t"].sum("row"), total, rtol=1e-9)
    tree = fitted.idata_.copy()
    tree.update(pointwise.children)
    sensitivity = az.psense_summary(tree, var_names=["beta_t"])
    assert float(sensitivity["prior"].iloc[0]) < 0.05
    loo = az.loo(tree)
    assert loo.n_data_points == 300
    assert loo.elpd == pytest.approx(float(total.mean()), abs=20)
    fitted.idata_.to_netcdf(tmp_path / "tree.nc")
    again = az.from_netcdf(tmp_path / "tree.nc")
    assert np.array_equal(again.posterior["beta_t"], fitted.idata_.posterior["beta_t"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr warns of its own unstable string types
        fitted.idata_.to_zarr(tmp_path / "tree.zarr")
        stored = az.from_zarr(tmp_path / "tree.zarr")
    assert np.array_equal(stored.posterior["corr"], fitted.idata_.posterior["corr"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "plot", ["plot_forest", "plot_rank_dist", "plot_prior_posterior", "plot_ppc_dist"]
)
def test_arviz_plots(full_tree, plot):
    import arviz as az
    import matplotlib.pyplot as plt

    options = {"var_names": ["beta_t"]} if "ppc" not in plot else {"var_names": ["y"]}
    assert getattr(az, plot)(full_tree, **options) is not None
    plt.close("all")


def test_prior_summary(fitted):
    table = fitted.prior_summary()
    y = np.asarray(fitted.idata_.observed_data["y"])
    t = np.asarray(fitted.idata_.observed_data["t"])
    assert table.loc["beta_t[t]", "scale"] == pytest.approx(2.5 * y.std() / t.std(), rel=1e-9)
    assert table.loc["intercept_y (centered)", "loc"] == pytest.approx(y.mean(), rel=1e-9)
    assert table.loc["corr", "distribution"] == "LKJ(0.5)"


def test_tree_holds_the_log_prior(fitted):
    """Half-Cauchy scales of 2.5 sd, outcome first, of the draws that the tree holds."""
    data, posterior = fitted.idata_.observed_data, fitted.idata_.posterior
    scale = 2.5 * np.array([float(data["y"].std()), float(data["t"].std())])
    expected = stats.halfcauchy(scale=scale).logpdf(posterior["sigma"]).sum(-1)
    np.testing.assert_allclose(fitted.idata_.log_prior["sigma"], expected, rtol=1e-7)
    beta = posterior["beta_t"].to_numpy()[..., 0]
    expected = stats.norm(0.0, scale[0] / float(data["t"].std())).logpdf(beta)
    np.testing.assert_allclose(fitted.idata_.log_prior["beta_t"], expected, rtol=1e-7)
    rho = posterior["corr"].to_numpy()[..., 0, 1]
    expected = -0.5 * np.log1p(-(rho**2))  # LKJ(1/2), up to its constant
    np.testing.assert_allclose(fitted.idata_.log_prior["corr"], expected, rtol=1e-7, atol=1e-10)
    spread = posterior["beta_z_sd"].to_numpy()[..., 0]
    expected = stats.halfcauchy(scale=float(data["t"].std())).logpdf(spread)
    np.testing.assert_allclose(
        fitted.idata_.log_prior["beta_z_sd"], expected, rtol=1e-7, atol=1e-10
    )


def test_without_treatments_both_forms_of_the_error_prior_are_one(rows):
    """sigma_prior="regression" regresses on the treatments' errors: without them, half-Cauchy."""
    X, _, y, _ = rows
    parameters = EXACT | {"sigma_scale": 2.0}
    with pytest.warns(NoTreatmentWarning):
        est = BayesianIV(sigma_prior="regression", **parameters).fit(X, y)
    table = est.prior_summary()
    assert table.loc["sigma[y]"].tolist() == ["HalfCauchy", 0.0, 2.0]
    assert "corr" not in table.index
    sigma = est.idata_.posterior["sigma"].to_numpy()[..., 0]
    expected = stats.halfcauchy(scale=2.0).logpdf(sigma)
    np.testing.assert_allclose(est.idata_.log_prior["sigma"], expected, rtol=1e-9)
    prior = est.sample_prior_predictive(n_draws=4000, random_state=0).prior["sigma"]
    law = stats.halfcauchy(scale=2.0)
    assert stats.kstest(prior.to_numpy().ravel(), law.cdf).pvalue > 1e-3


def test_posterior_predictive_given_both_follows_the_error(fitted, rows):
    """Given t and z the error of y follows that of t, so its spread is smaller."""
    X, t, y, z = rows
    alone = fitted.sample_posterior_predictive(X, t, random_state=0).posterior_predictive["y"]
    both = fitted.sample_posterior_predictive(X, t, z=z, random_state=0).posterior_predictive["y"]
    rho2 = float((fitted.idata_.posterior["corr"][..., 0, 1] ** 2).mean())
    ratio = float(both.var(("chain", "draw")).mean() / alone.var(("chain", "draw")).mean())
    assert ratio == pytest.approx(1 - rho2, abs=0.06)
    assert float(both.mean()) == pytest.approx(y.mean(), abs=0.1)


def draws_of(est, name="beta_t"):
    return est.idata_.posterior[name].to_numpy()


@pytest.mark.parametrize(
    ("scale_y", "scale_t", "scale_z", "scale_x"),
    [(100.0, 1.0, 1.0, 1.0), (1.0, 0.01, 1.0, 1.0), (1.0, 1.0, -3.0, 1.0), (1e-6, 1e5, 1e4, 1e-3)],
)
def test_units_do_not_matter(fitted, rows, scale_y, scale_t, scale_z, scale_x):
    """Under "auto" priors the posterior in other units is the rescaled posterior."""
    X, t, y, z = rows
    other = BayesianIV(**EXACT | {"random_state": 1}).fit(
        scale_x * X, scale_t * t, scale_y * y + 7 * scale_y, z=scale_z * z - 2
    )
    a, b = draws_of(fitted), draws_of(other) * scale_t / scale_y
    se = np.sqrt(
        sum(float(array_stats.mcse(x[..., 0], chain_axis=0, draw_axis=1)) ** 2 for x in (a, b))
    )
    assert abs(a.mean() - b.mean()) < 4 * se
    assert abs(a.std() / b.std() - 1) < 0.06
    rho = [draws_of(est, "corr")[..., 0, 1] for est in (fitted, other)]
    assert abs(rho[0].mean() - rho[1].mean()) < 0.1 * rho[0].std()


def test_row_order_and_weights_do_not_matter(rows):
    """Canonical moments: the same draws for permuted, weighted and repeated rows."""
    X, t, y, z = rows
    quick = BayesianIV(**EXACT)
    reference = draws_of(quick.fit(X, t, y, z=z))
    order = np.random.default_rng(0).permutation(len(y))
    assert np.array_equal(draws_of(quick.fit(X[order], t[order], y[order], z=z[order])), reference)
    twice = np.full(len(y), 2.0)
    weighted = draws_of(quick.fit(X, t, y, z=z, sample_weight=twice))
    again = [np.concatenate([a, a]) for a in (X, t, y, z)]
    assert np.array_equal(weighted, draws_of(quick.fit(*again[:3], z=again[3])))
    assert not np.array_equal(weighted, reference)


WIDE = [(150, 1), (20, 60), (100, 100)]


@pytest.mark.parametrize(
    ("p", "q"),
    [(60, 12), *(pytest.param(*size, marks=pytest.mark.slow) for size in WIDE)],
)
def test_wide_designs(p, q):
    """P + Q up to some hundred, against 2SLS under wide priors."""
    rng = np.random.default_rng(0)
    n = 3000
    X, z = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    v = rng.normal(size=n)
    t = z.sum(1) / np.sqrt(q) + X[:, 0] + v
    y = t + X[:, 1] + 0.5 * v + rng.normal(size=n)
    wide = {"draws": 1000, "beta_z_scale": "auto", "check": False}
    est = BayesianIV(**QUICK | wide).fit(X, t, y, z=z)
    design = np.column_stack([np.ones(n), X, z])
    fitted_t = design @ np.linalg.lstsq(design, t)[0]
    second = np.column_stack([np.ones(n), fitted_t, X])
    beta = np.linalg.lstsq(second, y)[0]
    sd = float(est.idata_.posterior["beta_t"].std())
    assert abs(est.effect_ - beta[1]) < 0.3 * sd
    assert np.allclose(est.coef_[1:], beta[2:], atol=0.5 * sd + 0.01)

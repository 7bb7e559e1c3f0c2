"""What the posterior tree supports, convergence warnings, and properties of the posterior."""

from __future__ import annotations

import warnings

import matplotlib as mpl
import numpy as np
import pytest
from arviz_stats.base.array import array_stats

from skbayesiv import BayesianIV
from skbayesiv._moments import Moments, standardise
from skbayesiv._validation import Columns, IVData
from skbayesiv.datasets import make_noncompliance
from skbayesiv.exceptions import ConvergenceWarning

mpl.use("Agg")


@pytest.fixture(scope="module")
def rows():
    """X, t, y, z of a small simulated experiment with covariates."""
    data = make_noncompliance(300, n_covariates=2, random_state=3)
    return tuple(np.asarray(a, dtype=float) for a in (data.X, data.t, data.y, data.z))


@pytest.fixture(scope="module")
def fitted(rows):
    """A fit of it."""
    X, t, y, z = rows
    return BayesianIV(random_state=0).fit(X, t, y, z=z)


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
    groups = {"posterior", "sample_stats", "log_prior", "log_likelihood", "constant_data"}
    assert groups <= set(fitted.idata_.children)
    assert fitted.idata_.observed_data["y"].size == 300


@pytest.mark.filterwarnings("ignore::RuntimeWarning:arviz_stats")
@pytest.mark.filterwarnings("ignore::UserWarning:arviz_stats")
def test_arviz_statistics(fitted, rows, tmp_path):
    import arviz as az

    X, t, y, z = rows
    table = az.summary(fitted.idata_, var_names=["beta_t", "beta_z"])
    assert table.shape[0] == 2
    sensitivity = az.psense_summary(fitted.idata_, var_names=["beta_t"])
    assert float(sensitivity["prior"].iloc[0]) < 0.05
    pointwise = fitted.log_likelihood(X, t, y, z=z)
    total = fitted.idata_.log_likelihood["total"]
    assert np.allclose(pointwise.log_likelihood["y_t"].sum("row"), total, rtol=1e-9)
    tree = fitted.idata_.copy()
    tree.update(pointwise.children)
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
    assert table.loc["corr", "distribution"] == "LKJ(1)"


def test_posterior_predictive_given_both_follows_the_error(fitted, rows):
    """Given t and z the error of y follows that of t, so its spread is smaller."""
    X, t, y, z = rows
    alone = fitted.sample_posterior_predictive(X, t, random_state=0).posterior_predictive["y"]
    both = fitted.sample_posterior_predictive(X, t, z=z, random_state=0).posterior_predictive["y"]
    rho2 = float((fitted.idata_.posterior["corr"][..., 0, 1] ** 2).mean())
    ratio = float(both.var(("chain", "draw")).mean() / alone.var(("chain", "draw")).mean())
    assert ratio == pytest.approx(1 - rho2, abs=0.06)
    assert float(both.mean()) == pytest.approx(y.mean(), abs=0.1)


def test_one_warning_says_what_to_change(rows):
    X, t, y, z = rows
    with pytest.warns(ConvergenceWarning, match=r"effective sample size.*raise draws") as caught:
        BayesianIV(draws=50, tune=100, random_state=0).fit(X, t, y, z=z)
    assert len([w for w in caught if w.category is ConvergenceWarning]) == 1


def test_divergences_and_depth_are_reported(rows):
    """Without warm-up the step size is 1 in coordinates whose scale is far smaller."""
    X, t, y, z = rows
    with pytest.warns(ConvergenceWarning, match="R-hat|diverged|tree depth|effective"):
        BayesianIV(draws=100, tune=0, random_state=0, target_accept=0.6).fit(
            X, 1e-9 * t, 1e9 * y, z=z
        )


def draws_of(est, name="beta_t"):
    return est.idata_.posterior[name].to_numpy()


@pytest.mark.parametrize(
    ("scale_y", "scale_t", "scale_z", "scale_x"),
    [(100.0, 1.0, 1.0, 1.0), (1.0, 0.01, 1.0, 1.0), (1.0, 1.0, -3.0, 1.0), (1e-6, 1e5, 1e4, 1e-3)],
)
def test_units_do_not_matter(fitted, rows, scale_y, scale_t, scale_z, scale_x):
    """Under "auto" priors the posterior in other units is the rescaled posterior."""
    X, t, y, z = rows
    other = BayesianIV(random_state=1).fit(
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
    quick = BayesianIV(draws=500, random_state=0)
    reference = draws_of(quick.fit(X, t, y, z=z))
    order = np.random.default_rng(0).permutation(len(y))
    assert np.array_equal(draws_of(quick.fit(X[order], t[order], y[order], z=z[order])), reference)
    twice = np.full(len(y), 2.0)
    weighted = draws_of(quick.fit(X, t, y, z=z, sample_weight=twice))
    again = [np.concatenate([a, a]) for a in (X, t, y, z)]
    assert np.array_equal(weighted, draws_of(quick.fit(*again[:3], z=again[3])))
    assert not np.array_equal(weighted, reference)


def columns_of(width):
    return Columns(tuple(f"x{i}" for i in range(width - 3)), ("z",), ("t",), "y")


def as_data(table, weight=None):
    return IVData(
        table[:, :-3],
        table[:, -3:-2],
        table[:, -2:-1],
        table[:, -1],
        weight,
        columns_of(table.shape[1]),
    )


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_moments_are_accurate(offset):
    """Scatter to 1e-12 of its scale where a raw sum of squares loses all but a few digits."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(50_000, 6)) + offset
    weight = rng.integers(0, 3, len(table)).astype(float)
    moments = Moments.from_data(as_data(table, weight))
    exact = table.astype(np.longdouble)
    w = weight.astype(np.longdouble)
    mean = (w[:, None] * exact).sum(0) / w.sum()
    centred = exact - mean
    scatter = ((w[:, None] * centred).T @ centred).astype(float)
    assert moments.weight == weight.sum()
    assert moments.n_rows == np.count_nonzero(weight)
    assert np.allclose(moments.mean, mean.astype(float), rtol=1e-14)
    assert np.abs(moments.scatter - scatter).max() < 1e-12 * np.abs(scatter).max()


def test_moments_add_and_subtract():
    rng = np.random.default_rng(1)
    table = rng.normal(size=(10_000, 5)) * [1, 10, 1e-3, 1, 50] + [1e5, 0, 1, -3, 1e4]
    total = Moments.from_data(as_data(table))
    parts = [Moments.from_data(as_data(part)) for part in np.array_split(table, [13, 2000, 9000])]
    added = parts[0] + parts[1] + parts[2] + parts[3]
    left = total - parts[1]
    direct = parts[0] + parts[2] + parts[3]
    for one, two in ((added, total), (left, direct)):
        a, b = standardise(one), standardise(two)
        assert one.n_rows == two.n_rows
        assert np.array_equal(a.corr, b.corr)
        assert np.array_equal(a.mean, b.mean)
        assert np.array_equal(a.sd, b.sd)
    empty = Moments.empty(columns_of(5))
    assert np.array_equal((empty + total).scatter, total.scatter)
    with pytest.raises(ValueError, match="same columns"):
        total + Moments.empty(columns_of(4))


def test_float32_and_integers_are_summed_in_double():
    rng = np.random.default_rng(2)
    table = rng.integers(0, 100, size=(200_000, 4))
    exact = Moments.from_data(as_data(table.astype(float)))
    for dtype in (np.float32, np.int64, np.int8):
        moments = Moments.from_data(as_data(table.astype(dtype)))
        assert np.allclose(moments.scatter, exact.scatter, rtol=1e-13)


@pytest.mark.parametrize(("p", "q"), [(150, 1), (20, 60)])
def test_wide_designs(p, q):
    """P + Q up to some hundred, against 2SLS under wide priors."""
    rng = np.random.default_rng(0)
    n = 3000
    X, z = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    v = rng.normal(size=n)
    t = z.sum(1) / np.sqrt(q) + X[:, 0] + v
    y = t + X[:, 1] + 0.5 * v + rng.normal(size=n)
    est = BayesianIV(draws=500, random_state=0).fit(X, t, y, z=z)
    design = np.column_stack([np.ones(n), X, z])
    fitted_t = design @ np.linalg.lstsq(design, t)[0]
    second = np.column_stack([np.ones(n), fitted_t, X])
    beta = np.linalg.lstsq(second, y)[0]
    sd = float(est.idata_.posterior["beta_t"].std())
    assert abs(est.effect_ - beta[1]) < 0.3 * sd
    assert np.allclose(est.coef_[1:], beta[2:], atol=0.5 * sd + 0.01)

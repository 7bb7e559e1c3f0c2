"""The model as PyMC states it, from an estimator; and PyMC as a backend."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from experiments import EXACT, QUICK, simulated
from scipy import stats

from skbayesiv import BayesianIV, HierarchicalBayesianIV
from skbayesiv._models.history.pymc_model import state_history
from skbayesiv._models.history.table import build_history
from skbayesiv._models.parts.priors import Normal

pytestmark = pytest.mark.filterwarnings("ignore:.*BLAS.*", "ignore:.*np.dot.*")
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
HISTORY = {"effects": [0.8, 1.2, 1.1], "std_errors": [0.2, 0.3, 0.2]}


@pytest.fixture(scope="module")
def rows():
    """X, t, y, z of a small simulated experiment."""
    return simulated(200, 1, effect=1.0)


@quiet
def test_the_fitted_model(rows):
    X, t, y, z = rows
    est = BayesianIV(**QUICK).fit(X, t, y, z=z)
    model = est.to_pymc()
    named = set(model.named_vars)
    assert set(est.idata_.posterior.data_vars) <= named
    for name, variable in est.idata_.posterior.data_vars.items():
        assert model.named_vars_to_dims.get(name, ()) == variable.dims[2:]
    unfitted = BayesianIV().to_pymc(X, t, y, z=z)
    point = model.initial_point()
    log_p = [m.compile_logp(mode="FAST_COMPILE")(m.initial_point()) for m in (model, unfitted)]
    assert log_p[0] == pytest.approx(log_p[1])
    assert set(point) == set(unfitted.initial_point())
    with pytest.raises(ValueError, match="at most 20000 rows"):
        BayesianIV(**QUICK).fit_moments(est.moments_).to_pymc()


@pytest.mark.parametrize("robust", [0.0, 0.3])
@pytest.mark.parametrize("prior", ["half-cauchy", "half-normal", "half-t"])
def test_hierarchical_prior_is_the_same(rows, robust, prior):
    """PyMC's prior of beta_t, with its hyperparameters drawn, is the package's mixture."""
    import pymc as pm

    X, t, y, z = rows
    est = HierarchicalBayesianIV(
        **HISTORY, robust_weight=robust, sigma_t_bar_prior=prior, beta_t_scale=3.0
    )
    model = est.to_pymc(X, t, y, z=z)
    names = ["beta_t_bar", "sigma_t_bar", "beta_t", "beta_j"]
    drawn = pm.draw([model[name] for name in names], draws=4000, random_seed=1)
    bar, sigma, beta, beta_j = drawn
    known = np.abs(beta_j - bar[:, None]) / sigma[:, None]
    assert np.quantile(known, 0.6827) == pytest.approx(1.0, abs=0.05)
    inside = (np.abs(beta - bar) < sigma).mean()
    vague = (np.abs(np.random.default_rng(0).normal(0, 3, beta.shape) - bar) < sigma).mean()
    expected = (1 - robust) * 0.6827 + robust * vague
    assert inside == pytest.approx(expected, abs=0.03)
    assert model["effects"].eval().shape == (3,)


MISSING = {
    "effects": [[9.0, np.nan], [11.0, -8.0], [np.nan, -12.0], [10.0, -9.0]],
    "std_errors": [[1.0, np.nan], [2.0, 1.5], [np.nan, 3.0], [0.1, 0.5]],
    "beta_t_bar_loc": [5.0, -5.0],
    "beta_t_bar_scale": [4.0, 3.0],
    "sigma_t_bar_scale": [2.0, 1.5],
}
VAGUE = Normal(np.array([1.0, -1.0]), np.array([7.0, 6.0]))


def history_of(kind):
    return build_history(HierarchicalBayesianIV(**MISSING, sigma_t_bar_prior=kind))


@cache
def history_block(kind, robust):
    """The history's part of the model, alone, as a compiled density."""
    import pymc as pm

    history = history_of(kind)
    with pm.Model(coords={"treatment": list(history.treatments)}) as model:
        state_history(history, VAGUE, robust)
    return model, model.compile_logp(jacobian=False, mode="FAST_COMPILE")


def block_by_hand(history, robust, bar, sigma, w_j, beta):
    """The same density in SciPy's terms; w_j are the earlier effects' standard deviates."""
    b, s = history.effects, history.std_errors
    known = ~np.isnan(b)
    law = {
        "half-cauchy": stats.halfcauchy(scale=history.sigma_scale).logpdf(sigma),
        "half-normal": stats.halfnorm(scale=history.sigma_scale).logpdf(sigma),
        "half-t": np.log(2) + stats.t(3, scale=history.sigma_scale).logpdf(sigma),
    }[history.kind]
    total = stats.norm(history.loc, history.scale).logpdf(bar).sum() + law.sum()
    total += stats.norm.logpdf(w_j).sum()
    total += stats.norm((bar + sigma * w_j)[known], s[known]).logpdf(b[known]).sum()
    if not robust:
        return total + stats.norm.logpdf((beta - bar) / sigma).sum()
    near = stats.norm(bar, sigma).logpdf(beta).sum()
    far = stats.norm(VAGUE.loc, VAGUE.scale).logpdf(beta).sum()
    return total + np.logaddexp(np.log1p(-robust) + near, np.log(robust) + far)


def largest_difference(kind, robust, **wrong):
    """Between PyMC and the formula, relative to the log density; `wrong` numbers in the formula."""
    model, log_p = history_block(kind, robust)
    history = replace(history_of(kind), **wrong)
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(4):
        bar, log_sigma, w, w_j = (rng.normal(size=n) for n in (2, 2, 2, (4, 2)))
        sigma = np.exp(log_sigma)
        beta = bar + sigma * w
        values = {"beta_t_bar": bar, "sigma_t_bar_log__": log_sigma, "w_j": w_j}
        values |= {"beta_t": beta} if robust else {"w": w}
        assert set(values) == set(model.initial_point())
        expected = block_by_hand(history, robust, bar, sigma, w_j, beta)
        differences.append(log_p(values) / expected - 1.0)
    return np.abs(differences).max()


@pytest.mark.parametrize("robust", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["half-cauchy", "half-normal", "half-t"])
def test_density_of_the_history_block(kind, robust):
    """Two treatments, effects missing, at random points."""
    assert largest_difference(kind, robust) < 1e-9


@pytest.mark.parametrize("field", ["loc", "scale", "sigma_scale", "effects", "std_errors"])
def test_the_block_sees_a_wrong_number(field):
    wrong = {field: 1.1 * getattr(history_of("half-cauchy"), field)}
    assert largest_difference("half-cauchy", 0.3, **wrong) > 1e-5


@pytest.mark.slow
def test_hierarchical_posteriors_agree(rows):
    """PyMC's NUTS on the notebook's non-centred model, and the integrated one."""
    import pymc as pm

    X, t, y, z = rows
    est = HierarchicalBayesianIV(**HISTORY, random_state=0, draws=2000).fit(X, t, y, z=z)
    tree = pm.sample(
        draws=1000,
        tune=1000,
        chains=2,
        cores=1,
        target_accept=0.95,
        random_seed=0,
        progressbar=False,
        quiet=True,
        compute_convergence_checks=False,
        model=est.to_pymc(),
    )
    for name in ("beta_t", "beta_t_bar", "beta_z", "sigma"):
        a, b = (p[name].to_numpy() for p in (est.idata_.posterior, tree.posterior))
        a, b = (x.reshape(*x.shape[:2], -1)[..., 0] for x in (a, b))
        mcse = [float(array_stats.mcse(x, chain_axis=0, draw_axis=1)) for x in (a, b)]
        assert abs(a.mean() - b.mean()) < 4 * np.hypot(*mcse), name


@quiet
def test_pymc_backend(rows):
    import pytensor

    X, t, y, z = rows
    quick = {"draws": 6, "tune": 10, "chains": 2, "target_accept": 0.4, "random_state": 0}
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        est = BayesianIV(**quick, backend="pymc").fit(X, t, y, z=z)
    other = BayesianIV(**EXACT).fit(X, t, y, z=z)
    assert set(est.idata_.posterior.data_vars) == set(other.idata_.posterior.data_vars)
    assert set(est.idata_.sample_stats.data_vars) == set(other.idata_.sample_stats.data_vars)
    sd = float(other.idata_.posterior["beta_t"].std())
    assert abs(est.effect_ - other.effect_) < 1.5 * sd
    assert np.isfinite(est.idata_.log_density["total"]).all()
    with pytest.raises(ValueError, match="fit to rows"):
        BayesianIV(backend="pymc").fit_moments(other.moments_)
    with pytest.raises(ValueError, match=r"'backend' parameter .* must be .*numpyro"):
        BayesianIV(backend="stan").fit(X, t, y, z=z)
    with pytest.raises(ValueError, match="backend must be"):
        HierarchicalBayesianIV(**HISTORY, backend="pymc").fit(X, t, y, z=z)

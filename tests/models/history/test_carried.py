"""Fits with a history that carries likelihoods."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from experiments import QUICK, simulated
from scipy.stats import norm
from sklearn.base import clone
from weak_experiments import THREE, experiment

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS, fit_experiments
from skbayesiv._models.history.carried import CarriedModel
from skbayesiv._models.history.hyperparameters import integrate_likelihoods
from skbayesiv.datasets import load_push_experiment
from skbayesiv.exceptions import WeakInstrumentWarning

NAMES = [str(j) for j in range(5)]
CARRIED = {
    "effects": [own.effect for own in THREE] + [0.9, 1.3],
    "std_errors": [own.std_error for own in THREE] + [0.4, 0.3],
    "likelihoods": dict(zip(NAMES, THREE, strict=False)),
    "random_state": 0,
}
X, T, Y, Z = simulated(300, effect=1.0, seed=1)


@pytest.fixture(scope="module", params=["normal", "gmm"])
def fitted(request):
    """With each likelihood."""
    est = HierarchicalBayesianIV(**CARRIED, likelihood=request.param)
    return est.fit(None, T, Y, z=Z)


def mcse(draws):
    """Monte Carlo error of the mean of draws (chains, draws)."""
    from arviz_stats.base.array import array_stats

    return float(array_stats.mcse(draws, chain_axis=0, draw_axis=1))


def effect_by_quadrature(est):
    """Grid of the effect and its posterior, by the criterion's density under a flat prior."""
    model = est._model.model
    unit, arrays = float(model.effect_unit[0]), model.arrays
    grid = np.linspace(-2.0, 4.0, 4001)
    flat = model.given_prior(model.shape, [grid / unit], arrays, [0.0], [1e-12], np)
    log = flat + integrate_likelihoods(est._model.history).integrated.predictive.log_pdf(grid)
    weight = np.exp(log - log.max())
    return grid, weight / weight.sum()


def test_effect_is_what_the_prediction_and_the_data_say():
    est = HierarchicalBayesianIV(**CARRIED, likelihood="gmm").fit(None, T, Y, z=Z)
    grid, weight = effect_by_quadrature(est)
    mean = weight @ grid
    sd = np.sqrt(weight @ (grid - mean) ** 2)
    draws = est.idata_.posterior["beta_t"].to_numpy()[..., 0]
    # A few components stand for the prediction: a hundredth of a standard deviation.
    assert draws.mean() == pytest.approx(mean, abs=4 * mcse(draws) + 0.01 * sd)
    assert draws.std() == pytest.approx(sd, rel=0.05)


def test_hierarchy_given_the_effect(fitted):
    """Mean effect, spread and earlier effects, by weighting the history's draws exactly."""
    draws = integrate_likelihoods(fitted._model.history)
    beta = fitted.idata_.posterior["beta_t"].to_numpy()[..., 0]
    spread = np.sqrt(draws.variance + draws.hyper.sigma**2)
    density = norm.pdf(beta.ravel()[::10, None], draws.mean, spread) * draws.weight
    density /= density.sum(axis=1, keepdims=True)
    weight = density.mean(axis=0)
    sigma = fitted.idata_.posterior["sigma_t_bar"].to_numpy()[..., 0]
    for p in (0.1, 0.5, 0.9):
        exact = np.interp(p, np.cumsum(weight), draws.hyper.sigma)
        assert (sigma < exact).mean() == pytest.approx(p, abs=0.04)
    gain = draws.variance / spread**2
    bar = draws.mean + gain * (beta.ravel()[::10, None] - draws.mean)
    exact = (density * bar).sum(axis=1).mean()
    found = fitted.idata_.posterior["beta_t_bar"].to_numpy()[..., 0]
    assert found.mean() == pytest.approx(exact, abs=4 * mcse(found) + 0.01)


def test_earlier_effects_are_of_their_likelihoods(fitted):
    """They are shrunk from LIML's, the weakest the most, and none is a normal summary's."""
    beta_j = fitted.idata_.posterior["beta_j"].mean(("chain", "draw")).to_numpy()[:, 0]
    bar = float(fitted.idata_.posterior["beta_t_bar"].mean())
    effects = np.array(CARRIED["effects"])
    share = (beta_j - bar) / (effects - bar)
    assert (np.abs(share) < 1.0).all()
    assert set(fitted.idata_.log_prior.data_vars) >= {"beta_j", "history_beta_z_sd", "beta_t_bar"}
    assert np.isfinite(fitted.idata_.log_density["history"]).all()


def test_robust_weight_is_found_by_bridge_sampling():
    """P(exchangeable) is the ratio of evidences, here integrals over the effect alone."""
    est = HierarchicalBayesianIV(**CARRIED, robust_weight=0.3, likelihood="gmm")
    est.fit(None, T, Y, z=Z)
    model, grid = est._model.model, np.linspace(-6.0, 8.0, 8001)
    unit, arrays = float(model.effect_unit[0]), model.arrays
    criterion = model.given_prior(model.shape, [grid / unit], arrays, [0.0], [1e-12], np)
    likelihood = np.exp(criterion - criterion.max())
    prediction = integrate_likelihoods(est._model.history).integrated.predictive
    near = likelihood @ np.exp(prediction.log_pdf(grid)) * 0.7
    vague = likelihood @ norm.pdf(grid, 0.0, model.effect_prior.scale[0]) * 0.3
    assert est.exchangeable_probability_ == pytest.approx(near / (near + vague), abs=0.02)


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
def test_density_is_pymcs():
    """Differences over hyper-parameters with the effect held, by hand and by PyMC."""
    est = HierarchicalBayesianIV(**CARRIED, robust_weight=0.3).fit(None, T, Y, z=Z)
    model = est.to_pymc()
    assert {"beta_t_bar", "sigma_t_bar", "history_corr", "beta_j"} <= set(model.named_vars)
    posterior = integrate_likelihoods(est._model.history).posterior
    density = model.compile_logp(mode="FAST_COMPILE")
    point = model.initial_point()
    values = {
        "beta_t_bar": np.array([1.1]),
        "sigma_t_bar_log__": np.log([0.4]),
        "angle_interval__": np.array(0.3),
        "history_beta_z_sd_log__": np.array(-2.0),
        "w_j": np.array([0.5, -0.3, 1.0, 0.2, -1.0])[:, None],
        "phi_bar": np.array(0.2),
        "log_phi_sd": np.array(0.1),
    }
    beta_t = np.array([1.05])
    changed = point | values | {"beta_t": beta_t}
    other = changed | {
        "beta_t_bar": np.array([0.7]),
        "sigma_t_bar_log__": np.log([0.9]),
        "angle_interval__": np.array(-0.4),
        "history_beta_z_sd_log__": np.array(-1.0),
        "phi_bar": np.array(-0.1),
        "log_phi_sd": np.array(-0.2),
    }
    theirs = float(density(changed)) - float(density(other))
    vague = est._model.effect_prior

    def by_hand(at):
        bar, sigma = at["beta_t_bar"][0], np.exp(at["sigma_t_bar_log__"][0])
        share = 1.0 / (1.0 + np.exp(-at["angle_interval__"]))
        r = np.sin(np.pi * (share - 0.5))
        tau, s = np.exp(at["history_beta_z_sd_log__"]), np.exp(at["log_phi_sd"])
        w = at["w_j"][:, 0]
        h = est._model.history
        value = norm.logpdf(bar, h.loc[0], h.scale[0])
        value += np.log(sigma) - np.log1p((sigma / h.sigma_scale[0]) ** 2)
        value += np.log(share * (1 - share)) + np.log(tau) - np.log1p(tau**2)
        value += norm.logpdf(posterior.phi, at["phi_bar"], s).sum() + norm.logpdf(w).sum()
        phi = (posterior.phi - at["phi_bar"]) / s
        carried = bar + sigma * (r * phi + np.sqrt(1 - r**2) * w[:3])
        value += posterior.log_given(carried[None], np.array([np.log(tau)]))[0]
        value += norm.logpdf([0.9, 1.3], bar + sigma * w[3:], [0.4, 0.3]).sum()
        near = np.log(0.7) + norm.logpdf(beta_t[0], bar, sigma)
        far = np.log(0.3) + norm.logpdf(beta_t[0], vague.loc[0], vague.scale[0])
        return value + np.logaddexp(near, far)

    assert theirs == pytest.approx(by_hand(changed) - by_hand(other), rel=1e-9)


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
def test_one_after_the_other_is_all_together():
    """Under "auto" hyper-priors: the mean effect after a fit is that of the next history."""
    _, t, y, z = load_push_experiment(return_X_t_y_z=True)
    est = HierarchicalBayesianIV(
        effects=[3.4, 3.6, 4.25, 4.0, 3.9],
        std_errors=[0.5, 0.55, 0.6, 0.45, 0.44],
        random_state=0,
        draws=4000,
    ).fit(None, t, y, z=z)
    following = est.next_prior("winter")
    summary = est.prior_summary()
    assert following.beta_t_bar_scale == summary.loc["beta_t_bar[t]", "scale"]
    assert following.sigma_t_bar_scale == summary.loc["sigma_t_bar[t]", "scale"]
    together = following.meta_analysis().treatments[0]
    for name, exact in (
        ("beta_t_bar", together.mean_effect.median),
        ("sigma_t_bar", together.sigma_median),
    ):
        draws = est.idata_.posterior[name].to_numpy()[..., 0]
        below = (draws < exact).astype(float)
        assert below.mean() == pytest.approx(0.5, abs=4 * mcse(below)), name
    # And the effect of the last is that of beta_j in the next one's history.
    assert list(following.effects.index)[-1] == "winter"


def weak_experiment(seed, concentration=4.0, rho=0.8, n=200):
    """t, y, z of a weak experiment with an effect of 1."""
    rng = np.random.default_rng(seed)
    z, v = rng.normal(size=n), rng.normal(size=n)
    t = np.sqrt(concentration / n) * z + v
    return {"t": t, "y": t + rho * v + np.sqrt(1 - rho**2) * rng.normal(size=n), "z": z}


def test_weak_histories_one_after_the_other():
    """A weak experiment is added by its likelihood, and those before keep theirs."""
    est = HierarchicalBayesianIV.from_estimators(
        [TwoStageLS(check=False).fit(None, **weak_experiment(i)) for i in range(3)],
        check=False,
        **QUICK,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        est.fit(None, **weak_experiment(3))
    following = est.next_prior()
    assert list(following.likelihoods) == NAMES[:4]
    assert following.likelihoods["0"] is est.likelihoods["0"]
    assert following.meta_analysis().n_carried == 4


def test_thousands_of_fits_and_single_ones_mean_the_same():
    parts = [weak_experiment(i) for i in range(3)]
    frame = pd.concat(pd.DataFrame(part).assign(week=str(i)) for i, part in enumerate(parts))
    est = BayesianIV(check=False, **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = fit_experiments(
            frame, by="week", outcome="y", treatment="t", instruments="z", estimator=est
        )
        singles = [clone(est).fit(None, **part) for part in parts]
    many = HierarchicalBayesianIV.from_estimators(fits)
    one = HierarchicalBayesianIV.from_estimators(singles)
    assert many.effects.to_numpy() == pytest.approx(one.effects.to_numpy(), rel=1e-9)
    assert many.std_errors.to_numpy() == pytest.approx(one.std_errors.to_numpy(), rel=1e-9)
    assert list(many.likelihoods) == list(one.likelihoods)
    for own, other in zip(many.likelihoods.values(), one.likelihoods.values(), strict=True):
        assert own.covariance == pytest.approx(other.covariance, rel=1e-9)
    assert str(many.meta_analysis()).startswith("3 earlier experiments, 3 by the likelihoods")
    with pytest.raises(ValueError, match="names must be None with fits"):
        HierarchicalBayesianIV.from_estimators(fits, names=["a", "b", "c"])


def test_it_clones_and_pickles(fitted):
    assert isinstance(fitted._model, CarriedModel)
    again = pickle.loads(pickle.dumps(fitted))
    assert again.effect_ == fitted.effect_
    assert again.likelihoods["1"].covariance == pytest.approx(THREE[1].covariance)
    copied = clone(fitted).set_params(**QUICK | {"draws": 20}, check=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copied.fit(None, T, Y, z=Z)
    assert list(copied.likelihoods) == NAMES[:3]


def test_first_stages_known_to_be_weak_are_warned_of():
    est = HierarchicalBayesianIV(
        effects=pd.Series([1.0, 1.4, 0.8], index=["may", "june", "july"]),
        std_errors=[0.3, 0.2, 0.4],
        first_stage_f=pd.Series([30.0, 4.0, np.nan], index=["may", "june", "july"]),
        random_state=0,
    )
    message = r"1 of 3 earlier experiments have a first-stage F below 10 \(june\)"
    with pytest.warns(WeakInstrumentWarning, match=message):
        est.fit(None, T, Y, z=Z)
    assert [type(one) for one in est.warnings_] == [WeakInstrumentWarning]
    following = est.next_prior("august")
    assert following.first_stage_f.to_list()[:2] == [30.0, 4.0]
    assert np.isnan(following.first_stage_f.to_list()[2:]).all()
    est.set_params(check=False).fit(None, T, Y, z=Z)
    assert est.warnings_ == ()


def test_a_likelihood_is_better_than_a_warning():
    est = HierarchicalBayesianIV(**CARRIED, first_stage_f=[2.0, 5.0, 9.0, 40.0, np.nan])
    est.fit(None, T, Y, z=Z)
    assert est.warnings_ == ()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"likelihoods": {"nine": THREE[0]}},
            ValueError,
            "of the experiments that effects names; got 'nine'",
        ),
        ({"likelihoods": {"0": 1.0}}, TypeError, "must hold EffectLikelihood.*got float for '0'"),
        ({"likelihoods": [THREE[0]]}, ValueError, "likelihoods"),
        ({"first_stage_f": [1.0, 2.0]}, ValueError, r"first_stage_f must have shape \(5,\)"),
        ({"first_stage_f": [1.0, 2.0, -1.0, 1.0, 1.0]}, ValueError, "zero or positive"),
        ({"first_stage_f": ["a"] * 5}, ValueError, "first_stage_f must be numeric"),
    ],
)
def test_what_cannot_be_carried(change, error, message):
    est = HierarchicalBayesianIV(**CARRIED | change)
    with pytest.raises(error, match=message):
        est.fit(None, T, Y, z=Z)


def test_likelihoods_are_of_one_effect():
    rng = np.random.default_rng(0)
    z, e = rng.normal(size=(300, 2)), rng.normal(size=(300, 3))
    t = z + e[:, :2]
    est = HierarchicalBayesianIV(
        [[1.0, 1.0]], [[0.2, 0.2]], likelihoods={"0": THREE[0]}, random_state=0
    )
    with pytest.raises(ValueError, match="likelihoods must be None with several treatments"):
        est.fit(None, t, t.sum(axis=1) + e[:, 2], z=z)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("concentration", "rho", "spread"), [(1.0, 0.8, 0.0), (4.0, 0.95, 0.0), (4.0, 0.95, 0.2)]
)
def test_many_weak_experiments_cover_their_mean_effect(concentration, rho, spread):
    """95% intervals of the mean of 100 experiments, in 40 replications."""
    covered = 0
    for i in range(40):
        rng = np.random.default_rng([i, 17])
        each = [
            experiment(rng, concentration, rho, beta=1.0 + spread * rng.normal())
            for _ in range(100)
        ]
        est = HierarchicalBayesianIV(
            [own.effect for own in each],
            [own.std_error for own in each],
            likelihoods={str(j): own for j, own in enumerate(each)},
        )
        mean = est.meta_analysis().treatments[0].mean_effect
        covered += mean.lower <= 1.0 <= mean.upper
    assert covered >= 34  # 2% of binomials of 40 at .95 are below 35

"""HierarchicalBayesianIV against quadrature, and the borrowing report."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base.array import array_stats
from experiments import EXACT, simulated
from quadrature import NAMES, Prior, cross_products, posterior
from scipy import stats
from scipy.special import logit

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv._models.history import draws as draws_of_history
from skbayesiv._models.history.integrated import integrate
from skbayesiv._models.history.table import build_history
from skbayesiv.exceptions import PriorDataConflictWarning

EFFECTS = np.array([3.4, 3.6, 4.25, 4.0, 3.9])
ERRORS = np.array([0.5, 0.55, 0.6, 0.45, 0.44])
HYPER = {"beta_t_bar_loc": 4.0, "beta_t_bar_scale": 2.0, "sigma_t_bar_scale": 2.0}


def exact(gram, effects=EFFECTS, errors=ERRORS, loc=4.0, scale=2.0, spread=2.0, points=161):
    """Posterior by quadrature: a grid of log sigma_bar around one of the covariance.

    Written from the definitions: p(b | sigma_bar) is a multivariate normal density with the
    covariance diag(sigma_bar^2 + s^2) + scale^2, and beta_t's prior follows from conditioning.
    """
    grid = np.linspace(np.log(1e-4), np.log(60.0), points)
    log_weight, parts = [], []
    for sigma in np.exp(grid):
        cov = np.diag(sigma**2 + errors**2) + scale**2
        evidence = stats.multivariate_normal(np.full(len(effects), loc), cov).logpdf(effects)
        gain = scale**2 * np.linalg.solve(cov, np.ones(len(effects)))
        mean = loc + gain @ (effects - loc)
        variance = scale**2 - scale**2 * gain.sum()
        prior = Prior(
            loc=(50.0, mean, 0.0, 0.0), scale=(10.0, np.sqrt(variance + sigma**2), 1.0, 10.0)
        )
        moments, constant = posterior(gram, prior, points=15, width=6.0)
        log_weight.append(evidence + constant + stats.halfcauchy(scale=spread).logpdf(sigma))
        m, sd = moments["beta_t"]
        # beta_bar | beta_t is normal with mean linear in beta_t.
        share = variance / (variance + sigma**2)
        bar = mean + share * (m - mean), np.sqrt(variance * (1 - share) + share**2 * sd**2)
        parts.append({**{name: moments[name] for name in NAMES}, "beta_t_bar": bar})
    weight = np.exp(np.array(log_weight) + grid - np.max(np.array(log_weight) + grid))
    weight /= weight.sum()
    out = {}
    for name in parts[0]:
        m, sd = np.array([part[name] for part in parts]).T
        centre = weight @ m
        out[name] = centre, np.sqrt(weight @ (sd**2 + (m - centre) ** 2))
    return out, np.exp(grid), weight


@pytest.fixture(scope="module")
def fitted(push, notebook):
    """The notebook's hierarchical model."""
    y, t, z = push
    est = HierarchicalBayesianIV(EFFECTS, ERRORS, **HYPER, **notebook, draws=2000, random_state=2)
    return est.fit(None, t, y, z=z)


@pytest.fixture(scope="module")
def report(fitted):
    return fitted.borrowing()


def test_push_posterior_is_exact(push, notebook, backend):
    y, t, z = push
    parameters = HYPER | notebook | {"backend": backend, "draws": 2000, "random_state": 2}
    fitted = HierarchicalBayesianIV(EFFECTS, ERRORS, **parameters).fit(None, t, y, z=z)
    expected, sigma, weight = exact(cross_products(y, t, z))
    p = fitted.idata_.posterior
    draws = {
        "intercept_y": p["intercept_y"].to_numpy(),
        "beta_t": p["beta_t"].to_numpy()[..., 0],
        "intercept_t": p["intercept_t"].to_numpy()[..., 0],
        "beta_z": p["beta_z"].to_numpy()[..., 0, 0],
        "beta_t_bar": p["beta_t_bar"].to_numpy()[..., 0],
    }
    for name, x in draws.items():
        mean, sd = expected[name]
        mcse = float(array_stats.mcse(x, chain_axis=0, draw_axis=1, method="mean"))
        assert abs(x.mean() - mean) < 4 * mcse, name
        assert abs(x.std() / sd - 1) < 0.05, name
    assert np.round(expected["beta_t"], 3).tolist() == [3.707, 0.365]
    assert np.round(expected["beta_t_bar"], 3).tolist() == [3.779, 0.268]
    # sigma_t_bar has a heavy tail: compare quantiles, each within 4 standard errors.
    x = p["sigma_t_bar"].to_numpy()[..., 0]
    cdf = np.cumsum(weight) - 0.5 * weight
    for probability in (0.1, 0.25, 0.5, 0.75, 0.9):
        below = x < np.interp(probability, cdf, sigma)
        ess = float(
            array_stats.ess(x, chain_axis=0, draw_axis=1, method="quantile", prob=probability)
        )
        se = np.sqrt(probability * (1 - probability) / ess)
        assert abs(below.mean() - probability) < 4 * se
    assert int(fitted.idata_.sample_stats["diverging"].sum()) == 0


@pytest.mark.parametrize(
    ("effects", "errors"), [([2.0], [0.1]), ([3.9] * 5, [0.4] * 5)], ids=["one", "equal"]
)
def test_few_and_equal_experiments_are_exact(push, notebook, effects, errors):
    y, t, z = push
    est = HierarchicalBayesianIV(
        effects, errors, **HYPER, **notebook, draws=2000, random_state=0
    ).fit(None, t, y, z=z)
    expected, sigma, weight = exact(
        cross_products(y, t, z), np.array(effects), np.array(errors), points=61
    )
    p = est.idata_.posterior
    for name in ("beta_t", "beta_t_bar"):
        x, (mean, sd) = p[name].to_numpy()[..., 0], expected[name]
        mcse = float(array_stats.mcse(x, chain_axis=0, draw_axis=1, method="mean"))
        assert abs(x.mean() - mean) < 4 * mcse, name
        assert abs(x.std() / sd - 1) < 0.05, name
    x = p["sigma_t_bar"].to_numpy()[..., 0]
    cdf = np.cumsum(weight) - 0.5 * weight
    ess = float(array_stats.ess(x, chain_axis=0, draw_axis=1, method="median"))
    median = np.exp(np.interp(0.5, cdf, np.log(sigma)))
    assert abs((x < median).mean() - 0.5) < 4 * 0.5 / np.sqrt(ess)


def test_earlier_effects_are_shrunk_exactly(fitted):
    """beta_j given sigma_bar and beta_bar has a closed form: compare posterior means."""
    p = fitted.idata_.posterior
    bar, sigma = p["beta_t_bar"].to_numpy()[..., 0], p["sigma_t_bar"].to_numpy()[..., 0]
    for j, (b, s) in enumerate(zip(EFFECTS, ERRORS, strict=True)):
        share = sigma**2 / (sigma**2 + s**2)
        x = p["beta_j"].to_numpy()[..., j, 0]
        difference = x - (share * b + (1 - share) * bar)
        se = np.sqrt((share * s**2).mean() / x.size)
        assert abs(difference.mean()) < 4 * se
        assert abs(np.var(difference) / (share * s**2).mean() - 1) < 0.1


@pytest.mark.parametrize(
    ("estimate", "p_value"), [(None, 0.53), (6.0, 0.021), (0.0, 0.0015)], ids=str
)
def test_conflict(push, notebook, estimate, p_value):
    y, t, z = push
    shift = 0.0 if estimate is None else estimate - TwoStageLS().fit(None, t, y, z=z).effect_
    est = HierarchicalBayesianIV(EFFECTS, ERRORS, **HYPER, **notebook, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        est.fit(None, t, y + shift * t, z=z)
    conflicts = [w for w in caught if issubclass(w.category, PriorDataConflictWarning)]
    assert len(conflicts) == (estimate is not None)
    if conflicts:
        assert "robust_weight" in str(conflicts[0].message)
    assert est.borrowing().conflict_p_value == pytest.approx(p_value, rel=0.05)


def test_history_predicts(fitted):
    item = fitted.meta_analysis().treatments[0]
    assert item.predicted.mean == pytest.approx(3.8285, abs=2e-3)
    assert item.predicted.sd == pytest.approx(0.563, abs=2e-3)
    # The same by brute force on another grid: uniform in the prior's probability.
    u = (np.arange(20_000) + 0.5) / 20_000
    sigma = stats.halfcauchy(scale=2.0).ppf(u)
    v = sigma[:, None] ** 2 + ERRORS**2
    precision = 0.25 + (1 / v).sum(1)
    mean = (4.0 / 4 + (EFFECTS / v).sum(1)) / precision
    log_p = (
        -0.5 * np.log(v).sum(1)
        - 0.5 * np.log(precision)
        - 0.5 * ((EFFECTS**2 / v).sum(1) + 4.0 - precision * mean**2)
    )
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    assert item.predicted.mean == pytest.approx(weight @ mean, abs=1e-5)
    assert item.predictive.cdf(3.0) == pytest.approx(
        weight @ stats.norm(mean, np.sqrt(1 / precision + sigma**2)).cdf(3.0), abs=1e-5
    )


def test_report(report):
    # One-dimensional quadrature with a normal likelihood of sd 0.7144 gives 0.753.
    assert report.shrinkage == pytest.approx(0.753, abs=0.01)
    assert report.exchangeable_probability is None
    # History's rows: the variance ratio of the exact posteriors is (0.7144 / 0.3654)^2.
    assert report.rows == pytest.approx(1e4 * ((0.7144 / 0.3654) ** 2 - 1), rel=0.15)
    assert report.heterogeneity.dof == 4
    w = ERRORS**-2
    centre = (w @ EFFECTS) / w.sum()
    assert report.heterogeneity.q == pytest.approx((w * (EFFECTS - centre) ** 2).sum())
    assert report.leave_one_out.shape == (5, 5)
    for text in ("without history", "history predicts", "worth", "conflict p-value"):
        assert text in str(report)


def test_leave_one_out_is_a_refit(push, notebook, report):
    y, t, z = push
    table = report.leave_one_out
    keep = np.arange(5) != 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorDataConflictWarning)
        refit = HierarchicalBayesianIV(
            EFFECTS[keep], ERRORS[keep], **HYPER, **notebook, draws=2000, random_state=5
        ).fit(None, t, y, z=z)
    sd = float(refit.idata_.posterior["beta_t"].std())
    assert table.loc["2", "effect"] == pytest.approx(refit.effect_, abs=8 * sd / np.sqrt(6000))
    assert table.loc["2", "effect sd"] == pytest.approx(sd, rel=0.08)


def test_robust_mixture_is_exact(push, notebook, backend):
    """The posterior probability of exchangeability equals the ratio of two evidences."""
    y, t, z = push
    shifted = y + 2.7 * t
    parameters = HYPER | notebook | {"sigma_t_bar_prior": "half-normal", "robust_weight": 0.2}
    parameters |= {"backend": backend, "draws": 2000, "random_state": 0}
    est = HierarchicalBayesianIV(EFFECTS, ERRORS, **parameters)
    with pytest.warns(PriorDataConflictWarning):
        est.fit(None, t, shifted, z=z)
    gram = cross_products(shifted, t, z)
    _, vague = posterior(gram, Prior(), points=31)
    mixture = integrate(build_history(est), 0)
    log_like = []
    pick = slice(None, None, 12)
    for mean, variance in zip(
        mixture.predictive.mean[pick], mixture.predictive.variance[pick], strict=True
    ):
        prior = Prior(loc=(50, mean, 0, 0), scale=(10, np.sqrt(variance), 1, 10))
        log_like.append(posterior(gram, prior, points=11, width=5.5)[1])
    weight = mixture.weight[pick] / mixture.weight[pick].sum()
    evidence = np.log(weight @ np.exp(np.array(log_like) - vague))
    odds = 0.8 / 0.2 * np.exp(evidence)
    expected = odds / (1 + odds)
    # The log odds' own error is about 0.01, the quadrature's grid of sigma_bar adds as much.
    assert logit(est.exchangeable_probability_) == pytest.approx(logit(expected), abs=0.05)


def test_no_history_is_the_base_prior(push):
    y, t, z = push
    with pytest.warns(UserWarning, match="effects is empty"):
        est = HierarchicalBayesianIV(random_state=0).fit(None, t, y, z=z)
    base = BayesianIV(random_state=0).fit(None, t, y, z=z)
    assert np.array_equal(est.coef_, base.coef_)


@pytest.fixture(scope="module")
def small():
    """A simulated experiment of 300 rows: t, y, z."""
    return simulated(300, effect=1.0, seed=1)[1:]


def test_edge_histories(small):
    t, y, z = small
    quiet = {"random_state": 0, "draws": 1000}
    base = BayesianIV(**quiet).fit(None, t, y, z=z)
    sd = float(base.idata_.posterior["beta_t"].std())

    def fit(effects, errors, **parameters):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PriorDataConflictWarning)
            est = HierarchicalBayesianIV(effects, errors, **quiet | parameters)
            return est.fit(None, t, y, z=z)

    # Huge standard errors: the history says nothing.
    vague = fit([0.0, 1.0], [1e6, 1e6])
    assert vague.effect_ == pytest.approx(base.effect_, abs=0.15 * sd)
    # Tiny ones, all effects equal, tight spread: the history decides.
    firm = fit(np.full(8, 0.7), np.full(8, 1e-4), sigma_t_bar_prior="half-normal")
    assert firm.effect_ == pytest.approx(0.7, abs=1e-3)
    assert np.isfinite(firm.idata_.posterior["beta_j"].to_numpy()).all()
    # One experiment with an error far below the spread's scale.
    one = fit([2.0], [0.1], sigma_t_bar_scale=0.1)
    assert min(base.effect_, 2.0) < one.effect_ < max(base.effect_, 2.0)


@pytest.mark.parametrize("n", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_earlier_experiments(small, n, monkeypatch):
    """They are the hierarchy's own data; their effects are left out where they fill the memory."""
    t, y, z = small
    many = np.random.default_rng(0).normal(1.0, 0.2, n)
    monkeypatch.setattr(draws_of_history, "MAX_BETA_J", 4000 * n - 1)
    est = HierarchicalBayesianIV(many, np.full(n, 0.05), **EXACT).fit(None, t, y, z=z)
    p = est.idata_.posterior
    sd = np.hypot(0.2, 0.05)
    assert float(p["beta_t_bar"].mean()) == pytest.approx(1.0, abs=4 * sd / np.sqrt(n))
    assert float(p["sigma_t_bar"].mean()) == pytest.approx(0.2, abs=4 * sd / np.sqrt(n))
    assert "beta_j" not in p


def test_several_treatments_with_missing_effects():
    rng = np.random.default_rng(0)
    n = 500
    z = rng.normal(size=(n, 2))
    noise = rng.normal(size=(n, 3))
    t = z @ [[1.0, 0.3], [0.2, 1.0]] + noise[:, :2]
    y = t @ [1.0, -1.0] + noise.sum(axis=1)
    effects = pd.DataFrame(
        {"a": [1.1, 0.9, np.nan], "b": [np.nan, -0.8, -1.1]}, index=["spring", "summer", "autumn"]
    )
    errors = effects.abs() * 0.0 + 0.1
    t = pd.DataFrame(t, columns=["a", "b"])
    parameters = {"likelihood": "gmm", "robust_weight": 0.1, **EXACT}
    est = HierarchicalBayesianIV(effects, errors, **parameters)
    p = est.fit(None, t, y, z=z).idata_.posterior
    assert list(p["experiment"].values) == ["spring", "summer", "autumn"]
    assert p["beta_j"].shape == (2, 2000, 3, 2)
    assert np.allclose(est.effect_, [1, -1], atol=0.2)
    assert est.borrowing("b").heterogeneity.dof == 1
    # The order of the history's columns is its own.
    coef = est.coef_
    est.set_params(effects=effects[["b", "a"]]).fit(None, t, y, z=z)
    assert np.array_equal(est.coef_, coef)


@pytest.mark.parametrize("prior", ["half-cauchy", "half-normal", "half-t"])
def test_spread_priors_by_quadrature(small, prior):
    """sigma_t_bar given a vague current experiment is the meta-analysis's own posterior."""
    t, y, z = small
    effects, errors = [0.2, 1.4, 0.9, 2.0], [0.2, 0.3, 0.2, 0.4]
    est = HierarchicalBayesianIV(
        effects, errors, sigma_t_bar_prior=prior, draws=4000, random_state=0
    ).fit(None, t, y + 1e4 * np.random.default_rng(0).normal(size=300), z=z)
    x = est.idata_.posterior["sigma_t_bar"].to_numpy()[..., 0]
    grid = integrate(build_history(est), 0)
    for p in (0.05, 0.25, 0.5, 0.75, 0.95):
        ess = float(array_stats.ess(x, chain_axis=0, draw_axis=1, method="quantile", prob=p))
        below = (x < grid.sigma_quantile(p)).mean()
        assert abs(below - p) < 4 * np.sqrt(p * (1 - p) / ess)


def test_fitted_estimators_become_history(push, small):
    y, t, z = push
    t1, y1, z1 = small
    first = TwoStageLS().fit(None, t1, y1, z=z1)
    second = BayesianIV(random_state=0).fit(None, t1, y1, z=z1)
    est = HierarchicalBayesianIV.from_estimators(
        [first, second], names=["june", "july"], random_state=0
    )
    assert list(est.effects.index) == ["june", "july"]
    assert est.effects.iloc[0, 0] == pytest.approx(first.effect_)
    # With one instrument LIML is two-stage least squares; a posterior's errors have one variance.
    classical = TwoStageLS(cov_type="unadjusted", debiased=True).fit(None, t1, y1, z=z1)
    robust, one_variance = (e._effect_and_error()[1][0] for e in (first, classical))
    assert est.std_errors.iloc[:, 0].to_numpy() == pytest.approx([robust, one_variance])
    assert est.effects.iloc[1, 0] == pytest.approx(first.effect_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorDataConflictWarning)
        est.fit(None, t, y, z=z)
    following = est.next_prior("august")
    assert list(following.effects.index) == ["june", "july", "august"]
    # What it hands on is its own estimate, without the history.
    alone = BayesianIV(random_state=0).fit(None, t, y, z=z)
    passed_on = HierarchicalBayesianIV.from_estimators([alone])
    assert following.effects.iloc[2, 0] == passed_on.effects.iloc[0, 0]
    assert following.std_errors.iloc[2, 0] == passed_on.std_errors.iloc[0, 0]


@pytest.mark.parametrize(
    ("effects", "errors", "message"),
    [
        ([1.0, 2.0], [1.0], "std_errors must have the shape of effects"),
        ([1.0, 2.0], [1.0, 0.0], "std_errors positive"),
        ([1.0, 2.0], [1.0, np.nan], "missing .* in the same places"),
        ([1.0, np.inf], [1.0, 1.0], "effects must be finite"),
        ([[1.0, 2.0]], [[1.0, 1.0]], "one column for each treatment"),
        ([1.0], None, "std_errors is missing"),
        (["a"], ["b"], "effects must be numeric"),
        ([np.nan], [np.nan], "measure every treatment"),
    ],
)
def test_bad_history(small, effects, errors, message):
    t, y, z = small
    with pytest.raises(ValueError, match=message):
        HierarchicalBayesianIV(effects, errors).fit(None, t, y, z=z)

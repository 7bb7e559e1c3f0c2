"""What a history adds to an experiment: priors, conflicts, the report, and the next history."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv._models.history import draws as _history_draws
from skbayesiv._models.history.meta_analysis import integrate
from skbayesiv._models.history.table import build_history
from skbayesiv._reports.borrowing import current_estimate
from skbayesiv.datasets import make_noncompliance
from skbayesiv.exceptions import NoTreatmentWarning, PriorDataConflictWarning

EARLIER = {"effects": [0.8, 1.2, 1.1], "std_errors": [0.2, 0.3, 0.2]}
quiet = pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")


@pytest.fixture(scope="module")
def rows():
    """t, y, z of a simulated experiment of 600 rows."""
    data = make_noncompliance(600, effect=1.0, random_state=1)
    return {name: np.asarray(getattr(data, name), dtype=float) for name in ("t", "y", "z")}


@pytest.fixture(scope="module")
def fitted(rows):
    return HierarchicalBayesianIV(**EARLIER, random_state=0).fit(None, **rows)


@pytest.fixture(scope="module")
def two():
    """Two treatments, two instruments, 400 rows."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 2))
    e = rng.normal(size=(400, 3))
    t = pd.DataFrame(z @ [[1.0, 0.2], [0.3, 1.0]] + e[:, :2], columns=["mail", "push"])
    return {"t": t, "y": t.to_numpy() @ [1.0, -1.0] + 3 * e.sum(axis=1), "z": z}


# --- The prior, the earlier experiments given -----------------------------------------------


@pytest.mark.parametrize("robust", [0.0, 0.3])
def test_prior_draws_are_what_the_history_predicts(rows, robust):
    est = HierarchicalBayesianIV(**EARLIER, robust_weight=robust, random_state=0).fit(None, **rows)
    prior = est.sample_prior_predictive(n_draws=8000, random_state=1).prior
    item, grid = est.meta_analysis().treatments[0], integrate(build_history(est), 0)
    table = est.prior_summary()
    label = "beta_t[t] (vague)" if robust else "beta_t[t]"
    vague = stats.norm(*table.loc[label, ["loc", "scale"]]) if robust else stats.norm()

    def effect(x):
        return (1 - robust) * item.predictive.cdf(x) + robust * vague.cdf(x)

    beta = prior["beta_t"].to_numpy().ravel()
    assert stats.kstest(beta, effect).pvalue > 1e-3
    bar = prior["beta_t_bar"].to_numpy().ravel()
    assert stats.kstest(bar, grid.beta_bar.cdf).pvalue > 1e-3
    sigma = prior["sigma_t_bar"].to_numpy().ravel()
    assert abs((sigma < item.sigma_median).mean() - 0.5) < 4 * 0.5 / np.sqrt(8000)
    # The centred intercept has its prior, independent of the effect that was drawn.
    centred = prior["intercept_y"].to_numpy().ravel() + beta * rows["t"].mean()
    law = stats.norm(*table.loc["intercept_y (centered)", ["loc", "scale"]])
    assert stats.kstest(centred, law.cdf).pvalue > 1e-3
    assert stats.spearmanr(centred, beta).pvalue > 1e-3
    assert ("exchangeable" in prior) == bool(robust)


def test_prior_predictive_rows_follow_the_drawn_effects(fitted, rows):
    tree = fitted.sample_prior_predictive(None, z=rows["z"][:5], n_draws=4000, random_state=0)
    assert tree.prior_predictive["y"].shape == (1, 4000, 5)


def test_prior_summary_names_the_hierarchy(fitted, rows):
    table = fitted.prior_summary()
    assert table.loc["beta_t_bar[t]", "distribution"] == "Normal"
    assert table.loc["sigma_t_bar[t]"].tolist() == [
        "HalfCauchy",
        0.0,
        build_history(fitted).sigma_scale[0],
    ]
    assert table.loc["beta_t[t]", "distribution"] == "Normal(beta_t_bar, sigma_t_bar)"
    assert not any("vague" in name for name in table.index)
    robust = HierarchicalBayesianIV(
        **EARLIER, robust_weight=0.2, beta_t_scale=3.0, sigma_t_bar_prior="half-t", random_state=0
    ).fit(None, **rows)
    table = robust.prior_summary()
    assert table.loc["beta_t[t] (vague)"].tolist() == ["Normal with probability 0.2", 0.0, 3.0]
    assert table.loc["beta_t[t]", "distribution"].endswith("with probability 0.8")
    assert table.loc["sigma_t_bar[t]", "distribution"] == "HalfStudentT(3)"
    base = BayesianIV(random_state=0).fit(None, **rows).prior_summary()
    assert table.iloc[4:].equals(base.drop(index="beta_t[t]"))


# --- Conflicts ------------------------------------------------------------------------------


def clustered_rows():
    """An experiment whose units are assigned together and share a shock."""
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(60), 50)
    z = rng.integers(0, 2, 60)[clusters].astype(float)
    t = (rng.uniform(size=3000) < 0.2 + 0.6 * z).astype(float)
    y = t + 1.5 * rng.normal(size=60)[clusters] + rng.normal(size=3000)
    return {"t": t, "y": y, "z": z}, clusters


def test_conflicts_are_judged_with_the_likelihoods_own_error():
    data, clusters = clustered_rows()
    classical = TwoStageLS(cov_type="unadjusted").fit(None, **data)
    clustered = TwoStageLS(cov_type="clustered").fit(None, **data, clusters=clusters)
    robust = TwoStageLS(cov_type="robust").fit(None, **data)
    error = {
        name: float(est._effect_and_error()[1][0])
        for name, est in (("iid", classical), ("robust", robust), ("clustered", clustered))
    }
    assert error["clustered"] > 4 * error["iid"]
    far = [classical.effect_ + 1.0] * 2
    parameters = {"effects": far, "std_errors": [0.1, 0.1], "random_state": 0}
    with pytest.warns(PriorDataConflictWarning):
        normal = HierarchicalBayesianIV(**parameters).fit(None, **data)
    gmm = HierarchicalBayesianIV(**parameters, likelihood="gmm")
    with warnings.catch_warnings():
        warnings.simplefilter("error", PriorDataConflictWarning)
        gmm.fit(None, **data, clusters=clusters)
    # Up to small-sample factors of 60 clusters and 3,000 rows.
    assert current_estimate(normal)[1] == pytest.approx(error["iid"], rel=1e-3)
    assert current_estimate(gmm)[1] == pytest.approx(error["clustered"], rel=0.02)
    assert gmm.borrowing().conflict_p_value > 0.05
    assert normal.borrowing().conflict_p_value < 0.05
    with pytest.warns(PriorDataConflictWarning):
        unclustered = HierarchicalBayesianIV(**parameters, likelihood="gmm").fit(None, **data)
    assert current_estimate(unclustered)[1] == pytest.approx(error["robust"], rel=1e-3)


def test_direct_effects_widen_the_conflicts_error(two):
    """The 2SLS estimate is off by C delta, C = (T'PT)^-1 T'P Z, delta ~ N(0, scale^2)."""
    scale = np.array([0.3, 0.8])
    est = HierarchicalBayesianIV(
        [[1.0, -1.0]], [[0.5, 0.5]], exclusion_scale=scale, likelihood="gmm", random_state=0
    ).fit(None, **two)
    plain = HierarchicalBayesianIV(
        [[1.0, -1.0]], [[0.5, 0.5]], likelihood="gmm", random_state=0
    ).fit(None, **two)
    t, z = (np.asarray(two[name]) - np.asarray(two[name]).mean(axis=0) for name in ("t", "z"))
    projected = z @ np.linalg.solve(z.T @ z, z.T @ t)
    c = np.linalg.solve(projected.T @ t, projected.T @ z)
    expected = np.sqrt(current_estimate(plain)[1] ** 2 + np.diag(c @ np.diag(scale**2) @ c.T))
    assert current_estimate(est)[1] == pytest.approx(expected, rel=1e-8)
    assert current_estimate(est)[0] == pytest.approx(TwoStageLS().fit(None, **two).effect_)


def test_the_warning_is_about_the_callers_line(rows):
    est = HierarchicalBayesianIV([5.0, 5.0], [0.1, 0.1], sigma_t_bar_scale=0.1, random_state=0)
    for call in (
        lambda: est.fit(None, **rows),
        lambda: est.fit_moments(est.moments_),
        lambda: HierarchicalBayesianIV(**est.get_params()).partial_fit(None, **rows),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        (conflict,) = [w for w in caught if w.category is PriorDataConflictWarning]
        assert conflict.filename == __file__
        assert "set robust_weight" in str(conflict.message)


# --- Leave one out --------------------------------------------------------------------------


@pytest.mark.slow
@quiet
@pytest.mark.parametrize("robust", [0.0, 0.3])
def test_leave_one_out_of_two_treatments_is_a_refit(two, robust):
    """An experiment is left out of all treatments' histories at once."""
    effects = np.array([[1.6, -1.6], [1.5, -0.4], [1.45, -1.8]])
    errors = np.full((3, 2), 0.12)
    parameters = {
        "robust_weight": robust,
        "beta_t_scale": 3.0,
        "beta_t_bar_scale": 5.0,
        "sigma_t_bar_scale": 0.5,
        "likelihood": "gmm",
        "draws": 8000,
        "random_state": 0,
    }
    est = HierarchicalBayesianIV(effects, errors, **parameters).fit(None, **two)
    for k, name in enumerate(["mail", "push"]):
        table = est.borrowing(name).leave_one_out
        for j in range(3):
            refit = HierarchicalBayesianIV(
                np.delete(effects, j, axis=0), np.delete(errors, j, axis=0), **parameters
            ).fit(None, **two)
            x = refit.idata_.posterior["beta_t"].to_numpy()[..., k]
            se = x.std() * np.sqrt(2 / table["ess"].iloc[j])
            assert abs(table["effect"].iloc[j] - x.mean()) < 5 * se
            assert table["effect sd"].iloc[j] == pytest.approx(x.std(), rel=0.1)
            assert table["ess"].iloc[j] > 1000


@quiet
def test_leave_one_out_says_when_it_cannot_tell(rows):
    """Without the experiment that decides all, none of the draws is of use."""
    est = HierarchicalBayesianIV(
        [3.5, 1.0],
        [0.01, 0.5],
        sigma_t_bar_prior="half-normal",
        sigma_t_bar_scale=0.02,
        random_state=0,
    ).fit(None, **rows)
    table = est.borrowing().leave_one_out
    assert table["ess"].iloc[0] < 100
    assert np.isnan(table.loc["0", ["effect", "effect sd"]].astype(float)).all()
    assert np.isfinite(table.loc["1"]).all()


# --- The report -----------------------------------------------------------------------------


def test_report_text(fitted):
    report = fitted.borrowing("t")
    text, html = str(report), report._repr_html_()
    assert repr(report) == text
    assert "exchangeable" not in text
    for part in ("without history", "conflict p-value", "effect of", "ess"):
        assert part in text
        assert part in html
    assert "adds uncertainty" not in text
    with pytest.raises(ValueError, match=r"treatment must be one of \['t'\].*got 'push'"):
        fitted.borrowing("push")


@quiet
def test_a_history_that_adds_uncertainty(rows):
    """Halfway between two modes the posterior is wider than without the history."""
    est = HierarchicalBayesianIV(
        [3.0, 3.0],
        [0.1, 0.1],
        sigma_t_bar_scale=0.1,
        robust_weight=0.02,
        beta_t_scale=2.0,
        random_state=0,
    ).fit(None, **rows)
    report = est.borrowing()
    assert report.rows < 0
    text = str(report)
    assert "rows of this experiment: the history adds uncertainty" in text
    assert "exchangeable" in text
    assert report.exchangeable_probability == est.exchangeable_probability_
    assert "use BayesianIV" in str(report) or report.conflict_p_value < 0.05


def test_reports_are_of_the_fit(rows):
    """They agree with each other without a seed, and do not follow parameters set later."""
    est = HierarchicalBayesianIV(**EARLIER).fit(None, **rows)
    first, second = est.borrowing(), est.borrowing()
    assert first.without == second.without
    one, other = (est.next_prior().effects.iloc[-1, 0] for _ in range(2))
    assert one == other
    est.set_params(effects=[5.0, 6.0], std_errors=[0.1, 0.1])
    assert est.borrowing().history == first.history
    assert est.meta_analysis().n_experiments == 3
    assert len(est.next_prior().effects) == 4
    assert HierarchicalBayesianIV(**est.get_params()).meta_analysis().n_experiments == 2


def test_without_beta_j_the_past_is_given_the_mean(rows, monkeypatch):
    monkeypatch.setattr(_history_draws, "MAX_BETA_J", 0)
    est = HierarchicalBayesianIV(**EARLIER, random_state=0).fit(None, **rows)
    tree = est.idata_
    assert "beta_j" not in tree.posterior
    assert "beta_j" not in tree.log_prior
    bar, sigma = (tree.posterior[n].to_numpy()[..., 0] for n in ("beta_t_bar", "sigma_t_bar"))
    expected = sum(
        stats.norm(bar, np.hypot(sigma, s)).logpdf(b)
        for b, s in zip(EARLIER["effects"], EARLIER["std_errors"], strict=True)
    )
    assert np.allclose(tree.log_likelihood["history"], expected)


def test_with_beta_j_the_past_is_given_these(fitted):
    tree = fitted.idata_
    beta_j = tree.posterior["beta_j"].to_numpy()[..., 0]
    law = stats.norm(beta_j, EARLIER["std_errors"])
    expected = law.logpdf(EARLIER["effects"]).sum(axis=-1)
    assert np.allclose(tree.log_likelihood["history"], expected)


def test_effects_without_a_treatment():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    with (
        pytest.warns(NoTreatmentWarning),
        pytest.raises(ValueError, match="effects must be None without a treatment"),
    ):
        HierarchicalBayesianIV(**EARLIER).fit(X, y)


# --- The next history -----------------------------------------------------------------------


def test_a_prior_is_not_handed_on_as_data(rows):
    """Under priors wide and narrow, here and there, the same experiment says the same."""
    wide = BayesianIV(random_state=0, draws=8000).fit(None, **rows)
    sd = float(wide.idata_.posterior["beta_t"].std())
    narrow = BayesianIV(
        beta_t_loc=wide.effect_ + sd, beta_t_scale=sd, random_state=0, draws=8000
    ).fit(None, **rows)
    est = HierarchicalBayesianIV.from_estimators([wide, narrow])
    first, second = est.effects["t"]
    assert abs(narrow.effect_ - wide.effect_) > 0.4 * sd
    assert second == pytest.approx(first, abs=0.1 * sd)
    assert est.std_errors["t"].iloc[1] == pytest.approx(est.std_errors["t"].iloc[0], rel=0.1)
    firm = BayesianIV(beta_t_scale=0.01, random_state=0).fit(None, **rows)
    with pytest.raises(ValueError, match="hardly tighter than its prior"):
        HierarchicalBayesianIV.from_estimators([firm])


def test_priors_of_correlated_effects_are_divided_out_together():
    """The likelihood's covariance is (C^-1 - D^-1)^-1, which is not that of each effect alone."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(2000, 2))
    e = rng.normal(size=(2000, 3))
    t = z @ [[1.0, 0.6], [0.6, 1.0]] + e[:, :2]
    y = t @ [1.0, -1.0] + 5 * e.sum(axis=1)
    fits = [
        BayesianIV(likelihood="gmm", beta_t_scale=scale, draws=10_000, random_state=0).fit(
            None, t, y, z=z
        )
        for scale in (100.0, 0.6)
    ]
    est = HierarchicalBayesianIV.from_estimators(fits)
    effects, errors = est.effects.to_numpy(), est.std_errors.to_numpy()
    draws = fits[1].idata_.posterior["beta_t"].to_numpy().reshape(-1, 2)
    assert np.corrcoef(draws.T)[0, 1] < -0.4
    assert (draws.std(axis=0) < 0.9 * errors[0]).all()
    assert (np.abs(effects[1] - effects[0]) < 0.1 * errors[0]).all()
    assert errors[1] == pytest.approx(errors[0], rel=0.05)
    entry_by_entry = (draws.std(axis=0) ** -2 - 0.6**-2) ** -0.5
    assert (np.abs(entry_by_entry / errors[0] - 1) > 0.06).all()


def test_treatments_keep_their_names(rows, two):
    both = TwoStageLS().fit(None, **two)
    push = TwoStageLS().fit(None, two["t"]["push"], two["y"], z=two["z"])
    est = HierarchicalBayesianIV.from_estimators([both, push], names=["june", "july"])
    assert list(est.effects.columns) == ["mail", "push"]
    assert list(est.effects.index) == ["june", "july"]
    assert np.isnan(est.effects.loc["july", "mail"])
    assert np.isnan(est.std_errors.loc["july", "mail"])
    assert est.effects.loc["july", "push"] == pytest.approx(push.effect_)
    swapped = TwoStageLS().fit(None, two["t"][["push", "mail"]], two["y"], z=two["z"])
    again = HierarchicalBayesianIV.from_estimators([both, swapped]).effects
    assert again.iloc[1].to_numpy() == pytest.approx(again.iloc[0].to_numpy())


def test_a_search_hands_on_its_best(rows):
    search = BayesianIVCV(BayesianIV(random_state=0, draws=500), beta_t_scale=[1.0, 5.0], cv=2)
    search.fit(None, **rows)
    est = HierarchicalBayesianIV.from_estimators([search])
    best = HierarchicalBayesianIV.from_estimators([search.best_estimator_])
    assert est.effects.equals(best.effects)


def test_names_of_the_next_history(fitted, rows):
    assert list(fitted.next_prior().effects.index) == ["0", "1", "2", "3"]
    taken = pd.Series([0.8, 1.2], index=["2", "1"])
    est = HierarchicalBayesianIV(taken, [0.2, 0.3], random_state=0).fit(None, **rows)
    following = est.next_prior()
    assert list(following.effects.index) == ["2", "1", "3"]
    assert list(following.effects.columns) == ["t"]
    table = following.fit(None, **rows).borrowing().leave_one_out
    assert list(table.index) == ["2", "1", "3"]
    with pytest.raises(ValueError, match="name must not be that of an earlier experiment"):
        est.next_prior("2")


def test_the_first_of_a_series(rows):
    with pytest.warns(UserWarning, match="effects is empty") as caught:
        est = HierarchicalBayesianIV(random_state=0).fit(None, **rows)
    assert caught[0].filename == __file__
    assert list(est.next_prior("may").effects.index) == ["may"]
    for method in (est.borrowing, est.meta_analysis):
        with pytest.raises(ValueError, match=r"needs a history\. effects is empty"):
            method()
    assert "beta_t[t]" in est.prior_summary().index
    assert "beta_t_bar" not in est.sample_prior_predictive(n_draws=5).prior


@pytest.mark.parametrize(
    ("estimators", "names", "message"),
    [
        ([], None, "estimators must hold at least one"),
        (["fit"], ["a", "b"], "names must be 1 different names"),
        (["fit", "fit"], ["a", "a"], "names must be 2 different names"),
        (["ols"], None, "estimators must be fitted with t and z"),
    ],
)
def test_what_is_no_history(rows, estimators, names, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoTreatmentWarning)
        made = {
            "fit": TwoStageLS().fit(None, **rows),
            "ols": TwoStageLS().fit(rows["t"][:, None], rows["y"]),
        }
    with pytest.raises(ValueError, match=message):
        HierarchicalBayesianIV.from_estimators([made[name] for name in estimators], names)

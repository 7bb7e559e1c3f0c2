"""Priors and posteriors given a history: draws, tables and log densities."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import EXACT
from scipy import stats

from skbayesiv import BayesianIV, HierarchicalBayesianIV
from skbayesiv._models.history import draws as _history_draws
from skbayesiv._models.history.integrated import integrate
from skbayesiv._models.history.table import build_history
from skbayesiv.datasets import make_noncompliance
from skbayesiv.exceptions import NoTreatmentWarning

EARLIER = {"effects": [0.8, 1.2, 1.1], "std_errors": [0.2, 0.3, 0.2]}


@pytest.fixture(scope="module")
def rows():
    """t, y, z of a simulated experiment of 600 rows."""
    data = make_noncompliance(600, effect=1.0, random_state=1)
    return {name: np.asarray(getattr(data, name), dtype=float) for name in ("t", "y", "z")}


@pytest.fixture(scope="module")
def fitted(rows):
    return HierarchicalBayesianIV(**EARLIER, random_state=0).fit(None, **rows)


@pytest.mark.parametrize("robust", [0.0, 0.3])
def test_prior_draws_are_what_the_history_predicts(rows, robust):
    x = stats.zscore(np.random.default_rng(0).normal(size=(600, 1)))
    est = HierarchicalBayesianIV(**EARLIER, robust_weight=robust, **EXACT).fit(x, **rows)
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
    x = np.random.default_rng(0).normal(size=(600, 1))
    robust = HierarchicalBayesianIV(**EARLIER, robust_weight=0.2, beta_t_scale=3.0, **EXACT)
    table = robust.fit(x, **rows).prior_summary()
    assert table.loc["beta_t[t] (vague)"].tolist() == ["Normal with probability 0.2", 0.0, 3.0]
    assert table.loc["beta_t[t]", "distribution"].endswith("with probability 0.8")
    half_t = HierarchicalBayesianIV(**EARLIER, sigma_t_bar_prior="half-t", random_state=0)
    named = half_t.fit(None, **rows).prior_summary()["distribution"]
    assert named["sigma_t_bar[t]"] == "HalfStudentT(3)"
    base = BayesianIV(**EXACT).fit(x, **rows).prior_summary()
    assert table.iloc[4:].equals(base.drop(index="beta_t[t]"))


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
    assert np.allclose(tree.log_density["history"], expected)


def test_with_beta_j_the_past_is_given_these(fitted):
    tree = fitted.idata_
    beta_j = tree.posterior["beta_j"].to_numpy()[..., 0]
    law = stats.norm(beta_j, EARLIER["std_errors"])
    expected = law.logpdf(EARLIER["effects"]).sum(axis=-1)
    assert np.allclose(tree.log_density["history"], expected)


def test_effects_without_a_treatment():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    with (
        pytest.warns(NoTreatmentWarning),
        pytest.raises(ValueError, match="effects must be None without a treatment"),
    ):
        HierarchicalBayesianIV(**EARLIER).fit(X, y)

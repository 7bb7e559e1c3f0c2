"""A diagnosis against quadrature, linearmodels and ArviZ."""

from __future__ import annotations

import arviz_stats
import numpy as np
import pytest
from experiments import QUICK
from linearmodels.iv import IV2SLS
from numpy.testing import assert_allclose
from quadrature import Prior, cross_products, posterior
from sklearn.exceptions import NotFittedError

from skbayesiv import BayesianIV, HierarchicalBayesianIV, diagnostics

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_diagnosis_of_the_push_experiment(push_fit, push, notebook):
    """Nothing to warn of; the correlation is that of quadrature."""
    y, t, z = push
    found = push_fit.diagnose()
    exact, _ = posterior(cross_products(y, t, z), Prior())
    mean, sd = exact["rho"]
    assert_allclose(found.correlation.loc["t", ["mean", "sd"]], [mean, sd], rtol=0.05)
    draws = push_fit.idata_.posterior["corr"].to_numpy()[..., 0, 1]
    assert_allclose(found.correlation.loc["t", "upper"], np.quantile(draws, 0.975))
    table = arviz_stats.summary(
        push_fit.idata_, var_names=["beta_t", "sigma"], kind="diagnostics", round_to="none"
    )
    assert_allclose(found.convergence.loc[table.index], table[["r_hat", "ess_bulk", "ess_tail"]])
    assert found.rhat < 1.01
    assert found.ess > 400
    assert found.divergences == 0
    assert found.warnings == ()
    expected = arviz_stats.psense(push_fit.idata_, var_names=["beta_t"], group_var_names=["beta_t"])
    assert_allclose(found.sensitivity.loc["t", "beta_t"], expected["beta_t"][0])
    assert found.sensitivity.max(axis=None) < 0.05
    assert list(found.sensitivity) == ["beta_t", "correlation", "rest"]
    strength = diagnostics.instrument_strength(y, t, z)
    assert str(found.strength) == str(strength)
    classical = IV2SLS(y, np.ones(len(y)), t, z).fit(cov_type="unadjusted").std_errors.iloc[-1]
    assert_allclose(found.std_errors.loc["t"], [classical, 0.7164], rtol=1e-4)
    text, html = str(found), found._repr_html_()
    for part in ("R-hat", "divergences", "Prior sensitivity", "effective F"):
        assert part in text
        assert part in html
    assert found.to_frame().loc["effective F", "limit"] == strength.critical_value


@quiet
def test_components_of_a_hierarchy_and_of_direct_effects(linear):
    data = linear(3)
    history = {"effects": [1.0, 1.1, 0.9], "std_errors": [0.1, 0.1, 0.1]}
    est = HierarchicalBayesianIV(**history, random_state=0, draws=500).fit(**data)
    names = est.diagnose().sensitivity.columns
    assert list(names) == ["beta_t", "correlation", "rest"]
    tree = est.idata_
    scaled = arviz_stats.psense(
        tree, var_names=["beta_t"], group_var_names=["beta_t_bar", "sigma_t_bar"]
    )
    assert_allclose(est.diagnose().sensitivity.loc["t", "beta_t"], scaled["beta_t"][0])
    direct = BayesianIV(exclusion_scale=0.5, random_state=0, draws=500).fit(**data)
    assert "direct" in direct.diagnose().sensitivity


@quiet
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
def test_diagnosis_without_treatment():
    X = np.random.default_rng(0).normal(size=(100, 2))
    est = BayesianIV(**QUICK).fit(X, X[:, 0])
    found = est.diagnose()
    assert found.strength is None
    assert found.sensitivity is None
    assert "R-hat" in str(found)
    with pytest.raises(NotFittedError):
        BayesianIV().diagnose()

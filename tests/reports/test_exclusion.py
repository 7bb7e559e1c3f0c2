"""Sensitivity to the exclusion restriction against Conley, Hansen and Rossi's normal formula."""

from __future__ import annotations

import warnings
from math import inf

import numpy as np
import pytest
from experiments import EXACT, QUICK
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.exceptions import NotFittedError

from skbayesiv import (
    BayesianIV,
    BayesianIVCV,
    HierarchicalBayesianIV,
    TwoStageLS,
    exclusion_sensitivity,
)
from skbayesiv._sampling.backends import BACKENDS
from skbayesiv.exceptions import NoTreatmentWarning
from skbayesiv.plotting import ExclusionSensitivityDisplay

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
Z = stats.norm.ppf(0.975)


@pytest.fixture(scope="module")
def push_fit(push):
    """Wide priors: the effect's is N(0, 136^2), and the correlation's is flat."""
    y, t, z = push
    return BayesianIV(random_state=3).fit(None, t, y, z=z)


@pytest.fixture(scope="module")
def result(push_fit):
    return exclusion_sensitivity(push_fit, [0.0, 0.5, 1.0, 2.0])


def exact(scale):
    """N(b, s^2 + (scale / pi)^2), b and s those of 2SLS and pi the first stage."""
    b, s, pi = 3.2938, 0.7165, 0.7176
    return b, np.hypot(s, scale / pi)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.0])
def test_posterior_at_each_scale(result, scale):
    mean, sd = exact(scale)
    row = result.table.loc[scale]
    assert_allclose(row["mean"], mean, atol=0.07 * sd)
    assert_allclose(row["sd"], sd, rtol=0.05)
    assert_allclose(row[["lower", "upper"]], [mean - Z * sd, mean + Z * sd], atol=0.15 * sd)
    assert_allclose(row["p_positive"], stats.norm.cdf(mean / sd), atol=0.02)


def test_breakdown_of_the_push_experiment(result):
    """Where the exact interval's end reaches zero: b = 1.96 sd."""
    b, s, pi = 3.2938, 0.7165, 0.7176
    assert_allclose(result.breakdown, pi * np.sqrt((b / Z) ** 2 - s**2), rtol=0.05)


def test_breakdown_under_the_notebooks_priors(push_fit, notebook):
    est = BayesianIV(**notebook, random_state=3).fit_moments(push_fit.moments_)
    assert 1.0 < exclusion_sensitivity(est, [0.0, 1.0, 2.0]).breakdown < 2.0


def test_breakdown_is_found_beyond_the_scales(push_fit, result):
    beyond = exclusion_sensitivity(push_fit, [0.1])
    assert_allclose(beyond.breakdown, result.breakdown, rtol=0.05)
    assert list(beyond.table.index) == [0.1]


def test_default_scales_are_shares_of_the_reduced_form(push_fit):
    found = exclusion_sensitivity(push_fit)
    assert found.table.index[0] == 0.0
    assert_allclose(found.table.index[-1], 0.6 * 2.36, rtol=0.05)
    assert 1.0 < found.breakdown < 2.0
    assert (np.diff(found.table["sd"]) > 0).all()


@quiet
def test_no_effect_has_nothing_to_break():
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    t, y = z + rng.normal(size=300), rng.normal(size=300)
    est = BayesianIV(random_state=0, draws=500).fit(None, t, y, z=z)
    found = exclusion_sensitivity(est, [0.0, 0.1])
    assert found.breakdown == 0.0
    assert "contains 0 under exact exclusion" in str(found)


@quiet
def test_a_firm_prior_does_not_break(push_fit):
    est = BayesianIV(beta_t_loc=3.0, beta_t_scale=0.1, random_state=0)
    found = exclusion_sensitivity(est.fit_moments(push_fit.moments_), [0.0, 1.0])
    assert found.breakdown == inf
    assert "excludes 0 at every scale tried" in str(found)


@quiet
def test_history_and_criterion(push_fit, push):
    y, t, z = push
    history = HierarchicalBayesianIV(
        effects=[3.4, 3.6, 4.25], std_errors=[0.5, 0.55, 0.6], random_state=0
    ).fit_moments(push_fit.moments_)
    assert exclusion_sensitivity(history, [0.0, 2.0]).breakdown > 2.0
    gmm = BayesianIV(likelihood="gmm", **EXACT).fit(None, t, y, z=z)
    found = exclusion_sensitivity(gmm, [0.0, 1.0])
    assert_allclose(found.table.loc[1.0, "sd"], exact(1.0)[1], rtol=0.05)


@quiet
def test_several_treatments_and_instruments():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(500, 2))
    t = z @ [[1.0, 0.2], [0.2, 1.0]] + rng.normal(size=(500, 2))
    y = t @ [2.0, 0.0] + rng.normal(size=500)
    est = BayesianIV(likelihood="gmm", **QUICK).fit(None, t, y, z=z)
    one, two = (exclusion_sensitivity(est, [0.0, 0.2], treatment=k) for k in (0, 1))
    assert one.treatment == "t0"
    assert one.breakdown > 0.2
    assert_allclose(two.table.loc[0.0, "mean"], 0.0, atol=0.2)
    for name in ("t1", -1, np.int64(1)):
        assert_allclose(exclusion_sensitivity(est, [0.0, 0.2], treatment=name).table, two.table)
    for unknown in (2, -3, "b", True, None):
        with pytest.raises(
            ValueError, match=r"treatment must be one of \['t0', 't1'\], by name or"
        ):
            exclusion_sensitivity(est, treatment=unknown)


@quiet
def test_seed_of_the_estimator():
    """A NumPy integer is a seed like any other; a search is its best estimator."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=300)
    t = z + rng.normal(size=300)
    y = t + rng.normal(size=300)
    search = BayesianIVCV(BayesianIV(random_state=np.int64(7)), beta_t_scale=[5.0], cv=2)
    search.fit(None, t, y, z=z)
    found = exclusion_sensitivity(search, [0.0])
    assert_allclose(found.table.loc[0.0, "mean"], search.effect_, rtol=1e-12)
    best = exclusion_sensitivity(search.best_estimator_, [0.0])
    assert_allclose(found.table, best.table)


def test_it_changes_nothing_and_is_a_table(push_fit, result):
    assert push_fit.exclusion_scale == 0.0
    assert_allclose(result.table.loc[0.0, "mean"], push_fit.effect_)
    text, html = str(result), result._repr_html_()
    assert "first contains 0 at a scale of 1." in text
    assert "p_positive" in html
    assert repr(result) == text
    assert result.to_frame() is result.table
    display = ExclusionSensitivityDisplay.from_table(result.table, level=result.level)
    assert display.breakdown == 2.0


@quiet
def test_filters_of_warnings_stay_those_of_the_process(linear, monkeypatch):
    """Filters that two threads set and set back in turn would not come back."""
    est = HierarchicalBayesianIV([1.0, 2.0], [0.5, 0.5], **QUICK).fit(**linear())
    filters, sample = [], BACKENDS["numpyro"]

    def look(*args):
        filters.append(list(warnings.filters))
        return sample(*args)

    monkeypatch.setitem(BACKENDS, "numpyro", look)
    exclusion_sensitivity(est, [0.0])
    assert filters == [list(warnings.filters)] * len(filters) != []


@quiet
def test_errors(push_fit, push):
    y, t, z = push
    with pytest.raises(NotFittedError):
        exclusion_sensitivity(BayesianIV())
    with pytest.raises(ValueError, match="est must be a fitted BayesianIV"):
        exclusion_sensitivity(TwoStageLS().fit(None, t, y, z=z))
    with pytest.warns(NoTreatmentWarning):
        plain = BayesianIV(**QUICK).fit(t[:99, None], y[:99])
    with pytest.raises(ValueError, match="est must be fitted with t and z"):
        exclusion_sensitivity(plain)
    with pytest.raises(ValueError, match="scales must be finite numbers, none below 0"):
        exclusion_sensitivity(push_fit, [-1.0])
    with pytest.raises(ValueError, match="level must lie strictly between"):
        exclusion_sensitivity(push_fit, level=0.0)

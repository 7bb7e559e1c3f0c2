"""Probabilities that an effect is positive, worth its cost, or of no account."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from skbayesiv import TwoStageLS, experiment_report
from skbayesiv._reports.experiment_chances import Chances, check_cost, check_rope


def test_posterior_of_the_push_experiment(push_fit):
    """Exact posterior 3.3194 (0.7144), nearly normal."""
    report = experiment_report(push_fit, cost=2.0, rope=(-1.0, 2.5), level=0.9)
    own = report.table.loc["effect on compliers"]
    assert_allclose([own["estimate"], own["std_err"]], [3.3194, 0.7144], atol=0.05)
    assert_allclose([own["lower"], own["upper"]], push_fit.effect_interval(level=0.9))
    exact = stats.norm(3.3194, 0.7144)
    assert report.p_above_cost == pytest.approx(exact.sf(2.0), abs=0.015)
    assert report.p_in_rope == pytest.approx(exact.cdf(2.5) - exact.cdf(-1.0), abs=0.03)
    draws = push_fit.idata_.posterior["beta_t"].to_numpy()
    assert report.p_above_cost == (draws > 2.0).mean()
    assert report.table.loc["P(effect > cost)", "estimate"] == report.p_above_cost
    assert report.table.loc["P(effect > 0)", "estimate"] > 0.999
    assert own["errors"] == "posterior"
    narrow = experiment_report(push_fit, rope=2.5)
    assert narrow.p_in_rope == (np.abs(draws) < 2.5).mean()
    assert narrow.p_above_cost is None


def test_a_classical_estimate_has_no_probabilities(experiment):
    report = experiment_report(TwoStageLS().fit(**experiment()), cost=1.0)
    assert report.p_above_cost is None
    assert report.p_in_rope is None
    assert "need a posterior: fit BayesianIV" in str(report)
    assert not experiment_report(TwoStageLS().fit(**experiment())).notes


def test_shares_of_draws_by_treatment():
    draws = np.array([[-1.0, 3.0], [0.5, 1.0], [2.0, 5.0], [4.0, 7.0]])
    chances = Chances.from_draws(draws, np.array([1.0, 2.0]), (0.0, 4.0))
    rows = dict(chances.rows(("push", "mail")))
    assert rows == {
        "P(effect > 0)[push]": 0.75,
        "P(effect > 0)[mail]": 1.0,
        "P(effect > cost)[push]": 0.5,
        "P(effect > cost)[mail]": 0.75,
        "P(effect in ROPE)[push]": 0.5,
        "P(effect in ROPE)[mail]": 0.5,
    }
    unasked = Chances.from_draws(draws[:, :1], None, None)
    assert dict(unasked.rows(("push",))) == {"P(effect > 0)": 0.75}
    assert not dict(Chances.from_draws(None, np.ones(1), None).rows(("push",)))


def test_bounds():
    assert check_rope(0.5) == (-0.5, 0.5)
    assert_allclose(check_cost(2.0, 3), [2.0, 2.0, 2.0])
    for rope in ((1.0, -1.0), -1.0, np.inf, (0.0, np.nan), (1.0, 2.0, 3.0), "wide"):
        with pytest.raises(ValueError, match="rope must be a positive number or"):
            check_rope(rope)
    for cost in (np.nan, [1.0, 2.0], "dear"):
        with pytest.raises(ValueError, match="cost must be a finite number or one per treatment"):
            check_cost(cost, 1)

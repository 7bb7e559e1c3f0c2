"""Fitted estimators as the next one's history."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv._models.history.likelihoods import Likelihoods
from skbayesiv.datasets import make_noncompliance
from skbayesiv.exceptions import NoTreatmentWarning, WeakInstrumentWarning

EARLIER = {"effects": [0.8, 1.2, 1.1], "std_errors": [0.2, 0.3, 0.2]}


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


def test_a_prior_is_not_handed_on_as_data(rows):
    """Under priors wide and narrow, here and there, the same experiment says the same."""
    wide = BayesianIV(random_state=0).fit(None, **rows)
    firm = BayesianIV(beta_t_loc=5.0, beta_t_scale=0.01, random_state=0).fit(None, **rows)
    assert firm.effect_ > wide.effect_ + 1.0
    est = HierarchicalBayesianIV.from_estimators([wide, firm])
    assert est.effects["t"].iloc[0] == est.effects["t"].iloc[1]
    first, second = est.likelihoods.values()
    beta, tau = np.linspace(-3.0, 5.0, 9), np.log(0.1)
    log = [Likelihoods.of([own]).log(beta[:, None], tau, np) for own in (first, second)]
    assert np.array_equal(*log)


def test_neither_is_a_history(rows, fitted):
    alone = BayesianIV(random_state=0).fit(None, **rows)
    est = HierarchicalBayesianIV.from_estimators([fitted, alone])
    assert est.effects["t"].iloc[0] == est.effects["t"].iloc[1]


def test_several_treatments_are_handed_on_as_two_stage_estimates(two):
    """Each model's: with errors of one variance, or robust."""
    fits = [
        BayesianIV(likelihood=kind, random_state=0, check=False).fit(None, **two)
        for kind in ("normal", "gmm")
    ]
    est = HierarchicalBayesianIV.from_estimators(fits)
    rivals = [
        TwoStageLS(cov_type=kind, debiased=False).fit(None, **two)
        for kind in ("unadjusted", "robust")
    ]
    for found, rival in zip(est.effects.to_numpy(), rivals, strict=True):
        assert found == pytest.approx(rival.coef_, rel=1e-8)
    for found, rival in zip(est.std_errors.to_numpy(), rivals, strict=True):
        assert found == pytest.approx(rival._effect_and_error()[1], rel=1e-8)
    assert est.likelihoods is None


def test_weak_instruments_of_several_treatments_are_warned_of(two):
    rng = np.random.default_rng(4)
    noise = {"t": two["t"], "y": two["y"], "z": rng.normal(size=(400, 2))}
    weak = TwoStageLS(check=False).fit(None, **noise)
    with pytest.warns(WeakInstrumentWarning, match=r"1 of 2 experiments may be weak \(1\)"):
        HierarchicalBayesianIV.from_estimators([TwoStageLS().fit(None, **two), weak])


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

"""A fit warns of each cause once, says what to do, and says nothing where all is well."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from experiments import QUICK
from faulty_experiments import clustered, halves, many, revenue, strong, uneven, weak
from sklearn.base import clone

from skbayesiv import (
    BayesianIV,
    BayesianIVCV,
    FourthMoments,
    HierarchicalBayesianIV,
    Moments,
    TwoStageLS,
)
from skbayesiv._honesty.findings import beyond_doubt
from skbayesiv.exceptions import (
    FewClustersWarning,
    HeteroskedasticityWarning,
    IgnoredClustersWarning,
    InferenceWarning,
    ManyInstrumentsWarning,
    WeakInstrumentWarning,
)

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSICAL = TwoStageLS(cov_type="unadjusted")
NORMAL, GMM = BayesianIV(**QUICK), BayesianIV(likelihood="gmm", **QUICK)
FIXED = BayesianIV(beta_z_scale="auto", **QUICK)
HISTORY = HierarchicalBayesianIV([1.0, 1.2], [0.3, 0.3], **QUICK)
CAUSES = {
    "uneven, too narrow": (NORMAL, uneven(), HeteroskedasticityWarning, "too narrow: report Two"),
    "uneven, too wide": (CLASSICAL, uneven(share=0.9), HeteroskedasticityWarning, "wide: set cov"),
    "uneven, with history": (HISTORY, uneven(), HeteroskedasticityWarning, "84%|8.% apart"),
    "weak": (NORMAL, weak(), WeakInstrumentWarning, "anderson_rubin_confidence_set"),
    "weak, robust": (TwoStageLS(), weak(), WeakInstrumentWarning, "below its critical value 23.1"),
    "weak, gmm": (GMM, weak(), WeakInstrumentWarning, "then leans on its priors"),
    "weak, fixed first stage": (FIXED, weak(), WeakInstrumentWarning, "cover far less than"),
    "many, fixed first stage": (FIXED, many(), ManyInstrumentsWarning, "bias the estimate by"),
    "five weak": (TwoStageLS(), weak(q=5), WeakInstrumentWarning, "conditional_likelihood_ratio_"),
    "many": (TwoStageLS(), many(), ManyInstrumentsWarning, "bias the estimate by"),
    "many for the rows": (
        TwoStageLS(method="liml"),
        many(n=180, q=40),
        ManyInstrumentsWarning,
        "180 observations, one for every 4.5, fewer than 5",
    ),
    "few clusters": (TwoStageLS(), clustered(), FewClustersWarning, 'cov_type="CR2"'),
    "few clusters, gmm": (GMM, clustered(), FewClustersWarning, "prior's tails"),
    "few assigned": (
        TwoStageLS(),
        clustered(groups=100, treated=6),
        FewClustersWarning,
        "Few of the 100 clusters decide the effect.* has [5-7](.[0-9])? degrees of freedom",
    ),
    "ignored": (NORMAL, clustered(groups=60, treated=30), IgnoredClustersWarning, '"gmm" with fit'),
    "ignored and few": (NORMAL, clustered(), IgnoredClustersWarning, "CR2"),
}


@quiet
@pytest.mark.parametrize("cause", CAUSES)
def test_a_fit_warns_of_each_cause_once(cause):
    est, data, category, text = CAUSES[cause]
    est = clone(est)
    with pytest.warns(category, match=text) as record:
        est.fit(None, **data)
    assert [type(one) for one in est.warnings_] == [category]
    (ours,) = (one for one in record if issubclass(one.category, InferenceWarning))
    assert ours.filename == __file__
    assert str(ours.message) == str(est.warnings_[0])


RIGHT = {
    "strong": (strong(), (NORMAL, GMM, HISTORY, CLASSICAL, TwoStageLS())),
    "conversions": (halves(), (NORMAL, GMM, CLASSICAL, TwoStageLS())),
    "uneven, robust": (uneven(), (GMM, TwoStageLS(), TwoStageLS(method="liml"))),
    "enough clusters": (clustered(groups=60, treated=30), (GMM, TwoStageLS())),
    "few clusters, corrected": (clustered(), (TwoStageLS(cov_type="CR2"),)),
    "no treatment": ({"y": strong()["y"]}, ()),
}


@quiet
@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_said_where_all_is_well(name):
    data, estimators = RIGHT[name]
    for est in estimators:
        assert clone(est).fit(None, **data).warnings_ == ()


def test_honest_designs_are_seldom_accused():
    """Of 300 samples each, by the same rules that a fit has: fewer than 2%."""
    for design in (strong, halves, revenue):
        accused = 0
        for seed in range(300):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                est = TwoStageLS(cov_type="unadjusted").fit(None, **design(seed))
            accused += bool(est.warnings_)
        assert accused < 6


def test_dishonest_designs_are_found_out():
    for design in (uneven, weak, clustered):
        for seed in range(100):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                est = TwoStageLS(cov_type="unadjusted").fit(None, **design(seed))
            assert est.warnings_


@pytest.mark.parametrize("est", [CLASSICAL, NORMAL], ids=["classical", "posterior"])
@quiet
def test_checks_can_be_turned_off(est):
    est = clone(est).set_params(check=False).fit(None, **uneven())
    assert est.warnings_ == ()


@pytest.mark.parametrize(
    ("correlation", "dof", "q", "sure"),
    [
        (0.9, 1000.0, 1, True),
        (0.4, 1000.0, 1, False),  # F 190: robust standard errors might be three times as large
        (1.0, 10.0, 1, True),
        (0.9, 1000.0, 300, False),  # more than one for every five rows
        (0.9, -1.0, 1, False),
    ],
)
def test_when_there_is_no_need_to_look(correlation, dof, q, sure):
    assert beyond_doubt(correlation, dof, q) is sure


def test_a_class_of_its_own_can_be_silenced():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewClustersWarning)
        est = TwoStageLS().fit(None, **clustered())
    assert isinstance(est.warnings_[0], FewClustersWarning)


def test_check_has_two_values():
    with pytest.raises(ValueError, match="The 'check' parameter of TwoStageLS must be"):
        TwoStageLS(check=True).fit(None, **strong())


def test_findings_survive_pickle():
    with pytest.warns(FewClustersWarning):
        est = TwoStageLS().fit(None, **clustered())
    (again,) = pickle.loads(pickle.dumps(est)).warnings_
    assert str(again) == str(est.warnings_[0])
    assert again.cause == "few clusters"


NAMED = {"treatment": "t", "instruments": "z"}


def test_a_lazy_frame_is_checked_by_its_first_rows():
    frame = pl.DataFrame(uneven(n=4000)).lazy()
    with pytest.warns(HeteroskedasticityWarning, match="too narrow"):
        TwoStageLS(cov_type="unadjusted", **NAMED).fit(frame, y="y")


def test_first_rows_that_are_no_sample_say_nothing():
    """Sorted by assignment, the first rows have one arm alone."""
    frame = pl.DataFrame(uneven(n=4000)).sort("z").lazy()
    assert TwoStageLS(cov_type="unadjusted", **NAMED).fit(frame, y="y").warnings_ == ()


@quiet
def test_clusters_of_a_lazy_frame():
    frame = pl.DataFrame(clustered()).lazy()
    with pytest.warns(FewClustersWarning, match="There are 30 clusters"):
        TwoStageLS(**NAMED).fit(frame, y="y", clusters="clusters")
    with pytest.warns(IgnoredClustersWarning, match="ignores the 30 clusters: the clustered"):
        BayesianIV(**QUICK, **NAMED).fit(frame, y="y", clusters="clusters")


@quiet
def test_moments_answer_what_they_can():
    roles = {"outcome": "y", "treatment": "t", "instruments": "z"}
    data = weak()
    frame = pd.DataFrame(data | {"z": data["z"][:, 0]})
    moments = Moments.from_frame(frame, **roles)
    est = TwoStageLS(cov_type="unadjusted")
    with pytest.warns(WeakInstrumentWarning, match="the effective F is"):
        est.fit_moments(moments)
    with pytest.warns(WeakInstrumentWarning):
        est.partial_fit(None, data["t"], data["y"], z=data["z"])
    fourth = FourthMoments.from_frame(frame, **roles)
    with pytest.warns(WeakInstrumentWarning):
        clone(GMM).fit_moments(moments, fourth)


@quiet
def test_a_search_says_what_its_best_estimator_says():
    search = BayesianIVCV(BayesianIV(**QUICK), beta_t_scale=[1.0, 10.0], cv=2)
    with pytest.warns(HeteroskedasticityWarning) as record:
        search.fit(None, **uneven())
    assert len([one for one in record if issubclass(one.category, InferenceWarning)]) == 1
    assert search.warnings_ == search.best_estimator_.warnings_ != ()


@quiet
def test_probability_weights_count_with_their_squares():
    """What a fit says of its rows is the robust error that it advises."""
    data, weight = uneven(), 1.0 + 4.0 * (np.arange(1000) % 3 == 0)
    given = {"sample_weight_type": "probability"}
    advised = TwoStageLS(**given).fit(None, **data, sample_weight=weight)
    (_,), (error,) = advised._effect_and_error()
    with pytest.warns(HeteroskedasticityWarning, match=f"effect of t is {error:.3g}, the clas"):
        BayesianIV(**QUICK, **given).fit(None, **data, sample_weight=weight)


def test_probability_weights_are_checked_by_their_scores():
    data = strong()
    weight = np.where(np.abs(data["z"]) > 1.0, 20.0, 1.0)
    est = TwoStageLS(sample_weight_type="probability").fit(None, **data, sample_weight=weight)
    assert est.warnings_ == ()

"""Laws of all reports: how they print, what they hold, how they are built.

The treatment is named as a piece of HTML, and every report speaks of it.
"""

from __future__ import annotations

import dataclasses
import inspect
import pickle

import numpy as np
import pandas as pd
import pytest

from skbayesiv import HierarchicalBayesianIV, TwoStageLS, experiment_report
from skbayesiv._models.history.meta_analysis import Heterogeneity
from skbayesiv._reports.borrowing import Borrowing
from skbayesiv._reports.diagnosis import Diagnosis
from skbayesiv._reports.exclusion import ExclusionSensitivity
from skbayesiv._reports.meta_analysis import EffectSummary
from skbayesiv._reports.segments import SegmentReport
from skbayesiv.diagnostics import complier_effects, whose_effect
from skbayesiv.diagnostics._report import Report

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(200, 3))
T = pd.DataFrame(Z[:, :2] + RNG.normal(size=(200, 2)), columns=["<b>", "mail"])
Y = T.sum(axis=1) + RNG.normal(size=200)
SUMMARY = TwoStageLS().fit(None, T, Y, z=Z).summary()
WHOSE = whose_effect(Y, T, Z[:, :2], Z[:, 2])
EFFECT = EffectSummary(mean=1.0, sd=0.5, median=1.1, lower=0.0, upper=2.0)
EARLIER = pd.DataFrame({"<b>": [0.8, 1.2], "mail": [0.1, 0.3]})
PER_TREATMENT = pd.DataFrame({"beta_t": [0.01, 0.02]}, index=["<b>", "mail"])

REPORTS = [
    SUMMARY,
    SUMMARY.coefficients,
    SUMMARY.regressions,
    SUMMARY.strength,
    dataclasses.replace(SUMMARY, strength=None, note="Instruments: not computed: <b> is rare"),
    experiment_report(TwoStageLS().fit(None, T[["<b>"]], Y, z=Z[:, :1] > 0.0)),
    HierarchicalBayesianIV(EARLIER, 0.0 * EARLIER + 0.1).meta_analysis(),
    ExclusionSensitivity(
        table=pd.DataFrame({"mean": [1.0, 1.0]}, index=[0.0, 1.0]),
        breakdown=1.0,
        level=0.95,
        treatment="<b>",
        outcome="sales",
        given="Covariates: <b>",
    ),
    Diagnosis(
        convergence=pd.DataFrame({"r_hat": [1.0], "ess_bulk": [500.0], "ess_tail": [400.0]}),
        divergences=0,
        sensitivity=PER_TREATMENT,
        std_errors=PER_TREATMENT,
        strength=SUMMARY.strength,
        note="Something was not checked.",
    ),
    Borrowing(
        given="Covariates: none",
        treatment="<b>",
        without=EFFECT,
        history=EFFECT,
        combined=EFFECT,
        shrinkage=0.5,
        rows=100.0,
        conflict_p_value=0.5,
        exchangeable_probability=0.9,
        heterogeneity=Heterogeneity(q=1.0, dof=1, p_value=0.3, i2=0.0),
        leave_one_out=pd.DataFrame({"effect": [1.0]}, index=["may"]),
    ),
]
REPORTS += [
    SegmentReport(
        treatment="<b>",
        given="Covariates: none",
        table=pd.DataFrame({"rows": [10.0], "F": [3.0], "effect": [1.0]}, index=["<b>"]),
        effect=EFFECT,
        mean_effect=EFFECT,
        sigma_median=0.5,
        sigma_lower=0.1,
        sigma_upper=1.0,
        heterogeneity=Heterogeneity(q=1.0, dof=1, p_value=0.3, i2=0.0),
        cost=0.5,
        rope=(-0.1, 0.1),
        one_effect=0.2,
        within=0.5,
        policies=pd.DataFrame({"expected gain": [0.5]}, index=["treat all"]),
        slopes=PER_TREATMENT,
        silent={"<b>": "it has 1 row"},
        weak=("<b>",),
    ),
    WHOSE,
    WHOSE.weighting,
    WHOSE.cross_effects,
    complier_effects(Y, T[["<b>"]] > 0, Z[:, 0] > 0),
]
each = pytest.mark.parametrize("report", REPORTS, ids=lambda report: type(report).__name__)


def test_every_report_is_here():
    assert {type(report) for report in REPORTS} == set(Report.__subclasses__())


@each
def test_it_prints_as_it_is_shown(report):
    assert repr(report) == str(report)
    assert "<b>" in str(report)
    assert not str(report).endswith("\n")


@each
def test_html_is_escaped(report):
    html = report._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;" in html


@each
def test_html_says_what_the_text_says(report):
    """Up to pandas' own layout: the words of every block."""
    html = report._repr_html_()
    for word in str(report).replace("<b>", " ").split():
        assert word.strip(".,;:[]()") in html.replace("&#x27;", "'").replace("&gt;", ">")


@each
def test_its_numbers_are_a_frame(report):
    frame = report.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert len(frame)
    assert not frame.select_dtypes("number").empty


@each
def test_it_is_built_by_keyword_and_stays_as_it_is(report):
    parameters = inspect.signature(type(report)).parameters.values()
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.level = 0.5
    assert str(dataclasses.replace(report)) == str(report)


@each
def test_it_can_be_stored(report):
    again = pickle.loads(pickle.dumps(report))
    assert str(again) == str(report)
    assert again._repr_html_() == report._repr_html_()


def test_a_report_within_a_report_prints_as_alone():
    for part in (SUMMARY.coefficients, SUMMARY.regressions, SUMMARY.strength):
        assert str(part) in str(SUMMARY)
        assert part._repr_html_() in SUMMARY._repr_html_()

"""What a fit warned of stands where its numbers are read: in text, in HTML, in the row itself."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from experiments import QUICK, unchecked
from faulty_experiments import clustered, strong, uneven, weak

from skbayesiv import BayesianIV, TwoStageLS, experiment_report

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NORMAL = BayesianIV(**QUICK)


@pytest.fixture(scope="module")
def accused():
    """A posterior whose errors are uneven."""
    with pytest.warns(UserWarning, match="apart"):
        return BayesianIV(**QUICK).fit(None, **uneven())


def test_summary_of_a_posterior(accused):
    table = accused.summary()
    assert str(table).splitlines()[-1] == f"Uneven errors: {accused.warnings_[0]}"
    quiet = BayesianIV(check=False, **QUICK).fit(None, **uneven()).summary()
    assert str(table).startswith(f"{quiet}\n\n")  # numbers are printed as without
    assert "<p>Uneven errors: The robust standard error" in table._repr_html_()
    again = pickle.loads(pickle.dumps(table))
    assert str(again) == str(table)
    # What is computed from the table is a table like any other.
    assert type(table[["mean"]]) is pd.DataFrame
    assert type(table.loc[["beta_t[t]"]]) is pd.DataFrame
    assert type(table * 2.0) is pd.DataFrame
    assert type(pd.concat([table, table])) is pd.DataFrame


def test_summary_without_a_caveat():
    est = BayesianIV(**QUICK).fit(None, **strong())
    assert not hasattr(est.summary(), "caveats")


@unchecked
@pytest.mark.parametrize(
    ("data", "head"),
    [(weak(), "Weak instruments: The"), (clustered(), "Few clusters: There are 30")],
    ids=["weak", "clusters"],
)
def test_summary_of_an_estimate(data, head):
    summary = TwoStageLS().fit(None, **data).summary()
    assert f"\n\n{head}" in str(summary)
    assert f"<p>{head}" in summary._repr_html_()


def test_a_report_says_it_in_the_row(accused):
    report = experiment_report(accused)
    errors = report.table["errors"]
    assert errors["effect on compliers"] == "posterior, not to be trusted: uneven errors"
    assert errors["2SLS"] == "robust"
    assert "Uneven errors: The robust standard error" in str(report)
    assert "<p>Uneven errors: The robust" in report._repr_html_()


def test_a_report_looks_again():
    """The fit may not have looked, or not have known the clusters."""
    est = BayesianIV(check=False, **QUICK).fit(None, **uneven())
    assert "not to be trusted" in experiment_report(est).table.loc["effect on compliers", "errors"]
    data = clustered()
    rows = {"X": None} | {name: data[name] for name in ("t", "y", "z")}
    est = BayesianIV(**QUICK).fit(**rows)
    report = experiment_report(est, **rows, clusters=data["clusters"])
    assert report.table.loc["effect of t", "errors"].endswith("not to be trusted: clusters ignored")
    assert report.table.loc["2SLS", "errors"] == "CR2"  # with few clusters the right row is this
    fit = TwoStageLS(cov_type="CR2").fit(**rows, clusters=data["clusters"])
    ends = report.table.loc["2SLS", ["lower", "upper"]].astype(float)
    np.testing.assert_allclose(ends, fit.effect_interval())


def test_a_report_without_a_caveat():
    report = experiment_report(BayesianIV(**QUICK).fit(None, **strong()))
    assert report.warnings == ()
    assert report.table.loc["effect of t", "errors"] == "posterior"

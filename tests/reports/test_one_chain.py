"""Reports of a single chain: R-hat compares chains, and is left out, not shown as NaN."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import QUICK

from skbayesiv import (
    BayesianIV,
    HierarchicalBayesianIV,
    exclusion_sensitivity,
    experiment_report,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skbayesiv.exceptions.PriorDataConflictWarning",
)
SETTINGS = QUICK | {"chains": 1}


@pytest.fixture(scope="module", params=["normal", "gmm", "history"])
def one_chain(request, linear):
    """A fit of one chain."""
    est = {
        "normal": BayesianIV(**SETTINGS),
        "gmm": BayesianIV(**SETTINGS, likelihood="gmm"),
        "history": HierarchicalBayesianIV([1.0, 2.0], [0.5, 0.5], **SETTINGS),
    }[request.param]
    return est.fit(**linear())


def test_nothing_is_nan(one_chain):
    reports = [
        one_chain.summary(),
        one_chain.diagnose(),
        one_chain.diagnose().to_frame()["value"],
        one_chain.diagnose().convergence,
        experiment_report(one_chain),
        exclusion_sensitivity(one_chain, [0.0, 0.5]),
    ]
    if isinstance(one_chain, HierarchicalBayesianIV):
        reports += [one_chain.borrowing(), one_chain.meta_analysis()]
    for report in reports:
        assert "nan" not in str(report).lower()


def test_rhat_is_said_to_be_missing(one_chain):
    assert "r_hat" not in one_chain.summary()
    found = one_chain.diagnose()
    assert np.isnan(found.rhat)
    assert found.ess > 10
    assert "R-hat                  not defined for one chain: set chains to 2 or more" in str(found)
    assert "R-hat" not in found.to_frame().index

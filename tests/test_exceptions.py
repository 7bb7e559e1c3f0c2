"""A warning points at the line that called the package, however deep it arose."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from experiments import POOR, simulated
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import cross_val_score

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, TwoStageLS, fit_experiments
from skbayesiv.exceptions import (
    ConvergenceWarning,
    FitFailedWarning,
    NoTreatmentWarning,
    PriorDataConflictWarning,
)

X, T, Y, Z = simulated(300, 2)
FRAME = pd.DataFrame({"y": Y, "t": T, "z": Z, "week": np.arange(300) % 2})
ROLES = {"by": "week", "outcome": "y", "treatment": "t", "instruments": "z"}
CALLS = {
    "fit": (ConvergenceWarning, lambda: BayesianIV(**POOR).fit(X, T, Y, z=Z)),
    "scikit-learn's order": (ConvergenceWarning, lambda: BayesianIV(**POOR).fit(X, Y, t=T, z=Z)),
    "partial_fit": (ConvergenceWarning, lambda: BayesianIV(**POOR).partial_fit(X, T, Y, z=Z)),
    "fit_moments": (
        ConvergenceWarning,
        lambda: BayesianIV(**POOR).fit_moments(TwoStageLS().fit(X, T, Y, z=Z).moments_),
    ),
    "search": (ConvergenceWarning, lambda: BayesianIVCV(BayesianIV(**POOR)).fit(X, T, Y, z=Z)),
    "experiments": (
        ConvergenceWarning,
        lambda: fit_experiments(FRAME, **ROLES, estimator=BayesianIV(**POOR)),
    ),
    "experiments that fail": (
        FitFailedWarning,
        lambda: fit_experiments(
            FRAME.assign(t=T * FRAME["week"]), **ROLES, estimator=BayesianIV(**POOR)
        ),
    ),
    "no history": (UserWarning, lambda: HierarchicalBayesianIV(**POOR).fit(X, T, Y, z=Z)),
    "conflict": (
        PriorDataConflictWarning,
        lambda: HierarchicalBayesianIV([30.0, 31.0], [0.3, 0.3], **POOR).fit(X, T, Y, z=Z),
    ),
    "no treatment": (NoTreatmentWarning, lambda: TwoStageLS().fit(X, Y)),
    "column of y": (DataConversionWarning, lambda: TwoStageLS().fit(X, T, Y[:, None], z=Z)),
    "within scikit-learn": (NoTreatmentWarning, lambda: cross_val_score(TwoStageLS(), X, Y, cv=2)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_warning_points_at_the_caller(name):
    category, call = CALLS[name]
    with pytest.warns(category) as record:
        call()
    own = [warning for warning in record if issubclass(warning.category, (category, UserWarning))]
    assert {warning.filename for warning in own} == {__file__}

"""A warning points at the line that called the package, however deep it arose."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import cross_val_score

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, TwoStageLS, fit_experiments
from skbayesiv.datasets import make_noncompliance
from skbayesiv.exceptions import ConvergenceWarning, NoTreatmentWarning, PriorDataConflictWarning

FEW = {"draws": 10, "tune": 20, "chains": 2, "random_state": 0}
DATA = make_noncompliance(300, n_covariates=2, random_state=0)
X, T, Y, Z = (np.asarray(a, dtype=float) for a in (DATA.X, DATA.t, DATA.y, DATA.z))
FRAME = pd.DataFrame({"y": Y, "t": T, "z": Z, "week": np.arange(300) % 2})
ROLES = {"by": "week", "outcome": "y", "treatment": "t", "instruments": "z"}
CALLS = {
    "fit": (ConvergenceWarning, lambda: BayesianIV(**FEW).fit(X, T, Y, z=Z)),
    "scikit-learn's order": (ConvergenceWarning, lambda: BayesianIV(**FEW).fit(X, Y, t=T, z=Z)),
    "partial_fit": (ConvergenceWarning, lambda: BayesianIV(**FEW).partial_fit(X, T, Y, z=Z)),
    "fit_moments": (
        ConvergenceWarning,
        lambda: BayesianIV(**FEW).fit_moments(TwoStageLS().fit(X, T, Y, z=Z).moments_),
    ),
    "search": (ConvergenceWarning, lambda: BayesianIVCV(BayesianIV(**FEW)).fit(X, T, Y, z=Z)),
    "experiments": (
        ConvergenceWarning,
        lambda: fit_experiments(FRAME, **ROLES, estimator=BayesianIV(**FEW)),
    ),
    "no history": (UserWarning, lambda: HierarchicalBayesianIV(**FEW).fit(X, T, Y, z=Z)),
    "conflict": (
        PriorDataConflictWarning,
        lambda: HierarchicalBayesianIV([30.0, 31.0], [0.3, 0.3], **FEW).fit(X, T, Y, z=Z),
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
    assert category in {warning.category for warning in record}
    own = [warning for warning in record if issubclass(warning.category, UserWarning)]
    assert {warning.filename for warning in own} == {__file__}

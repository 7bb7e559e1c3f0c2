"""Score tests that columns may be left out of a regression, robust to unequal variances.

With u the residual of the outcome and h what the controls leave of the columns in question, the
null says E[h u] = 0. The statistic is

    S' V^-1 S,    S = sum of w h u,    V = its covariance over rows, or over clusters of them,

chi-square with as many degrees of freedom as V has rank. Without clusters it is n less the residual
sum of squares of the regression of 1 on h u (Wooldridge 2010, section 4.2.3). As u has the null
imposed it keeps its size where columns are many or have few large values.
"""

from __future__ import annotations

import numpy as np

from skbayesiv._typing import Array
from skbayesiv.diagnostics._reduced_form import ROUNDING
from skbayesiv.diagnostics._results import HypothesisTest
from skbayesiv.diagnostics._row_design import EXACT, RowDesign


def scores_of(design: RowDesign, added: Array, outcomes: Array, controls: Array) -> Array:
    """Scores of columns `added` (n, A) in regressions of outcomes (n, D) on controls.

    Shape (n, M): M is A D less what the controls span, and what they explain exactly.
    """
    outcomes = design.standard(outcomes)
    left = design.residual(outcomes, controls)
    varies = design.total(left**2) > EXACT * design.total(outcomes**2)
    h, u = design.beside(added, controls), left[:, varies]
    u = u / design.sizes(u)
    return np.asarray((h[:, :, None] * u[:, None, :]).reshape(len(h), -1))


def score_test(name: str, null: str, design: RowDesign, scores: Array) -> HypothesisTest | None:
    """Test that scores (n, M) have mean zero; None if there are none but rounding.

    They are of orthonormal columns and of residuals whose size is about 1.
    """
    scores = scores[:, design.total(scores**2) > EXACT]
    covariance = design.covariance(scores)
    scale = np.sqrt(np.diag(covariance))
    own = scale > 0.0
    unit = covariance[np.ix_(own, own)] / np.outer(scale[own], scale[own])
    values, vectors = np.linalg.eigh(unit)
    keep = values > ROUNDING * values[-1:]
    dof = int(keep.sum())
    if not dof:
        return None
    if 0 < design.n_clusters <= dof:
        raise ValueError(
            f"clusters must number at least {dof + 1} for a test of {dof} restrictions, got "
            f"{design.n_clusters}. Take fewer covariates, or smaller clusters."
        )
    # The sum of scores lies in the range of their covariance, whatever rounding says.
    total = vectors[:, keep].T @ (design.total(scores)[own] / scale[own])
    return HypothesisTest.chi2(name, null, float((total**2 / values[keep]).sum()), dof)

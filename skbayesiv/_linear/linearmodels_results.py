"""The equation's rows -> what linearmodels returns, with its tests.

linearmodels takes weights as analytic: a row scaled by sqrt(w) has the score w x e, whose outer
product carries w^2, where w equal rows contribute w x x'e^2. Its standard errors under weights are
not ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skbayesiv._columns import INTERCEPT
from skbayesiv._linear.covariance import COVARIANCES
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.estimate import gmm_metric
from skbayesiv._typing import Array


def linearmodels_results(equation: Equation, method: str, *, debiased: bool) -> Any:
    """Fit the rows of an equation with linearmodels."""
    from linearmodels.iv import IV2SLS, IVGMM, IVLIML

    data = equation.rows
    assert data is not None
    given = data.sample_weight
    keep = slice(None) if given is None else given > 0
    weights = None if given is None or (given[keep] == 1.0).all() else given[keep]
    groups: dict[str, Any] = {} if data.clusters is None else {"clusters": data.clusters[keep]}
    known = COVARIANCES[equation.cov_type].in_linearmodels
    cov_type = equation.cov_type if known else "clustered" if groups else "robust"
    options: dict[str, Any] = {"cov_type": cov_type, "debiased": debiased, **groups}
    frames = _frames(equation, keep)
    if method == "liml":
        return IVLIML(*frames, weights=weights).fit(**options)
    if method != "gmm":
        return IV2SLS(*frames, weights=weights).fit(**options)
    model = IVGMM(*frames, weights=weights, weight_type=cov_type, **groups)
    if weights is None and known:
        return model.fit(**options)
    metric = gmm_metric(equation)  # in place of its own, which takes weights as analytic
    return model.fit(iter_limit=1, initial_weight=np.linalg.inv(metric), **options)


def _frames(equation: Equation, keep: Any) -> list[Any]:
    """Outcome, exogenous, endogenous and instruments, named; None where there is no column."""
    from pandas import DataFrame

    data, c = equation.rows, equation.columns
    assert data is not None
    x: Array = data.x[keep]
    constant = np.ones((len(x), len(equation.constant)))
    names = [*[INTERCEPT] * constant.shape[1], *c.covariates]
    parts = (
        (data.y[keep, None], [c.outcome]),
        (np.column_stack([constant, x]), names),
        (data.t[keep], list(c.treatments)),
        (data.z[keep], list(c.instruments)),
    )
    return [
        DataFrame(array.astype(np.float64), columns=names) if names else None
        for array, names in parts
    ]

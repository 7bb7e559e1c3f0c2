"""Rows for a report on a fitted estimator: those passed, those kept, or its moments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skbayesiv._base import BaseIV
from skbayesiv._equation import Equation
from skbayesiv._validation import check_clusters, gather


def given_rows(
    est: BaseIV,
    X: Any = None,
    t: Any = None,
    y: Any = None,
    z: Any = None,
    sample_weight: Any = None,
    clusters: Any = None,
) -> Equation:
    """Rows of the fit.

    Parameters
    ----------
    est : fitted estimator
    X, t, y, z, sample_weight, clusters
        Rows, as in ``fit(X, t, y, z=z)``. Without them the rows that the estimator kept are
        returned, or rows made up from its moments.

    Returns
    -------
    Equation
    """
    if X is None and t is None and y is None:
        return est._rows_or_moments()
    if est.treatment is not None and y is None:
        t, y = None, t
    data = gather(
        est._unfitted(),
        X,
        y,
        t,
        z,
        sample_weight,
        treatment=est.treatment,
        instruments=est.instruments,
    )
    codes = check_clusters(clusters, data.n_rows, required=False)
    rows = Equation.from_data(
        data,
        codes,
        fit_intercept=est.fit_intercept,
        errors="robust" if codes is None else "clustered",
    )
    columns = est.moments_.columns
    same = [len(columns.names), columns.x, columns.z, columns.t] == [
        len(data.columns.names),
        data.columns.x,
        data.columns.z,
        data.columns.t,
    ]
    if not same or not np.isclose(rows.n, est.moments_.weight, rtol=1e-9):
        raise ValueError(
            f"X, t, y and z must be the rows of the fit, {est.moments_.weight:.12g} observations "
            f"of {list(columns.names)}; got {rows.n:.12g} of {list(data.columns.names)}."
        )
    return replace(rows, columns=columns)

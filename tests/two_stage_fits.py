"""Rows with clusters, and two-stage fits to them by this package and by linearmodels."""

from __future__ import annotations

import numpy as np
from linearmodels.iv import IV2SLS, IVGMM, IVLIML

from skbayesiv import TwoStageLS

METHODS = ("2sls", "liml", "gmm")
COV_TYPES = ("robust", "unadjusted", "clustered")


def clustered_rows():
    """Two treatments, four instruments, two covariates, errors that differ and cluster."""
    rng = np.random.default_rng(7)
    n, groups = 300, rng.integers(0, 30, 300)
    shared = rng.normal(size=30)[groups]
    x, z = rng.normal(3.0, 1.0, (n, 2)), rng.normal(1.0, 1.0, (n, 4))
    taste = rng.normal(size=(n, 2))
    t = z @ rng.normal(size=(4, 2)) + x @ rng.normal(size=(2, 2)) + taste
    error = taste @ [1.0, -0.5] + shared + rng.normal(size=n) * (1.0 + z[:, 0] ** 2)
    y = 2.0 + t @ [1.0, -2.0] + x @ [0.5, 1.5] + error
    weight = rng.integers(0, 4, n).astype(float)
    return {"x": x, "t": t, "z": z, "y": y, "weight": weight, "clusters": groups}


def fitted(data, rows=slice(None), *, clusters=False, weighted=False, **params):
    return TwoStageLS(check=False, **params).fit(
        data["x"][rows],
        data["t"][rows],
        data["y"][rows],
        z=data["z"][rows],
        clusters=data["clusters"][rows] if clusters else None,
        sample_weight=data["weight"] if weighted else None,
    )


def linearmodels_fit(data, method, cov_type, *, debiased, fit_intercept=True):
    constant = np.ones((len(data["y"]), int(fit_intercept)))
    args = data["y"], np.column_stack([constant, data["x"]]), data["t"], data["z"]
    groups = {"clusters": data["clusters"]} if cov_type == "clustered" else {}
    options = {"cov_type": cov_type, "debiased": debiased, **groups}
    if method == "gmm":
        return IVGMM(*args, weight_type=cov_type, **groups).fit(**options)
    return {"2sls": IV2SLS, "liml": IVLIML}[method](*args).fit(**options)

"""Raw arrays -> the rows of an equation."""

from typing import Any

import numpy as np

from skbayesiv._columns import Columns, column_names
from skbayesiv._data.checks import check_clusters, check_columns, check_length, check_weights
from skbayesiv._data.identified import check_order
from skbayesiv._linear.equation import Equation


def read_arrays(
    y: Any, t: Any, z: Any, X: Any, *, sample_weight: Any, clusters: Any, fit_intercept: bool
) -> Equation:
    """Check arrays, and bring together the rows that have a weight."""
    given = {"y": y, "t": t, "z": z} | ({} if X is None else {"X": X})
    parts = {name: check_columns(value, name) for name, value in given.items()}
    n_rows, n_outcomes = parts["y"].shape
    if n_outcomes != 1:
        raise ValueError(f"y must be one outcome of shape (n_rows,), got shape {parts['y'].shape}.")
    for name, values in parts.items():
        check_length(values, name, n_rows)
    parts.setdefault("X", np.empty((n_rows, 0)))
    columns = Columns(
        covariates=column_names(X, "x", parts["X"].shape[1]),
        instruments=column_names(z, "z", parts["z"].shape[1]),
        treatments=column_names(t, "t", parts["t"].shape[1]),
        outcome=column_names(y, "y", 1)[0],
    )
    check_order(columns)
    given_weight = check_weights(sample_weight, n_rows)
    weight = np.ones(n_rows) if given_weight is None else given_weight
    codes = check_clusters(clusters, n_rows, required=False)
    parts["X"] = np.column_stack([np.ones((n_rows, int(fit_intercept))), parts["X"]])
    keep = slice(None) if weight.all() else weight > 0
    parts = {name: values[keep].astype(np.float64, copy=False) for name, values in parts.items()}
    return Equation(
        y=parts["y"][:, 0],
        exogenous=parts["X"],
        endogenous=parts["t"],
        instruments=parts["z"],
        weight=weight[keep],
        clusters=None if codes is None else codes[keep],
        cov_type="robust" if codes is None else "clustered",
        columns=columns,
    )

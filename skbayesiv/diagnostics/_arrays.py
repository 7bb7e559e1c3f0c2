"""Raw arrays -> checked rows."""

from typing import Any

import numpy as np

from skbayesiv._columns import Columns, column_names
from skbayesiv._data.checks import check_clusters, check_columns, check_index, check_length
from skbayesiv._data.identified import check_order
from skbayesiv._data.rows import IVData, read_weights


def read_arrays(y: Any, t: Any, z: Any, X: Any, *, sample_weight: Any, clusters: Any) -> IVData:
    """Check arrays and bring them together; what is not finite shows in their moments."""
    given = {"y": y, "t": t, "z": z} | ({} if X is None else {"X": X})
    check_index(**given, sample_weight=sample_weight, clusters=clusters)
    parts = {name: check_columns(value, name, finite=False) for name, value in given.items()}
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
    return IVData(
        x=parts["X"],
        z=parts["z"],
        t=parts["t"],
        y=parts["y"][:, 0],
        sample_weight=read_weights(sample_weight, n_rows),
        columns=columns,
        clusters=check_clusters(clusters, n_rows, required=False),
    )

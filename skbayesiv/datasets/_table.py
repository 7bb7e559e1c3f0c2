"""A table of columns -> the Bunch or tuple that a user gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

if TYPE_CHECKING:
    import pandas as pd

Column = NDArray[np.generic]
Table = Mapping[str, Column]


@dataclass(frozen=True)
class Roles:
    """Which columns of a table are covariates, treatment, outcome and instruments."""

    covariates: Sequence[str]
    treatment: str
    outcome: str
    instruments: Sequence[str]


def package(
    table: Table,
    roles: Roles,
    *,
    as_frame: bool,
    return_X_t_y_z: bool,
    **details: Any,
) -> Bunch | tuple[Any, Any, Any, Any]:
    """Split a table by roles, as arrays or as pandas objects."""
    frame = _to_frame(table) if as_frame else None
    source = table if frame is None else frame
    X = _matrix(source, roles.covariates) if roles.covariates else None
    t, y = source[roles.treatment], source[roles.outcome]
    single = len(roles.instruments) == 1
    z = source[roles.instruments[0]] if single else _matrix(source, roles.instruments)
    if return_X_t_y_z:
        return X, t, y, z
    return Bunch(
        **{"data": X, "treatment": t, "target": y, "instrument": z},
        **{"X": X, "t": t, "y": y, "z": z},
        frame=frame,
        feature_names=list(roles.covariates),
        treatment_names=[roles.treatment],
        target_names=[roles.outcome],
        instrument_names=list(roles.instruments),
        **details,
    )


def _to_frame(table: Table) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(dict(table))


def _matrix(source: Table | pd.DataFrame, names: Sequence[str]) -> Any:
    """Select several columns as one two-dimensional object."""
    if isinstance(source, Mapping):
        return np.column_stack([source[name] for name in names])
    return source[list(names)]

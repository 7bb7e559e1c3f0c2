"""An estimator's state for serialisers: its version, trees and tables as plain containers."""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from skbayesiv import __version__
from skbayesiv._models.history.likelihoods import EffectLikelihood
from skbayesiv.exceptions import OURS

VERSION = "_skbayesiv_version"


class VersionedState(BaseEstimator):
    """An estimator that warns when another version pickled it, as scikit-learn's own do."""

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), VERSION: __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        version = state.pop(VERSION, "unknown")
        if version != __version__:
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=type(self).__name__,
                    current_sklearn_version=__version__,
                    original_sklearn_version=version,
                ),
                skip_file_prefixes=OURS,
            )
        super().__setstate__(state)


def pack_tree(tree: Any) -> dict[str, Any]:
    """Return a DataTree as plain containers and arrays."""
    return {
        name: {
            "variables": {
                str(key): [list(variable.dims), np.asarray(variable.values)]
                for key, variable in group.variables.items()
            },
            "attrs": dict(group.attrs),
        }
        for name, group in tree.children.items()
    }


def unpack_tree(packed: dict[str, Any]) -> Any:
    """Inverse of `pack_tree`."""
    import xarray as xr

    groups = {}
    for name, group in packed.items():
        variables = {key: (tuple(dims), value) for key, (dims, value) in group["variables"].items()}
        coords = {key: value for key, value in variables.items() if value[0] == (key,)}
        data = {key: value for key, value in variables.items() if key not in coords}
        groups[name] = xr.Dataset(data, coords=coords, attrs=group["attrs"])
    return xr.DataTree.from_dict(groups)


def pack_likelihoods(likelihoods: Any) -> Any:
    """Return likelihoods by name as plain containers, and anything else as it is."""
    if not isinstance(likelihoods, dict):
        return likelihoods
    return {
        name: vars_of(own) if isinstance(own, EffectLikelihood) else own
        for name, own in likelihoods.items()
    }


def unpack_likelihoods(packed: Any) -> Any:
    """Inverse of `pack_likelihoods`."""
    if not isinstance(packed, dict):
        return packed
    return {
        name: EffectLikelihood(**own) if isinstance(own, dict) else own
        for name, own in packed.items()
    }


def vars_of(own: EffectLikelihood) -> dict[str, Any]:
    """Fields by name."""
    return {field.name: getattr(own, field.name) for field in fields(own)}


def pack_table(table: Any) -> Any:
    """Return a pandas Series or DataFrame as plain containers, and anything else as it is."""
    import pandas as pd

    if isinstance(table, pd.Series):
        return {"series": table.to_frame(table.name).to_dict(orient="tight")}
    if isinstance(table, pd.DataFrame):
        return {"frame": table.to_dict(orient="tight")}
    return table


def unpack_table(packed: Any) -> Any:
    """Inverse of `pack_table`."""
    import pandas as pd

    if not isinstance(packed, dict):
        return packed
    [(kind, content)] = packed.items()
    table = pd.DataFrame.from_dict(content, orient="tight")
    return table.iloc[:, 0] if kind == "series" else table

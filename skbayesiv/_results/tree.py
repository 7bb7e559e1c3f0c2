"""Draws -> an ArviZ DataTree with names."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._models.parts.names import DIMS, Coords, coordinates
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._sampling.target import Draws
from skbayesiv._typing import Array

MOMENT_DIMS: dict[str, tuple[str, ...]] = {
    "mean": ("column",),
    "scatter": ("column", "column_"),
    "weight": (),
    "fourth_total": ("left", "right"),
    "fourth_cross": ("left", "right", "left_", "right_"),
    "fourth_shift": ("column",),
    "fourth_coef": ("covariate", "regressed"),
}
OBSERVED_ROWS = 20_000


def dataset(values: dict[str, Array], dims: dict[str, tuple[str, ...]], names: Coords) -> Any:
    """Variables with named dimensions; those without entries are left out."""
    import xarray as xr

    variables = {name: (dims[name], value) for name, value in values.items() if value.size}
    lengths = {
        dim: length
        for used, value in variables.values()
        for dim, length in zip(used, value.shape, strict=True)
    }
    coords: dict[str, Any] = {dim: names[dim] for dim in lengths if dim in names}
    coords |= {dim: np.arange(lengths[dim]) for dim in ("chain", "draw") if dim in lengths}
    return xr.Dataset(variables, coords=coords)


def by_chain(
    values: dict[str, Array],
    chains: int,
    names: Coords,
    dims: dict[str, tuple[str, ...]] = DIMS,
) -> Any:
    """Draws of shape (chains * draws, ...) -> a dataset with dims chain and draw first."""
    shaped = {
        name: value.reshape(chains, len(value) // chains, *value.shape[1:])
        for name, value in values.items()
    }
    full = {name: ("chain", "draw", *dims.get(name, ())) for name in shaped}
    return dataset(shaped, full, names)


def build_tree(
    posterior: Posterior,
    draws: Draws,
    names: Coords,
    moments: Moments,
    fourth: FourthMoments | None,
    data: IVData | None,
) -> Any:
    """Posterior, statistics, log prior, total log-likelihood and moments in one DataTree."""
    import xarray as xr

    chains = draws.position.shape[0]
    stats = {name: value.reshape(-1) for name, value in draws.stats.items()}
    groups = {
        "posterior": by_chain(posterior.values, chains, names),
        "sample_stats": by_chain(stats, chains, names),
        "log_prior": by_chain(posterior.log_prior, chains, names, {}),
        "log_likelihood": by_chain(posterior.log_likelihood, chains, names, {}),
        "constant_data": dataset(_sums(moments, fourth), MOMENT_DIMS, names),
    }
    if data is not None and data.n_rows <= OBSERVED_ROWS:
        groups["observed_data"] = observed(data)
    for name in ("posterior", "sample_stats"):
        groups[name].attrs["inference_library"] = "skbayesiv"
    return xr.DataTree.from_dict(groups)


def _sums(moments: Moments, fourth: FourthMoments | None) -> dict[str, Array]:
    """What the fit took from the rows."""
    sums = {"mean": moments.mean, "scatter": moments.scatter, "weight": np.array(moments.weight)}
    if fourth is None:
        return sums
    return sums | {
        "fourth_total": fourth.total,
        "fourth_cross": fourth.cross,
        "fourth_shift": fourth.reference.shift,
        "fourth_coef": fourth.reference.coef,
    }


def observed(data: IVData) -> Any:
    """Outcome and treatments as the rows gave them."""
    values = {"y": np.asarray(data.y), "t": np.asarray(data.t)}
    return dataset(values, {"y": ("row",), "t": ("row", "treatment")}, coordinates(data.columns))

"""Draws -> an ArviZ DataTree with names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._data.sums import Sums
from skbayesiv._models.parts.names import DIMS, Coords
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._sampling.target import Draws
from skbayesiv._typing import Array, Values

MOMENT_DIMS: dict[str, tuple[str, ...]] = {
    "mean": ("column",),
    "scatter": ("column", "column_"),
    "weight": (),
    "fourth_total": ("left", "right"),
    "fourth_cross": ("left", "right", "left_", "right_"),
    "fourth_shift": ("column",),
    "fourth_coef": ("covariate", "regressed"),
}


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
    by_segment: Collection[str] = (),
) -> Any:
    """Draws of shape (chains * draws, ...) -> a dataset with dims chain and draw first.

    Those named in `by_segment` have the dimension segment next.
    """
    shaped = {
        name: value.reshape(chains, len(value) // chains, *value.shape[1:])
        for name, value in values.items()
    }
    full = {
        name: ("chain", "draw", *("segment",) * (name in by_segment), *dims.get(name, ()))
        for name in shaped
    }
    return dataset(shaped, full, names)


def build_tree(
    coords: Coords, posterior: Posterior, draws: Draws, sums: Sums, rows: IVData | None
) -> Any:
    """Posterior, statistics, log prior, total log-likelihood and moments in one DataTree."""
    import xarray as xr

    chains = draws.position.shape[0]
    groups = {
        "posterior": by_chain(posterior.values, chains, coords, by_segment=posterior.by_segment),
        "sample_stats": by_chain(draws.flat_stats, chains, coords),
        "log_prior": by_chain(posterior.log_prior, chains, coords, {}),
        "log_density": by_chain(posterior.log_density, chains, coords, {}),
        "constant_data": dataset(_numbers(sums), MOMENT_DIMS, coords),
    }
    if rows is not None:
        groups["observed_data"] = observed(rows, coords)
    for name in ("posterior", "sample_stats"):
        groups[name].attrs["inference_library"] = "skbayesiv"
    return xr.DataTree.from_dict(groups)


def segment_tree(tree: Any, values: Values, coords: Coords, moments: Moments) -> Any:
    """One segment's part of a tree: its draws `values`, flat over chains, and its moments."""
    import xarray as xr

    groups = {
        "posterior": by_chain(values, tree.posterior.sizes["chain"], coords),
        "sample_stats": tree.sample_stats.to_dataset(),
        "constant_data": dataset(_numbers(Sums(moments)), MOMENT_DIMS, coords),
    }
    groups["posterior"].attrs["inference_library"] = "skbayesiv"
    return xr.DataTree.from_dict(groups)


def _numbers(sums: Sums) -> dict[str, Array]:
    """What the fit took from the rows."""
    moments, fourth = sums.moments, sums.fourth
    found = {"mean": moments.mean, "scatter": moments.scatter, "weight": np.array(moments.weight)}
    if fourth is None:
        return found
    return found | {
        "fourth_total": fourth.total,
        "fourth_cross": fourth.cross,
        "fourth_shift": fourth.reference.shift,
        "fourth_coef": fourth.reference.coef,
    }


def observed(data: IVData, coords: Coords) -> Any:
    """Outcome and treatments as the rows gave them."""
    values = {"y": np.asarray(data.y, dtype=float), "t": np.asarray(data.t, dtype=float)}
    return dataset(values, {"y": ("row",), "t": ("row", "treatment")}, coords)

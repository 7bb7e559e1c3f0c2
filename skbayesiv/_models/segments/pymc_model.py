"""Segments and their population in PyMC: a model of rows for each, the effects not centred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skbayesiv._data.rows import IVData
from skbayesiv._models.parts.scales import SCALE_PRIORS
from skbayesiv._models.segments.design import SegmentedDesign
from skbayesiv._sampling.libraries import load_jax


def state_segments(design: SegmentedDesign, data: Sequence[IVData | None]) -> Any:
    """State the model of all segments in PyMC, in the data's own units.

    Parameters
    ----------
    design : SegmentedDesign
    data : sequence of IVData or None
        Rows of the segments that identify an effect of their own.

    Returns
    -------
    pymc.Model
        The effects and their population have the posterior's names. All else of a segment has its
        name in front, as in ``DE::gamma_y``; a segment without an effect of its own has only that.
    """
    load_jax()
    import pymc as pm

    coords = {dim: names for dim, names in design.coords.items() if names}
    coords["instrument_"] = coords["instrument"]
    with pm.Model(coords=coords) as stated:
        effects = _state_effects(design)
        for g, own, rows in zip(design.speaking, design.models, data, strict=True):
            name = design.names[g]
            row = f"row_{name}"
            if rows is not None:
                stated.add_coord(row, range(rows.n_rows))
            with pm.Model(name=name):
                own.add_to_pymc(rows, effects[int(g)], row)
    return stated


def _state_effects(design: SegmentedDesign) -> Any:
    """State the population, the earlier experiments and beta_t (G, K); return beta_t."""
    import pymc as pm

    population, dims = design.population, ("segment", "treatment")
    history = population.history
    bar = pm.Normal("beta_t_bar", history.loc, history.scale, dims="treatment")
    kind = SCALE_PRIORS[history.kind]
    sigma = kind.to_pymc("sigma_t_bar", history.sigma_scale, dims="treatment")
    mean = bar
    if population.feature_names:
        delta_dims = ("segment_covariate", "treatment")
        delta = pm.Normal("delta", 0.0, population.slope_scale, dims=delta_dims)
        mean = bar + population.features @ delta
    if history.n_experiments:
        w_j = pm.Normal("w_j", 0.0, 1.0, dims=("experiment", "treatment"))
        beta_j = pm.Deterministic("beta_j", bar + sigma * w_j, dims=("experiment", "treatment"))
        at = np.nonzero(~np.isnan(history.effects))
        pm.Normal("effects", beta_j[at], history.std_errors[at], observed=history.effects[at])
    w = pm.Normal("w", 0.0, 1.0, dims=dims)
    return pm.Deterministic("beta_t", mean + sigma * w, dims=dims)

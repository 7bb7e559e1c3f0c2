"""From intercepts at the regressors' means to raw ones."""

from __future__ import annotations

import numpy as np

from skbayesiv._columns import Columns
from skbayesiv._typing import Array, Values


def at_means(values: Values, mean: Array, columns: Columns) -> tuple[Array, Array]:
    """What the regressors' means add to the responses, by which raw intercepts are lower.

    Parameters
    ----------
    values : dict of ndarray of shape (..., N, ...)
        Draws of beta_t, gamma_y, beta_z, gamma_t and, where they are allowed, direct.
    mean : ndarray of shape (..., C)
        Means of the columns.
    columns : Columns

    Returns
    -------
    outcome : ndarray of shape (..., N)
    treatments : ndarray of shape (..., N, K)
    """
    on_x, on_z, on_t = (mean[..., at] for at in (columns.x, columns.z, columns.t))
    outcome = _sum(values["beta_t"], on_t) + _sum(values["gamma_y"], on_x)
    if "direct" in values:
        outcome = outcome + _sum(values["direct"], on_z)
    treatments = (
        np.einsum("...nck,...c->...nk", values[name], own)
        for name, own in (("beta_z", on_z), ("gamma_t", on_x))
    )
    return outcome, sum(treatments)


def _sum(draws: Array, mean: Array) -> Array:
    return np.einsum("...nc,...c->...n", draws, mean)

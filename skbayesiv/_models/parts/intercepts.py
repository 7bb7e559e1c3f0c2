"""From intercepts at the regressors' means to raw ones."""

from __future__ import annotations

from skbayesiv._columns import Columns
from skbayesiv._typing import Array, Values


def at_means(values: Values, mean: Array, columns: Columns) -> tuple[Array, Array]:
    """What the regressors' means add to the responses, by which raw intercepts are lower.

    Parameters
    ----------
    values : dict of ndarray of shape (N, ...)
        Draws of beta_t, gamma_y, beta_z, gamma_t and, where they are allowed, direct.
    mean : ndarray of shape (C,)
        Means of the columns.
    columns : Columns

    Returns
    -------
    outcome : ndarray of shape (N,)
    treatments : ndarray of shape (N, K)
    """
    c = columns
    outcome = values["beta_t"] @ mean[c.t] + values["gamma_y"] @ mean[c.x]
    if "direct" in values:
        outcome = outcome + values["direct"] @ mean[c.z]
    return outcome, mean[c.z] @ values["beta_z"] + mean[c.x] @ values["gamma_t"]

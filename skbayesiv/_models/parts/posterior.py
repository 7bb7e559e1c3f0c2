"""The one box for draws of everything."""

from __future__ import annotations

from dataclasses import dataclass

from skbayesiv._typing import Array


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of everything, flat over chains: each array has shape (chains * draws, ...).

    Attributes
    ----------
    values : dict of str to ndarray
        By the posterior's names.
    log_prior : dict of str to ndarray of shape (chains * draws,)
    log_likelihood : dict of str to ndarray of shape (chains * draws,)
    """

    values: dict[str, Array]
    log_prior: dict[str, Array]
    log_likelihood: dict[str, Array]

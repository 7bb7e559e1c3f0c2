"""The one box for draws of everything."""

from __future__ import annotations

from dataclasses import dataclass, field

from skbayesiv._typing import Values


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws in raw units, flat over chains: each array has shape (N, ...) for N draws.

    Attributes
    ----------
    values : dict of str to ndarray
        By the posterior's names.
    log_prior : dict of str to ndarray of shape (N,)
        Log prior density of each draw by parameter.
    log_density : dict of str to ndarray of shape (N,)
        Of all rows together, or the log quasi-likelihood `criterion`, and of the earlier
        experiments.
    centered : dict of str to ndarray
        The intercepts as their priors see them: at the regressors' means, or raw.
    exchangeable_probability : float or None
        Posterior probability that the effect belongs with the earlier ones; None without them.
    by_segment : frozenset of str
        Variables whose first dimension after the draws is that of segments.
    means : dict of ndarray of shape (G, ...)
        Means by segment of these, of those that were left out, of first-stage coefficients times
        the effects, with the suffix `_through`, and of the `strength` of the first stage, the
        standard deviation of a treatment that the instruments explain.
    """

    values: Values
    log_prior: Values
    log_density: Values
    centered: Values = field(default_factory=dict)
    exchangeable_probability: float | None = None
    by_segment: frozenset[str] = frozenset()
    means: Values = field(default_factory=dict)

"""Have the chains converged: a check that warns once and says what to change."""

from __future__ import annotations

import warnings

import numpy as np

from skbayesiv._results.chains import Chains
from skbayesiv._sampling.target import MAX_TREE_DEPTH, Draws
from skbayesiv._typing import Array
from skbayesiv.exceptions import OURS, ConvergenceWarning

MAX_RHAT = 1.01
MIN_ESS = 400
MAX_PARETO_K, MIN_ACCEPTANCE = 0.7, 0.3


def check_convergence(draws: Draws, effect: Array, *, tune: int, target_accept: float) -> None:
    """Warn once, saying what to change, when the chains cannot be relied on.

    Checked are the coordinates that were sampled, and the effect of the treatment; all other
    coefficients are independent draws given these. Where they were proposed independently, it is
    also checked whether the proposal covers the posterior.

    Parameters
    ----------
    draws : Draws
    effect : ndarray of shape (chains, draws, K)
    tune, target_accept
        What was used, for the advice.
    """
    values = np.concatenate([draws.position, effect], axis=-1)
    chains, n_draws = values.shape[:2]
    proposed = "pareto_k" in draws.stats
    found = _uncovered(draws.stats)
    each = Chains(np.moveaxis(values, -1, 0))
    bulk, tail = each.ess_bulk.min(), each.ess_tail.min()
    if chains > 1:
        largest = each.rhat.max()
        if not largest <= MAX_RHAT:
            more = "draws" if proposed else "tune and draws"
            found.append(f"R-hat is {largest:.3f} (above {MAX_RHAT}): raise {more}")
    if not min(bulk, tail) >= MIN_ESS:
        found.append(
            f"the effective sample size is {bulk:.0f} in the bulk and {tail:.0f} in the tails "
            f"(below {MIN_ESS}): raise draws (now {n_draws}) or chains (now {chains})"
        )
    divergences = int(draws.stats["diverging"].sum())
    if divergences:
        found.append(
            f"{divergences} transitions diverged: raise target_accept (now {target_accept}) or "
            "use a tighter prior"
        )
    saturated = int((draws.stats["n_steps"] >= 2**MAX_TREE_DEPTH - 1).sum())
    if saturated:
        found.append(
            f"{saturated} transitions reached the maximum tree depth: raise tune (now {tune})"
        )
    if found:
        message = "The sampler has not converged: " + "; ".join(found) + "."
        warnings.warn(message, ConvergenceWarning, skip_file_prefixes=OURS)


def not_covered(stats: dict[str, Array]) -> Array:
    """Whether a proposal of independent draws leaves out a part of the posterior, (...).

    Parameters
    ----------
    stats : dict of ndarray of shape (chains, draws, ...)
    """
    if "pareto_k" not in stats:
        return np.zeros(next(iter(stats.values())).shape[2:], dtype=bool)
    k, rate = stats["pareto_k"].max(axis=(0, 1)), stats["acceptance_rate"].mean(axis=(0, 1))
    return np.asarray(~((k <= MAX_PARETO_K) & (rate >= MIN_ACCEPTANCE)))


def _uncovered(stats: dict[str, Array]) -> list[str]:
    """The same in words, for one posterior."""
    if not not_covered(stats):
        return []
    return [
        f"the proposal does not cover the posterior (Pareto k {stats['pareto_k'].max():.2f}, at "
        f"most {MAX_PARETO_K} is good; acceptance rate {stats['acceptance_rate'].mean():.2f}, at "
        f'least {MIN_ACCEPTANCE} is good): use backend="numpyro"'
    ]

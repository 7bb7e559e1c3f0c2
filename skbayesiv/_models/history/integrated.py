"""What a history says of the mean effect, its spread and a new effect: the one way to ask."""

from __future__ import annotations

from collections.abc import Iterator

from skbayesiv._models.history.hyperparameters import integrate_likelihoods
from skbayesiv._models.history.leave_one_out import leave_each_summary_out
from skbayesiv._models.history.meta_analysis import Integrated, integrate_summaries
from skbayesiv._models.history.table import History


def integrate(history: History, treatment: int) -> Integrated:
    """Integrate one treatment's history over its effects."""
    if history.carried:
        return integrate_likelihoods(history).integrated
    return integrate_summaries(history, treatment)


def leave_each_out(history: History, treatment: int, n_left: int) -> Iterator[Integrated]:
    """Integrate one treatment's history without each of the first experiments."""
    if not history.carried:
        yield from leave_each_summary_out(history, treatment, n_left)
        return
    draws = integrate_likelihoods(history)
    for j in range(n_left):
        yield draws.without(j) or integrate(history.without(j), treatment)

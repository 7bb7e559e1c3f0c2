"""One warning names every defect of a run, and only these, and says what to change."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from experiments import POOR, simulated

from skbayesiv import BayesianIV
from skbayesiv._results.convergence import check_convergence
from skbayesiv._sampling.target import Draws
from skbayesiv.exceptions import ConvergenceWarning

PHRASES = {
    "rhat": r"R-hat is (\d+\.\d{3}|nan) \(above 1\.01\): raise tune and draws",
    "ess": r"the effective sample size is (\d+|nan) in the bulk and (\d+|nan) in the tails "
    r"\(below 400\): raise draws \(now \d+\) or chains \(now \d\)",
    "diverging": r"1 transitions diverged: raise target_accept \(now 0\.8\) or use a "
    "tighter prior",
    "depth": r"1 transitions reached the maximum tree depth: raise tune \(now 500\)",
}


class Run:
    """Independent standard normal draws of three coordinates and one effect, to be spoilt."""

    def __init__(self, n_draws=1000, chains=4):
        rng = np.random.default_rng(1)
        self.position = rng.normal(size=(chains, n_draws, 3))
        self.effect = rng.normal(size=(chains, n_draws, 1))
        self.diverging = np.zeros((chains, n_draws), dtype=bool)
        self.n_steps = np.full((chains, n_draws), 3)

    def shift_chain(self):
        self.position[2, :, 1] += 0.5

    def shift_effect(self):
        self.effect[2] += 0.5

    def diverge(self):
        self.diverging[1, 7] = True

    def saturate(self):
        self.n_steps[3, 5] = 1023

    def lose(self):
        self.effect[0, 3] = np.nan

    def slow_down(self):
        """Heavy autocorrelation within chains that agree."""
        self.position[..., 0] = np.sin(np.arange(self.position.shape[1]) * 2 * np.pi / 100)

    def messages(self):
        draws = Draws(self.position, {"diverging": self.diverging, "n_steps": self.n_steps})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_convergence(draws, self.effect, tune=500, target_accept=0.8)
        assert all(w.category is ConvergenceWarning for w in caught)
        return [str(w.message) for w in caught]


def assert_says(messages, *kinds):
    (message,) = messages
    expected = "; ".join(PHRASES[kind] for kind in kinds)
    assert re.fullmatch(rf"The sampler has not converged: {expected}\.", message), message


def test_good_draws_pass():
    assert Run().messages() == []
    assert Run(chains=1).messages() == []


@pytest.mark.parametrize(
    ("defect", "kinds"),
    [
        (Run.shift_chain, ["rhat", "ess"]),
        (Run.shift_effect, ["rhat", "ess"]),
        (Run.slow_down, ["ess"]),
        (Run.diverge, ["diverging"]),
        (Run.saturate, ["depth"]),
        (Run.lose, ["rhat", "ess"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_one_defect(defect, kinds):
    run = Run()
    defect(run)
    assert_says(run.messages(), *kinds)


def test_many_chains_that_differ_a_little():
    run = Run(chains=40)
    run.position += np.linspace(-0.4, 0.4, 40)[:, None, None]
    assert_says(run.messages(), "rhat")


def test_few_draws():
    assert_says(Run(95).messages(), "ess")
    assert_says(Run(95, chains=1).messages(), "ess")


def test_all_defects_in_one_warning():
    run = Run()
    for defect in (Run.shift_chain, Run.diverge, Run.saturate):
        defect(run)
    assert_says(run.messages(), "rhat", "ess", "diverging", "depth")


def test_fit_warns_once():
    _, t, y, z = simulated(300, seed=3)
    with pytest.warns(ConvergenceWarning, match=r"effective sample size.*raise draws") as caught:
        BayesianIV(**POOR).fit(None, t, y, z=z)
    assert len([w for w in caught if w.category is ConvergenceWarning]) == 1

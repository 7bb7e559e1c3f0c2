"""Independent proposals: that the chain is exact, and that it says when it is not to be trusted."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from experiments import simulated, unchecked
from scipy import stats

from skbayesiv import BayesianIV
from skbayesiv._results.convergence import check_convergence, not_covered
from skbayesiv._sampling import independence, nuts
from skbayesiv._sampling.proposal import at_mode, near_mode
from skbayesiv._sampling.stack import Stack
from skbayesiv._sampling.target import Settings, Target, side_by_side
from skbayesiv.exceptions import ConvergenceWarning

SETTINGS = Settings(draws=4000, tune=0, chains=4, target_accept=0.8, seed=1)
Numbers = namedtuple("Numbers", ["loc", "scale"])


def skewed(shape, u, arrays, xp):
    """Log of a gamma variable, and a normal one given it."""
    first = arrays.scale[..., 0] * u[0] - xp.exp(u[0])
    return first - 0.5 * (u[1] - arrays.loc[..., 0] - 0.5 * u[0]) ** 2


def problem(order, loc, stacks=True):
    arrays = Numbers(np.array([loc]), np.array([order]))
    return Target(skewed, "skewed", arrays, np.zeros(2), np.ones(2), stacks)


def funnel(shape, u, arrays, xp):
    """Neal's, in nine dimensions."""
    return -0.5 * (u[0] / 3.0) ** 2 - sum(0.5 * v**2 * xp.exp(-u[0]) + 0.5 * u[0] for v in u[1:])


def assert_exact(draws, order, loc):
    options = {"chain_axis": 0, "draw_axis": 1}
    first, second = np.moveaxis(draws.position, -1, 0)
    thinned = first[:, ::4].ravel()
    assert stats.kstest(thinned, lambda x: stats.gamma.cdf(np.exp(x), order)).pvalue > 1e-3
    standard = (second - loc - 0.5 * first)[:, ::4].ravel()
    assert stats.kstest(standard, "norm").pvalue > 1e-3
    assert array_stats.ess(first, **options) > 0.5 * first.size


def test_draws_are_exact():
    assert_exact(independence.sample(problem(3.0, 1.0), SETTINGS), 3.0, 1.0)


def test_many_at_once_are_exact_and_in_their_order():
    problems = [(1.5, 4.0), (40.0, -2.0), (5.0, 0.0)]
    targets = [problem(*own, stacks) for own in problems for stacks in (True, False)]
    found = independence.sample_many(targets, SETTINGS)
    for i, own in enumerate(problems):
        assert_exact(found[2 * i], *own)
        np.testing.assert_allclose(found[2 * i].position, found[2 * i + 1].position, rtol=1e-8)


def test_independent_parts_are_proposed_apart():
    parts = problem(3.0, 1.0), problem(40.0, -2.0)

    def product(shape, u, arrays, xp):
        raise AssertionError

    draws = independence.sample(side_by_side(product, *parts), SETTINGS)
    alone = [independence.sample(part, SETTINGS) for part in parts]
    assert np.array_equal(draws.position, np.concatenate([d.position for d in alone], axis=-1))
    assert np.array_equal(draws.stats["lp"], sum(d.stats["lp"] for d in alone))
    assert draws.stats["pareto_k"].max() == max(d.stats["pareto_k"].max() for d in alone)


def test_a_posterior_that_it_does_not_cover_is_said():
    target = Target(funnel, "funnel", Numbers(np.zeros(1), np.ones(1)), np.zeros(9), np.ones(9))
    draws = independence.sample(target, SETTINGS)
    assert not_covered(draws.stats)
    with pytest.warns(ConvergenceWarning, match='Pareto k.*use backend="numpyro"') as caught:
        check_convergence(draws, draws.position[..., :1], tune=0, target_accept=0.8)
    assert len(caught) == 1


def test_without_any_density_it_is_said():
    def nowhere(shape, u, arrays, xp):
        return u[0] * np.nan

    target = Target(nowhere, "nowhere", Numbers(np.zeros(1), np.ones(1)), np.zeros(2), np.ones(2))
    draws = independence.sample(target, SETTINGS)
    assert not_covered(draws.stats)


@unchecked
def test_a_fit_that_is_not_covered_warns_once(monkeypatch):
    _, t, y, z = simulated(300, seed=3)
    monkeypatch.setattr(independence, "pareto_k", lambda ratio: np.full(len(ratio), 0.9))
    with pytest.warns(ConvergenceWarning, match='Pareto k 0.90.*use backend="numpyro"') as caught:
        BayesianIV(backend="independence", random_state=0).fit(None, t, y, z=z)
    assert len(caught) == 1


def test_the_mode_is_found_from_afar():
    centre = np.array([5.0, -40.0])
    half = np.array([[1.0, 0.0], [3.0, 0.5]])

    def elliptical(x):
        return stats.multivariate_t(centre, half @ half.T, df=30).logpdf(x[0])[None]

    mixture = at_mode(elliptical, np.zeros((1, 2)), np.array([[1.0, 4.0]]))
    assert np.allclose(mixture.centre[0, 0], centre, atol=0.3)
    assert np.allclose(mixture.scatter[0, 0], half @ half.T, rtol=0.3)


@unchecked
@pytest.mark.parametrize("likelihood", ["normal", "gmm"])
def test_nuts_starts_at_the_mode(likelihood):
    _, t, y, z = simulated(300, seed=3)
    model = BayesianIV(likelihood=likelihood, random_state=0).fit(None, t, y, z=z)._model
    at, sd = near_mode(model.target())
    density = Stack.of([model.target()]).log_density
    around = at + 0.3 * sd * np.concatenate([np.eye(len(at)), -np.eye(len(at))])
    assert (density(around[None]) < density(at[None, None])).all()
    draws = nuts.sample(model.target(), Settings(500, 200, 2, 0.8, 0)).flat
    assert (np.abs(draws.mean(axis=0) - at) < draws.std(axis=0)).all()
    assert np.allclose(draws.std(axis=0), sd, rtol=0.4)


def test_few_and_many_chains_take_the_same_paths(monkeypatch):
    rng = np.random.default_rng(0)
    ratio = rng.normal(size=(40, 300))
    bound = ratio + rng.exponential(size=ratio.shape)
    many = independence._paths(ratio, bound)
    monkeypatch.setattr(independence, "FEW_CHAINS", 40)
    assert np.array_equal(many, independence._paths(ratio, bound))
    at = many[3, 17:19]
    expected = 18 if bound[3, 18] > ratio[3, at[0]] else at[0]
    assert at[1] == expected


def test_weights_of_points_without_density():
    """A start that is impossible is left at the first chance."""
    ratio = np.array([-np.inf, -np.inf, 0.0, -np.inf])
    ratio = np.maximum(ratio, independence.IMPOSSIBLE)
    assert independence._path(ratio, ratio + 1e-3)[-1] == 2

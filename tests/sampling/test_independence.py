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


def test_proposals_are_chosen_by_their_weights(monkeypatch):
    """The first state by its share of the early weights, draws by their shares of what is left."""
    monkeypatch.setattr(independence, "WARM_UP", 3)
    early, late = np.array([0.2, 0.0, 1.8]), np.array([1.0, 0.0, 7.0, 0.5, 3.0])
    grid = (np.arange(300) + 0.5) / 300
    u, v = (axis.ravel() for axis in np.meshgrid(grid, grid))
    weight = np.broadcast_to(np.concatenate([early, late]), (1, u.size, 8))
    draws = 4
    at = independence._chosen(weight, u, v, draws)
    assert at.shape == (1, u.size, draws)
    assert (np.diff(at, axis=-1) >= 0).all()
    expected = np.zeros(8)
    for first, chance in enumerate(early / early.sum()):
        share = np.concatenate([np.where(np.arange(3) == first, early, 0.0), late])
        expected += chance * draws * share / share.sum()
    found = np.bincount(at.ravel(), minlength=8) / u.size
    np.testing.assert_allclose(found, expected, atol=2 / 300)
    assert found[1] == found[4] == 0.0
    # As often as the share of the weights says, up to one.
    often = np.apply_along_axis(np.bincount, -1, at[0], minlength=8)[:, 5]
    assert set(often) <= {2, 3}


def test_a_chain_with_all_the_weight_takes_none_from_another():
    n = independence.WARM_UP + 2 * SETTINGS.draws
    ratio = np.zeros((1, 4 * n))
    ratio[0, 100] = 1e5
    x = np.arange(4.0 * n).reshape(1, -1, 1)
    (draws,) = independence._chains(x, ratio, ratio, np.array([0.1]), SETTINGS)
    assert (draws.position[0] == 100.0).all()
    assert len(np.unique(draws.position[1])) == SETTINGS.draws


def test_where_nothing_is_possible_draws_are_still_chosen():
    ratio = np.full((1, 2, independence.WARM_UP + 20), independence.IMPOSSIBLE)
    weight = np.exp(ratio - ratio.max(axis=-1, keepdims=True))
    at = independence._chosen(weight, np.array([0.0, 0.999]), np.array([0.0, 0.999]), 10)
    assert at.shape == (1, 2, 10)
    assert (np.diff(at, axis=-1) >= 0).all()

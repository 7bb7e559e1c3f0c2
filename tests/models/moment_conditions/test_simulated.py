"""Medians, widths and coverage over simulated samples, by quadrature of the sampler's density."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from criterion import make_rows
from criterion_fits import model_of

from skbayesiv._models.moment_conditions.density import log_criterion

TRUTH = 1.0
LEVELS = (0.025, 0.5, 0.975)


def sampled_density(model, u):
    """What is sampled, at standardised effects of shape (N,)."""
    arrays = model.design.arrays
    prior = [arrays.loc[0]], [arrays.precision[0]]
    return model.given_prior(model.design.shape, [u], arrays, *prior, np)


def exponential(model, u):
    """The prior times exp(-Q / 2) with the same Q."""
    shape, arrays = model.design.shape, model.design.arrays
    likelihood = log_criterion(shape, [u], arrays, np)
    m, q = arrays.units, shape.n_instruments
    square = -m * np.expm1(2.0 * likelihood / (m - q))
    return sampled_density(model, u) - likelihood - square / 2.0


def quantiles(model, density=sampled_density, points=801):
    """2.5%, 50% and 97.5% of the effect, on a grid narrowed down to where the density is."""
    arrays = model.design.arrays
    reach = 9.0 / np.sqrt(arrays.precision[0])
    grid = np.linspace(arrays.loc[0] - reach, arrays.loc[0] + reach, 4 * points)
    for _ in range(3):
        value = density(model, grid)
        weight = np.exp(value - value.max())
        inside = np.flatnonzero(weight > 1e-9)
        last = grid, (np.cumsum(weight) - 0.5 * weight) / weight.sum()
        first, end = max(inside[0] - 1, 0), min(inside[-1] + 1, len(grid) - 1)
        grid = np.linspace(grid[first], grid[end], points)
    return np.interp(LEVELS, last[1], last[0]) * model.design.unit[0]


def rows(y, t, z):
    data = make_rows(1, z.shape[1], 0, n=2)
    return replace(data, x=np.empty((len(y), 0)), z=z, t=t[:, None], y=y)


def with_direct_effects(rng, n, q, first_stage_f, scale):
    """Direct effects N(0, scale^2) of q instruments; errors correlated by one half."""
    z, v = rng.normal(size=(n, q)), rng.normal(size=n)
    t = z @ np.full(q, np.sqrt(first_stage_f / n)) + v
    e = 0.5 * v + np.sqrt(0.75) * rng.normal(size=n)
    return rows(TRUTH * t + z @ rng.normal(0.0, scale, q) + e, t, z)


@pytest.mark.parametrize(("n", "q", "first_stage_f"), [(2000, 10, 81.0), (1000, 5, 12.0)])
def test_direct_effects_do_not_draw_the_effect_away(n, q, first_stage_f):
    """With the determinants of a normal density of g the median was 0 and -1, coverage 0.6."""
    found = []
    for seed in range(100):
        data = with_direct_effects(np.random.default_rng(seed), n, q, first_stage_f, 0.3)
        found.append(quantiles(model_of(data, exclusion_scale=0.3)))
    lower, median, upper = np.array(found).T
    assert abs(np.median(median) - TRUTH) < 0.2
    assert np.mean((lower < TRUTH) & (upper > TRUTH)) >= 0.9


def assigned_by_cluster(rng, groups, size, assigned):
    """Assignment by cluster; 20% of both errors' variance is between clusters."""
    cluster = np.repeat(np.arange(groups), size)
    z = rng.permutation(np.arange(groups) < assigned).astype(float)[cluster]

    def error():
        between = rng.normal(size=groups)[cluster]
        return np.sqrt(0.2) * between + np.sqrt(0.8) * rng.normal(size=groups * size)

    v = error()
    t = 1.5 * z + v
    return rows(TRUTH * t + 0.5 * v + np.sqrt(0.75) * error(), t, z[:, None]), cluster


@pytest.mark.parametrize(
    ("groups", "size", "assigned", "width", "exponential_width"),
    [(10, 50, 5, 2.2, 9.8), (30, 30, 15, 0.52, 0.57)],
)
def test_few_clusters(groups, size, assigned, width, exponential_width):
    """Q is at most their number: exp(-Q / 2) leaves mass in the prior's tails, the ratio little."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        data, clusters = assigned_by_cluster(rng, groups, size, assigned)
        model = model_of(data, clusters)
        assert model.design.arrays.units == groups
        found.append([quantiles(model), quantiles(model, exponential)])
    lower, _, upper = np.moveaxis(found, -1, 0)
    assert np.allclose(np.median(upper - lower, axis=0), [width, exponential_width], rtol=0.15)
    assert np.mean((lower < TRUTH) & (upper > TRUTH), axis=0).min() >= 0.9

"""Draws of the coordinates -> draws of everything of all segments, in the data's units.

A segment that identifies no effect of its own gets a draw from the population. All else of it is
the average over the other segments, by their rows, but for the intercepts, which meet its means.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import batched
from typing import Any

import numpy as np

from skbayesiv._data.standardised import standardise
from skbayesiv._models.history.draws import MAX_BETA_J, draw_beta_j, log_past
from skbayesiv._models.parts.intercepts import at_means
from skbayesiv._models.parts.model import StackedModel
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.segments.density import coordinates, effect_priors, hyper
from skbayesiv._models.segments.design import SegmentedDesign
from skbayesiv._typing import Array, Values

AT_ONCE = 1 << 14  # draws of segments
SHARED = frozenset({"beta_t_bar", "sigma_t_bar", "delta", "beta_j", "effect"})
THROUGH = ("intercept_t", "beta_z", "gamma_t")


def draw_posterior(
    design: SegmentedDesign,
    position: Array,
    generator: np.random.Generator,
    *,
    densities: bool = True,
) -> Posterior:
    """Draw everything of all segments given coordinates of shape (N, dim)."""
    shared, u, loc, precision = _split(design, position)
    found = Gathered(design, len(position))
    parts = _posteriors(design, u, loc, precision, generator, densities=densities)
    log_prior: Values = {}
    log_density: Values = {}
    for g, own in zip(design.speaking, parts, strict=True):
        found.put(int(g), own.values)
        for totals, terms in ((log_prior, own.log_prior), (log_density, own.log_density)):
            for name, value in terms.items():
                totals[name] = totals.get(name, 0.0) + value
    noise = generator.standard_normal((len(position), len(design.names), len(loc[0, 0])))
    prior = design.population.mean(shared) + shared["sigma_t_bar"][:, None] * noise
    found.fill(prior)
    values, beta_t = found.values, found.values["beta_t"]
    if design.population.history.n_experiments:
        history = design.population.history
        bar, sigma = shared["beta_t_bar"], shared["sigma_t_bar"]
        if history.effects.size * len(bar) <= MAX_BETA_J:
            shared["beta_j"] = draw_beta_j(history, bar, sigma, generator)
        log_density["history"] = log_past(history, shared)
    shared["effect"] = found.average_effect()
    return Posterior(
        values | shared,
        log_prior | design.population.log_prior(shared, beta_t) if densities else {},
        log_density if densities else {},
        by_segment=frozenset(values),
        means=found.means,
    )


def _split(design: SegmentedDesign, position: Array) -> tuple[Values, Array, Array, Array]:
    """Hyper-parameters by name, then of each speaking segment its coordinates and prior.

    Returns
    -------
    shared : dict of ndarray of shape (N, ...)
        In the data's units.
    u : ndarray of shape (G, N, d)
    loc, precision : ndarray of shape (G, N, K)
        Of the effects, in standardised units.
    """
    shape, arrays = design.problem
    v, unit, g = position.T, design.first.effect_unit, len(design.models)
    given, _ = hyper(shape, v, arrays, np)
    prior = effect_priors(given, arrays.population.features, np)
    u, _, _ = coordinates(shape, v, arrays, *prior, np)
    shared = {
        "beta_t_bar": unit * np.stack(given.bar, axis=-1),
        "sigma_t_bar": unit * np.exp(np.stack(given.log_sigma, axis=-1)),
    }
    if given.slopes:
        slopes = np.stack([np.stack(row, axis=-1) for row in given.slopes], axis=1)
        shared["delta"] = unit * slopes
    loc, precision = (np.stack(part, axis=-1)[:g] for part in prior)
    return shared, np.stack(u, axis=-1)[:g], loc, precision


def _posteriors(
    design: SegmentedDesign,
    u: Array,
    loc: Array,
    precision: Array,
    generator: np.random.Generator,
    *,
    densities: bool,
) -> Iterator[Posterior]:
    """Draws of the speaking segments, one after the other, independent given the population."""
    models, first = design.models, design.first
    if not isinstance(first, StackedModel):
        for own, at, *prior in zip(models, u, loc, precision, strict=True):
            yield own.posterior(at, generator, (prior[0], prior[1]), densities=densities)
        return
    size = max(1, AT_ONCE // u.shape[1])
    for some in batched(range(len(models)), size):
        at = slice(some[0], some[-1] + 1)
        yield from first.posteriors(
            models[at],
            u[at],
            generator,
            (loc[at], precision[at]),
            densities=densities,
            apart=True,
        )


class Gathered:
    """N draws of G segments, written where they belong as they come.

    Variables of more than 2e7 numbers are left out, but for the effects: of these there are means.
    """

    def __init__(self, design: SegmentedDesign, n_draws: int) -> None:
        self.design = design
        self.n_draws = n_draws
        self.values: Values = {}
        self.means: Values = {}
        self._strength = np.zeros((n_draws, len(design.names), design.population.n_treatments))
        self._average: Values = {}
        weight = np.array([own.weight for own in design.moments])
        self._weight = weight
        self._share = weight / weight[design.speaking].sum()
        whole = standardise(design.total)
        sd, z = whole.sd[whole.columns.z], whole.columns.z
        self._spread_z = whole.corr[z, z] * np.outer(sd, sd)

    def put(self, g: int, values: Values) -> None:
        """Write a segment's draws, each of shape (N, ...), and add them to the average."""
        self._write(g, values)
        for name, value in values.items():
            part = self._share[g] * value
            self._average[name] = self._average[name] + part if name in self._average else part

    def fill(self, effects: Array) -> None:
        """Write the segments that were not put; `effects` (N, G, K) are draws of the population."""
        silent = np.setdiff1d(np.arange(len(self.design.names)), self.design.speaking)
        for g in silent.tolist():
            moments = self.design.moments[g]
            values = self._average | {"beta_t": effects[:, g]}
            if (moments.spread[moments.columns.t] == 0.0).all():
                values["beta_z"] = np.zeros_like(values["beta_z"])
            if "intercept_y" in values:
                of_y, of_t = at_means(values, moments.mean, moments.columns)
                values["intercept_y"] = moments.mean[moments.columns.y] - of_y
                values["intercept_t"] = moments.mean[moments.columns.t] - of_t
            self._write(g, values)

    def average_effect(self) -> Array:
        """Average effect over the compliers (N, K): segments by rows times first stage."""
        weight = self._weight[:, None] * self._strength
        return np.asarray((weight * self.values["beta_t"]).sum(axis=1) / weight.sum(axis=1))

    def _write(self, g: int, values: Values) -> None:
        beta_z = values["beta_z"]
        strength = np.einsum("nqk,qr,nrk->nk", beta_z, self._spread_z, beta_z)
        self._strength[:, g] = np.sqrt(strength)
        more = {
            f"{name}_through": np.einsum("n...k,nk->n...", values[name], values["beta_t"])
            for name in THROUGH
            if name in values
        }
        more["strength"] = self._strength[:, g]
        for name, value in (values | more).items():
            mean = value.mean(axis=0)
            room = self.means.setdefault(name, np.empty((len(self.design.names), *mean.shape)))
            room[g] = mean
        for name, value in values.items():
            if name == "beta_t" or value.size * len(self.design.names) <= MAX_BETA_J:
                shape = (self.n_draws, len(self.design.names), *value.shape[1:])
                self.values.setdefault(name, np.empty(shape))[:, g] = value


def draw_prior(design: SegmentedDesign, n_draws: int, generator: np.random.Generator) -> Values:
    """Draw the population from its prior, then each segment's parameters."""
    values: Values = design.population.draw(n_draws, generator)
    loc = design.population.mean(values)
    effects = loc + values["sigma_t_bar"][:, None] * generator.standard_normal(loc.shape)
    found: dict[str, list[Any]] = {}
    for g in range(len(design.names)):
        own = design.models[min(g, len(design.models) - 1)]
        for name, value in own.prior_draws(n_draws, generator, effects[:, g]).items():
            found.setdefault(name, []).append(value)
    return values | {name: np.stack(parts, axis=1) for name, parts in found.items()}

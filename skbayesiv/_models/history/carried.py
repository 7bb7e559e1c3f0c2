"""A model with a history that carries likelihoods: its target, and exact draws of all else."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbayesiv._data.rows import IVData
from skbayesiv._models.history.draws import MAX_BETA_J, draw_beta_j, log_priors
from skbayesiv._models.history.evidence import probability_of_first
from skbayesiv._models.history.hyperparameters import Hyper, HyperDraws, integrate_likelihoods
from skbayesiv._models.history.model import HistoryModel
from skbayesiv._models.history.predicted import (
    PredictedArrays,
    PredictedShape,
    log_components,
    log_vague,
    predicted_arrays,
    predicted_shape,
    predicted_target,
)
from skbayesiv._models.history.pymc_model import state_carried
from skbayesiv._models.history.table import History
from skbayesiv._models.parts.model import EffectModel
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.priors import PriorRow, log_normal_density
from skbayesiv._models.parts.scales import HALF_CAUCHY
from skbayesiv._sampling.target import Target
from skbayesiv._typing import Array, Values

DRAWS_AT_ONCE, AT_ONCE = 256, 1024


def with_history(model: EffectModel, history: History, robust_weight: float) -> HistoryModel:
    """Wrap a model in what a history says of its effects."""
    kind = CarriedModel if history.carried else HistoryModel
    return kind(model, history, robust_weight)


class CarriedModel(HistoryModel):
    """A history of one treatment some of whose experiments are no normal summaries."""

    @property
    def _problem(self) -> tuple[PredictedShape, PredictedArrays]:
        shape = predicted_shape(self.model, self.robust_weight)
        return shape, predicted_arrays(self.model, self._draws.prediction)

    def target(self) -> Target:
        """Posterior of the current coordinates under the history's prediction."""
        return predicted_target(self.model.target(), *self._problem)

    def posterior(
        self, position: Array, generator: np.random.Generator, *, densities: bool = True
    ) -> Posterior:
        """Exact draws of the current parameters, then of the hierarchy given the effect."""
        shape, arrays = self._problem
        component, near, probability = choose(
            shape, arrays, self.robust_weight, position, generator
        )
        dim = shape.current.dim
        u = (
            position[:, :dim]
            if not shape.vague
            else np.where(near[:, None], position[:, :dim], position[:, dim:])
        )
        (at,) = shape.current.effect_positions
        loc = np.where(near, arrays.loc[component], arrays.current.loc[at])
        precision = np.where(near, arrays.precision[component], arrays.current.precision[at])
        alone = self.model.posterior(u, generator, (loc[:, None], precision[:, None]))
        hyper, bar = draw_hyper(self._draws, alone.values["beta_t"][:, 0], near, generator)
        values = self._named(hyper, bar)
        if self.history.effects.size * len(bar) <= MAX_BETA_J:
            values["beta_j"] = draw_effects(self._draws, hyper, bar, generator)
        log_prior = self._log_prior(values, hyper, alone)
        past = {"history": self._log_past(values, hyper)}
        if shape.vague:
            values["exchangeable"] = near.astype(float)
        return replace(
            alone,
            values=alone.values | values,
            log_prior=alone.log_prior | log_prior,
            log_density=alone.log_density | past,
            exchangeable_probability=probability,
        )

    def _named(self, hyper: Hyper, bar: Array) -> Values:
        """Hyper-parameters by the posterior's names."""
        values = {
            "beta_t_bar": bar[:, None],
            "sigma_t_bar": hyper.sigma[:, None],
            "history_beta_z_sd": np.exp(hyper.log_tau),
        }
        return values | ({"history_corr": hyper.r} if self._draws.posterior.correlated else {})

    def _log_prior(self, values: Values, hyper: Hyper, alone: Posterior) -> Values:
        """Log prior densities of what the hierarchy adds."""
        vague = alone.log_prior["beta_t"]
        out = log_priors(self.history, self.robust_weight, values, alone.values["beta_t"], vague)
        out["history_beta_z_sd"] = np.asarray(HALF_CAUCHY.log_pdf(hyper.log_tau, 1.0, np))
        if "beta_j" in values:
            beta_j, at = values["beta_j"][:, :, 0], list(self.history.carried)
            bar = values["beta_t_bar"]
            centre, sd = (v + 0.0 * beta_j for v in (bar, hyper.sigma[:, None]))
            centre[:, at], sd[:, at] = self._draws.posterior.population(hyper)
            out["beta_j"] = log_normal_density(beta_j, centre, sd, np).sum(axis=1)
        return out

    def _log_past(self, values: Values, hyper: Hyper) -> Array:
        """log p(history | beta_j), or given the hyper-parameters without beta_j."""
        posterior = self._draws.posterior
        if "beta_j" not in values:
            return posterior.log_past(hyper)
        h, beta_j, at = self.history, values["beta_j"][:, :, 0], list(self.history.carried)
        rest = np.setdiff1d(np.arange(h.n_experiments), at)
        b, s = h.effects[rest, 0], h.std_errors[rest, 0]
        known = np.nansum(log_normal_density(b, beta_j[:, rest], s, np), axis=1)
        return np.asarray(known + posterior.log_given(beta_j[:, at], hyper.log_tau))

    @property
    def _draws(self) -> HyperDraws:
        return integrate_likelihoods(self.history)

    def prior_draws(self, n_draws: int, generator: np.random.Generator) -> Values:
        """Draws from the priors; the earlier experiments are given."""
        draws = self._draws
        at = generator.choice(len(draws.weight), n_draws, p=draws.weight)
        hyper = Hyper(*(value[at] for value in draws.hyper))
        noise = generator.standard_normal((2, n_draws))
        bar = draws.mean[at] + np.sqrt(draws.variance[at]) * noise[0]
        values = self._named(hyper, bar) | {"beta_t": (bar + hyper.sigma * noise[1])[:, None]}
        if self.robust_weight:
            near = generator.uniform(size=n_draws) >= self.robust_weight
            far = self.model.effect_prior.draw(n_draws, generator)
            values["beta_t"] = np.where(near[:, None], values["beta_t"], far)
            values["exchangeable"] = near.astype(float)
        return self.model.prior_draws(n_draws, generator, values["beta_t"]) | values

    def prior_table(self) -> dict[str, PriorRow]:
        """Priors by parameter: the hierarchy first."""
        table = {"history_beta_z_sd": PriorRow(HALF_CAUCHY.label, 0.0, 1.0)}
        if self._draws.posterior.correlated:
            table["history_corr"] = PriorRow("LKJ(0.5)", np.nan, np.nan)
        return table | super().prior_table()

    def to_pymc(self, data: IVData | None) -> Any:
        """State the model, with the earlier experiments."""
        posterior, vague = self._draws.posterior, self.model.effect_prior
        state = partial(state_carried, posterior, vague, self.robust_weight)
        return self.model.to_pymc(data, state)


def choose(
    shape: PredictedShape,
    arrays: PredictedArrays,
    robust_weight: float,
    position: Array,
    generator: np.random.Generator,
) -> tuple[NDArray[np.intp], NDArray[np.bool_], float]:
    """Component of the prediction that each draw is of, whether it is of any, and P(it is)."""
    current = position[:, : shape.current.dim]

    def each(u: Array) -> Array:
        parts = np.array_split(u, 1 + len(u) // AT_ONCE)
        return np.concatenate([log_components(shape, part.T, arrays) for part in parts], axis=1)

    component = _pick(each(current), generator)
    if not shape.vague:
        return component, np.ones(len(position), dtype=bool), 1.0

    def near(u: Array) -> Array:
        return np.asarray(np.logaddexp.reduce(each(u), axis=0))

    def vague(u: Array) -> Array:
        return np.concatenate([log_vague(shape, part.T, arrays, np) for part in _parts(u)])

    log_odds = np.log1p(-robust_weight) - np.log(robust_weight)
    far = vague, position[:, shape.current.dim :]
    probability = probability_of_first(log_odds, (near, current), far, generator)
    return component, generator.uniform(size=len(position)) < probability, probability


def draw_hyper(
    draws: HyperDraws, beta_t: Array, near: NDArray[np.bool_], generator: np.random.Generator
) -> tuple[Hyper, Array]:
    """Hyper-parameters and beta_bar (N,) given each effect, or the history alone if not near."""
    mean, sd = draws.mean[:, None], np.sqrt(draws.variance + draws.hyper.sigma**2)[:, None]
    with np.errstate(divide="ignore"):
        weight = np.log(draws.weight)[:, None]
    parts = zip(_parts(beta_t), _parts(near.astype(float)), strict=True)
    at = np.concatenate(
        [
            _pick(weight + keep * log_normal_density(part, mean, sd, np), generator)
            for part, keep in parts
        ]
    )
    hyper = Hyper(*(value[at] for value in draws.hyper))
    link = np.where(near, hyper.sigma**-2.0, 0.0)
    precision = 1.0 / draws.variance[at] + link
    bar = (draws.mean[at] / draws.variance[at] + link * beta_t) / precision
    return hyper, bar + generator.standard_normal(len(bar)) / np.sqrt(precision)


def draw_effects(
    draws: HyperDraws, hyper: Hyper, bar: Array, generator: np.random.Generator
) -> Array:
    """Effects (N, J, 1) of the earlier experiments given the hyper-parameters."""
    history = draws.posterior.history
    beta_j = draw_beta_j(history, bar[:, None], hyper.sigma[:, None], generator)
    parts = zip(*(_parts(value) for value in hyper), strict=True)
    beta_j[:, list(history.carried), 0] = np.concatenate(
        [_between(*draws.posterior.effect_nodes(Hyper(*part)), generator) for part in parts]
    )
    return beta_j


def _between(node: Array, log_weight: Array, generator: np.random.Generator) -> Array:
    """Draw from a density on nodes (NODES, N, J), linear between their cumulative weights."""
    weight = np.exp(log_weight - log_weight.max(axis=0))
    mass = np.cumsum(weight, axis=0) - 0.5 * weight
    asked = generator.uniform(size=node.shape[1:]) * weight.sum(axis=0)
    above = np.clip((mass < asked).sum(axis=0), 1, len(node) - 1)[None]
    low, high = (np.take_along_axis(mass, above - i, axis=0)[0] for i in (1, 0))
    left, right = (np.take_along_axis(node, above - i, axis=0)[0] for i in (1, 0))
    share = np.clip((asked - low) / np.maximum(high - low, 1e-300), 0.0, 1.0)
    return np.asarray(left + share * (right - left))


def _pick(log_weight: Array, generator: np.random.Generator) -> NDArray[np.intp]:
    """Draw a row of each column by its weight."""
    mass = np.cumsum(np.exp(log_weight - log_weight.max(axis=0)), axis=0)
    return np.asarray((mass < generator.uniform(size=mass.shape[1]) * mass[-1]).sum(axis=0))


def _parts(values: Array) -> list[Array]:
    return np.array_split(values, 1 + len(values) // DRAWS_AT_ONCE)

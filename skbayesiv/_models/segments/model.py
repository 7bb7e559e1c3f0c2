"""Segments of the rows whose effects share a population: a Model of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbayesiv._data.rows import IVData
from skbayesiv._models.parts.model import TwoStage
from skbayesiv._models.parts.names import Coords
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.priors import Normal, PriorRow
from skbayesiv._models.segments.density import log_density
from skbayesiv._models.segments.design import SegmentedDesign
from skbayesiv._models.segments.draws import draw_posterior, draw_prior
from skbayesiv._models.segments.pymc_model import state_segments
from skbayesiv._sampling.target import Draws, Settings, Target
from skbayesiv._typing import Array, Values


@dataclass(frozen=True, eq=False)
class SegmentedModel:
    """Segments and the population of their effects; see :class:`SegmentedDesign`."""

    design: SegmentedDesign

    @property
    def coords(self) -> Coords:
        """Names along the posterior's dimensions, the segments' among them."""
        return self.design.coords

    @property
    def effect_prior(self) -> Normal:
        """Prior of an effect that is not exchangeable with the others; no segment's is."""
        return self.design.first.effect_prior

    @property
    def has_density(self) -> bool:
        """As the models of the segments."""
        return self.design.first.has_density

    @property
    def robust(self) -> bool:
        """As the models of the segments."""
        return self.design.first.robust

    @property
    def many_instruments(self) -> bool:
        """As the models of the segments."""
        return self.design.first.many_instruments

    @property
    def clustered(self) -> bool:
        """As the models of the segments."""
        return self.design.first.clustered

    @property
    def prior_parameters(self) -> dict[str, str]:
        """Parameters that decide each component of the prior."""
        effect = {"beta_t": "beta_t_bar_scale and sigma_t_bar_scale"}
        return self.design.first.prior_parameters | effect

    def target(self) -> Target:
        """Posterior of the coordinates of all segments and of their population."""
        shape, arrays = self.design.problem
        start, spread = np.zeros(shape.dim), np.ones(shape.dim)
        return Target(log_density, shape, arrays, start, spread, placed=True)

    def posterior(
        self, position: Array, generator: np.random.Generator, *, densities: bool = True
    ) -> Posterior:
        """Exact draws of everything of all segments, given coordinates of shape (N, dim)."""
        return draw_posterior(self.design, position, generator, densities=densities)

    def prior_draws(self, n_draws: int, generator: np.random.Generator) -> Values:
        """Draws of the parameters from their priors; the earlier experiments are given."""
        return draw_prior(self.design, n_draws, generator)

    def prior_table(self) -> dict[str, PriorRow]:
        """Priors by parameter: the population first; all segments have the same."""
        rest = self.design.first.prior_table()
        rest = {name: row for name, row in rest.items() if not name.startswith("beta_t[")}
        return self.design.population.prior_table() | rest

    def two_stage(self) -> TwoStage:
        """2SLS of each segment's effects, (G, K); not a number where it has none of its own."""
        shape = len(self.design.names), self.design.population.n_treatments
        effects, std_errors = np.full(shape, np.nan), np.full(shape, np.nan)
        for g, model in zip(self.design.speaking, self.design.models, strict=True):
            effects[g], std_errors[g] = model.two_stage()
        return TwoStage(effects, std_errors)

    def to_pymc(self, data: IVData | None) -> Any:
        """State the model of the rows of all segments."""
        if data is None:
            return state_segments(self.design, [None] * len(self.design.models))
        parts = {str(label): rows for label, rows in data.by_segment.items()}
        names = [self.design.names[g] for g in self.design.speaking]
        return state_segments(self.design, [parts[name] for name in names])

    def sample_pymc(self, data: Any, settings: Settings) -> tuple[Draws, Posterior]:
        """Refuse: PyMC's draws would not be those of the posterior's names."""
        raise ValueError(
            'backend must be "numpyro" with segments; to use PyMC, sample the model that '
            "to_pymc() returns with pm.sample."
        )

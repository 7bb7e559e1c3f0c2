"""A model with a history: it wraps another and owns both its target and its posterior."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from skbayesiv._data.rows import IVData
from skbayesiv._models.history.density import (
    hierarchical_arrays,
    hierarchical_shape,
    hierarchical_target,
)
from skbayesiv._models.history.draws import draw_posterior, draw_prior
from skbayesiv._models.history.pymc_model import state_history
from skbayesiv._models.history.table import History
from skbayesiv._models.parts.model import EffectModel, TwoStage
from skbayesiv._models.parts.names import Coords
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.priors import Normal, PriorRow
from skbayesiv._sampling.target import Draws, Settings, Target
from skbayesiv._typing import Array, Values


@dataclass(frozen=True, eq=False)
class HistoryModel:
    """A model whose effects' prior is learnt from earlier experiments.

    Attributes
    ----------
    model : EffectModel
        Of the current experiment alone, under the vague prior of the effects.
    history : History
    robust_weight : float
        Prior probability that the effect comes from the vague prior.
    """

    model: EffectModel
    history: History
    robust_weight: float

    @property
    def coords(self) -> Coords:
        """Names along the posterior's dimensions, the experiments' among them."""
        return self.model.coords | {"experiment": list(self.history.names)}

    @property
    def effect_prior(self) -> Normal:
        """Vague prior of the effects."""
        return self.model.effect_prior

    @property
    def has_density(self) -> bool:
        """As the model of the current experiment."""
        return self.model.has_density

    @property
    def robust(self) -> bool:
        """As the model of the current experiment."""
        return self.model.robust

    @property
    def many_instruments(self) -> bool:
        """As the model of the current experiment."""
        return self.model.many_instruments

    @property
    def clustered(self) -> bool:
        """As the model of the current experiment."""
        return self.model.clustered

    @property
    def prior_parameters(self) -> dict[str, str]:
        """Parameters that decide each component of the prior."""
        effect = {"beta_t": "beta_t_bar_scale and sigma_t_bar_scale"}
        return self.model.prior_parameters | effect

    def target(self) -> Target:
        """Posterior of the current coordinates and the effects' spread."""
        shape = hierarchical_shape(self.model, self.history, self.robust_weight)
        arrays = hierarchical_arrays(self.model, self.history)
        return hierarchical_target(self.model.target(), shape, arrays)

    def posterior(
        self, position: Array, generator: np.random.Generator, *, densities: bool = True
    ) -> Posterior:
        """Exact draws of the current parameters and of the hierarchy."""
        return draw_posterior(self.model, self.history, self.robust_weight, position, generator)

    def prior_draws(self, n_draws: int, generator: np.random.Generator) -> Values:
        """Draws from the priors; the earlier experiments are given."""
        vague = self.model.effect_prior
        hyper = draw_prior(self.history, self.robust_weight, vague, n_draws, generator)
        return self.model.prior_draws(n_draws, generator, hyper["beta_t"]) | hyper

    def prior_table(self) -> dict[str, PriorRow]:
        """Priors by parameter: the hierarchy first."""
        table = self.model.prior_table()
        effect = {name: row for name, row in table.items() if name.startswith("beta_t[")}
        rest = {name: row for name, row in table.items() if name not in effect}
        vague: dict[str, PriorRow] = {}
        if self.robust_weight:
            kind = f"Normal with probability {self.robust_weight:g}"
            vague = {
                f"{name} (vague)": row._replace(distribution=kind) for name, row in effect.items()
            }
        return self.history.priors(self.robust_weight) | vague | rest

    def two_stage(self) -> TwoStage:
        """2SLS of the current experiment."""
        return self.model.two_stage()

    def to_pymc(self, data: IVData | None) -> Any:
        """State the model, with the earlier experiments."""
        vague = self.model.effect_prior
        return self.model.to_pymc(
            data, partial(state_history, self.history, vague, self.robust_weight)
        )

    def sample_pymc(self, data: IVData | None, settings: Settings) -> tuple[Draws, Posterior]:
        """Refuse: PyMC's draws of the hierarchy would not be those of the posterior's names."""
        raise ValueError(
            'backend must be "numpyro" or "independence" with a history; to use PyMC, sample the '
            "model that to_pymc() returns with pm.sample."
        )

"""What models that are built from a design say alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import Standardised, standardise, standardise_part
from skbayesiv._models.parts.names import Coords, coordinates
from skbayesiv._models.parts.prior_draws import prior_draws
from skbayesiv._models.parts.priors import Normal, PriorParameters, PriorRow, Priors, build_priors
from skbayesiv._typing import Array, Values


def standard_problem(
    parameters: PriorParameters, moments: Moments, whole: Standardised | None = None
) -> tuple[Standardised, Priors]:
    """Canonical moments and priors; of a part of the rows, units and "auto" scales are of all."""
    if whole is not None:
        return standardise_part(moments, whole), build_priors(parameters, whole)
    std = standardise(moments)
    return std, build_priors(parameters, std)


class Design(Protocol):
    """A problem in standardised coordinates, and the way back."""

    @property
    def shape(self) -> Any:
        """What is static in the density."""

    @property
    def arrays(self) -> Any:
        """Numbers that the density works on."""

    @property
    def std(self) -> Standardised:
        """Canonical moments."""

    @property
    def priors(self) -> Priors:
        """Priors in raw units."""


@dataclass(frozen=True, eq=False)
class DesignedModel:
    """Base of models that are built from a design."""

    design: Design

    @property
    def shape(self) -> Any:
        """What is static in the density."""
        return self.design.shape

    @property
    def arrays(self) -> Any:
        """Numbers that the density works on."""
        return self.design.arrays

    @property
    def coords(self) -> Coords:
        """Names along the posterior's dimensions."""
        return coordinates(self.design.std.columns)

    @property
    def effect_prior(self) -> Normal:
        """Prior of the effects in raw units."""
        return self.design.priors.beta_t

    def prior_draws(
        self, n_draws: int, generator: np.random.Generator, beta_t: Array | None = None
    ) -> Values:
        """Draws from the priors, of the effects unless they are given."""
        std, priors = self.design.std, self.design.priors
        return prior_draws(priors, std.mean, std.columns, n_draws, generator, beta_t)

    def prior_table(self) -> dict[str, PriorRow]:
        """Priors by parameter."""
        return self.design.priors.table(self.coords)

"""Segments of the rows whose effects share a population: their models and the sampler's numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skbayesiv._data.moments import Moments
from skbayesiv._models.parts.model import EffectModel
from skbayesiv._models.parts.names import Coords
from skbayesiv._models.segments.density import SegmentedArrays, SegmentedShape, bucket
from skbayesiv._models.segments.place import place
from skbayesiv._models.segments.population import Population, population_arrays
from skbayesiv._sampling.stack import stacked
from skbayesiv._typing import Array, Codes

SPREAD = 0.5  # of log sigma_t_bar, roughly


@dataclass(frozen=True, eq=False)
class SegmentedDesign:
    """Models of G segments and the population of their effects.

    Attributes
    ----------
    names : tuple of str
        Of all segments, in their order.
    moments : tuple of Moments
        Of all segments.
    models : tuple of EffectModel
        Of those that identify an effect of their own, all of one kind.
    speaking : ndarray of int of shape (len(models),)
        Their positions among all.
    population : Population
        With the features of all segments.
    silent : dict of str
        Why the other segments identify no effect of their own, by name.
    """

    names: tuple[str, ...]
    moments: tuple[Moments, ...]
    models: tuple[EffectModel, ...]
    speaking: Codes
    population: Population
    silent: dict[str, str]

    @property
    def first(self) -> EffectModel:
        """Any of the models: what they have in common."""
        return self.models[0]

    @cached_property
    def total(self) -> Moments:
        """Moments of all segments together."""
        return sum(self.moments, Moments.empty(self.moments[0].columns))

    @property
    def coords(self) -> Coords:
        """Names along the posterior's dimensions, the segments' among them."""
        own = {
            "segment": list(self.names),
            "segment_covariate": list(self.population.feature_names),
            "experiment": list(self.population.history.names),
        }
        return self.first.coords | own

    @cached_property
    def problem(self) -> tuple[SegmentedShape, SegmentedArrays]:
        """What is static, and the numbers, in standardised units."""
        one, length = self.first, bucket(len(self.models))
        scaled = self.population.in_units(one.effect_unit).take(self.speaking)
        at, filled = place(self.models, scaled), length - len(self.models)
        shape = SegmentedShape(
            one.shape,
            length,
            len(scaled.feature_names),
            scaled.history.kind,
            one.given_prior,
        )
        arrays = SegmentedArrays(
            segments=stacked([*(model.arrays for model in self.models), *[one.arrays] * filled]),
            known=_filled(np.ones(len(self.models)), filled),
            centre=_filled(at.centre, filled),
            factor=_filled(at.factor, filled, 1.0),
            population=population_arrays(scaled, length),
            spread_centre=at.log_spread,
            spread_scale=np.full(len(at.log_spread), SPREAD),
            alone=_filled(at.alone, filled),
            alone_variance=_filled(at.variance, filled, 1.0),
            slope=_filled(at.slope, filled),
            effect=_filled(at.effect, filled, 1.0),
        )
        return shape, arrays


def _filled(values: Array, more: int, value: float = 0.0) -> Array:
    """Arrays (G, 1, ...) of segments, and of those that only fill up."""
    filling = np.full((more, *values.shape[1:]), value)
    return np.concatenate([values, filling])[:, None]

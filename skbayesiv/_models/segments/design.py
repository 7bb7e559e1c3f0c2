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
from skbayesiv._typing import Codes


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
        dim = one.shape.dim
        arrays = SegmentedArrays(
            segments=stacked([*(model.arrays for model in self.models), *[one.arrays] * filled]),
            known=np.append(np.ones(len(self.models)), np.zeros(filled))[:, None],
            centre=np.concatenate([at.centre, np.zeros((filled, dim))])[:, None],
            factor=np.concatenate([at.factor, np.tile(np.eye(dim), (filled, 1, 1))])[:, None],
            population=population_arrays(scaled, length),
            hyper_centre=at.hyper_centre,
            hyper_scale=at.hyper_scale,
        )
        return shape, arrays

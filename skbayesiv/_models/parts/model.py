"""What a model is: the contract between what is estimated and whoever fits, searches or reports.

A :class:`Model` is one experiment's data and priors, compressed. Whoever fits it samples
`target()` and hands the coordinates back to `posterior`, and does not look further; what the model
has or lacks it says itself. A model whose effects' prior can be replaced by one that varies from
draw to draw is an :class:`EffectModel`: a history of earlier experiments wraps such a model and
is a Model again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from skbayesiv._data.rows import IVData
from skbayesiv._data.standardised import Standardised
from skbayesiv._data.sums import Sums
from skbayesiv._models.parts.names import Coords
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.priors import Normal, PriorParameters, PriorRow
from skbayesiv._sampling.target import Draws, Settings, Target
from skbayesiv._typing import Array, Values


class TwoStage(NamedTuple):
    """2SLS effects and their standard errors under what a model assumes of the errors, (K,)."""

    effects: Array
    std_errors: Array


class Model(Protocol):
    """Data and priors of one experiment, compressed; K treatments.

    Attributes
    ----------
    coords : Coords
        Coords along the dimensions of the posterior.
    effect_prior : Normal of shape (K,)
        Prior of the effects in the data's units, where nothing is learnt from a history.
    has_density : bool
        Whether the model says how rows are distributed.
    robust : bool
        Whether the errors may have unequal variances.
    many_instruments : bool
        Whether the effect is not biased by the number of its instruments.
    clustered : bool
        Whether errors may be correlated within the clusters that were given.
    prior_parameters : dict of str to str
        Estimator's parameters that decide each component of the prior: `beta_t` (the effect's),
        `correlation` (of the errors) and `rest`.
    """

    @property
    def coords(self) -> Coords: ...

    @property
    def effect_prior(self) -> Normal: ...

    @property
    def has_density(self) -> bool: ...

    @property
    def robust(self) -> bool: ...

    @property
    def many_instruments(self) -> bool: ...

    @property
    def clustered(self) -> bool: ...

    @property
    def prior_parameters(self) -> dict[str, str]: ...

    def target(self) -> Target:
        """What a sampler needs."""
        ...

    def posterior(
        self, position: Array, generator: np.random.Generator, *, densities: bool = True
    ) -> Posterior:
        """Exact draws of everything else, given coordinates of shape (N, dim).

        Without `densities` the log densities may be left out.
        """
        ...

    def prior_draws(self, n_draws: int, generator: np.random.Generator) -> Values:
        """Draws of the parameters from their priors, where these are proper."""
        ...

    def prior_table(self) -> dict[str, PriorRow]:
        """Priors by parameter, in the data's units."""
        ...

    def two_stage(self) -> TwoStage:
        """2SLS of the same data, with standard errors as the model assumes."""
        ...

    def to_pymc(self, data: IVData | None) -> Any:
        """State the model in PyMC, of rows where it needs them."""
        ...

    def sample_pymc(self, data: IVData | None, settings: Settings) -> tuple[Draws, Posterior]:
        """Sample the stated model with PyMC."""
        ...


class EffectModel(Model, Protocol):
    """A model whose normal prior of the effects can be replaced, draw by draw.

    Attributes
    ----------
    shape : hashable
        What is static: has `dim`, `n_treatments`, `effect_positions`, where beta_t stands in
        `arrays.loc` and `arrays.precision`, and `samples_effects`: whether the coordinates are
        the effects, which are integrated out otherwise.
    arrays : pytree of arrays
    effect_unit : ndarray of shape (K,)
        Raw effect = unit * standardised effect.
    given_prior : callable (shape, u, arrays, loc, precision, xp) -> scalar
        Module-level log density of the coordinates u under the prior N(loc, 1 / precision) of the
        effects, all in standardised units.
    """

    @property
    def shape(self) -> Any: ...

    @property
    def arrays(self) -> Any: ...

    @property
    def effect_unit(self) -> Array: ...

    @property
    def given_prior(self) -> Callable[..., Any]: ...

    def posterior(
        self,
        position: Array,
        generator: np.random.Generator,
        effect_prior: tuple[Array, Array] | None = None,
        *,
        densities: bool = True,
    ) -> Posterior:
        """Exact draws; `effect_prior` is loc and precision at each draw, each (N, K)."""
        ...

    def prior_draws(
        self, n_draws: int, generator: np.random.Generator, beta_t: Array | None = None
    ) -> Values:
        """Draws from the priors, of the effects unless they are given."""
        ...

    def to_pymc(self, data: IVData | None, state_effects: Callable[[], Any] | None = None) -> Any:
        """State the model; `state_effects` states beta_t in place of its normal prior."""
        ...

    def add_to_pymc(self, data: IVData | None, beta_t: Any, row: str) -> None:
        """State all but the effects inside a PyMC model, with rows along the dimension `row`."""
        ...


@runtime_checkable
class StackedModel(Protocol):
    """A model whose posteriors can be drawn for many of one kind at once."""

    @classmethod
    def posteriors(
        cls,
        models: Sequence[Any],
        positions: Array,
        generator: np.random.Generator,
        effect_prior: tuple[Array, Array] | None = None,
        *,
        densities: bool = False,
        apart: bool = False,
    ) -> list[Posterior]:
        """`posterior` of each at positions (J, N, dim).

        From the same random numbers unless drawn `apart`; `effect_prior` may have an axis J first.
        """
        ...


def own_prior(arrays: Any, shape: Any) -> tuple[list[Any], list[Any]]:
    """Loc and precision of the effects' prior where no other is given, each of length K.

    Of an :class:`EffectModel`'s `arrays`, which may be stacked, and `shape`.
    """
    at = shape.effect_positions
    return [arrays.loc[..., j] for j in at], [arrays.precision[..., j] for j in at]


@dataclass(frozen=True)
class Likelihood:
    """A value of the parameter `likelihood`: what is known of its models before there are data.

    Attributes
    ----------
    build : callable (parameters, sums, whole) -> EffectModel
        `whole` are the moments of all rows where `sums` are of some of them, or None.
    fourth : bool
        Whether it needs fourth-order sums.
    density : bool
        Whether it says how rows are distributed.
    unused : tuple of str
        Parameters of an estimator that it does not use.
    """

    build: Callable[[PriorParameters, Sums, Standardised | None], EffectModel]
    fourth: bool = False
    density: bool = True
    unused: tuple[str, ...] = ()

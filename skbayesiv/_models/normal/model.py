"""The joint normal model: its contract with whoever fits, searches or reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from skbayesiv._data.rows import KEPT_ROWS, IVData
from skbayesiv._data.standardised import Standardised, partial_out
from skbayesiv._data.sums import Sums
from skbayesiv._linear.two_stage import two_stage_effects
from skbayesiv._models.normal import density
from skbayesiv._models.normal.design import Design, build_design
from skbayesiv._models.normal.draws import draw_posterior, draw_posteriors
from skbayesiv._models.normal.pymc_model import add_rows, state_rows
from skbayesiv._models.normal.pymc_sampling import sample_rows
from skbayesiv._models.normal.start import start
from skbayesiv._models.parts.designed import DesignedModel, standard_problem
from skbayesiv._models.parts.model import Likelihood, TwoStage
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.priors import PriorParameters
from skbayesiv._sampling.target import Draws, Settings, Target
from skbayesiv._typing import Array

LEAST_ERROR, RIDGE = 0.01, 1e-10


@dataclass(frozen=True, eq=False)
class NormalModel(DesignedModel):
    """Jointly normal errors; coordinates of their covariance and the first stages' spread."""

    design: Design
    given_prior: Callable[..., Any] = density.log_likelihood_and_prior

    has_density: ClassVar[bool] = True
    robust: ClassVar[bool] = False
    clustered: ClassVar[bool] = False

    @property
    def many_instruments(self) -> bool:
        """Where the first stage is learnt."""
        return self.design.priors.beta_z_sd_scale is not None

    @classmethod
    def build(
        cls, parameters: PriorParameters, sums: Sums, whole: Standardised | None = None
    ) -> NormalModel:
        """Compress moments and an estimator's parameters.

        In a part of the rows everybody may have complied: treatments are then taken to have an
        error of `LEAST_ERROR` of their spread among all rows, independent of all else.
        """
        std, priors = standard_problem(parameters, sums.moments, whole)
        if whole is not None:
            std = _with_errors(std, fit_intercept=parameters.fit_intercept)
        return cls(build_design(std, priors, parameters.sigma_prior))

    @property
    def effect_unit(self) -> Array:
        """Raw effect = unit * standardised effect."""
        return np.asarray(self.design.unit[list(self.shape.effect_positions)])

    @property
    def prior_parameters(self) -> dict[str, str]:
        """Parameters that decide each component of the prior."""
        regression = self.design.priors.alpha is not None
        return {
            "beta_t": "beta_t_scale",
            "correlation": "sigma_prior" if regression else "lkj_eta or sigma_prior",
            "rest": "beta_z_scale, gamma_scale, sigma_scale and the intercepts' scales",
        }

    def target(self) -> Target:
        """Collapsed posterior of the error covariance and the first stages' spread."""
        at, spread = start(self.design)
        return Target(density.log_density, self.shape, self.arrays, at, spread, stacks=True)

    def posterior(
        self,
        position: Array,
        generator: np.random.Generator,
        effect_prior: tuple[Array, Array] | None = None,
        *,
        densities: bool = True,
    ) -> Posterior:
        """Exact draws of the coefficients given the coordinates."""
        return draw_posterior(self.design, position, generator, effect_prior, densities=densities)

    @classmethod
    def posteriors(
        cls,
        models: Sequence[Self],
        positions: Array,
        generator: np.random.Generator,
        effect_prior: tuple[Array, Array] | None = None,
        *,
        densities: bool = False,
        apart: bool = False,
    ) -> list[Posterior]:
        """`posterior` of models of one kind at positions (J, N, dim).

        From the same random numbers unless drawn `apart`; `effect_prior` may have an axis J first.
        """
        designs = [model.design for model in models]
        options = {"densities": densities, "apart": apart}
        return draw_posteriors(designs, positions, generator, effect_prior, **options)

    def two_stage(self) -> TwoStage:
        """2SLS with classical errors, and direct effects where they are allowed."""
        priors = self.design.priors
        effects, std_errors = two_stage_effects(
            self.design.std,
            fit_intercept=priors.intercept_y is not None,
            direct_scale=None if priors.direct is None else priors.direct.scale,
        )
        return TwoStage(effects, std_errors)

    def to_pymc(self, data: IVData | None, state_effects: Callable[[], Any] | None = None) -> Any:
        """State the model row by row."""
        return state_rows(_given(data), self.design, state_effects)

    def add_to_pymc(self, data: IVData | None, beta_t: Any, row: str) -> None:
        """State the model of rows at effects of another model, inside that."""
        add_rows(_given(data), self.design, beta_t, row)

    def sample_pymc(self, data: IVData | None, settings: Settings) -> tuple[Draws, Posterior]:
        """Sample the model of all rows."""
        if data is None:
            raise ValueError('backend="pymc" samples a model of all rows: fit to rows.')
        return sample_rows(self.to_pymc(data), self.design, settings)


def _given(data: IVData | None) -> IVData:
    if data is None:
        raise ValueError(
            f"X, t, y and z must be given: a fit keeps at most {KEPT_ROWS} rows, and none of a fit "
            "from moments."
        )
    return data


def _with_errors(std: Standardised, *, fit_intercept: bool) -> Standardised:
    """Add the variance of an error to treatments that instruments and covariates explain."""
    c, floor = std.columns, LEAST_ERROR**2
    second = std.second_moments(fit_intercept=fit_intercept)
    partial, _ = partial_out(second, c.t.start, RIDGE)
    k = len(c.treatments)
    exact = np.diag(partial)[:k] < floor
    if not exact.any():
        return std
    corr = std.corr.copy()
    corr[range(c.t.start, c.t.stop), range(c.t.start, c.t.stop)] += floor * exact
    return replace(std, corr=corr)


NORMAL = Likelihood(NormalModel.build)

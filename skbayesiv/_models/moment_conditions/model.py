"""The model of the moment conditions: its contract with whoever fits, searches or reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from skbayesiv._data.rows import IVData
from skbayesiv._data.standardised import Standardised
from skbayesiv._data.sums import Sums
from skbayesiv._linear.two_stage import two_stage_effects
from skbayesiv._models.moment_conditions import density
from skbayesiv._models.moment_conditions.design import CriterionDesign, build_criterion
from skbayesiv._models.moment_conditions.draws import draw_given_effects
from skbayesiv._models.moment_conditions.pymc_model import (
    add_criterion,
    sample_criterion,
    state_criterion,
)
from skbayesiv._models.moment_conditions.start import start
from skbayesiv._models.parts.designed import DesignedModel, standard_problem
from skbayesiv._models.parts.model import Likelihood, TwoStage
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.priors import PriorParameters
from skbayesiv._sampling.target import Draws, Settings, Target
from skbayesiv._typing import Array

UNUSED = (
    "intercept_y_loc",
    "intercept_y_scale",
    "intercept_t_loc",
    "intercept_t_scale",
    "beta_z_loc",
    "beta_z_scale",
    "gamma_y_loc",
    "gamma_t_loc",
    "gamma_scale",
    "sigma_scale",
    "lkj_eta",
    "sigma_prior",
    "intercept_prior",
)


@dataclass(frozen=True, eq=False)
class CriterionModel(DesignedModel):
    """The GMM criterion of E[z e] = 0; the coordinates are the effects."""

    design: CriterionDesign
    clustered: bool
    given_prior: Callable[..., Any] = density.log_likelihood_and_prior

    has_density: ClassVar[bool] = False
    robust: ClassVar[bool] = True
    many_instruments: ClassVar[bool] = True

    @classmethod
    def build(
        cls, parameters: PriorParameters, sums: Sums, whole: Standardised | None = None
    ) -> CriterionModel:
        """Compress sums and an estimator's parameters."""
        std, priors = standard_problem(parameters, sums.moments, whole)
        if sums.fourth is None:
            raise ValueError(
                'fourth_moments must be given with likelihood="gmm": its criterion needs '
                "fourth-order sums, which moments do not hold. Pass fit_moments(moments, "
                "fourth_moments) with FourthMoments.from_frame, or fit to rows."
            )
        fit_intercept = parameters.fit_intercept
        design = build_criterion(std, sums.fourth, priors, fit_intercept=fit_intercept)
        return cls(design, sums.fourth.n_clusters is not None)

    @property
    def effect_unit(self) -> Array:
        """Raw effect = unit * standardised effect."""
        return self.design.unit

    @property
    def prior_parameters(self) -> dict[str, str]:
        """Parameters that decide each component of the prior: there is one."""
        return {"beta_t": "beta_t_scale"}

    def target(self) -> Target:
        """Quasi-posterior of the effects."""
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
        """Exact draws of the other coefficients; the effects' prior has no part in them."""
        return draw_given_effects(self.design, position, generator)

    def two_stage(self) -> TwoStage:
        """2SLS with the scores' robust or clustered errors, and direct effects where allowed."""
        scores, direct, std = self.design.scores, self.design.priors.direct, self.design.std
        z = slice(scores.n_h, None)
        effects, std_errors = two_stage_effects(
            std,
            fit_intercept=scores.n_h > len(std.columns.covariates),
            score_variance=scores.cross[z, 0, z, 0] / scores.n,
            direct_scale=None if direct is None else direct.scale,
        )
        return TwoStage(effects, std_errors)

    def to_pymc(self, data: IVData | None, state_effects: Callable[[], Any] | None = None) -> Any:
        """State priors and criterion; the rows are in the sums already."""
        return state_criterion(self.design, state_effects)

    def add_to_pymc(self, data: IVData | None, beta_t: Any, row: str) -> None:
        """State the criterion at effects of another model, inside that."""
        add_criterion(self.design, beta_t)

    def sample_pymc(self, data: IVData | None, settings: Settings) -> tuple[Draws, Posterior]:
        """Sample the effects; all else is drawn exactly given these."""
        draws = sample_criterion(self.to_pymc(data), self.design, settings)
        return draws, self.posterior(draws.flat, settings.generator())


GMM = Likelihood(CriterionModel.build, fourth=True, density=False, unused=UNUSED)

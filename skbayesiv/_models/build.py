"""The two likelihoods behind one face: what an estimator asks of either.

An estimator joins a :class:`Likelihood` with a sampler: it samples `target()` (or a target built
on `given_prior`, when the effects' prior has parameters of its own) and hands the draws back to
`posterior`. It does not look further.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._data.named import NamedFrame
from skbayesiv._data.products import Reference
from skbayesiv._data.rows import IVData
from skbayesiv._data.standardised import Standardised
from skbayesiv._models.moment_conditions import density as _moment_conditions
from skbayesiv._models.moment_conditions.density import CriterionDesign, build_criterion
from skbayesiv._models.moment_conditions.draws import draw_given_effects
from skbayesiv._models.normal import density as _collapsed
from skbayesiv._models.normal import start as _start
from skbayesiv._models.normal.design import Design, build_design
from skbayesiv._models.normal.draws import draw_parameters
from skbayesiv._models.normal.log_prior import log_prior
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.priors import build_priors
from skbayesiv._results.tree import OBSERVED_ROWS
from skbayesiv._sampling.target import Draws, Settings, Target
from skbayesiv._typing import Array, Codes
from skbayesiv.exceptions import OURS

LIKELIHOODS = ("normal", "gmm")
NOT_USED = 'likelihood="gmm" does not use'
UNUSED_BY_GMM = (
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


class Likelihood(Protocol):
    """Data and priors of one experiment, compressed.

    Attributes
    ----------
    design : Design or CriterionDesign
        Has `shape` (with `dim`, `n_treatments` and `effects`), `arrays`, `unit`, `std`, `priors`.
    given_prior : callable (shape, u, arrays, loc, precision, xp) -> scalar
        Module-level log density of the coordinates u under the prior N(loc, 1 / precision) of
        the effects, all in standardised units.
    """

    @property
    def design(self) -> Any: ...

    @property
    def given_prior(self) -> Callable[..., Any]: ...

    def target(self) -> Target:
        """What the sampler needs."""
        ...

    def posterior(
        self,
        position: Array,
        generator: np.random.Generator,
        effect_prior: tuple[Array, Array] | None = None,
    ) -> Posterior:
        """Exact draws of everything else, given coordinates (N, dim).

        `effect_prior` holds loc and precision of the effects' prior at each draw, each of shape
        (N, K), where it varies.
        """
        ...

    def check_density(self, what: str) -> None:
        """Raise if `what` needs a density of the rows and there is none."""
        ...

    def to_pymc(self, data: IVData | None, effects: Callable[[], Any] | None = None) -> Any:
        """State the model in PyMC; `effects` states beta_t instead of its normal prior."""
        ...

    def sample_pymc(self, data: IVData | None, settings: Settings) -> tuple[Draws, Posterior]:
        """Sample the stated model with PyMC."""
        ...


@dataclass(frozen=True, eq=False)
class NormalLikelihood:
    """Jointly normal errors; the coordinates are the error covariance's."""

    design: Design
    given_prior: Callable[..., Any] = _collapsed.log_likelihood_and_prior

    def target(self) -> Target:
        """Collapsed posterior of the error covariance."""
        design = self.design
        return Target(_collapsed.log_density, design.shape, design.arrays, *_start.start(design))

    def posterior(
        self,
        position: Array,
        generator: np.random.Generator,
        effect_prior: tuple[Array, Array] | None = None,
    ) -> Posterior:
        """Exact draws of the coefficients given the covariance."""
        drawn = draw_parameters(self.design, position, generator, effect_prior)
        return Posterior(
            drawn.values, log_prior(self.design, drawn), {"total": drawn.log_likelihood}
        )

    def check_density(self, what: str) -> None:
        """Accept everything."""

    def to_pymc(self, data: IVData | None, effects: Callable[[], Any] | None = None) -> Any:
        """State the model row by row."""
        from skbayesiv._models.normal.pymc_model import build_model

        if data is None:
            raise ValueError(
                f"X, t, y and z must be given: a fit keeps at most {OBSERVED_ROWS} rows, and none "
                "of a fit from moments."
            )
        return build_model(data, self.design, effects)

    def sample_pymc(self, data: IVData | None, settings: Settings) -> tuple[Draws, Posterior]:
        """Sample the model of all rows."""
        from skbayesiv._models.normal.pymc_sampling import sample_model

        if data is None:
            raise ValueError('backend="pymc" samples a model of all rows: fit to rows.')
        draws, drawn = sample_model(self.to_pymc(data), self.design, settings)
        prior = log_prior(self.design, drawn)
        return draws, Posterior(drawn.values, prior, {"total": drawn.log_likelihood})


@dataclass(frozen=True, eq=False)
class CriterionLikelihood:
    """The GMM criterion of E[z e] = 0; the coordinates are the effects."""

    design: CriterionDesign
    given_prior: Callable[..., Any] = _moment_conditions.log_likelihood_and_prior

    def target(self) -> Target:
        """Quasi-posterior of the effects."""
        design, room = self.design, _moment_conditions
        return Target(room.log_density, design.shape, design.arrays, *room.start(design))

    def posterior(
        self,
        position: Array,
        generator: np.random.Generator,
        effect_prior: tuple[Array, Array] | None = None,
    ) -> Posterior:
        """Exact draws of the other coefficients; the effects' prior has no part in them."""
        drawn = draw_given_effects(self.design, position, generator)
        return Posterior(drawn.values, drawn.log_prior, {"criterion": drawn.log_criterion})

    def check_density(self, what: str) -> None:
        """Refuse: moment conditions do not say how rows are distributed."""
        raise ValueError(
            f'{what} is not defined with likelihood="gmm": a quasi-posterior rests on moment '
            "conditions and gives rows no density. For held-out densities and simulated rows use "
            'likelihood="normal"; score (R^2 of E[y | X, z]) compares fits of both.'
        )

    def to_pymc(self, data: IVData | None, effects: Callable[[], Any] | None = None) -> Any:
        """State priors and criterion; the rows are in the sums already."""
        from skbayesiv._models.moment_conditions.pymc_model import build_criterion_model

        return build_criterion_model(self.design, effects)

    def sample_pymc(self, data: IVData | None, settings: Settings) -> tuple[Draws, Posterior]:
        """Sample the effects; all else is drawn exactly given these."""
        from skbayesiv._models.moment_conditions.pymc_model import sample_criterion

        draws = sample_criterion(self.to_pymc(data), self.design, settings)
        flat = draws.position.reshape(-1, self.design.shape.dim)
        return draws, self.posterior(flat, np.random.default_rng([settings.seed, 1]))


def build_likelihood(est: Any, std: Standardised, fourth: FourthMoments | None) -> Likelihood:
    """Compress data and an estimator's parameters into its likelihood."""
    priors = build_priors(est, std)
    if est.likelihood == "normal":
        return NormalLikelihood(build_design(std, priors, est.sigma_prior))
    if fourth is None:
        raise ValueError(
            'fourth_moments must be given with likelihood="gmm": its criterion needs fourth-order '
            "sums, which moments do not hold. Pass fit_moments(moments, fourth_moments) with "
            "FourthMoments.from_frame, or fit to rows."
        )
    return CriterionLikelihood(
        build_criterion(std, fourth, priors, fit_intercept=est.fit_intercept)
    )


def warn_of_unused(est: Any) -> None:
    """Warn of priors that were set and that the likelihood does not have."""
    parameters = inspect.signature(type(est)).parameters
    changed = [
        name
        for name in UNUSED_BY_GMM
        if not np.array_equal(getattr(est, name), parameters[name].default)
    ]
    if est.likelihood == "gmm" and changed:
        warnings.warn(
            f"{NOT_USED} {', '.join(changed)}: moment conditions have priors of the effect and of "
            "direct effects (beta_t_*, exclusion_scale) and no others.",
            UserWarning,
            skip_file_prefixes=OURS,
        )


def compress(
    est: Any, data: IVData | NamedFrame, clusters: Codes | None = None
) -> tuple[Moments, FourthMoments | None]:
    """Sums of rows that the likelihood needs: one pass, two with covariates or clusters.

    `clusters` are those of rows in memory; a named frame has its own.
    """
    grouped = (data.clusters if isinstance(data, NamedFrame) else clusters) is not None
    if est.likelihood == "normal" and grouped:
        raise ValueError(
            'clusters must be None with likelihood="normal", which takes rows as independent; '
            'use likelihood="gmm" for clustered errors.'
        )
    if est.likelihood == "gmm" and not (grouped or data.columns.covariates):
        fourth = _fourth_moments(est, data, None, None)
        return fourth.moments(), fourth
    moments = data.query.moments() if isinstance(data, NamedFrame) else Moments.from_data(data)
    if est.likelihood == "normal":
        return moments, None
    reference = Reference.from_moments(moments, fit_intercept=est.fit_intercept)
    return moments, _fourth_moments(est, data, reference, clusters)


def _fourth_moments(
    est: Any, data: IVData | NamedFrame, reference: Reference | None, clusters: Codes | None
) -> FourthMoments:
    if not isinstance(data, NamedFrame):
        return FourthMoments.from_data(data, reference, clusters, fit_intercept=est.fit_intercept)
    columns = data.columns
    fourth: FourthMoments = FourthMoments.from_frame(
        data.frame,
        outcome=columns.outcome,
        treatment=columns.treatments,
        instruments=columns.instruments,
        covariates=columns.covariates,
        sample_weight=data.weight,
        clusters=data.clusters,
        categories=data.query.plan.levels,
        reference=reference,
        fit_intercept=est.fit_intercept,
    )
    return fourth


def compress_batch(
    est: Any, data: IVData | NamedFrame, earlier: Any
) -> tuple[Moments, FourthMoments | None]:
    """Sums of a batch of rows and of those that `earlier` was fitted to."""
    if est.likelihood == "gmm" and data.columns.covariates:
        raise ValueError(
            'X must be None to partial_fit with likelihood="gmm": fourth-order sums with '
            "covariates are taken about coefficients that all rows decide; got "
            f"{list(data.columns.covariates)}. Fit to all rows, or use "
            "fit_moments(moments, fourth_moments)."
        )
    moments, fourth = compress(est, data)
    if earlier is None:
        return moments, fourth
    if fourth is not None:
        if not hasattr(earlier, "fourth_moments_"):
            raise ValueError(
                'likelihood must be "gmm" from the first batch on: the rows so far were fitted '
                "without fourth-order sums."
            )
        fourth = earlier.fourth_moments_ + fourth
    return earlier.moments_ + moments, fourth

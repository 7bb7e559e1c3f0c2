"""The two likelihoods behind one face: what an estimator asks of either.

An estimator joins a :class:`Likelihood` with a sampler: it samples `target()` (or a target built
on `given_prior`, when the effects' prior has parameters of its own) and hands the draws back to
`posterior`. It does not look further.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skbayesiv import _collapsed, _moment_conditions, _start
from skbayesiv._design import Design, build_design
from skbayesiv._exact import draw_parameters
from skbayesiv._fourth_moments import FourthMoments, Reference
from skbayesiv._moment_conditions import CriterionDesign, build_criterion
from skbayesiv._moments import Moments, Standardised
from skbayesiv._posterior import Posterior, log_prior
from skbayesiv._priors import build_priors
from skbayesiv._robust_draws import draw_given_effects
from skbayesiv._sampling import Target
from skbayesiv._validation import IVData, check_clusters

Array = NDArray[np.float64]

LIKELIHOODS = ("normal", "gmm")


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

    def to_pymc(self, data: IVData, effects: Callable[[], Any] | None = None) -> Any:
        """State the model in PyMC; `effects` states beta_t instead of its normal prior."""
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

    def to_pymc(self, data: IVData, effects: Callable[[], Any] | None = None) -> Any:
        """State the model row by row."""
        from skbayesiv._generative import build_model

        return build_model(data, self.design, effects)


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
        return Posterior(drawn.values, drawn.log_prior, {"total": drawn.log_likelihood})

    def check_density(self, what: str) -> None:
        """Refuse: moment conditions do not say how rows are distributed."""
        raise ValueError(
            f'{what} is not defined with likelihood="gmm": a quasi-posterior rests on moment '
            "conditions and gives rows no density. For held-out densities and simulated rows use "
            'likelihood="normal"; score (R^2 of E[y | X, z]) compares fits of both.'
        )

    def to_pymc(self, data: IVData, effects: Callable[[], Any] | None = None) -> Any:
        """State priors and criterion; the rows are in the sums already."""
        from skbayesiv._generative_gmm import build_criterion_model

        return build_criterion_model(self.design, effects)


def build_likelihood(est: Any, std: Standardised, fourth: FourthMoments | None) -> Likelihood:
    """Compress data and an estimator's parameters into its likelihood."""
    priors = build_priors(est, std)
    if est.likelihood == "normal":
        return NormalLikelihood(build_design(std, priors, est.sigma_prior))
    if fourth is None:
        raise ValueError(
            'fourth_moments must be given with likelihood="gmm": its criterion needs fourth-order '
            "sums, which moments do not hold. Pass fit_moments(moments, fourth_moments) with "
            "FourthMoments.from_data, or fit to rows."
        )
    return CriterionLikelihood(
        build_criterion(std, fourth, priors, fit_intercept=est.fit_intercept)
    )


def fourth_moments(est: Any, moments: Moments, data: IVData, clusters: Any) -> FourthMoments | None:
    """Fourth-order sums of the rows where the likelihood needs them."""
    if est.likelihood == "normal":
        if clusters is not None:
            raise ValueError(
                'clusters must be None with likelihood="normal", which takes rows as independent; '
                'use likelihood="gmm" for clustered errors.'
            )
        return None
    codes = check_clusters(clusters, data.n_rows, required=False)
    reference = Reference.from_moments(moments, fit_intercept=est.fit_intercept)
    return FourthMoments.from_data(data, reference, codes)


def batch_fourth_moments(est: Any, data: IVData, earlier: Any) -> FourthMoments | None:
    """Fourth-order sums of a batch of rows and of those that `earlier` was fitted to."""
    if est.likelihood == "normal":
        return None
    if data.columns.covariates:
        raise ValueError(
            'X must be None to partial_fit with likelihood="gmm": fourth-order sums with '
            "covariates are taken about coefficients that all rows decide; got "
            f"{list(data.columns.covariates)}. Fit to all rows, or use "
            "fit_moments(moments, fourth_moments)."
        )
    batch = FourthMoments.from_data(data, fit_intercept=est.fit_intercept)
    if earlier is None:
        return batch
    if not hasattr(earlier, "fourth_moments_"):
        raise ValueError(
            'likelihood must be "gmm" from the first batch on: the rows so far were fitted '
            "without fourth-order sums."
        )
    return earlier.fourth_moments_ + batch

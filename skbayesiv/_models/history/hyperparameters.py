"""Mean and spread of effects when experiments are carried by their likelihoods, not by a normal.

For the carried experiments j, with phi_j the regression of the outcome's on the treatment's error
in the reduced form (the effect plus the bias of least squares), standardised over them,

    beta_j | phi_j ~ N(beta_bar + r sigma_bar phi_j, (1 - r^2) sigma_bar^2),    r ~ U(-1, 1)
    log L_j(beta_j; tau),                                                      tau ~ half-Cauchy(1)

so that (beta_j, phi_j) is jointly normal over experiments: without r one with a larger effect, and
so a larger phi_j, would count for less. All others have b_j ~ N(beta_j, s_j^2). Each effect is
integrated out by quadrature. What is left, (beta_bar, sigma_bar, r, tau), are weighted draws:
importance sampling from a multivariate t about the mode, adapted in a few rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from skbayesiv._models.history.compressed import compress
from skbayesiv._models.history.likelihoods import EffectLikelihood, Likelihoods
from skbayesiv._models.history.meta_analysis import NEGLIGIBLE, Integrated, Mixture, given_sigma
from skbayesiv._models.history.sums import earlier_experiments, in_chunks
from skbayesiv._models.history.table import History
from skbayesiv._models.parts.priors import log_normal_density
from skbayesiv._models.parts.scales import HALF_CAUCHY, SCALE_PRIORS
from skbayesiv._typing import Array

NODES = 41
REACH = 8.0  # standard deviations of the effects to integrate over
ENOUGH = 3  # experiments for a correlation
LEAST, MOST = 1e-12, 300.0
FAR = 1e6
CHUNK_FLOATS = 1 << 18
N_DRAWS, ROUNDS = 4096, 3
DOF = 5.0
KERNEL = 0.05
MIN_ESS = 100.0


class Hyper(NamedTuple):
    """Hyper-parameters of one treatment's effects, each of shape (N,)."""

    bar: Array
    sigma: Array
    r: Array
    log_tau: Array


@dataclass(frozen=True, eq=False)
class HyperPosterior:
    """Unnormalised posterior of the hyper-parameters given a history of one treatment."""

    history: History

    @cached_property
    def carried(self) -> list[int]:
        return list(self.history.carried)

    @cached_property
    def own(self) -> list[EffectLikelihood]:
        return [own for j in self.carried if (own := self.history.likelihoods[j]) is not None]

    @cached_property
    def likelihoods(self) -> Likelihoods:
        return Likelihoods.of(self.own)

    @cached_property
    def phi(self) -> Array:
        """Regressions of the reduced form's errors, in standard units."""
        phi = np.array([own.least_squares for own in self.own])
        spread = phi.std()
        if len(phi) < ENOUGH or not spread > 0.0:
            return np.zeros(len(phi))
        return (phi - phi.mean()) / spread

    @cached_property
    def _summaries(self) -> tuple[Array, Array]:
        """Effects of the carried about `loc`, and their standard errors."""
        at, h = self.carried, self.history
        return h.effects[at, 0] - h.loc[0], h.std_errors[at, 0]

    @cached_property
    def _rest(self) -> Any:
        """Experiments that are summed up by their effects and errors."""
        rest = np.setdiff1d(np.arange(self.history.n_experiments), self.carried)
        b, s = self.history.effects[rest, 0], self.history.std_errors[rest, 0]
        return earlier_experiments(b - self.history.loc[0], s)

    @cached_property
    def n_bounding(self) -> float:
        """Number of experiments that say that the spread of effects is not without bounds."""
        ends = self.likelihoods.log(np.array([[-FAR], [FAR]]) * self.history.scale[0], 0.0, np)
        peak = self.likelihoods.log(self._summaries[0] + self.history.loc[0], 0.0, np)
        return float(self._rest.n + (peak - ends.max(axis=0) > NEGLIGIBLE).sum())

    def hyper(self, u: Array) -> tuple[Hyper, Array]:
        """Coordinates (N, 4) -> hyper-parameters, and the unit of the mean (N,).

        The mean is in units of what normal summaries would say, given the spread.
        """
        h = self.history
        given = given_sigma(in_chunks(h.earlier[0], u[:, 1]), h.loc[0], h.scale[0], np)
        sd = np.sqrt(given.variance)
        return Hyper(given.mean + sd * u[:, 0], np.exp(u[:, 1]), np.tanh(u[:, 2]), u[:, 3]), sd

    def log_density(self, u: Array) -> Array:
        """Log density at coordinates (N, 4)."""
        hyper, sd = self.hyper(u)
        of_r = -2.0 * np.log(np.cosh(np.minimum(np.abs(u[:, 2]), MOST)))
        jacobian = np.log(sd) + u[:, 1] + of_r + u[:, 3]
        return np.asarray(jacobian + self.log_prior(hyper) + self.log_past(hyper))

    def log_prior(self, hyper: Hyper) -> Array:
        """Log prior density."""
        h = self.history
        spread = SCALE_PRIORS[h.kind].log_pdf(np.log(hyper.sigma), h.sigma_scale[0], np)
        first_stage = HALF_CAUCHY.log_pdf(hyper.log_tau, 1.0, np)
        mean = log_normal_density(hyper.bar, h.loc[0], h.scale[0], np)
        return np.asarray(mean + spread + first_stage - math.log(2.0))

    def log_past(self, hyper: Hyper) -> Array:
        """Log likelihood of all experiments, their effects integrated out."""
        rest = in_chunks(self._rest, np.log(hyper.sigma))
        normal = rest.log_density(hyper.bar - self.history.loc[0])
        return np.asarray(normal + self.log_carried(hyper).sum(axis=1))

    def log_carried(self, hyper: Hyper) -> Array:
        """Log likelihood (N, J) of each carried experiment, its effect integrated out."""
        n, j = len(hyper.bar), len(self.carried)
        parts = np.array_split(np.arange(n), 1 + n * j * NODES // CHUNK_FLOATS)
        return np.concatenate([self._log_carried(Hyper(*(v[at] for v in hyper))) for at in parts])

    def _log_carried(self, hyper: Hyper) -> Array:
        log_weight = self.effect_nodes(hyper)[1]
        top = log_weight.max(axis=0)
        return np.asarray(top + np.log(np.exp(log_weight - top).sum(axis=0)))

    def effect_nodes(self, hyper: Hyper) -> tuple[Array, Array]:
        """Nodes (NODES, N, J) of each carried effect, and the logs of their weights.

        Equally spaced in asinh about the product of the population and a normal summary: close
        where either is narrow, and as far out as the wider one reaches.
        """
        b, s = self._summaries
        centre, sd = self.population(hyper)
        precision = sd**-2.0 + s**-2.0
        width = precision**-0.5
        middle = (centre * sd**-2.0 + (b + self.history.loc[0]) * s**-2.0) / precision
        reach = np.arcsinh((REACH * sd + np.abs(middle - centre)) / width)
        x = np.linspace(-1.0, 1.0, NODES)[:, None, None]
        step = reach * x
        beta = middle + width * np.sinh(step)
        log_weight = log_normal_density(beta, centre, sd, np)
        log_weight += np.log(width * np.cosh(step) * (reach * (2.0 / (NODES - 1))))
        log_weight += self.likelihoods.log(beta, hyper.log_tau[:, None], np)
        return beta, log_weight

    def population(self, hyper: Hyper) -> tuple[Array, Array]:
        """Mean (N, J) and standard deviation (N, 1) of the carried effects given phi."""
        centre = hyper.bar[:, None] + (hyper.r * hyper.sigma)[:, None] * self.phi
        return centre, (hyper.sigma * np.sqrt(np.maximum(1.0 - hyper.r**2, LEAST)))[:, None]

    def log_given(self, beta: Array, log_tau: Array) -> Array:
        """Log likelihood (N,) of the carried experiments at their effects (N, J)."""
        return np.asarray(self.likelihoods.log(beta, log_tau[:, None], np).sum(axis=1))

    def start(self) -> Array:
        """Coordinates that are not far from the mode."""
        q = np.array([one.n_instruments for one in self.own])
        noise = np.array([one.covariance[1, 1] for one in self.own])
        explained = np.array([one.explained[1, 1] for one in self.own])
        total = sum(one.unit**2 * one.n_instruments for one in self.own)
        tau = 0.5 * math.log(max((explained - q * noise).sum(), noise.sum()) / total)
        return np.array([0.0, math.log(self.history.sigma_scale[0]) - 1.0, 0.0, tau])


@dataclass(frozen=True, eq=False)
class IntegratedDraws(Integrated):
    """Where each spread has a mean effect of its own, with a narrow normal about it."""

    def variance_at(self, sigma: Array) -> Array:
        """Variance of beta_bar given sigma_bar."""
        return super().variance_at(sigma) / KERNEL**2


@dataclass(frozen=True, eq=False)
class HyperDraws:
    """Weighted draws of the hyper-parameters, in the order of their spreads.

    Attributes
    ----------
    posterior : HyperPosterior
    hyper : Hyper
    weight : ndarray of shape (N,)
        They add to one.
    kernel : ndarray of shape (N,)
        Variance of a narrow normal about each mean effect: draws stand for a density.
    log_evidence : float
        Log probability of the history.
    """

    posterior: HyperPosterior
    hyper: Hyper
    weight: Array
    kernel: Array
    log_evidence: float

    @cached_property
    def integrated(self) -> Integrated:
        """What a history of normal summaries gives: the mean effect at each spread."""
        h = self.posterior.history
        return IntegratedDraws(
            self.hyper.sigma,
            self.weight,
            self.hyper.bar,
            self.kernel,
            self.log_evidence,
            SCALE_PRIORS[h.kind].order + self.posterior.n_bounding,
        )

    @cached_property
    def prediction(self) -> Mixture:
        """Prediction of a new effect, by few components."""
        return compress(self.integrated.predictive)

    def without(self, j: int) -> Integrated | None:
        """The same without one experiment, by reweighting; None if too few draws are left."""
        weight = self.weight * np.exp(self._each[:, j].min() - self._each[:, j])
        weight /= weight.sum()
        if 1.0 / (weight @ weight) < MIN_ESS:
            return None
        return replace(self.integrated, weight=weight)

    @cached_property
    def _each(self) -> Array:
        """Log likelihood (N, J) of each experiment at each draw."""
        h, (bar, sigma) = self.posterior.history, (v[:, None] for v in self.hyper[:2])
        b, s = h.effects[:, 0], h.std_errors[:, 0]
        each = log_normal_density(b, bar, np.hypot(sigma, s), np)
        each[:, list(h.carried)] = self.posterior.log_carried(self.hyper)
        return np.where(np.isnan(each), 0.0, each)


@lru_cache(maxsize=8)
def integrate_likelihoods(history: History) -> HyperDraws:
    """Weighted draws of a history that carries likelihoods."""
    posterior = HyperPosterior(history)
    u, weight, log_evidence = weighted_draws(posterior.log_density, posterior.start())
    order = np.argsort(u[:, 1], kind="stable")
    u, weight = u[order], weight[order]
    hyper, sd = posterior.hyper(u)
    centre = weight @ u[:, 0]
    kernel = KERNEL**2 * (weight @ (u[:, 0] - centre) ** 2) * sd**2
    return HyperDraws(posterior, hyper, weight, kernel, log_evidence)


def weighted_draws(
    log_density: Callable[[Array], Array], start: Array, n_draws: int = N_DRAWS
) -> tuple[Array, Array, float]:
    """Draws (N, dim), weights that add to one, and the log of the density's integral.

    Importance sampling from a multivariate t, with points of low discrepancy that are always the
    same. It begins at the mode with its curvature; then each round takes location and shape from
    the draws of the one before.
    """
    from scipy.optimize import minimize
    from scipy.special import gammaln, ndtri
    from scipy.stats import chi2, qmc

    dim = len(start)

    def negative(u: Array) -> float:
        return -float(log_density(u[None])[0])

    found = minimize(negative, start, method="BFGS", options={"gtol": 1e-2, "maxiter": 40})
    centre, shape = found.x, found.hess_inv
    for number in range(ROUNDS):
        n = n_draws if number == ROUNDS - 1 else n_draws // 4
        points = qmc.Sobol(dim + 1, rng=number).random(n)
        normal = ndtri(points[:, :dim]) / np.sqrt(chi2.ppf(points[:, dim:], DOF) / DOF)
        factor = np.linalg.cholesky(shape)
        u = centre + normal @ factor.T
        log_t = -0.5 * (DOF + dim) * np.log1p((normal**2).sum(axis=1) / DOF)
        log_t += gammaln(0.5 * (DOF + dim)) - gammaln(0.5 * DOF) - 0.5 * dim * np.log(DOF * np.pi)
        ratio = log_density(u) - log_t + np.log(np.diag(factor)).sum()
        ratio = np.where(np.isfinite(ratio), ratio, -np.inf)
        weight = np.exp(ratio - ratio.max())
        log_integral = float(ratio.max() + np.log(weight.mean()))
        weight /= weight.sum()
        centre = weight @ u
        shape = (weight[:, None] * (u - centre)).T @ (u - centre)
    return u, weight, log_integral

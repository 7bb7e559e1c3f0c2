"""Mean and spread of effects when experiments are carried by their likelihoods, not by a normal.

For the carried experiments j, with phi_j the regression of the outcome's on the treatment's error
in the reduced form (the effect plus the bias of least squares),

    (beta_j, phi_j) ~ N((beta_bar, phi_bar), spreads sigma_bar and s, correlation r),
    log L_j(beta_j; tau),    tau ~ half-Cauchy(1),    r ~ LKJ(1/2)

with flat priors of phi_bar and log s: without r an experiment with a larger effect, and so a larger
phi_j, would count for less. All others have b_j ~ N(beta_j, s_j^2). Each effect is integrated out
by quadrature, phi_bar and the mean effect given what the carried experiments are centred at in
closed form. What is left are weighted draws: importance sampling from a multivariate t about the
mode, adapted in a few rounds.
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
from skbayesiv._models.history.meta_analysis import GivenSigma, Integrated, Mixture, given_sigma
from skbayesiv._models.history.sums import earlier_experiments, in_chunks
from skbayesiv._models.history.table import History
from skbayesiv._models.parts.priors import log_normal_density
from skbayesiv._models.parts.scales import HALF_CAUCHY, SCALE_PRIORS
from skbayesiv._sampling.proposal import standard_log_t
from skbayesiv._typing import Array

NODES = 41
REACH = 8.0  # standard deviations of the effects to integrate over
ENOUGH = 3  # experiments for a correlation
LEAST, MOST = 1e-12, 300.0
NEIGHBOURS = 20
CHUNK_FLOATS = 1 << 18
N_DRAWS, FEW_DRAWS, ROUNDS = 8192, 4096, 3
MANY = 32  # experiments, with which the posterior is nearly normal
DOF = 5.0
KERNEL = 0.05
MIN_ESS = 100.0


class Hyper(NamedTuple):
    """Hyper-parameters of one treatment's effects, each of shape (N,).

    The carried experiments' effects have the mean `centre` where phi_j is the mean of them all.
    """

    centre: Array
    sigma: Array
    r: Array
    log_tau: Array
    log_k: Array  # sample standard deviation of phi_j over the population's


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
        """Effects of the carried, and their standard errors."""
        at, h = self.carried, self.history
        return h.effects[at, 0], h.std_errors[at, 0]

    @cached_property
    def _rest(self) -> Any:
        """Experiments that are summed up by their effects and errors."""
        rest = np.setdiff1d(np.arange(self.history.n_experiments), self.carried)
        b, s = self.history.effects[rest, 0], self.history.std_errors[rest, 0]
        return earlier_experiments(b - self.history.loc[0], s)

    @property
    def correlated(self) -> bool:
        """Whether there are enough carried experiments for a correlation."""
        return bool(self.phi.any())

    def hyper(self, u: Array) -> tuple[Hyper, Array]:
        """Coordinates (N, 5) -> hyper-parameters, and the unit of the centre (N,).

        The centre is in units of what normal summaries would say, given the spread.
        """
        h = self.history
        given = given_sigma(in_chunks(h.earlier[0], u[:, 1]), h.loc[0], h.scale[0], np)
        unit = np.sqrt(given.variance)
        centre = given.mean + unit * u[:, 0]
        r = np.tanh(u[:, 2]) * self.correlated
        return Hyper(centre, np.exp(u[:, 1]), r, u[:, 3], u[:, 4]), unit

    def log_density(self, u: Array) -> Array:
        """Log density at coordinates (N, 5)."""
        hyper, unit = self.hyper(u)
        of_r = -np.log(np.cosh(np.minimum(np.abs(u[:, 2]), MOST)))
        jacobian = np.log(unit) + u[:, 1] + of_r + u[:, 3]
        return np.asarray(jacobian + self.log_prior(hyper) + self.log_past(hyper))

    def log_prior(self, hyper: Hyper) -> Array:
        """Log prior density of all but the centre and r, the arcsine density of which is simple."""
        h = self.history
        spread = SCALE_PRIORS[h.kind].log_pdf(np.log(hyper.sigma), h.sigma_scale[0], np)
        first_stage = HALF_CAUCHY.log_pdf(hyper.log_tau, 1.0, np)
        n = len(self.phi) if self.correlated else 2  # n k^2 is chi-square with n - 1
        of_k = (n - 1) * hyper.log_k - 0.5 * n * np.exp(2.0 * hyper.log_k)
        return np.asarray(spread + first_stage + of_k)

    def log_past(self, hyper: Hyper) -> Array:
        """Log likelihood of all experiments, their effects and the mean integrated out."""
        given = self._given_rest(hyper)
        centre = log_normal_density(
            hyper.centre, given.mean, np.sqrt(given.variance + self._offset(hyper)), np
        )
        return np.asarray(given.log_evidence + centre + self.log_carried(hyper).sum(axis=1))

    def mean_effect(self, hyper: Hyper) -> tuple[Array, Array]:
        """Mean and variance (N,) of beta_bar given the other experiments and the centre."""
        given = self._given_rest(hyper)
        gain = given.variance / (given.variance + self._offset(hyper))
        mean = given.mean + gain * (hyper.centre - given.mean)
        return mean, given.variance * (1.0 - gain)

    def _given_rest(self, hyper: Hyper) -> GivenSigma:
        h = self.history
        rest = in_chunks(self._rest, np.log(hyper.sigma))
        return given_sigma(rest, h.loc[0], h.scale[0], np)

    def _offset(self, hyper: Hyper) -> Array:
        """Variance (N,) of the centre about beta_bar: phi_bar is that of a sample."""
        share = 1.0 / len(self.phi) if self.correlated else 0.0
        return np.asarray(share * (hyper.r * hyper.sigma) ** 2)

    def log_carried(self, hyper: Hyper) -> Array:
        """Log likelihood (N, J) of each carried experiment, its effect integrated out."""
        n, j = len(hyper.sigma), len(self.carried)
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
        middle = (centre * sd**-2.0 + b * s**-2.0) / precision
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
        slope = hyper.r * hyper.sigma * np.exp(hyper.log_k)
        centre = hyper.centre[:, None] + slope[:, None] * self.phi
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
        return np.array([0.0, math.log(self.history.sigma_scale[0]) - 1.0, 0.0, tau, 0.0])


@dataclass(frozen=True, eq=False)
class IntegratedDraws(Integrated):
    """Where each spread has a mean effect of its own."""

    def variance_at(self, sigma: Array) -> Array:
        """Variance of beta_bar given sigma_bar, over neighbouring draws."""
        edges = np.quantile(np.arange(len(self.sigma)), np.linspace(0.0, 1.0, NEIGHBOURS + 1))
        found = []
        for part in np.split(np.arange(len(self.sigma)), edges[1:-1].astype(int)):
            weight = self.weight[part] + 1e-300
            weight = weight / weight.sum()
            off = self.mean[part] - weight @ self.mean[part]
            found.append(
                [weight @ np.log(self.sigma[part]), weight @ (self.variance[part] + off**2)]
            )
        log_sigma, variance = np.array(found).T
        return np.interp(np.log(sigma), log_sigma, variance)


@dataclass(frozen=True, eq=False)
class HyperDraws:
    """Weighted draws of the hyper-parameters, in the order of their spreads.

    Attributes
    ----------
    posterior : HyperPosterior
    hyper : Hyper
    weight : ndarray of shape (N,)
        They add to one.
    mean, variance : ndarray of shape (N,)
        Of the mean effect at each draw; there is a narrow normal about it at least, for draws
        stand for a density.
    log_evidence : float
        Log probability of the history.
    """

    posterior: HyperPosterior
    hyper: Hyper
    weight: Array
    mean: Array
    variance: Array
    log_evidence: float

    @cached_property
    def integrated(self) -> Integrated:
        """What a history of normal summaries gives: the mean effect at each spread."""
        h = self.posterior.history
        return IntegratedDraws(
            self.hyper.sigma,
            self.weight,
            self.mean,
            self.variance,
            self.log_evidence,
            SCALE_PRIORS[h.kind].order + h.n_experiments,
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
        h = self.posterior.history
        b, s = h.effects[:, 0], h.std_errors[:, 0]
        sd = np.sqrt(self.variance[:, None] + self.hyper.sigma[:, None] ** 2 + s**2)
        each = log_normal_density(b, self.mean[:, None], sd, np)
        each[:, list(h.carried)] = self.posterior.log_carried(self.hyper)
        return np.where(np.isnan(each), 0.0, each)


@lru_cache(maxsize=8)
def integrate_likelihoods(history: History) -> HyperDraws:
    """Weighted draws of a history that carries likelihoods."""
    posterior = HyperPosterior(history)
    n = FEW_DRAWS if len(posterior.carried) > MANY else N_DRAWS
    u, weight, log_evidence = weighted_draws(posterior.log_density, posterior.start(), n)
    order = np.argsort(u[:, 1], kind="stable")
    u, weight = u[order], weight[order]
    hyper, unit = posterior.hyper(u)
    mean, variance = posterior.mean_effect(hyper)
    off = u[:, 0] - weight @ u[:, 0]
    kernel = KERNEL**2 * (weight @ off**2) * unit**2
    return HyperDraws(posterior, hyper, weight, mean, variance + kernel, log_evidence)


def weighted_draws(
    log_density: Callable[[Array], Array], start: Array, n_draws: int = N_DRAWS
) -> tuple[Array, Array, float]:
    """Draws (N, dim), weights that add to one, and the log of the density's integral.

    Importance sampling from a multivariate t, with points of low discrepancy that are always the
    same. It begins at the mode with its curvature; then each round takes location and shape from
    the draws of the one before.
    """
    from scipy.optimize import minimize
    from scipy.special import ndtri
    from scipy.stats import chi2, qmc

    dim = len(start)

    def negative(u: Array) -> float:
        return -float(log_density(u[None])[0])

    found = minimize(negative, start, method="BFGS", options={"gtol": 1e-2, "maxiter": 40})
    centre, shape = found.x, found.hess_inv
    for number in range(ROUNDS):
        n = n_draws if number == ROUNDS - 1 else n_draws // 8
        points = qmc.Sobol(dim + 1, rng=number).random(n)
        normal = ndtri(points[:, :dim]) / np.sqrt(chi2.ppf(points[:, dim:], DOF) / DOF)
        factor = np.linalg.cholesky(shape)
        u = centre + normal @ factor.T
        log_t = standard_log_t(DOF, dim, (normal**2).sum(axis=1))
        ratio = log_density(u) - log_t + np.log(np.diag(factor)).sum()
        ratio = np.where(np.isfinite(ratio), ratio, -np.inf)
        weight = np.exp(ratio - ratio.max())
        log_integral = float(ratio.max() + np.log(weight.mean()))
        weight /= weight.sum()
        centre = weight @ u
        shape = (weight[:, None] * (u - centre)).T @ (u - centre)
    return u, weight, log_integral

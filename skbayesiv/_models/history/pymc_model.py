"""The hierarchical prior of the effect in PyMC, not centred."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbayesiv._models.history.hyperparameters import HyperPosterior
from skbayesiv._models.history.table import History
from skbayesiv._models.parts.priors import Normal
from skbayesiv._models.parts.scales import HALF_CAUCHY, SCALE_PRIORS


def state_history(history: History, vague: Normal, robust_weight: float) -> Any:
    """State earlier experiments and beta_t inside a PyMC model; return beta_t.

    The effects are not centred: beta = beta_t_bar + sigma_t_bar w with standard normal w, which
    avoids the funnel. With a robust prior beta_t is a mixture with the vague component, all its
    treatments together.

    Parameters
    ----------
    history : History
    vague : Normal of shape (K,)
    robust_weight : float
        Prior probability of the vague component.
    """
    import pymc as pm

    model = pm.modelcontext(None)
    model.add_coord("experiment", list(history.names))
    bar = pm.Normal("beta_t_bar", history.loc, history.scale, dims="treatment")
    kind = SCALE_PRIORS[history.kind]
    sigma = kind.to_pymc("sigma_t_bar", history.sigma_scale, dims="treatment")
    w_j = pm.Normal("w_j", 0.0, 1.0, dims=("experiment", "treatment"))
    beta_j = pm.Deterministic("beta_j", bar + sigma * w_j, dims=("experiment", "treatment"))
    known = np.nonzero(~np.isnan(history.effects))
    pm.Normal("effects", beta_j[known], history.std_errors[known], observed=history.effects[known])
    return _state_effect(bar, sigma, vague, robust_weight)


def state_carried(posterior: HyperPosterior, vague: Normal, robust_weight: float) -> Any:
    """The same with likelihoods of some experiments in place of their normal summaries.

    Parameters
    ----------
    posterior : HyperPosterior
        Of a history of one treatment.
    vague : Normal of shape (1,)
    robust_weight : float
    """
    import pymc as pm

    history = posterior.history
    pm.modelcontext(None).add_coord("experiment", list(history.names))
    bar = pm.Normal("beta_t_bar", history.loc, history.scale, dims="treatment")
    sigma = SCALE_PRIORS[history.kind].to_pymc("sigma_t_bar", history.sigma_scale, dims="treatment")
    tau = HALF_CAUCHY.to_pymc("history_beta_z_sd", 1.0)
    w_j = pm.Normal("w_j", 0.0, 1.0, dims=("experiment", "treatment"))
    at, shift, share = posterior.carried, 0.0, 1.0
    if posterior.correlated:
        angle = pm.Uniform("angle", -0.5 * np.pi, 0.5 * np.pi)  # its sine has the arcsine law
        r = pm.Deterministic("history_corr", pm.math.sin(angle))
        # phi_j in units of its sample: mean 0 and standard deviation 1, unlike the population's.
        phi_bar, log_s = pm.Flat("phi_bar"), pm.Flat("log_phi_sd")
        of_phi = pm.logp(pm.Normal.dist(phi_bar, pm.math.exp(log_s)), posterior.phi)
        pm.Potential("phi", of_phi.sum())
        carried = np.eye(len(history.names))[:, at]
        shift = r * (carried @ ((posterior.phi - phi_bar) / pm.math.exp(log_s)))[:, None]
        share = pm.math.sqrt(1.0 - carried.sum(axis=1)[:, None] * r**2)
    beta_j = pm.Deterministic(
        "beta_j", bar + sigma * (shift + share * w_j), dims=("experiment", "treatment")
    )
    rest = np.setdiff1d(np.flatnonzero(~np.isnan(history.effects[:, 0])), at)
    b, s = history.effects[rest, 0], history.std_errors[rest, 0]
    pm.Normal("effects", beta_j[rest, 0], s, observed=b)
    own = posterior.likelihoods.log(beta_j[at, 0], pm.math.log(tau), pm.math)
    pm.Potential("likelihoods", own.sum())
    return _state_effect(bar, sigma, vague, robust_weight)


def _state_effect(bar: Any, sigma: Any, vague: Normal, robust_weight: float) -> Any:
    """The effect, exchangeable with the earlier ones or, with some probability, vague."""
    import pymc as pm

    if not robust_weight:
        w = pm.Normal("w", 0.0, 1.0, dims="treatment")
        return pm.Deterministic("beta_t", bar + sigma * w, dims="treatment")
    components = [
        pm.MvNormal.dist(bar, cov=pm.math.diag(sigma**2)),
        pm.MvNormal.dist(vague.loc, cov=np.diag(vague.scale**2)),
    ]
    return pm.Mixture("beta_t", [1.0 - robust_weight, robust_weight], components, dims="treatment")

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
    r = pm.Uniform("history_corr", -1.0, 1.0)
    tau = HALF_CAUCHY.to_pymc("history_beta_z_sd", 1.0)
    w_j = pm.Normal("w_j", 0.0, 1.0, dims=("experiment", "treatment"))
    phi, carried = np.zeros((len(history.names), 1)), np.zeros((len(history.names), 1))
    phi[posterior.carried, 0], carried[posterior.carried] = posterior.phi, 1.0
    spread = pm.math.sqrt(1.0 - carried * r**2)
    beta_j = pm.Deterministic(
        "beta_j", bar + sigma * (r * phi + spread * w_j), dims=("experiment", "treatment")
    )
    rest = np.nonzero(~np.isnan(history.effects) & (carried == 0.0))
    pm.Normal("effects", beta_j[rest], history.std_errors[rest], observed=history.effects[rest])
    own = posterior.likelihoods.log(beta_j[posterior.carried, 0], pm.math.log(tau), pm.math)
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

"""Tables of a diagnosis: sampler, errors' correlation, standard errors, weight of the prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skbayesiv._linear.equation import Equation
from skbayesiv._linear.estimate import direct_estimate
from skbayesiv._reports.fitted import FittedPosterior
from skbayesiv._sampling.libraries import load_jax
from skbayesiv._typing import Array

TAILS = (0.025, 0.975)


def convergence_table(est: FittedPosterior) -> pd.DataFrame:
    """R-hat, of several chains, and effective sample sizes of what the sampler decides."""
    load_jax()
    from arviz_stats.summary import summary

    posterior = est.idata_.posterior
    names = [str(name) for name in posterior.data_vars if name not in {"corr", "cov", "beta_j"}]
    table = summary(est.idata_, var_names=names, kind="diagnostics", round_to="none")
    table = table[["r_hat", "ess_bulk", "ess_tail"]].astype(float)
    return table if posterior.sizes["chain"] > 1 else table.drop(columns="r_hat")


def error_correlation(est: FittedPosterior) -> pd.DataFrame | None:
    """Posterior of the correlations of the outcome's error with the treatments', if modelled."""
    if "corr" not in est.idata_.posterior:
        return None
    draws = est.idata_.posterior["corr"].to_numpy()[..., 0, 1:]
    draws = draws.reshape(-1, draws.shape[-1])
    low, high = np.quantile(draws, TAILS, axis=0)
    values = {"mean": draws.mean(axis=0), "sd": draws.std(axis=0), "lower": low, "upper": high}
    return pd.DataFrame(values, index=list(est.moments_.columns.treatments))


def standard_errors(rows: Equation) -> pd.DataFrame:
    """Standard errors of the 2SLS effects under each account of the errors that rows allow."""
    kinds = {"classical": "unadjusted"}
    if not rows.classical_only:
        robust = "clustered" if rows.n_clusters else "robust"
        kinds[robust] = robust
    first = len(rows.constant)
    effects = slice(first, first + len(rows.columns.treatments))
    values = {
        name: direct_estimate(replace(rows, cov_type=cov_type)).std_errors[effects]
        for name, cov_type in kinds.items()
    }
    return pd.DataFrame(values, index=list(rows.columns.treatments))


def prior_sensitivity(est: FittedPosterior) -> pd.DataFrame:
    """Power-scaling sensitivity of the effects to the components of the prior.

    References
    ----------
    Kallioinen, N., Paananen, T., Bürkner, P.-C. and Vehtari, A. (2024). Detecting and diagnosing
    prior and likelihood sensitivity with power-scaling. Statistics and Computing 34, 57.
    """
    names = [str(name) for name in est.idata_.log_prior.data_vars]
    values = {
        component: _power_scaling(est.idata_, members)
        for component, members in _components(names).items()
        if members
    }
    return pd.DataFrame(values, index=list(est.moments_.columns.treatments))


def _components(names: Sequence[str]) -> dict[str, list[str]]:
    """Variables of the log prior by component; of a hierarchy only the top level is scaled."""
    top = ["beta_t_bar", "sigma_t_bar"]
    effect = top if top[0] in names else ["beta_t"]
    parts = {"beta_t": effect, "correlation": ["corr"], "direct": ["direct"]}
    taken = {*effect, "corr", "direct", "beta_t", "beta_j"}
    parts = {name: [v for v in part if v in names] for name, part in parts.items()}
    if "beta_z_sd" in names:
        taken.add("beta_z")
    return parts | {"rest": [name for name in names if name not in taken]}


def _power_scaling(tree: Any, members: list[str]) -> Array:
    load_jax()
    from arviz_stats.psense import psense

    total = sum(tree.log_prior[name].to_numpy() for name in members)
    if np.ptp(total) < 1e-9:  # flat
        return np.zeros(tree.posterior["beta_t"].shape[-1])
    scaled = psense(tree, var_names=["beta_t"], group="prior", group_var_names=members)
    return np.atleast_1d(scaled["beta_t"].to_numpy())

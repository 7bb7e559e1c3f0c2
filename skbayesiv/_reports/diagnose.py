"""Fitted posterior -> :class:`Diagnosis`: instruments, errors, prior and sampler."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skbayesiv._linear.equation import Equation
from skbayesiv._linear.estimate import direct_estimate
from skbayesiv._reports.diagnosis import SENSITIVE, Diagnosis
from skbayesiv._reports.iv_summary import strength_or_reason
from skbayesiv._typing import Array
from skbayesiv.diagnostics import InstrumentStrength
from skbayesiv.exceptions import OURS, HeteroskedasticityWarning, WeakInstrumentWarning

DIFFERENT = 0.20
TAILS = (0.025, 0.975)
UNCHECKED = "Heteroskedasticity was not checked, which needs rows: pass X, t, y and z."


def diagnose(est: Any, rows: Equation) -> Diagnosis:
    """Diagnose a fitted posterior and warn of what was found.

    Parameters
    ----------
    est : fitted BayesianIV or HierarchicalBayesianIV
    rows : Equation
        Rows of the fit, or rows made up from its moments.
    """
    table = convergence_table(est)
    divergences = int(est.idata_.sample_stats["diverging"].sum())
    if not est.n_treatments_:
        return Diagnosis(convergence=table, divergences=divergences)
    strength, reason = strength_or_reason(rows, level=0.95, debiased=False)
    unchecked = rows.classical_only and est.likelihood != "gmm"
    errors, sensitivity = standard_errors(rows), prior_sensitivity(est)
    found = (*_weakness(est, strength, sensitivity), *_heteroskedasticity(est, errors))
    for warning in found:
        warnings.warn(warning, skip_file_prefixes=OURS)
    return Diagnosis(
        convergence=table,
        divergences=divergences,
        correlation=error_correlation(est),
        sensitivity=sensitivity,
        std_errors=errors,
        strength=strength,
        note="\n".join(note for note in (reason, UNCHECKED if unchecked else "") if note),
        warnings=found,
    )


def convergence_table(est: Any) -> pd.DataFrame:
    """R-hat and effective sample sizes of the parameters that the sampler decides."""
    from arviz_stats.summary import summary

    posterior = est.idata_.posterior
    names = [str(name) for name in posterior.data_vars if name not in {"corr", "cov", "beta_j"}]
    table = summary(est.idata_, var_names=names, kind="diagnostics", round_to="none")
    return table[["r_hat", "ess_bulk", "ess_tail"]].astype(float)


def error_correlation(est: Any) -> pd.DataFrame | None:
    """Posterior of the correlations of the outcome's error with the treatments'."""
    if est.likelihood == "gmm":
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
        robust = "robust" if rows.clusters is None else "clustered"
        kinds[robust] = robust
    k = rows.endogenous.shape[1]
    values = {
        name: direct_estimate(replace(rows, cov_type=cov_type), debiased=False).std_errors[-k:]
        for name, cov_type in kinds.items()
    }
    return pd.DataFrame(values, index=list(rows.columns.treatments))


def prior_sensitivity(est: Any) -> pd.DataFrame:
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
    return parts | {"rest": [name for name in names if name not in taken]}


def _power_scaling(tree: Any, members: list[str]) -> Array:
    from arviz_stats.psense import psense

    total = sum(tree.log_prior[name].to_numpy() for name in members)
    if np.ptp(total) < 1e-9:  # flat
        return np.zeros(tree.posterior["beta_t"].shape[-1])
    scaled = psense(tree, var_names=["beta_t"], group="prior", group_var_names=members)
    return np.atleast_1d(scaled["beta_t"].to_numpy())


def _weakness(
    est: Any, strength: InstrumentStrength | None, sensitivity: pd.DataFrame
) -> Iterator[WeakInstrumentWarning]:
    """One warning of instruments that may be weak and of priors that the effect leans on."""
    sentences = list(_leaning(est, sensitivity))
    if strength is not None and strength.weakness:
        found = strength.anderson_rubin
        report = (
            f"report the Anderson-Rubin {found.level:.0%} set {found}, which needs no strong "
            "instrument; "
            if found is not None
            else ""
        )
        advice = f"{report}{_refit(est)}."
        advice = advice[0].upper() + advice[1:]
        sentences = [
            f"The instruments may be weak: {strength.weakness}.",
            *sentences,
            advice,
        ]
    if sentences:
        yield WeakInstrumentWarning(" ".join(sentences))


def _leaning(est: Any, sensitivity: pd.DataFrame) -> Iterator[str]:
    """Sentences on the components of the prior that the effects are sensitive to."""
    for component, value in sensitivity.drop(columns="direct", errors="ignore").max().items():
        if value > SENSITIVE:
            yield (
                f"The effect leans on the prior of {component} (power-scaling sensitivity "
                f"{value:.2g}, above {SENSITIVE}): report what other values of "
                f"{_parameters(est, str(component))} give."
            )


def _parameters(est: Any, component: str) -> str:
    """Parameters of an estimator that are a component of its prior."""
    if component == "beta_t":
        history = hasattr(est, "beta_t_bar_scale")
        return "beta_t_bar_scale and sigma_t_bar_scale" if history else "beta_t_scale"
    if component == "correlation":
        return "sigma_prior" if est.sigma_prior == "regression" else "lkj_eta or sigma_prior"
    return "beta_z_scale, gamma_scale, sigma_scale and the intercepts' scales"


def _refit(est: Any) -> str:
    if est.likelihood == "gmm":
        return 'likelihood="gmm" already allows for weak instruments'
    if est.sigma_prior == "regression":
        return 'refit with likelihood="gmm", which keeps coverage'
    return 'refit with likelihood="gmm" or sigma_prior="regression", which keep coverage'


def _heteroskedasticity(est: Any, errors: pd.DataFrame) -> Iterator[HeteroskedasticityWarning]:
    clustered = errors.columns[-1] == "clustered"
    robust_fit = est.likelihood == "gmm"
    if robust_fit and (not clustered or est.fourth_moments_.n_clusters is not None):
        return
    if errors.shape[1] < 2:
        return
    assumed = "takes rows as independent" if clustered else "assumes errors of one variance"
    who = "fit" if robust_fit else "joint normal likelihood"
    refit = 'likelihood="gmm"' + (" and fit(..., clusters=...)" if clustered else "")
    classical, robust = errors.to_numpy().T
    apart = np.abs(robust / classical - 1.0)
    k = int(np.argmax(apart))
    if apart[k] > DIFFERENT:
        yield HeteroskedasticityWarning(
            f"The {errors.columns[1]} standard error of the effect of {errors.index[k]} is "
            f"{robust[k]:.3g}, the classical one {classical[k]:.3g}: {apart[k]:.0%} apart. The "
            f"{who} {assumed}, so its interval can be that much too narrow or too wide: refit "
            f"with {refit}, or report TwoStageLS with its {errors.columns[1]} interval or the "
            "Anderson-Rubin set."
        )

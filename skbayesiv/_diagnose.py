"""Fitted posterior -> :class:`Diagnosis`: instruments, errors, prior and sampler."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skbayesiv._base import OURS
from skbayesiv._diagnosis import SENSITIVE, Diagnosis
from skbayesiv._equation import Equation
from skbayesiv._estimate import direct_estimate
from skbayesiv._iv_summary import strength_or_reason
from skbayesiv.exceptions import HeteroskedasticityWarning, WeakInstrumentWarning

if TYPE_CHECKING:
    import pandas as pd

    from skbayesiv.diagnostics import InstrumentStrength

Array = NDArray[np.float64]

DIFFERENT = 0.20
TAILS = (0.025, 0.975)


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
        return Diagnosis(table, divergences)
    strength, note = strength_or_reason(rows, level=0.95, debiased=False)
    errors, sensitivity = standard_errors(rows), prior_sensitivity(est)
    found = (*_weakness(est, strength, sensitivity), *_heteroskedasticity(est, errors))
    for warning in found:
        warnings.warn(warning, skip_file_prefixes=OURS)
    return Diagnosis(
        table,
        divergences,
        error_correlation(est),
        sensitivity,
        errors,
        strength,
        note,
        tuple(found),
    )


def convergence_table(est: Any) -> pd.DataFrame:
    """R-hat and effective sample sizes of the parameters that the sampler decides."""
    from arviz_stats.summary import summary

    posterior = est.idata_.posterior
    names = [str(name) for name in posterior.data_vars if name not in {"corr", "cov", "beta_j"}]
    table = summary(est.idata_, var_names=names, kind="diagnostics", round_to="none")
    return table[["r_hat", "ess_bulk", "ess_tail"]].astype(float)


def error_correlation(est: Any) -> pd.DataFrame:
    """Posterior of the correlations of the outcome's error with the treatments'."""
    import pandas as pd

    draws = est.idata_.posterior["corr"].to_numpy()[..., 0, 1:]
    draws = draws.reshape(-1, draws.shape[-1])
    low, high = np.quantile(draws, TAILS, axis=0)
    values = {"mean": draws.mean(axis=0), "sd": draws.std(axis=0), "lower": low, "upper": high}
    return pd.DataFrame(values, index=list(est.moments_.columns.treatments))


def standard_errors(rows: Equation) -> pd.DataFrame:
    """Standard errors of the 2SLS effects under each account of the errors that rows allow."""
    import pandas as pd

    kinds = {"classical": "unadjusted"}
    if not rows.classical_only:
        robust = "robust" if rows.clusters is None else "clustered"
        kinds[robust] = robust
    k = rows.endogenous.shape[1]
    values = {
        name: direct_estimate(replace(rows, errors=errors), debiased=False).std_errors[-k:]
        for name, errors in kinds.items()
    }
    return pd.DataFrame(values, index=list(rows.columns.treatments))


def prior_sensitivity(est: Any) -> pd.DataFrame:
    """Power-scaling sensitivity of the effects to the components of the prior.

    References
    ----------
    Kallioinen, N., Paananen, T., Bürkner, P.-C. and Vehtari, A. (2024). Detecting and diagnosing
    prior and likelihood sensitivity with power-scaling. Statistics and Computing 34, 57.
    """
    import pandas as pd

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
    found = []
    if strength is not None and strength.effective_f is not None and strength.weak:
        f, critical = strength.effective_f.f, strength.critical_value
        found.append(f"the effective F is {f:.3g}, below its critical value {critical:.1f}")
    judged = sensitivity.drop(columns="direct", errors="ignore")
    worst = float(judged.max(axis=None)) if judged.size else 0.0
    if worst > SENSITIVE:
        component = judged.max().idxmax()
        found.append(
            f"the effect leans on the prior of {component} (power-scaling sensitivity "
            f"{worst:.2g}, above {SENSITIVE})"
        )
    if found:
        robust = None if strength is None else strength.anderson_rubin
        instead = (
            ""
            if robust is None
            else (
                f" the Anderson-Rubin {robust.level:.0%} set {robust}, which needs no strong "
                "instrument, and"
            )
        )
        yield WeakInstrumentWarning(
            f"The instruments may be weak: {'; '.join(found)}. Report{instead} what other priors "
            f"give (beta_t_scale); {_refit(est)}."
        )


def _refit(est: Any) -> str:
    if est.likelihood == "gmm":
        return 'likelihood="gmm" already allows for weak instruments'
    if est.sigma_prior == "regression":
        return 'refit with likelihood="gmm", which keeps coverage'
    return 'refit with likelihood="gmm" or sigma_prior="regression", which keep coverage'


def _heteroskedasticity(est: Any, errors: pd.DataFrame) -> Iterator[HeteroskedasticityWarning]:
    if est.likelihood == "gmm" or errors.shape[1] < 2:
        return
    classical, robust = errors.to_numpy().T
    apart = np.abs(robust / classical - 1.0)
    k = int(np.argmax(apart))
    if apart[k] > DIFFERENT:
        yield HeteroskedasticityWarning(
            f"The {errors.columns[1]} standard error of the effect of {errors.index[k]} is "
            f"{robust[k]:.3g}, the classical one {classical[k]:.3g}: {apart[k]:.0%} apart. The "
            "joint normal likelihood assumes errors of one variance, so its interval can be that "
            'much too narrow or too wide: refit with likelihood="gmm", or report TwoStageLS with '
            "its robust interval or the Anderson-Rubin set."
        )

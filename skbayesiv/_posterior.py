"""Draws -> an ArviZ DataTree with names, and the check that the chains have converged."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbayesiv import _covariance as cov
from skbayesiv._design import Design
from skbayesiv._exact import Parameters
from skbayesiv._fourth_moments import FourthMoments
from skbayesiv._moments import Moments
from skbayesiv._priors import Normal
from skbayesiv._sampling import MAX_TREE_DEPTH, Draws
from skbayesiv._validation import Columns, IVData
from skbayesiv.exceptions import OURS, ConvergenceWarning

Array = NDArray[Any]

DIMS = {
    "intercept_t": ("treatment",),
    "beta_t": ("treatment",),
    "beta_z": ("instrument", "treatment"),
    "gamma_y": ("covariate",),
    "gamma_t": ("covariate", "treatment"),
    "direct": ("instrument",),
    "sigma": ("equation",),
    "corr": ("equation", "equation_"),
    "cov": ("equation", "equation_"),
    "beta_t_bar": ("treatment",),
    "sigma_t_bar": ("treatment",),
    "beta_j": ("experiment", "treatment"),
}
MOMENT_DIMS: dict[str, tuple[str, ...]] = {
    "mean": ("column",),
    "scatter": ("column", "column_"),
    "weight": (),
    "fourth_total": ("left", "right"),
    "fourth_cross": ("left", "right", "left_", "right_"),
    "fourth_shift": ("column",),
    "fourth_coef": ("covariate", "regressed"),
}
OBSERVED_ROWS = 20_000
MAX_RHAT = 1.01
MIN_ESS = 400


Names = dict[str, list[str]]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of everything, flat over chains: each array has shape (chains * draws, ...).

    Attributes
    ----------
    values : dict of str to ndarray
        By the posterior's names.
    log_prior : dict of str to ndarray of shape (chains * draws,)
    log_likelihood : dict of str to ndarray of shape (chains * draws,)
    """

    values: dict[str, Array]
    log_prior: dict[str, Array]
    log_likelihood: dict[str, Array]


def coordinates(columns: Columns, experiments: tuple[str, ...] = ()) -> Names:
    """Names along each dimension."""
    equations = [columns.outcome, *columns.treatments]
    left = ["1", *columns.covariates, *columns.instruments]
    regressed = [*columns.instruments, *columns.treatments, columns.outcome]
    return {
        "treatment": list(columns.treatments),
        "instrument": list(columns.instruments),
        "covariate": list(columns.covariates),
        "equation": equations,
        "equation_": equations,
        "experiment": list(experiments),
        "column": list(columns.names),
        "column_": list(columns.names),
        "left": left,
        "left_": left,
        "right": ["1", *regressed],
        "right_": ["1", *regressed],
        "regressed": regressed,
    }


def dataset(values: dict[str, Array], dims: dict[str, tuple[str, ...]], names: Names) -> Any:
    """Variables with named dimensions; those without entries are left out."""
    import xarray as xr

    variables = {name: (dims[name], value) for name, value in values.items() if value.size}
    lengths = {
        dim: length
        for used, value in variables.values()
        for dim, length in zip(used, value.shape, strict=True)
    }
    coords: dict[str, Any] = {dim: names[dim] for dim in lengths if dim in names}
    coords |= {dim: np.arange(lengths[dim]) for dim in ("chain", "draw") if dim in lengths}
    return xr.Dataset(variables, coords=coords)


def by_chain(
    values: dict[str, Array],
    chains: int,
    names: Names,
    dims: dict[str, tuple[str, ...]] = DIMS,
) -> Any:
    """Draws of shape (chains * draws, ...) -> a dataset with dims chain and draw first."""
    shaped = {
        name: value.reshape(chains, len(value) // chains, *value.shape[1:])
        for name, value in values.items()
    }
    full = {name: ("chain", "draw", *dims.get(name, ())) for name in shaped}
    return dataset(shaped, full, names)


def build_tree(
    posterior: Posterior,
    draws: Draws,
    names: Names,
    moments: Moments,
    fourth: FourthMoments | None,
    data: IVData | None,
) -> Any:
    """Posterior, statistics, log prior, total log-likelihood and moments in one DataTree."""
    import xarray as xr

    chains = draws.position.shape[0]
    stats = {name: value.reshape(-1) for name, value in draws.stats.items()}
    groups = {
        "posterior": by_chain(posterior.values, chains, names),
        "sample_stats": by_chain(stats, chains, names),
        "log_prior": by_chain(posterior.log_prior, chains, names, {}),
        "log_likelihood": by_chain(posterior.log_likelihood, chains, names, {}),
        "constant_data": dataset(_sums(moments, fourth), MOMENT_DIMS, names),
    }
    if data is not None and data.n_rows <= OBSERVED_ROWS:
        groups["observed_data"] = observed(data)
    for name in ("posterior", "sample_stats"):
        groups[name].attrs["inference_library"] = "skbayesiv"
    return xr.DataTree.from_dict(groups)


def _sums(moments: Moments, fourth: FourthMoments | None) -> dict[str, Array]:
    """What the fit took from the rows."""
    sums = {"mean": moments.mean, "scatter": moments.scatter, "weight": np.array(moments.weight)}
    if fourth is None:
        return sums
    return sums | {
        "fourth_total": fourth.total,
        "fourth_cross": fourth.cross,
        "fourth_shift": fourth.reference.shift,
        "fourth_coef": fourth.reference.coef,
    }


def observed(data: IVData) -> Any:
    """Outcome and treatments as the rows gave them."""
    values = {"y": np.asarray(data.y), "t": np.asarray(data.t)}
    return dataset(values, {"y": ("row",), "t": ("row", "treatment")}, coordinates(data.columns))


def log_prior(design: Design, parameters: Parameters) -> dict[str, Array]:
    """Log prior density of each draw by parameter, in raw units (LKJ up to its constant)."""
    priors, values = design.priors, parameters.values
    out = {}
    for name, prior in priors.normals():
        if name == "alpha":
            continue
        value = parameters.centered.get(name, values.get(name))
        out[name] = _log_normal(np.asarray(value), prior)
    log_sigma = np.log(values["sigma"])
    if priors.alpha is None:
        out["sigma"] = cov.log_half_cauchy(log_sigma, priors.sigma_scale, np).sum(-1)
        if values["sigma"].shape[1] > 1:
            out["corr"] = (priors.lkj_eta - 1.0) * np.linalg.slogdet(values["corr"])[1]
        return out
    return out | _log_prior_regression(values, priors)


def _log_prior_regression(values: dict[str, Array], priors: Any) -> dict[str, Array]:
    """Half-t and half-Cauchy scales under ``sigma``; alpha and the treatments' R under ``corr``."""
    matrix = values["cov"]
    within = matrix[:, 1:, 1:]
    alpha = np.linalg.solve(within, matrix[:, 1:, :1])[..., 0]
    rest = matrix[:, 0, 0] - np.einsum("nk,nk->n", alpha, matrix[:, 0, 1:])
    log_sigma = np.log(values["sigma"][:, 1:])
    sigma = cov.log_half_cauchy(log_sigma, priors.sigma_scale[1:], np).sum(-1)
    sigma = sigma + cov.log_half_t(0.5 * np.log(rest), priors.sigma_scale[0], np)
    corr = _log_normal(alpha, priors.alpha)
    log_det = np.linalg.slogdet(values["corr"][:, 1:, 1:])[1]
    return {"sigma": sigma, "corr": corr + (priors.lkj_eta - 1.0) * log_det}


def _log_normal(value: Array, prior: Normal) -> Array:
    density = cov.log_normal_density(value, prior.loc, prior.scale, np)
    return np.asarray(density.reshape(len(value), -1).sum(axis=1))


def check_convergence(draws: Draws, effect: Array, *, tune: int, target_accept: float) -> None:
    """Warn once, saying what to change, when the chains cannot be relied on.

    Checked are the coordinates that NUTS moves in, and the effect of the treatment; all other
    coefficients are independent draws given these.

    Parameters
    ----------
    draws : Draws
    effect : ndarray of shape (chains, draws, K)
    tune, target_accept
        What was used, for the advice.
    """
    from arviz_stats.base.array import array_stats

    values = np.concatenate([draws.position, effect], axis=-1)
    chains, n_draws = values.shape[:2]
    found = []
    bulk = np.atleast_1d(array_stats.ess(values, chain_axis=0, draw_axis=1, method="bulk")).min()
    tail = np.atleast_1d(
        array_stats.ess(values, chain_axis=0, draw_axis=1, method="tail", prob=(0.05, 0.95))
    ).min()
    if chains > 1:
        rhat = np.atleast_1d(array_stats.rhat(values, chain_axis=0, draw_axis=1)).max()
        if not rhat <= MAX_RHAT:
            found.append(f"R-hat is {rhat:.3f} (above {MAX_RHAT}): raise tune and draws")
    if not min(bulk, tail) >= MIN_ESS:
        found.append(
            f"the effective sample size is {bulk:.0f} in the bulk and {tail:.0f} in the tails "
            f"(below {MIN_ESS}): raise draws (now {n_draws}) or chains (now {chains})"
        )
    divergences = int(draws.stats["diverging"].sum())
    if divergences:
        found.append(
            f"{divergences} transitions diverged: raise target_accept (now {target_accept}) or "
            "use a tighter prior"
        )
    saturated = int((draws.stats["n_steps"] >= 2**MAX_TREE_DEPTH - 1).sum())
    if saturated:
        found.append(
            f"{saturated} transitions reached the maximum tree depth: raise tune (now {tune})"
        )
    if found:
        message = "The sampler has not converged: " + "; ".join(found) + "."
        warnings.warn(message, ConvergenceWarning, skip_file_prefixes=OURS)

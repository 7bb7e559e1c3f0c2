"""The same model row by row, as a textbook writes it, in PyMC.

It is there to be looked at, for prior and posterior prediction and ``pm.do``, and as the
reference that the collapsed density is tested against.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skbayesiv._data.rows import IVData
from skbayesiv._models.normal.design import Design
from skbayesiv._models.parts.error_covariance import join_outcome
from skbayesiv._models.parts.names import DIMS, coordinates
from skbayesiv._models.parts.priors import Normal, Priors
from skbayesiv._models.parts.scales import HALF_CAUCHY, HALF_T
from skbayesiv._sampling.libraries import load_jax
from skbayesiv._typing import Array

Term = tuple[Any, Array, Any]


def state_rows(data: IVData, design: Design, state_effects: Callable[[], Any] | None = None) -> Any:
    """State the model of all rows in PyMC, in the data's own units.

    With D = 1 + K equations, the outcome's first::

        y_i  = intercept_y + t_i' beta_t + x_i' gamma_y + z_i' direct + e_y
        t_ik = intercept_t[k] + z_i' beta_z[:, k] + x_i' gamma_t[:, k] + e_tk
        (e_y, e_t) ~ N(0, cov)

    Parameters
    ----------
    data : IVData
        Frequency weights, if any, multiply the rows' log densities.
    design : Design
        The priors, and the means at which centred intercepts are taken.
    state_effects : callable, optional
        States `beta_t` inside the model and returns it, in place of its normal prior.

    Returns
    -------
    pymc.Model
        Variables have the posterior's names. A centred intercept is computed from
        ``intercept_y_centered`` or ``intercept_t_centered``, of which its prior speaks. The
        observed ``y_t`` has dims row and equation; its data are ``responses``. The regressors
        ``x``, ``z`` and ``t`` (those that have columns) and ``weight`` are data of their own.

    Notes
    -----
    ``pm.do(model, {"t": value})`` is an intervention: the first column of ``y_t`` is then the
    outcome under that treatment. For other rows give ``pm.set_data`` all data along row
    (placeholders for ``responses``) and ``coords={"row": ...}``. Draws of the collapsed posterior
    serve for prediction when what PyMC would compute is frozen::

        pm.sample_posterior_predictive(idata, freeze_vars=["intercept_y", "intercept_t", "cov"])
    """
    load_jax()
    import pymc as pm

    names = coordinates(data.columns)
    coords = {dim: names[dim] for dims in DIMS.values() for dim in dims if names.get(dim)}
    with pm.Model(coords={"row": range(data.n_rows), **coords}) as model:
        beta_t = state_effects() if state_effects else _normal("beta_t", design.priors.beta_t)
        add_rows(data, design, beta_t)
    return model


def add_rows(data: IVData, design: Design, beta_t: Any, row: str = "row") -> None:
    """State the model of rows, but for the effects, inside a PyMC model with dimension `row`."""
    import pymc as pm

    columns, mean, priors = data.columns, design.std.mean, design.priors
    x = _regressors("x", data.x, (row, "covariate"))
    z = _regressors("z", data.z, (row, "instrument"))
    t = _regressors("t", data.t, (row, "treatment"))
    outcome = [
        (t, mean[columns.t], beta_t),
        (x, mean[columns.x], _normal("gamma_y", priors.gamma_y)),
        (z, mean[columns.z], _normal("direct", priors.direct)),
    ]
    means = [_mean("intercept_y", outcome, priors)[..., None]]
    if columns.treatments:
        first_stage = [
            (z, mean[columns.z], _first_stage(priors)),
            (x, mean[columns.x], _normal("gamma_t", priors.gamma_t)),
        ]
        means.append(_mean("intercept_t", first_stage, priors))
    _observe(data, pm.math.concatenate(means, axis=-1), _error_covariance(design), row)


def _regressors(name: str, value: Array, dims: tuple[str, str]) -> Any:
    """A data container of rows and columns, or None without columns."""
    import pymc as pm

    return pm.Data(name, np.asarray(value, dtype=float), dims=dims) if value.size else None


def _normal(name: str, prior: Normal | None) -> Any:
    """Independent normal coefficients, or None when there are none."""
    import pymc as pm

    if prior is None or not prior.loc.size:
        return None
    return pm.Normal(name, prior.loc, prior.scale, dims=DIMS.get(name.removesuffix("_centered")))


def _first_stage(priors: Priors) -> Any:
    """Coefficients of the instruments, whose spread may have a prior of its own."""
    import pymc as pm

    if priors.beta_z_sd_scale is None:
        return _normal("beta_z", priors.beta_z)
    dims = DIMS["beta_z_sd"]
    beta_z_sd = HALF_CAUCHY.to_pymc("beta_z_sd", priors.beta_z_sd_scale, dims=dims)
    per_sd = priors.beta_z.scale / priors.beta_z_sd_scale  # 1 / sd z
    return pm.Normal("beta_z", priors.beta_z.loc, per_sd * beta_z_sd, dims=DIMS["beta_z"])


def _mean(intercept: str, terms: list[Term], priors: Priors) -> Any:
    """Mean of a response: its intercept plus regressors times coefficients.

    `terms` hold (regressors, their means m, coefficients b or None). A centred intercept c is
    the mean at the means: intercept = c - m'b.
    """
    import pymc as pm

    used = [term for term in terms if term[2] is not None]
    slopes = sum((columns @ b for columns, _, b in used), pm.math.zeros(()))
    prior: Normal | None = getattr(priors, intercept)
    if prior is None:
        return slopes
    if not priors.centered:
        return _normal(intercept, prior) + slopes
    level = _normal(f"{intercept}_centered", prior) - sum((m @ b for _, m, b in used), 0.0)
    return pm.Deterministic(intercept, level, dims=DIMS.get(intercept)) + slopes


def _error_covariance(design: Design) -> Any:
    """Covariance of the errors with its prior; sigma and corr are computed from it."""
    import pymc as pm

    if not design.shape.n_treatments:
        sigma = HALF_CAUCHY.to_pymc("sigma", design.priors.sigma_scale, dims=DIMS["sigma"])
        matrix = pm.Deterministic("cov", pm.math.diag(sigma**2), dims=DIMS["cov"])
    else:
        if design.priors.alpha is None:
            factor = _lkj_factor("chol_cov", design, 0)
            matrix = factor @ factor.T
        else:
            matrix = _regression_covariance(design)
        matrix = pm.Deterministic("cov", matrix, dims=DIMS["cov"])
        sigma = pm.Deterministic("sigma", pm.math.sqrt(pm.math.diag(matrix)), dims=DIMS["sigma"])
    pm.Deterministic("corr", matrix / sigma / sigma[:, None], dims=DIMS["corr"])
    return matrix


def _lkj_factor(name: str, design: Design, first: int) -> Any:
    """Cholesky factor for the equations from `first` on: half-Cauchy scales and LKJ."""
    import pymc as pm

    scale = design.priors.sigma_scale[first:]
    if len(scale) == 1:
        return HALF_CAUCHY.to_pymc("sigma_t", scale, dims="treatment")[None]
    return pm.LKJCholeskyCov(
        name,
        eta=design.priors.lkj_eta,
        n=len(scale),
        sd_dist=HALF_CAUCHY.to_pymc(None, scale),
        store_in_trace=False,
    )[0]


def _regression_covariance(design: Design) -> Any:
    """Covariance of (e_y, e_t) with e_y = alpha'e_t + v: the outcome's row from the treatments'."""
    import pymc as pm

    prior = design.priors.alpha
    assert prior is not None
    factor = _lkj_factor("chol_cov_t", design, 1)
    alpha = pm.Normal("alpha", prior.loc, prior.scale, dims="treatment")
    sd_v = HALF_T.to_pymc("sigma_v", design.priors.sigma_scale[0])
    return join_outcome(alpha, sd_v**2, factor @ factor.T, pm.math)


def _observe(data: IVData, mean: Any, matrix: Any, row: str) -> None:
    """Observe the responses; a weight w makes a row count w times."""
    import pymc as pm

    values = np.column_stack([data.y, data.t]).astype(float)
    dims = (row, "equation")
    options = {"observed": pm.Data("responses", values, dims=dims), "dims": dims}
    if data.sample_weight is None:
        pm.MvNormal("y_t", mean, cov=matrix, **options)
        return

    def dist(mean: Any, matrix: Any, weight: Any, size: Any) -> Any:
        return pm.MvNormal.dist(mean, cov=matrix, size=size)

    def logp(value: Any, mean: Any, matrix: Any, weight: Any) -> Any:
        return weight * pm.logp(pm.MvNormal.dist(mean, cov=matrix), value)

    weight = pm.Data("weight", data.sample_weight, dims=row)
    pm.CustomDist(
        "y_t",
        mean,
        matrix,
        weight,
        dist=dist,
        logp=logp,
        signature="(d),(d,d),()->(d)",
        class_name="WeightedMvNormal",
        **options,
    )

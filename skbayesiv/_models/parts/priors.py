"""Estimator parameters + moments -> frozen :class:`Priors`, in the data's own units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skbayesiv._data.standardised import Standardised
from skbayesiv._typing import Array

AUTO_WIDTH = 2.5


@dataclass(frozen=True, eq=False)
class Normal:
    """Independent normal priors: `loc` and `scale` have the shape of the parameter."""

    loc: Array
    scale: Array


@dataclass(frozen=True, eq=False)
class Priors:
    """Priors of every parameter in raw units; P covariates, Q instruments, K treatments.

    Attributes
    ----------
    intercept_y : Normal of shape (), or None without an intercept
    intercept_t : Normal of shape (K,), or None without an intercept
    beta_t : Normal of shape (K,)
    beta_z : Normal of shape (Q, K)
    gamma_y : Normal of shape (P,)
    gamma_t : Normal of shape (P, K)
    direct : Normal of shape (Q,), or None
        Direct effects of the instruments on the outcome, None under exact exclusion.
    sigma_scale : ndarray of shape (1 + K,)
        Scales of the half-Cauchy (or half-t) priors: outcome, then treatments.
    alpha : Normal of shape (K,), or None
        Regression of the outcome's error on the treatments' (``sigma_prior="regression"``);
        without treatments there is none, and both forms of the prior are one.
    lkj_eta : float
    centered : bool
        Whether the intercepts' priors speak of the value at the mean of the regressors.
    """

    intercept_y: Normal | None
    intercept_t: Normal | None
    beta_t: Normal
    beta_z: Normal
    gamma_y: Normal
    gamma_t: Normal
    direct: Normal | None
    sigma_scale: Array
    alpha: Normal | None
    lkj_eta: float
    centered: bool

    def normals(self) -> Iterator[tuple[str, Normal]]:
        """Names and values of the normal priors in use."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Normal) and value.loc.size:
                yield field.name, value


def build_priors(est: Any, std: Standardised) -> Priors:
    """Priors of an estimator; "auto" scales come from the weighted moments of the data.

    Parameters
    ----------
    est : BayesianIV
        Source of the parameters ``*_loc``, ``*_scale``, `lkj_eta`, `sigma_prior`,
        `intercept_prior`, `exclusion_scale` and `fit_intercept`.
    std : Standardised
    """
    c = std.columns
    sd_x, sd_z, sd_t, sd_y = std.sd[c.x], std.sd[c.z], std.sd[c.t], std.sd[c.y]
    p, q, k = len(sd_x), len(sd_z), len(sd_t)
    wide = AUTO_WIDTH
    intercept_y = intercept_t = None
    if est.fit_intercept:
        intercept_y = _normal(est, "intercept_y", (), std.mean[c.y], wide * sd_y)
        intercept_t = _normal(est, "intercept_t", (k,), std.mean[c.t], wide * sd_t)
    auto_y, auto_t = wide * sd_y / sd_x, wide * sd_t / sd_x[:, None]
    gamma = positive_or_auto(est.gamma_scale, "gamma_scale", (p,), np.nan)
    sigma = positive_or_auto(est.sigma_scale, "sigma_scale", (1 + k,), wide * np.append(sd_y, sd_t))
    return Priors(
        intercept_y=intercept_y,
        intercept_t=intercept_t,
        beta_t=_normal(est, "beta_t", (k,), 0.0, wide * sd_y / sd_t),
        beta_z=_normal(est, "beta_z", (q, k), 0.0, wide * sd_t / sd_z[:, None]),
        gamma_y=Normal(
            finite_or_auto(est.gamma_y_loc, "gamma_y_loc", (p,), 0.0),
            np.where(np.isnan(gamma), auto_y, gamma),
        ),
        gamma_t=Normal(
            finite_or_auto(est.gamma_t_loc, "gamma_t_loc", (p, k), 0.0),
            np.where(np.isnan(gamma[:, None]), auto_t, gamma[:, None]),
        ),
        direct=_direct(est.exclusion_scale, q),
        sigma_scale=sigma,
        alpha=_alpha(est.sigma_prior, wide * sd_y / sd_t),
        lkj_eta=float(est.lkj_eta),
        centered=est.intercept_prior == "centered" and bool(est.fit_intercept),
    )


def _alpha(sigma_prior: str, scale: Array) -> Normal | None:
    if sigma_prior != "regression" or not scale.size:
        return None
    return Normal(np.zeros_like(scale), scale)


def _direct(scale: ArrayLike, q: int) -> Normal | None:
    value = finite_or_auto(scale, "exclusion_scale", (q,), 0.0)
    if (value < 0).any():
        raise ValueError(f"exclusion_scale must be zero or positive; got {scale!r}.")
    if not value.any():
        return None
    if not value.all():
        raise ValueError(
            f"exclusion_scale must be positive for every instrument or zero for all; got {scale!r}."
        )
    return Normal(np.zeros(q), value)


def _normal(
    est: Any, name: str, shape: tuple[int, ...], loc: ArrayLike, scale: ArrayLike
) -> Normal:
    return Normal(
        finite_or_auto(getattr(est, f"{name}_loc"), f"{name}_loc", shape, loc),
        positive_or_auto(getattr(est, f"{name}_scale"), f"{name}_scale", shape, scale),
    )


def positive_or_auto(value: Any, name: str, shape: tuple[int, ...], auto: ArrayLike) -> Array:
    """Broadcast a scale, or its automatic value, to the shape of what it scales."""
    array = finite_or_auto(value, name, shape, auto)
    if (array <= 0).any():
        raise ValueError(f'{name} must be positive or "auto"; got {value!r}.')
    return array


def finite_or_auto(value: Any, name: str, shape: tuple[int, ...], auto: ArrayLike) -> Array:
    """Broadcast a parameter, or its automatic value, to the shape of what it describes."""
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(
                f'{name} must be a number, an array of numbers or "auto"; got {value!r}.'
            )
        return np.array(np.broadcast_to(np.asarray(auto, dtype=float), shape))
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(
            f'{name} must be a number, an array of numbers or "auto"; got {value!r}.'
        ) from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got {value!r}.")
    try:
        return np.array(np.broadcast_to(array, shape))
    except ValueError:
        raise ValueError(
            f"{name} must be a number or have shape {shape}; got shape {array.shape}."
        ) from None

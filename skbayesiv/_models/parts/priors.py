"""Estimator parameters + moments -> frozen :class:`Priors`, in the data's own units."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from skbayesiv._data.standardised import Standardised
from skbayesiv._models.parts.names import Coords, entry_name
from skbayesiv._models.parts.scales import HALF_CAUCHY, HALF_T
from skbayesiv._typing import Array, Values

AUTO_WIDTH = 2.5
LEARNED = "learned"
RANGE = 1e50


def log_normal_density(x: Any, loc: Any, scale: Any, xp: Any) -> Any:
    """Log density of x under N(loc, scale^2)."""
    ratio = (x - loc) / scale
    return -0.5 * ratio * ratio - xp.log(scale) - 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Normal:
    """Independent normal priors: `loc` and `scale` have the shape of the parameter."""

    loc: Array
    scale: Array

    def log_density(self, value: Array) -> Array:
        """Log density of draws (N, ...), summed over the parameter's entries, shape (N,)."""
        density = log_normal_density(value, self.loc, self.scale, np)
        return np.asarray(density.reshape(len(value), -1).sum(axis=1))

    def draw(self, n_draws: int, generator: np.random.Generator) -> Array:
        """Draws of shape (n_draws, ...)."""
        noise = generator.standard_normal((n_draws, *self.loc.shape))
        return np.asarray(self.loc + self.scale * noise)


class PriorParameters(Protocol):
    """An estimator's parameters that a model is built from; see :class:`BayesianIV`."""

    intercept_y_loc: Any
    intercept_y_scale: Any
    intercept_t_loc: Any
    intercept_t_scale: Any
    beta_t_loc: Any
    beta_t_scale: Any
    beta_z_loc: Any
    beta_z_scale: Any
    gamma_y_loc: Any
    gamma_t_loc: Any
    gamma_scale: Any
    sigma_scale: Any
    lkj_eta: float
    sigma_prior: str
    likelihood: str
    exclusion_scale: Any
    intercept_prior: str
    fit_intercept: bool


class PriorRow(NamedTuple):
    """One line of a table of priors, in the data's units."""

    distribution: str
    loc: float
    scale: float


@dataclass(frozen=True, eq=False)
class Priors:
    """Priors of every parameter in raw units; P covariates, Q instruments, K treatments.

    Attributes
    ----------
    intercept_y : Normal of shape (), or None without an intercept
    intercept_t : Normal of shape (K,), or None without an intercept
    beta_t : Normal of shape (K,)
    beta_z : Normal of shape (Q, K)
        Where its spread is learnt, the prior at ``beta_z_sd = beta_z_sd_scale``.
    beta_z_sd_scale : ndarray of shape (K,), or None
        Scales of the half-Cauchy priors of ``beta_z_sd``, the spread of each treatment's first
        stage in units of the treatment per standard deviation of an instrument; None where it is
        fixed.
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
    beta_z_sd_scale: Array | None
    gamma_y: Normal
    gamma_t: Normal
    direct: Normal | None
    sigma_scale: Array
    alpha: Normal | None
    lkj_eta: float
    centered: bool

    def first_stage(self, values: Values) -> Normal:
        """Prior of beta_z at each draw of `values`, given ``beta_z_sd`` (N, K) where learnt."""
        if self.beta_z_sd_scale is None:
            return self.beta_z
        relative = values["beta_z_sd"] / self.beta_z_sd_scale
        return Normal(self.beta_z.loc, self.beta_z.scale * relative[:, None, :])

    def normals(self) -> Iterator[tuple[str, Normal]]:
        """Names and values of the normal priors in use."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Normal) and value.loc.size:
                yield field.name, value

    def table(self, coords: Coords) -> dict[str, PriorRow]:
        """Priors by parameter, entry by entry, in the data's units."""
        rows: dict[str, PriorRow] = {}
        for name, prior in self.normals():
            label = f"{name} (centered)" if self.centered and "intercept" in name else name
            learnt = name == "beta_z" and self.beta_z_sd_scale is not None
            if learnt:
                rows |= self._spread_rows(coords)
            for index in np.ndindex(prior.loc.shape):
                loc, scale = float(prior.loc[index]), float(prior.scale[index])
                row = PriorRow("Normal", loc, scale)
                if learnt:
                    row = PriorRow(f"Normal({loc:g}, beta_z_sd / sd z)", np.nan, np.nan)
                rows[label + entry_name(name, index, coords)] = row
        for d, equation in enumerate(coords["equation"][: len(self.sigma_scale)]):
            given_t = self.alpha is not None and d == 0
            kind = HALF_T if given_t else HALF_CAUCHY
            label = f"sigma[{equation} | t]" if given_t else f"sigma[{equation}]"
            rows[label] = PriorRow(kind.label, 0.0, self.sigma_scale[d])
        if len(self.sigma_scale) > (1 if self.alpha is None else 2):
            rows["corr"] = PriorRow(f"LKJ({self.lkj_eta:g})", np.nan, np.nan)
        return rows

    def _spread_rows(self, coords: Coords) -> dict[str, PriorRow]:
        """Priors of the first stages' spread, where it is learnt."""
        assert self.beta_z_sd_scale is not None
        scales = zip(coords["treatment"], self.beta_z_sd_scale, strict=True)
        return {
            f"beta_z_sd[{name}]": PriorRow(HALF_CAUCHY.label, 0.0, float(scale))
            for name, scale in scales
        }


def build_priors(parameters: PriorParameters, std: Standardised) -> Priors:
    """Priors of an estimator; "auto" scales come from the weighted moments of the data.

    Parameters
    ----------
    parameters : PriorParameters
    std : Standardised
    """
    c = std.columns
    sd_x, sd_z, sd_t, sd_y = std.sd[c.x], std.sd[c.z], std.sd[c.t], std.sd[c.y]
    p, k = len(sd_x), len(sd_t)
    wide = AUTO_WIDTH
    intercept_y = intercept_t = None
    if parameters.fit_intercept:
        intercept_y = _normal(parameters, "intercept_y", (), std.mean[c.y], wide * sd_y)
        intercept_t = _normal(parameters, "intercept_t", (k,), std.mean[c.t], wide * sd_t)
    auto_y, auto_t = wide * sd_y / sd_x, wide * sd_t / sd_x[:, None]
    gamma = positive_or_auto(parameters.gamma_scale, "gamma_scale", (p,), np.nan)
    check_range(gamma, "gamma_scale", auto_y)
    check_range(gamma[:, None], "gamma_scale", auto_t)
    spread = wide * np.append(sd_y, sd_t)
    sigma = _scale(parameters.sigma_scale, "sigma_scale", (1 + k,), spread)
    beta_z, beta_z_sd_scale = _first_stage(parameters, sd_t, sd_z)
    return Priors(
        intercept_y=intercept_y,
        intercept_t=intercept_t,
        beta_t=_normal(parameters, "beta_t", (k,), 0.0, wide * sd_y / sd_t),
        beta_z=beta_z,
        beta_z_sd_scale=beta_z_sd_scale,
        gamma_y=Normal(
            _loc(parameters.gamma_y_loc, "gamma_y_loc", (p,), auto_y),
            np.where(np.isnan(gamma), auto_y, gamma),
        ),
        gamma_t=Normal(
            _loc(parameters.gamma_t_loc, "gamma_t_loc", (p, k), auto_t),
            np.where(np.isnan(gamma[:, None]), auto_t, gamma[:, None]),
        ),
        direct=_direct(parameters.exclusion_scale, wide * sd_y / sd_z),
        sigma_scale=sigma,
        alpha=_alpha(parameters.sigma_prior, wide * sd_y / sd_t),
        lkj_eta=float(parameters.lkj_eta),
        centered=parameters.intercept_prior == "centered" and bool(parameters.fit_intercept),
    )


def _first_stage(
    parameters: PriorParameters, sd_t: Array, sd_z: Array
) -> tuple[Normal, Array | None]:
    """Prior of beta_z, and the scales of its spread's prior where that is learnt."""
    unit = sd_t / sd_z[:, None]
    given = parameters.beta_z_scale
    learned = isinstance(given, str) and given == LEARNED
    if not learned:
        return _normal(parameters, "beta_z", unit.shape, 0.0, AUTO_WIDTH * unit), None
    loc = _loc(parameters.beta_z_loc, "beta_z_loc", unit.shape, unit)
    return Normal(loc, unit), sd_t if unit.size else None


def _alpha(sigma_prior: str, scale: Array) -> Normal | None:
    if sigma_prior != "regression" or not scale.size:
        return None
    return Normal(np.zeros_like(scale), scale)


def _direct(scale: ArrayLike, unit: Array) -> Normal | None:
    q = len(unit)
    value = finite_or_auto(scale, "exclusion_scale", (q,), 0.0)
    if (value < 0).any():
        raise ValueError(f"exclusion_scale must be zero or positive; got {scale!r}.")
    if not value.any():
        return None
    if not value.all():
        raise ValueError(
            f"exclusion_scale must be positive for every instrument or zero for all; got {scale!r}."
        )
    check_range(value, "exclusion_scale", unit)
    return Normal(np.zeros(q), value)


def _normal(
    parameters: PriorParameters, name: str, shape: tuple[int, ...], loc: ArrayLike, scale: ArrayLike
) -> Normal:
    width = _scale(getattr(parameters, f"{name}_scale"), f"{name}_scale", shape, scale)
    return Normal(_loc(getattr(parameters, f"{name}_loc"), f"{name}_loc", shape, scale, loc), width)


def _scale(value: Any, name: str, shape: tuple[int, ...], auto: ArrayLike) -> Array:
    width = positive_or_auto(value, name, shape, auto)
    if not isinstance(value, str):
        check_range(width, name, auto)
    return width


def _loc(
    value: Any, name: str, shape: tuple[int, ...], unit: ArrayLike, auto: ArrayLike = 0.0
) -> Array:
    array = finite_or_auto(value, name, shape, auto)
    if not isinstance(value, str):
        check_range(np.abs(array), name, unit, zero=True)
    return array


def check_range(value: Array, name: str, unit: ArrayLike, *, zero: bool = False) -> None:
    """Raise if a prior is so far from the data's unit that its square is no number."""
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = value / np.asarray(unit)
        bad = (ratio > RANGE) if zero else (ratio > RANGE) | (ratio < 1.0 / RANGE)
    if bad.any():
        raise ValueError(
            f"{name} must be within a factor of {RANGE:g} of the data's unit, "
            f"{np.broadcast_to(unit, bad.shape)[bad][0]:.6g}; got "
            f"{np.broadcast_to(value, bad.shape)[bad][0]:.6g}."
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
        return np.full(shape, auto, dtype=float)
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

"""Priors of standard deviations: half-Cauchy, half-normal and half-t."""

from __future__ import annotations

import math
from typing import Any

HALF_T_DF = 3.0


def log_half_cauchy(log_x: Any, scale: Any, xp: Any) -> Any:
    """Log density of x under HalfCauchy(scale), given log x."""
    ratio = xp.exp(log_x) / scale
    return math.log(2.0 / math.pi) - xp.log(scale) - xp.log1p(ratio * ratio)


def log_half_t(log_x: Any, scale: Any, xp: Any) -> Any:
    """Log density of x under a half-t with `HALF_T_DF` degrees of freedom."""
    nu = HALF_T_DF
    const = (
        math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi) + math.log(2)
    )
    ratio = xp.exp(log_x) / scale
    return const - xp.log(scale) - 0.5 * (nu + 1) * xp.log1p(ratio * ratio / nu)


def log_normal_density(x: Any, loc: Any, scale: Any, xp: Any) -> Any:
    """Log density of x under N(loc, scale^2)."""
    ratio = (x - loc) / scale
    return -0.5 * ratio * ratio - xp.log(scale) - 0.5 * math.log(2 * math.pi)

"""Priors of standard deviations: each has its log density, its draws, its PyMC form and a label.

A prior added to `SCALE_PRIORS` can be chosen by its name for the spread of effects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from skbayesiv._typing import Array


class ScalePrior(Protocol):
    """Distribution of a positive number with a scale.

    Attributes
    ----------
    label : str
    order : float
        It has moments below this order only.
    """

    @property
    def label(self) -> str: ...

    @property
    def order(self) -> float: ...

    def log_pdf(self, log_x: Any, scale: Any, xp: Any) -> Any:
        """Log density of x, given log x, under NumPy or JAX."""

    def draw(self, scale: Any, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        """Draws of the given shape."""

    def to_pymc(self, name: str | None, scale: Any, **options: Any) -> Any:
        """Variable of a PyMC model or, without a name, its distribution."""


@dataclass(frozen=True)
class HalfCauchy:
    """Absolute value of a Cauchy variable."""

    label: ClassVar[str] = "HalfCauchy"
    order: ClassVar[float] = 1.0

    def log_pdf(self, log_x: Any, scale: Any, xp: Any) -> Any:
        """Log density of x, given log x."""
        ratio = xp.exp(log_x) / scale
        return math.log(2.0 / math.pi) - xp.log(scale) - xp.log1p(ratio * ratio)

    def draw(self, scale: Any, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        """Draws of the given shape."""
        return np.asarray(scale * np.abs(generator.standard_cauchy(shape)))

    def to_pymc(self, name: str | None, scale: Any, **options: Any) -> Any:
        """Variable or, without a name, distribution."""
        import pymc as pm

        return pm.HalfCauchy(name, scale, **options) if name else pm.HalfCauchy.dist(scale)


@dataclass(frozen=True)
class HalfNormal:
    """Absolute value of a centred normal variable."""

    label: ClassVar[str] = "HalfNormal"
    order: ClassVar[float] = math.inf

    def log_pdf(self, log_x: Any, scale: Any, xp: Any) -> Any:
        """Log density of x, given log x."""
        ratio = xp.exp(log_x) / scale
        return 0.5 * math.log(2.0 / math.pi) - xp.log(scale) - 0.5 * ratio * ratio

    def draw(self, scale: Any, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        """Draws of the given shape."""
        return np.asarray(scale * np.abs(generator.standard_normal(shape)))

    def to_pymc(self, name: str | None, scale: Any, **options: Any) -> Any:
        """Variable or, without a name, distribution."""
        import pymc as pm

        return pm.HalfNormal(name, scale, **options) if name else pm.HalfNormal.dist(scale)


@dataclass(frozen=True)
class HalfT:
    """Absolute value of Student's t."""

    dof: float

    @property
    def label(self) -> str:
        """Name with the degrees of freedom."""
        return f"HalfStudentT({self.dof:g})"

    @property
    def order(self) -> float:
        """Moments exist below the degrees of freedom."""
        return self.dof

    def log_pdf(self, log_x: Any, scale: Any, xp: Any) -> Any:
        """Log density of x, given log x."""
        nu = self.dof
        tail = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)
        const = tail - 0.5 * math.log(nu * math.pi) + math.log(2)
        ratio = xp.exp(log_x) / scale
        return const - xp.log(scale) - 0.5 * (nu + 1) * xp.log1p(ratio * ratio / nu)

    def draw(self, scale: Any, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        """Draws of the given shape."""
        return np.asarray(scale * np.abs(generator.standard_t(self.dof, shape)))

    def to_pymc(self, name: str | None, scale: Any, **options: Any) -> Any:
        """Variable or, without a name, distribution."""
        import pymc as pm

        if name is None:
            return pm.HalfStudentT.dist(self.dof, scale)
        return pm.HalfStudentT(name, self.dof, scale, **options)


HALF_CAUCHY, HALF_NORMAL, HALF_T = HalfCauchy(), HalfNormal(), HalfT(3.0)

SCALE_PRIORS: dict[str, ScalePrior] = {
    "half-cauchy": HALF_CAUCHY,
    "half-normal": HALF_NORMAL,
    "half-t": HALF_T,
}

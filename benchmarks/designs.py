"""Simulated experiments whose effect is known: the cells of the table of coverage.

A design draws a :class:`Sample`. `honest` says whether the default interval of BayesianIV is right
by construction (True), wrong enough to be warned of (False), or between the two (None): unequal
variances that move the standard error by 10 to 15%.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

CORRELATIONS = (0.0, 0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Sample:
    """One simulated experiment: y (n,), t (n,), z (n, Q), X (n, P) or None, clusters or None."""

    y: np.ndarray
    t: np.ndarray
    z: np.ndarray
    clusters: np.ndarray | None = None
    X: np.ndarray | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray | None]:
        """Arguments of a diagnostic."""
        return vars(self)


@dataclass(frozen=True)
class Design:
    """Where samples come from, the effect in them, and whether the default is honest there."""

    name: str
    draw: Callable[[np.random.Generator], Sample]
    effect: float
    honest: bool | None


def correlated(rng: np.random.Generator, v: np.ndarray, rho: float) -> np.ndarray:
    """Errors of unit variance whose correlation with v is rho."""
    return rho * v + np.sqrt(1.0 - rho**2) * rng.normal(size=len(v))


def instruments(
    q: int, concentration: float, n: int, rho: float
) -> Callable[[np.random.Generator], Sample]:
    """Q equally strong normal instruments with a first-stage F of about 1 + concentration / Q."""

    def draw(rng: np.random.Generator) -> Sample:
        z, v = rng.normal(size=(n, q)), rng.normal(size=n)
        t = np.sqrt(concentration / n / q) * z.sum(axis=1) + v
        return Sample(t + correlated(rng, v, rho), t, z)

    return draw


def assigned(rng: np.random.Generator, n: int, share: float) -> np.ndarray:
    """Assignment of exactly this share."""
    return rng.permutation(np.arange(n) < n * share).astype(float)


def one_sided(share: float) -> Callable[[np.random.Generator], Sample]:
    """1,000 rows, 60% of the assigned take the treatment, effects on them N(1, 3^2)."""

    def draw(rng: np.random.Generator) -> Sample:
        z, taker = assigned(rng, 1000, share), rng.normal(size=1000)
        t = z * (taker > stats.norm.ppf(0.4))
        y = 0.5 * taker + rng.normal(size=1000) + t * (1.0 + 3.0 * rng.normal(size=1000))
        return Sample(y, t, z[:, None])

    return draw


def with_compliers(
    rng: np.random.Generator, n: int, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who complies, four in ten; assignment; treatment, which nobody gets unassigned."""
    complier = rng.uniform(size=n) < 0.4
    z = assigned(rng, n, share)
    return complier, z, z * complier


def conversion(share: float) -> Callable[[np.random.Generator], Sample]:
    """5,000 rows of which 2% convert; the effect on the 40% compliers is two points."""

    def draw(rng: np.random.Generator) -> Sample:
        complier, z, t = with_compliers(rng, 5000, share)
        y = rng.uniform(size=5000) < np.where(complier, 0.025, 0.017) + 0.02 * t
        return Sample(y.astype(float), t, z[:, None])

    return draw


def revenue(share: float) -> Callable[[np.random.Generator], Sample]:
    """20,000 rows of which 5% pay a lognormal amount; treated compliers pay more often."""

    def draw(rng: np.random.Generator) -> Sample:
        complier, z, t = with_compliers(rng, 20_000, share)
        pays = rng.uniform(size=20_000) < np.where(complier, 0.06, 0.044) + 0.03 * t
        return Sample(pays * np.exp(3.0 + 1.3 * rng.normal(size=20_000)), t, z[:, None])

    return draw


REVENUE_EFFECT = 0.03 * float(np.exp(3.0 + 1.3**2 / 2.0))


def clustered(
    groups: int, size: int, treated: int, rho: float
) -> Callable[[np.random.Generator], Sample]:
    """Clusters assigned as a whole, which have a fifth of both errors' variance."""

    def draw(rng: np.random.Generator) -> Sample:
        g = np.repeat(np.arange(groups), size)
        z = rng.permutation(np.arange(groups) < treated).astype(float)[g]

        def errors() -> np.ndarray:
            own = rng.normal(size=groups * size)
            return np.sqrt(0.2) * rng.normal(size=groups)[g] + np.sqrt(0.8) * own

        v, w = errors(), errors()
        t = 1.5 * z + v
        return Sample(t + rho * v + np.sqrt(1.0 - rho**2) * w, t, z[:, None], g)

    return draw


def interactive(rng: np.random.Generator) -> Sample:
    """500 rows, 20 covariates: the interactive IV design of Farbmacher, Guber and Klaassen (2020).

    As DoubleML's documentation states it for ``make_iivm_data(theta=0.5, n_obs=500, dim_x=20,
    alpha_x=1)``.
    """
    n, p = 500, 20
    at = np.arange(p)
    x = rng.multivariate_normal(np.zeros(p), 0.5 ** np.abs(at[:, None] - at), size=n)
    u, v = rng.multivariate_normal(np.zeros(2), [[1.0, 0.3], [0.3, 1.0]], size=n).T
    z = rng.binomial(1, 0.5, size=n).astype(float)
    t = (z + v > 0.0).astype(float)
    y = 0.5 * t + x @ (1.0 / (1.0 + at) ** 2) + u
    return Sample(y, t, z[:, None], X=x)


def designs() -> Iterator[Design]:
    """All cells; those with normal errors at each correlation between these."""
    weak = {"F 2": (1, 1.0, 200), "F 5": (1, 4.0, 200)}
    weak |= {"10 instruments, F 2": (10, 10.0, 500), "30 instruments, F 3": (30, 60.0, 500)}
    few = {"30 clusters": (30, 30, 15), "30 clusters, 5 assigned": (30, 30, 5)}
    few |= {"10 clusters": (10, 50, 5)}
    for rho in CORRELATIONS:
        yield Design(f"strong, rho {rho:g}", instruments(1, 80.0, 500, rho), 1.0, True)
    yield Design("interactive IV, 20 covariates", interactive, 0.5, True)
    for share, name in ((0.5, "50/50"), (0.1, "10/90")):
        even = True if share == 0.5 else None
        yield Design(f"conversion {name}", conversion(share), 0.02, even)
        yield Design(f"revenue {name}", revenue(share), REVENUE_EFFECT, even)
    yield Design("one-sided 10/90", one_sided(0.1), 1.0, False)
    yield Design("one-sided 90/10", one_sided(0.9), 1.0, False)
    for name, shape in few.items():
        for rho in CORRELATIONS:
            yield Design(f"{name}, rho {rho:g}", clustered(*shape, rho), 1.0, False)
    for name, (q, concentration, n) in weak.items():
        for rho in CORRELATIONS:
            draw = instruments(q, concentration, n, rho)
            yield Design(f"{name}, rho {rho:g}", draw, 1.0, False)


DESIGNS = {design.name: design for design in designs()}

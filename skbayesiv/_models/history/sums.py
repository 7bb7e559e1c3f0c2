"""Earlier experiments of one treatment given sigma_bar: five sums, exact or from a table.

With weights w_j = 1 / (sigma_bar^2 + s_j^2), all that J experiments say of beta_bar and sigma_bar
is in J, sum w_j, sum w_j b_j, sum w_j (b_j - b_w)^2 and -sum log w_j. These are functions of one
number, log sigma_bar, and smooth: analytic within pi/2 of the real line. So thousands of
experiments are summed once, at a few hundred points, and a sampler that asks for their sums ten
thousand times reads polynomials.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from skbayesiv._typing import Array

MAX_EXACT = 512
PIECES, NODES = 48, 16
FLAT = 16.0  # further out than this sigma_bar, or the errors, are rounding to the other
CHUNK_FLOATS = 1 << 18


class Sums(NamedTuple):
    """Sums over n experiments at given values of sigma_bar, each of shape (...).

    Attributes
    ----------
    n : number of experiments, a number
    total, pull : sums of w and of w b
    centre : b_w = pull / total, 0 without experiments
    scatter : sum of w (b - b_w)^2
    log_det : sum of -log w
    """

    n: Any
    total: Any
    pull: Any
    centre: Any
    scatter: Any
    log_det: Any

    def __add__(self, other: Any) -> Sums:
        """Sums over both: squares are added, and nothing cancels."""
        total, pull = self.total + other.total, self.pull + other.pull
        divisor = total + (total == 0.0)
        between = (self.centre - other.centre) ** 2 * (self.total * other.total / divisor)
        scatter = self.scatter + other.scatter + between
        log_det = self.log_det + other.log_det
        return Sums(self.n + other.n, total, pull, pull / divisor, scatter, log_det)

    def log_density(self, bar: Any) -> Any:
        """Log density of the effects given their mean, about the same point."""
        off = self.total * (self.centre - bar) ** 2
        return -0.5 * (self.log_det + self.scatter + off + self.n * math.log(2 * math.pi))


class Experiments(NamedTuple):
    """J experiments, for exact sums; some may only be there to fill up the arrays.

    Attributes
    ----------
    effects : (J,), about the prior mean of beta_bar
    variance : (J,), squared standard errors
    known : (J,), 1 where measured, else 0
    """

    effects: Any
    variance: Any
    known: Any

    @classmethod
    def of(cls, effects: Array, std_errors: Array) -> Experiments:
        """All experiments, with 0 and 1 in place of what is not a number."""
        known = ~np.isnan(effects)
        b, s2 = np.where(known, effects, 0.0), np.where(known, std_errors**2, 1.0)
        return cls(b, s2, known.astype(float))

    @property
    def n(self) -> Any:
        """Number of the measured ones."""
        return self.known.sum(-1)

    def of_treatment(self, k: int) -> Experiments:
        """One treatment's, where they are stacked."""
        return Experiments(*(values[..., k, :] for values in self))

    def pad(self, length: int) -> Experiments:
        """Fill up to a length."""
        more = 0, length - len(self.effects)
        variance = np.pad(self.variance, more, constant_values=1.0)
        return Experiments(np.pad(self.effects, more), variance, np.pad(self.known, more))

    def sums(self, log_sigma: Any, xp: Any) -> Sums:
        """Sums at log sigma_bar, of shape (...)."""
        v = xp.exp(2.0 * log_sigma)[..., None] + self.variance
        weight = self.known / v
        total, pull = weight.sum(-1), (weight * self.effects).sum(-1)
        centre = pull / (total + (total == 0.0))
        scatter = (weight * (self.effects - centre[..., None]) ** 2).sum(-1)
        return Sums(self.n, total, pull, centre, scatter, (self.known * xp.log(v)).sum(-1))


class Table(NamedTuple):
    """The sums as polynomials of log sigma_bar, piece by piece.

    What is smooth and does not vanish are log sum w, b_w, the scatter over sum w, and -sum log w.
    Each is interpolated in Chebyshev points of `PIECES` intervals. In one of half-length h, what is
    analytic within pi/2 is off by r^-NODES, r = a + (a^2 + 1)^(1/2), a = pi / (2 h): by 1e-14 when
    the errors s_j span three orders of magnitude, and by 1e-11 when they span twelve.

    Attributes
    ----------
    n : number of experiments
    low, high : where the pieces begin and end; beyond, the functions are constant or linear
    coef : (PIECES, 4, NODES), of powers of the place in a piece, from -1 to 1
    """

    n: Any
    low: Any
    high: Any
    coef: Any

    @classmethod
    def of(cls, experiments: Experiments) -> Table:
        """Tabulate the measured experiments; there must be one."""
        known = experiments.known > 0.0
        experiments = Experiments(*(values[known] for values in experiments))
        log_s = 0.5 * np.log(experiments.variance)
        low, high = log_s.min() - FLAT, log_s.max() + FLAT
        nodes = chebyshev.chebpts1(NODES)
        step = (high - low) / PIECES
        x = low + step * (np.arange(PIECES)[:, None] + 0.5 * (nodes + 1.0))
        sums = in_chunks(experiments, x.ravel())
        values = [np.log(sums.total), sums.centre, sums.scatter / sums.total, sums.log_det]
        coef = _powers(np.stack(values).reshape(4, PIECES, NODES).swapaxes(0, 1), nodes)
        return cls(float(len(log_s)), low, high, coef)

    def in_units(self, unit: float) -> Table:
        """Effects divided by a unit."""
        log_unit, coef = np.log(unit), self.coef.copy()
        coef[:, 1] /= unit
        coef[:, 2] /= unit**2
        coef[:, 0, 0] += 2.0 * log_unit
        coef[:, 3, 0] -= 2.0 * self.n * log_unit
        return Table(self.n, self.low - log_unit, self.high - log_unit, coef)

    def of_treatment(self, k: int) -> Table:
        """One treatment's, where they are stacked."""
        return Table(*(values[k] for values in self))

    def sums(self, log_sigma: Any, xp: Any) -> Sums:
        """Sums at log sigma_bar, of shape (...)."""
        place = (xp.clip(log_sigma, self.low, self.high) - self.low) * PIECES
        place = place / (self.high - self.low)
        piece = xp.clip(xp.floor(place), 0, PIECES - 1).astype(int)
        coef, t = self.coef[piece], (2.0 * (place - piece) - 1.0)[..., None]
        value = coef[..., NODES - 1]
        for power in reversed(range(NODES - 1)):
            value = value * t + coef[..., power]
        beyond = 2.0 * xp.maximum(log_sigma - self.high, 0.0)
        total, centre, spread = xp.exp(value[..., 0] - beyond), value[..., 1], value[..., 2]
        log_det = value[..., 3] + self.n * beyond
        return Sums(self.n, total, total * centre, centre, total * spread, log_det)


Earlier = Experiments | Table


def earlier_experiments(effects: Array, std_errors: Array) -> Earlier:
    """Experiments (J,) for exact sums, or their table if there are many."""
    experiments = Experiments.of(effects, std_errors)
    many = len(effects) > MAX_EXACT and experiments.n > 0
    return Table.of(experiments) if many else experiments


def in_chunks(experiments: Earlier, log_sigma: Array) -> Sums:
    """Sums at log sigma_bar of shape (N,), some of them at a time."""
    length = len(experiments.effects) if isinstance(experiments, Experiments) else NODES
    pieces = np.array_split(log_sigma, 1 + length * len(log_sigma) // CHUNK_FLOATS)
    n, *parts = zip(*(experiments.sums(piece, np) for piece in pieces), strict=True)
    return Sums(n[0], *(np.concatenate(part) for part in parts))


def chebyshev_series(values: Array, nodes: Array) -> Array:
    """Coefficients of the series through values (..., N) at the N Chebyshev points."""
    series = values @ chebyshev.chebvander(nodes, len(nodes) - 1) * (2.0 / len(nodes))
    series[..., 0] /= 2.0
    return np.asarray(series)


def _powers(values: Array, nodes: Array) -> Array:
    """Values (..., N) at Chebyshev points -> coefficients of powers.

    In two steps: the series' coefficients fall as fast as those of its powers grow.
    """
    size = len(nodes)
    powers = [chebyshev.cheb2poly(row[: k + 1]) for k, row in enumerate(np.eye(size))]
    padded = np.stack([np.pad(row, (0, size - len(row))) for row in powers])
    return np.asarray(chebyshev_series(values, nodes) @ padded)

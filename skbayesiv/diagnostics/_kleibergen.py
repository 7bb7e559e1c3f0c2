"""Conditional likelihood ratio under errors of any variances, and the effects that it accepts.

With g(b) and S(b) the total and the covariance of the scores z~ (y~ - t~ b) (see
:mod:`skbayesiv.diagnostics._effect_scores`), G and V those of the first-stage coefficients Z~'t~,
whose scores have the first stage's residuals, and H(b) the covariance of both (Kleibergen 2005),

    D = G - H S^-1 g                                 the part of G uncorrelated with g    (1)
    r = D'(V - H S^-1 H')^-1 D                       strength of the first stage          (2)
    K = (g'S^-1 D)^2 / D'S^-1 D,   AR = g'S^-1 g     score and Anderson-Rubin statistics  (3)
    LR = (AR - r + ((AR - r)^2 + 4 K r)^(1/2)) / 2,                                       (4)

the last with the law of :mod:`skbayesiv.diagnostics._conditional_law` given r. All four depend only
on the direction (1, -b) of the combination of y and t, and so are functions on a circle that an
infinite effect belongs to.

Debiased, S is replaced by (S - g g'/m) m / (m - Q), which makes AR Q times Hotelling's F; V and H
have the small-sample factor of the first stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import inf, pi
from typing import NamedTuple

import numpy as np
from scipy import optimize

from skbayesiv._typing import Array
from skbayesiv.diagnostics._conditional_law import likelihood_ratio, p_values
from skbayesiv.diagnostics._effect_scores import (
    EffectScores,
    critical_value,
    hotelling,
    inverse_root,
    times,
)
from skbayesiv.diagnostics._inversion import Pieces, effects_of_small_scores, like_scale
from skbayesiv.diagnostics._partial import Partialled
from skbayesiv.diagnostics._reduced_form import ROUNDING, reduced_form, small_sample_factor

_GRID = np.linspace(-pi / 2, pi / 2, 513)


class Values(NamedTuple):
    """Statistics at some effects.

    Attributes
    ----------
    ratio, strength : ndarray
        LR and r.
    slope : ndarray
        g'S^-1 D, the score's sign and size: LR is least where it is zero.
    """

    ratio: Array
    strength: Array
    slope: Array


@dataclass(frozen=True, eq=False)
class Profile:
    """What the statistics of any effect of one treatment are computed from.

    Attributes
    ----------
    scores : EffectScores
    variance : ndarray of shape (Q, Q)
        V.
    mixed : ndarray of shape (2, Q, Q)
        Covariance of the first-stage coefficients with the scores of v and of t.
    factor : float or None
        Small-sample factor of V; None if not debiased.
    """

    scores: EffectScores
    variance: Array
    mixed: Array
    factor: float | None

    @classmethod
    def of(cls, p: Partialled, *, debiased: bool) -> Profile:
        """Profile of a design, without an error of the first stage where that is rounding."""
        scores = EffectScores.of(p)
        outer = p.outer("reduced form")
        fits = reduced_form(p).errors[1, 1] <= 0.0
        mixed = outer[:, 1, :, 2:].transpose(2, 0, 1) * (0.0 if fits else 1.0)
        if not scores.outer[0, 0].any():  # v is rounding
            mixed[0] = 0.0
        variance = outer[:, 1, :, 1] * (0.0 if fits else 1.0)
        factor = small_sample_factor(p, p.dof) if debiased else None
        return cls(scores, variance, mixed, factor)

    @property
    def q(self) -> int:
        """Number Q of instruments."""
        return len(self.variance)

    @property
    def dof(self) -> float | None:
        """Degrees of freedom of the denominator of an F."""
        return None if self.factor is None else self.scores.n_units - self.q

    def at(self, direction: Array) -> Values:
        """Statistics of linear combinations of v and t, directions of shape (..., 2)."""
        g, s = self.scores.about(direction)
        root = inverse_root(s)
        mixed = np.einsum("...d,dqr->...qr", direction, self.mixed) @ root
        unit = times(root, g)
        first = self.scores.total[:, 1] - np.einsum("...qr,...r->...q", mixed, unit)
        own = times(root, first)
        ar, slope, length = (unit**2).sum(-1), (unit * own).sum(-1), (own**2).sum(-1)
        strength = self._strength(first, self.variance - mixed @ np.swapaxes(mixed, -1, -2))
        score = np.where(length > 0.0, slope**2 / np.where(length > 0.0, length, 1.0), 0.0)
        if self.factor is not None:
            strength = strength / self.factor
            score = self._debiased(ar, score)
            ar = hotelling(ar, self.scores.n_units, self.q)
        return Values(likelihood_ratio(ar, np.minimum(score, ar), strength), strength, slope)

    def _strength(self, first: Array, left: Array) -> Array:
        """Equation (2), infinite if the first stage has no error."""
        diagonal = np.diag(self.variance)
        if not diagonal.any():
            return np.full(first.shape[:-1], inf)
        root = inverse_root(left, np.maximum(diagonal, ROUNDING * diagonal.max()))
        return np.asarray((times(root, first) ** 2).sum(axis=-1))

    def _debiased(self, ar: Array, score: Array) -> Array:
        """K of the debiased S, of which the inverse is that of S and a product of S^-1 g."""
        m = self.scores.n_units
        left = np.maximum(m - ar, np.finfo(float).eps * m)
        return np.asarray((m - self.q) * m * score / (left * (left + score)))

    def p_values(self, direction: Array) -> Array:
        """Probabilities of larger ratios."""
        found = self.at(direction)
        return p_values(found.ratio, found.strength, self.q, self.dof)


def accepted_by_kleibergen(profile: Profile, level: float) -> Pieces:
    """Effects less the centre that the test accepts.

    There is no polynomial whose roots are the ends: the p-value is computed on a grid of the circle
    b = scale tan(angle), to which are added the ends of the Anderson-Rubin set, the zeros of the
    score, about which the set may be narrow, and turning points near the critical value.
    """
    scale, size = like_scale(profile.scores), 1.0 - level
    if scale == 0.0:  # t explains y exactly
        accepts = bool(profile.p_values(np.array([0.0, 1.0])) >= size)
        return [(-inf, inf)] if accepts else [(0.0, 0.0)]

    def directions(angle: Array) -> Array:
        return np.stack([np.cos(angle), -scale * np.sin(angle)], axis=-1)

    def excess(angle: Array) -> Array:
        return np.asarray(profile.p_values(directions(angle)) - size)

    def slope(angle: Array) -> Array:
        return profile.at(directions(angle)).slope

    units = None if profile.factor is None else profile.scores.n_units
    simple = effects_of_small_scores(profile.scores, critical_value(level, profile.q, units))
    ends = [np.arctan(end / scale) for piece in simple for end in piece if abs(end) < inf]
    angles = np.union1d(_GRID, [*ends, *_zeros(slope, _GRID, slope(_GRID))])
    values = excess(angles)
    turns = _turns(excess, angles, values)
    angles, at = np.unique(np.append(angles, turns), return_index=True)
    values = np.append(values, excess(np.array(turns)))[at]
    return [
        (scale * a, scale * b) for a, b in _runs(angles, values, _zeros(excess, angles, values))
    ]


def _zeros(function: Callable[[Array], Array], points: Array, values: Array) -> list[float]:
    """Where a function changes sign between neighbouring points."""
    above = values >= 0.0
    return [
        float(optimize.brentq(function, points[i], points[i + 1], xtol=1e-16, rtol=1e-15))
        for i in np.flatnonzero(above[1:] != above[:-1])
    ]


def _turns(function: Callable[[Array], Array], points: Array, values: Array) -> list[float]:
    """Extremes between the points that may be of the other sign than these.

    An extreme is taken to be beyond the last value by no more than that is beyond its neighbours.
    """
    found = []
    for i in range(1, len(points) - 1):
        here, steps = values[i], values[i] - values[[i - 1, i + 1]]
        sign = -1.0 if here >= 0.0 else 1.0  # of the extreme that is looked for
        if (sign * steps >= 0.0).all() and abs(here) <= np.abs(steps).max():
            bounds = (points[i - 1], points[i + 1])
            turn = optimize.minimize_scalar(
                lambda x, sign=sign: -sign * function(x), bounds=bounds, method="bounded"
            )
            found.append(float(turn.x))
    return found


def _runs(angles: Array, values: Array, zeros: list[float]) -> Pieces:
    """Tangents of the ends of intervals on which values are not negative."""
    ends = [-pi / 2, *zeros, pi / 2]
    first = bool(values[0] >= 0.0)
    runs = [ends[i : i + 2] for i in range(0 if first else 1, len(ends) - 1, 2)]
    tangents = [
        (-inf if a == -pi / 2 else float(np.tan(a)), inf if b == pi / 2 else float(np.tan(b)))
        for a, b in runs
    ]
    merged: Pieces = tangents[:1]
    for (_, before), (after, upper) in pairwise(tangents):
        if before < after:
            merged.append((after, upper))
        else:
            merged[-1] = (merged[-1][0], upper)
    return merged

"""What the data say of the conditions under which an interval keeps its promise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from skbayesiv._honesty.estimand import weighted_effect
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.estimate import direct_estimate
from skbayesiv._linear.sampled import SampledRows
from skbayesiv._linear.units import Scores
from skbayesiv._typing import Array
from skbayesiv.diagnostics._effective_f import f_and_critical_value
from skbayesiv.diagnostics._partial import Partialled, partial_equation
from skbayesiv.diagnostics._rank import cragg_donald, kleibergen_paap
from skbayesiv.diagnostics._reduced_form import reduced_form
from skbayesiv.diagnostics._strength_block import LEAST_BIAS, weak_f, weak_rank
from skbayesiv.exceptions import EstimandWarning

# The largest critical value of the effective F, that of one instrument, is 23.1.
STRONG = 23.2
# Robust standard errors of independent rows are not five times the classical ones.
DOUBT = 25.0


def bias_by_number(n_instruments: int, f: float) -> float:
    """Bias of 2SLS of one treatment at worst, in standard errors.

    With Q instruments of concentration mu^2 = Q F it is (Q - 1) / mu where the errors are
    perfectly correlated (Bekker 1994).
    """
    return float((n_instruments - 1) / np.sqrt(n_instruments * f))


class Spread(NamedTuple):
    """Standard errors of the 2SLS effects, each of shape (K,).

    Attributes
    ----------
    classical, robust : ndarray
        With errors of one variance; robust to unequal ones or, with clusters, clustered.
    t : ndarray
        t statistic of no difference: that of the correlation between the squared error and what
        the robust variance weighs it by (Koenker 1981). Infinite with clusters.
    """

    classical: Array
    robust: Array
    t: Array

    @property
    def ratio(self) -> Array:
        """Robust over classical standard errors."""
        return self.robust / self.classical


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the data say, each statistic computed when it is asked for.

    Attributes
    ----------
    equation : Equation
        Of all rows, a sample of them, or moments.
    design : Partialled
        Its outcome, treatments and instruments with the covariates partialled out.
    """

    equation: Equation
    design: Partialled

    @classmethod
    def of(cls, equation: Equation) -> Evidence | None:
        """Evidence in an equation; None where its rows are too few."""
        try:
            return cls(equation, partial_equation(equation, checked=True))
        except (ValueError, np.linalg.LinAlgError):
            return None

    @property
    def _share(self) -> float:
        """Share of the rows that robust statistics are computed from."""
        units = self.equation.units
        return units.share if isinstance(units, SampledRows) else 1.0

    @property
    def n_units(self) -> float:
        """Number of independent units: clusters, or observations."""
        return float(self.design.n_clusters or self.design.n)

    @cached_property
    def classical_f(self) -> float:
        """First-stage F of one treatment with errors of one variance."""
        p = self.design
        explained = float(p.projection.coef[:, 1] @ p.projection.coef[:, 1])
        left = float(p.projection.second[1, 1]) - explained
        return explained / left * p.dof / p.n_instruments if left > 0.0 else np.inf

    @cached_property
    def _strength(self) -> tuple[float, float]:
        """Effective F of one treatment and its critical value, 0 where F leaves no doubt.

        The F is the classical one where that must or may do.
        """
        p = self.design
        sure = p.n_clusters is None and self.classical_f > DOUBT * STRONG
        if not p.classical_only and sure:
            return self.classical_f, 0.0
        too_few = p.n_clusters is not None and p.n_clusters <= p.n_instruments
        robust = not (p.classical_only or too_few)
        return f_and_critical_value(reduced_form(p, robust=robust), LEAST_BIAS)

    @property
    def f(self) -> float:
        """Effective F of one treatment."""
        return self._strength[0]

    @cached_property
    def weakness(self) -> str:
        """Why the instruments may be weak; empty if nothing says so."""
        p = self.design
        try:
            if p.n_treatments == 1:
                return weak_f(*self._strength)
            return weak_rank(cragg_donald(p) if p.classical_only else kleibergen_paap(p))
        except (ValueError, np.linalg.LinAlgError):
            return ""

    @cached_property
    def many(self) -> float:
        """Bias of 2SLS by the number of its instruments; zero of several treatments."""
        p = self.design
        if p.n_treatments > 1 or p.n_instruments == 1:
            return 0.0
        return bias_by_number(p.n_instruments, self.f)

    @cached_property
    def weighted_effect(self) -> tuple[EstimandWarning, ...]:
        """What is to be said of whose effect it is, by the covariates."""
        return weighted_effect(self.equation)

    @cached_property
    def cluster_dof(self) -> float:
        """Degrees of freedom of the effects' clustered errors, the fewest of all treatments.

        Where few clusters decide an effect, as few assigned ones do, they are fewer than the
        clusters less one (Bell and McCaffrey 2002).
        """
        first = len(self.equation.constant)
        try:
            dof = direct_estimate(replace(self.equation, cov_type="CR2")).dof
        except (ValueError, np.linalg.LinAlgError):
            return np.inf
        return float(np.min(np.asarray(dof)[first : first + self.design.n_treatments]))

    @cached_property
    def spread(self) -> Spread | None:
        """Standard errors with and without unequal variances; None if rows are not known."""
        p = self.design
        if p.classical_only:
            return None
        projection = p.projection
        on_z, step = projection.coef[:, 1:], projection.two_stage
        scale = np.sqrt((on_z**2).sum(axis=0))
        if not scale.all():
            return None
        pull = np.linalg.pinv(on_z / scale).T / scale
        fitted = projection.instruments @ pull
        error = projection.variables[:, :1] - projection.variables[:, 1:] @ step[:, None]
        found = [self._spread_of(fitted[:, k : k + 1], error) for k in range(p.n_treatments)]
        return Spread(*(np.array(part) for part in zip(*found, strict=True)))

    def _spread_of(self, fitted: Array, error: Array) -> tuple[float, float, float]:
        """Standard errors of one effect, which is sum w h e off, and the t of no difference.

        All sums are of h and e over their roots of sums of squares, whose units may be extreme.
        """
        equation, n = self.equation, self.design.n
        roots = [float(np.sqrt(equation.squares(part)[0, 0])) for part in (fitted, error)]
        classical = roots[0] * roots[1] / np.sqrt(n)
        if not classical > 0.0:
            return 0.0, 0.0, 0.0
        fitted, error = fitted / roots[0], error / roots[1]
        if self.design.n_clusters is not None:
            (both,) = self._sums((fitted, error))
            return classical, float(classical * np.sqrt(n * max(both, 0.0))), np.inf
        one = np.eye(len(error))[:, :1]
        squares = (fitted, error), (fitted, fitted), (error, error)
        both, h4, e4, h2, e2, n_read = self._sums(*squares, (fitted, one), (one, error), (one, one))
        if equation.probability:  # w^2 is not a number of rows
            h2, e2, n_read = 1.0, 1.0, n
        even = h2 * e2 / n_read  # of the same rows: a sample may lack the largest errors
        varies = (h4 - h2**2 / n_read) * (e4 - e2**2 / n_read)
        t = (both - even) * np.sqrt(n_read * self._share / varies) if varies > 0.0 else 0.0
        return classical, float(classical * np.sqrt(both / even)), float(t)

    def _sums(self, *pairs: tuple[Array, Array]) -> list[float]:
        """Sums over units of the squared products of two contrasts."""
        found = self.equation.sums(*(Scores(*pair) for pair in pairs))
        return [float(sums.outer[0, 0, 0, 0]) for sums in found]

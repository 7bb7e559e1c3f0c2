"""What one experiment says of its effect when its instruments are too weak for a normal summary.

With covariates partialled out and z whitened, the regressions of y and t on z have coefficients

    (c_q, p_q) ~ N(pi_q (beta, 1), Omega),    q = 1..Q

with Omega the covariance of the reduced form's errors. Under pi_q ~ N(0, tau^2) independently, with
M the sum of the products of (c_q, p_q), a = Omega^-1 (beta, 1)' and d = a' Omega a, the first stage
integrates out (Chamberlain and Imbens 2004):

    log L(beta; tau) = -Q/2 log(1 + tau^2 d) + tau^2 a'M a / (2 (1 + tau^2 d)).

It has no normal's tails: far out it falls like |beta|^-Q. And tau must be learnt from all
experiments together: with a wide prior of its own every weak first stage lets the effect lean to
least squares, by little that adds up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skbayesiv._typing import Array

WEAK_F = 10.0
NORMAL_F, FEW = 100.0, 10
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class EffectLikelihood:
    """Likelihood of the effect of one treatment in one experiment, first stage integrated out.

    :class:`HierarchicalBayesianIV` and :func:`fit_experiments` make them, for the next history.

    Parameters
    ----------
    n_instruments : int
        Q.
    explained : ndarray of shape (2, 2)
        M, sums of products of the coefficients of outcome and treatment on whitened instruments.
    covariance : ndarray of shape (2, 2)
        Omega, of each instrument's two coefficients.
    unit : float
        Root of the treatment's sum of squares: first stages have a prior sd of `unit` times tau.

    Attributes
    ----------
    effect, std_error : float
        LIML's, where the likelihood is highest under a flat first stage: all that is shown of it.
    f : float
        First-stage F.

    References
    ----------
    Chamberlain, G. and Imbens, G. (2004). Random effects estimators with many instrumental
    variables. Econometrica 72, 295-306.

    Examples
    --------
    >>> from skbayesiv import HierarchicalBayesianIV, TwoStageLS
    >>> from skbayesiv.datasets import make_noncompliance
    >>> data = make_noncompliance(300, random_state=0)
    >>> may = TwoStageLS().fit(None, data.t, data.y, z=data.z)
    >>> est = HierarchicalBayesianIV.from_estimators([may], names=["may"])
    >>> est.likelihoods["may"].std_error > 0.0
    True
    """

    n_instruments: int
    explained: Array
    covariance: Array
    unit: float

    @cached_property
    def _limited(self) -> tuple[float, float]:
        """LIML's effect and standard error, from the smallest root of |M - root Omega| = 0."""
        lower = np.linalg.cholesky(self.covariance)
        half = np.linalg.solve(lower, self.explained)
        roots, vectors = np.linalg.eigh(np.linalg.solve(lower, half.T))
        contrast = np.linalg.solve(lower.T, vectors[:, 0])
        root = max(float(roots[0]), 0.0)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            effect = float(-contrast[1] / contrast[0])
            towards = np.array([1.0, -effect])
            explained = self.explained[1, 1] - root * self.covariance[1, 1]
            error = float(np.sqrt(towards @ self.covariance @ towards / explained))
        return effect, error

    @property
    def effect(self) -> float:
        """Where the likelihood is highest under a flat first stage: LIML."""
        return self._limited[0]

    @property
    def std_error(self) -> float:
        """Standard error of LIML."""
        return self._limited[1]

    @property
    def least_squares(self) -> float:
        """Effect plus the bias of least squares: the errors' regression in the reduced form."""
        return float(self.covariance[0, 1] / self.covariance[1, 1])

    @property
    def f(self) -> float:
        """First-stage F."""
        return float(self.explained[1, 1] / self.covariance[1, 1] / self.n_instruments)

    @property
    def weak(self) -> bool:
        """Whether the first stage is weak by the usual rule."""
        return self.f < WEAK_F

    @property
    def proper(self) -> bool:
        """Whether its covariance is one, and LIML a number."""
        own = np.sqrt(np.diag(self.covariance))
        if not (np.isfinite(self.covariance).all() and (own > 0.0).all()):
            return False
        correlation = self.covariance[0, 1] / own.prod()
        if not abs(correlation) < 1.0 - ROUNDING:
            return False
        return bool(np.isfinite(self.effect) and np.isfinite(self.std_error))

    def widen(self, std_error: float) -> EffectLikelihood:
        """The same with a larger standard error, as direct effects on the outcome make it."""
        more = max(std_error**2 - self.std_error**2, 0.0) * self.explained[1, 1]
        return replace(self, covariance=self.covariance + np.diag([more, 0.0]))

    def __repr__(self) -> str:
        return (
            f"EffectLikelihood(effect={self.effect:.4g}, std_error={self.std_error:.3g}, "
            f"f={self.f:.3g})"
        )


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """Numbers of J likelihoods as arrays: d and a'M a are quadratic in beta.

    Attributes
    ----------
    n_instruments : ndarray of shape (J,)
    d, fit : ndarray of shape (3, J)
        Coefficients of beta^2, beta and 1 in d and in a'M a, the first stage's prior scaled by
        the treatment's `unit`.
    """

    n_instruments: Array
    d: Array
    fit: Array

    @classmethod
    def of(cls, each: list[EffectLikelihood]) -> Likelihoods:
        """Stack."""
        inverse = np.array([np.linalg.inv(one.covariance) for one in each])
        explained = np.array([one.explained for one in each])
        square = np.array([one.unit**2 for one in each])[:, None, None]
        return cls(
            np.array([float(one.n_instruments) for one in each]),
            _coefficients(inverse * square),
            _coefficients(inverse @ explained @ inverse * square),
        )

    def log(self, beta: Any, log_tau: Any, xp: Any) -> Any:
        """Log likelihoods at effects that broadcast against (J,), shape of both."""
        t = xp.exp(2.0 * log_tau)
        shrunk = 1.0 + t * _quadratic(self.d, beta)
        q = self.n_instruments
        return -0.5 * q * xp.log(shrunk) + 0.5 * t * _quadratic(self.fit, beta) / shrunk


def _coefficients(matrix: Array) -> Array:
    return np.stack([matrix[:, 0, 0], 2.0 * matrix[:, 0, 1], matrix[:, 1, 1]])


def _quadratic(coef: Array, beta: Any) -> Any:
    return (coef[0] * beta + coef[1]) * beta + coef[2]


def nearly_normal(likelihood: EffectLikelihood, n_experiments: int) -> bool:
    """Whether effect and standard error say as much, among so many experiments.

    A normal summary is off by about s / sqrt(F), the same way in each experiment, while the
    standard error of their mean is s / sqrt(J): F must be above 100 J for it to be off by a tenth.
    """
    return likelihood.f > NORMAL_F * max(n_experiments, FEW)

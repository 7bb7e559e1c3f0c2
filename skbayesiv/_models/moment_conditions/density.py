r"""The quasi-posterior of the effects from E[z e] = 0 alone, whatever the errors' distribution.

With (1, X) partialled out (tilde), n observations, and for the effects beta

    g(beta) = E_n[z~ (y~ - t~'beta)],    S(beta) = E_n[z~ z~' (y~ - t~'beta)^2],

the continuously updated criterion is Q = n g' S^-1 g. Both g and S are polynomials in beta whose
coefficients are moments of the scores. The scores of m independent units (rows, or clusters) have
mean zero at the true effects, and Q / m = g-bar' M^-1 g-bar with g-bar their mean and M their
second moments about zero, so that Q <= m. The quasi-posterior is the prior times

    (1 - Q / m)^((m - q) / 2),        q instruments,

a likelihood ratio of normal theory: for m normal vectors that of a mean of zero against any mean
is (1 - Q / m)^(m / 2), with 1 - Q / m = 1 / (1 + T^2 / (m - 1)) and Hotelling's
T^2 = (m - 1) Q / (m - Q) (Anderson 2003, section 5.2). The power m - q in the place of m allows
for the q means that are fitted. With many units it is exp(-Q / 2) (Chernozhukov and Hong 2003);
with few that, which never falls below exp(-m / 2), leaves much mass in the prior's tails. Far away
Q tends to the first stage's own statistic, that of E[z~ t~] = 0: with weak instruments the
criterion is flat there and the prior decides.

Direct effects delta ~ N(0, D) of the instruments shift the mean of g to G delta, G = E_n[z~ z~'].
They add to its variance: with V = S / n + G D G' the criterion is

    Q = g' V^-1 g = min over delta of n (g - G delta)' S^-1 (g - G delta) + delta' D^-1 delta,

again at most m. The determinants |S / n|^1/2 |V|^-1/2, with which exp(-Q / 2) at a given delta
would integrate over N(0, D) to that of V, are not there: it is no density of g, and they would
reward effects far from the truth for making the residuals large. S stays that of y~ - t~'beta:
taking z~'delta off it too would change it by the order of delta^2 relative to the error's
variance.

References
----------
Anderson, T. W. (2003). An introduction to multivariate statistical analysis, 3rd edition. Wiley.

Andrews, I. and Mikusheva, A. (2022). Optimal decision rules for weak GMM. Econometrica 90,
715-748.

Chernozhukov, V. and Hong, H. (2003). An MCMC approach to classical estimation. Journal of
Econometrics 115, 293-346.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from skbayesiv._data.standardised import CANONICAL_BITS
from skbayesiv._models.parts.model import own_prior
from skbayesiv._models.parts.small_matrices import Matrix, cholesky, solve_lower, total
from skbayesiv._typing import Array

UNROLL_UP_TO = 8
LARGEST_SHARE = 1.0 - 2.0**-CANONICAL_BITS  # of Q in m: moments are rounded to this


@dataclass(frozen=True)
class CriterionShape:
    """What is static in the criterion's program."""

    n_treatments: int
    n_instruments: int
    exclusion: bool

    samples_effects: ClassVar[bool] = True

    @property
    def effect_positions(self) -> tuple[int, ...]:
        """Where beta_t stands among the coordinates: it is all of them."""
        return tuple(range(self.n_treatments))

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.n_treatments

    @property
    def unrolled(self) -> bool:
        """Whether the instruments are few enough to write the algebra out."""
        return self.n_instruments <= UNROLL_UP_TO


class CriterionArrays(NamedTuple):
    """Numbers of one problem in standardised units: Q instruments, K treatments."""

    moment: Any  # (Q, 1 + K) sqrt(n) E[z~ d'], d = (y~ - t~'b, t~)
    weight: Any  # (Q, Q, 1 + K, 1 + K) E[z~ z~' (x) d d'], symmetric in both pairs
    direct: Any  # (Q, Q) n G D G'
    units: Any  # () m, the number of independent rows or clusters
    centre: Any  # (K,) b, where y~ - t~'b stands in the place of y~
    loc: Any  # (K,) prior mean of beta
    precision: Any  # (K,)


def log_density(shape: CriterionShape, u: Any, arrays: CriterionArrays, xp: Any) -> Any:
    """Log quasi-posterior density of the standardised effects u, shape (K, ...)."""
    return log_likelihood_and_prior(shape, u, arrays, *own_prior(arrays, shape), xp)


def log_likelihood_and_prior(
    shape: CriterionShape,
    u: Any,
    arrays: CriterionArrays,
    loc: list[Any],
    precision: list[Any],
    xp: Any,
) -> Any:
    """Log quasi-likelihood and log density of a normal prior of the effects, but for a constant.

    Entries of u may be scalars or, under NumPy, arrays of draws.
    """
    beta = [u[j] for j in shape.effect_positions]
    value = log_criterion(shape, beta, arrays, xp)
    for b, m, p in zip(beta, loc, precision, strict=True):
        value = value + 0.5 * (xp.log(p) - p * (b - m) * (b - m))
    return value


def log_criterion(shape: CriterionShape, beta: list[Any], arrays: CriterionArrays, xp: Any) -> Any:
    """(m - q) / 2 log(1 - Q / m), the log quasi-likelihood of the effects."""
    a = [1.0, *(arrays.centre[..., i] - b for i, b in enumerate(beta))]
    square = (_unrolled if shape.unrolled else _dense)(shape, a, arrays, xp)
    share = xp.minimum(square / xp.maximum(arrays.units, 1.0), LARGEST_SHARE)
    return 0.5 * spare_units(shape, arrays, xp) * xp.log1p(-share)


def spare_units(shape: CriterionShape, arrays: CriterionArrays, xp: Any) -> Any:
    """m - q; zero without observations, where the quasi-likelihood is one."""
    return xp.maximum(arrays.units - shape.n_instruments, 0.0)


def _unrolled(shape: CriterionShape, a: list[Any], arrays: CriterionArrays, xp: Any) -> Any:
    """Q, the algebra of the Q x Q system written out (one fused kernel)."""
    q, size = range(shape.n_instruments), range(len(a))
    w = arrays.weight
    g = [total(arrays.moment[..., r, i] * a[i] for i in size) for r in q]
    pairs = [(i, j, (1.0 if i == j else 2.0) * a[i] * a[j]) for i in size for j in range(i + 1)]
    s: Matrix = [[None for _ in q] for _ in q]
    for r in q:
        for c in range(r + 1):
            entry = total(w[..., r, c, i, j] * product for i, j, product in pairs)
            own = entry + arrays.direct[..., r, c] if shape.exclusion else entry
            s[r][c] = s[c][r] = own
    return total(value * value for value in solve_lower(cholesky(s, xp), g))


def _dense(shape: CriterionShape, a: list[Any], arrays: CriterionArrays, xp: Any) -> Any:
    """The same with LAPACK; entries of `a` may be arrays of draws."""
    contrast = xp.stack(xp.broadcast_arrays(*a), axis=-1)
    g = (arrays.moment @ contrast[..., None])[..., 0]
    wide = weight_matrix(arrays.weight, contrast, xp) + arrays.direct
    return (g * xp.linalg.solve(wide, g[..., None])[..., 0]).sum(-1)


def contrasts(arrays: CriterionArrays, beta: Array) -> Array:
    """a = (1, b - beta) of shape (..., 1 + K) at effects of shape (..., K)."""
    return np.concatenate([np.ones_like(beta[..., :1]), arrays.centre - beta], axis=-1)


def weight_matrix(weight: Any, contrast: Any, xp: Any) -> Any:
    """S(beta) of shape (..., Q, Q) at contrasts of shape (..., 1 + K)."""
    return xp.einsum("...qrij,...i,...j->...qr", weight, contrast, contrast)

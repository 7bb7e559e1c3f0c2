r"""The quasi-posterior of the effects from E[z e] = 0 alone, whatever the errors' distribution.

With (1, X) partialled out (tilde), n observations, and for the effects beta

    g(beta) = E_n[z~ (y~ - t~'beta)],    S(beta) = E_n[z~ z~' (y~ - t~'beta)^2],

the continuously updated criterion is Q = n g' S^-1 g and the quasi-posterior is
prior(beta) exp(-Q / 2) (Chernozhukov and Hong 2003). Both g and S are polynomials in beta whose
coefficients are moments of the scores. Far away Q tends to the first stage's own statistic, that
of E[z~ t~] = 0: with weak instruments the criterion is flat there and the prior decides.

Direct effects delta ~ N(0, D) of the instruments shift the mean of g to G delta, G = E_n[z~ z~'].
They are integrated out: with V = S / n + G D G',

    int N(delta; 0, D) exp(-n/2 (g - G delta)' S^-1 (g - G delta)) d delta
        = |S / n|^{1/2} |V|^{-1/2} exp(-g' V^-1 g / 2),

which is exp(-Q / 2) at D = 0. S stays that of y~ - t~'beta: taking z~'delta off it too would
change it by the order of delta^2 relative to the error's variance.

References
----------
Chernozhukov, V. and Hong, H. (2003). An MCMC approach to classical estimation. Journal of
Econometrics 115, 293-346.

Andrews, I. and Mikusheva, A. (2022). Optimal decision rules for weak GMM. Econometrica 90,
715-748.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skbayesiv._models.parts.small_matrices import Matrix, cholesky, log_determinant
from skbayesiv._typing import Array

UNROLL_UP_TO = 8


@dataclass(frozen=True)
class CriterionShape:
    """What is static in the criterion's program."""

    n_treatments: int
    n_instruments: int
    exclusion: bool

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
    centre: Any  # (K,) b, where y~ - t~'b stands in the place of y~
    loc: Any  # (K,) prior mean of beta
    precision: Any  # (K,)


def log_density(shape: CriterionShape, u: Any, arrays: CriterionArrays) -> Any:
    """Log quasi-posterior density of the standardised effects u, shape (K,)."""
    import jax.numpy as jnp

    loc = [arrays.loc[j] for j in shape.effect_positions]
    precision = [arrays.precision[j] for j in shape.effect_positions]
    return log_likelihood_and_prior(shape, u, arrays, loc, precision, jnp)


def log_likelihood_and_prior(
    shape: CriterionShape,
    u: Any,
    arrays: CriterionArrays,
    loc: list[Any],
    precision: list[Any],
    xp: Any,
) -> Any:
    """-Q/2 plus the log density of a normal prior of the effects, up to its constant.

    Entries of u may be scalars or, under NumPy, arrays of draws.
    """
    beta = [u[j] for j in shape.effect_positions]
    value = log_criterion(shape, beta, arrays, xp)
    for b, m, p in zip(beta, loc, precision, strict=True):
        value = value + 0.5 * (xp.log(p) - p * (b - m) * (b - m))
    return value


def log_criterion(shape: CriterionShape, beta: list[Any], arrays: CriterionArrays, xp: Any) -> Any:
    """-Q/2, the direct effects integrated out."""
    a = [1.0, *(arrays.centre[i] - b for i, b in enumerate(beta))]
    solve = _unrolled if shape.unrolled else _dense
    return solve(shape, a, arrays, xp)


def _unrolled(shape: CriterionShape, a: list[Any], arrays: CriterionArrays, xp: Any) -> Any:
    """The algebra of the Q x Q system written out (one fused kernel)."""
    q, size = range(shape.n_instruments), range(len(a))
    w = arrays.weight
    g = [sum(arrays.moment[r, i] * a[i] for i in size) for r in q]
    pairs = [(i, j, (1.0 if i == j else 2.0) * a[i] * a[j]) for i in size for j in range(i + 1)]
    s: Matrix = [[None for _ in q] for _ in q]
    for r in q:
        for c in range(r + 1):
            s[r][c] = s[c][r] = sum(w[r, c, i, j] * product for i, j, product in pairs)
    factor = cholesky(s, xp)
    if not shape.exclusion:
        return -0.5 * _square(factor, g)
    wide = cholesky([[s[r][c] + arrays.direct[r, c] for c in q] for r in q], xp)
    shrink = log_determinant(factor, xp) - log_determinant(wide, xp)
    return 0.5 * (shrink - _square(wide, g))


def _square(lower: Matrix, g: list[Any]) -> Any:
    """g'A^-1 g with A = L L', by forward substitution."""
    white: list[Any] = []
    for i, row in enumerate(lower):
        white.append((g[i] - sum(row[j] * white[j] for j in range(i))) / row[i])
    return sum(value * value for value in white)


def _dense(shape: CriterionShape, a: list[Any], arrays: CriterionArrays, xp: Any) -> Any:
    """The same with LAPACK; entries of `a` may be arrays of draws."""
    contrast = xp.stack(xp.broadcast_arrays(*a), axis=-1)
    g = contrast @ arrays.moment.T
    s = weight_matrix(arrays.weight, contrast, xp)
    wide = s + arrays.direct
    square = (g * xp.linalg.solve(wide, g[..., None])[..., 0]).sum(-1)
    if not shape.exclusion:
        return -0.5 * square
    return 0.5 * (xp.linalg.slogdet(s)[1] - xp.linalg.slogdet(wide)[1] - square)


def contrasts(arrays: CriterionArrays, beta: Array) -> Array:
    """a = (1, b - beta) of shape (..., 1 + K) at effects of shape (..., K)."""
    return np.concatenate([np.ones_like(beta[..., :1]), arrays.centre - beta], axis=-1)


def weight_matrix(weight: Any, contrast: Any, xp: Any) -> Any:
    """S(beta) of shape (..., Q, Q) at contrasts of shape (..., 1 + K)."""
    return xp.einsum("qrij,...i,...j->...qr", weight, contrast, contrast)

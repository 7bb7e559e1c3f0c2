"""The coefficients given the error covariance: integrated out, or ready to be drawn.

Given Omega = Sigma^-1 the coefficients are Gaussian, N(A^-1 b, A^-1). Blocks (the covariates and
centred intercepts, whose columns are orthogonal) are eliminated first; what is left is dense, and
small. The same functions run under JAX and under NumPy, vectorised over draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skbayesiv._models.normal.design import Arrays, Shape
from skbayesiv._models.parts.small_matrices import (
    Matrix,
    cholesky,
    gram_of_lower,
    invert_lower,
    log_determinant,
    product,
    solve_lower,
    times_vector,
    total,
)

EffectPrior = tuple[Any, Any]
ROUNDING = 1e-14  # of eigenvalues of a positive definite matrix
RESOLVED = 1.0 / np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class BlockStep:
    """Blocks given the dense coefficients: mean - T q, covariance C, for each of B blocks.

    Entries have shape (..., B), q_d = sum over the dense coefficients j of equation d of
    G_jp theta_j. What follows from the factor is computed where it is needed.
    """

    omega: Matrix
    factor: Matrix
    right: list[Any]

    @cached_property
    def variance(self) -> Matrix:
        """C, the inverse of the blocks' A."""
        return gram_of_lower(invert_lower(self.factor))

    @cached_property
    def mean(self) -> list[Any]:
        """Mean of the blocks where q is zero."""
        return times_vector(self.variance, self.right)

    @cached_property
    def gain(self) -> Matrix:
        """T = C Omega."""
        return product(self.variance, self.omega)

    @cached_property
    def reduce(self) -> Matrix:
        """S = Omega C Omega, what the Schur complement takes off."""
        return product(self.omega, self.gain)

    @cached_property
    def pull(self) -> list[Any]:
        """What the blocks take off the dense coefficients' right-hand side."""
        return times_vector(self.omega, self.mean)

    def value(self, xp: Any) -> Any:
        """b'C b - log|A| of all blocks."""
        white = total(half * half for half in solve_lower(self.factor, self.right))
        return over_blocks(white) - over_blocks(log_determinant(self.factor, xp))


def coupled(arrays: Arrays, xp: Any) -> bool:
    """Whether blocks and dense coefficients must be taken to be dependent.

    Without covariates the centred intercepts are the only block, and orthogonal to all else.
    """
    return xp is not np or bool(arrays.block_mixed.any())


@dataclass(frozen=True, eq=False)
class DenseSums:
    """Sums over dense coefficients that the errors' cross-products need, by equation.

    gram[d][e] = sum_{j in d, k in e} G_jk E[theta_j theta_k]; cross[d][e] = sum_{j in d} m_j H_je;
    mixed[d] (..., B) = sum_{j in d} G_jp m_j; spread[d][e] (..., B) = sum G_jp V_jk G_kp.
    """

    gram: Matrix
    cross: Matrix
    mixed: list[Any]
    spread: Matrix | None


def over_blocks(values: Any) -> Any:
    """Sum over the blocks, which are last; one by itself is faster than as a sum."""
    return values[..., 0] if values.shape[-1] == 1 else values.sum(-1)


def block_step(arrays: Arrays, omega: Matrix, xp: Any) -> BlockStep:
    """Solve every D x D block A_p = g_p Omega + diag(kappa_p) at once."""
    size = range(len(omega))
    wide = [[entry[..., None] for entry in row] for row in omega]
    g, kappa = arrays.block_gram, arrays.block_precision
    a = [[g * wide[d][e] + (kappa[..., d] if d == e else 0.0) for e in size] for d in size]
    factor = cholesky(a, xp)
    h = [arrays.block_cross[..., d] for d in size]
    b = [w + kappa[..., d] * arrays.block_loc[..., d] for d, w in enumerate(times_vector(wide, h))]
    return BlockStep(wide, factor, b)


def error_products(
    arrays: Arrays, step: BlockStep, sums: DenseSums, block_mean: list[Any]
) -> Matrix:
    """E[e_d'e_e] over the coefficients (or, without `spread`, at given coefficients)."""
    size = range(len(block_mean))
    g, h, mb = arrays.block_gram, arrays.block_cross, block_mean
    out: Matrix = [[None for _ in size] for _ in size]
    for d in size:
        for e in range(d + 1):
            blocks = sums.mixed[d] * mb[e] + mb[d] * sums.mixed[e] + g * mb[d] * mb[e]
            blocks = blocks - mb[d] * h[..., e] - mb[e] * h[..., d]
            if sums.spread is not None:
                blocks = blocks + _block_spread(g, step, sums.spread, d, e)
            value = arrays.response[..., d, e] - sums.cross[d][e] - sums.cross[e][d]
            out[d][e] = out[e][d] = value + sums.gram[d][e] + over_blocks(blocks)
    return out


def _block_spread(g: Any, step: BlockStep, spread: Matrix, d: int, e: int) -> Any:
    """Trace terms of the blocks: C, and the dense coefficients' variance carried by T."""
    t, size = step.gain, range(len(step.gain))
    found = g * step.variance[d][e]
    for f in size:
        through = total(spread[f][h] * t[e][h] for h in size)
        found = found + g * t[d][f] * through - t[d][f] * spread[f][e] - spread[d][f] * t[e][f]
    return found


def block_means(step: BlockStep, mixed: list[Any]) -> list[Any]:
    """Mean of the blocks given the dense coefficients' sums q."""
    shift = times_vector(step.gain, mixed)
    return [m - s for m, s in zip(step.mean, shift, strict=True)]


@dataclass(frozen=True, eq=False)
class Solved:
    """Dense coefficients given Omega: the scalars of the density and what the gradient needs.

    With prior N(m0, P^-1) and A = A0 + P, theta is m0 + d, d ~ N(A^-1 c, A^-1), c = h - A0 m0. Then
    b'A^-1 b - m0'P m0 = c'E[d] + (h + c)'m0, `quadratic`, which loses no digits where P is large.
    """

    quadratic: Any
    log_det: Any
    deviation: Any
    square: Any  # E[(theta_j - m0_j)^2]
    products: DenseSums


def unrolled_system(
    shape: Shape, arrays: Arrays, omega: Matrix, step: BlockStep, prior: tuple[Any, Any], xp: Any
) -> tuple[Matrix, list[Any], list[Any]]:
    """Cholesky factor of A, h and c of few dense coefficients, the blocks eliminated."""
    loc, precision = prior
    eq, m, size = shape.equations, range(len(shape.equations)), range(shape.n_equations)
    g, h = arrays.gram, arrays.cross
    gx = [arrays.block_mixed[..., j, :] for j in m]
    a = [[g[..., j, k] * omega[eq[j]][eq[k]] for k in range(j + 1)] for j in m]
    b = [total(h[..., j, e] * omega[eq[j]][e] for e in size) for j in m]
    if coupled(arrays, xp):
        for j in m:
            b[j] = b[j] - over_blocks(gx[j] * step.pull[eq[j]])
            for k in range(j + 1):
                a[j][k] = a[j][k] - over_blocks(gx[j] * gx[k] * step.reduce[eq[j]][eq[k]])
    a = [[a[max(j, k)][min(j, k)] for k in m] for j in m]
    c = [of_data - of_prior for of_data, of_prior in zip(b, times_vector(a, loc), strict=True)]
    for j in m:
        a[j][j] = a[j][j] + precision[j]
    return cholesky(a, xp), b, c


def solve_unrolled(
    shape: Shape, arrays: Arrays, omega: Matrix, step: BlockStep, prior: tuple[Any, Any], xp: Any
) -> Solved:
    """Solve the dense coefficients with their algebra written out (one fused kernel)."""
    loc, m, size = prior[0], range(len(shape.equations)), range(shape.n_equations)
    g, h = arrays.gram, arrays.cross
    gx = [arrays.block_mixed[..., j, :] for j in m]
    factor, b, c = unrolled_system(shape, arrays, omega, step, prior, xp)
    variance = gram_of_lower(invert_lower(factor))
    deviation = times_vector(variance, c)
    mean = [loc[j] + deviation[j] for j in m]
    second = [[variance[j][k] + mean[j] * mean[k] for k in m] for j in m]
    in_eq = [shape.members(d) for d in size]
    products = DenseSums(
        gram=[
            [total(g[..., j, k] * second[j][k] for j in in_eq[d] for k in in_eq[e]) for e in size]
            for d in size
        ],
        cross=[[total(mean[j] * h[..., j, e] for j in in_eq[d]) for e in size] for d in size],
        mixed=[total((gx[j] * _wide(mean[j]) for j in in_eq[d]), 0.0 * step.mean[d]) for d in size],
        spread=[
            [
                total(
                    (gx[j] * gx[k] * _wide(variance[j][k]) for j in in_eq[d] for k in in_eq[e]), 0.0
                )
                for e in size
            ]
            for d in size
        ],
    )
    quadratic = total(c[j] * deviation[j] + (b[j] + c[j]) * loc[j] for j in m)
    log_det = log_determinant(factor, xp) if shape.equations else 0.0
    square = [variance[j][j] + deviation[j] ** 2 for j in m]
    return Solved(quadratic, log_det, deviation, square, products)


def _wide(entry: Any) -> Any:
    """An entry with an axis for the blocks."""
    return entry[..., None]


def dense_system(
    shape: Shape, arrays: Arrays, omega: Matrix, step: BlockStep, prior: tuple[Any, Any], xp: Any
) -> tuple[Any, Any, Any]:
    """A (..., m, m), h and c (..., m) of the dense coefficients, the blocks eliminated."""
    loc, precision = prior
    eq, size = np.asarray(shape.equations, dtype=int), range(shape.n_equations)
    stacked = xp.stack([xp.stack(row, axis=-1) for row in omega], axis=-2)
    members = [shape.members(d) for d in size]
    gx = [arrays.block_mixed[..., np.asarray(rows, dtype=int), :] for rows in members]
    a = arrays.gram * stacked[..., eq[:, None], eq]
    h = (arrays.cross * stacked[..., eq, :]).sum(-1)
    if coupled(arrays, xp):
        taken = [
            [(gx[d] * step.reduce[d][e][..., None, :]) @ xp.swapaxes(gx[e], -1, -2) for e in size]
            for d in size
        ]
        a = a - xp.concatenate([xp.concatenate(row, axis=-1) for row in taken], axis=-2)
        pull = [(gx[d] * step.pull[d][..., None, :]).sum(-1) for d in size]
        h = h - xp.concatenate(pull, axis=-1)
    c = h - (a @ loc[..., None])[..., 0]
    return a + xp.eye(len(eq)) * precision[..., None, :], h, c


def dense_products(shape: Shape, arrays: Arrays, mean: Any, variance: Any) -> DenseSums:
    """Sums by equation of dense coefficients (..., m), with variance (..., m, m) or none."""
    size = range(shape.n_equations)
    rows = [np.asarray(shape.members(d), dtype=int) for d in size]
    part = [mean[..., r] for r in rows]
    gx = [arrays.block_mixed[..., r, :] for r in rows]

    def gram(d: int, e: int) -> Any:
        g = arrays.gram[..., rows[d][:, None], rows[e]]
        value = (_times(part[d], g) * part[e]).sum(-1)
        if variance is None:
            return value
        return value + (g * variance[..., rows[d][:, None], rows[e]]).sum((-2, -1))

    def spread(d: int, e: int) -> Any:
        v = variance[..., rows[d][:, None], rows[e]]
        return (gx[d] * (v @ gx[e])).sum(-2)

    return DenseSums(
        gram=[[gram(d, e) for e in size] for d in size],
        cross=[[(part[d] * arrays.cross[..., rows[d], e]).sum(-1) for e in size] for d in size],
        mixed=mixed_sums(shape, arrays, mean),
        spread=None if variance is None else [[spread(d, e) for e in size] for d in size],
    )


def mixed_sums(shape: Shape, arrays: Arrays, mean: Any) -> list[Any]:
    """Sums q (..., B) by equation of dense coefficients (..., m)."""
    rows = [np.asarray(shape.members(d), dtype=int) for d in range(shape.n_equations)]
    return [_times(mean[..., r], arrays.block_mixed[..., r, :]) for r in rows]


def solve_dense(
    shape: Shape, arrays: Arrays, omega: Matrix, step: BlockStep, prior: tuple[Any, Any], xp: Any
) -> Solved:
    """Solve the dense coefficients with LAPACK; entries of `omega` may carry a batch of draws."""
    a, h, c = dense_system(shape, arrays, omega, step, prior, xp)
    factor = xp.linalg.cholesky(a)
    # One Cholesky: the inverse factor gives both the deviation and the variance.
    eye = xp.broadcast_to(xp.eye(a.shape[-1]), a.shape)
    inverse = xp.linalg.inv(factor) if xp is np else _solve_triangular(factor, eye)
    variance = xp.swapaxes(inverse, -1, -2) @ inverse
    deviation = (variance @ c[..., None])[..., 0]
    mean = prior[0] + deviation
    diagonal = xp.diagonal(factor, axis1=-2, axis2=-1)
    return Solved(
        quadratic=(c * deviation + (h + c) * prior[0]).sum(-1),
        log_det=2.0 * xp.log(diagonal).sum(-1),
        deviation=deviation,
        square=xp.diagonal(variance, axis1=-2, axis2=-1) + deviation**2,
        products=dense_products(shape, arrays, mean, variance),
    )


def _times(vector: Any, matrix: Any) -> Any:
    """Product of vectors (..., a) and matrices (..., a, b)."""
    return (vector[..., None, :] @ matrix)[..., 0, :]


def _solve_triangular(factor: Any, right: Any) -> Any:
    from jax.scipy.linalg import solve_triangular

    return solve_triangular(factor, right, lower=True)


def coefficient_prior(
    shape: Shape, arrays: Arrays, effect_prior: EffectPrior, log_sd: list[Any], xp: Any
) -> tuple[Any, Any]:
    """Prior of all dense coefficients in standardised coordinates.

    Parameters
    ----------
    effect_prior : (loc, precision)
        Of beta_t, each of length K.
    log_sd : list of K scalars, or empty
        log s_k, where beta_z[:, k] ~ N(loc, s_k^2) is learnt.

    Returns
    -------
    loc, precision
        Lists of m entries where the algebra is written out, else arrays (..., m).
    """
    if not shape.unrolled:
        return _prior_vectors(shape, arrays, effect_prior, log_sd, xp)
    loc = [arrays.loc[..., j] for j in range(len(shape.equations))]
    precision = [arrays.precision[..., j] for j in range(len(shape.equations))]
    for i, j in enumerate(shape.effect_positions):
        loc[j], precision[j] = effect_prior[0][i], effect_prior[1][i]
    factor = [xp.exp(-2.0 * value) for value in log_sd]
    for j in shape.learned_positions:
        precision[j] = precision[j] * factor[shape.equations[j] - 1]
    return loc, precision


def _prior_vectors(
    shape: Shape, arrays: Arrays, effect_prior: EffectPrior, log_sd: list[Any], xp: Any
) -> tuple[Any, Any]:
    """`coefficient_prior` in arrays (..., m): 0/1 matrices put K numbers in their places."""
    loc, precision = arrays.loc, arrays.precision
    effect = np.zeros((shape.n_treatments, len(shape.equations)))
    learned = np.zeros_like(effect)
    for i, j in enumerate(shape.effect_positions):
        effect[i, j] = 1.0
    for j in shape.learned_positions:
        learned[shape.equations[j] - 1, j] = 1.0
    if effect.size:
        fixed = 1.0 - effect.sum(axis=0)
        loc = fixed * loc + _stack(effect_prior[0], xp) @ effect
        precision = fixed * precision + _stack(effect_prior[1], xp) @ effect
    if log_sd:
        precision = precision * xp.exp(-2.0 * (_stack(log_sd, xp) @ learned))
    return loc, precision


def _stack(values: Any, xp: Any) -> Any:
    return xp.stack(xp.broadcast_arrays(*values), axis=-1)


def conditional(
    shape: Shape, arrays: Arrays, omega: Matrix, prior: tuple[Any, Any], xp: Any
) -> tuple[Any, Matrix, Solved]:
    """Integrate the coefficients out given Omega.

    Parameters
    ----------
    prior : (loc, precision)
        Of all dense coefficients, from `coefficient_prior`.

    Returns
    -------
    value : log p(data | Sigma) without n/2 log|Omega|, log|P0|/2 and constants
    errors : E[e_d'e_e], D x D
    solved : Solved
    """
    step = block_step(arrays, omega, xp)
    solve = solve_unrolled if shape.unrolled else solve_dense
    solved = solve(shape, arrays, omega, step, prior, xp)
    value = _value(arrays, omega, step.value(xp), solved.quadratic, solved.log_det)
    means = block_means(step, solved.products.mixed)
    errors = error_products(arrays, step, solved.products, means)
    return value, errors, solved


def log_marginal(shape: Shape, arrays: Arrays, omega: Matrix, prior: tuple[Any, Any]) -> Any:
    """The value of `conditional` alone, under NumPy.

    It is -inf or not a number where sums of squares over the errors' variances are so large that
    nothing is left of it but rounding, or A is not positive definite in floats.
    """
    step = block_step(arrays, omega, np)
    marginal = _unrolled_marginal if shape.unrolled else _dense_marginal
    value = _value(arrays, omega, step.value(np), *marginal(shape, arrays, omega, step, prior))
    squares = total(omega[d][d] * arrays.response[..., d, d] for d in range(len(omega)))
    return np.where(squares < RESOLVED, value, -np.inf)


def _unrolled_marginal(
    shape: Shape, arrays: Arrays, omega: Matrix, step: BlockStep, prior: tuple[Any, Any]
) -> tuple[Any, Any]:
    """`Solved.quadratic` and `log_det`, the algebra written out."""
    lower, h, c = unrolled_system(shape, arrays, omega, step, prior, np)
    parts = zip(solve_lower(lower, c), h, c, prior[0], strict=True)
    quadratic = total(white * white + (hj + cj) * loc for white, hj, cj, loc in parts)
    return quadratic, log_determinant(lower, np) if shape.equations else 0.0


def _dense_marginal(
    shape: Shape, arrays: Arrays, omega: Matrix, step: BlockStep, prior: tuple[Any, Any]
) -> tuple[Any, Any]:
    """`Solved.quadratic` and `log_det` with LAPACK."""
    a, h, c = dense_system(shape, arrays, omega, step, prior, np)
    factor = _factor(a)
    white = np.linalg.solve(factor, c[..., None])[..., 0]
    log_det = 2.0 * np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)
    return (white**2 + (h + c) * prior[0]).sum(-1), log_det


def _value(arrays: Arrays, omega: Matrix, blocks: Any, quadratic: Any, log_det: Any) -> Any:
    size = range(len(omega))
    trace = total(omega[d][e] * arrays.response[..., d, e] for d in size for e in size)
    return 0.5 * (blocks + quadratic - log_det - trace)


def _factor(a: Any) -> Any:
    """Cholesky factors of a batch under NumPy, with infinite diagonals where there is none."""
    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        eye = np.eye(a.shape[-1])
        good = np.isfinite(a).all((-2, -1))
        values = np.linalg.eigvalsh(np.where(good[..., None, None], a, eye))
        good &= values[..., 0] > ROUNDING * values[..., -1]
        factor = np.linalg.cholesky(np.where(good[..., None, None], a, eye))
        return np.where(good[..., None, None] | (eye == 0.0), factor, np.inf)

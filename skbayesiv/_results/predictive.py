"""Rows and draws together: pointwise densities, and outcomes simulated from prior or posterior."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._models.parts.error_covariance import split_outcome
from skbayesiv._models.parts.small_matrices import cholesky, log_determinant
from skbayesiv._typing import Array, Values, is_whole

CHUNK_FLOATS = 1 << 19
PAIRS = 1 << 17  # of a draw and a row, whose densities are evaluated one by one for a mean
LEAST_DRAWS = 200


@dataclass(frozen=True, eq=False)
class NewRows:
    """Checked rows: x (n, P), z (n, Q), t (n, K) and y (n,); t and y where they are known.

    With `do`, t is set and not observed: z has no say in it, but for its direct effects.
    """

    x: Array
    z: Array
    t: Array | None = None
    y: Array | None = None
    do: bool = False

    def chunks(self, draws: int) -> Iterator[NewRows]:
        """Pieces with few enough rows for an array of (draws, rows)."""
        size = max(1, CHUNK_FLOATS // max(draws, 1))
        for start in range(0, self.x.shape[0], size):
            at = slice(start, start + size)
            yield NewRows(
                self.x[at],
                self.z[at],
                None if self.t is None else self.t[at],
                None if self.y is None else self.y[at],
                self.do,
            )


def treatment_means(values: Values, rows: NewRows) -> Array:
    """First-stage means of t at each draw and row, shape (S, n, K)."""
    s, k = values["beta_t"].shape
    n = rows.x.shape[0]
    mean = np.zeros((s, n, k))
    if not k:
        return mean
    if "intercept_t" in values:
        mean += values["intercept_t"][:, None, :]
    if rows.z.shape[1]:
        mean += np.einsum("nq,sqk->snk", rows.z, values["beta_z"])
    if rows.x.shape[1]:
        mean += np.einsum("np,spk->snk", rows.x, values["gamma_t"])
    return mean


def outcome_means(values: Values, rows: NewRows, t: Array) -> Array:
    """Means of y at treatments t of shape (n, K) or (S, n, K), shape (S, n)."""
    s, n = values["beta_t"].shape[0], rows.x.shape[0]
    mean = np.zeros((s, n))
    if "intercept_y" in values:
        mean += values["intercept_y"][:, None]
    for k in range(t.shape[-1]):
        mean += t[..., k] * values["beta_t"][:, k, None]
    if rows.x.shape[1]:
        mean += values["gamma_y"] @ rows.x.T
    if "direct" in values:
        mean += values["direct"] @ rows.z.T
    return mean


def residuals(values: Values, rows: NewRows) -> list[Array]:
    """Errors e_y, e_t1, ..., e_tK of observed rows at each draw, each of shape (S, n)."""
    assert rows.t is not None
    assert rows.y is not None
    e_t = rows.t - treatment_means(values, rows)
    e_y = rows.y - outcome_means(values, rows, rows.t)
    return [e_y, *np.moveaxis(e_t, -1, 0)]


def log_density(values: Values, rows: NewRows) -> Array:
    """Joint log density of (y, t) given z and x, at each draw and row, shape (S, n)."""
    cov = values["cov"]
    size = range(cov.shape[-1])
    factor = cholesky([[cov[:, d, e] for e in size] for d in size], np)
    log_norm = log_determinant(factor, np) + len(size) * math.log(2 * math.pi)
    white: list[Array] = []
    total = np.broadcast_to(log_norm[:, None], (len(cov), rows.x.shape[0])).copy()
    for d, error in enumerate(residuals(values, rows)):
        for e in range(d):
            error = error - factor[d][e][:, None] * white[e]
        white.append(error / factor[d][d][:, None])
        with np.errstate(over="ignore", invalid="ignore"):
            total += white[d] ** 2
    if not np.isfinite(total).all():
        raise ValueError(
            "X, t, y and z must be near enough to the rows of the fit for a log density that is a "
            "number; got rows too far from these."
        )
    return -0.5 * total


def pointwise_log_likelihood(values: Values, rows: NewRows) -> Array:
    """`log_density` of all rows, computed in chunks, shape (S, n)."""
    draws = len(values["cov"])
    return np.concatenate([log_density(values, chunk) for chunk in rows.chunks(draws)], axis=1)


def log_predictive(values: Values, rows: NewRows) -> Array:
    """Log of the density of (y, t) given z and x averaged over the draws, shape (n,)."""
    mean, gap = _averages(values, rows)
    return mean + gap


def _averages(values: Values, rows: NewRows) -> tuple[Array, Array]:
    """Mean of `log_density` over the draws, and what the log of the mean density has above it."""
    means, gaps = [], []
    for chunk in rows.chunks(len(values["cov"])):
        density = log_density(values, chunk)
        mean = density.mean(axis=0)
        top = density.max(axis=0)
        above = np.exp(density - top).mean(axis=0)
        means.append(mean)
        gaps.append(top - mean + np.log(above))
    return np.concatenate(means), np.concatenate(gaps)


def mean_log_density(values: Values, moments: Moments) -> Array:
    """Mean over rows of `log_density`, from their moments: one for each draw, shape (S,).

    With v the columns (1, [x, z, t, y]) the errors are B'v, and the mean is
    -(log |2 pi Sigma| + tr(Sigma^-1 B' E[v v'] B)) / 2.
    """
    contrasts = _error_contrasts(values, moments)
    second = moments.scatter / moments.weight
    square = np.einsum("scd,ce,sef->sdf", contrasts, second, contrasts, optimize=True)
    constant = _error_means(values, moments, contrasts)
    square = square + constant[:, :, None] * constant[:, None, :]
    cov = values["cov"]
    quadratic = np.trace(np.linalg.solve(cov, square), axis1=1, axis2=2)
    log_norm = np.linalg.slogdet(cov)[1] + cov.shape[-1] * math.log(2 * math.pi)
    return np.asarray(-0.5 * (log_norm + quadratic))


def _error_contrasts(values: Values, moments: Moments) -> Array:
    """Coefficients of the columns [x, z, t, y] in the errors e_y, e_t1, ..., shape (S, C, D)."""
    c, (s, k) = moments.columns, values["beta_t"].shape
    out = np.zeros((s, len(c.names), 1 + k))
    out[:, c.y, 0] = 1.0
    out[:, c.t, 0] = -values["beta_t"]
    out[:, c.t, 1:] = np.eye(k)
    for name, where, errors in (
        ("gamma_y", c.x, 0),
        ("direct", c.z, 0),
        ("gamma_t", c.x, slice(1, None)),
        ("beta_z", c.z, slice(1, None)),
    ):
        if name in values and where.stop > where.start:
            out[:, where, errors] = -values[name]
    return out


def _error_means(values: Values, moments: Moments, contrasts: Array) -> Array:
    """Means of the errors at each draw, shape (S, D)."""
    mean = np.einsum("scd,c->sd", contrasts, moments.mean)
    if "intercept_y" in values:
        mean[:, 0] -= values["intercept_y"]
    if "intercept_t" in values:
        mean[:, 1:] -= values["intercept_t"]
    return mean


def mean_log_predictive(values: Values, rows: IVData) -> float:
    """Weighted mean over rows of `log_predictive`, at a cost that hardly grows with their number.

    log E[p_i] = E[log p_i] + gap_i, E over draws. The first part's mean over rows follows from
    their moments, with all draws. The gap, about half the posterior variance of log p_i and of
    the order of the number of coefficients over that of the rows fitted, is small: it is averaged
    over at most `PAIRS` pairs of a draw and a row, which are all where rows are few.
    """
    expected = mean_log_density(values, rows.moments()).mean()
    n_draws = len(values["cov"])
    draws = min(n_draws, max(LEAST_DRAWS, PAIRS // rows.n_rows))
    some = {name: value[_spaced(n_draws, draws)] for name, value in values.items()}
    size = PAIRS // draws
    at = (
        np.arange(rows.n_rows) if rows.sample_weight is None else np.flatnonzero(rows.sample_weight)
    )
    if size < len(at):
        at = np.sort(np.random.default_rng(0).choice(at, size, replace=False))
    taken = rows.take(at)
    _, gap = _averages(some, NewRows(taken.x, taken.z, taken.t, taken.y))
    return float(expected + np.average(gap, weights=taken.sample_weight))


def _spaced(length: int, keep: int) -> NDArray[np.intp]:
    """Positions of `keep` of `length` things, evenly spaced."""
    return np.linspace(0, length - 1, keep).round().astype(int)


def simulate(values: Values, rows: NewRows, generator: np.random.Generator) -> Values:
    """Simulate y (S, n), and t (S, n, K) where it is not given.

    Without t both come from the joint model given z. With t and z, y is drawn given both, its
    error following the treatment's: E[e_y | e_t] = S_yt S_tt^-1 e_t. Under do(t) y has its
    marginal error.
    """
    s, n = values["beta_t"].shape[0], rows.x.shape[0]
    cov = values["cov"]
    noise = generator.standard_normal((s, n, cov.shape[-1]))
    if rows.t is None:
        error = np.einsum("snd,sed->sne", noise, np.linalg.cholesky(cov))
        t = treatment_means(values, rows) + error[..., 1:]
        y = outcome_means(values, rows, t) + error[..., 0]
        return {"y": y, "t": t} if t.shape[-1] else {"y": y}
    y = outcome_means(values, rows, rows.t)
    if rows.do:
        return {"y": y + noise[..., 0] * values["sigma"][:, :1]}
    weight, rest = split_outcome(cov)
    e_t = rows.t - treatment_means(values, rows)
    shift = np.einsum("snk,sk->sn", e_t, weight)
    return {"y": y + shift + noise[..., 0] * np.sqrt(rest)[:, None]}


def predictive_std(values: Values, rows: NewRows) -> Array:
    """Standard deviation (n,) of y: the posterior's of the mean, and the error's.

    With t where it is set, else given z.
    """
    contrast = np.ones((len(values["cov"]), 1 + values["beta_t"].shape[1]))
    contrast[:, 1:] = values["beta_t"] if rows.t is None else 0.0
    noise = np.einsum("sd,sde,se->s", contrast, values["cov"], contrast).mean()
    parts = [
        outcome_means(values, c, treatment_means(values, c) if c.t is None else c.t).var(axis=0)
        for c in rows.chunks(len(values["cov"]))
    ]
    return np.sqrt(np.concatenate(parts) + noise)


def check_n_draws(n_draws: Any) -> None:
    """Raise unless a number of draws is a positive integer."""
    if not is_whole(n_draws) or n_draws < 1:
        raise ValueError(f"n_draws must be a positive integer; got {n_draws!r}.")


def evenly_spaced(values: dict[str, Any], chains: int, n_draws: int | None) -> Values:
    """About `n_draws` of the draws, the same number from each chain; all when None.

    `values` have shape (chains, draws, ...); the result is flat.
    """
    if n_draws is not None:
        check_n_draws(n_draws)
    length = next(iter(values.values())).shape[1]
    keep = length if n_draws is None else min(length, max(1, n_draws // chains))
    at = _spaced(length, keep)
    return {
        name: value[:, at].reshape(chains * keep, *value.shape[2:])
        for name, value in values.items()
    }

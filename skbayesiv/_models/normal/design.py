"""Moments and priors -> the arrays that the collapsed density works on.

Everything is put in coordinates in which all priors are independent and every scale is near 1.
Columns are divided by their standard deviations; they are also centred when the intercept's
prior is a centred one, and kept as they are when it speaks of the raw intercept, so that the
prior precision is diagonal either way.

Coefficients come in two kinds. *Blocks* are D-vectors, one coefficient for each equation, whose
columns are orthogonal to each other: the covariates, after a rotation by the generalised
eigenvectors of (G_xx, Lambda) when their prior precision is Lambda (x) diag(kappa), and the
centred intercept. The *rest* (effects, first stage, raw intercepts) is dense, and small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from skbayesiv._data.standardised import Standardised
from skbayesiv._models.parts.error_covariance import dimension
from skbayesiv._models.parts.priors import Priors
from skbayesiv._typing import Array

BLOCK_BUCKETS = (0, 1, 4, 16, 32, 64, 128, 256, 512, 1024)
UNROLL_UP_TO = 8


@dataclass(frozen=True)
class Shape:
    """What is static in the density's program, so that equal shapes share one compilation.

    Attributes
    ----------
    n_treatments : int
        K; there are D = 1 + K equations.
    equations : tuple of int
        Equation of each dense coefficient, in increasing order.
    effect_positions : tuple of int
        Where beta_t stands among the dense coefficients.
    sigma_prior : {"lkj", "regression"}
    learned_positions : tuple of int
        Where beta_z stands among them if its spread is learnt, else empty.
    """

    n_treatments: int
    equations: tuple[int, ...]
    effect_positions: tuple[int, ...]
    sigma_prior: str
    learned_positions: tuple[int, ...] = ()

    samples_effects: ClassVar[bool] = False

    @property
    def n_equations(self) -> int:
        """D."""
        return 1 + self.n_treatments

    @property
    def covariance_dim(self) -> int:
        """Number of coordinates of the error covariance, D(D+1)/2."""
        return dimension(self.n_equations)

    @property
    def dim(self) -> int:
        """Number of coordinates: the covariance's, then log s_k of first stages that are learnt."""
        return self.covariance_dim + (self.n_treatments if self.learned_positions else 0)

    @property
    def unrolled(self) -> bool:
        """Whether the dense coefficients are few enough to write their algebra out."""
        return len(self.equations) <= UNROLL_UP_TO

    def members(self, equation: int) -> list[int]:
        """Dense coefficients of an equation."""
        return [j for j, d in enumerate(self.equations) if d == equation]


class Arrays(NamedTuple):
    """Numbers of one problem: m dense coefficients, B blocks, D equations, K treatments."""

    n: Any  # ()
    response: Any  # (D, D) cross-products of (y, t)
    gram: Any  # (m, m) cross-products of the dense coefficients' columns
    cross: Any  # (m, D) of those columns with (y, t)
    loc: Any  # (m,) prior means
    precision: Any  # (m,) prior precisions; where they are learnt, at s = 1
    block_gram: Any  # (B,) of each block's column with itself
    block_mixed: Any  # (m, B) of the dense columns with the blocks'
    block_cross: Any  # (B, D) of the blocks' columns with (y, t)
    block_loc: Any  # (B, D)
    block_precision: Any  # (B, D)
    sigma_scale: Any  # (D,)
    lkj_eta: Any  # ()
    alpha_scale: Any  # (K,)


@dataclass(frozen=True, eq=False)
class Design:
    """A problem in standardised coordinates and the way back.

    Attributes
    ----------
    shape : Shape
    arrays : Arrays
    labels : tuple of (name, index)
        What each dense coefficient is.
    unit : ndarray of shape (m,)
        Raw coefficient = unit * standardised coefficient (intercepts: plus `response_mean`).
    rotation : ndarray of shape (P, P)
        Raw covariate coefficients of equation d = response_sd[d] * rotation @ block.
    response_mean, response_sd : ndarray of shape (D,)
    std : Standardised
    priors : Priors
    """

    shape: Shape
    arrays: Arrays
    labels: tuple[tuple[str, tuple[int, ...]], ...]
    unit: Array
    rotation: Array
    response_mean: Array
    response_sd: Array
    std: Standardised
    priors: Priors


def build_design(std: Standardised, priors: Priors, sigma_prior: str = "lkj") -> Design:
    """Bring moments and priors to standardised coordinates."""
    c = std.columns
    has_intercept = priors.intercept_y is not None
    k = len(c.treatments)
    responses = [c.y, *range(c.t.start, c.t.stop)]
    response_mean, response_sd = std.mean[responses], std.sd[responses]
    full = _cross_products(std, centered=priors.centered, has_intercept=has_intercept)

    dense = _dense_coefficients(std, priors)
    labels = tuple(item.label for item in dense)
    equations = tuple(item.equation for item in dense)
    columns = [item.column for item in dense]
    sd_response = response_sd[list(equations)]
    sd_column = np.array([std.sd[j] if j >= 0 else 1.0 for j in columns])
    unit = sd_response / sd_column
    centre = np.array([response_mean[i.equation] if i.is_intercept else 0.0 for i in dense])
    loc = (np.array([i.loc for i in dense]) - centre) / unit
    precision = (unit / np.array([i.scale for i in dense])) ** 2

    width = len(c.names)
    at = [j if j >= 0 else width for j in columns]
    to = [width + 1 + d for d in range(1 + k)]
    blocks = _blocks(std, priors, full, at, to, response_mean, response_sd)
    effects = tuple(j for j, label in enumerate(labels) if label[0] == "beta_t")
    alpha = priors.alpha.scale * std.sd[c.t] / std.sd[c.y] if priors.alpha else np.ones(k)
    arrays = Arrays(
        n=np.float64(std.n),
        response=full[to][:, to],
        gram=full[at][:, at],
        cross=full[at][:, to],
        loc=loc,
        precision=precision,
        block_gram=blocks.gram,
        block_mixed=blocks.mixed,
        block_cross=blocks.cross,
        block_loc=blocks.loc,
        block_precision=blocks.precision,
        sigma_scale=priors.sigma_scale / response_sd,
        lkj_eta=np.float64(priors.lkj_eta),
        alpha_scale=alpha,
    )
    learnt = priors.beta_z_sd_scale is not None
    first_stage = tuple(j for j, label in enumerate(labels) if learnt and label[0] == "beta_z")
    shape = Shape(k, equations, effects, sigma_prior, first_stage)
    return Design(
        shape, arrays, labels, unit, blocks.rotation, response_mean, response_sd, std, priors
    )


def _cross_products(std: Standardised, *, centered: bool, has_intercept: bool) -> Array:
    """Cross-products of [x, z, t, y | 1 | y, t as responses] in standardised coordinates."""
    c = std.columns
    width = len(c.names)
    responses = [c.y, *range(c.t.start, c.t.stop)]
    ratio = std.mean / std.sd
    offset = np.concatenate(
        [
            np.zeros(width) if centered else ratio,
            [1.0],
            np.zeros(len(responses)) if has_intercept else ratio[responses],
        ]
    )
    index = [*range(width), *responses]
    size = width + 1 + len(responses)
    keep = [*range(width), *range(width + 1, size)]
    corr = np.zeros((size, size))
    corr[np.ix_(keep, keep)] = std.corr[np.ix_(index, index)]
    return std.n * (corr + np.outer(offset, offset))


@dataclass(frozen=True)
class _Coefficient:
    label: tuple[str, tuple[int, ...]]
    equation: int
    column: int  # of the moments, -1 for the constant
    loc: float
    scale: float

    @property
    def is_intercept(self) -> bool:
        return self.column < 0


def _dense_coefficients(std: Standardised, priors: Priors) -> list[_Coefficient]:
    """All coefficients but the covariates' and centred intercepts, equation by equation."""
    c = std.columns
    raw = priors.intercept_y is not None and not priors.centered
    out = []
    if raw:
        assert priors.intercept_y is not None
        out.append(_coefficient("intercept_y", (), 0, -1, priors.intercept_y))
    for i in range(len(c.treatments)):
        out.append(_coefficient("beta_t", (i,), 0, c.t.start + i, priors.beta_t))
    if priors.direct is not None:
        for i in range(len(c.instruments)):
            out.append(_coefficient("direct", (i,), 0, c.z.start + i, priors.direct))
    for k in range(len(c.treatments)):
        if raw:
            assert priors.intercept_t is not None
            out.append(_coefficient("intercept_t", (k,), 1 + k, -1, priors.intercept_t))
        for i in range(len(c.instruments)):
            out.append(_coefficient("beta_z", (i, k), 1 + k, c.z.start + i, priors.beta_z))
    return out


def _coefficient(
    name: str, index: tuple[int, ...], equation: int, column: int, prior: Any
) -> _Coefficient:
    return _Coefficient(
        (name, index), equation, column, float(prior.loc[index]), float(prior.scale[index])
    )


@dataclass(frozen=True, eq=False)
class _Blocks:
    gram: Array
    mixed: Array
    cross: Array
    loc: Array
    precision: Array
    rotation: Array


def _blocks(
    std: Standardised,
    priors: Priors,
    full: Array,
    at: list[int],
    to: list[int],
    response_mean: Array,
    response_sd: Array,
) -> _Blocks:
    """Covariates rotated to be orthogonal, then the centred intercept, then padding.

    With prior standard deviations lambda_p k_d, G' = diag(lambda) G_xx diag(lambda) = U g U'
    gives coefficients diag(lambda) U phi with phi_pd ~ N(., k_d^2), independent given Sigma.
    """
    p, size = len(std.columns.covariates), len(response_sd)
    width = bucket(p + int(priors.centered))
    blocks = _Blocks(
        gram=np.zeros(width),
        mixed=np.zeros((len(at), width)),
        cross=np.zeros((width, size)),
        loc=np.zeros((width, size)),
        precision=np.ones((width, size)),
        rotation=np.zeros((p, p)),
    )
    if p:
        x, sd = slice(0, p), std.sd[:p, None]
        scale = np.column_stack([priors.gamma_y.scale, priors.gamma_t.scale]) * sd / response_sd
        loc = np.column_stack([priors.gamma_y.loc, priors.gamma_t.loc]) * sd / response_sd
        lam = scale[:, 0]
        gram, u = np.linalg.eigh(full[x, x] * np.outer(lam, lam))
        v = lam[:, None] * u
        blocks.gram[x] = np.clip(gram, 0.0, None)
        blocks.mixed[:, x] = full[at, x] @ v
        blocks.cross[x] = v.T @ full[x, to]
        blocks.loc[x] = u.T @ (loc / lam[:, None])
        blocks.precision[x] = (scale[0] / scale[0, 0]) ** -2.0
        blocks.rotation[:] = v / sd
    if priors.centered:
        assert priors.intercept_y is not None
        assert priors.intercept_t is not None
        own_loc = np.append(priors.intercept_y.loc, priors.intercept_t.loc)
        own_scale = np.append(priors.intercept_y.scale, priors.intercept_t.scale)
        blocks.gram[p] = std.n
        blocks.loc[p] = (own_loc - response_mean) / response_sd
        blocks.precision[p] = (response_sd / own_scale) ** 2
    return blocks


def bucket(n_blocks: int) -> int:
    """Number of blocks a program is compiled for: padding shares it between widths."""
    for size in BLOCK_BUCKETS:
        if n_blocks <= size:
            return size
    return n_blocks

"""The quasi-posterior as a PyMC model: priors, and the criterion as a potential on the sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skbayesiv._models.moment_conditions.density import LARGEST_SHARE
from skbayesiv._models.moment_conditions.design import CriterionDesign
from skbayesiv._models.moment_conditions.start import start
from skbayesiv._models.parts.names import DIMS, Coords, coordinates
from skbayesiv._models.parts.priors import Normal
from skbayesiv._sampling.libraries import load_jax
from skbayesiv._sampling.pymc_nuts import run_nuts, statistics
from skbayesiv._sampling.target import Draws, Settings
from skbayesiv._typing import Array


def state_criterion(design: CriterionDesign, state_effects: Callable[[], Any] | None = None) -> Any:
    """State the priors and the criterion in PyMC, in the data's own units.

    The sums are of z~ d with d = (y~ - t~'centre, t~). With a = (1, centre - beta_t),
    g = score_mean a, S = sum_ij a_i a_j score_cross_ij, m units and q instruments the potential
    is::

        (m - q) / 2 log(1 - Q / m),        Q = n g' S^-1 g

    Direct effects ~ N(0, D) widen S to S + n G D G', G = gram, and are variables with their
    distribution given beta_t, where g ~ N(G direct, S / n): under the potential of beta_t alone,
    which is no integral of one of both. The other coefficients have flat priors and are no part of
    the criterion.

    Parameters
    ----------
    design : CriterionDesign
    state_effects : callable, optional
        Called in the model's context to make ``beta_t`` of dims treatment, instead of its normal
        prior: a hierarchical one, for example.

    Returns
    -------
    pymc.Model
        With the potential ``criterion``.
    """
    load_jax()
    import pymc as pm

    names = coordinates(design.std.columns)
    with pm.Model(coords=criterion_coords(names)) as model:
        beta = _normal("beta_t", design.priors.beta_t) if state_effects is None else state_effects()
        add_criterion(design, beta)
    return model


def criterion_coords(names: Coords) -> Coords:
    """Names along the dimensions of the criterion's sums."""
    coords = {dim: names[dim] for dim in ("treatment", "instrument", "equation")}
    return coords | {f"{dim}_": coords[dim] for dim in ("instrument", "equation")}


def add_criterion(design: CriterionDesign, beta: Any) -> None:
    """State the criterion at the effects inside a PyMC model."""
    import pymc as pm
    import pytensor.tensor as pt

    n, units = design.std.n, float(design.arrays.units)
    mean, cross, gram = raw_sums(design)
    instruments, pairs = ("instrument", "instrument_"), ("equation", "equation_")
    centre = pm.Data("centre", design.arrays.centre * design.unit, dims="treatment")
    contrast = pm.math.concatenate([[1.0], centre - beta])
    g = pm.Data("score_mean", mean, dims=("instrument", "equation")) @ contrast
    sums = pm.Data("score_cross", cross, dims=(*instruments, *pairs))
    s = (sums * (contrast[:, None] * contrast)).sum(axis=(2, 3))
    if design.priors.direct is not None:
        gram = pm.Data("gram", gram, dims=instruments)
        s = _state_direct(design.priors.direct, n, gram, g, s)
    share = n * (g @ pt.linalg.solve(s, g, assume_a="pos")) / max(units, 1.0)
    ratio = pt.log1p(-pt.minimum(share, LARGEST_SHARE))
    pm.Potential("criterion", 0.5 * max(units - design.shape.n_instruments, 0.0) * ratio)


def sample_criterion(model: Any, design: CriterionDesign, settings: Settings) -> Draws:
    """Sample the model with PyMC's NUTS, one chain after the other.

    Returns
    -------
    Draws
        Positions are the standardised effects.
    """
    at, spread = start(design)
    generator = np.random.default_rng(settings.seed)
    jitter = generator.uniform(-1.0, 1.0, (settings.chains, at.size))
    points = (at + jitter * spread) * design.unit
    direct = {} if design.priors.direct is None else {"direct": design.priors.direct.loc}
    tree = run_nuts(model, [{"beta_t": point} | direct for point in points], settings)
    position = tree.posterior["beta_t"].to_numpy() / design.unit
    return Draws(position, statistics(tree))


def raw_sums(design: CriterionDesign) -> tuple[Array, Array, Array]:
    """Means of z~ d', of its products and of z~ z~' in the data's units.

    Returns
    -------
    mean : ndarray of shape (Q, 1 + K)
    cross : ndarray of shape (Q, Q, 1 + K, 1 + K)
    gram : ndarray of shape (Q, Q)
    """
    scores, std, c = design.scores, design.std, design.std.columns
    z = slice(scores.n_h, None)
    sd_z, sd_c = std.sd[c.z], np.append(std.sd[c.y], std.sd[c.t])
    mean = scores.mean[z, : len(sd_c)] * np.outer(sd_z, sd_c)
    by_z, by_c = np.outer(sd_z, sd_z), np.outer(sd_c, sd_c)
    cross = design.arrays.weight * by_z[:, :, None, None] * by_c
    return mean, cross, scores.gram[z, z] * by_z


def _state_direct(prior: Normal, n: float, gram: Any, g: Any, s: Any) -> Any:
    """State `direct` given beta_t and return n times the variance of g with its own added."""
    import pymc as pm
    import pytensor.tensor as pt

    weighted = n * pt.linalg.solve(s, gram, assume_a="pos")
    precision = gram @ weighted + np.diag(prior.scale**-2.0)
    mean = pt.linalg.solve(precision, weighted.T @ g, assume_a="pos")
    pm.MvNormal("direct", mean, tau=precision, dims=DIMS["direct"])
    return s + n * (gram * prior.scale**2) @ gram


def _normal(name: str, prior: Normal) -> Any:
    import pymc as pm

    return pm.Normal(name, prior.loc, prior.scale, dims=DIMS[name])

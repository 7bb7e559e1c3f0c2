"""Sums and priors -> the arrays that the criterion works on, in standardised coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.standardised import Standardised
from skbayesiv._models.moment_conditions.density import CriterionArrays, CriterionShape
from skbayesiv._models.moment_conditions.scores import Scores, build_scores
from skbayesiv._models.parts.priors import Normal, Priors
from skbayesiv._typing import Array


@dataclass(frozen=True, eq=False)
class CriterionDesign:
    """A problem in standardised coordinates and the way back.

    Attributes
    ----------
    shape : CriterionShape
    arrays : CriterionArrays
    unit : ndarray of shape (K,)
        Raw effect = unit * standardised effect.
    direct_scale : ndarray of shape (Q,) or None
        Prior standard deviations of the direct effects in standardised units.
    scores : Scores
    std : Standardised
    priors : Priors
        Of the effects and the direct effects; there are no others.
    """

    shape: CriterionShape
    arrays: CriterionArrays
    unit: Array
    direct_scale: Array | None
    scores: Scores
    std: Standardised
    priors: Priors


def build_criterion(
    std: Standardised, fourth: FourthMoments, priors: Priors, *, fit_intercept: bool = True
) -> CriterionDesign:
    """Bring sums and priors to standardised coordinates."""
    c = std.columns
    q, k = len(c.instruments), len(c.treatments)
    if not k:
        raise ValueError(
            'likelihood="gmm" must have t and z: its moment condition is on the effect of a '
            'treatment; got neither. Use likelihood="normal" for a regression.'
        )
    kind, units = "rows", std.n
    found = fourth.n_rows
    if fourth.n_clusters is not None:
        kind, found = "clusters", fourth.n_clusters
        units = float(found)
    if 0 < found <= q:
        raise ValueError(f"There must be more {kind} than instruments ({q}); got {found}.")
    scores = build_scores(fourth, std, fit_intercept=fit_intercept)
    unit = std.sd[c.y] / std.sd[c.t]
    z, both = slice(scores.n_h, None), slice(0, 1 + k)
    cross = scores.cross[z, both, z, both].transpose(0, 2, 1, 3)
    cross = (cross + cross.transpose(0, 1, 3, 2)) / 2.0
    scale = None if priors.direct is None else priors.direct.scale * std.sd[c.z] / std.sd[c.y]
    root = scores.gram[z, z] * (0.0 if scale is None else scale)
    arrays = CriterionArrays(
        moment=np.sqrt(std.n) * scores.mean[z, both],
        weight=cross,
        direct=std.n * root @ root.T,
        units=np.asarray(units),
        centre=scores.centre,
        loc=priors.beta_t.loc / unit,
        precision=(unit / priors.beta_t.scale) ** 2,
    )
    shape = CriterionShape(k, q, scale is not None)
    return CriterionDesign(shape, arrays, unit, scale, scores, std, used_priors(priors))


def used_priors(priors: Priors) -> Priors:
    """Only the priors that the quasi-posterior has: all else is flat."""
    none = Normal(np.empty(0), np.empty(0))
    return replace(
        priors,
        intercept_y=None,
        intercept_t=None,
        beta_z=none,
        beta_z_sd_scale=None,
        gamma_y=none,
        gamma_t=none,
        sigma_scale=np.empty(0),
        alpha=None,
        centered=False,
    )

"""A point in the bulk of the quasi-posterior, from the sums alone."""

from __future__ import annotations

import numpy as np

from skbayesiv._linear.two_stage import first_stage
from skbayesiv._models.moment_conditions.density import contrasts, spare_units, weight_matrix
from skbayesiv._models.moment_conditions.design import CriterionDesign
from skbayesiv._typing import Array

K_CLASS = 4.0


def start(design: CriterionDesign) -> tuple[Array, Array]:
    """Return a point near the mode and a rough standard deviation of each coordinate.

    A k-class estimate, k = 1 - K_CLASS / n (2SLS pulled towards least squares as the instruments
    weaken), and from there one Gauss-Newton step, which brings S and the prior in. The log
    quasi-likelihood is -(m - q) / m Q / 2 where Q is small.
    """
    arrays, n = design.arrays, design.std.n
    if not n:
        return np.array(arrays.loc), arrays.precision**-0.5
    stage = first_stage(design.scores.partial, design.shape.n_instruments)
    beta, _ = stage.k_class(K_CLASS / n)
    contrast = contrasts(arrays, beta)
    s = weight_matrix(arrays.weight, contrast, np) + arrays.direct
    slope = arrays.moment[:, 1:]
    share = spare_units(design.shape, arrays, np) / max(float(arrays.units), 1.0)
    weighted = share * np.linalg.solve(s, slope)
    precision = slope.T @ weighted + np.diag(arrays.precision)
    pull = weighted.T @ arrays.moment @ contrast + arrays.precision * (arrays.loc - beta)
    covariance = np.linalg.inv(precision)
    return beta + covariance @ pull, np.sqrt(np.diag(covariance))

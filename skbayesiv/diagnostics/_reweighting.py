"""Assignment reweighted by its propensity -> differences of arms, and each row's influence on them.

With d the assignment, e(x) its propensity and g(e) the weight of a population,

    m_1(a) = sum w d g / e a / sum w d g / e,
    m_0(a) = sum w (1 - d) g / (1 - e) a / sum w (1 - d) g / (1 - e)

are normalised means of a in the two arms of the population that g weighs: g = 1 all, g = e those
assigned, g = 1 - e those not. Per row h(e) has the influence

    h (a - m) / sum w h  +  that of estimating e, by the derivative h' (a - m) / sum w h.       (1)

A ratio r = (m_1(y) - m_0(y)) / (m_1(t) - m_0(t)) has the influence of the difference of y - r t
over the denominator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skbayesiv._typing import Array
from skbayesiv.diagnostics._propensity import Propensity, propensity
from skbayesiv.diagnostics._row_design import EXACT, RowDesign

# By population: g / e and g / (1 - e), and their derivatives by e.
type _Odds = tuple[Callable[[Array], Array], Callable[[Array], Array]]
_POPULATIONS: dict[str, tuple[_Odds, _Odds]] = {
    "all": (
        (lambda e: 1.0 / e, lambda e: -1.0 / e**2),
        (lambda e: 1.0 / (1.0 - e), lambda e: 1.0 / (1.0 - e) ** 2),
    ),
    "assigned": (
        (np.ones_like, np.zeros_like),
        (lambda e: e / (1.0 - e), lambda e: 1.0 / (1.0 - e) ** 2),
    ),
    "not assigned": (
        (lambda e: (1.0 - e) / e, lambda e: -1.0 / e**2),
        (np.ones_like, np.zeros_like),
    ),
}


@dataclass(frozen=True, eq=False)
class Reweighting:
    """Arms of an assignment, each with the covariates of one population.

    Attributes
    ----------
    design : RowDesign
    d : ndarray of shape (n,)
        Assignment, 0 or 1.
    propensity : Propensity
    """

    design: RowDesign
    d: Array
    propensity: Propensity

    @classmethod
    def of(cls, design: RowDesign, kind: str = "auto") -> Reweighting:
        """Reweight the arms of the one instrument, the larger value of which is assigned.

        A propensity has a constant, whether the outcome's model has one or not.
        """
        design = RowDesign(design.data, fit_intercept=True)
        d = assignment(design)
        return cls(design, d, propensity(design, d, kind))

    def difference(self, values: Array, population: str) -> tuple[Array, Array]:
        """Differences (M,) of the arms' means of values (n, M), and their influences (n, M)."""
        w, d, e = self.design.weight, self.d, self.propensity.e
        values = self.design.about_mean(values)
        means, influences, derivatives = [], [], []
        for arm, (weigh, slope) in zip((d, 1.0 - d), _POPULATIONS[population], strict=True):
            total = w @ (arm * weigh(e))
            mean = (w * arm * weigh(e)) @ values / total
            apart = (values - mean) * (arm / total)[:, None]
            means.append(mean)
            influences.append(apart * weigh(e)[:, None])
            derivatives.append(apart * slope(e)[:, None])
        own = influences[0] - influences[1]
        estimated = self.propensity.influence(derivatives[0] - derivatives[1])
        return means[0] - means[1], own + estimated

    def ratio(self, y: Array, t: Array, population: str) -> tuple[float, Array]:
        """Difference in y for each unit of difference in t, and its influence (n,)."""
        (over, under), influence = self.difference(np.column_stack([y, t]), population)
        if abs(under) <= EXACT * self.design.sizes(self.design.about_mean(t)):
            who = "" if population == "all" else f", with the covariates of those {population}"
            raise ValueError(
                "z must move t for an effect on compliers; got the same mean of t in both arms"
                f"{who}. Without a first stage there is nothing to divide by."
            )
        ratio = float(over / under)
        return ratio, np.asarray((influence[:, 0] - ratio * influence[:, 1]) / under)


def assignment(design: RowDesign) -> Array:
    """The one instrument as 0 and 1; raise unless it has two values."""
    if design.z.shape[1] != 1:
        raise ValueError(
            f"z must be one assignment of two values, got {design.z.shape[1]} columns. Take one "
            "instrument at a time."
        )
    z = design.z[:, 0]
    if not design.two_arms:
        raise ValueError(
            f"z must have two values, such as 0 and 1; got {len(np.unique(z))} from {z.min():g} to "
            f"{z.max():g}. Compare two of them, or use a threshold."
        )
    return np.asarray((z == z.max()).astype(float))

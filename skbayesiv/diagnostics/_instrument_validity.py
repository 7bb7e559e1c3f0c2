r"""What exclusion and monotonicity imply for the outcomes of the treated and the untreated.

With z and t of two values and nobody who does the opposite, for every set B of outcomes

    P(y in B, t = 1 | z = 1) >= P(y in B, t = 1 | z = 0),                                   (1)
    P(y in B, t = 0 | z = 0) >= P(y in B, t = 0 | z = 1),

since those who are treated without assignment are so with it, with the same outcome (Balke and
Pearl 1997). The sets are the values of a discrete outcome, whose sums all others are, or else all
intervals between the ends of a grid of quantiles (Kitagawa 2015). Given covariates (1) holds at
each value of them, so also for probabilities that are reweighted by the propensity.

The statistic is the largest violation over its standard error, or over that of a share of _LEAST_SD
where that is larger, as small counts have no normal distribution. Its law is bounded by that of
the maximum with all inequalities binding: Gaussian multipliers of the rows' (or clusters')
influences, which need only the covariance of the shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from skbayesiv._typing import Array, is_whole
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._partial import Partialled
from skbayesiv.diagnostics._reweighting import Reweighting
from skbayesiv.diagnostics._row_design import EXACT, RowDesign, row_design

MOST_VALUES = 20
BINS = 10
DRAWS = 2000
MOST_BINS, MOST_DRAWS = 100, 1_000_000
BLOCK_DRAWS = 2000
TIE = 1e-9  # where a set is empty the law has an atom at 0, of which draws are off by rounding
_LEAST_SD = 0.07  # Kitagawa's trimming constant
NULL = "exclusion, random assignment and monotonicity"


@dataclass(frozen=True)
class InstrumentValidity:
    """Test of what a valid instrument implies for the joint law of outcome and treatment.

    Attributes
    ----------
    statistic : float
        Largest standardised violation; negative if none of the inequalities is violated.
    p_value : float
        Bound of its p-value.
    arm : {0, 1}
        Treatment in the inequality that is violated most, or nearest to it.
    low, high : float
        Outcomes there: above `low` up to `high`, or, where they are equal, that value.
    shares : (float, float)
        The share that should be at least as large, and the one that should not be larger.
    n_inequalities : int
    """

    statistic: float
    p_value: float
    arm: int
    low: float
    high: float
    shares: tuple[float, float]
    n_inequalities: int

    @property
    def where(self) -> str:
        """The inequality that is violated most."""
        values = f"= {self.low:.4g}" if self.low == self.high else self._interval
        arms = ("without", "with") if self.arm == 0 else ("with", "without")
        more, less = self.shares
        return (
            f"y {values}, t = {self.arm}: {less:.4g} {arms[1]} assignment should be at most the "
            f"{more:.4g} {arms[0]}"
        )

    @property
    def _interval(self) -> str:
        if np.isneginf(self.low):
            return "whatever" if np.isposinf(self.high) else f"<= {self.high:.4g}"
        end = "" if np.isposinf(self.high) else f" and <= {self.high:.4g}"
        return f"> {self.low:.4g}{end}"

    def __str__(self) -> str:
        nearest = "violated most" if self.statistic > 0.0 else "nearest to be violated"
        return (
            f"Kitagawa: {self.statistic:.4g}, p = {self.p_value:.4g} (null: {NULL}); {nearest}: "
            f"{self.where}"
        )


def instrument_validity(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    propensity: str = "auto",
    n_bins: int = BINS,
    n_draws: int = DRAWS,
    random_state: Any = 0,
) -> InstrumentValidity:
    """Test exclusion, random assignment and monotonicity by what they imply together.

    Treated outcomes that are commoner without assignment than with it cannot be: those who are
    treated anyway would be so with assignment, and have the same outcome. Likewise for untreated
    outcomes.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome. With up to 20 values each is looked at, else intervals.
        An estimator or a partialled design takes the place of all arrays; it must have its rows.
    t : array-like of shape (n_rows,)
        One treatment, 0 or 1.
    z : array-like of shape (n_rows,)
        One assignment of two values; the one with the higher uptake counts as assigned.
    X : array-like of shape (n_rows, P), optional
        Covariates, given which assignment is as good as random: it is reweighted by them.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels.
    propensity : {"auto", "cells", "logit"}, default="auto"
        Of assignment, as in `complier_effects`.
    n_bins : int, default=10
        Number of quantile bins, up to 100, all intervals of which are looked at.
    n_draws : int, default=2000
        Of the law of the statistic, up to a million; of 2000 the p-value has a Monte Carlo standard
        error of at most 0.011.
    random_state : int, RandomState instance or None, default=0
        Seed of the draws.

    Returns
    -------
    InstrumentValidity

    Raises
    ------
    ValueError
        If z has not two values or t another than 0 and 1, if one cell of X has one arm only or
        assignment is certain for some rows, or if there are no rows.

    Notes
    -----
    The test has at most its size, less where inequalities have slack, as they do where there are
    many compliers. It is all that the data can say of the assumptions without more of them, and
    little: an instrument that acts on the outcome directly passes as long as compliers are enough
    to hide it.

    References
    ----------
    Balke, A. and Pearl, J. (1997). Bounds on treatment effects from studies with imperfect
    compliance. Journal of the American Statistical Association 92, 1171-1176.

    Huber, M. and Mellace, G. (2015). Testing instrument validity for LATE identification based on
    inequality moment constraints. Review of Economics and Statistics 97, 398-411.

    Kitagawa, T. (2015). A test for instrument validity. Econometrica 83, 2043-2063.

    Mourifie, I. and Wan, Y. (2017). Testing local average treatment effect assumptions. Review of
    Economics and Statistics 99, 305-313.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import instrument_validity
    >>> rng = np.random.default_rng(0)
    >>> z, u = rng.integers(0, 2, 4000), rng.random(4000)
    >>> t = (u < 0.3) | (u < 0.4) & (z == 1)
    >>> y = rng.random(4000) < 0.5
    >>> print(instrument_validity(y, t, z).p_value > 0.5)
    True
    >>> print(instrument_validity(y | t & (z == 0), t, z))
    Kitagawa: 6.647, p = 0.0004998 (null: exclusion, random assignment and monotonicity); violated
    most: y = 1, t = 1: 0.2912 without assignment should be at most the 0.2011 with
    """
    design = row_design(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=True
    )
    _check_count("n_bins", n_bins, 2, MOST_BINS)
    _check_count("n_draws", n_draws, 1, MOST_DRAWS)
    return validity_of_rows(
        design, kind=propensity, n_bins=n_bins, n_draws=n_draws, random_state=random_state
    )


def _check_count(name: str, value: int, least: int, most: int) -> None:
    """Raise unless a number is whole and neither too small nor too large."""
    if not (is_whole(value) and least <= value <= most):
        raise ValueError(f"{name} must be a whole number from {least} to {most:,}; got {value!r}.")


def _random(random_state: Any) -> np.random.RandomState:
    """Generator of a `random_state`."""
    try:
        return check_random_state(random_state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "random_state must be None, a RandomState or a whole number below 2^32; got "
            f"{random_state!r}."
        ) from error


def validity_of_rows(
    design: RowDesign,
    *,
    kind: str = "auto",
    n_bins: int = BINS,
    n_draws: int = DRAWS,
    random_state: Any = 0,
) -> InstrumentValidity:
    """Test the inequalities in checked rows."""
    if design.t.shape[1] != 1 or not np.isin(design.t, (0.0, 1.0)).all():
        raise ValueError(
            f"t must be one treatment, 0 or 1, for a test of the instrument's validity; got "
            f"{design.t.shape[1]} column(s) with values from {design.t.min():g} to "
            f"{design.t.max():g}."
        )
    random, weights = _random(random_state), Reweighting.of(design, kind)
    regions = _Regions.of(design, n_bins)
    t = design.t > 0.0
    cells = np.hstack([regions.members & t, regions.members & ~t]).astype(float)
    apart, influence = weights.difference(cells, "all")
    half = len(apart) // 2
    up = 1.0 if apart[:half].sum() >= 0.0 else -1.0
    sign = up * np.repeat([-1.0, 1.0], half)  # of a violation
    sums = np.kron(np.eye(2), regions.sums)
    root = _root(design.covariance(influence * sign))
    share = float(design.weight @ weights.d) / design.n
    floor = _LEAST_SD / np.sqrt(design.n * share * (1.0 - share))
    error = np.maximum(np.sqrt(((sums @ root) ** 2).sum(axis=1)), floor)
    ratios = sums @ (apart * sign) / error
    largest = _largest(random, sums @ root / error[:, None], n_draws)
    at = int(np.argmax(ratios))
    arm, region = 1 - at // len(regions.sums), at % len(regions.sums)
    more = (weights.d > 0) == ((arm == 1) == (up > 0.0))
    low, high = regions.ends[region]
    return InstrumentValidity(
        statistic=float(ratios[at]),
        p_value=float((1 + (largest >= ratios[at] - TIE).sum()) / (1 + n_draws)),
        arm=arm,
        low=low,
        high=high,
        shares=_shares(weights, cells @ sums[at], more),
        n_inequalities=len(sums),
    )


def _largest(random: np.random.RandomState, root: Array, n_draws: int) -> Array:
    """Draws of the largest of normal variables with covariance root root', some at a time."""
    blocks = np.arange(0, n_draws, BLOCK_DRAWS).tolist()
    counts = [min(BLOCK_DRAWS, n_draws - first) for first in blocks]
    draws = (random.normal(size=(count, root.shape[1])) @ root.T for count in counts)
    return np.concatenate([block.max(axis=1) for block in draws])


def _shares(weights: Reweighting, member: Array, more: Any) -> tuple[float, float]:
    """Reweighted share of rows in a set, in the arm that should have more of them and the other."""
    e = weights.propensity.e
    inverse = weights.design.weight / np.where(weights.d > 0, e, 1.0 - e)
    first, second = (
        float(inverse[arm] @ member[arm] / inverse[arm].sum()) for arm in (more, ~more)
    )
    return first, second


def _root(covariance: Array) -> Array:
    """R with R R' the covariance, of which small eigenvalues are rounding."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.where(values > EXACT * values[-1], values, 0.0)))


@dataclass(frozen=True, eq=False)
class _Regions:
    """Sets of outcomes.

    Attributes
    ----------
    members : ndarray of bool of shape (n, J)
        Which of J disjoint cells each row is in.
    sums : ndarray of shape (R, J)
        Which cells each set has.
    ends : list of (float, float)
        Ends of each set.
    """

    members: Any
    sums: Array
    ends: list[tuple[float, float]]

    @classmethod
    def of(cls, design: RowDesign, n_bins: int) -> _Regions:
        """Values of a discrete outcome, or intervals between weighted quantiles of another."""
        values, codes = np.unique(design.y, return_inverse=True)
        if len(values) <= MOST_VALUES:
            ends = [(float(value), float(value)) for value in values]
            return cls(codes[:, None] == np.arange(len(values)), np.eye(len(values)), ends)
        below = np.cumsum(np.bincount(codes, design.weight))
        at = np.searchsorted(below, design.n * np.arange(1, n_bins) / n_bins)
        cuts = np.unique(values[at[at < len(values) - 1]])
        codes, n_cells = np.searchsorted(cuts, design.y), len(cuts) + 1
        first, last = np.triu_indices(n_cells)
        cells = np.arange(n_cells)
        sums = (first[:, None] <= cells) & (cells <= last[:, None])
        edges = np.concatenate([[-np.inf], cuts, [np.inf]])
        pairs = zip(edges[first].tolist(), edges[last + 1].tolist(), strict=True)
        return cls(codes[:, None] == cells, sums.astype(float), list(pairs))

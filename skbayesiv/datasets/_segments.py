"""Simulated experiments in segments of the rows, each with an effect of its own that is known."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from skbayesiv._typing import Array, Codes
from skbayesiv.datasets._table import Roles, package

SIMULATION = "A simulated experiment with non-compliance in segments; see `make_segments`."
ROLES = Roles(covariates=[], treatment="t", outcome="y", instruments=["z"])


@validate_params(
    {
        "n_segments": [Interval(Integral, 1, None, closed="left")],
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "effect": [Interval(Real, None, None, closed="neither")],
        "effect_sd": [Interval(Real, 0, None, closed="left")],
        "compliance": ["array-like"],
        "assignment": [Interval(Real, 0, 1, closed="neither")],
        "confounding": [Interval(Real, -1, 1, closed="both")],
        "slope": [Interval(Real, None, None, closed="neither")],
        "noise": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "as_frame": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_segments(
    n_segments: int = 20,
    n_samples: int = 4000,
    *,
    effect: float = 1.0,
    effect_sd: float = 0.4,
    compliance: tuple[float, float] = (0.3, 0.8),
    assignment: float = 0.5,
    confounding: float = 0.5,
    slope: float = 0.0,
    noise: float = 1.0,
    random_state: int | np.random.RandomState | None = None,
    as_frame: bool = False,
) -> Any:
    r"""Simulate a randomised experiment in segments whose effects differ.

    Each unit is in one segment, such as a country. It is offered the treatment at
    random and decides by its taste for it, which also moves its outcome. Without
    the offer nobody is treated.

    Parameters
    ----------
    n_segments : int, default=20
        Number G of segments.

    n_samples : int, default=4000
        Number n of units in all segments, at least G.

    effect : float, default=1.0
        Mean effect of the population of segments, at an income of 0.

    effect_sd : float, default=0.4
        Standard deviation of the segments' effects, at a given income.

    compliance : (low, high), default=(0.3, 0.8)
        Range of the segments' shares of compliers, between 0 and 1.

    assignment : float, default=0.5
        Probability of the offer, strictly between 0 and 1.

    confounding : float, default=0.5
        Correlation :math:`\rho` of the outcome's error with the unobserved taste.

    slope : float, default=0.0
        What one unit of a segment's income adds to its effect.

    noise : float, default=1.0
        Standard deviation of the outcome's error, and of the segments' intercepts.

    random_state : int, RandomState instance or None, default=None
        Seed or generator of the draws; an int makes them reproducible.

    as_frame : bool, default=False
        If True, return the rows as pandas objects instead of NumPy arrays.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the following attributes; the letters are those of `fit`.

        data, X : None
            There are no covariates.
        treatment, t : ndarray or Series of shape (n,)
            Treatment, 0 or 1.
        target, y : ndarray or Series of shape (n,)
            Outcome.
        instrument, z : ndarray or Series of shape (n,)
            Offer, 0 or 1.
        segments : ndarray or Series of shape (n,)
            Label of each unit's segment.
        effect : float
            Mean effect of the population.
        effects : Series of shape (G,)
            Effect of each segment, by label.
        compliance : Series of shape (G,)
            Share of compliers of each segment, by label.
        segment_covariates : DataFrame of shape (G, 1)
            `income` of each segment, by label. It moves effects if `slope` is not 0.
        frame : DataFrame or None
            All columns, only if `as_frame` is True.
        feature_names, treatment_names, target_names, instrument_names : list of str
            Names of the columns.
        DESCR : str
            Description of the data.

    Raises
    ------
    ValueError
        If `compliance` is not a range between 0 and 1, or there are more segments
        than units.

    See Also
    --------
    make_noncompliance : One experiment with covariates, always-takers or a dose.

    Notes
    -----
    For segments g with :math:`a_g \sim N(0, \mathrm{noise}^2)`,
    :math:`c_g \sim U(\mathrm{low}, \mathrm{high})` and
    :math:`\eta_g, w_g \sim N(0, 1)`, and for units i with
    :math:`z_i \sim` Bernoulli(`assignment`) and
    :math:`u_i, \varepsilon_i \sim N(0, 1)`, all independent,

    .. math::

        \beta_g &= \mathrm{effect} + \mathrm{slope}\, w_g + \mathrm{effect\_sd}\, \eta_g \\
        t_i &= z_i\, 1\{\Phi^{-1}(c_g) + u_i > 0\} \\
        y_i &= a_g + \beta_g t_i
            + \mathrm{noise}\, (\rho u_i + \sqrt{1 - \rho^2}\, \varepsilon_i)

    Every segment has one unit. The others fall into segments with probabilities
    that are proportional to draws of a lognormal with :math:`\sigma = 1`: few
    segments are large and many are small.

    Examples
    --------
    >>> from skbayesiv.datasets import make_segments
    >>> sim = make_segments(3, 60_000, random_state=0)
    >>> for label, effect in sim.effects.items():
    ...     own = sim.segments == label
    ...     y, t, z = sim.y[own], sim.t[own], sim.z[own]
    ...     wald = (y[z == 1].mean() - y[z == 0].mean()) / (t[z == 1].mean() - t[z == 0].mean())
    ...     print(f"{label}: {wald:.1f}, in truth {effect:.1f}")
    s1: 1.9, in truth 1.9
    s2: 1.7, in truth 1.7
    s3: 0.6, in truth 0.6
    """
    low, high = _check_range(compliance)
    if n_segments > n_samples:
        raise ValueError(
            f"n_segments must be at most n_samples ({n_samples}): each has a unit. "
            f"Got {n_segments}."
        )
    rng = check_random_state(random_state)
    labels = pd.Index(_labels(n_segments), name="segment")
    income, eta, intercept = rng.standard_normal((3, n_segments))
    share = rng.uniform(low, high, n_segments)
    effects = effect + slope * income + effect_sd * eta

    codes = _codes(n_segments, n_samples, rng)
    z = rng.binomial(1, assignment, n_samples).astype(np.int64)
    taste, epsilon = rng.standard_normal((2, n_samples))
    t = z * (ndtri(share)[codes] + taste > 0)
    error = confounding * taste + np.sqrt(1.0 - confounding**2) * epsilon
    y = effects[codes] * t + noise * (intercept[codes] + error)

    segments = labels.to_numpy()[codes]
    table = {"segment": segments, "t": t, "z": z, "y": y}
    made: Any = package(
        table,
        ROLES,
        as_frame=as_frame,
        return_X_t_y_z=False,
        segments=segments,
        effect=float(effect),
        effects=pd.Series(effects, labels, name="effect"),
        compliance=pd.Series(share, labels, name="compliance"),
        segment_covariates=pd.DataFrame({"income": income}, labels),
        DESCR=SIMULATION,
    )
    if as_frame:
        made.segments = made.frame["segment"]
    return made


def _check_range(compliance: Any) -> Array:
    found = np.asarray(compliance, dtype=float)
    if found.shape != (2,) or not 0 <= found[0] <= found[1] <= 1:
        raise ValueError(
            f"compliance must be (low, high) with 0 <= low <= high <= 1. Got {compliance!r}."
        )
    return found


def _labels(n_segments: int) -> list[str]:
    """Names that sort in their order."""
    width = len(str(n_segments))
    return [f"s{g:0{width}d}" for g in range(1, n_segments + 1)]


def _codes(n_segments: int, n_samples: int, rng: np.random.RandomState) -> Codes:
    """Segment of each unit, by position: one unit in each, the others by unequal shares."""
    size = rng.lognormal(size=n_segments)
    more = rng.multinomial(n_samples - n_segments, size / size.sum())
    return np.asarray(rng.permutation(np.repeat(np.arange(n_segments), 1 + more)))

"""Simulated experiments whose units need not comply, and whose effect is known."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from skbayesiv._typing import Array
from skbayesiv.datasets._table import Roles, package

SIMULATION = "A simulated experiment with non-compliance; see `make_noncompliance`."


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "effect": [Interval(Real, None, None, closed="neither")],
        "compliance": [Interval(Real, 0, 1, closed="both")],
        "always_takers": [Interval(Real, 0, 1, closed="both")],
        "assignment": [Interval(Real, 0, 1, closed="neither")],
        "confounding": [Interval(Real, -1, 1, closed="both")],
        "n_covariates": [Interval(Integral, 0, None, closed="left")],
        "n_instruments": [Interval(Integral, 1, None, closed="left")],
        "binary_treatment": ["boolean"],
        "effect_sd": [Interval(Real, 0, None, closed="left")],
        "heteroskedastic": ["boolean"],
        "noise": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "as_frame": ["boolean"],
        "return_X_t_y_z": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_noncompliance(
    n_samples: int = 1000,
    *,
    effect: float = 1.0,
    compliance: float = 0.7,
    always_takers: float = 0.0,
    assignment: float = 0.5,
    confounding: float = 0.5,
    n_covariates: int = 0,
    n_instruments: int = 1,
    binary_treatment: bool = True,
    effect_sd: float = 0.0,
    heteroskedastic: bool = False,
    noise: float = 1.0,
    random_state: int | np.random.RandomState | None = None,
    as_frame: bool = False,
    return_X_t_y_z: bool = False,
) -> Any:
    r"""Simulate a randomised experiment whose units need not comply.

    Each unit is offered `n_instruments` encouragements at random and decides by
    its taste for the treatment, which also moves its outcome: treated and
    untreated units differ even without an effect.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of units n.

    effect : float, default=1.0
        Mean effect of the treatment, the same among compliers as among all.

    compliance : float, default=0.7
        Share of compliers, between 0 and 1. For a continuous treatment, its mean
        shift under full encouragement.

    always_takers : float, default=0.0
        Share of units that take the treatment unencouraged. With 0,
        non-compliance is one-sided. Only for a binary treatment;
        `compliance` and `always_takers` must not exceed 1 together.

    assignment : float, default=0.5
        Probability of each encouragement, strictly between 0 and 1.

    confounding : float, default=0.5
        Correlation :math:`\rho` of the outcome's error with the unobserved taste.

    n_covariates : int, default=0
        Number P of observed covariates that move both taste and outcome.

    n_instruments : int, default=1
        Number Q of encouragements.

    binary_treatment : bool, default=True
        If False, the treatment is a normal dose.

    effect_sd : float, default=0.0
        Standard deviation of the unit effects.

    heteroskedastic : bool, default=False
        If True, the outcome's error has three times the standard deviation
        under full encouragement as under none. With one instrument the
        classical standard error is then wrong unless `assignment` is 0.5.

    noise : float, default=1.0
        Standard deviation of the outcome's error.

    random_state : int, RandomState instance or None, default=None
        Seed or generator of the draws; an int makes them reproducible.

    as_frame : bool, default=False
        If True, return pandas objects instead of NumPy arrays.

    return_X_t_y_z : bool, default=False
        If True, return ``(X, t, y, z)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch` or tuple
        Bunch with the following attributes; the letters are those of `fit`.

        data, X : ndarray or DataFrame of shape (n, P), or None if P = 0
            Covariates.
        treatment, t : ndarray or Series of shape (n,)
            Treatment.
        target, y : ndarray or Series of shape (n,)
            Outcome.
        instrument, z : ndarray, Series or DataFrame of shape (n,), or (n, Q) if Q > 1
            Encouragements, 0 or 1.
        effect : float
            Mean effect, among compliers and among all units.
        effects : ndarray of shape (n,)
            Effect of each unit.
        strata : ndarray of shape (n,), or None for a continuous treatment
            "complier", "never-taker" or "always-taker": what the unit does
            under full encouragement against none.
        gamma_y, gamma_t : ndarray of shape (P,)
            Coefficients of the covariates in the outcome and in the taste.
        frame : DataFrame or None
            All columns, only if `as_frame` is True.
        feature_names, treatment_names, target_names, instrument_names : list of str
            Names of the columns.
        DESCR : str
            Description of the data.

    Raises
    ------
    ValueError
        If `compliance` + `always_takers` exceeds 1, or `always_takers` is given
        with a continuous treatment.

    See Also
    --------
    load_push_experiment : An experiment with one-sided non-compliance.

    Notes
    -----
    With :math:`x_i \sim N(0, I_P)`, :math:`z_{iq} \sim` Bernoulli(`assignment`),
    :math:`\nu_i, \varepsilon_i, \eta_i \sim N(0, 1)`, all independent, and
    :math:`\bar z_i` the share of encouragements received,

    .. math::

        u_i &= x_i' \gamma_t + \sqrt{1 - \gamma_t'\gamma_t}\, \nu_i
            && \text{(taste)} \\
        t_i &= 1\{\Phi^{-1}(a + c \bar z_i) + u_i > 0\}
            && \text{(binary; } t_i = c \bar z_i + u_i \text{ otherwise)} \\
        e_i &= s(\bar z_i)\, (\rho \nu_i + \sqrt{1 - \rho^2}\, \varepsilon_i)
            && \text{(error)} \\
        y_i &= x_i' \gamma_y + (\mathrm{effect} + \mathrm{effect\_sd}\, \eta_i)\, t_i + e_i

    where c is `compliance` and a `always_takers`. The taste is standard normal
    whatever the covariates, so the shares of the principal strata are exactly a
    (always-takers, :math:`\Phi(-u_i) < a`), c (compliers) and 1 - a - c
    (never-takers). With P > 0 every :math:`\gamma_t` is :math:`1/\sqrt{2P}` and every
    :math:`\gamma_y` is :math:`\mathrm{noise}/\sqrt P`: the covariates explain half
    the variance of the taste and half that of the untreated outcome. The error's
    scale s is `noise`, or under `heteroskedastic` proportional to
    :math:`1 + 2 \bar z_i` with mean square :math:`\mathrm{noise}^2`.

    The encouragement is independent of everything but t and the error's scale,
    so E[e | z] = 0; the unit effects are independent of the taste, so compliers
    have the same mean effect as everybody. The Wald ratio converges to `effect`.

    References
    ----------
    .. [1] Angrist, Imbens and Rubin (1996), "Identification of causal effects
       using instrumental variables", JASA 91(434).
    .. [2] Vytlacil (2002), "Independence, monotonicity, and latent index models:
       an equivalence result", Econometrica 70(1).

    Examples
    --------
    >>> from skbayesiv.datasets import make_noncompliance
    >>> sim = make_noncompliance(100_000, effect=2.0, random_state=0)
    >>> y, t, z = sim.y, sim.t, sim.z
    >>> wald = (y[z == 1].mean() - y[z == 0].mean()) / (t[z == 1].mean() - t[z == 0].mean())
    >>> print(f"{wald:.1f} against {y[t == 1].mean() - y[t == 0].mean():.1f} as treated")
    2.0 against 2.4 as treated
    """
    _check_strata(compliance, always_takers, binary_treatment)
    rng = check_random_state(random_state)
    X = rng.standard_normal((n_samples, n_covariates))
    Z = rng.binomial(1, assignment, size=(n_samples, n_instruments)).astype(np.int64)
    nu, epsilon, eta = rng.standard_normal((3, n_samples))

    share = Z.mean(axis=1)
    direction = np.ones(n_covariates) / np.sqrt(max(n_covariates, 1))
    gamma_t, gamma_y = direction * np.sqrt(0.5), direction * noise
    taste = X @ gamma_t + np.sqrt(1.0 - gamma_t @ gamma_t) * nu
    scale = noise * (_relative_scale(share, assignment, n_instruments) if heteroskedastic else 1.0)
    error = scale * (confounding * nu + np.sqrt(1.0 - confounding**2) * epsilon)
    effects = effect + effect_sd * eta

    strata = None
    t = compliance * share + taste
    if binary_treatment:
        t = _takes(always_takers + compliance * share, taste)
        strata = _strata(always_takers, compliance, taste)
    y = X @ gamma_y + effects * t + error

    roles = _simulated_roles(n_covariates, n_instruments)
    columns = [*roles.covariates, "t", *roles.instruments, "y"]
    return package(
        dict(zip(columns, [*X.T, t, *Z.T, y], strict=True)),
        roles,
        as_frame=as_frame,
        return_X_t_y_z=return_X_t_y_z,
        effect=float(effect),
        effects=effects,
        strata=strata,
        gamma_y=gamma_y,
        gamma_t=gamma_t,
        DESCR=SIMULATION,
    )


def _check_strata(compliance: float, always_takers: float, binary_treatment: bool) -> None:
    if compliance + always_takers > 1:
        raise ValueError(
            "compliance + always_takers must be at most 1, the share of all units. "
            f"Got {compliance} + {always_takers}."
        )
    if always_takers > 0 and not binary_treatment:
        raise ValueError(
            "always_takers must be 0 with binary_treatment=False: a dose has no strata. "
            f"Got {always_takers}."
        )


def _takes(probability: Array | float, taste: Array) -> NDArray[np.int64]:
    """Evaluate the latent-index rule: t = 1{Phi^-1(p) + u > 0}, so that E[t] = p."""
    return (ndtri(probability) + taste > 0).astype(np.int64)


def _strata(always_takers: float, compliance: float, taste: Array) -> NDArray[np.str_]:
    """Name what each unit does under full encouragement against none."""
    unencouraged = _takes(always_takers, taste)
    encouraged = _takes(always_takers + compliance, taste)
    names = np.array(["never-taker", "complier", "always-taker"])
    return names[unencouraged + encouraged]


def _relative_scale(share: Array, assignment: float, n_instruments: int) -> Array:
    """Scale the error by 1 + 2 z_bar, with mean square one.

    E[z_bar] = p and Var[z_bar] = p (1 - p) / Q, so
    E[(1 + 2 z_bar)^2] = (1 + 2 p)^2 + 4 p (1 - p) / Q.
    """
    mean_square = (1 + 2 * assignment) ** 2 + 4 * assignment * (1 - assignment) / n_instruments
    return (1 + 2 * share) / np.sqrt(mean_square)


def _simulated_roles(n_covariates: int, n_instruments: int) -> Roles:
    several = n_instruments > 1
    return Roles(
        covariates=[f"x{p}" for p in range(n_covariates)],
        treatment="t",
        outcome="y",
        instruments=[f"z{q}" for q in range(n_instruments)] if several else ["z"],
    )

"""Experiments with non-compliance: one real, one reconstructed, and simulated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike, environ
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtri
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fetch_push_experiment", "load_push_experiment", "make_noncompliance"]

Column = NDArray[np.generic]
Table = Mapping[str, Column]


@dataclass(frozen=True)
class _Roles:
    """Which columns of a table are covariates, treatment, outcome and instruments."""

    covariates: Sequence[str]
    treatment: str
    outcome: str
    instruments: Sequence[str]


_PUSH_ROLES = _Roles(
    covariates=(),
    treatment="push_delivered",
    outcome="in_app_purchase",
    instruments=("push_assigned",),
)
_PUSH_COLUMNS = ("in_app_purchase", "push_assigned", "push_delivered")
_PUSH_FILE = "app_engagement_push.csv"
_PUSH_URL = (
    "https://raw.githubusercontent.com/matheusfacure/python-causality-handbook/master/"
    "causal-inference-for-the-brave-and-true/data/" + _PUSH_FILE
)
_PUSH_SHA256 = "75f2a00e1ccc611dc576675a90bc0cf2886ec477017dfb8ea4a1478745729f0f"

# (assigned, delivered): count, sum and sum of squares of in_app_purchase.
# Nobody received the push without having been assigned to it.
_PUSH_CELLS = {
    (0, 0): (5057, 350408, 27638434),
    (1, 0): (1396, 72383, 4130699),
    (1, 1): (3547, 281809, 24670021),
}

_PUSH_DESCR = """\
Push-notification experiment
----------------------------

10,000 users of an app were assigned at random to receive a push notification
or not. Some assigned users never got it, for example because their phone was
too old, and such users also spend less: delivery is confounded with spending,
assignment is not. Assignment is therefore an instrument for delivery.

    in_app_purchase   amount spent in the app (outcome)
    push_assigned     1 if assigned to the push, else 0 (instrument)
    push_delivered    1 if the push was delivered, else 0 (treatment)

Source: Matheus Facure, "Causal Inference for the Brave and True",
app_engagement_push.csv, MIT licence.
"""

_RECONSTRUCTION_DESCR = (
    _PUSH_DESCR
    + """
This is a reconstruction. In each of the three (assigned, delivered) cells the
number of rows, the sum and the sum of squares of the outcome are exactly those
of the original; the individual rows are not. Whatever depends on the rows only
through these moments (least squares and two-stage least squares with classical
or robust errors, the normal likelihood) is the same as on the original.
`fetch_push_experiment` downloads the original.
"""
)

_SIMULATION_DESCR = "A simulated experiment with non-compliance; see `make_noncompliance`."


@validate_params(
    {"as_frame": ["boolean"], "return_X_t_y_z": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def load_push_experiment(*, as_frame: bool = False, return_X_t_y_z: bool = False) -> Any:
    """Load a reconstruction of the push-notification experiment, offline.

    Within each (assigned, delivered) cell the count, the sum and the sum of
    squares of the outcome equal the original's exactly; the individual rows are
    made up, with the skewed bell shape of the original. Every estimate that
    depends on the rows only through these moments is the original's, such as
    two-stage least squares with robust standard errors and `BayesianIV`.

    =================   ============
    Samples total             10,000
    Covariates                  none
    Treatment                 0 or 1
    Instrument                0 or 1
    Outcome             integer >= 0
    =================   ============

    Parameters
    ----------
    as_frame : bool, default=False
        If True, return pandas objects instead of NumPy arrays.

    return_X_t_y_z : bool, default=False
        If True, return ``(X, t, y, z)`` instead of a Bunch, with X None.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch` or tuple
        Bunch with the following attributes; the letters are those of `fit`.

        data, X : None
            There are no covariates.
        treatment, t : ndarray or Series of shape (10000,)
            Whether the push was delivered.
        target, y : ndarray or Series of shape (10000,)
            In-app purchases.
        instrument, z : ndarray or Series of shape (10000,)
            Whether the user was assigned to the push.
        frame : DataFrame of shape (10000, 3) or None
            All columns, only if `as_frame` is True.
        feature_names, treatment_names, target_names, instrument_names : list of str
            Names of the columns.
        DESCR : str
            Description of the data.

    See Also
    --------
    fetch_push_experiment : The original rows, downloaded.
    make_noncompliance : Simulated experiments with a known effect.

    References
    ----------
    Matheus Facure, "Causal Inference for the Brave and True", chapter
    "Non-compliance and LATE"; ``app_engagement_push.csv``, MIT licence.

    Examples
    --------
    >>> from skbayesiv.datasets import load_push_experiment
    >>> X, t, y, z = load_push_experiment(return_X_t_y_z=True)
    >>> reduced_form = y[z == 1].mean() - y[z == 0].mean()
    >>> first_stage = t[z == 1].mean() - t[z == 0].mean()
    >>> print(f"{reduced_form / first_stage:.4f}")
    3.2938
    """
    return _package(
        _reconstruct(_PUSH_CELLS),
        _PUSH_ROLES,
        as_frame=as_frame,
        return_X_t_y_z=return_X_t_y_z,
        DESCR=_RECONSTRUCTION_DESCR,
    )


@validate_params(
    {
        "data_home": [str, PathLike, None],
        "as_frame": ["boolean"],
        "return_X_t_y_z": ["boolean"],
        "download_if_missing": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_push_experiment(
    *,
    data_home: str | PathLike[str] | None = None,
    as_frame: bool = False,
    return_X_t_y_z: bool = False,
    download_if_missing: bool = True,
) -> Any:
    """Fetch the push-notification experiment, downloading it if necessary.

    The file (71 kB) is downloaded once, checked against its SHA-256 and cached.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of the cache, created if missing. By default it is the environment
        variable ``SKBAYESIV_DATA``, or else ``~/skbayesiv_data``.

    as_frame : bool, default=False
        If True, return pandas objects instead of NumPy arrays.

    return_X_t_y_z : bool, default=False
        If True, return ``(X, t, y, z)`` instead of a Bunch, with X None.

    download_if_missing : bool, default=True
        If False, raise an OSError if the original is not in the cache.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch` or tuple
        The same as from :func:`load_push_experiment`, with the original rows.

    Raises
    ------
    OSError
        If `download_if_missing` is False and the cache does not hold the file.
    ValueError
        If the downloaded file is not the one that was published.

    See Also
    --------
    load_push_experiment : A reconstruction with the same moments, offline.

    References
    ----------
    Matheus Facure, "Causal Inference for the Brave and True", chapter
    "Non-compliance and LATE"; ``app_engagement_push.csv``, MIT licence.

    Examples
    --------
    >>> from skbayesiv.datasets import fetch_push_experiment
    >>> push = fetch_push_experiment(as_frame=True)  # doctest: +SKIP
    >>> push.frame.shape  # doctest: +SKIP
    (10000, 3)
    """
    path = _fetch_push_file(data_home, download_if_missing)
    rows = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64)
    return _package(
        dict(zip(_PUSH_COLUMNS, rows.T, strict=True)),
        _PUSH_ROLES,
        as_frame=as_frame,
        return_X_t_y_z=return_X_t_y_z,
        DESCR=_PUSH_DESCR,
    )


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
    return _package(
        dict(zip(columns, [*X.T, t, *Z.T, y], strict=True)),
        roles,
        as_frame=as_frame,
        return_X_t_y_z=return_X_t_y_z,
        effect=float(effect),
        effects=effects,
        strata=strata,
        gamma_y=gamma_y,
        gamma_t=gamma_t,
        DESCR=_SIMULATION_DESCR,
    )


def _package(
    table: Table,
    roles: _Roles,
    *,
    as_frame: bool,
    return_X_t_y_z: bool,
    **details: Any,
) -> Bunch | tuple[Any, Any, Any, Any]:
    """Split a table by roles, as arrays or as pandas objects."""
    frame = _to_frame(table) if as_frame else None
    source = table if frame is None else frame
    X = _matrix(source, roles.covariates) if roles.covariates else None
    t, y = source[roles.treatment], source[roles.outcome]
    single = len(roles.instruments) == 1
    z = source[roles.instruments[0]] if single else _matrix(source, roles.instruments)
    if return_X_t_y_z:
        return X, t, y, z
    return Bunch(
        **{"data": X, "treatment": t, "target": y, "instrument": z},
        **{"X": X, "t": t, "y": y, "z": z},
        frame=frame,
        feature_names=list(roles.covariates),
        treatment_names=[roles.treatment],
        target_names=[roles.outcome],
        instrument_names=list(roles.instruments),
        **details,
    )


def _to_frame(table: Table) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(dict(table))


def _matrix(source: Table | pd.DataFrame, names: Sequence[str]) -> Any:
    """Select several columns as one two-dimensional object."""
    if isinstance(source, Mapping):
        return np.column_stack([source[name] for name in names])
    return source[list(names)]


def _fetch_push_file(data_home: str | PathLike[str] | None, download_if_missing: bool) -> Path:
    """Return the path of the verified original in the cache."""
    import pooch

    if data_home is None:
        data_home = environ.get("SKBAYESIV_DATA", "~/skbayesiv_data")
    path = Path(get_data_home(data_home)) / _PUSH_FILE
    cached = path.exists() and pooch.file_hash(str(path)) == _PUSH_SHA256
    if not cached and not download_if_missing:
        raise OSError(f"{path} is missing or damaged, and download_if_missing=False.")
    pooch.retrieve(_PUSH_URL, known_hash=_PUSH_SHA256, fname=path.name, path=path.parent)
    return path


def _reconstruct(cells: Mapping[tuple[int, int], tuple[int, int, int]]) -> dict[str, Column]:
    """Build rows with the given count, sum and sum of squares in each (z, t) cell."""
    counts = [count for count, _, _ in cells.values()]
    outcome = np.concatenate([_integers_with_moments(*moments) for moments in cells.values()])
    assigned, delivered = np.repeat(np.array(list(cells)), counts, axis=0).T
    # RandomState's stream is frozen for good, so the order is the same everywhere.
    order = np.random.RandomState(0).permutation(len(outcome))
    columns = (outcome[order], assigned[order], delivered[order])
    return dict(zip(_PUSH_COLUMNS, columns, strict=True))


def _integers_with_moments(count: int, total: int, squares: int) -> NDArray[np.int64]:
    """Build sorted, gamma-shaped integers with an exact count, sum and sum of squares.

    Rounded quantiles of the gamma distribution come close: rounding adds about
    1/12 to the variance (Sheppard's correction). Unit steps settle the rest.
    """
    mean = total / count
    variance = squares / count - mean**2
    quantiles = gammaincinv(mean**2 / variance, (np.arange(count) + 0.5) / count)
    standardised = (quantiles - quantiles.mean()) / quantiles.std()
    values = np.rint(mean + np.sqrt(variance - 1 / 12) * standardised).astype(np.int64)
    _settle_sum(values, total)
    _settle_squares(values, squares)
    return values


def _settle_sum(values: NDArray[np.int64], total: int) -> None:
    """Move values between the quartiles of sorted `values` by one, to reach the sum."""
    missing = total - int(values.sum())
    quartiles = len(values) // 4, 3 * len(values) // 4
    values[np.linspace(*quartiles, abs(missing), dtype=np.int64)] += np.sign(missing)
    values.sort()


def _settle_squares(values: NDArray[np.int64], squares: int) -> None:
    """Move pairs of sorted `values` by one in opposite directions, to reach the squares.

    Raising a by one and lowering b by one keeps the sum and adds
    (a + 1)^2 - a^2 + (b - 1)^2 - b^2 = 2 (a - b + 1) to the squares. A sum and a
    sum of squares of integers have the same parity, so what is missing is even.
    """
    centre, reach = int(np.median(values)), 2 * int(values.std())
    while missing := (squares - int(values @ values)) // 2:
        step = int(np.clip(missing, -reach, reach))
        lowered = centre - step // 2
        raised = lowered + step - 1
        values[np.searchsorted(values, raised, side="right") - 1] += 1
        values[np.searchsorted(values, lowered, side="left")] -= 1


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


def _takes(
    probability: NDArray[np.float64] | float, taste: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Evaluate the latent-index rule: t = 1{Phi^-1(p) + u > 0}, so that E[t] = p."""
    return (ndtri(probability) + taste > 0).astype(np.int64)


def _strata(
    always_takers: float, compliance: float, taste: NDArray[np.float64]
) -> NDArray[np.str_]:
    """Name what each unit does under full encouragement against none."""
    unencouraged = _takes(always_takers, taste)
    encouraged = _takes(always_takers + compliance, taste)
    names = np.array(["never-taker", "complier", "always-taker"])
    return names[unencouraged + encouraged]


def _relative_scale(
    share: NDArray[np.float64], assignment: float, n_instruments: int
) -> NDArray[np.float64]:
    """Scale the error by 1 + 2 z_bar, with mean square one.

    E[z_bar] = p and Var[z_bar] = p (1 - p) / Q, so
    E[(1 + 2 z_bar)^2] = (1 + 2 p)^2 + 4 p (1 - p) / Q.
    """
    mean_square = (1 + 2 * assignment) ** 2 + 4 * assignment * (1 - assignment) / n_instruments
    return (1 + 2 * share) / np.sqrt(mean_square)


def _simulated_roles(n_covariates: int, n_instruments: int) -> _Roles:
    several = n_instruments > 1
    return _Roles(
        covariates=[f"x{p}" for p in range(n_covariates)],
        treatment="t",
        outcome="y",
        instruments=[f"z{q}" for q in range(n_instruments)] if several else ["z"],
    )

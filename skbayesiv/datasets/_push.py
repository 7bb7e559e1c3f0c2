"""The push-notification experiment: the original, and a reconstruction with its moments."""

from __future__ import annotations

from os import PathLike, environ
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils._param_validation import validate_params

from skbayesiv.datasets._reconstruction import reconstruct
from skbayesiv.datasets._table import Roles, package

ROLES = Roles(
    covariates=(),
    treatment="push_delivered",
    outcome="in_app_purchase",
    instruments=("push_assigned",),
)
COLUMNS = ("in_app_purchase", "push_assigned", "push_delivered")
FILE = "app_engagement_push.csv"
URL = (
    "https://raw.githubusercontent.com/matheusfacure/python-causality-handbook/master/"
    "causal-inference-for-the-brave-and-true/data/" + FILE
)
SHA256 = "75f2a00e1ccc611dc576675a90bc0cf2886ec477017dfb8ea4a1478745729f0f"

# (assigned, delivered): count, sum and sum of squares of in_app_purchase.
# Nobody received the push without having been assigned to it.
CELLS = {
    (0, 0): (5057, 350408, 27638434),
    (1, 0): (1396, 72383, 4130699),
    (1, 1): (3547, 281809, 24670021),
}

ORIGINAL = """\
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

RECONSTRUCTION = (
    ORIGINAL
    + """
This is a reconstruction. In each of the three (assigned, delivered) cells the
number of rows, the sum and the sum of squares of the outcome are exactly those
of the original; the individual rows are not. Whatever depends on the rows only
through these moments (least squares and two-stage least squares with classical
or robust errors, the normal likelihood) is the same as on the original.
`fetch_push_experiment` downloads the original.
"""
)


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
    return package(
        reconstruct(CELLS, COLUMNS),
        ROLES,
        as_frame=as_frame,
        return_X_t_y_z=return_X_t_y_z,
        DESCR=RECONSTRUCTION,
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
    path = _fetch_file(data_home, download_if_missing)
    rows = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64)
    return package(
        dict(zip(COLUMNS, rows.T, strict=True)),
        ROLES,
        as_frame=as_frame,
        return_X_t_y_z=return_X_t_y_z,
        DESCR=ORIGINAL,
    )


def _fetch_file(data_home: str | PathLike[str] | None, download_if_missing: bool) -> Path:
    """Return the path of the verified original in the cache."""
    import pooch
    from sklearn.datasets import get_data_home

    if data_home is None:
        data_home = environ.get("SKBAYESIV_DATA", "~/skbayesiv_data")
    path = Path(get_data_home(data_home)) / FILE
    cached = path.exists() and pooch.file_hash(str(path)) == SHA256
    if not cached and not download_if_missing:
        raise OSError(f"{path} is missing or damaged, and download_if_missing=False.")
    pooch.retrieve(URL, known_hash=SHA256, fname=path.name, path=path.parent)
    return path

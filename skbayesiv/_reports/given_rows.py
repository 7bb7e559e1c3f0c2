"""Rows for a report on a fitted estimator: those passed, those kept, or its moments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import second_is_outcome
from skbayesiv._linear.equation import Equation
from skbayesiv._reports.fitted import FittedIV

CLOSE = 1e-6


def given_rows(
    est: FittedIV,
    X: Any = None,
    t: Any = None,
    y: Any = None,
    z: Any = None,
    sample_weight: Any = None,
    clusters: Any = None,
) -> Equation:
    """Rows of the fit.

    Parameters
    ----------
    est : fitted estimator
    X, t, y, z, sample_weight, clusters
        Rows, as in ``fit(X, t, y, z=z)``. Without them the rows that the estimator kept are
        returned, or what its moments say.

    Returns
    -------
    Equation

    Raises
    ------
    ValueError
        If the rows are not those of the fit, or if `z`, `sample_weight` or `clusters` come alone.
    """
    if X is None and t is None and y is None:
        _check_nothing(z=z, sample_weight=sample_weight, clusters=clusters)
        return est._rows_or_moments()
    t, y = second_is_outcome(t, y, z)
    data = est._check_rows(X, y, t=t, z=z, sample_weight=sample_weight, clusters=clusters)
    moments = data.moments()
    _check_same(moments, est.moments_)
    named = replace(data, columns=est.moments_.columns)
    moments = replace(moments, columns=named.columns)
    return Equation.from_data(named, moments, fit_intercept=est.fit_intercept)


def _check_nothing(**parts: Any) -> None:
    """Raise if parts of rows were given without the rows."""
    names = " and ".join(name for name, value in parts.items() if value is not None)
    if names:
        raise ValueError(f"{names} must be passed with the rows (X, t, y, z); got {names} only.")


def _check_same(given: Moments, fitted: Moments) -> None:
    """Raise unless rows with the moments `given` can be those that were fitted."""
    layout = [[len(c.names), c.x, c.z, c.t] for c in (given.columns, fitted.columns)]
    same = layout[0] == layout[1] and np.isclose(given.weight, fitted.weight, rtol=1e-9)
    if not same or not _close(given, fitted):
        raise ValueError(
            f"X, t, y and z must be the rows of the fit, {fitted.weight:.12g} observations of "
            f"{list(fitted.columns.names)}; got {given.weight:.12g} of "
            f"{list(given.columns.names)}" + (" with other moments." if same else ".")
        )


def _close(given: Moments, fitted: Moments) -> bool:
    """Whether means and scatter are equal, up to the rounding of sums."""
    sd = np.sqrt(np.clip(np.diag(fitted.scatter), 0.0, None) / fitted.weight)
    unit = np.maximum(sd, CLOSE * np.abs(fitted.mean))  # of a constant column its rounding
    apart = np.abs(given.scatter - fitted.scatter) / fitted.weight
    return bool(
        (np.abs(given.mean - fitted.mean) <= CLOSE * unit).all()
        and (apart <= CLOSE * np.outer(unit, unit)).all()
    )

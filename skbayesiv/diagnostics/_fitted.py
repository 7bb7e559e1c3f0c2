"""Diagnostics of a fitted estimator: its rows, or rows with its moments, in place of arrays."""

from typing import Any, Protocol, runtime_checkable

from sklearn.utils.validation import check_is_fitted


@runtime_checkable
class Fitted(Protocol):
    """Estimator of this package."""

    def _rows_or_moments(self) -> Any:
        """Rows of the fit, or made-up rows with the same moments."""


def design_of(estimator: Fitted, others: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Arguments of a diagnostic, and whether only what is not robust can be computed.

    Parameters
    ----------
    estimator : Fitted
    others : dict
        Arguments beside the estimator, all of which must be None.

    Returns
    -------
    design : dict
    classical_only : bool
    """
    check_is_fitted(estimator)
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise ValueError(f"{given} must not be given with a fitted estimator, which has them.")
    rows = estimator._rows_or_moments()
    if not rows.endogenous.shape[1]:
        raise ValueError("y must be an estimator fitted with t and z, got one without.")
    return rows.design, rows.classical_only

"""Diagnostics of a fitted estimator: its rows or its moments in place of arrays."""

from typing import Any, Protocol, runtime_checkable

from sklearn.utils.validation import check_is_fitted

from skbayesiv._linear.equation import Equation


@runtime_checkable
class Fitted(Protocol):
    """Estimator of this package."""

    def _rows_or_moments(self) -> Equation:
        """Equation of the fit's rows, or of its moments alone."""
        ...


def fitted_estimator(est: Any) -> Any:
    """Fitted estimator of this package: `est`, the best one of a search, a pipeline's last step."""
    if hasattr(est, "get_params") and not isinstance(est, type):
        check_is_fitted(est)
    if hasattr(est, "best_estimator_"):
        return fitted_estimator(est.best_estimator_)
    if hasattr(est, "steps"):
        return fitted_estimator(est.steps[-1][1])
    if isinstance(est, type) or not isinstance(est, Fitted):
        raise TypeError(
            "est must be a fitted TwoStageLS, BayesianIV, HierarchicalBayesianIV or a search over "
            f"one; got {est.__name__ if isinstance(est, type) else type(est).__name__}."
        )
    return est


def rows_of(est: Any) -> Equation:
    """Equation of a fitted estimator with a treatment."""
    rows: Equation = fitted_estimator(est)._rows_or_moments()
    if not rows.columns.treatments:
        raise ValueError("y must be an estimator fitted with t and z, got one without.")
    return rows

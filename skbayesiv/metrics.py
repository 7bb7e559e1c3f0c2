"""Scores for choosing among instrumental-variable models.

R^2 at the observed treatment prefers the biased least squares fit, whose coefficient also
carries the confounding. The scores here do not look at y through t: they are the joint density
of (y, t) given the instruments, and R^2 of E[y | X, z].
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.utils.metadata_routing import MetadataRequest

__all__ = ["log_predictive_density", "log_predictive_density_scorer"]


def log_predictive_density(
    estimator: Any,
    X: ArrayLike | None,
    t: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    z: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean log predictive density of held-out outcomes and treatments, given z and X.

    For each row the density of (y, t) given z and x is averaged over the posterior's draws; the
    mean of its logarithm over rows is a strictly proper score: larger is better, and in
    expectation nothing beats the true distribution.

    What the average does to the logarithm is small, and is computed for some rows and draws where
    there are many of both; all else follows from the moments of the rows, with all draws, so that
    the cost hardly grows with them. `BayesianIV.log_predictive_density` has each row's density,
    from all draws, at a cost that does.

    Parameters
    ----------
    estimator : BayesianIV or HierarchicalBayesianIV
        Fitted, with the normal likelihood; also at the end of a Pipeline, or as the best of a
        search.
    X, t, y, z
        Held-out rows, as in ``fit(X, t, y, z=z)``; in column mode ``(X, y=y)``.
    sample_weight : array-like of shape (n_samples,), optional

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If the estimator has no posterior, or models another y than the one given.

    References
    ----------
    Gelman, A., Hwang, J. and Vehtari, A. (2014). Understanding predictive information criteria
    for Bayesian models. Statistics and Computing 24, 997-1016, eq. 5.

    Examples
    --------
    >>> from skbayesiv import BayesianIV
    >>> from skbayesiv.datasets import load_push_experiment
    >>> from skbayesiv.metrics import log_predictive_density
    >>> X, t, y, z = load_push_experiment(return_X_t_y_z=True)
    >>> est = BayesianIV(random_state=0).fit(X, t, y, z=z)
    >>> print(f"{log_predictive_density(est, X, t, y, z=z):.2f}")
    -4.89
    """
    model, X = _unwrap(estimator, X)
    if not hasattr(model, "log_predictive_density"):
        raise TypeError(
            "estimator must be a BayesianIV or HierarchicalBayesianIV, alone, at the end of a "
            "Pipeline or the best of a search: the score is the density of y and t under its "
            f"posterior; got {type(model).__name__}."
        )
    return float(model._mean_log_predictive(X, t, y, z, sample_weight))


class _LogPredictiveDensityScorer:
    """A scorer ``(estimator, X, y, t=, z=)``, usable as ``scoring=`` with and without routing."""

    def __init__(self, **requests: Any) -> None:
        self._requests = requests

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        t: Any = None,
        z: Any = None,
        sample_weight: Any = None,
    ) -> float:
        return log_predictive_density(estimator, X, t, y, z=z, sample_weight=sample_weight)

    def set_score_request(
        self, *, t: bool | str | None = True, z: bool | str | None = True, sample_weight: Any = None
    ) -> _LogPredictiveDensityScorer:
        """Return a scorer that asks meta-estimators for these; only t and z unless told.

        Parameters
        ----------
        t, z, sample_weight : bool, str or None
            As in scikit-learn: whether to ask, or under which name. This scorer stays as it is.
        """
        return type(self)(t=t, z=z, sample_weight=sample_weight)

    def get_metadata_routing(self) -> Any:
        """Return what to ask meta-estimators for."""
        request = MetadataRequest(owner="log_predictive_density_scorer")
        for name, alias in self._requests.items():
            request.score.add_request(param=name, alias=alias)
        return request

    def __repr__(self) -> str:
        return "log_predictive_density_scorer"


def _unwrap(estimator: Any, X: Any) -> tuple[Any, Any]:
    """The estimator inside searches and pipelines, and X as it gets it."""
    if hasattr(estimator, "best_estimator_"):
        return _unwrap(estimator.best_estimator_, X)
    if hasattr(estimator, "steps"):
        return _unwrap(estimator[-1], estimator[:-1].transform(X) if len(estimator) > 1 else X)
    return estimator, X


log_predictive_density_scorer = _LogPredictiveDensityScorer().set_score_request()

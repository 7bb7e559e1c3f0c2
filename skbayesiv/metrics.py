"""Scores for choosing among instrumental-variable models.

R^2 at the observed treatment prefers the biased least squares fit, whose coefficient also
carries the confounding. The scores here do not look at y through t: they are the joint density
of (y, t) given the instruments, and R^2 of E[y | X, z].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

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

    Parameters
    ----------
    estimator : BayesianIV or HierarchicalBayesianIV
        Fitted, with the normal likelihood.
    X, t, y, z
        Held-out rows, as in ``fit(X, t, y, z=z)``; in column mode ``(X, y=y)``.
    sample_weight : array-like of shape (n_samples,), optional

    Returns
    -------
    float

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
    density = estimator.log_predictive_density(X, t, y, z=z)
    weight = None if sample_weight is None else np.asarray(sample_weight, dtype=float)
    return float(np.average(density, weights=weight))


class _LogPredictiveDensityScorer:
    """A scorer ``(estimator, X, y, t=, z=)``, usable as ``scoring=`` with and without routing."""

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
        last, X = _last_step(estimator, X)
        return log_predictive_density(last, X, t, y, z=z, sample_weight=sample_weight)

    def get_metadata_routing(self) -> Any:
        """Ask meta-estimators for t and z."""
        from sklearn.utils.metadata_routing import MetadataRequest

        request = MetadataRequest(owner="log_predictive_density_scorer")
        for name in ("t", "z"):
            request.score.add_request(param=name, alias=True)
        return request

    def __repr__(self) -> str:
        return "log_predictive_density_scorer"


def _last_step(estimator: Any, X: Any) -> tuple[Any, Any]:
    """The estimator at the end of a pipeline, and X as it gets it."""
    if hasattr(estimator, "steps"):
        return estimator[-1], estimator[:-1].transform(X)
    return estimator, X


log_predictive_density_scorer = _LogPredictiveDensityScorer()

"""What a figure asks of an estimator: its parameters, its moments, its posterior."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from skbayesiv._data.moments import Moments
from skbayesiv._typing import Array


@runtime_checkable
class NamesColumns(Protocol):
    """An estimator, fitted or not, that may find t and z among the columns of X."""

    @property
    def treatment(self) -> Any:
        """Columns of X that hold the treatments, or None."""

    @property
    def instruments(self) -> Any:
        """Columns of X that hold the instruments, or None."""

    @property
    def covariates(self) -> Any:
        """Columns of X that are the covariates, or None."""


@runtime_checkable
class Fitted(Protocol):
    """A fitted estimator."""

    @property
    def moments_(self) -> Moments:
        """What was fitted, with the names of the columns."""


@runtime_checkable
class FittedTwoStage(Fitted, Protocol):
    """An estimator with a classical estimate of the effects."""

    @property
    def method_(self) -> str:
        """Name of the estimate."""

    @property
    def coef_(self) -> Array:
        """Effects of the treatments, then other coefficients."""

    def effect_interval(self, t0: Any = 0.0, t1: Any = None, level: float = 0.95) -> Array:
        """Ends of the interval of the effect of moving the treatments from t0 to t1."""


@runtime_checkable
class FittedPosterior(Fitted, Protocol):
    """An estimator with draws from a posterior."""

    @property
    def fit_intercept(self) -> bool:
        """Whether the model has intercepts."""

    @property
    def idata_(self) -> Any:
        """DataTree of the draws."""

    def sample_prior_predictive(
        self, X: Any = None, *, z: Any = None, n_draws: int = 500, random_state: Any = None
    ) -> Any:
        """DataTree of draws from the prior."""

    def _check_density(self, what: str) -> None:
        """Raise if the likelihood has no density of the errors, which `what` needs."""


@runtime_checkable
class FittedSegments(FittedPosterior, Protocol):
    """A posterior of segments of the rows."""

    @property
    def segments_(self) -> Array:
        """Labels of the segments."""

    @property
    def segment_moments_(self) -> dict[Any, Moments]:
        """What was fitted, by label."""

    @property
    def _model(self) -> Any:
        """Model of all segments."""


class FittedSearch(Protocol):
    """A search with scores of each candidate on each fold."""

    @property
    def cv_results_(self) -> dict[str, Any]:
        """Table of results."""

"""What a report asks of a fitted estimator."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._data.sums import Sums
from skbayesiv._honesty.findings import Allows
from skbayesiv._models.parts.model import Model
from skbayesiv._sampling.target import Settings
from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import Fitted


@runtime_checkable
class FittedIV(Fitted, Protocol):
    """A fitted estimator of K effects by Q instruments, with P covariates.

    Attributes
    ----------
    treatment, instruments : str, int or list of these, or None
        Parameters that name columns of X.
    fit_intercept : bool
    moments_ : Moments
    n_treatments_, n_instruments_ : int
    coef_ : ndarray of shape (K + P,)
    first_stage_coef_ : ndarray of shape (K, Q + P)
    """

    treatment: Any
    instruments: Any
    fit_intercept: bool
    moments_: Moments
    n_treatments_: int
    n_instruments_: int
    coef_: Array
    first_stage_coef_: Array

    def effect_interval(self, t0: Any = 0.0, t1: Any = None, level: float = 0.95) -> Array:
        """Ends of the interval of the effect of moving the treatments from t0 to t1."""
        ...

    def _effect_and_error(self) -> tuple[Array, Array]:
        """Effects and standard errors, each of shape (K,)."""
        ...

    def _allows(self) -> Allows:
        """What the interval of the effect allows for."""
        ...

    def _check_rows(self, X: Any, y: Any, **extra: Any) -> IVData:
        """Rows that were given again, read as `fit` did."""
        ...


@runtime_checkable
class FittedClassical(FittedIV, Protocol):
    """An estimate whose standard errors are of a known kind.

    Attributes
    ----------
    cov_type_ : {"robust", "unadjusted", "clustered", "CR2"}
    """

    cov_type_: str

    @property
    def _small_sample(self) -> bool:
        """Whether errors and intervals are corrected for few units."""
        ...


@runtime_checkable
class FittedPosterior(FittedIV, Protocol):
    """A posterior: its draws in `idata_`, and the model, which says what it assumes."""

    @property
    def idata_(self) -> Any: ...

    @property
    def _model(self) -> Model: ...


@runtime_checkable
class Refittable(FittedPosterior, Protocol):
    """A posterior that can be had again from its sums with other direct effects.

    Attributes
    ----------
    exclusion_scale : float or array-like of shape (Q,)
        Parameter: prior standard deviation of the instruments' direct effects.
    backend, random_state, tune, target_accept
        Parameters of sampling.
    """

    exclusion_scale: Any
    backend: str
    random_state: Any
    tune: int
    target_accept: float

    def _build_model(self, sums: Sums) -> Model:
        """Model of sums under the parameters."""
        ...

    def _settings(self) -> Settings:
        """How to sample."""
        ...


@runtime_checkable
class FittedHistory(FittedPosterior, Protocol):
    """A posterior with a history.

    Attributes
    ----------
    robust_weight : float
        Parameter: prior probability that the effect does not belong with the earlier ones.
    exchangeable_probability_ : float
        Posterior probability that it does.
    """

    robust_weight: float
    exchangeable_probability_: float


def check_has_treatment(est: FittedIV) -> None:
    """Raise if the fit was a regression of y on X."""
    if not est.n_treatments_:
        raise ValueError("est must be fitted with t and z; got an estimator without treatment.")


def effect_draws(est: FittedPosterior) -> Array:
    """Posterior draws of the effects, shape (N, K); with segments of the compliers' average."""
    return effects_of(est.idata_.posterior)


def effects_of(posterior: Any) -> Array:
    """`effect_draws` of a group of draws."""
    name = "effect" if has_segments(posterior) else "beta_t"
    draws = posterior[name].to_numpy()
    return np.asarray(draws.reshape(-1, draws.shape[-1]))


def has_segments(posterior: Any) -> bool:
    """Whether there is an effect for each of several segments."""
    return "segment" in posterior["beta_t"].dims

"""What any fitted estimator answers: the effect, predictions and their score."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skbayesiv._data.arrays import LARGE, as_numbers
from skbayesiv._data.checks import (
    check_columns,
    check_index,
    check_length,
    check_outcome,
    check_weights,
)
from skbayesiv._data.rows import Regressors
from skbayesiv._estimators.call_forms import NEED_ROUTING, treatment_form
from skbayesiv._typing import Array


class Predictor:
    """Effect, `predict` and `score` of a linear model of the outcome and the treatments.

    A subclass sets `intercept_` and `coef_` (treatments, then covariates) and says how X is split.
    """

    treatment: Any
    instruments: Any
    covariates: Any
    sample_weight_type: Any
    n_treatments_: int
    n_instruments_: int
    intercept_: float
    coef_: Array

    @abstractmethod
    def _split(self, X: Any) -> Regressors | None:
        """Check a new X against that of the fit, and split it; None without X."""

    @abstractmethod
    def _reduced_form(self) -> tuple[float, Array]:
        """Intercept and coefficients (instruments, then covariates) of E[y | X, z]."""

    @abstractmethod
    def _predictive_std(self, x: Array, t: Array | None, z: Array | None) -> Array:
        """Standard deviation of the outcome at rows, with do(t), or given z when t is None."""

    def _direct_effect(self, z: Array | None) -> Array | float:
        """Instruments' direct effect on the outcome at z, or at its mean: none, if excluded."""
        return 0.0

    @property
    def effect_(self) -> float | Array:
        """Effect of the treatment: a number, or an array when there are several treatments."""
        check_is_fitted(self)
        if not self.n_treatments_:
            raise AttributeError("effect_ is not defined: the model was fitted without t and z.")
        effect = self.coef_[: self.n_treatments_]
        return float(effect[0]) if effect.size == 1 else effect

    @overload
    def predict(
        self, X: Any, t: Any = None, z: Any = None, return_std: Literal[False] = False
    ) -> Array: ...
    @overload
    def predict(
        self, X: Any, t: Any = None, z: Any = None, *, return_std: Literal[True]
    ) -> tuple[Array, Array]: ...
    def predict(
        self, X: Any, t: Any = None, z: Any = None, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Predict the outcome.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_covariates), or None
            Covariates. When the estimator was fitted with `treatment` and `instruments`
            naming columns, X holds these columns too.
        t : array-like of shape (n_samples,) or (n_samples, n_treatments), optional
            With it the prediction is E[y | X, do(t)], the mean outcome if the treatment were
            set to t.
        z : array-like of shape (n_samples,) or (n_samples, n_instruments), optional
            With it, and without t, the prediction is E[y | X, z]. With t it matters only to a
            model with direct effects of the instruments (``exclusion_scale``): these are taken at
            z, or at its mean in the fit when z is not given.
        return_std : bool, default=False
            Whether to return the standard deviation of the outcome too: of its error and of the
            estimated mean together.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
        std : ndarray of shape (n_samples,)
            If `return_std`.
        """
        check_is_fitted(self)
        x, t, z = self._new_rows(X, t, z)
        if t is not None or not self.n_treatments_:
            design = x if t is None else np.column_stack([t, x])
            mean = np.asarray(self.intercept_ + design @ self.coef_ + self._direct_effect(z))
        else:
            intercept, coef = self._reduced_form()
            mean = np.asarray(intercept + np.column_stack([z, x]) @ coef)
        if not return_std:
            return mean
        with np.errstate(over="ignore", invalid="ignore"):
            std = self._predictive_std(x, t, z)
        if not np.isfinite(std).all():
            raise ValueError(
                "X, t and z must be near enough to the rows of the fit for a standard deviation "
                "that is a number; got rows too far from these."
            )
        return mean, std

    def effect(self, t0: Any = 0.0, t1: Any = None) -> float | Array:
        """Effect on the outcome of moving the treatment from t0 to t1.

        Parameters
        ----------
        t0, t1 : float or array-like of shape (K,)
            By default from 0 to 1, each of several treatments alone.

        Returns
        -------
        float, or ndarray of shape (K,) for each treatment alone
        """
        effects = self._steps(t0, t1) @ self.coef_[: self.n_treatments_]
        return float(effects) if effects.ndim == 0 else effects

    def _steps(self, t0: Any, t1: Any) -> Array:
        """Steps t1 - t0 of the treatments: one, shape (K,), or each treatment's, shape (K, K)."""
        check_is_fitted(self)
        width = self.n_treatments_
        if not width:
            raise ValueError(
                "t and z must be given to fit for an effect: the model was fitted without them."
            )
        start = _level(t0, "t0", width)
        if t1 is None and width > 1:
            if start.any():
                raise ValueError(
                    f"t1 must be given with t0, one entry for each treatment ({width}); got "
                    f"t0={t0!r} alone."
                )
            return np.eye(width)
        step = _level(1.0 if t1 is None else t1, "t1", width) - start
        if np.abs(step).max() > LARGE:
            raise ValueError(f"t0 and t1 must be at most {LARGE:g} apart; got {t0!r} and {t1!r}.")
        return np.broadcast_to(step, width)

    def _new_rows(self, X: Any, t: Any, z: Any) -> tuple[Array, Array | None, Array | None]:
        """Check new rows and split them; t and z come from X in column mode."""
        return self._joined(self._split(X), X, t, z)

    def _joined(
        self, split: Regressors | None, X: Any, t: Any, z: Any
    ) -> tuple[Array, Array | None, Array | None]:
        """Check the other arguments against an X that was split."""
        check_index(X=X, t=t, z=z)
        if split is not None and split.t is not None:
            if t is not None or z is not None:
                raise ValueError(
                    "t and z must come from one place; got arguments although treatment and "
                    "instruments name columns of X."
                )
            return split.x, split.t, split.z
        t = self._check_new(t, "t", self.n_treatments_)
        z = self._check_new(z, "z", self.n_instruments_)
        if self.n_treatments_ and t is None and z is None:
            raise ValueError(f"predict needs t (for E[y | X, do(t)]) or z. {NEED_ROUTING}")
        given = [a for a in (t, z) if a is not None]
        x = np.empty((len(given[0]) if given else 0, 0)) if split is None else split.x
        for name, a in (("t", t), ("z", z)):
            if a is not None:
                check_length(a, name, x.shape[0])
        return x, t, z

    def _check_new(self, value: Any, name: str, width: int) -> Array | None:
        if value is None:
            return None
        array = check_columns(value, name)
        if array.shape[1] != width:
            raise ValueError(f"{name} must have {width} columns, as in fit; got {array.shape[1]}.")
        return array

    @overload
    def score(
        self,
        X: Any = None,
        y: ArrayLike | None = None,
        *,
        t: ArrayLike | None = None,
        z: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float: ...
    @overload
    def score(
        self,
        X: Any,
        t: ArrayLike,
        /,
        y: ArrayLike,
        *,
        z: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> float: ...
    @treatment_form
    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        t: Any = None,
        z: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """Return R^2 of E[y | X, z], the prediction that does not look at the treatment.

        R^2 at the observed t is wrong for instrumental variables: it prefers the biased least
        squares fit, whose coefficient also carries the confounding. Call it as
        ``score(X, t, y, z=z)`` or ``score(X, y, t=t, z=z)``; t is not used.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_covariates), or None
        y : array-like of shape (n_samples,)
        t : array-like, optional
            Ignored; accepted so that the same arguments serve `fit` and `score`.
        z : array-like of shape (n_samples,) or (n_samples, n_instruments)
            Required, unless it is a column of X or the model has no treatment.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        check_is_fitted(self)
        x, instruments = self._score_rows(X, t, z)
        intercept, coef = self._reduced_form()
        design = x if instruments is None else np.column_stack([instruments, x])
        return r2(y, intercept + design @ coef, sample_weight)

    def _score_rows(self, X: Any, t: Any, z: Any) -> tuple[Array, Array | None]:
        columns = self.treatment is not None
        if self.n_treatments_ and z is None and not columns:
            raise ValueError(f"score needs z: it is R^2 of E[y | X, z]. {NEED_ROUTING}")
        x, _, z = self._new_rows(X, t if columns else None, z)
        return x, z


def r2(y: Any, predicted: Array, sample_weight: Any) -> float:
    """R^2 of predictions of a checked outcome, with weights."""
    from sklearn.metrics import r2_score

    y = check_outcome(y, len(predicted))
    if 0.0 < np.ptp(y) < 1.0 / LARGE:
        raise ValueError(
            f"y must differ by at least {1.0 / LARGE:g}, or its squares are no numbers; got "
            f"{np.ptp(y):.6g}."
        )
    weight = check_weights(sample_weight, y.shape[0])
    if np.abs(predicted).max() > LARGE:
        raise ValueError(
            "X and z must be near enough to the rows of the fit for a prediction whose square is a "
            f"number; got one of {np.abs(predicted).max():.6g}."
        )
    return float(r2_score(y, predicted, sample_weight=weight))


def _level(value: Any, name: str, width: int) -> Array:
    """Level of the treatments, of one number or one for each."""
    try:
        level = np.asarray(as_numbers(value, name), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a number for each treatment; got {value!r}.") from error
    if level.shape not in ((), (1,), (width,)):
        raise ValueError(
            f"{name} must be a number, or have one entry for each treatment ({width}); got "
            f"{value!r}."
        )
    if level.size == 1 < width and level.any():
        raise ValueError(
            f"{name} must have one entry for each treatment ({width}), such as "
            f"{[1] + [0] * (width - 1)} for the first; got {value!r}."
        )
    if not np.isfinite(level).all():
        raise ValueError(f"{name} must be finite; got {value!r}.")
    return level

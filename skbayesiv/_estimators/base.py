"""The contract that all estimators keep with scikit-learn."""

from __future__ import annotations

import functools
import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skbayesiv._columns import Columns, arrange, column_names
from skbayesiv._data.checks import check_columns, check_length, check_outcome, check_weights
from skbayesiv._data.frames.sources import is_lazy
from skbayesiv._data.identified import check_identified
from skbayesiv._data.moments import Moments, check_moments
from skbayesiv._data.named import NamedFrame, name_columns, take_columns
from skbayesiv._data.rows import IVData, gather, split_columns
from skbayesiv._linear.equation import Equation
from skbayesiv._typing import Array
from skbayesiv.exceptions import OURS, NoTreatmentWarning

FEATURES = ("n_features_in_", "feature_names_in_", "_features_have_no_order_")

NO_TREATMENT = (
    "Neither t nor z was given, so no causal effect is estimated: this is a regression of y on "
    "X. Pass fit(X, t, y, z=z), or name columns of X with treatment= and instruments=."
)
NEED_ROUTING = (
    "In a meta-estimator such as GridSearchCV either enable metadata routing with "
    "sklearn.set_config(enable_metadata_routing=True) before passing t and z, or name columns "
    "of X with treatment= and instruments= so that nothing need be passed."
)


def treatment_form(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method declared as ``(X, y=None, *, t, z, ...)`` also be called ``(X, t, y, z=z)``.

    scikit-learn never passes three arguments for X, t and y without naming t, and a person does:
    ``(X, t, y)`` or ``(X, t, y=y)``. The declared signature stays the visible one; type checkers
    are told of both by overloads.
    """
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) > 3:
            raise TypeError(
                f"{name} takes X, t and y by position and z by keyword: "
                f"{name}(X, t, y, z=z); got {len(args)} positional arguments."
            )
        if len(args) == 3 or (len(args) == 2 and "y" in kwargs):
            given = dict(zip(("X", "t", "y"), args, strict=False))
            if twice := given.keys() & kwargs.keys():
                raise TypeError(f"{name}(X, t, y, z=z) got {sorted(twice)} twice.")
            return method(self, **given, **kwargs)
        if not args and "X" not in kwargs:
            kwargs["X"] = None
        return method(self, *args, **kwargs)

    return call


def _takes_batches(estimator: BaseIV) -> bool:
    return type(estimator)._fit_batch is not BaseIV._fit_batch


def moments_of(data: IVData | NamedFrame) -> Moments:
    """Moments of rows in memory or elsewhere."""
    return data.query.moments() if isinstance(data, NamedFrame) else Moments.from_data(data)


class BaseIV(CallbackSupportMixin, RegressorMixin, BaseEstimator):
    """Base of all estimators: call forms, validation, prediction and score.

    A subclass has the parameters `treatment` and `instruments` and implements `_reduced_form`
    and `_fit_data`, `_fit_moments` and, for `partial_fit`, `_fit_batch`, which set `moments_`,
    `intercept_`, `coef_` (treatments, then covariates), `first_stage_intercept_` and
    `first_stage_coef_` (instruments, then covariates; one row for each treatment).
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"t": True, "z": True, "clusters": True}
    __metadata_request__partial_fit: ClassVar[dict[str, bool]] = {"t": True, "z": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"t": True, "z": True}
    __metadata_request__score: ClassVar[dict[str, bool]] = {"t": True, "z": True}

    treatment: Any
    instruments: Any
    fit_intercept: bool
    n_features_in_: int
    feature_names_in_: Any
    n_treatments_: int
    n_instruments_: int
    intercept_: float
    coef_: Array
    first_stage_intercept_: Array
    first_stage_coef_: Array
    moments_: Moments

    @overload
    def fit(
        self,
        X: Any = None,
        y: ArrayLike | str | None = None,
        *,
        t: ArrayLike | None = None,
        z: ArrayLike | None = None,
        sample_weight: ArrayLike | str | None = None,
        clusters: ArrayLike | str | None = None,
    ) -> Self: ...
    @overload
    def fit(
        self,
        X: Any,
        t: ArrayLike,
        /,
        y: ArrayLike,
        *,
        z: ArrayLike,
        sample_weight: ArrayLike | None = None,
        clusters: ArrayLike | None = None,
    ) -> Self: ...
    @treatment_form
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        t: Any = None,
        z: Any = None,
        sample_weight: Any = None,
        clusters: Any = None,
    ) -> Self:
        """Fit the model.

        Call it as ``fit(X, t, y, z=z)``, or in scikit-learn's order as
        ``fit(X, y, t=t, z=z)``, or as ``fit(X, y)`` when the parameters `treatment` and
        `instruments` name columns of X. Three arguments by position are X, t and y in this order;
        if t and y are swapped nothing can tell.

        ``fit(frame, y="column")`` takes everything from one frame, and is the one form for a lazy
        frame (polars, DuckDB, dask, Spark, ibis, a pyarrow Dataset): its rows have no order that
        arrays could follow, are summed by the engine that holds them, and are not kept.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_covariates), data frame, or None
            Covariates, without a constant column; None, or an array of shape (n_samples, 0), if
            there are none besides t. Strings and categories of a lazy frame become
            indicators.
        y : array-like of shape (n_samples,), or str
            Outcome, or the name of its column in X. Columns of X that no argument and no
            parameter names are the covariates.
        t : array-like of shape (n_samples,) or (n_samples, n_treatments)
            Treatment received.
        z : array-like of shape (n_samples,) or (n_samples, n_instruments)
            Instruments, such as the assignment; at least as many as treatments.
        sample_weight : array-like of shape (n_samples,), or str, optional
            Frequency weights: a weight of 2 counts as a row given twice. With a name for y it may
            be the name of a column.
        clusters : array-like of shape (n_samples,), or str, optional
            Labels of the clusters within which errors are correlated, such as the unit that
            was assigned when rows are its members. Needs an estimator that allows for it. With a
            name for y it may be the name of a column.

        Returns
        -------
        self : object
            The fitted estimator. If an error is raised, the estimator is as it was before.

        Raises
        ------
        ValueError
            If an argument is not numeric, finite, and of the right length, or if the effect
            cannot be identified from it.

        Warns
        -----
        NoTreatmentWarning
            If neither t nor z is given: the model is then a regression of y on X.
        """
        return self._fit(X, y, t, z, sample_weight, clusters)

    @with_callbacks
    def _fit(self, X: Any, y: Any, t: Any, z: Any, sample_weight: Any, clusters: Any) -> Self:
        """Check everything, fit a copy and take its place."""
        self._validate_params()
        context = self._init_callback_context(max_subtasks=self._n_progress_steps())
        given = {"t": t, "z": z, "sample_weight": sample_weight, "clusters": clusters}
        metadata = {name: value for name, value in given.items() if value is not None}
        context.call_on_fit_task_begin(estimator=self, X=X, y=y, metadata=metadata)
        new = self._unfitted()
        if is_lazy(X):
            new._fit_frame(new._name_columns(X, y, **given))
        else:
            if isinstance(y, str):
                X, y, sample_weight, clusters = take_columns(X, y, sample_weight, clusters)
            new._fit_data(new._gather(X, y, t, z, sample_weight), clusters=clusters)
        self.__dict__ = new.__dict__
        context.call_on_fit_task_end(estimator=self, X=X, y=y, metadata=metadata)
        return self

    @overload
    def partial_fit(
        self,
        X: Any = None,
        y: ArrayLike | str | None = None,
        *,
        t: ArrayLike | None = None,
        z: ArrayLike | None = None,
        sample_weight: ArrayLike | str | None = None,
    ) -> Self: ...
    @overload
    def partial_fit(
        self,
        X: Any,
        t: ArrayLike,
        /,
        y: ArrayLike,
        *,
        z: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> Self: ...
    @available_if(_takes_batches)
    @treatment_form
    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        *,
        t: Any = None,
        z: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Add a batch of rows to those fitted so far.

        The batch's moments are added to `moments_` and the model is fitted to the sum, so that
        the order and the size of batches do not matter. Each call costs a fit: to read many
        batches, add their moments (``Moments.from_frame``) and call `fit_moments` once.

        Parameters
        ----------
        X, y, t, z, sample_weight
            Rows, as in `fit`, with the same columns in every call; y may name a column of X
            there as here. The first batch must suffice for a fit.

        Returns
        -------
        self : object
            The fitted estimator. If an error is raised, the estimator is as it was before.

        Raises
        ------
        ValueError
            If the arguments are not as `fit` wants them, if names of columns differ from those
            of the rows before, or if sums of moments are not enough for the model.
        """
        self._validate_params()
        earlier = self if hasattr(self, "moments_") else None
        new = self._unfitted()
        if earlier is not None:
            new.__dict__.update({name: v for name, v in vars(self).items() if name in FEATURES})
        if is_lazy(X):
            batch: IVData | NamedFrame
            batch = new._name_columns(X, y, t=t, z=z, sample_weight=sample_weight)
        else:
            if isinstance(y, str):
                X, y, sample_weight, _ = take_columns(X, y, sample_weight, None)
            batch = new._gather(X, y, t, z, sample_weight)
        new._fit_batch(batch, earlier)
        self.__dict__ = new.__dict__
        return self

    def _gather(self, X: Any, y: Any, t: Any, z: Any, sample_weight: Any) -> IVData:
        """Check rows; the first that an unfitted estimator sees decide its features."""
        data = gather(
            self,
            X,
            y,
            t,
            z,
            sample_weight,
            treatment=self.treatment,
            instruments=self.instruments,
            reset=not hasattr(self, "n_features_in_"),
        )
        self._describe(data.columns)
        return data

    def _name_columns(self, X: Any, y: Any, **names: Any) -> NamedFrame:
        """Check the names of columns of a lazy frame."""
        roles = {"treatment": self.treatment, "instruments": self.instruments}
        named = name_columns(X, y, **names, **roles)
        if not hasattr(self, "n_features_in_"):
            self._set_feature_names(named.features)
        self._describe(named.columns)
        return named

    def _from_moments(self, moments: Any, *details: Any) -> Self:
        """Fit a copy to moments and take its place; `details` go to `_fit_moments`."""
        check_moments(moments)
        self._validate_params()
        new = self._unfitted()
        new._describe(moments.columns)
        new._set_features(moments.columns)
        check_identified(moments, fit_intercept=self.fit_intercept)
        new._fit_moments(moments, *details)
        self.__dict__ = new.__dict__
        return self

    def _n_progress_steps(self) -> int:
        """Number of steps of a fit that callbacks are told of."""
        return 0

    @abstractmethod
    def _fit_data(self, data: IVData, clusters: Any = None) -> None:
        """Fit checked data and set all fitted attributes; `clusters` are unchecked labels."""

    def _fit_frame(self, named: NamedFrame) -> None:
        """Fit the rows of a lazy frame."""
        raise TypeError(
            f"X must be a frame in memory: {type(self).__name__} needs rows; got "
            f"{type(named.frame).__name__}."
        )

    @abstractmethod
    def _fit_moments(self, moments: Moments, *args: Any, **kwargs: Any) -> None:
        """Fit moments and set all fitted attributes."""

    @abstractmethod
    def _fit_batch(self, data: IVData | NamedFrame, earlier: Self | None) -> None:
        """Fit a batch of rows, here or in a lazy frame, and what `earlier` was fitted to."""

    @abstractmethod
    def _kept_rows(self) -> Equation | None:
        """Rows of the fit, or None if they were not kept."""

    def _rows_or_moments(self) -> Equation:
        """Rows of the fit, or made-up rows with the same moments."""
        rows = self._kept_rows()
        if rows is not None:
            return rows
        return Equation.from_moments(self.moments_, fit_intercept=self.fit_intercept)

    @abstractmethod
    def _reduced_form(self) -> tuple[float, Array]:
        """Intercept and coefficients (instruments, then covariates) of E[y | X, z]."""

    def _direct_effect(self, z: Array | None) -> Array | float:
        """Instruments' direct effect on the outcome at z, or at its mean: none, if excluded."""
        return 0.0

    @abstractmethod
    def _predictive_std(self, x: Array, t: Array | None, z: Array | None) -> Array:
        """Standard deviation of the outcome at rows, with do(t), or given z when t is None."""

    @abstractmethod
    def _effect_and_error(self) -> tuple[Array, Array]:
        """Effects of the treatments and their standard errors, each of shape (K,)."""

    def _unfitted(self) -> Self:
        """Return a copy without fitted attributes, to be swapped in when all went well."""
        new = object.__new__(type(self))
        new.__dict__.update({name: v for name, v in vars(self).items() if not name.endswith("_")})
        return new

    def _describe(self, columns: Columns) -> None:
        """Note the data's dimensions; warn when there is no treatment."""
        self.n_treatments_ = len(columns.treatments)
        self.n_instruments_ = len(columns.instruments)
        if not self.n_treatments_:
            warnings.warn(NO_TREATMENT, NoTreatmentWarning, skip_file_prefixes=OURS)

    def _set_features(self, columns: Columns) -> None:
        """Set the attributes that scikit-learn takes from X, when there is no X."""
        names = arrange(columns, self.treatment, self.instruments)
        if set(names) - set(column_names(None, "x", len(names))):  # not those of an array
            self._set_feature_names(names)
        self.n_features_in_ = len(names)

    def _set_feature_names(self, names: list[str]) -> None:
        """Set names that new data are matched by, whatever the order of their columns."""
        self._features_have_no_order_ = True
        self.n_features_in_ = len(names)
        self.feature_names_in_ = np.array(names, dtype=object)

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
        return (mean, self._predictive_std(x, t, z)) if return_std else mean

    def effect(self, t0: Any = 0.0, t1: Any = 1.0) -> float:
        """Effect on the outcome of moving the treatment from t0 to t1.

        Parameters
        ----------
        t0, t1 : float or array-like of shape (K,)

        Returns
        -------
        float
        """
        return float(np.atleast_1d(self.effect_) @ self._step(t0, t1))

    def _step(self, t0: Any, t1: Any) -> Array:
        """Return t1 - t0 for each treatment, shape (K,)."""
        width = np.size(self.effect_)
        for name, value in (("t0", t0), ("t1", t1)):
            if np.shape(value) not in ((), (1,), (width,)):
                raise ValueError(
                    f"{name} must be a number, or have one entry for each treatment ({width}); "
                    f"got {value!r}."
                )
        return np.broadcast_to(np.asarray(t1, float) - np.asarray(t0, float), width)

    def _new_rows(self, X: Any, t: Any, z: Any) -> tuple[Array, Array | None, Array | None]:
        """Check new rows and split them; t and z come from X in column mode."""
        split = split_columns(
            self, X, treatment=self.treatment, instruments=self.instruments, reset=False
        )
        if split.t is not None:
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
        x = split.x if X is not None else np.empty((len(given[0]) if given else 0, 0))
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
        y = check_outcome(y)
        weight = check_weights(sample_weight, y.shape[0])
        intercept, coef = self._reduced_form()
        design = x if instruments is None else np.column_stack([instruments, x])
        return float(r2_score(y, intercept + design @ coef, sample_weight=weight))

    def _score_rows(self, X: Any, t: Any, z: Any) -> tuple[Array, Array | None]:
        columns = self.treatment is not None
        if self.n_treatments_ and z is None and not columns:
            raise ValueError(f"score needs z: it is R^2 of E[y | X, z]. {NEED_ROUTING}")
        x, _, z = self._new_rows(X, t if columns else None, z)
        return x, z

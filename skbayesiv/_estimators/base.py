"""The contract that all estimators keep with scikit-learn: reading rows, and fitting a copy."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils._param_validation import Options, StrOptions
from sklearn.utils.validation import _check_feature_names, _check_n_features

from skbayesiv._columns import Columns, column_names, matrix_names
from skbayesiv._data.checks import check_index, check_outcome
from skbayesiv._data.features import Features
from skbayesiv._data.frames.sources import is_lazy
from skbayesiv._data.moments import Moments
from skbayesiv._data.named import NamedFrame, name_columns, read_named
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import IVData, Regressors, join_rows, split_columns
from skbayesiv._estimators.call_forms import treatment_form
from skbayesiv._estimators.pickling import VersionedState
from skbayesiv._estimators.prediction import Predictor
from skbayesiv._honesty.evidence import Evidence
from skbayesiv._honesty.findings import Allows, findings, warn_of
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.sampled import SampledRows, looks_random
from skbayesiv._typing import Array
from skbayesiv.exceptions import OURS, InferenceWarning, NoTreatmentWarning

NO_TREATMENT = (
    "Neither t nor z was given, so no causal effect is estimated: this is a regression of y on "
    "X. Pass fit(X, t, y, z=z), or name columns of X with treatment= and instruments=."
)
CHECK: list[Any] = [StrOptions({"auto"}), Options(bool, {False})]
MOST_CHECKED, SHARE_CHECKED = 100_000, 100


class BaseIV(CallbackSupportMixin, Predictor, RegressorMixin, VersionedState, ABC):
    """Base of all estimators: reading what `fit` was given, and fitting a copy.

    A subclass has the parameters `treatment`, `instruments`, `covariates` and
    `sample_weight_type`, and implements `_fit_data`, which sets `moments_`, `intercept_`, `coef_`
    (treatments, then covariates), `first_stage_intercept_` and `first_stage_coef_` (instruments,
    then covariates; one row for each treatment), and `_allows`, which says what its interval
    allows for.
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"t": True, "z": True, "clusters": True}
    __metadata_request__partial_fit: ClassVar[dict[str, bool]] = {"t": True, "z": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"t": True, "z": True}
    __metadata_request__score: ClassVar[dict[str, bool]] = {"t": True, "z": True}

    check: Any
    _least_checked: ClassVar[int] = 20_000
    fit_intercept: bool
    n_features_in_: int
    feature_names_in_: Any
    first_stage_intercept_: Array
    first_stage_coef_: Array
    moments_: Moments
    warnings_: tuple[InferenceWarning, ...]

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
            there are none besides t. Where y is a name, strings and categories become
            indicators of their levels.
        y : array-like of shape (n_samples,), or str
            Outcome, or the name of its column in X, whose covariates are then those that the
            parameter `covariates` names.
        t : array-like of shape (n_samples,) or (n_samples, n_treatments)
            Treatment received.
        z : array-like of shape (n_samples,) or (n_samples, n_instruments)
            Instruments, such as the assignment; at least as many as treatments.
        sample_weight : array-like of shape (n_samples,), or str, optional
            Frequency weights: a weight of 2 counts as a row given twice; or what the parameter
            `sample_weight_type` says. With a name for y it may be the name of a column.
        clusters : array-like of shape (n_samples,), or str, optional
            Labels of the clusters within which errors are correlated, such as the unit that
            was assigned when rows are its members. A likelihood of independent rows ignores them,
            and warns. With a name for y it may be the name of a column.

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
        InferenceWarning
            If the interval of the effect is not what it promises, unless ``check=False``: a
            `WeakInstrumentWarning`, `ManyInstrumentsWarning`, `HeteroskedasticityWarning`,
            `FewClustersWarning`, `IgnoredClustersWarning` or `EstimandWarning`, which says what to
            report instead.
            The attribute `warnings_` keeps them.
        UserWarning
            If weights that count rows are not whole numbers.
        """
        return self._fit(X, y, t, z, sample_weight, clusters)

    @with_callbacks
    def _fit(
        self,
        X: Any,
        y: Any,
        t: Any,
        z: Any,
        sample_weight: Any,
        clusters: Any,
        segments: Any = None,
    ) -> Self:
        """Check everything, fit a copy and take its place."""
        self._validate_params()
        context = self._init_callback_context(max_subtasks=self._n_progress_steps())
        given = {"t": t, "z": z, "sample_weight": sample_weight, "clusters": clusters}
        given["segments"] = segments
        metadata = {name: value for name, value in given.items() if value is not None}
        context.call_on_fit_task_begin(estimator=self, X=X, y=y, metadata=metadata)
        new = self._unfitted()
        data = new._read(X, y, **given)
        new._fit_data(data)
        new._check_interval(data)
        self.__dict__ = new.__dict__
        context.call_on_fit_task_end(estimator=self, X=X, y=y, metadata=metadata)
        return self

    def _validate_params(self) -> None:
        """Raise unless all parameters are of their types; fractions and durations are no floats."""
        for name in self._parameter_constraints:
            value = getattr(self, name)
            if isinstance(value, Fraction | Decimal | np.timedelta64):
                raise TypeError(f"{name} must be an int or a float; got {value!r}.")
        super()._validate_params()

    def _n_progress_steps(self) -> int:
        """Number of steps of a fit that callbacks are told of."""
        return 0

    @abstractmethod
    def _fit_data(self, data: IVData | NamedFrame) -> None:
        """Fit checked rows, here or in a lazy frame, and set all fitted attributes."""

    @abstractmethod
    def _kept_rows(self) -> Equation | None:
        """Equation of the fit's rows, or None if they were not kept."""

    @abstractmethod
    def _effect_and_error(self) -> tuple[Array, Array]:
        """Effects of the treatments and their standard errors, each of shape (K,)."""

    @abstractmethod
    def _allows(self) -> Allows:
        """What the interval of the effect allows for."""

    def _check_interval(self, data: IVData | NamedFrame | None = None) -> None:
        """Warn of what is wrong with the interval, by the rows of the fit or by its moments."""
        self.warnings_ = ()
        if self.check and self.n_treatments_:
            self.warnings_ = findings(Evidence.of(self._evidence(data)), self._allows())
            warn_of(self.warnings_)

    def _evidence(self, data: IVData | NamedFrame | None) -> Equation:
        """Equation of a sample of the rows, or of what else is known of them."""
        if isinstance(data, NamedFrame):
            if data.grouped and not hasattr(self, "fourth_moments_"):
                return Equation.from_moments(
                    self.moments_, data.cluster_moments(), fit_intercept=self.fit_intercept
                )
            data = None if data.grouped else self._pilot(data)
        if data is None:
            return self._rows_or_moments()
        units = SampledRows(data, self.moments_.n_rows, self._n_checked(data.n_rows))
        cov_type = "clustered" if data.grouped else "robust"
        return Equation(self.moments_, units, self.fit_intercept, cov_type)

    def _n_checked(self, n_rows: int) -> int:
        """Number of rows that the interval is checked by, so many that it takes no time."""
        return min(max(n_rows // SHARE_CHECKED, self._least_checked), MOST_CHECKED)

    def _pilot(self, named: NamedFrame) -> IVData | None:
        """First rows of a lazy frame, if they could be a random sample of all."""
        try:
            rows = self._check_rows(
                named.head(),
                named.plan.data[-1],
                t=None,
                z=None,
                sample_weight=named.plan.weight,
                clusters=None,
                segments=None if self._roles.segments is not None else named.segments,
            )
            return rows if looks_random(rows.moments(), self.moments_) else None
        except (TypeError, ValueError):
            return None

    def _rows_or_moments(self) -> Equation:
        """Equation of the fit's rows, or of its sums alone."""
        rows = self._kept_rows()
        if rows is not None:
            return rows
        fourth = getattr(self, "fourth_moments_", None)
        return Equation.from_sums(self.moments_, fourth, fit_intercept=self.fit_intercept)

    def _unfitted(self) -> Self:
        """Return a copy without fitted attributes, to be swapped in when all went well."""
        new = object.__new__(type(self))
        new.__dict__.update({name: v for name, v in vars(self).items() if not name.endswith("_")})
        return new

    @property
    def _roles(self) -> Roles:
        return Roles(self.treatment, self.instruments, self.covariates, self._segment_role)

    @property
    def _segment_role(self) -> Any:
        """Name or position of the column of X that labels segments: none."""
        return None

    @property
    def _probability(self) -> bool:
        """Whether weights are those of a sample drawn with known probabilities."""
        kind = self.sample_weight_type
        return isinstance(kind, str) and kind == "probability"

    def _read(
        self,
        X: Any,
        y: Any,
        t: Any = None,
        z: Any = None,
        sample_weight: Any = None,
        clusters: Any = None,
        segments: Any = None,
    ) -> IVData | NamedFrame:
        """Check rows, or the names of a lazy frame's columns; the first decide the features."""
        extra = {"t": t, "z": z, "sample_weight": sample_weight, "clusters": clusters}
        extra["segments"] = segments
        data = self._name(X, y, **extra) if is_lazy(X) else self._check_rows(X, y, **extra)
        self._describe(data.columns)
        return data

    def _name(self, X: Any, y: Any, **names: Any) -> NamedFrame:
        if self._probability and names["sample_weight"] is not None:
            raise ValueError(
                'sample_weight_type="probability" needs rows in memory; got a lazy frame. Collect '
                "the columns that the fit names."
            )
        known = getattr(self, "_features_", None)
        named = name_columns(X, y, **names, roles=self._roles, known=known)
        self._set_features(named.features)
        return named

    def _check_rows(self, X: Any, y: Any, **extra: Any) -> IVData:
        """Check rows in memory, against those of the fit if there was one."""
        known, roles = getattr(self, "_features_", None), self._roles
        if isinstance(y, str):
            data, features = read_named(
                X, y, **extra, roles=roles, known=known, probability=self._probability
            )
            self._set_features(features)
            return data
        if y is None:
            check_outcome(y)
        check_index(X=X, y=y, **extra)
        split = self._split(X, empty=extra["t"] is not None, finite=False)
        return join_rows(split, y, **extra, finite=False, probability=self._probability)

    def _split(self, X: Any, *, empty: bool = True, finite: bool = True) -> Regressors | None:
        """Check X against that of the fit, if there was one, and split it; None if X is None."""
        first = not hasattr(self, "n_features_in_")
        if X is None:
            if not first and self.n_features_in_ and not self._roles.in_columns:
                raise ValueError(
                    f"X must have {self.n_features_in_} features, as in fit; got X=None."
                )
            split_columns(None, self._roles)
            if first:
                self._match_width(0)
            return None
        if not first and hasattr(self, "_features_"):
            return self._features_.split(X, in_columns=self._roles.in_columns, finite=finite)
        matrix_names(X)
        _check_feature_names(self, X, reset=first)
        split = split_columns(X, self._roles, empty=empty, finite=finite)
        self._match_width(split.n_features, first=first)
        return split

    def _match_width(self, n_features: int, *, first: bool = True) -> None:
        """Raise unless X has the number of columns of the first."""
        _check_n_features(self, np.empty((0, n_features)), reset=first)

    def _describe(self, columns: Columns) -> None:
        """Note the data's dimensions; warn when there is no treatment."""
        self.n_treatments_ = len(columns.treatments)
        self.n_instruments_ = len(columns.instruments)
        if not self.n_treatments_:
            warnings.warn(NO_TREATMENT, NoTreatmentWarning, skip_file_prefixes=OURS)

    def _set_features(self, features: Features) -> None:
        """Set features that new data are matched by; raise if there are others already."""
        names = list(features.names)
        if hasattr(self, "n_features_in_") and list(self._feature_names()) != names:
            raise ValueError(
                f"X must have the columns of the first rows, {list(self._feature_names())}; got "
                f"{names}."
            )
        self._features_ = features
        self.n_features_in_ = len(names)
        self.feature_names_in_ = np.array(names, dtype=object)

    def _feature_names(self) -> Any:
        return getattr(self, "feature_names_in_", range(self.n_features_in_))

    def _follow_moments(self, columns: Columns) -> None:
        """Set the attributes that scikit-learn takes from X, when there is no X."""
        names, segments = self._roles.arrange(columns), self._roles.name_segments(columns)
        of_array = {*column_names(None, "x", len(names))}
        if segments is not None and not isinstance(self._segment_role, str):
            of_array.add(segments)
        if set(names) - of_array:
            self._set_features(Features.of_columns(names, columns, segments))
        self.n_features_in_ = len(names)

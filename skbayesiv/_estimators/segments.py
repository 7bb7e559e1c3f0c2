"""What a fit to segments of the rows answers: effects, predictions, the fit of one of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments, check_moments
from skbayesiv._data.named import NamedFrame
from skbayesiv._data.rows import IVData
from skbayesiv._data.segments import order_labels, read_segments, segment_codes
from skbayesiv._data.sums import Sums
from skbayesiv._estimators.bayesian import BayesianIV, sums_of
from skbayesiv._estimators.call_forms import treatment_form
from skbayesiv._estimators.prediction import r2
from skbayesiv._honesty.findings import warn_of
from skbayesiv._honesty.segments import segment_findings
from skbayesiv._models.build import sums_by_segment, warn_of_unused
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.segmented import Features, build_segmented, check_backend
from skbayesiv._models.segments.design import SegmentedDesign
from skbayesiv._models.segments.draws import SHARED
from skbayesiv._models.segments.model import SegmentedModel
from skbayesiv._reports.segments import SegmentReport, effects_table, segment_report
from skbayesiv._results.predictive import NewRows, predictive_std
from skbayesiv._results.tree import segment_tree
from skbayesiv._typing import Array, Codes, Values

ONE_SEGMENT = (
    "{what} is of one experiment; this fit has segments: ask one of them, as "
    "est.segment({label!r})."
)
EFFECTS = ("effect", "beta_t_bar", "sigma_t_bar", "delta", "beta_t")
NEEDED = ("beta_t", "beta_z", "cov")


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Posterior means of G segments, the last perhaps of none that was fitted.

    Attributes
    ----------
    intercept, reduced_intercept : ndarray of shape (G,)
    coef : ndarray of shape (G, K + P)
        Treatments, then covariates.
    reduced_coef : ndarray of shape (G, Q + P)
        Of E[y | X, z]: instruments, then covariates.
    direct : ndarray of shape (G, Q)
    """

    intercept: Array
    coef: Array
    reduced_intercept: Array
    reduced_coef: Array
    direct: Array

    @classmethod
    def of(cls, means: Values) -> Coefficients:
        """From means of draws and of products of draws."""
        none = np.zeros(len(means["beta_t"]))
        direct = means.get("direct", np.zeros(means["beta_z"].shape[:2]))
        intercept = means.get("intercept_y", none)
        on_z = means["beta_z_through"] + direct
        on_x = means["gamma_t_through"] + means["gamma_y"]
        return cls(
            intercept,
            np.hstack([means["beta_t"], means["gamma_y"]]),
            intercept + means.get("intercept_t_through", none),
            np.hstack([on_z, on_x]),
            direct,
        )

    def average(self, weight: Array) -> Coefficients:
        """Averages over the segments, as one segment."""
        share = weight / weight.sum()
        return Coefficients(*((share @ value)[None] for value in vars(self).values()))

    def and_more(self, other: Coefficients) -> Coefficients:
        """Those of others too."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Coefficients(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True, eq=False)
class SegmentRows:
    """New rows with the segment of each, by position; those that were not fitted follow.

    Attributes
    ----------
    x, t, z : ndarray or None
    codes : ndarray of int of shape (n,)
    unseen : tuple of str
    """

    x: Array
    t: Array | None
    z: Array | None
    codes: Codes
    unseen: tuple[str, ...]


class SegmentMethods(BayesianIV):
    """Fits of segments of the rows; a subclass has the parameters of their population."""

    segments: Any
    segment_covariates: Any
    delta_scale: Any
    segments_: Array
    segment_moments_: dict[Any, Moments]
    silent_segments_: dict[Any, str]
    _coefficients: Coefficients
    _first_stages: Array
    _strengths: Array
    _population_means: tuple[Array, Array]
    _segment_sums: dict[Any, Sums]

    @property
    def _segment_role(self) -> Any:
        return self.segments

    @property
    def _segmented(self) -> bool:
        return isinstance(getattr(self, "_model", None), SegmentedModel)

    @property
    def _design(self) -> SegmentedDesign:
        assert isinstance(self._model, SegmentedModel)
        return self._model.design

    @property
    def effects_(self) -> Any:
        """Effects by segment, a DataFrame in the segments' order.

        Columns: `rows` (sum of weights), `first_stage` (posterior mean of the instrument's
        coefficient, for a binary instrument and treatment the share of compliers; with several
        instruments the standard deviation of the treatment that they explain), `effect` and `sd`
        (posterior mean and standard deviation), `2.5%` and `97.5%` (ends of the equal-tailed 95%
        interval) and `p_positive` (probability of an effect above zero). With several treatments
        the index has a level for them.
        """
        check_is_fitted(self)
        if not self._segmented:
            raise AttributeError(
                "effects_ is not defined: the model was fitted without segments; see effect_."
            )
        return effects_table(self)

    @overload
    def predict(
        self,
        X: Any,
        t: Any = None,
        z: Any = None,
        return_std: Literal[False] = False,
        *,
        segments: Any = None,
        unseen: str = "error",
    ) -> Array: ...
    @overload
    def predict(
        self,
        X: Any,
        t: Any = None,
        z: Any = None,
        *,
        return_std: Literal[True],
        segments: Any = None,
        unseen: str = "error",
    ) -> tuple[Array, Array]: ...
    def predict(
        self,
        X: Any,
        t: Any = None,
        z: Any = None,
        return_std: bool = False,
        *,
        segments: Any = None,
        unseen: str = "error",
    ) -> Array | tuple[Array, Array]:
        """Predict the outcome, each row with the coefficients of its segment.

        Parameters
        ----------
        X, t, z, return_std
            As in :meth:`BayesianIV.predict`.
        segments : array-like of shape (n_samples,), optional
            Label of each row's segment, where it is no column of X.
        unseen : {"error", "population"}, default="error"
            What to do with segments that were not fitted: raise, or predict the effect by the
            population (at the row of `segment_covariates`, where there are any) and all else by the
            average over the fitted segments, by their rows.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
        std : ndarray of shape (n_samples,)
            If `return_std`.

        Raises
        ------
        ValueError
            If the rows are not as in `fit`, or a segment was not fitted.
        """
        check_is_fitted(self)
        if not self._segmented:
            self._refuse_segments(segments)
            if return_std:
                return super().predict(X, t, z, return_std=True)
            return super().predict(X, t, z)
        rows = self._segment_rows(X, t, z, segments, unseen)
        mean = self._predicted(rows)
        return (mean, self._std_by_segment(rows)) if return_std else mean

    def _predicted(self, rows: SegmentRows) -> Array:
        found = self._coefficients_of(rows.unseen)
        if rows.t is None:
            assert rows.z is not None
            design = np.column_stack([rows.z, rows.x])
            own = found.reduced_coef[rows.codes]
            return np.asarray(found.reduced_intercept[rows.codes] + (design * own).sum(axis=1))
        design = np.column_stack([rows.t, rows.x])
        mean = found.intercept[rows.codes] + (design * found.coef[rows.codes]).sum(axis=1)
        z = self._instruments(rows.z, len(rows.codes))
        return np.asarray(mean + (z * found.direct[rows.codes]).sum(axis=1))

    def _std_by_segment(self, rows: SegmentRows) -> Array:
        out, z = np.empty(len(rows.codes)), self._instruments(rows.z, len(rows.codes))
        for code in np.unique(rows.codes).tolist():
            at = rows.codes == code
            t = None if rows.t is None else rows.t[at]
            values = self._values_of(code, rows.unseen)
            out[at] = predictive_std(values, NewRows(rows.x[at], z[at], t))
        return out

    def _values_of(self, code: int, unseen: tuple[str, ...]) -> Values:
        """Draws of one segment, flat."""
        every = self._flat_draws()
        names = self._design.names
        p, n = len(self.moments_.columns.covariates), len(every.by_segment["beta_t"])
        values: Values = {
            "gamma_y": np.empty((n, p)),
            "gamma_t": np.empty((n, p, self.n_treatments_)),
        }
        if code < len(names):
            return values | {name: own[:, code] for name, own in every.by_segment.items()}
        share = self._weights / self._weights.sum()
        values |= {
            name: np.einsum("ng...,g->n...", own, share) for name, own in every.by_segment.items()
        }
        loc = self._design.population.mean(
            every.shared, self._features((unseen[code - len(names)],))
        )
        noise = np.random.default_rng(0).standard_normal(loc[:, 0].shape)
        return values | {"beta_t": loc[:, 0] + every.shared["sigma_t_bar"] * noise}

    def _flat_draws(self) -> _Draws:
        """Draws by name, flat over chains: those of segments, and the others."""
        found = _Draws({}, {})
        for name, own in self.idata_.posterior.data_vars.items():
            part = found.by_segment if "segment" in own.dims else found.shared
            part[str(name)] = own.to_numpy().reshape(-1, *own.shape[2:])
        if left := [name for name in NEEDED if name not in found.by_segment]:
            raise ValueError(
                f"Draws of {left} were not kept, as there are more than 2e7 numbers of them: fit "
                "with fewer draws or chains for what needs the draws of a segment."
            )
        return found

    @property
    def _weights(self) -> Array:
        """Sum of weights of each segment."""
        return np.array([own.weight for own in self._design.moments])

    def _features(self, unseen: tuple[str, ...]) -> Array:
        """Covariates of segments that were not fitted, about the centre of the others."""
        return Features.read(self.segment_covariates).of(unseen) - self._design.population.centre

    def _coefficients_of(self, unseen: tuple[str, ...]) -> Coefficients:
        """Posterior means of the fitted segments, then of others."""
        found = self._coefficients
        if not unseen:
            return found
        k = self.n_treatments_
        average = found.average(self._weights)
        w = self._features(unseen)
        effects = self._population_means[0] + w @ self._population_means[1]
        first = np.hstack([self.first_stage_intercept_[:, None], self.first_stage_coef_])
        through = effects @ first  # (U, 1 + Q + P)
        on_x = average.coef[:, k:]
        reduced = through[:, 1:] + np.hstack([average.direct, on_x])
        size = (len(unseen), 1)
        more = Coefficients(
            np.tile(average.intercept, len(unseen)),
            np.hstack([effects, np.tile(on_x, size)]),
            average.intercept + through[:, 0],
            reduced,
            np.tile(average.direct, size),
        )
        return found.and_more(more)

    def _segment_rows(self, X: Any, t: Any, z: Any, segments: Any, unseen: str) -> SegmentRows:
        """Check new rows and the segment of each."""
        if not isinstance(unseen, str) or unseen not in ("error", "population"):
            raise ValueError(f'unseen must be "error" or "population"; got {unseen!r}.')
        split = self._split(X)
        x, t, z = self._joined(split, X, t, z)
        found = None if split is None else split.segments
        if segments is not None and found is not None:
            raise ValueError(
                "segments must come from one place; got the argument although the parameter "
                f"segments={self.segments!r} names a column of X."
            )
        found = segments if found is None else found
        if found is None:
            raise ValueError(
                "segments must be given, the label of each row's segment: each has coefficients "
                "of its own. effect_ is the average effect."
            )
        codes = segment_codes(found, tuple(self.segments_), x.shape[0])
        return self._with_unseen(SegmentRows(x, t, z, codes, ()), found, unseen)

    def _with_unseen(self, rows: SegmentRows, found: Any, unseen: str) -> SegmentRows:
        new = rows.codes < 0
        if not new.any():
            return rows
        others = read_segments(found, len(new))
        names = [others.names[code] for code in np.unique(others.codes[new])]
        if unseen == "error":
            raise ValueError(
                f"segments must be among those of the fit; got {names[:5]} in {int(new.sum())} "
                'rows. unseen="population" predicts their effects by the population.'
            )
        place = {name: len(self.segments_) + i for i, name in enumerate(names)}
        codes = rows.codes.copy()
        codes[new] = [place[others.names[code]] for code in others.codes[new]]
        return SegmentRows(rows.x, rows.t, rows.z, codes, tuple(names))

    def _refuse_segments(self, segments: Any) -> None:
        if segments is not None:
            raise ValueError(
                "segments must be None: the model was fitted without segments; got "
                f"{type(segments).__name__}."
            )

    @overload
    def score(
        self,
        X: Any = None,
        y: ArrayLike | None = None,
        *,
        t: ArrayLike | None = None,
        z: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        segments: ArrayLike | None = None,
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
        segments: ArrayLike | None = None,
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
        segments: Any = None,
    ) -> float:
        """Return R^2 of E[y | X, z], each row with the coefficients of its segment.

        Parameters
        ----------
        X, y, t, z, sample_weight
            As in :meth:`BayesianIV.score`.
        segments : array-like of shape (n_samples,), optional
            Label of each row's segment, where it is no column of X.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        if not self._segmented:
            self._refuse_segments(segments)
            return super().score(X, y, t=t, z=z, sample_weight=sample_weight)
        columns = self.treatment is not None
        rows = self._segment_rows(X, t if columns else None, z, segments, "error")
        predicted = self._predicted(SegmentRows(rows.x, None, rows.z, rows.codes, ()))
        return r2(y, predicted, sample_weight)

    def segment(self, label: Any) -> Self:
        """Fit of one segment: what it says given all the others.

        Parameters
        ----------
        label : object
            Label of a segment.

        Returns
        -------
        HierarchicalBayesianIV
            Fitted; everything that can be asked of a fit to one experiment can be asked of it. Its
            posterior is the segment's part of this one's.

        Raises
        ------
        ValueError
            If there is no such segment, or it identifies no effect of its own.
        """
        check_is_fitted(self)
        if not self._segmented:
            raise ValueError("segment must be asked of a fit with segments; this one has none.")
        labels = list(self.segments_)
        asked = np.empty(1, dtype=object)
        asked[0] = label
        code = int(segment_codes(asked, tuple(labels), 1, "label")[0])
        if code < 0:
            raise ValueError(f"label must be one of the segments {labels[:10]}; got {label!r}.")
        label = labels[code]
        if label in self.silent_segments_:
            raise ValueError(
                f"label must be a segment that identifies an effect of its own; of {label!r} "
                f"{self.silent_segments_[label]}. effects_ has what the population says of it."
            )
        own = object.__new__(type(self))
        own.__dict__.update(vars(self))
        model = self._design.models[int(np.flatnonzero(self._design.speaking == code)[0])]
        values = self._values_of(code, ())
        own._model, own.moments_ = model, self._design.moments[code]
        own._tree_ = partial(segment_tree, self.idata_, values, model.coords, own.moments_)
        own._rows = None if self._rows is None else self._rows.by_segment.get(label)
        own.warnings_ = ()
        BayesianIV._set_coefficients(own, values)
        return own

    def segment_report(
        self, cost: float | None = None, rope: Any = None, treatment: int | str = 0
    ) -> SegmentReport:
        """Report for whom the treatment works: each segment alone and pooled.

        Parameters
        ----------
        cost : float, optional
            Of one unit of the treatment, in units of y: an effect above it pays. Default is 0.
        rope : float or (low, high), optional
            Region of practical equivalence: differences from the mean effect that do not matter, a
            number being plus and minus.
        treatment : int or str, default=0
            Position or name of the treatment, when there are several.

        Returns
        -------
        SegmentReport
        """
        check_is_fitted(self)
        if not self._segmented:
            raise ValueError(
                "segment_report needs segments: fit with segments=, or set the parameter segments."
            )
        return segment_report(self, cost, rope, treatment)

    def _draws(self, n_draws: int | None) -> Values:
        self._check_one("What needs the draws of all coefficients")
        return super()._draws(n_draws)

    def _batch_sums(self, data: IVData | NamedFrame, earlier: Sums | None) -> Sums:
        if data.segmented:
            raise ValueError(
                "partial_fit must not be used with segments: add the moments of batches by "
                'segment, as Moments.from_frame(..., by="country") gives them, and use fit_moments.'
            )
        return super()._batch_sums(data, earlier)

    def summary(
        self,
        var_names: list[str] | None = None,
        ci_prob: float = 0.94,
        ci_kind: str = "hdi",
        round_to: Any = "auto",
    ) -> Any:
        """Table of the posterior: mean, sd, interval, Monte Carlo errors, ESS and R-hat.

        Parameters
        ----------
        var_names : list of str, optional
            Variables of the posterior; by default all but `corr` and `cov` or, with segments, the
            effects and their population.
        ci_prob, ci_kind, round_to
            As in :meth:`BayesianIV.summary`.

        Returns
        -------
        pandas.DataFrame
        """
        check_is_fitted(self)
        if var_names is None and self._segmented:
            var_names = [name for name in EFFECTS if name in self.idata_.posterior]
        return super().summary(var_names, ci_prob, ci_kind, round_to)

    def _by_segment(self, names: Collection[str]) -> Collection[str]:
        return set(names) - SHARED if self._segmented else ()

    def _predictive_rows(self, X: Any, t: Any, z: Any, given: str) -> NewRows:
        self._check_one("What is predicted by draws")
        return super()._predictive_rows(X, t, z, given)

    def _check_one(self, what: str) -> None:
        """Raise if there are segments."""
        check_is_fitted(self)
        if self._segmented:
            raise ValueError(ONE_SEGMENT.format(what=what, label=self.segments_[0]))

    def _fit_data(self, data: IVData | NamedFrame) -> None:
        if not data.segmented:
            super()._fit_data(data)
            return
        self._fit_segments(sums_by_segment(self, data), data.rows)

    def _fit_segments(self, groups: Mapping[Any, Sums], rows: IVData | None = None) -> None:
        """Sums of segments -> model of all -> draws -> tree, attributes."""
        check_backend(self.backend)
        warn_of_unused(self)
        design = build_segmented(self, groups)
        self.segment_moments_ = {label: own.moments for label, own in groups.items()}
        labels = list(groups)
        self.segments_ = np.empty(len(labels), dtype=object)
        self.segments_[:] = labels
        by_name = dict(zip(design.names, labels, strict=True))
        self.silent_segments_ = {by_name[name]: reason for name, reason in design.silent.items()}
        self._segment_sums = dict(groups)
        self._fit_model(SegmentedModel(design), Sums(design.total), rows)

    def fit_moments(
        self,
        moments: Moments | Mapping[Any, Moments],
        fourth_moments: FourthMoments | Mapping[Any, FourthMoments] | None = None,
    ) -> Self:
        """Fit from moments: the rows are not needed again.

        Parameters
        ----------
        moments : Moments, or dict of Moments
            Of the columns ``[X, z, t, y]``; a dict by label makes segments, as
            ``Moments.from_frame(..., by="country")`` gives them.
        fourth_moments : FourthMoments, or dict of FourthMoments, optional
            Of the same rows; needed with ``likelihood="gmm"``.

        Returns
        -------
        self : object
            If an error is raised, the estimator is as it was before.

        Raises
        ------
        ValueError
            As :meth:`BayesianIV.fit_moments`, and if no segment identifies an effect.
        """
        if not isinstance(moments, Mapping):
            if self.segments is not None:
                raise ValueError(
                    "moments must be a dict of Moments by segment when the parameter segments is "
                    f"set ({self.segments!r}); got {type(moments).__name__}."
                )
            assert not isinstance(fourth_moments, Mapping)
            return super().fit_moments(moments, fourth_moments)
        groups = _check_groups(moments, fourth_moments)
        new = self._start_from(next(iter(moments.values())))
        new._fit_segments(groups)
        new._check_interval()
        self.__dict__ = new.__dict__
        return self

    def to_pymc(
        self,
        X: Any = None,
        t: Any = None,
        y: Any = None,
        *,
        z: Any = None,
        sample_weight: Any = None,
        clusters: Any = None,
        segments: Any = None,
    ) -> Any:
        """State the same model row by row in PyMC.

        As :meth:`BayesianIV.to_pymc`. With segments the effects and their population have the
        posterior's names and dimensions, and all else of a segment has its name in front, as in
        ``DE::gamma_y``.

        Parameters
        ----------
        X, t, y, z, sample_weight, clusters, segments
            Rows, as in `fit`; without them it is the fitted model.

        Returns
        -------
        pymc.Model
        """
        if X is None and t is None and y is None:
            return super().to_pymc(clusters=clusters)
        if segments is None and self.segments is None:
            extra = {"sample_weight": sample_weight, "clusters": clusters}
            return super().to_pymc(X, t, y, z=z, **extra)
        extra = {"sample_weight": sample_weight, "clusters": clusters, "segments": segments}
        data = self._given(X, t, y, z, **extra)
        return SegmentedModel(build_segmented(self, sums_by_segment(self, data))).to_pymc(data)

    def _check_interval(self, data: IVData | NamedFrame | None = None) -> None:
        if not self._segmented:
            super()._check_interval(data)
            return
        self.warnings_ = ()
        if self.check:
            rows = data if isinstance(data, IVData) else None
            self.warnings_ = segment_findings(
                self._segment_sums,
                {} if rows is None else rows.by_segment,
                self.silent_segments_,
                self._allows(),
                fit_intercept=self.fit_intercept,
                n_checked=self._n_checked(0 if rows is None else rows.n_rows),
            )
            warn_of(self.warnings_)

    def _accept(self, posterior: Posterior) -> None:
        if not posterior.by_segment:
            super()._accept(posterior)
            return
        k, means, share = self.n_treatments_, posterior.means, self._weights / self._weights.sum()
        self._coefficients = Coefficients.of(means)
        one = self.n_instruments_ == 1
        self._first_stages = means["beta_z"][:, 0] if one else means["strength"]
        self._strengths = means["strength"]
        shared = {name: posterior.values[name].mean(axis=0) for name in ("beta_t_bar", "effect")}
        slopes = posterior.values.get("delta", np.zeros((1, 0, k))).mean(axis=0)
        self._population_means = shared["beta_t_bar"], slopes
        average = self._coefficients.average(self._weights)
        self.intercept_ = float(average.intercept[0])
        self.coef_ = np.append(shared["effect"], average.coef[0, k:])
        self.first_stage_intercept_ = share @ means.get("intercept_t", np.zeros((len(share), k)))
        first = [np.einsum("g,g...->...", share, means[name]) for name in ("beta_z", "gamma_t")]
        self.first_stage_coef_ = np.concatenate(first).T
        self._direct = average.direct[0]
        self._reduced = float(average.reduced_intercept[0]), average.reduced_coef[0]


@dataclass(frozen=True, eq=False)
class _Draws:
    """Draws by name, flat: those that have a segment after the draw, and the others."""

    by_segment: Values
    shared: Values


def _check_groups(moments: Mapping[Any, Any], fourth: Any) -> dict[Any, Sums]:
    """Check moments by segment, and fourth-order sums of the same."""
    if not moments:
        raise ValueError("moments must have a segment; got an empty dict.")
    if fourth is not None and not isinstance(fourth, Mapping):
        raise TypeError(
            "fourth_moments must be a dict by segment where moments are; got "
            f"{type(fourth).__name__}."
        )
    if fourth is not None and list(fourth) != list(moments):
        raise ValueError(
            f"fourth_moments must have the segments of moments, {list(moments)[:5]}; got "
            f"{list(fourth)[:5]}."
        )
    order_labels(moments, "moments")
    groups, columns = {}, None
    for label, own in moments.items():
        check_moments(own, f"moments[{label!r}]")
        columns = own.columns if columns is None else columns
        if own.columns != columns:
            raise ValueError(
                f"moments must be of the same columns: {columns}; got {own.columns} for {label!r}."
            )
        sums = sums_of(own, None if fourth is None else fourth[label], f" for {label!r}")
        if own.n_rows:
            groups[label] = sums
    return groups

"""What a fit to segments of the rows answers: effects, predictions, the fit of one of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments, check_moments
from skbayesiv._data.named import NamedFrame
from skbayesiv._data.rows import IVData
from skbayesiv._data.segments import order_labels, segment_codes
from skbayesiv._data.sums import Sums
from skbayesiv._estimators.bayesian import BayesianIV, sums_of
from skbayesiv._estimators.segment_predictions import Coefficients, SegmentPredictions
from skbayesiv._honesty.findings import warn_of
from skbayesiv._honesty.segments import segment_findings
from skbayesiv._models.build import sums_by_segment, warn_of_unused
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.segmented import build_segmented, check_backend
from skbayesiv._models.segments.draws import SHARED
from skbayesiv._models.segments.model import SegmentedModel
from skbayesiv._reports.segments import SegmentReport, effects_table, segment_report
from skbayesiv._results.predictive import NewRows
from skbayesiv._results.tree import segment_tree
from skbayesiv._typing import Array, Values

ONE_SEGMENT = (
    "{what} is of one experiment; this fit has segments: ask one of them, as "
    "est.segment({label!r})."
)
EFFECTS = ("effect", "beta_t_bar", "sigma_t_bar", "delta", "beta_t")


class SegmentMethods(SegmentPredictions):
    """Fits of segments of the rows; a subclass has the parameters of their population."""

    delta_scale: Any
    segment_moments_: dict[Any, Moments]
    silent_segments_: dict[Any, str]
    _first_stages: Array
    _strengths: Array
    _segment_sums: dict[Any, Sums]

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

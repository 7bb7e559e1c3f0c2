"""Predictions of a fit to segments: each row with the coefficients of its segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skbayesiv._data.segments import read_segments, segment_codes
from skbayesiv._estimators.bayesian import BayesianIV
from skbayesiv._estimators.call_forms import treatment_form
from skbayesiv._estimators.prediction import r2
from skbayesiv._models.segmented import Features
from skbayesiv._models.segments.design import SegmentedDesign
from skbayesiv._models.segments.model import SegmentedModel
from skbayesiv._results.predictive import NewRows, predictive_std
from skbayesiv._typing import Array, Codes, Values

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


@dataclass(frozen=True, eq=False)
class _Draws:
    """Draws by name, flat: those that have a segment after the draw, and the others."""

    by_segment: Values
    shared: Values


class SegmentPredictions(BayesianIV):
    """`predict` and `score` by segment; a subclass fits segments and sets what they say.

    That is `segments_`, `_coefficients`, and `_population_means`: of beta_t_bar and delta.
    """

    segments: Any
    segment_covariates: Any
    segments_: Array
    _coefficients: Coefficients
    _population_means: tuple[Array, Array]

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

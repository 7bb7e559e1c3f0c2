"""Estimators that need sums only: fits in batches and from moments."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self, overload

from numpy.typing import ArrayLike

from skbayesiv._data.moments import check_moments
from skbayesiv._data.named import NamedFrame
from skbayesiv._data.rows import IVData
from skbayesiv._data.sums import Sums
from skbayesiv._estimators.base import BaseIV
from skbayesiv._estimators.call_forms import treatment_form

FEATURES = ("n_features_in_", "feature_names_in_", "_features_")


class SumsEstimator(BaseIV):
    """Base of estimators that can be fitted to sums: `partial_fit`, and what `fit_moments` shares.

    A subclass implements `_batch_sums` and `_fit_sums`.
    """

    @abstractmethod
    def _batch_sums(self, data: IVData | NamedFrame, earlier: Sums | None) -> Sums:
        """Sums of a batch of rows and of those before it."""

    @abstractmethod
    def _sums(self) -> Sums:
        """Sums of the rows that were fitted."""

    @abstractmethod
    def _fit_sums(self, sums: Sums) -> None:
        """Fit sums and set all fitted attributes."""

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
        earlier = self._sums() if hasattr(self, "moments_") else None
        new = self._unfitted()
        if earlier is not None:
            new.__dict__.update({name: v for name, v in vars(self).items() if name in FEATURES})
        batch = new._read(X, y, t, z, sample_weight)
        new._fit_sums(new._batch_sums(batch, earlier))
        new._check_interval()
        self.__dict__ = new.__dict__
        return self

    def _start_from(self, moments: Any) -> Self:
        """Return an unfitted copy that knows the features of checked moments."""
        check_moments(moments)
        self._validate_params()
        new = self._unfitted()
        new._describe(moments.columns)
        new._follow_moments(moments.columns)
        return new

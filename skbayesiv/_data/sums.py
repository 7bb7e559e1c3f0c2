"""What a fit takes from the data: moments and, where a model needs them, fourth-order sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from skbayesiv._columns import Columns
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.identified import check_sums_finite
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import Reference
from skbayesiv._data.rows import IVData


class Data(Protocol):
    """Rows in memory or a frame whose rows are elsewhere: what sums are taken of."""

    @property
    def columns(self) -> Columns: ...

    @property
    def grouped(self) -> bool:
        """Whether rows are in clusters."""

    @property
    def segmented(self) -> bool:
        """Whether rows are in segments."""

    @property
    def probability(self) -> bool:
        """Whether weights are those of a sample drawn with known probabilities."""

    @property
    def rows(self) -> IVData | None:
        """The rows, if they are in memory."""

    def moments(self) -> Moments:
        """First and second moments."""

    def fourth_moments(
        self, reference: Reference | None = None, *, fit_intercept: bool = True
    ) -> FourthMoments:
        """Fourth-order sums over rows, or over clusters."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Moments and, where a model needs them, fourth-order sums of the same rows.

    Sums of disjoint rows add, and those of a subset can be subtracted, as their parts do.
    """

    moments: Moments
    fourth: FourthMoments | None = None

    @classmethod
    def of(cls, data: Data, *, fourth: bool = False, fit_intercept: bool = True) -> Sums:
        """Sum up rows: in one pass, or in two for fourth-order sums with covariates or clusters."""
        if not fourth:
            return cls(data.moments())
        if not (data.grouped or data.probability or data.columns.covariates):
            products = data.fourth_moments(fit_intercept=fit_intercept)
            return cls(products.moments(), products)
        moments = data.moments()
        check_sums_finite(moments)
        reference = Reference.from_moments(moments, fit_intercept=fit_intercept)
        return cls(moments, data.fourth_moments(reference, fit_intercept=fit_intercept))

    @property
    def columns(self) -> Columns:
        """Names by role."""
        return self.moments.columns

    def __add__(self, other: Sums) -> Sums:
        if self.fourth is None or other.fourth is None:
            return Sums(self.moments + other.moments)
        return Sums(self.moments + other.moments, self.fourth + other.fourth)

    def __sub__(self, other: Sums) -> Sums:
        if self.fourth is None or other.fourth is None:
            return Sums(self.moments - other.moments)
        return Sums(self.moments - other.moments, self.fourth - other.fourth)

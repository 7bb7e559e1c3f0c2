"""Several treatments: whether 2SLS puts effects of one treatment into another's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._instrument_linearity import require_covariates
from skbayesiv.diagnostics._partial import Partialled
from skbayesiv.diagnostics._report import Block, Paragraph, Report, Table
from skbayesiv.diagnostics._results import HypothesisTest
from skbayesiv.diagnostics._row_design import SPANNED, RowDesign, row_design
from skbayesiv.diagnostics._score_test import score_test

NULL = "no cross effects"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CrossEffects(Report):
    """Whether the instruments that predict one treatment move another, given the prediction of it.

    Attributes
    ----------
    test : HypothesisTest
        That in each half of the rows, by each covariate, a treatment depends on its own prediction
        only.
    table : DataFrame
        Coefficients of each treatment on the predicted treatments, in each half: those of other
        treatments should be zero, and its own not negative. Index covariate, half and treatment;
        one column for each predicted treatment.
    """

    test: HypothesisTest
    table: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return `table`."""
        return self.table

    def _blocks(self) -> Iterator[Block]:
        yield (Paragraph(str(self.test)),)
        yield (Table(self.table, "%.4g"),)


def cross_effects(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
) -> CrossEffects:
    r"""Test that 2SLS of several treatments does not mix their effects.

    The 2SLS effect of a treatment is a mean of effects of that treatment alone only if, given how
    the instruments move it, they do not move another one through the same prediction [1]_.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome, which is not used.
        An estimator or a partialled design takes the place of all arrays; it must have its rows.
    t : array-like of shape (n_rows, K)
        Treatments, two or more.
    z : array-like of shape (n_rows, Q)
        Instruments, Q >= K.
    X : array-like of shape (n_rows, P)
        Covariates, at the median of each of which the rows are split.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them the test allows for unequal variances.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.

    Returns
    -------
    CrossEffects
        Score test on P K (K - 1) degrees of freedom.

    Raises
    ------
    ValueError
        If there is one treatment, no covariate or none that splits the rows, or no rows.

    Notes
    -----
    With the predictions :math:`\hat t = \tilde z \hat\Pi` of all rows, the regression of
    :math:`t_l` on all predictions in a half of the rows should have coefficients of zero but for
    :math:`\hat t_l`. In all rows together it has, by construction: so the test sees cross
    effects that differ between the halves, and not those that are the same in both. Without
    covariates it cannot be done. Scores have the null imposed, and allow for the estimation of
    the predictions.

    References
    ----------
    .. [1] Bhuller, M. and Sigstad, H. (2024). 2SLS with multiple treatments. Journal of
       Econometrics 242, 105785.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import cross_effects
    >>> rng = np.random.default_rng(0)
    >>> x, z = rng.normal(size=2000), rng.normal(size=(2000, 2))
    >>> cross = np.where(x > 0, 0.5, -0.5) * z[:, 1]
    >>> t = z + rng.normal(size=(2000, 2))
    >>> cross_effects(x, t, z, x).test.p_value > 0.05
    True
    >>> t[:, 0] += cross
    >>> cross_effects(x, t, z, x).test.p_value < 0.001
    True
    """
    design = row_design(
        y,
        t,
        z,
        X,
        sample_weight=sample_weight,
        clusters=clusters,
        fit_intercept=fit_intercept,
    )
    if design.t.shape[1] < 2:
        raise ValueError("t must be two or more treatments for cross effects; got 1 column.")
    require_covariates(design)
    return cross_effects_of_rows(design)


def cross_effects_of_rows(design: RowDesign) -> CrossEffects:
    """Test the predictions of several treatments in halves of checked rows."""
    stage = _FirstStage.of(design)
    names, treatments = design.data.columns.covariates, list(design.data.columns.treatments)
    halves = {
        name: _upper_half(x, design.weight) for name, x in zip(names, design.x.T, strict=True)
    }
    halves = {name: half for name, half in halves.items() if 0.0 < half.mean() < 1.0}
    k = len(treatments)
    parts = [stage.scores(half, own) for half in halves.values() for own in range(k)]
    test = score_test("Cross effects", NULL, design, np.hstack(parts)) if parts else None
    if test is None:
        raise ValueError(
            "X must have a covariate that splits the rows in two, in both of which z varies and "
            f"does not explain t exactly; got none among {list(names)}. With few rows take fewer "
            "covariates or instruments."
        )
    table = {
        (name, side): stage.coefficients(half == value)
        for name, half in halves.items()
        for side, value in (("lower", 0.0), ("upper", 1.0))
    }
    frames = {at: pd.DataFrame(found, treatments, treatments) for at, found in table.items()}
    joined = pd.concat(frames, names=["covariate", "half", "treatment"])
    return CrossEffects(test=test, table=joined.rename_axis(columns="predicted"))


def _upper_half(x: Array, weight: Array) -> Array:
    """Rows above the weighted median, or from it on where it is the largest value."""
    order = np.argsort(x, kind="stable")
    below = np.cumsum(weight[order])
    median = x[order][np.searchsorted(below, below[-1] / 2.0)]
    return np.asarray(x > median if (x > median).any() else x >= median, dtype=float)


@dataclass(frozen=True, eq=False)
class _FirstStage:
    """Predicted treatments of all rows.

    Attributes
    ----------
    design : RowDesign
    t : ndarray of shape (n, K)
        Treatments in units of `sizes`.
    sizes : ndarray of shape (K,)
    z : ndarray of shape (n, Q)
        Orthonormal instruments, the covariates taken out.
    predicted, left : ndarray of shape (n, K)
        Prediction by the instruments, and residual.
    """

    design: RowDesign
    t: Array
    sizes: Array
    z: Array
    predicted: Array
    left: Array

    @classmethod
    def of(cls, design: RowDesign) -> _FirstStage:
        z = design.beside(design.z, design.controls)
        t, sizes = design.standard(design.t), design.sizes(design.about_mean(design.t))
        left = design.residual(t, design.controls)
        predicted = z @ (z.T @ (left * design.weight[:, None]))
        return cls(design, t, sizes, z, predicted, left - predicted)

    def scores(self, half: Array, own: int) -> Array:
        """Scores of the other predictions in a half, in the regression of one treatment.

        The estimate of that treatment's prediction z'pi, whose coefficient in the regression is
        c + d half, changes the residual by -(c + d half) z'(pi^ - pi).
        """
        design, w, side = self.design, self.design.weight[:, None], half[:, None]
        one = self.predicted[:, [own]]
        base = np.hstack([design.controls, side * design.controls, self.predicted, side * one])
        controls = design.basis(base)
        others = np.delete(self.predicted, own, axis=1)
        h = design.beside(side * others, controls)
        t = self.t[:, [own]]
        coef = _regression(base * np.sqrt(w), t * np.sqrt(w))[:, 0]
        at = 2 * design.controls.shape[1] + own
        slope = coef[at] + coef[-1] * side
        pull = (h * w * slope).T @ self.z
        scores = h * design.residual(t, controls) - self.z @ pull.T * self.left[:, [own]]
        return np.asarray(scores)

    def coefficients(self, rows: Array) -> Array:
        """Of each treatment on all predictions, in some rows, shape (K, K)."""
        root = np.sqrt(self.design.weight[rows])[:, None]
        columns = np.hstack([self.predicted, self.design.controls])[rows] * root
        found = _regression(columns, self.t[rows] * root)[: len(self.sizes)]
        return np.asarray(found.T * (self.sizes[:, None] / self.sizes))


def _regression(columns: Array, outcomes: Array) -> Array:
    """Shortest coefficients, of columns in units of their length, that fit as well as any."""
    length = np.linalg.norm(columns, axis=0)
    length = np.where(length > 0.0, length, 1.0)
    found = np.linalg.lstsq(columns / length, outcomes, rcond=np.sqrt(SPANNED))[0]
    return np.asarray(found / length[:, None])

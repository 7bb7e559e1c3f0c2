"""Whether 2SLS with covariates is the compliers' average, or what it is an average of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skbayesiv._data.checks import check_level
from skbayesiv._linear.equation import Equation
from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._instrument_linearity import require_covariates, saturated
from skbayesiv.diagnostics._overidentification import wooldridge_overid
from skbayesiv.diagnostics._partial import Partialled, partial_equation
from skbayesiv.diagnostics._report import Block, Paragraph, Report, Table
from skbayesiv.diagnostics._results import HypothesisTest
from skbayesiv.diagnostics._row_design import RowDesign, row_design
from skbayesiv.diagnostics._score_test import score_test, scores_of

WEIGHTS = "rows x Var(z | x) x share"
SIZE = 0.05
MOST_STRATA = 50


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class EffectWeighting(Report):
    """How assignment, first stage and effects differ by the covariates, and what follows.

    Attributes
    ----------
    treatments : tuple of str
        Their names.
    assignment : HypothesisTest or None
        That the instruments do not depend on the covariates; None if these are constant.
    first_stage : HypothesisTest or None
        That the instruments move the treatments as much whatever the covariates; None if there is
        nothing to test, or z and X explain the treatments exactly.
    effects : HypothesisTest or None
        That effects do not differ by the covariates: over-identification by instruments x
        covariates. None unless there are as many instruments as treatments, rows or clusters
        enough, and an outcome that treatments and covariates do not explain exactly.
    strata : DataFrame or None
        With saturated covariates of up to 50 distinct rows, one instrument and one treatment, a row
        for each: rows, mean of the instrument, first stage (share of compliers), weight in 2SLS and
        effect. The sum of weight x effect is the 2SLS estimate. What cannot be told is NaN: first
        stage and effect where the instrument does not vary, an effect without a first stage, and
        weights if there is none anywhere.
    size : float
        Of each test.
    """

    treatments: tuple[str, ...]
    assignment: HypothesisTest | None
    first_stage: HypothesisTest | None
    effects: HypothesisTest | None
    strata: pd.DataFrame | None
    size: float

    @property
    def weighted(self) -> bool:
        """Whether 2SLS may deviate from the compliers' average.

        That takes both: assignment that depends on the covariates, and shares or effects that
        differ by them.
        """
        return self._rejects(self.assignment) and any(map(self._rejects, self._differ))

    @property
    def _differ(self) -> tuple[HypothesisTest | None, HypothesisTest | None]:
        return self.first_stage, self.effects

    def _rejects(self, test: HypothesisTest | None) -> bool:
        return test is not None and test.p_value < self.size

    @property
    def statement(self) -> str:
        """What the 2SLS estimate is an average of."""
        if not self._rejects(self.assignment):
            return (
                "Assignment does not depend on the covariates as far as the test sees: 2SLS weighs "
                "effects as the compliers' average does."
            )
        if not self.weighted:
            return (
                "Assignment depends on the covariates, but neither first stage nor effects differ "
                "by them as far as the tests see: any weights give the same average."
            )
        what = "the first stage differs" if self._rejects(self.first_stage) else "effects differ"
        return (
            f"Assignment depends on the covariates and {what} by them: 2SLS is a mean of the "
            f"effects given x, weighted by {WEIGHTS}, and not the compliers' average. Report "
            "complier_effects, or fit by stratum."
        )

    @property
    def tests(self) -> tuple[HypothesisTest, ...]:
        """Those that apply."""
        return tuple(test for test in (self.assignment, *self._differ) if test is not None)

    def to_frame(self) -> pd.DataFrame:
        """One row for each test; columns null, statistic, dof and p_value."""
        rows = [(one.name, one.null, one.statistic, one.dof, one.p_value) for one in self.tests]
        columns = ["name", "null", "statistic", "dof", "p_value"]
        return pd.DataFrame(rows, columns=columns).set_index("name")

    def _blocks(self) -> Iterator[Block]:
        title = f"How the effect of {', '.join(self.treatments)} is averaged"
        yield Paragraph(title), *(Paragraph(str(one)) for one in self.tests)
        if self.strata is not None:
            yield (Table(self.strata, "%.4g"),)
        yield (Paragraph(self.statement),)


def effect_weighting(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
    size: float = SIZE,
) -> EffectWeighting:
    r"""Test whether assignment, first stage and effects differ by the covariates.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays; it must have its rows.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments.
    X : array-like of shape (n_rows, P)
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them the tests allow for unequal variances.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.
    size : float, default=0.05
        Of each test, for `weighted` and `statement`.

    Returns
    -------
    EffectWeighting

    Raises
    ------
    ValueError
        If there are no covariates, no rows, or too few clusters.

    Notes
    -----
    Where E[z | x] is linear, as with saturated X, 2SLS with one instrument is

    .. math::
        \frac{E[\operatorname{Var}(z \mid x)\, s(x)\, \beta(x)]}
             {E[\operatorname{Var}(z \mid x)\, s(x)]},

    s(x) the share of compliers (in general how far z moves treatment) and β(x) their effect [1]_
    [2]_. The compliers' own average has no Var(z | x). So they differ only if assignment depends on
    x *and* shares or effects do. The tests see what is linear in X: of strata, pass dummies.

    References
    ----------
    .. [1] Angrist, J. D. and Imbens, G. W. (1995). Two-stage least squares estimation of average
       causal effects in models with variable treatment intensity. Journal of the American
       Statistical Association 90, 431-442.
    .. [2] Sloczynski, T. (2022). When should we (not) interpret linear IV estimands as LATE?
       arXiv:2011.06695.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import effect_weighting
    >>> stratum = np.repeat([0, 1], 500)
    >>> i = np.arange(1000)
    >>> z = np.where(stratum, i % 2, i % 10 > 0)
    >>> t = z * np.where(stratum, i % 3 == 0, i % 7 > 0)
    >>> y = np.where(stratum, 2.0, 0.5) * t + i % 11 / 10
    >>> found = effect_weighting(y, t, z, stratum)
    >>> print(found.assignment)
    z on X: chi2(1) = 190.5, p = 2.503e-43 (null: assignment does not depend on x)
    >>> found.strata[["first stage", "weight", "effect"]].round(2).to_numpy()
    array([[0.86, 0.48, 0.47],
           [0.34, 0.52, 2.01]])
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
    check_level(size, "size")
    require_covariates(design)
    return weighting_of_rows(design, size=size)


def weighting_of_rows(design: RowDesign, *, size: float = SIZE) -> EffectWeighting:
    """How assignment, first stage and effects differ by the covariates, in checked rows."""
    return EffectWeighting(
        treatments=design.data.columns.treatments,
        assignment=assignment_test(design),
        first_stage=first_stage_test(design),
        effects=effects_test(design),
        strata=_strata(design),
        size=size,
    )


def assignment_test(design: RowDesign) -> HypothesisTest | None:
    """Test that the instruments do not depend on the covariates."""
    scores = scores_of(design, design.x, design.z, design.constant)
    return score_test("z on X", "assignment does not depend on x", design, scores)


def first_stage_test(design: RowDesign) -> HypothesisTest | None:
    """Test that instruments x covariates add nothing to the first stage."""
    controls = np.hstack([design.controls, design.beside(design.z, design.controls)])
    scores = scores_of(design, _interactions(design), design.t, controls)
    return score_test("t on z x X", "the first stage does not differ by x", design, scores)


def effects_test(design: RowDesign) -> HypothesisTest | None:
    """Test that instruments x covariates agree on the effects.

    None if they add nothing, if t and X explain y exactly, or if rows or clusters are too few.
    """
    z = design.standard(design.z)
    if z.shape[1] != design.t.shape[1]:
        return None
    controls = np.hstack([design.controls, design.beside(z, design.controls)])
    added = design.beside(_interactions(design), controls)
    t, y = design.standard(design.t), design.standard(design.y[:, None])
    regressors = np.hstack([design.controls, design.beside(t, design.controls)])
    if not added.shape[1] or not design.beside(y, regressors).shape[1]:
        return None
    names = tuple(f"z{i}" for i in range(z.shape[1] + added.shape[1]))
    columns = replace(design.data.columns, instruments=names)
    z = np.hstack([z, added * np.sqrt(design.n)])
    data = replace(design.data, z=z, t=t, y=y[:, 0], columns=columns)
    equation = Equation.from_data(data, fit_intercept=design.fit_intercept)
    try:
        found = wooldridge_overid(partial_equation(equation, checked=True))
    except (ValueError, np.linalg.LinAlgError):
        return None
    return replace(found, name="y on t by z x X", null="effects do not differ by x")


def _interactions(design: RowDesign) -> Array:
    """Products of instruments and covariates about their means, shape (n, Q P)."""
    x, z = design.standard(design.x), design.standard(design.z)
    return np.asarray((z[:, :, None] * x[:, None, :]).reshape(len(x), -1))


def _strata(design: RowDesign) -> pd.DataFrame | None:
    """Weights and effects by stratum, where 2SLS is their sum of products."""
    if design.z.shape[1] != 1 or design.t.shape[1] != 1 or design.controls.shape[1] > MOST_STRATA:
        return None
    codes = saturated(design)
    if codes is None:
        return None
    w = design.weight
    rows = np.bincount(codes, w)

    def mean(values: Array) -> Array:
        return np.asarray(np.bincount(codes, w * values) / rows)

    z, t, y = design.about_mean(np.column_stack([design.z, design.t, design.y])).T
    z_size = design.total(z**2)
    z, t, y = (part - mean(part)[codes] for part in (z, t, y))
    varies, moved, gained = (np.bincount(codes, w * z * part) for part in (z, t, y))
    some = varies > 1e-12 * z_size
    moved, gained, varies = (np.where(some, part, 0.0) for part in (moved, gained, varies))
    first = np.unique(codes, return_index=True)[1]
    names = list(design.data.columns.covariates)
    cells = pd.DataFrame(design.x[first], columns=names)
    cells = cells.astype(int) if (cells == cells.round()).to_numpy().all() else cells
    index = pd.MultiIndex.from_frame(cells) if len(names) > 1 else pd.Index(cells[names[0]])
    values = {
        "rows": rows,
        "mean z": mean(design.z[:, 0]),
        "first stage": _divided(moved, varies),
        "weight": _divided(moved, moved.sum()),
        "effect": _divided(gained, moved),
    }
    return pd.DataFrame(values, index=index)


def _divided(over: Array, under: Any) -> Array:
    """A ratio, NaN where what is below is zero."""
    return np.asarray(over / np.where(under == 0.0, np.nan, under))

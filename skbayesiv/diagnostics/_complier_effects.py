"""Effects on compliers when assignment depends on the covariates: Abadie's weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from skbayesiv._data.checks import check_level
from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._partial import Partialled
from skbayesiv.diagnostics._report import Block, Paragraph, Report, Table
from skbayesiv.diagnostics._reweighting import Reweighting
from skbayesiv.diagnostics._row_design import RowDesign, row_design


@dataclass(frozen=True)
class Reweighted:
    """An estimate with its normal interval.

    Attributes
    ----------
    estimate, std_error : float
        The standard error allows for unequal variances (and clusters), and for the estimation of
        the propensity.
    level : float
        Probability of the interval.
    """

    estimate: float
    std_error: float
    level: float

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        reach = float(ndtri((1.0 + self.level) / 2)) * self.std_error
        return self.estimate - reach, self.estimate + reach

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.estimate:.4g} [{low:.4g}, {high:.4g}]"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ComplierEffects(Report):
    """Mean effects on compliers, by reweighting.

    Attributes
    ----------
    compliers : Reweighted
        Effect on all compliers, in units of the outcome; of a treatment that is not coded 0 and 1,
        effect of one unit of treatment, averaged over whom the assignment moves by how much it
        does (average causal response).
    treated : Reweighted
        Effect on compliers who were assigned to what raises uptake, and so treated. Where nobody
        is treated without assignment they are all the treated.
    untreated : Reweighted
        Effect on compliers who were not. Where everybody is treated with assignment they are all
        the untreated.
    share : Reweighted
        Share of compliers; of a treatment that is not coded 0 and 1, how far the assignment moves
        its mean.
    baseline : Reweighted or None
        Mean outcome of compliers without treatment; None if the treatment is not coded 0 and 1.
    treatment : str
        Its name.
    propensity : {"cells", "logit"}
        How the probability of assignment was estimated.
    n_cells : int or None
        Number of cells of X, with cells.
    """

    compliers: Reweighted
    treated: Reweighted
    untreated: Reweighted
    share: Reweighted
    baseline: Reweighted | None
    treatment: str
    propensity: str
    n_cells: int | None

    @property
    def binary(self) -> bool:
        """Whether the treatment is coded 0 and 1."""
        return self.baseline is not None

    def lines(self) -> Iterator[tuple[str, Reweighted]]:
        """Estimates by name."""
        yield "effect on compliers", self.compliers
        yield "effect on treated compliers", self.treated
        yield "effect on untreated compliers", self.untreated
        yield ("complier share" if self.binary else "first stage"), self.share
        if self.baseline is not None:
            yield "complier baseline", self.baseline

    def to_frame(self) -> pd.DataFrame:
        """One row for each estimate; columns estimate, std_err, lower, upper."""
        rows = {name: (one.estimate, one.std_error, *one.interval) for name, one in self.lines()}
        columns = ["estimate", "std_err", "lower", "upper"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    def _blocks(self) -> Iterator[Block]:
        how = "a logistic regression on X"
        if self.propensity == "cells":
            how = f"the shares in {self.n_cells} cells of X" if self.n_cells != 1 else "its share"
        title = (
            f"Compliers with {self.treatment}, reweighted by the probability of assignment: {how}"
        )
        yield Paragraph(title), Table(self.to_frame(), "%.4g")


def complier_effects(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    propensity: str = "auto",
    level: float = 0.95,
) -> ComplierEffects:
    r"""Mean effects on compliers, and their share, by inverse-propensity weights.

    2SLS with covariates averages the effects with weights that favour covariates at which
    assignment varies most; these are the compliers' own averages.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays; it must have its rows.
    t : array-like of shape (n_rows,)
        One treatment.
    z : array-like of shape (n_rows,)
        One assignment of two values, of which the larger counts as assigned, unless it is the
        smaller one that raises the treatment.
    X : array-like of shape (n_rows, P), optional
        Covariates, given which assignment is as good as random. A constant is added.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels.
    propensity : {"auto", "cells", "logit"}, default="auto"
        Probability of assignment: the share assigned in each cell of rows with the same X, or a
        logistic regression on (1, X). By default cells where (1, X) tells all of them apart, as
        dummies of strata do, or where they have 20 rows or more on average and both arms each.
    level : float, default=0.95
        Probability of the intervals.

    Returns
    -------
    ComplierEffects

    Raises
    ------
    ValueError
        If z has not two values or does not move t, if one cell has one arm only or assignment is
        certain for some rows, or if there are no rows.

    Notes
    -----
    With e the propensity, the effect on compliers is the ratio of the differences in y and t of

    .. math::
        \frac{\sum_i w_i z_i a_i / e_i}{\sum_i w_i z_i / e_i} -
        \frac{\sum_i w_i (1 - z_i) a_i / (1 - e_i)}{\sum_i w_i (1 - z_i) / (1 - e_i)},

    normalised as [3]_ recommend, since without it the estimate depends on the origin of y. On
    treated compliers all weights are multiplied by e_i, on untreated ones by 1 - e_i [2]_. With the
    weight e_i (1 - e_i) it would be 2SLS with saturated X. Standard errors are those of the stacked
    moment conditions, those of the propensity among them.

    References
    ----------
    .. [1] Abadie, A. (2003). Semiparametric instrumental variable estimation of treatment response
       models. Journal of Econometrics 113, 231-263.
    .. [2] Frolich, M. (2007). Nonparametric IV estimation of local average treatment effects with
       covariates. Journal of Econometrics 139, 35-75.
    .. [3] Sloczynski, T., Uysal, S. D. and Wooldridge, J. M. (2025). Abadie's kappa and weighting
       estimators of the local average treatment effect. Journal of Business and Economic
       Statistics 43, 164-177.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import complier_effects
    >>> stratum = np.repeat([0, 1], 100)
    >>> z = np.where(stratum, np.arange(200) % 2, np.arange(200) % 5 == 0)
    >>> t = z * np.where(stratum, np.arange(200) % 3 > 0, np.arange(200) % 10 > 0)
    >>> y = np.where(stratum, 2.0, 1.0) * t + np.arange(200) % 7 / 10
    >>> effects = complier_effects(y, t, z, stratum)
    >>> print(effects.compliers)
    1.589 [1.417, 1.76]
    """
    design = row_design(
        y, t, z, X, sample_weight=sample_weight, clusters=clusters, fit_intercept=True
    )
    check_level(level)
    return effects_of_rows(design, kind=propensity, level=level)


def effects_of_rows(
    design: RowDesign, *, kind: str = "auto", level: float = 0.95
) -> ComplierEffects:
    """Mean effects on compliers in checked rows."""
    if design.t.shape[1] != 1:
        raise ValueError(
            f"t must be one treatment for complier effects, got {design.t.shape[1]} columns."
        )
    weights = Reweighting.of(design, kind)
    y, t = design.about_mean(design.y), design.t[:, 0]
    mean = design.y[0] - y[0]
    moved, influence = weights.difference(design.t, "all")
    up = bool(moved[0] >= 0.0)
    raised, others = ("assigned", "not assigned") if up else ("not assigned", "assigned")

    def found(estimate: float, influence: Array, origin: float = 0.0) -> Reweighted:
        size = design.sizes(influence)  # whose square may be no number
        variance = design.covariance((influence / size).reshape(-1, 1))[0, 0]
        return Reweighted(float(estimate + origin), float(size * np.sqrt(variance)), level)

    binary = bool(np.isin(t, (0.0, 1.0)).all())
    return ComplierEffects(
        compliers=found(*weights.ratio(y, t, "all")),
        treated=found(*weights.ratio(y, t, raised)),
        untreated=found(*weights.ratio(y, t, others)),
        share=found(abs(moved[0]), influence[:, 0]),
        baseline=found(*weights.ratio(y * (1.0 - t), 1.0 - t, "all"), mean) if binary else None,
        treatment=design.data.columns.treatments[0],
        propensity=weights.propensity.kind,
        n_cells=weights.propensity.n_cells,
    )

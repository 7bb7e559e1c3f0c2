"""Test that the instruments' mean given the covariates is linear in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skbayesiv._typing import Array, Codes
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._partial import Partialled
from skbayesiv.diagnostics._results import HypothesisTest
from skbayesiv.diagnostics._row_design import RowDesign, distinct_rows, row_design
from skbayesiv.diagnostics._score_test import score_test, scores_of

POWERS = (2, 3)
NAME, NULL = "RESET of z on X", "E[z | x] is linear in x"
NO_CONSTANT = (
    "fit_intercept must be True, or X have columns that add up to a constant, for a test of how z "
    "or t depends on X; got fit_intercept=False."
)
SATURATED = "saturated: E[z | x] is linear by construction"


@dataclass(frozen=True)
class InstrumentLinearity:
    """Whether the mean of the instruments is linear in the covariates.

    Attributes
    ----------
    test : HypothesisTest or None
        None if there is nothing to test.
    saturated : bool
        Whether (1, X) tells all distinct rows of X apart, so that any function of them is linear.
    """

    test: HypothesisTest | None
    saturated: bool

    def __str__(self) -> str:
        if self.test is not None:
            return str(self.test)
        why = SATURATED if self.saturated else "nothing to test: X hardly explains z"
        return f"{NAME}: {why}"


def instrument_linearity(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
) -> InstrumentLinearity:
    """RESET test that E[z | x] is linear, without which 2SLS is no mean of effects on compliers.

    Where the instruments' mean is a curve in the covariates, what a linear regression leaves of
    them still depends on the covariates, and so do outcomes of those whom no instrument moves. 2SLS
    then has their outcomes in it, and some effects with negative weights.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome, which is not used.
        An estimator or a partialled design takes the place of all arrays; it must have its rows.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments, which are not used.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments.
    X : array-like of shape (n_rows, P)
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels; without them the test allows for unequal variances.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.

    Returns
    -------
    InstrumentLinearity
        Score test, robust to unequal variances, that squares and cubes of the fitted values of z
        add nothing to its regression on (1, X); two degrees of freedom for each instrument.

    Raises
    ------
    ValueError
        If there are no covariates, or no rows.

    Notes
    -----
    It sees curves in the direction that a linear regression finds, not those orthogonal to it. With
    saturated covariates, such as dummies of all strata, there is nothing to test. Where it rejects,
    add powers and products of the covariates, or cut them into strata.

    References
    ----------
    Blandhol, C., Bonney, J., Mogstad, M. and Torgovitsky, A. (2022). When is TSLS actually LATE?
    NBER Working Paper 29709.

    Ramsey, J. B. (1969). Tests for specification errors in classical linear least-squares
    regression analysis. Journal of the Royal Statistical Society B 31, 350-371.

    Sloczynski, T. (2022). When should we (not) interpret linear IV estimands as LATE?
    arXiv:2011.06695.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import instrument_linearity
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=1000)
    >>> z = rng.random(1000) < 1.0 / (1.0 + np.exp(-3.0 * x))
    >>> t = z * (rng.random(1000) < 0.6)
    >>> print(instrument_linearity(t + x, t, z, x))
    RESET of z on X: chi2(2) = 33.39, p = 5.63e-08 (null: E[z | x] is linear in x)
    >>> print(instrument_linearity(t + x, t, z, x > 0))
    RESET of z on X: saturated: E[z | x] is linear by construction
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
    require_covariates(design)
    return linearity_of_rows(design)


def linearity_of_rows(design: RowDesign) -> InstrumentLinearity:
    """RESET test of checked rows."""
    if saturated(design) is not None:
        return InstrumentLinearity(None, saturated=True)
    return InstrumentLinearity(reset_test(design), saturated=False)


def reset_test(design: RowDesign) -> HypothesisTest | None:
    """The test, or None where powers of the fitted values add nothing."""
    parts = [
        scores_of(design, powers, z, design.controls)
        for powers, z in zip(fitted_powers(design), design.z.T[:, :, None], strict=True)
    ]
    return score_test(NAME, NULL, design, np.hstack(parts))


def fitted_powers(design: RowDesign) -> list[Array]:
    """Powers (n, 2) of the fitted values of each instrument, about their mean."""
    z = design.standard(design.z)
    fitted = design.about_mean(z - design.residual(z, design.controls))
    size = np.sqrt(design.total(fitted**2) / design.n)
    unit = np.divide(fitted, size, out=np.zeros_like(fitted), where=size > 1e-7)
    return [np.column_stack([column**power for power in POWERS]) for column in unit.T]


def saturated(design: RowDesign) -> Codes | None:
    """Cell of each row if (1, X) tells all distinct rows of X apart, else None."""
    rank = design.controls.shape[1]
    codes = distinct_rows(design.x, rank)
    return codes if codes is not None and int(codes.max()) + 1 == rank else None


def require_covariates(design: RowDesign) -> None:
    """Raise unless there are covariates beside a constant."""
    if not design.data.columns.covariates:
        raise ValueError(
            "X must have a covariate for a test of how z or t depends on it; got none. Without "
            "covariates there is nothing to test."
        )
    if not design.has_constant:
        raise ValueError(NO_CONSTANT)

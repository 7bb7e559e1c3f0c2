"""The table of an instrumental-variables estimate, beside least squares and its instruments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from skbayesiv._linear.equation import Equation
from skbayesiv._reports.caveats import caveats
from skbayesiv._reports.coefficients import CoefficientTable
from skbayesiv._reports.regressions import (
    Regression,
    RegressionTable,
    least_squares_regressions,
    regression_table,
)
from skbayesiv.diagnostics import InstrumentStrength
from skbayesiv.diagnostics._report import Block, Paragraph, Report
from skbayesiv.diagnostics._strength import strength_of_rows
from skbayesiv.exceptions import InferenceWarning


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class IVSummary(Report):
    """What an applied reader looks for in an instrumental-variables estimate.

    Attributes
    ----------
    coefficients : CoefficientTable
        Of the estimate itself.
    regressions : RegressionTable
        OLS, reduced form, first stage and the estimate side by side.
    strength : InstrumentStrength or None
        How strong the instruments are, and what does not need them strong.
    note : str
        Why there is no `strength`, when there is none.
    warnings : tuple of InferenceWarning
        Why an interval is not what it promises.
    """

    coefficients: CoefficientTable
    regressions: RegressionTable
    strength: InstrumentStrength | None
    note: str = ""
    warnings: tuple[InferenceWarning, ...] = ()

    @property
    def title(self) -> str:
        """What was estimated, from what."""
        return self.coefficients.title

    @property
    def table(self) -> pd.DataFrame:
        """Coefficients of the estimate, at full precision."""
        return self.coefficients.table

    def to_frame(self) -> pd.DataFrame:
        """Return `table`."""
        return self.table

    def _blocks(self) -> Iterator[Block]:
        yield (self.coefficients,)
        yield from caveats(self.warnings)
        yield (self.regressions,)
        yield (Paragraph(self.note) if self.strength is None else self.strength,)


def iv_summary(
    coefficients: CoefficientTable,
    equation: Equation,
    method: str,
    *,
    level: float,
    debiased: bool,
    found: tuple[InferenceWarning, ...] = (),
) -> IVSummary:
    """Put a table of coefficients beside least squares and the instruments' strength.

    Parameters
    ----------
    coefficients : CoefficientTable
    equation : Equation
        What they were estimated from.
    method : str
        Name of the estimate.
    level : float
        Of the Anderson-Rubin set.
    debiased : bool
    found : tuple of InferenceWarning
        What the fit warned of.
    """
    c, table = equation.columns, coefficients.table
    own = Regression(
        name=method,
        outcome=c.outcome,
        regressors=tuple(table.index),
        params=table["estimate"].to_numpy(),
        std_errors=table["std_err"].to_numpy(),
    )
    regressions = [*least_squares_regressions(equation, debiased=debiased), own]
    constant = ["Intercept"] * len(equation.constant)
    order = [*constant, *c.treatments, *c.instruments, *c.covariates]
    strength, note = strength_or_reason(equation, level=level, debiased=debiased)
    return IVSummary(
        coefficients=coefficients,
        regressions=regression_table(regressions, order),
        strength=strength,
        note=note,
        warnings=found,
    )


def strength_or_reason(
    equation: Equation, *, level: float, debiased: bool
) -> tuple[InstrumentStrength | None, str]:
    """Strength of the instruments, or None and why: too few rows or clusters."""
    try:
        return strength_of_rows(equation, level=level, debiased=debiased), ""
    except ValueError as error:
        return None, f"Instruments: not computed: {error}"

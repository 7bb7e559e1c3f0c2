"""The regressions around an instrumental-variables estimate: OLS, reduced form, first stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skbayesiv._linear import estimate as linear
from skbayesiv._linear.equation import Equation
from skbayesiv._reports.coefficients import format_number
from skbayesiv._typing import Array
from skbayesiv.diagnostics._report import Block, Report, Table

MAX_PRINTED = 20
ROUNDING = 1e-12  # a coefficient this small relative to the outcome is zero


@dataclass(frozen=True, eq=False, kw_only=True)
class Regression:
    """One regression: what it explains, by what, with which coefficients.

    Attributes
    ----------
    fit : Estimate or None
        What says how precise its standard errors are; None of the estimate itself.
    """

    name: str
    outcome: str
    regressors: tuple[str, ...]
    params: Array
    std_errors: Array
    fit: linear.Estimate | None = None

    @property
    def dof(self) -> Array:
        """Degrees of freedom of each coefficient, for which rows may be read."""
        dof = np.inf if self.fit is None else self.fit.dof
        return np.broadcast_to(dof, self.params.shape)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class RegressionTable(Report):
    """Regressions side by side.

    Attributes
    ----------
    table : DataFrame
        One row for each regressor; columns (regression, estimate) and (regression, std_err), NaN
        where the regressor is not in the regression.
    outcomes : dict of str to str
        What each regression explains.
    """

    table: pd.DataFrame
    outcomes: dict[str, str]

    def to_frame(self) -> pd.DataFrame:
        """Return `table`."""
        return self.table

    def _blocks(self) -> Iterator[Block]:
        yield (Table(self._printed()),)

    def _printed(self) -> pd.DataFrame:
        """Standard errors in brackets beneath the estimates."""
        rows: list[list[str]] = [list(self.outcomes.values())]
        labels = [""]
        for name in self.table.index[:MAX_PRINTED]:
            cells = [self.table.loc[name, regression] for regression in self.outcomes]
            rows.append([_number(cell["estimate"]) for cell in cells])
            rows.append([_number(cell["std_err"], "({})") for cell in cells])
            labels += [name, ""]
        left = len(self.table) - MAX_PRINTED
        if left > 0:
            rows.append([""] * len(self.outcomes))
            labels.append(f"and {left} more in the attribute table")
        return pd.DataFrame(rows, index=labels, columns=list(self.outcomes))


type _Wanted = tuple[str, str, tuple[str, ...]]


def least_squares_regressions(equation: Equation, *, debiased: bool) -> list[Regression]:
    """OLS, reduced form and first stages, with standard errors as the equation's."""
    c = equation.columns
    ols = ("OLS", c.outcome, c.treatments)
    return _least_squares(equation, [ols, *_on_instruments(equation)], debiased=debiased)


def instrument_regressions(equation: Equation, *, debiased: bool) -> list[Regression]:
    """Reduced form and first stages, whose scores do not need those of the treatments."""
    return _least_squares(equation, [*_on_instruments(equation)], debiased=debiased)


def _on_instruments(equation: Equation) -> Iterator[_Wanted]:
    c = equation.columns
    yield "Reduced form", c.outcome, c.instruments
    several = len(c.treatments) > 1
    for treatment in c.treatments:
        name = f"First stage: {treatment}" if several else "First stage"
        yield name, treatment, c.instruments


def _least_squares(
    equation: Equation, wanted: list[_Wanted], *, debiased: bool
) -> list[Regression]:
    """Regressions by name, outcome and first regressors; rows are read once."""
    models = [linear.Regression.of(equation, outcome, on) for _, outcome, on in wanted]
    fits = linear.direct_estimates(equation, models, debiased=debiased)
    return [
        _regression(name, outcome, equation, model, fit)
        for (name, outcome, _), model, fit in zip(wanted, models, fits, strict=True)
    ]


def regression_table(regressions: list[Regression], order: list[str]) -> RegressionTable:
    """Regressions side by side, the regressors in the given order."""
    columns = {}
    for regression in regressions:
        values = {"estimate": regression.params, "std_err": regression.std_errors}
        for label, column in values.items():
            columns[regression.name, label] = pd.Series(column, index=regression.regressors)
    table = pd.DataFrame(columns).reindex(order)
    return RegressionTable(table=table, outcomes={r.name: r.outcome for r in regressions})


def _regression(
    name: str, outcome: str, equation: Equation, model: linear.Regression, fit: linear.Estimate
) -> Regression:
    """What is zero beside the sizes of outcome and regressors is set to zero."""
    origin = np.append(0.0, equation.origin)
    size = np.diag(equation.second) + equation.n * origin**2
    size = np.sqrt(size[model.x] / (size[model.outcome] or 1.0))
    params, errors = (
        np.where(np.abs(part) * size < ROUNDING, 0.0, part) for part in (fit.params, fit.std_errors)
    )
    return Regression(
        name=name,
        outcome=outcome,
        regressors=model.names,
        params=params,
        std_errors=errors,
        fit=fit,
    )


def _number(value: float, frame: str = "{}") -> str:
    return "" if value != value else frame.format(format_number(value))

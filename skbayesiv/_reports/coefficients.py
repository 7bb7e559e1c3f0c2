"""Tables of coefficients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from skbayesiv._data.checks import check_level
from skbayesiv._typing import Array
from skbayesiv.diagnostics._report import Block, Paragraph, Report, Table

DECIMALS = 4


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CoefficientTable(Report):
    """Estimates with standard errors, tests and intervals.

    Attributes
    ----------
    title : str
        What was estimated, from what.
    given : str
        Which covariates there were.
    table : DataFrame
        One row for each coefficient; the columns are estimate, std_err, t_stat, p_value, lower
        and upper, at full precision.
    """

    title: str
    given: str
    table: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return `table`."""
        return self.table

    def _blocks(self) -> Iterator[Block]:
        p_value = self.table["p_value"].map(f"{{:.{DECIMALS}f}}".format)
        printed = self.table.map(format_number).assign(p_value=p_value)
        yield Paragraph(self.title), Paragraph(self.given), Table(printed)


def coefficient_table(
    title: str,
    names: Sequence[str],
    estimate: Array,
    std_errors: Array,
    *,
    dof: float | Array,
    level: float,
    given: str = "",
) -> CoefficientTable:
    """Table of normal or t statistics (`dof` finite) and intervals of probability `level`.

    `dof` is one number, or one for each coefficient.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # an exact fit has no standard error
        t_stat = estimate / std_errors
    reach = interval_reach(dof, level) * std_errors
    values = {
        "estimate": estimate,
        "std_err": std_errors,
        "t_stat": t_stat,
        "p_value": 2.0 * stats.t.sf(np.abs(t_stat), dof),
        "lower": estimate - reach,
        "upper": estimate + reach,
    }
    return CoefficientTable(title=title, given=given, table=pd.DataFrame(values, index=names))


def interval_reach(dof: float | Array, level: float) -> Array:
    """Half the width of an interval, in standard errors; normal when `dof` is infinite.

    It has the shape of `dof`.
    """
    check_level(level)
    return np.asarray(stats.t.ppf((1.0 + level) / 2.0, dof))


def format_number(value: float) -> str:
    """Five significant digits, but four decimals below 1 and exponents for extremes.

    Examples
    --------
    >>> [format_number(value) for value in (69.29167, -17.44, 0.3624, 2.36, 123456.0, 1e-6)]
    ['69.292', '-17.440', '0.3624', '2.3600', '1.235e+05', '1e-06']
    """
    if value == 0.0 or not math.isfinite(value):
        return f"{value:.{DECIMALS}f}"
    digits = math.ceil(math.log10(abs(value)))
    if not -DECIMALS < digits <= DECIMALS:
        return f"{value:.{DECIMALS}g}"
    return f"{value:.{DECIMALS + 1 - max(digits, 1)}f}"

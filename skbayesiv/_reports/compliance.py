"""Who took the treatment: arms of an experiment, and whose effect its instrument identifies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from skbayesiv._data.moments import Moments
from skbayesiv._linear.equation import Equation
from skbayesiv.diagnostics._partial import partial_equation

NOBODY = 1e-9

STATEMENTS = {
    "treated": (
        "One-sided non-compliance: nobody was treated {without}. All treated are compliers, so "
        "the effect on compliers is the effect on the treated."
    ),
    "untreated": (
        "One-sided non-compliance: everybody {with_} was treated. All untreated are compliers, "
        "so the effect on compliers is the effect on the untreated."
    ),
    "all": "Everybody complied: the effect on compliers is the average effect.",
    "compliers": (
        "Two-sided non-compliance: the effect is that on compliers, who take the treatment "
        "{with_} and not {without}. It supposes that nobody does the opposite."
    ),
    "general": (
        "There is not one assignment of two values (0 and 1, where there are no rows) and one "
        "treatment coded 0 and 1: the effect is an average of effects, weighted by how much the "
        "instruments move each person's treatment."
    ),
    "no intercept": (
        "The model has no intercept (fit_intercept=False), so that those assigned are not compared "
        "with those who are not: the estimate is not the effect on compliers."
    ),
}
# Where the estimate is no average over compliers: who they are all the same.
WHO = {
    "treated": (
        "One-sided non-compliance: nobody was treated {without}. All treated are compliers, so the "
        "effect on treated compliers is the effect on the treated."
    ),
    "untreated": (
        "One-sided non-compliance: everybody {with_} was treated. All untreated are compliers, so "
        "the effect on untreated compliers is the effect on the untreated."
    ),
    "all": "Everybody complied.",
    "compliers": (
        "Two-sided non-compliance: compliers take the treatment {with_} and not {without}. It is "
        "supposed that nobody does the opposite."
    ),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Compliance:
    """Arms and compliance of an experiment.

    Attributes
    ----------
    kind : {"one-sided", "two-sided", "full", "general"}
    statement : str
    arms : DataFrame or None
        Rows, uptake (or mean of a treatment that is not coded 0 and 1) and mean outcome by
        assignment, when there is one of two values.
    flipped : bool
        Whether it is the smaller value of the assignment that raises the uptake.
    unit : float
        Distance between the two values, by which effects of the assignment compare arms.
    who : str
        Who the compliers are, whatever the estimate is an average over.
    weighted : bool
        Whether the estimate is no average over compliers, for covariates weigh their effects.
    """

    kind: str
    statement: str
    arms: pd.DataFrame | None
    flipped: bool = False
    unit: float = 1.0
    who: str = ""
    weighted: bool = False

    @property
    def compliers(self) -> bool:
        """Whether the effect is that on compliers."""
        return self.kind != "general" and not self.weighted

    @property
    def high_is_everybody(self) -> bool:
        """Whether everybody was treated in one arm, and not nobody in the other."""
        if self.kind != "one-sided" or self.arms is None:
            return False
        return float(self.arms["uptake"].max()) > 1.0 - NOBODY

    def weighted_by(self, why: str) -> Compliance:
        """The same of an estimate that covariates make a weighted one, and why."""
        if self.kind == "general":
            return replace(self, statement=f"{self.statement} {why}")
        return replace(self, statement=f"{self.who} {why}", weighted=True)


def compliance(rows: Equation) -> Compliance:
    """Describe the compliance; moments suffice, since 0 and 1 are their own squares."""
    c = rows.columns
    one_treatment, one_instrument = len(c.treatments) == 1, len(c.instruments) == 1
    codes = _two_values(rows, c.z.start) if one_instrument else None
    if codes is None or not one_treatment:
        return Compliance(kind="general", statement=STATEMENTS["general"], arms=None)
    binary = _two_values(rows, c.t.start) == (0.0, 1.0)
    arms = _arms(rows.moments, codes, "uptake" if binary else f"mean {c.treatments[0]}")
    unit = codes[1] - codes[0] if rows.fit_intercept else 1.0
    if not binary or not rows.fit_intercept:
        why = "no intercept" if binary else "general"
        return Compliance(kind="general", statement=STATEMENTS[why], arms=arms, unit=unit)
    control, assigned = arms["uptake"]
    kind, whose = _kind(control, assigned)
    names = ["without assignment", "with assignment"]
    flipped = bool(control > assigned)
    without, with_ = names[::-1] if flipped else names
    statement, who = (
        text[whose].format(without=without, with_=with_) for text in (STATEMENTS, WHO)
    )
    return Compliance(
        kind=kind, statement=statement, arms=arms, flipped=flipped, unit=unit, who=who
    )


def assignment_by_moments(rows: Equation) -> float:
    """p-value that an assignment does not depend on the covariates, given their moments.

    n R2 is chi-square: where it does not depend on them its variance does not either.
    """
    c = rows.columns
    if len(c.instruments) != 1 or not c.covariates or not rows.fit_intercept:
        return 1.0
    p, at = partial_equation(rows, checked=True), 1 + c.z.start
    left = float(rows.squares(p.contrasts[:, :1])[0, 0]) / float(rows.second[at, at])
    return float(stats.chi2.sf(rows.n * (1.0 - left), p.n_controls - 1))


def _kind(control: float, assigned: float) -> tuple[str, str]:
    """Kind of compliance and whose effect is identified, from the uptake in the two arms."""
    low, high = sorted((control, assigned))
    nobody, everybody = low < NOBODY, high > 1.0 - NOBODY
    if nobody and everybody:
        return "full", "all"
    if nobody:
        return "one-sided", "treated"
    return ("one-sided", "untreated") if everybody else ("two-sided", "compliers")


def _two_values(rows: Equation, at: int) -> tuple[float, float] | None:
    """The two values of a column, or None; moments only tell whether they are 0 and 1."""
    if rows.rows is not None:
        values = rows.rows.column(at)
        low, high = float(values.min()), float(values.max())
        two = low < high and bool(np.isin(values, (low, high)).all())
        return (low, high) if two else None
    moments = rows.moments
    mean, variance = moments.mean[at], moments.scatter[at, at] / moments.weight
    two = 0.0 < mean < 1.0 and np.isclose(variance, mean * (1.0 - mean), rtol=1e-9)
    return (0.0, 1.0) if two else None


def _arms(moments: Moments, codes: tuple[float, float], treatment: str) -> pd.DataFrame:
    """Means by arm: m + (z - m_z) S_z. / S_zz for an assignment of two values."""
    c, mean, scatter = moments.columns, moments.mean, moments.scatter
    z = c.z.start
    slope = scatter[z] / scatter[z, z]
    low, high = (mean + (code - mean[z]) * slope for code in codes)
    share = (mean[z] - codes[0]) / (codes[1] - codes[0])
    t = c.t.start
    rounding = 1e-12 * np.sqrt(mean[t] ** 2 + scatter[t, t] / moments.weight)
    arms = {
        "rows": moments.weight * np.array([1.0 - share, share]),
        treatment: [row[t] if abs(row[t]) > rounding else 0.0 for row in (low, high)],
        f"mean {c.outcome}": [low[c.y], high[c.y]],
    }
    labels = [int(code) if code == int(code) else code for code in codes]
    return pd.DataFrame(arms, index=pd.Index(labels, name=c.instruments[0]))

"""Who took the treatment: arms of an experiment, and whose effect its instrument identifies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skbayesiv._equation import Equation
from skbayesiv._moments import Moments

if TYPE_CHECKING:
    import pandas as pd

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
        "Assignment and treatment are not one of each, coded 0 and 1: the effect is an average of "
        "effects, weighted by how much the instruments move each person's treatment."
    ),
}


@dataclass(frozen=True, eq=False)
class Compliance:
    """Arms and compliance of an experiment.

    Attributes
    ----------
    kind : {"one-sided", "two-sided", "full", "general"}
    statement : str
    arms : DataFrame or None
        Rows, uptake and mean outcome by assignment, when it is coded 0 and 1.
    binary_treatment : bool
        Whether there is one treatment, coded 0 and 1.
    """

    kind: str
    statement: str
    arms: pd.DataFrame | None
    binary_treatment: bool


def compliance(moments: Moments, rows: Equation) -> Compliance:
    """Describe the compliance; moments suffice, since 0 and 1 are their own squares."""
    c = moments.columns
    one_each = len(c.instruments) == 1 and len(c.treatments) == 1
    binary_t = len(c.treatments) == 1 and _is_binary(moments, c.t.start, rows, rows.endogenous)
    if not (one_each and _is_binary(moments, c.z.start, rows, rows.instruments)):
        return Compliance("general", STATEMENTS["general"], None, binary_t)
    arms = _arms(moments)
    if not binary_t:
        return Compliance("general", STATEMENTS["general"], arms, False)
    kind, whose = _kind(*arms["uptake"])
    names = ["without assignment", "with assignment"]
    if arms["uptake"].iloc[0] > arms["uptake"].iloc[1]:
        names = names[::-1]
    statement = STATEMENTS[whose].format(without=names[0], with_=names[1])
    return Compliance(kind, statement, arms, True)


def _kind(control: float, assigned: float) -> tuple[str, str]:
    """Kind of compliance and whose effect is identified, from the uptake in the two arms."""
    low, high = sorted((control, assigned))
    nobody, everybody = low < NOBODY, high > 1.0 - NOBODY
    if nobody and everybody:
        return "full", "all"
    if nobody:
        return "one-sided", "treated"
    return ("one-sided", "untreated") if everybody else ("two-sided", "compliers")


def _is_binary(moments: Moments, at: int, rows: Equation, values: np.ndarray) -> bool:
    if not rows.synthetic:
        return bool(np.isin(values[:, 0], (0.0, 1.0)).all())
    mean, variance = moments.mean[at], moments.scatter[at, at] / moments.weight
    return bool(0.0 < mean < 1.0 and np.isclose(variance, mean * (1.0 - mean), rtol=1e-9))


def _arms(moments: Moments) -> pd.DataFrame:
    """Means by arm: m + (z - p) S_z. / S_zz for an assignment of 0 and 1 with mean p."""
    import pandas as pd

    c, mean, scatter = moments.columns, moments.mean, moments.scatter
    z = c.z.start
    slope, p = scatter[z] / scatter[z, z], mean[z]
    values = [mean + (arm - p) * slope for arm in (0.0, 1.0)]
    uptake = [float(np.where(abs(row[c.t.start]) < 1e-12, 0.0, row[c.t.start])) for row in values]
    arms = {
        "rows": moments.weight * np.array([1.0 - p, p]),
        "uptake": uptake,
        f"mean {c.outcome}": [row[c.y] for row in values],
    }
    return pd.DataFrame(arms, index=pd.Index([0, 1], name=c.instruments[0]))

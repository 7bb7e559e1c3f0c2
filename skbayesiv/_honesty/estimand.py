"""Rows with covariates -> whether 2SLS is far from the compliers' average.

What is cheap is asked first: an assignment that does not depend on the covariates by the moments,
as one that was drawn at random, ends the search. Beyond that all must be beyond doubt, and matter:
the estimate that would be right must differ by more than chance, and by a part of a standard error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from scipy.special import chdtri

from skbayesiv._data.rows import IVData
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.sampled import SampledRows, sample_rows
from skbayesiv._linear.units import Rows
from skbayesiv._typing import Array
from skbayesiv.diagnostics._effect_weighting import (
    WEIGHTS,
    assignment_test,
    effects_test,
    first_stage_test,
)
from skbayesiv.diagnostics._instrument_linearity import fitted_powers, reset_test
from skbayesiv.diagnostics._results import HypothesisTest
from skbayesiv.diagnostics._reweighting import Reweighting
from skbayesiv.diagnostics._row_design import RowDesign
from skbayesiv.exceptions import EstimandWarning

SURE = 1e-3 / 4  # of each of four tests
APART = 3.5  # standard errors of the difference of two estimates, which is as sure
MATTERS = 0.5  # standard errors of the estimate
MOST_ROWS = 20_000
ROWS_EACH = 20  # for each covariate


@dataclass(frozen=True, eq=False)
class Estimate:
    """An effect and the influence (n,) of each row on it."""

    effect: float
    influence: Array


def weighted_effect(equation: Equation) -> tuple[EstimandWarning, ...]:
    """What is to be said of a fit with covariates, by the rows that are known of it."""
    if not may_be_weighted(equation):
        return ()
    data, share = _rows(equation)
    if data is None or len(equation.columns.covariates) * ROWS_EACH > data.n_rows:
        return ()
    design = RowDesign.of(data, fit_intercept=True)
    try:
        return tuple(islice(_found(design, share), 1))
    except (ValueError, np.linalg.LinAlgError):  # few clusters, one arm, no first stage
        return ()


def may_be_weighted(equation: Equation) -> bool:
    """Whether moments let an instrument depend on the covariates: n R2, chi-square if not.

    It is right where the instrument's variance does not depend on them either, and costs nothing.
    """
    c = equation.columns
    if not c.covariates or len(c.treatments) != 1 or not equation.fit_intercept:
        return False
    second = equation.second[1:, 1:]
    x, z = c.x, c.z
    scale = np.sqrt(np.diag(second))
    unit = np.where(scale > 0.0, scale, np.inf)
    s = second / np.outer(unit, unit)
    on_x = np.linalg.lstsq(s[x, x], s[x, z], rcond=1e-10)[0]
    r2 = (on_x * s[x, z]).sum(axis=0)
    bound = chdtri(len(c.covariates), SURE / len(c.instruments))
    return bool((equation.n * r2 > bound).any())


def _rows(equation: Equation) -> tuple[IVData | None, float]:
    """Rows that are looked at, and their share of all."""
    units = equation.units
    if isinstance(units, SampledRows):
        return units.drawn, min(units.drawn.n_rows / max(units.total, 1), 1.0)
    if isinstance(units, Rows):
        data = sample_rows(units.data, MOST_ROWS)
        return data, data.n_rows / units.data.n_rows
    return None, 1.0


def _found(design: RowDesign, share: float) -> Iterator[EstimandWarning]:
    """Weights that are not the compliers', or a mean of z that is not linear."""
    if _sure(assignment_test(design)):
        own = _two_stage(design, design.controls)
        yield from _weights(design, own, share)
        yield from _curve(design, own, share)


def _weights(design: RowDesign, own: Estimate, share: float) -> Iterator[EstimandWarning]:
    """First stage or effects differ by what assignment depends on, and so do the two averages."""
    if not design.two_arms:
        return
    differ = "the first stage" if _sure(first_stage_test(design)) else ""
    differ = differ or ("effects" if _sure(effects_test(design)) else "")
    if not differ:
        return
    other = Estimate(*Reweighting.of(design).ratio(design.y, design.t[:, 0], "all"))
    if far := _apart(design, own, other, share):
        yield EstimandWarning(
            "The estimate is not the effect on compliers but a mean of the effects given the "
            f"covariates, weighted by {WEIGHTS}: assignment depends on the covariates, and "
            f"{differ} too. {_by(design, share)} is {own.effect:.3g}, the effect on compliers "
            f"{other.effect:.3g}, {far:.2g} standard errors away: report "
            "skbayesiv.diagnostics.complier_effects, or fit by stratum."
        )


def _curve(design: RowDesign, own: Estimate, share: float) -> Iterator[EstimandWarning]:
    """E[z | x] is not linear, and with powers of its fitted values the estimate is another."""
    if not _sure(reset_test(design)):
        return
    powers = design.beside(np.hstack(fitted_powers(design)), design.controls)
    other = _two_stage(design, np.hstack([design.controls, powers]))
    if far := _apart(design, own, other, share):
        yield EstimandWarning(
            "The estimate is no mean of effects on compliers: E[z | x] is not linear in the "
            f"covariates. {_by(design, share)} is {own.effect:.3g}, and {other.effect:.3g} with "
            f"squares and cubes of the fitted instruments, {far:.2g} standard errors away: add "
            "powers and products of the covariates, or cut them into strata."
        )


def _by(design: RowDesign, share: float) -> str:
    """2SLS, and by how many rows if not by all."""
    return "2SLS" if share == 1.0 else f"By {design.data.n_rows:,} of the rows 2SLS"


def _sure(test: HypothesisTest | None) -> bool:
    return test is not None and test.p_value < SURE


def _two_stage(design: RowDesign, controls: Array) -> Estimate:
    """2SLS of one treatment, given orthonormal controls."""
    z = design.beside(design.z, controls)
    ty = design.residual(np.column_stack([design.t, design.y]), controls)
    on_z = z.T @ (ty * design.weight[:, None])
    moved = float(on_z[:, 0] @ on_z[:, 0])
    if not moved > 0.0:
        raise ValueError("t must be moved by z for an effect; its first stage is 0.")
    effect = float(on_z[:, 0] @ on_z[:, 1]) / moved
    return Estimate(effect, z @ on_z[:, 0] * (ty[:, 1] - effect * ty[:, 0]) / moved)


def _apart(design: RowDesign, own: Estimate, other: Estimate, share: float) -> float:
    """Distance of two estimates, in standard errors of the fit; 0 if it is chance or small."""
    influences = np.column_stack([own.influence, other.influence - own.influence])
    error, of_difference = np.sqrt(np.diag(design.covariance(influences)))
    difference = abs(other.effect - own.effect)
    if not error > 0.0 or difference <= APART * of_difference:
        return 0.0
    away = float(difference / (error * np.sqrt(share)))
    return away if away > MATTERS else 0.0

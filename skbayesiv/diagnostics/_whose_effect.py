"""All that the rows say of whose effect an estimate is, computed from one design."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from skbayesiv._data.checks import check_level
from skbayesiv._linear.sampled import sample_rows
from skbayesiv.diagnostics._complier_effects import ComplierEffects, effects_of_rows
from skbayesiv.diagnostics._cross_effects import CrossEffects, cross_effects_of_rows
from skbayesiv.diagnostics._effect_weighting import EffectWeighting, weighting_of_rows
from skbayesiv.diagnostics._fitted import Fitted
from skbayesiv.diagnostics._instrument_linearity import (
    NO_CONSTANT,
    InstrumentLinearity,
    linearity_of_rows,
)
from skbayesiv.diagnostics._instrument_validity import InstrumentValidity, validity_of_rows
from skbayesiv.diagnostics._partial import Partialled
from skbayesiv.diagnostics._report import Block, Pairs, Paragraph, Report
from skbayesiv.diagnostics._results import HypothesisTest
from skbayesiv.diagnostics._row_design import RowDesign, row_design

MOST_ROWS = 200_000  # that tests look at
RENAMES = 0.1
SIZE = 0.01  # of several tests that are read together
NOT_LINEAR = (
    "E[z | x] is not linear in the covariates (RESET, p = {:.2g}): 2SLS is then no mean of effects "
    "on compliers. Add powers and products of the covariates, or cut them into strata."
)
CROSS = (
    "The instruments of one treatment move another (cross effects, p = {:.2g}): 2SLS mixes their "
    "effects. Take one treatment at a time where an experiment allows it, or interact the "
    "instruments with the covariates."
)
INVALID = (
    "Exclusion, random assignment or monotonicity is violated (Kitagawa, p = {:.2g}): {}. No "
    "estimate here is then an effect on compliers: look for a way in which assignment acts on the "
    "outcome by itself, or for covariates that it depended on."
)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class WhoseEffect(Report):
    """Whose effect an instrumental-variables estimate is, as far as the rows tell.

    What does not apply is None.

    Attributes
    ----------
    treatments : tuple of str
        Their names.
    linearity : InstrumentLinearity or None
        Of E[z | x], with covariates.
    weighting : EffectWeighting or None
        How assignment, first stage and effects differ by the covariates.
    cross_effects : CrossEffects or None
        Of several treatments, with covariates.
    validity : InstrumentValidity or None
        Of one instrument of two values and one treatment coded 0 and 1.
    compliers : ComplierEffects or None
        Of one instrument of two values and one treatment, with covariates.
    failed : dict of str to str
        What could not be computed, and why.
    size : float
        Of each test, for what is said of it; a tenth for what says that the estimate is no average
        over compliers.
    """

    treatments: tuple[str, ...]
    linearity: InstrumentLinearity | None
    weighting: EffectWeighting | None
    cross_effects: CrossEffects | None
    validity: InstrumentValidity | None
    compliers: ComplierEffects | None
    failed: dict[str, str]
    size: float

    @property
    def why_weighted(self) -> str:
        """Why the estimate is not the compliers' average; empty if nothing says so."""
        why = []
        if self.weighting is not None and self.weighting.weighted:
            why.append(self.weighting.statement)
        if self._reset is not None and self._reset.p_value < self.size * RENAMES:
            why.append(NOT_LINEAR.format(self._reset.p_value))
        return " ".join(why)

    @property
    def advice(self) -> tuple[str, ...]:
        """What is wrong beside the weights, and what to do."""
        out = []
        cross = None if self.cross_effects is None else self.cross_effects.test
        if cross is not None and self._rejected(cross):
            out.append(CROSS.format(cross.p_value))
        if self.validity is not None and self._rejected(self.validity):
            out.append(INVALID.format(self.validity.p_value, self.validity.where))
        return tuple(out)

    @property
    def _reset(self) -> HypothesisTest | None:
        return None if self.linearity is None else self.linearity.test

    def _rejected(self, test: HypothesisTest | InstrumentValidity | None) -> bool:
        return test is not None and test.p_value < self.size

    def _tests(self) -> Iterator[tuple[HypothesisTest | InstrumentValidity, str]]:
        """Tests that apply, and their names."""
        if self._reset is not None:
            yield self._reset, "E[z | x] is linear"
        if self.weighting is not None:
            names = ("assignment by x", "first stage by x", "effects by x")
            weighting = self.weighting
            tests = (weighting.assignment, weighting.first_stage, weighting.effects)
            for name, test in zip(names, tests, strict=True):
                if test is not None:
                    yield test, name
        if self.cross_effects is not None:
            yield self.cross_effects.test, "cross effects"
        if self.validity is not None:
            yield self.validity, "Kitagawa"

    def to_frame(self) -> pd.DataFrame:
        """One row for each test; columns statistic and p_value."""
        rows = {name: (test.statistic, test.p_value) for test, name in self._tests()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["statistic", "p_value"])

    def _blocks(self) -> Iterator[Block]:
        pairs = [(name, str(test).partition(": ")[2]) for test, name in self._tests()]
        if self.linearity is not None and self._reset is None:
            pairs.insert(0, ("E[z | x] is linear", str(self.linearity).partition(": ")[2]))
        pairs += [(name, f"not computed: {why}") for name, why in self.failed.items()]
        if pairs:
            yield Paragraph(f"Whose effect ({', '.join(self.treatments)})"), Pairs(tuple(pairs))
        if self.compliers is not None:
            yield (self.compliers,)
        said = [self.why_weighted] if self.why_weighted else []
        if not said and self.weighting is not None:
            said = [self.weighting.statement]
        yield from ((Paragraph(sentence),) for sentence in (*said, *self.advice))


def whose_effect(
    y: npt.ArrayLike | Fitted | Partialled,
    t: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
    level: float = 0.95,
    size: float = SIZE,
) -> WhoseEffect:
    """All diagnostics of whose effect is estimated that apply.

    Of more than 200,000 rows the tests look at so many, evenly spaced, or at whole clusters.

    Parameters
    ----------
    y : array-like of shape (n_rows,), fitted estimator or Partialled
        Outcome.
        An estimator or a partialled design takes the place of all arrays; it must have its rows.
    t : array-like of shape (n_rows,) or (n_rows, K)
        Treatments.
    z : array-like of shape (n_rows,) or (n_rows, Q)
        Instruments.
    X : array-like of shape (n_rows, P), optional
        Covariates, without a constant.
    sample_weight : array-like of shape (n_rows,), optional
        Frequency weights: weight 2 equals a row given twice.
    clusters : array-like of shape (n_rows,), optional
        Cluster labels.
    fit_intercept : bool, default=True
        Whether the covariates include a constant.
    level : float, default=0.95
        Probability of the intervals.
    size : float, default=0.01
        Of each test, for what is said of it; a tenth for what says that the estimate is no average
        over compliers.

    Returns
    -------
    WhoseEffect

    Raises
    ------
    ValueError
        If there are no rows. What the rows do not allow is said in `failed`.

    References
    ----------
    Each function of this sub-package has its own.

    Examples
    --------
    >>> import numpy as np
    >>> from skbayesiv.diagnostics import whose_effect
    >>> stratum = np.repeat([0, 1], 500)
    >>> i = np.arange(1000)
    >>> z = np.where(stratum, i % 2, i % 10 > 0)
    >>> t = z * np.where(stratum, i % 3 == 0, i % 7 > 0)
    >>> y = np.where(stratum, 2.0, 0.5) * t + i % 11 / 10
    >>> found = whose_effect(y, t, z, stratum)
    >>> print(found.why_weighted)
    Assignment depends on the covariates and the first stage differs by them: 2SLS is a mean of the
    effects given x, weighted by rows x Var(z | x) x share, and not the compliers' average. Report
    complier_effects, or fit by stratum.
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
    check_level(level)
    check_level(size, "size")
    return whose_effect_of_rows(design, level=level, size=size)


def whose_effect_of_rows(
    design: RowDesign, *, level: float = 0.95, size: float = SIZE
) -> WhoseEffect:
    """All that applies to checked rows."""
    failed: dict[str, str] = {}

    def attempt[R](
        applies: bool,
        name: str,
        function: Callable[..., R],
        rows: RowDesign | None = None,
        **given: float,
    ) -> R | None:
        """Result, or None where it does not apply or the data do not allow it."""
        if not applies:
            return None
        try:
            return function(rows or seen, **given)
        except (ValueError, np.linalg.LinAlgError) as error:
            failed[name] = str(error)
            return None

    seen = RowDesign(sample_rows(design.data, MOST_ROWS), design.fit_intercept)
    covariates = bool(design.data.columns.covariates)
    if covariates and not design.has_constant:
        covariates, failed["covariates"] = False, NO_CONSTANT
    k = design.t.shape[1]
    two_arms = k == 1 and design.two_arms and design.fit_intercept
    binary = two_arms and bool(np.isin(design.t, (0.0, 1.0)).all())
    return WhoseEffect(
        treatments=design.data.columns.treatments,
        linearity=attempt(covariates, "E[z | x] is linear", linearity_of_rows),
        weighting=attempt(covariates, "first stage by x", weighting_of_rows, size=size * RENAMES),
        cross_effects=attempt(covariates and k > 1, "cross effects", cross_effects_of_rows),
        validity=attempt(binary, "Kitagawa", validity_of_rows),
        compliers=attempt(
            covariates and two_arms, "reweighting", effects_of_rows, design, level=level
        ),
        failed=failed,
        size=size,
    )

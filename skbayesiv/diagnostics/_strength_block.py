"""The block of statistics that a reader of an instrumental-variables table looks for."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from skbayesiv.diagnostics._confidence_set import ConfidenceSet
from skbayesiv.diagnostics._effective_f import TAU, EffectiveF
from skbayesiv.diagnostics._first_stage import FirstStage
from skbayesiv.diagnostics._rank import CraggDonald, KleibergenPaap
from skbayesiv.diagnostics._report import Block, Pairs, Paragraph, Report
from skbayesiv.diagnostics._results import HypothesisTest
from skbayesiv.diagnostics._tf import TFInterval

LEAST_BIAS = 0.10  # of the worst case
_AT = TAU.index(LEAST_BIAS)
_UNDER_IDENTIFIED = 0.05
_LEAST_F = 10.0  # a rule of thumb of one treatment (Staiger and Stock 1997), for want of a better


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the block: a name, its numbers, and how they are printed."""

    name: str
    text: str
    value: float = np.nan
    dof: float = np.nan
    p_value: float = np.nan
    critical_value: float = np.nan
    lower: float = np.nan
    upper: float = np.nan


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class InstrumentStrength(Report):
    """Strength of the instruments, inference that does not need it, and tests of the model.

    What does not apply is None, such as the effective F of several treatments.

    Attributes
    ----------
    treatments : tuple of str
    errors : {"robust", "clustered", "classical"}
        What the statistics allow for; classical only when there are no rows.
    level : float
        Of `anderson_rubin` and `conditional_likelihood_ratio`.
    first_stage : FirstStage or None
    cragg_donald : CraggDonald
    kleibergen_paap : KleibergenPaap or None
    effective_f : EffectiveF or None
    anderson_rubin : ConfidenceSet or None
        Effects that the Anderson-Rubin test does not reject, for one treatment.
    conditional_likelihood_ratio : ConfidenceSet or None
        Effects that the conditional likelihood ratio test does not reject, for one treatment and
        several instruments; with one it is the Anderson-Rubin set.
    no_effect : HypothesisTest or None
        Anderson-Rubin test that all effects are zero.
    tf : TFInterval or None
        For one treatment and one instrument.
    wu_hausman : HypothesisTest or None
    overidentification : tuple of HypothesisTest
        With more instruments than treatments, Hansen's J and Wooldridge's test, or Sargan's when
        classical.
    failed : dict of str to str
        Statistics that could not be computed, and why.
    """

    treatments: tuple[str, ...]
    errors: str
    level: float
    first_stage: FirstStage | None
    cragg_donald: CraggDonald
    kleibergen_paap: KleibergenPaap | None
    effective_f: EffectiveF | None
    anderson_rubin: ConfidenceSet | None
    conditional_likelihood_ratio: ConfidenceSet | None
    no_effect: HypothesisTest | None
    tf: TFInterval | None
    wu_hausman: HypothesisTest | None
    overidentification: tuple[HypothesisTest, ...]
    failed: dict[str, str]

    @property
    def critical_value(self) -> float | None:
        """What the effective F must exceed: a bias above 10% of the worst case, size 5%."""
        return None if self.effective_f is None else self.effective_f.critical_values[_AT]

    @property
    def weak(self) -> bool | None:
        """Whether the effective F lies below its critical value; None if it does not apply."""
        return (
            None
            if self.effective_f is None
            else self.effective_f.f < self.effective_f.critical_values[_AT]
        )

    @property
    def weakness(self) -> str:
        """Why the instruments may be weak; empty if nothing says so.

        For one treatment the effective F; for several, which have no such statistic, the test of
        under-identification and a rule of thumb for the rank statistic's F.
        """
        if len(self.treatments) > 1:
            return weak_rank(self.kleibergen_paap or self.cragg_donald)
        found = self.effective_f
        return "" if found is None else weak_f(found.f, found.critical_values[_AT])

    def to_frame(self) -> pd.DataFrame:
        """One row for each statistic; columns value, dof, p_value, critical_value, lower, upper.

        The ends of a confidence set of several pieces are those of its hull.
        """
        rows = [asdict(entry) for entry in self._entries()]
        return pd.DataFrame(rows).drop(columns="text").set_index("name")

    def _blocks(self) -> Iterator[Block]:
        pairs = tuple((entry.name, entry.text) for entry in self._entries())
        yield Paragraph(self._title()), Pairs(pairs)

    def _title(self) -> str:
        allowed = {
            "robust": "robust to heteroskedasticity",
            "clustered": "robust to clusters",
            "classical": "assuming equal error variances: no rows at hand",
        }
        return f"Instruments ({allowed[self.errors]})"

    def _entries(self) -> Iterator[Entry]:
        yield from self._first_stage_entries()
        yield from self._inference_entries()
        for test in (self.wu_hausman, *self.overidentification):
            if test is not None:
                yield _test_entry(test)
        for name, why in self.failed.items():
            yield Entry(name=name, text=f"not computed: {why}")

    def _first_stage_entries(self) -> Iterator[Entry]:
        if self.effective_f is not None:
            f, critical = self.effective_f.f, self.effective_f.critical_values[_AT]
            side, p = "below" if self.weak else "above", self.effective_f.p_values[_AT]
            text = f"{_f(f)}, {side} its critical value {critical:.1f} (p = {p:.4g})"
            yield Entry(name="effective F", text=text, value=f, p_value=p, critical_value=critical)
        if self.first_stage is not None:
            yield from self._regression_entries(self.first_stage)
        cd, kp = self.cragg_donald, self.kleibergen_paap
        yield _f_entry("Cragg-Donald F", cd.f, cd.dof, cd.p_value)
        if kp is not None:
            yield _f_entry("Kleibergen-Paap F", kp.f, kp.dof, kp.p_value_wald)
            yield _test_entry(_lm_test(kp))

    def _regression_entries(self, stage: FirstStage) -> Iterator[Entry]:
        kind = "classical" if self.errors == "classical" else "robust"
        for k, treatment in enumerate(self.treatments):
            of = f" of {treatment}" if len(self.treatments) > 1 else ""
            f, p, r2 = (float(part[k]) for part in (stage.f, stage.p_value, stage.partial_r2))
            yield _f_entry(f"first-stage F{of}, {kind}", f, stage.dof, p)
            yield Entry(name=f"partial R2{of}", text=f"{r2:.4g}", value=r2)

    def _inference_entries(self) -> Iterator[Entry]:
        if self.anderson_rubin is not None:
            yield _set_entry(f"Anderson-Rubin {self.level:.4g}", self.anderson_rubin)
        if self.conditional_likelihood_ratio is not None:
            name = f"conditional LR {self.level:.4g}"
            yield _set_entry(name, self.conditional_likelihood_ratio)
        if self.no_effect is not None:
            yield _test_entry(self.no_effect, "Anderson-Rubin test")
        if self.tf is not None:
            yield _set_entry(f"tF {self.tf.interval.level:.4g}", self.tf.interval)


def weak_f(f: float, critical: float) -> str:
    """Why instruments may be weak by the effective F; empty if they are not."""
    below = f"the effective F is {f:.3g}, below its critical value {critical:.1f}"
    return below if f < critical else ""


def weak_rank(rank: CraggDonald | KleibergenPaap) -> str:
    """Why instruments may be weak by a rank statistic; empty if nothing says so."""
    name, found = "Cragg-Donald" if isinstance(rank, CraggDonald) else "Kleibergen-Paap", []
    if rank.p_value > _UNDER_IDENTIFIED:
        found.append(f"{name} does not reject under-identification (p = {rank.p_value:.2g})")
    if rank.f < _LEAST_F:
        found.append(f"the {name} F is {rank.f:.3g}, below {_LEAST_F:g} (a rule of thumb)")
    return "; ".join(found)


def _f(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _lm_test(kp: KleibergenPaap) -> HypothesisTest:
    return HypothesisTest(
        name="Kleibergen-Paap LM",
        null="under-identified",
        statistic=kp.lm,
        dof=kp.dof,
        dof_denominator=None,
        p_value=kp.p_value,
    )


def _f_entry(name: str, f: float, dof: float, p_value: float) -> Entry:
    text = f"{_f(f)}, p = {p_value:.4g}"
    return Entry(name=name, text=text, value=f, dof=dof, p_value=p_value)


def _test_entry(test: HypothesisTest, name: str = "") -> Entry:
    text = str(test).partition(": ")[2]
    name = name or test.name
    return Entry(name=name, text=text, value=test.statistic, dof=test.dof, p_value=test.p_value)


def _set_entry(name: str, value: ConfidenceSet) -> Entry:
    if not value.intervals:
        return Entry(name=name, text=str(value))
    lower, upper = value.intervals[0][0], value.intervals[-1][1]
    return Entry(name=name, text=str(value), lower=lower, upper=upper)

"""Diagnosis of a posterior: its instruments, errors, prior and sampler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skbayesiv._honesty.evidence import Evidence
from skbayesiv._honesty.findings import findings, warn_of
from skbayesiv._linear.equation import Equation
from skbayesiv._reports.diagnosis_tables import (
    convergence_table,
    error_correlation,
    prior_sensitivity,
    standard_errors,
)
from skbayesiv._reports.diagnosis_warnings import SENSITIVE, with_prior
from skbayesiv._reports.fitted import FittedPosterior
from skbayesiv._reports.iv_summary import strength_or_reason
from skbayesiv._reports.whose_effect import whose_effect_or_none
from skbayesiv._results.convergence import MAX_RHAT, MIN_ESS
from skbayesiv.diagnostics import InstrumentStrength, WhoseEffect
from skbayesiv.diagnostics._report import Block, Pairs, Paragraph, Report, Verbatim

ONE_CHAIN = "not defined for one chain: set chains to 2 or more"
UNCHECKED = "Heteroskedasticity was not checked, which needs rows: pass X, t, y and z."


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Diagnosis(Report):
    """Sampler, errors, prior and instruments of a fitted posterior.

    Attributes
    ----------
    convergence : DataFrame
        R-hat, which takes several chains, and effective sample sizes of every parameter.
    divergences : int
    correlation : DataFrame or None
        Posterior of the correlation of the outcome's error with each treatment's: mean, sd and
        95% interval. None with ``likelihood="gmm"``, which has no such parameter, and without
        treatment, as are all that follow.
    sensitivity : DataFrame or None
        Power-scaling sensitivity of each effect to each component of the prior: `beta_t` (the
        effect's own; with a history that of its mean and spread), `correlation` (of the errors),
        `direct` (of the instruments, where allowed) and `rest`. A flat prior, such as LKJ(1),
        cannot be scaled and has none. None also of one of several segments, whose prior the
        others decide.
    std_errors : DataFrame or None
        Classical and robust (or clustered) standard errors of the 2SLS effects. Robust ones need
        rows.
    strength : InstrumentStrength or None
    whose_effect : WhoseEffect or None
        Tests of whose effect it is, and effects on compliers by reweighting. They need rows.
    note : str
        What could not be computed, and what it needs.
    warnings : tuple of Warning
        What was warned of.
    """

    convergence: pd.DataFrame
    divergences: int
    title: str = ""
    given: str = ""
    correlation: pd.DataFrame | None = None
    sensitivity: pd.DataFrame | None = None
    std_errors: pd.DataFrame | None = None
    strength: InstrumentStrength | None = None
    whose_effect: WhoseEffect | None = None
    note: str = ""
    warnings: tuple[Warning, ...] = ()

    @property
    def rhat(self) -> float:
        """Largest R-hat; NaN with one chain."""
        return float(self.convergence["r_hat"].max()) if self._has_rhat else np.nan

    @property
    def _has_rhat(self) -> bool:
        return "r_hat" in self.convergence

    @property
    def ess(self) -> float:
        """Smallest effective sample size, of bulk and tails."""
        return float(self.convergence[["ess_bulk", "ess_tail"]].min(axis=None))

    def to_frame(self) -> pd.DataFrame:
        """One row for each quantity, with its value and the limit it should keep."""
        rows = [("R-hat", self.rhat, MAX_RHAT)] if self._has_rhat else []
        rows += [
            ("effective sample size", self.ess, MIN_ESS),
            ("divergences", self.divergences, 0),
        ]
        if self.sensitivity is not None:
            for (treatment, name), value in self.sensitivity.stack().items():
                rows.append((f"sensitivity of {treatment} to {name}", value, SENSITIVE))
        if self.strength is not None and self.strength.effective_f is not None:
            f, critical = self.strength.effective_f.f, self.strength.critical_value
            rows.append(("effective F", f, float(critical or np.nan)))
        if self.whose_effect is not None:
            for name, p_value in self.whose_effect.to_frame()["p_value"].items():
                rows.append((f"p-value, {name}", p_value, self.whose_effect.size))
        frame = pd.DataFrame(rows, columns=["name", "value", "limit"])
        return frame.set_index("name").astype(float)

    def _blocks(self) -> Iterator[Block]:
        rhat = f"{self.rhat:.3f} at most (limit {MAX_RHAT})" if self._has_rhat else ONE_CHAIN
        sampler = (
            ("R-hat", rhat),
            ("effective sample size", f"{self.ess:,.0f} at least (limit {MIN_ESS})"),
            ("divergences", str(self.divergences)),
        )
        yield Paragraph(self.title), Paragraph(self.given)
        yield Paragraph("Sampler"), Verbatim(str(Pairs(sampler)))
        for title, table, digits in (
            ("Correlation of the outcome's error with the treatment's", self.correlation, 4),
            (f"Prior sensitivity of the effect (limit {SENSITIVE})", self.sensitivity, 3),
            ("Standard errors of 2SLS", self.std_errors, 4),
        ):
            if table is not None:
                text = Verbatim(table.to_string(float_format=f"%.{digits}f"))
                yield Paragraph(title), text
        if self.strength is not None:
            yield (self.strength,)
        if self.whose_effect is not None:
            yield (self.whose_effect,)
        if self.note:
            yield (Paragraph(self.note),)


def diagnose(est: FittedPosterior, rows: Equation) -> Diagnosis:
    """Diagnose a fitted posterior and warn of what was found.

    Parameters
    ----------
    est : fitted BayesianIV or HierarchicalBayesianIV
    rows : Equation
        Of the fit's rows, or of its moments alone.
    """
    table = convergence_table(est)
    divergences = int(est.idata_.sample_stats["diverging"].sum())
    c = est.moments_.columns
    what = f"effect of {', '.join(c.treatments)} on" if est.n_treatments_ else "regression of"
    title = f"Posterior of the {what} {c.outcome}"
    if not est.n_treatments_:
        return Diagnosis(convergence=table, divergences=divergences, title=title, given=c.given)
    strength, reason = strength_or_reason(rows, level=0.95, debiased=False)
    unchecked = rows.classical_only and not est._model.robust
    errors = standard_errors(rows)
    sensitivity = prior_sensitivity(est) if "log_prior" in est.idata_.children else None
    found = findings(Evidence.of(rows), est._allows())
    found = with_prior(found, strength, sensitivity, est._model.prior_parameters)
    warn_of(found)
    return Diagnosis(
        convergence=table,
        divergences=divergences,
        title=title,
        given=c.given,
        correlation=error_correlation(est),
        sensitivity=sensitivity,
        std_errors=errors,
        strength=strength,
        whose_effect=whose_effect_or_none(rows, level=0.95),
        note="\n".join(note for note in (reason, UNCHECKED if unchecked else "") if note),
        warnings=found,
    )

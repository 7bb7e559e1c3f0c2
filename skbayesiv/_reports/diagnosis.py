"""What a diagnosis of a posterior found, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skbayesiv._results.convergence import MAX_RHAT, MIN_ESS

if TYPE_CHECKING:
    import pandas as pd

    from skbayesiv.diagnostics import InstrumentStrength

SENSITIVE = 0.05


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """Sampler, errors, prior and instruments of a fitted posterior.

    Attributes
    ----------
    convergence : DataFrame
        R-hat and effective sample sizes of every parameter.
    divergences : int
    correlation : DataFrame or None
        Posterior of the correlation of the outcome's error with each treatment's: mean, sd and
        95% interval. None with ``likelihood="gmm"``, which has no such parameter, and without
        treatment, as are all that follow.
    sensitivity : DataFrame or None
        Power-scaling sensitivity of each effect to each component of the prior: `beta_t` (the
        effect's own; with a history that of its mean and spread), `correlation` (of the errors),
        `direct` (of the instruments, where allowed) and `rest`. A flat prior, such as LKJ(1),
        cannot be scaled and has none.
    std_errors : DataFrame or None
        Classical and robust (or clustered) standard errors of the 2SLS effects. Robust ones need
        rows.
    strength : InstrumentStrength or None
    note : str
        What could not be computed, and what it needs.
    warnings : tuple of Warning
        What was warned of.
    """

    convergence: pd.DataFrame
    divergences: int
    correlation: pd.DataFrame | None = None
    sensitivity: pd.DataFrame | None = None
    std_errors: pd.DataFrame | None = None
    strength: InstrumentStrength | None = None
    note: str = ""
    warnings: tuple[Warning, ...] = ()

    @property
    def rhat(self) -> float:
        """Largest R-hat; NaN with one chain."""
        return float(self.convergence["r_hat"].max())

    @property
    def ess(self) -> float:
        """Smallest effective sample size, of bulk and tails."""
        return float(self.convergence[["ess_bulk", "ess_tail"]].min(axis=None))

    def to_frame(self) -> pd.DataFrame:
        """One row for each quantity, with its value and the limit it should keep."""
        import pandas as pd

        rows = [
            ("R-hat", self.rhat, MAX_RHAT),
            ("effective sample size", self.ess, MIN_ESS),
            ("divergences", self.divergences, 0),
        ]
        if self.sensitivity is not None:
            for (treatment, name), value in self.sensitivity.stack().items():
                rows.append((f"sensitivity of {treatment} to {name}", value, SENSITIVE))
        if self.strength is not None and self.strength.effective_f is not None:
            f, critical = self.strength.effective_f.f, self.strength.critical_value
            rows.append(("effective F", f, float(critical or np.nan)))
        frame = pd.DataFrame(rows, columns=["name", "value", "limit"])
        return frame.set_index("name").astype(float)

    def __str__(self) -> str:
        blocks = [f"{title}\n{body}" for title, body in self._blocks()]
        strength = [] if self.strength is None else [str(self.strength)]
        return "\n\n".join([*blocks, *strength, *([self.note] if self.note else [])])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from html import escape

        blocks = "".join(
            f"<p>{escape(title)}</p><pre>{escape(body)}</pre>" for title, body in self._blocks()
        )
        strength = "" if self.strength is None else self.strength._repr_html_()
        return blocks + strength + (f"<p>{escape(self.note)}</p>" if self.note else "")

    def _blocks(self) -> Iterator[tuple[str, str]]:
        """Titles and text of all but the instruments' strength."""
        lines = (
            f"R-hat                  {self.rhat:.3f} at most (limit {MAX_RHAT})",
            f"effective sample size  {self.ess:,.0f} at least (limit {MIN_ESS})",
            f"divergences            {self.divergences}",
        )
        yield "Sampler", "\n".join(lines)
        for title, table, digits in (
            ("Correlation of the outcome's error with the treatment's", self.correlation, 4),
            (f"Prior sensitivity of the effect (limit {SENSITIVE})", self.sensitivity, 3),
            ("Standard errors of 2SLS", self.std_errors, 4),
        ):
            if table is not None:
                yield title, table.to_string(float_format=f"%.{digits}f")

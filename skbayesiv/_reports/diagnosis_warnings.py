"""What a diagnosis warns of: weak instruments, a heavy prior, unequal or clustered errors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from skbayesiv._models.parts.model import Model
from skbayesiv.diagnostics import InstrumentStrength
from skbayesiv.exceptions import HeteroskedasticityWarning, WeakInstrumentWarning

SENSITIVE = 0.05
DIFFERENT = 0.20


def weakness(
    model: Model, strength: InstrumentStrength | None, sensitivity: pd.DataFrame
) -> Iterator[WeakInstrumentWarning]:
    """One warning of instruments that may be weak and of priors that the effect leans on."""
    sentences = list(_leaning(model, sensitivity))
    if strength is not None and strength.weakness:
        found = strength.anderson_rubin
        report = (
            f"report the Anderson-Rubin {found.level:.0%} set {found}, which needs no strong "
            "instrument; "
            if found is not None
            else ""
        )
        advice = f"{report}{model.when_weak}."
        advice = advice[0].upper() + advice[1:]
        sentences = [
            f"The instruments may be weak: {strength.weakness}.",
            *sentences,
            advice,
        ]
    if sentences:
        yield WeakInstrumentWarning(" ".join(sentences))


def _leaning(model: Model, sensitivity: pd.DataFrame) -> Iterator[str]:
    """Sentences on the components of the prior that the effects are sensitive to."""
    for component, value in sensitivity.drop(columns="direct", errors="ignore").max().items():
        if value > SENSITIVE:
            yield (
                f"The effect leans on the prior of {component} (power-scaling sensitivity "
                f"{value:.2g}, above {SENSITIVE}): report what other values of "
                f"{model.prior_parameters[str(component)]} give."
            )


def heteroskedasticity(model: Model, errors: pd.DataFrame) -> Iterator[HeteroskedasticityWarning]:
    """A warning of standard errors that tell whether errors are unequal or clustered."""
    clustered = errors.columns[-1] == "clustered"
    allowed = model.robust and (model.clustered or not clustered)
    if allowed or errors.shape[1] < 2:
        return
    assumed = "takes rows as independent" if clustered else "assumes errors of one variance"
    who = "fit" if model.robust else "joint normal likelihood"
    refit = 'likelihood="gmm"' + (" and fit(..., clusters=...)" if clustered else "")
    classical, robust = errors.to_numpy().T
    apart = np.abs(robust / classical - 1.0)
    k = int(np.argmax(apart))
    if apart[k] > DIFFERENT:
        yield HeteroskedasticityWarning(
            f"The {errors.columns[1]} standard error of the effect of {errors.index[k]} is "
            f"{robust[k]:.3g}, the classical one {classical[k]:.3g}: {apart[k]:.0%} apart. The "
            f"{who} {assumed}, so its interval can be that much too narrow or too wide: refit "
            f"with {refit}, or report TwoStageLS with its {errors.columns[1]} interval or the "
            "Anderson-Rubin set."
        )

"""What a diagnosis adds to the findings: robust sets, and priors that the effect leans on."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from skbayesiv.diagnostics import InstrumentStrength
from skbayesiv.exceptions import InferenceWarning, WeakInstrumentWarning

SENSITIVE = 0.05


def with_prior(
    found: tuple[InferenceWarning, ...],
    strength: InstrumentStrength | None,
    sensitivity: pd.DataFrame | None,
    prior_parameters: dict[str, str],
) -> tuple[InferenceWarning, ...]:
    """Findings with one of weak instruments that names robust sets and priors that matter."""
    weak = [str(one) for one in found if isinstance(one, WeakInstrumentWarning)]
    others = [one for one in found if not isinstance(one, WeakInstrumentWarning)]
    leaning = () if sensitivity is None else _leaning(sensitivity, prior_parameters)
    sentences = [*weak, *leaning]
    if weak and strength is not None:
        sentences += _sets(strength)
    return (*([WeakInstrumentWarning(" ".join(sentences))] if sentences else []), *others)


def _sets(strength: InstrumentStrength) -> Iterator[str]:
    """The sets that need no strong instruments."""
    named = {
        "Anderson-Rubin": strength.anderson_rubin,
        "conditional likelihood ratio's": strength.conditional_likelihood_ratio,
    }
    for name, found in named.items():
        if found is not None:
            yield f"The {name} {found.level:.0%} set is {found}."


def _leaning(sensitivity: pd.DataFrame, parameters: dict[str, str]) -> Iterator[str]:
    """Sentences on the components of the prior that the effects are sensitive to."""
    for component, value in sensitivity.drop(columns="direct", errors="ignore").max().items():
        if value > SENSITIVE:
            yield (
                f"The effect leans on the prior of {component} (power-scaling sensitivity "
                f"{value:.2g}, above {SENSITIVE}): report what other values of "
                f"{parameters[str(component)]} give."
            )

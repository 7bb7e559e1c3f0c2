"""Warnings that skbayesiv raises."""

from __future__ import annotations

from pathlib import Path

import joblib
import sklearn
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning

__all__ = [
    "ConvergenceWarning",
    "FitFailedWarning",
    "HeteroskedasticityWarning",
    "NoTreatmentWarning",
    "PriorDataConflictWarning",
    "WeakInstrumentWarning",
]

# A warning points at the first caller outside of these.
OURS = tuple(str(Path(file).parent) for file in (__file__, sklearn.__file__, joblib.__file__))


class HeteroskedasticityWarning(UserWarning):
    """The errors' variances differ so much that a likelihood with equal ones can mislead."""


class NoTreatmentWarning(UserWarning):
    """Neither treatment nor instruments were given: no causal effect is estimated."""


class PriorDataConflictWarning(UserWarning):
    """The current experiment's estimate is far from what the earlier ones predict."""


class WeakInstrumentWarning(UserWarning):
    """The instruments say little: the first stage is weak, or the effect leans on its prior."""

"""Warnings that skbayesiv raises."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import joblib
import sklearn
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning

__all__ = [
    "ConvergenceWarning",
    "EstimandWarning",
    "FewClustersWarning",
    "FitFailedWarning",
    "HeteroskedasticityWarning",
    "IgnoredClustersWarning",
    "InferenceWarning",
    "ManyInstrumentsWarning",
    "NoTreatmentWarning",
    "PriorDataConflictWarning",
    "WeakInstrumentWarning",
]

# A warning points at the first caller outside of these.
OURS = tuple(str(Path(file).parent) for file in (__file__, sklearn.__file__, joblib.__file__))


class InferenceWarning(UserWarning):
    """The interval of the effect is not what it promises: the base of all that a fit checks.

    Attributes
    ----------
    cause : str
        What is wrong, in two or three words.
    """

    cause: ClassVar[str] = "see the warning"


class EstimandWarning(InferenceWarning):
    """With covariates the estimate is an average of effects that is not the compliers' own."""

    cause = "weighted effect"


class FewClustersWarning(InferenceWarning):
    """Clusters, or those of one arm, are so few that their covariance is not known well."""

    cause = "few clusters"


class HeteroskedasticityWarning(InferenceWarning):
    """The errors' variances differ so much that an interval with equal ones can mislead."""

    cause = "uneven errors"


class IgnoredClustersWarning(InferenceWarning):
    """Clusters were given that the likelihood does not know."""

    cause = "clusters ignored"


class ManyInstrumentsWarning(InferenceWarning):
    """Instruments are so many that their number, not their weakness, biases the estimate."""

    cause = "many instruments"


class NoTreatmentWarning(UserWarning):
    """Neither treatment nor instruments were given: no causal effect is estimated."""


class PriorDataConflictWarning(UserWarning):
    """The current experiment's estimate is far from what the earlier ones predict."""


class WeakInstrumentWarning(InferenceWarning):
    """The instruments say little: the first stage is weak, or the effect leans on its prior."""

    cause = "weak instruments"

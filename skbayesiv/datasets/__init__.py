"""Experiments with non-compliance: one real, one reconstructed, and simulated ones."""

from skbayesiv.datasets._noncompliance import make_noncompliance
from skbayesiv.datasets._push import fetch_push_experiment, load_push_experiment
from skbayesiv.datasets._segments import make_segments

__all__ = [
    "fetch_push_experiment",
    "load_push_experiment",
    "make_noncompliance",
    "make_segments",
]

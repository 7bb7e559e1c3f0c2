"""Diagnostics of instruments and inference that survives weak ones.

Functions on arrays, ``f(y, t, z, X=None, *, sample_weight=None, clusters=None, ...)``, or on a
fitted estimator, ``f(est, ...)``, each returning a frozen dataclass. Conventions shared by all:

* X holds covariates without a constant; an intercept is included unless ``fit_intercept=False``.
* ``sample_weight`` are frequency weights: weight 2 equals a row given twice, and n is the sum of
  the weights.
* Robust means HC0, or cluster-robust when ``clusters`` are given. ``debiased=True`` adds the
  small-sample factors of Stata's ``ivreg2`` and replaces chi-square by F.
* Robust tests of an effect take the scores that its null leaves, as continuously updated GMM does,
  and not the residuals of an unrestricted regression: they keep their size when instruments are
  many or clusters few. Debiased, they have Hotelling's F.
* Of an estimator that was fitted to moments, or that did not keep its rows (`BayesianIV` keeps up
  to 20,000), only what assumes equal error variances can be computed: ``robust=False``. With the
  fourth-order sums that ``likelihood="gmm"`` takes, all but `wu_hausman` can be robust.
* The first stage need not be strong for `anderson_rubin`, `conditional_likelihood_ratio`, their
  confidence sets, and `tf_interval`.
"""

from skbayesiv.diagnostics._anderson_rubin import anderson_rubin, anderson_rubin_confidence_set
from skbayesiv.diagnostics._complier_effects import (
    ComplierEffects,
    Reweighted,
    complier_effects,
)
from skbayesiv.diagnostics._conditional_likelihood_ratio import (
    conditional_likelihood_ratio,
    conditional_likelihood_ratio_confidence_set,
)
from skbayesiv.diagnostics._confidence_set import ConfidenceSet
from skbayesiv.diagnostics._cross_effects import CrossEffects, cross_effects
from skbayesiv.diagnostics._effect_weighting import EffectWeighting, effect_weighting
from skbayesiv.diagnostics._effective_f import EffectiveF, effective_f
from skbayesiv.diagnostics._exogeneity import wu_hausman
from skbayesiv.diagnostics._first_stage import FirstStage, first_stage
from skbayesiv.diagnostics._instrument_linearity import (
    InstrumentLinearity,
    instrument_linearity,
)
from skbayesiv.diagnostics._instrument_validity import InstrumentValidity, instrument_validity
from skbayesiv.diagnostics._overidentification import hansen_j, sargan, wooldridge_overid
from skbayesiv.diagnostics._partial import Partialled, partial_out
from skbayesiv.diagnostics._rank import CraggDonald, KleibergenPaap, cragg_donald, kleibergen_paap
from skbayesiv.diagnostics._results import ConditionalTest, HypothesisTest
from skbayesiv.diagnostics._strength import instrument_strength
from skbayesiv.diagnostics._strength_block import InstrumentStrength
from skbayesiv.diagnostics._tf import TFInterval, tf_critical_value, tf_interval
from skbayesiv.diagnostics._whose_effect import WhoseEffect, whose_effect

__all__ = [
    "ComplierEffects",
    "ConditionalTest",
    "ConfidenceSet",
    "CraggDonald",
    "CrossEffects",
    "EffectWeighting",
    "EffectiveF",
    "FirstStage",
    "HypothesisTest",
    "InstrumentLinearity",
    "InstrumentStrength",
    "InstrumentValidity",
    "KleibergenPaap",
    "Partialled",
    "Reweighted",
    "TFInterval",
    "WhoseEffect",
    "anderson_rubin",
    "anderson_rubin_confidence_set",
    "complier_effects",
    "conditional_likelihood_ratio",
    "conditional_likelihood_ratio_confidence_set",
    "cragg_donald",
    "cross_effects",
    "effect_weighting",
    "effective_f",
    "first_stage",
    "hansen_j",
    "instrument_linearity",
    "instrument_strength",
    "instrument_validity",
    "kleibergen_paap",
    "partial_out",
    "sargan",
    "tf_critical_value",
    "tf_interval",
    "whose_effect",
    "wooldridge_overid",
    "wu_hausman",
]

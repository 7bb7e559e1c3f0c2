"""Figures, as scikit-learn's displays.

A display holds the numbers of a figure as attributes and draws them on matplotlib axes. Its class
methods compute the numbers and draw; ``display.plot(ax)`` draws again. Colours can be told apart
under common forms of colour blindness, and text and neutral lines follow the current matplotlib
style, dark or light.
"""

from skbayesiv.plotting._comparison import EffectComparisonDisplay
from skbayesiv.plotting._compliance import ComplianceDisplay
from skbayesiv.plotting._correlation import CorrelationDisplay
from skbayesiv.plotting._cross_validation import CrossValidationDisplay
from skbayesiv.plotting._diagram import CausalDiagramDisplay
from skbayesiv.plotting._effect import EffectDisplay
from skbayesiv.plotting._errors import ErrorDensityDisplay
from skbayesiv.plotting._exclusion import ExclusionSensitivityDisplay
from skbayesiv.plotting._first_stage import FirstStageDisplay
from skbayesiv.plotting._forest import EffectForestDisplay
from skbayesiv.plotting._outcome import OutcomeDisplay
from skbayesiv.plotting._prior_posterior import PriorPosteriorDisplay
from skbayesiv.plotting._prior_sensitivity import PriorSensitivityDisplay
from skbayesiv.plotting._segments import SegmentForestDisplay
from skbayesiv.plotting._trace import TraceDisplay

__all__ = [
    "CausalDiagramDisplay",
    "ComplianceDisplay",
    "CorrelationDisplay",
    "CrossValidationDisplay",
    "EffectComparisonDisplay",
    "EffectDisplay",
    "EffectForestDisplay",
    "ErrorDensityDisplay",
    "ExclusionSensitivityDisplay",
    "FirstStageDisplay",
    "OutcomeDisplay",
    "PriorPosteriorDisplay",
    "PriorSensitivityDisplay",
    "SegmentForestDisplay",
    "TraceDisplay",
]

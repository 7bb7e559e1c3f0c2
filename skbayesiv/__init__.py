"""Instrumental variables, classical and Bayesian, as scikit-learn estimators."""

__version__ = "0.1.0.dev0"  # first, for the modules below to import

from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._estimators.bayesian import BayesianIV
from skbayesiv._estimators.cross_validation import BayesianIVCV
from skbayesiv._estimators.experiments import ExperimentFits, fit_experiments
from skbayesiv._estimators.hierarchical import HierarchicalBayesianIV
from skbayesiv._estimators.progress_bar import ProgressBar
from skbayesiv._estimators.two_stage import TwoStageLS
from skbayesiv._models.history.likelihoods import EffectLikelihood
from skbayesiv._reports.borrowing import Borrowing
from skbayesiv._reports.exclusion import ExclusionSensitivity, exclusion_sensitivity
from skbayesiv._reports.experiment import ExperimentReport, experiment_report
from skbayesiv._reports.meta_analysis import MetaAnalysis
from skbayesiv._reports.segments import SegmentReport
from skbayesiv._sampling.compilation_cache import use_compilation_cache

__all__ = [
    "BayesianIV",
    "BayesianIVCV",
    "Borrowing",
    "EffectLikelihood",
    "ExclusionSensitivity",
    "ExperimentFits",
    "ExperimentReport",
    "FourthMoments",
    "HierarchicalBayesianIV",
    "MetaAnalysis",
    "Moments",
    "ProgressBar",
    "SegmentReport",
    "TwoStageLS",
    "__version__",
    "exclusion_sensitivity",
    "experiment_report",
    "fit_experiments",
    "use_compilation_cache",
]

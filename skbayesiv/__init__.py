"""Instrumental variables, classical and Bayesian, as scikit-learn estimators."""

from skbayesiv._bayesian import BayesianIV
from skbayesiv._borrowing import Borrowing
from skbayesiv._cache import use_compilation_cache
from skbayesiv._exclusion import ExclusionSensitivity, exclusion_sensitivity
from skbayesiv._experiment import ExperimentReport, experiment_report
from skbayesiv._fourth_moments import FourthMoments
from skbayesiv._hierarchical import HierarchicalBayesianIV
from skbayesiv._many import ExperimentFits, fit_experiments
from skbayesiv._meta_report import MetaAnalysis
from skbayesiv._moments import Moments
from skbayesiv._search import BayesianIVCV
from skbayesiv._two_stage import TwoStageLS

__all__ = [
    "BayesianIV",
    "BayesianIVCV",
    "Borrowing",
    "ExclusionSensitivity",
    "ExperimentFits",
    "ExperimentReport",
    "FourthMoments",
    "HierarchicalBayesianIV",
    "MetaAnalysis",
    "Moments",
    "TwoStageLS",
    "__version__",
    "exclusion_sensitivity",
    "experiment_report",
    "fit_experiments",
    "use_compilation_cache",
]

__version__ = "0.1.0.dev0"

"""Names of entries -> functions that draw a case; how often each is drawn."""

from __future__ import annotations

import numpy as np
from fuzz import diagnostic, frame, posterior, report, sums, two_stage, use
from fuzz.case import Case, choose

ENTRIES = {
    "TwoStageLS.fit": (two_stage.fit, 10),
    "TwoStageLS.predict": (use.predict, 3),
    "TwoStageLS.score": (use.score, 1),
    "TwoStageLS.effect": (use.effect, 1),
    "TwoStageLS.conf_int": (use.table, 0.5),
    "TwoStageLS, not fitted": (use.not_fitted, 0.2),
    "TwoStageLS.fit of a frame": (frame.fit, 4),
    "TwoStageLS.fit_moments": (sums.fit_moments, 2),
    "TwoStageLS.partial_fit": (sums.partial_fit, 1),
    "from_frame": (frame.from_frame, 5),
    "Moments arithmetic": (sums.arithmetic, 1),
    "Moments.load": (sums.stored, 1.5),
    "BayesianIV.fit": (posterior.fit, 6),
    "BayesianIV.fit_moments": (report.fit_moments, 1.5),
    "BayesianIV.predict": (report.predict, 2),
    "BayesianIV.simulate": (report.simulate, 2),
    "BayesianIV.summary": (report.tables, 0.7),
    "BayesianIVCV.fit": (posterior.search, 0.5),
    "MetaAnalysis": (posterior.history, 2),
    "from_estimators": (posterior.from_estimators, 0.3),
    "fit_experiments": (frame.experiments, 0.7),
    "metrics": (report.metric, 0.7),
    "experiment_report": (report.experiment, 0.7),
    "exclusion_sensitivity": (report.exclusion, 0.2),
    "diagnostics of arrays": (diagnostic.of_arrays, 8),
    "diagnostics of an estimator": (diagnostic.of_estimator, 1),
    "tf_critical_value": (diagnostic.critical_value, 0.3),
    "results of diagnostics": (diagnostic.results, 0.3),
}


def case(seed: int) -> Case:
    """The case of a seed, always the same."""
    rng = np.random.default_rng([2026, seed])
    weights = np.array([weight for _, weight in ENTRIES.values()], dtype=float)
    make, _ = choose(rng, ENTRIES.values(), p=weights / weights.sum())
    out = make(rng)
    out.seed = seed
    return out

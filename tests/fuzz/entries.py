"""Functions that draw cases, how often each is drawn, and what no case calls."""

from __future__ import annotations

import warnings

import numpy as np
from fuzz import (
    diagnostic,
    estimand,
    history,
    named,
    posterior,
    report,
    segments,
    stored,
    sums,
    two_stage,
    use,
)
from fuzz.case import Case, choose

ENTRIES = {
    two_stage.fit: 10,
    two_stage.odd_call: 0.5,
    named.fit: 4,
    sums.fit_moments: 2,
    sums.partial_fit: 1,
    use.predict: 3,
    use.score: 1,
    use.effect: 1,
    use.table: 0.5,
    use.not_fitted: 0.2,
    named.from_frame: 5,
    sums.arithmetic: 1,
    stored.load: 1.5,
    stored.save: 0.2,
    diagnostic.of_arrays: 8,
    diagnostic.of_estimator: 1,
    diagnostic.critical_value: 0.3,
    diagnostic.results: 0.3,
    estimand.of_arrays: 4,
    estimand.of_estimator: 0.7,
    posterior.fit: 6,
    posterior.sampled: 0.1,
    posterior.search: 0.5,
    report.fit_moments: 1.5,
    report.predict: 2,
    report.simulate: 2,
    report.tables: 0.7,
    history.analyse: 2,
    history.fit: 0.7,
    history.from_estimators: 0.3,
    segments.fit: 0.6,
    segments.report: 0.2,
    segments.segment: 0.2,
    named.experiments: 0.7,
    report.metric: 0.7,
    report.experiment: 0.7,
    report.exclusion: 0.2,
    report.dataset: 0.3,
}
MADE = "a result: it is made and printed by what returns it"
CHECKED = "takes what the package has checked, and users have no need of it"
ELSEWHERE = {
    "BayesianIV.to_pymc": "PyMC takes seconds to state a model; it reads rows as `diagnose` does",
    "HierarchicalBayesianIV.to_pymc": "as BayesianIV's",
    "datasets.fetch_push_experiment": "reads from the network",
    "ProgressBar": "scikit-learn calls it; see tests/estimators/test_progress.py",
    "EffectLikelihood": "`from_estimators` makes it of checked fits; see tests/models/history",
    "use_compilation_cache": "sets a folder of the whole process",
    **dict.fromkeys(
        [
            "Borrowing",
            "ExclusionSensitivity",
            "ExperimentFits",
            "ExperimentReport",
            "SegmentReport",
        ],
        MADE,
    ),
    **dict.fromkeys(["MetaAnalysis", "diagnostics.CraggDonald", "diagnostics.EffectiveF"], MADE),
    **dict.fromkeys(["diagnostics.FirstStage", "diagnostics.InstrumentStrength"], MADE),
    **dict.fromkeys(["diagnostics.KleibergenPaap", "diagnostics.Partialled"], MADE),
    **dict.fromkeys(["diagnostics.ConditionalTest", "diagnostics.TFInterval"], MADE),
    **dict.fromkeys(["diagnostics.InstrumentLinearity", "diagnostics.InstrumentValidity"], MADE),
    "diagnostics.Reweighted": MADE,
    **{
        f"{kind}.{method}": CHECKED
        for kind in ("Moments", "FourthMoments")
        for method in ("about", "by_group", "empty", "from_data", "from_query")
    },
    "FourthMoments.moments": CHECKED,
}


def draw(entry, rng) -> Case:
    """A case of an entry; what its making warns of is no matter."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return entry(rng)


def case(seed: int) -> Case:
    """The case of a seed, always the same."""
    rng = np.random.default_rng([2026, seed])
    weights = np.array(list(ENTRIES.values()), dtype=float)
    out = draw(choose(rng, ENTRIES, p=weights / weights.sum()), rng)
    out.seed = seed
    return out

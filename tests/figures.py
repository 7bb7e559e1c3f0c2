"""One or more figures of each display, by the display's name and a variant."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skbayesiv import plotting
from skbayesiv.datasets import make_noncompliance

RESULTS = {
    "params": [{"beta_t_scale": scale} for scale in (0.1, 1.0, 10.0)],
    "split0_test_score": np.array([-4.95, -4.90, -4.89]),
    "split1_test_score": np.array([-4.92, -4.88, -4.87]),
}
TABLE = pd.DataFrame(
    {"estimate": [3.3, 3.3], "lower": [1.9, -0.3], "upper": [4.7, 6.9]}, index=[0.0, 1.0]
)


def of_push(cls):
    """Of the push experiment's rows."""
    return lambda get: cls.from_data(*get("frames")[:3], z=get("frames")[3])


def of_simulation(cls):
    """Of a simulation with several instruments, covariates and a dose."""

    def draw(_):
        sim = make_noncompliance(
            500, n_covariates=2, n_instruments=2, binary_treatment=False, random_state=0
        )
        return cls.from_data(sim.X, sim.t, sim.y, z=sim.z)

    return draw


def of_fit(cls, which="base", **options):
    """Of a fitted estimator, a fixture."""
    return lambda get: cls.from_estimator(get(which), **options)


# Functions of `request.getfixturevalue`.
DRAW = {
    "OutcomeDisplay": of_push(plotting.OutcomeDisplay),
    "OutcomeDisplay, simulated": of_simulation(plotting.OutcomeDisplay),
    "ComplianceDisplay": of_push(plotting.ComplianceDisplay),
    "ComplianceDisplay, simulated": of_simulation(plotting.ComplianceDisplay),
    "FirstStageDisplay": of_push(plotting.FirstStageDisplay),
    "FirstStageDisplay, simulated": of_simulation(plotting.FirstStageDisplay),
    "CausalDiagramDisplay": of_fit(plotting.CausalDiagramDisplay, unobserved="income"),
    "CausalDiagramDisplay, all edges": lambda _: plotting.CausalDiagramDisplay.from_names(
        instruments=["z0", "z1"],
        treatments=["t"],
        outcome="y",
        covariates=["age", "income", "region", "device"],
        direct=True,
    ),
    "SegmentForestDisplay": of_fit(plotting.SegmentForestDisplay, "segmented"),
    "SegmentForestDisplay, some": of_fit(
        plotting.SegmentForestDisplay, "segmented", max_segments=3, cost=2.0
    ),
    "EffectDisplay, segments": of_fit(plotting.EffectDisplay, "segmented"),
    "EffectDisplay": of_fit(plotting.EffectDisplay),
    "EffectDisplay, history": of_fit(plotting.EffectDisplay, "hierarchical"),
    "CorrelationDisplay": of_fit(plotting.CorrelationDisplay),
    "ErrorDensityDisplay": of_fit(plotting.ErrorDensityDisplay),
    "EffectForestDisplay": of_fit(plotting.EffectForestDisplay, "hierarchical"),
    "EffectComparisonDisplay": lambda get: plotting.EffectComparisonDisplay.from_estimators(
        {"Alone": get("base"), "With history": get("hierarchical")}
    ),
    "ExclusionSensitivityDisplay": lambda _: plotting.ExclusionSensitivityDisplay.from_table(
        TABLE, level=0.95
    ),
    "PriorPosteriorDisplay": of_fit(plotting.PriorPosteriorDisplay),
    "PriorSensitivityDisplay": of_fit(plotting.PriorSensitivityDisplay, "hierarchical"),
    "CrossValidationDisplay": lambda _: plotting.CrossValidationDisplay.from_results(RESULTS),
    "TraceDisplay": of_fit(plotting.TraceDisplay, var_names=["beta_t", "beta_z"]),
    "TraceDisplay, one chain": lambda get: plotting.TraceDisplay.from_estimator(
        get("one_chain")["base"], var_names=["beta_t", "beta_z"]
    ),
}

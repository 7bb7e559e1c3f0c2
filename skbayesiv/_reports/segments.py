"""For whom: effects of segments, alone and pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

QUANTILES = {"2.5%": 0.025, "97.5%": 0.975}


def effects_table(est: Any) -> pd.DataFrame:
    """Effects by segment of a fitted estimator."""
    posterior = est.idata_.posterior
    draws = posterior["beta_t"].to_numpy()
    draws = draws.reshape(-1, *draws.shape[2:])
    low, high = np.quantile(draws, list(QUANTILES.values()), axis=0)
    rows = np.array([own.weight for own in est._design.moments])
    columns = {
        "rows": np.repeat(rows[:, None], draws.shape[2], axis=1),
        "first_stage": est._first_stages,
        "effect": draws.mean(axis=0),
        "sd": draws.std(axis=0),
        "2.5%": low,
        "97.5%": high,
        "p_positive": (draws > 0.0).mean(axis=0),
    }
    index = pd.Index(est.segments_, name="segment")
    treatments = list(est.moments_.columns.treatments)
    if len(treatments) > 1:
        index = pd.MultiIndex.from_product([index, treatments], names=["segment", "treatment"])
    return pd.DataFrame({name: value.ravel() for name, value in columns.items()}, index=index)


@dataclass
class SegmentReport:
    pass


def segment_report(est: Any, cost: Any, rope: Any, treatment: Any) -> SegmentReport:
    raise NotImplementedError

"""Names of entries -> functions that draw a case; how often each is drawn."""

from __future__ import annotations

import numpy as np
from fuzz import two_stage
from fuzz.case import Case, choose

ENTRIES = {
    "TwoStageLS.fit": (two_stage.fit, 10),
}


def case(seed: int) -> Case:
    """The case of a seed, always the same."""
    rng = np.random.default_rng([2026, seed])
    weights = np.array([weight for _, weight in ENTRIES.values()], dtype=float)
    make, _ = choose(rng, ENTRIES.values(), p=weights / weights.sum())
    out = make(rng)
    out.seed = seed
    return out

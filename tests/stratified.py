"""An experiment whose assignment and compliance differ by stratum, and so do its effects."""

from __future__ import annotations

import numpy as np

ASSIGNED, SHARES, EFFECTS = (0.95, 0.5), (0.9, 0.3), (0.5, 2.0)
# With strata of equal size: means weighted by share, and by share and assignment.
ON_COMPLIERS = (0.9 * 0.5 + 0.3 * 2.0) / 1.2
ON_TREATED = (0.95 * 0.9 * 0.5 + 0.5 * 0.3 * 2.0) / (0.95 * 0.9 + 0.5 * 0.3)
COMPLIER_SHARE = 0.6


def stratified(seed=0, n=4000, *, assigned=ASSIGNED, shares=SHARES, effects=EFFECTS, always=0.0):
    """X, t, y, z: two strata, as likely; X is a dummy of the second."""
    rng = np.random.default_rng(seed)
    g = rng.integers(0, 2, n)
    z = (rng.random(n) < np.array(assigned)[g]).astype(float)
    kind = rng.random(n)
    complier = kind < np.array(shares)[g]
    t = np.where(complier, z, kind > 1.0 - always)
    y = g + np.array(effects)[g] * t + rng.normal(size=n)
    return {"X": g[:, None].astype(float), "t": t, "y": y, "z": z}


def arrays(data):
    """In the order of a diagnostic's arguments."""
    return data["y"], data["t"], data["z"], data["X"]

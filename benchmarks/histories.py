"""Coverage of the mean effect of many weak experiments, as normal summaries and by likelihoods.

    python benchmarks/histories.py --replications 200 --output docs/_data/histories.csv

makes the table of the documentation's page on histories: 100 experiments of 200 rows and one
instrument each, all with an effect of 1, and in each cell the coverage of the 95% interval of the
mean effect and, in brackets, its median width.
"""

from __future__ import annotations

import warnings

import numpy as np
from designs import correlated
from simulation import cells, run

from skbayesiv import HierarchicalBayesianIV, TwoStageLS

ROWS, EXPERIMENTS, EFFECT = 200, 100, 1.0
# Concentration, correlation of the errors.
DESIGNS = {
    "F 2, rho .8": (1.0, 0.8),
    "F 5, rho .95": (4.0, 0.95),
}
METHODS = ("normal summaries", "likelihoods")


def experiment(rng: np.random.Generator, concentration: float, rho: float) -> TwoStageLS:
    """Two-stage least squares of one simulated experiment."""
    z, v = rng.normal(size=ROWS), rng.normal(size=ROWS)
    t = np.sqrt(concentration / ROWS) * z + v
    y = EFFECT * t + correlated(rng, v, rho)
    return TwoStageLS(check=False).fit(None, t, y, z=z)


def replicate(name: str, seed: np.random.SeedSequence) -> list[tuple[float, float]]:
    """Intervals of the mean effect by each method."""
    rng = np.random.default_rng(seed)
    each = [experiment(rng, *DESIGNS[name]) for _ in range(EXPERIMENTS)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        carried = HierarchicalBayesianIV.from_estimators(each)
    summaries = HierarchicalBayesianIV(carried.effects, carried.std_errors)
    means = (est.meta_analysis().treatments[0].mean_effect for est in (summaries, carried))
    return [(mean.lower, mean.upper) for mean in means]


def row(name: str, outcomes: list[list[tuple[float, float]]]) -> list[str]:
    """Cells of one design."""
    return cells(outcomes, EFFECT)


if __name__ == "__main__":
    run(__doc__, ["design", *METHODS], DESIGNS, replicate, row)

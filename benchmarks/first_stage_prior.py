r"""Coverage and width of the posterior's 95% interval under priors of the first stage.

    python benchmarks/first_stage_prior.py --replications 2000 \
        --output docs/_data/first_stage_prior.csv

makes the table of the documentation's page on priors: a row for each design, in each cell the
coverage and, in brackets, the median width of equal-tailed intervals; of the Anderson-Rubin set the
width alone, infinite where most sets are unbounded.
"""

from __future__ import annotations

import warnings

import numpy as np
from designs import Sample, instruments
from simulation import cells, run

from skbayesiv import BayesianIV
from skbayesiv.diagnostics import anderson_rubin_confidence_set

LEVEL, EFFECT = 0.95, 1.0
PRIORS = {
    "fixed, LKJ(1)": {"beta_z_scale": "auto", "lkj_eta": 1.0},
    "fixed, regression": {"beta_z_scale": "auto", "lkj_eta": 1.0, "sigma_prior": "regression"},
    "learned, LKJ(1)": {"lkj_eta": 1.0},
    "learned, LKJ(1/2)": {},
}
# Instruments, concentration, rows, correlation of the errors.
DESIGNS = {
    "1 instrument, F 100, rho .8": (1, 100.0, 500, 0.8),
    "1 instrument, F 2, rho 0": (1, 1.0, 200, 0.0),
    "1 instrument, F 2, rho .8": (1, 1.0, 200, 0.8),
    "1 instrument, F 2, rho .95": (1, 1.0, 200, 0.95),
    "1 instrument, F 5, rho .95": (1, 4.0, 200, 0.95),
    "2 instruments, F 2, rho .95": (2, 2.0, 500, 0.95),
    "5 instruments, F 5, rho .8": (5, 20.0, 500, 0.8),
    "8 instruments, F 11, rho .8": (8, 80.0, 500, 0.8),
    "10 instruments, F 2, rho .8": (10, 10.0, 500, 0.8),
    "10 instruments, F 5, rho .95": (10, 40.0, 500, 0.95),
    "30 instruments, F 3, rho .8": (30, 60.0, 500, 0.8),
}


def intervals(sample: Sample, seed: int) -> list[tuple[float, float]]:
    """Interval under each prior, and the width of the Anderson-Rubin set as one about nothing."""
    found = []
    for parameters in PRIORS.values():
        est = BayesianIV(
            draws=700, tune=300, chains=1, random_state=seed, check=False, **parameters
        )
        low, high = est.fit(None, sample.t, sample.y, z=sample.z).effect_interval(level=LEVEL)
        found.append((float(low), float(high)))
    rival = anderson_rubin_confidence_set(sample.y, sample.t, sample.z, level=LEVEL)
    width = sum(upper - lower for lower, upper in rival.intervals)
    return [*found, (0.0, float(width))]


def replicate(name: str, seed: np.random.SeedSequence) -> list[tuple[float, float]]:
    """Intervals in one sample of a design."""
    sample = instruments(*DESIGNS[name])(np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return intervals(sample, int(seed.generate_state(1)[0] >> 1))


def row(name: str, outcomes: list[list[tuple[float, float]]]) -> list[str]:
    """Cells of one design."""
    ends = np.array(outcomes)
    width = np.median(ends[:, -1, 1] - ends[:, -1, 0])
    return [*cells(ends[:, :-1], EFFECT), f"{width:.3g}"]


if __name__ == "__main__":
    header = ["design", *PRIORS, "Anderson-Rubin, width"]
    run(__doc__, header, DESIGNS, replicate, row)

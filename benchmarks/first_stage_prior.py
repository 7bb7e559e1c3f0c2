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
from scipy.stats import norm
from simulation import cells, run

from skbayesiv import BayesianIV
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv._models.build import build_model, read_sums
from skbayesiv._models.normal.conditional import coefficient_prior, conditional
from skbayesiv._models.parts.error_covariance import chain, precision
from skbayesiv._models.parts.model import own_prior
from skbayesiv._sampling.nuts import sample as sample_target
from skbayesiv.diagnostics import anderson_rubin_confidence_set

LEVEL, EFFECT = 0.95, 1.0
DRAWS, FEW, MANY = 1000, 500, 10  # fewer draws with many instruments
STRATA = norm.ppf((np.arange(40) + 0.5) / 40)  # of each draw's normal distribution
PRIORS = {
    "fixed, LKJ(1)": {"beta_z_scale": "auto", "lkj_eta": 1.0},
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


def quantiles(est: BayesianIV, sample: Sample) -> tuple[float, float]:
    """Ends of the interval, from the effect's normal distribution at each draw of all else.

    Such a mixture has less Monte Carlo error than the effect's own draws, and needs fewer.
    """
    data = read_rows(None, sample.y, sample.t, sample.z, roles=Roles(None, None))
    model = build_model(est, read_sums(est, data))
    shape, arrays, (at,) = model.shape, model.arrays, model.shape.effect_positions
    u = sample_target(model.target(), est._settings(), None).flat.T
    log_d, rows = chain(u, shape.n_equations)
    log_sd = list(u[shape.covariance_dim :])
    prior = coefficient_prior(shape, arrays, own_prior(arrays, shape), log_sd, np)
    solved = conditional(shape, arrays, precision(log_d, rows, np), prior, np)[2]
    loc, deviation, square = (
        part[at] if shape.unrolled else part[..., at]
        for part in (prior[0], solved.deviation, solved.square)
    )
    mean, variance = loc + deviation, square - deviation**2
    points = mean[:, None] + np.sqrt(variance)[:, None] * STRATA
    low, high = np.quantile(points, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) * model.effect_unit[0]
    return float(low), float(high)


def intervals(sample: Sample, seed: int) -> list[tuple[float, float]]:
    """Interval under each prior, and the width of the Anderson-Rubin set as one about nothing."""
    draws = FEW if sample.z.shape[1] >= MANY else DRAWS
    found = []
    for parameters in PRIORS.values():
        est = BayesianIV(draws=draws, tune=300, chains=1, random_state=seed, **parameters)
        found.append(quantiles(est, sample))
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

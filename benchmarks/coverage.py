"""Coverage and width of 95% intervals of the effect, and of what a user gets who follows warnings.

    python benchmarks/coverage.py --replications 2000 --output docs/_data/coverage.csv

makes the table of the documentation: a row for each design of :mod:`designs`, in each cell the
coverage and, in brackets, the median width, infinite where most sets are unbounded.

normal    BayesianIV() at its default priors
warned    the share of these fits that warn
follows   what a user reports who starts with BayesianIV() and does what the warning says first
gmm       BayesianIV(likelihood="gmm") with the clusters there are
2sls      two-stage least squares, classical standard errors
robust    TwoStageLS(): robust standard errors or, with clusters, clustered
liml      TwoStageLS(method="liml")
cr2       TwoStageLS(cov_type="CR2")
ar        the Anderson-Rubin set, robust or clustered
clr       the set of the conditional likelihood ratio, likewise

The quasi-posterior of one effect is one-dimensional: its quantiles are taken by quadrature of the
density that the sampler sees. The normal likelihood is sampled. Intervals are equal-tailed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from designs import DESIGNS, Sample
from simulation import run

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv._models.build import build_model, read_sums
from skbayesiv.diagnostics import (
    ConfidenceSet,
    anderson_rubin_confidence_set,
    conditional_likelihood_ratio_confidence_set,
)
from skbayesiv.exceptions import (
    EstimandWarning,
    FewClustersWarning,
    HeteroskedasticityWarning,
    IgnoredClustersWarning,
    InferenceWarning,
    ManyInstrumentsWarning,
    WeakInstrumentWarning,
)

LEVEL = 0.95
GRID = 2001
NEAR = 15.0  # standard errors about the 2SLS estimate where the grid is fine
METHODS = ("normal", "follows", "gmm", "2sls", "robust", "liml", "cr2", "ar", "clr")
# What each warning says to report, the first that applies.
ADVICE = (
    ((WeakInstrumentWarning, ManyInstrumentsWarning), "clr"),
    ((IgnoredClustersWarning, FewClustersWarning), "cr2"),
    ((HeteroskedasticityWarning,), "robust"),
    ((EstimandWarning,), "robust"),  # of no design here, whose assignments are random
)


@dataclass(frozen=True)
class Outcome:
    """Whether each method's interval covers, its width, and whether the fit warned."""

    covers: dict[str, bool]
    widths: dict[str, float]
    warned: bool


def quasi_posterior(sample: Sample) -> ConfidenceSet:
    """Quantiles of the effect under likelihood="gmm", by quadrature."""
    est = BayesianIV(likelihood="gmm")
    data = read_rows(
        sample.X, sample.y, sample.t, sample.z, clusters=sample.clusters, roles=Roles(None, None)
    )
    model = build_model(est, read_sums(est, data))
    arrays, shape = model.arrays, model.shape

    reach = 9.0 / np.sqrt(arrays.precision[0])
    centre, error = (part[0] / model.effect_unit[0] for part in model.two_stage())
    grid = np.union1d(
        np.linspace(arrays.loc[0] - reach, arrays.loc[0] + reach, GRID),
        np.linspace(centre - NEAR * error, centre + NEAR * error, GRID),
    )
    value = model.given_prior(shape, [grid], arrays, [arrays.loc[0]], [arrays.precision[0]], np)
    density = np.exp(value - value.max())
    mass = np.append(0.0, np.cumsum((density[1:] + density[:-1]) * np.diff(grid)))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return interval(np.interp(tails, mass / mass[-1], grid) * model.effect_unit[0])


def interval(ends: np.ndarray) -> ConfidenceSet:
    """An interval as a set."""
    return ConfidenceSet((tuple(map(float, ends)),), LEVEL)


def two_stage(sample: Sample, **parameters: str) -> ConfidenceSet:
    """Interval of a two-stage estimate."""
    est = TwoStageLS(check=False, **parameters)
    clusters = None if parameters.get("cov_type") == "unadjusted" else sample.clusters
    est.fit(sample.X, sample.t, sample.y, z=sample.z, clusters=clusters)
    return interval(est.effect_interval(level=LEVEL))


def posterior(sample: Sample, seed: int) -> tuple[ConfidenceSet, tuple[InferenceWarning, ...]]:
    """Interval of the default posterior, and what its fit warned of."""
    est = BayesianIV(draws=500, tune=300, chains=2, random_state=seed)
    est.fit(sample.X, sample.t, sample.y, z=sample.z, clusters=sample.clusters)
    return interval(est.effect_interval(level=LEVEL)), est.warnings_


def advised(found: tuple[InferenceWarning, ...]) -> str:
    """What a user reports who does what the warnings say."""
    for kinds, method in ADVICE:
        if any(isinstance(one, kinds) for one in found):
            return method
    return "normal"


def sets(sample: Sample, seed: int) -> tuple[dict[str, ConfidenceSet], bool]:
    """The set of each method, and whether the default fit warned."""
    normal, found = posterior(sample, seed)
    robust_set = anderson_rubin_confidence_set(**sample.arrays, level=LEVEL)
    conditional = robust_set
    if sample.z.shape[1] > 1:
        conditional = conditional_likelihood_ratio_confidence_set(**sample.arrays, level=LEVEL)
    out = {
        "normal": normal,
        "gmm": quasi_posterior(sample),
        "2sls": two_stage(sample, cov_type="unadjusted"),
        "robust": two_stage(sample),
        "liml": two_stage(sample, method="liml"),
        "cr2": two_stage(sample, cov_type="CR2"),
        "ar": robust_set,
        "clr": conditional,
    }
    return out | {"follows": out[advised(found)]}, bool(found)


def replicate(name: str, seed: np.random.SeedSequence) -> Outcome:
    """One sample of a design, and every method's verdict."""
    design = DESIGNS[name]
    sample = design.draw(np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, warned = sets(sample, int(seed.generate_state(1)[0] >> 1))
    widths = {
        method: float(sum(upper - lower for lower, upper in one.intervals))
        for method, one in found.items()
    }
    covers = {method: one.contains(design.effect) for method, one in found.items()}
    return Outcome(covers, widths, warned)


def summarise(outcomes: list[Outcome]) -> tuple[dict[str, tuple[float, float]], float]:
    """Coverage and median width of each method, and the share of fits that warned."""
    cells = {
        method: (
            float(np.mean([one.covers[method] for one in outcomes])),
            float(np.median([one.widths[method] for one in outcomes])),
        )
        for method in METHODS
    }
    return cells, float(np.mean([one.warned for one in outcomes]))


def row(name: str, outcomes: list[Outcome]) -> list[str]:
    """Cells of one design."""
    found, warned = summarise(outcomes)
    texts = [f"{hit:.3f} ({width:.3g})" for hit, width in found.values()]
    return [texts[0], f"{warned:.3f}", *texts[1:]]


if __name__ == "__main__":
    run(__doc__, ["design", "normal", "warned", *METHODS[1:]], DESIGNS, replicate, row)

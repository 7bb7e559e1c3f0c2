"""Where independent proposals cover the posterior: beside NumPyro's NUTS on the same models.

    python benchmarks/independence.py --replications 200 --output docs/_data/independence.csv

makes the table of the documentation's page on sampling: a row for each kind of data, simulated
anew in each replication. A fit warns where the weights of its proposals have a tail with a Pareto
k above 0.7, or too few are accepted. Posterior means of the effect and its 2.5% and 97.5%
quantiles are compared with those of forty times as many independent draws, and with NUTS's, in
units of the Monte Carlo error of the difference.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from arviz_stats.base.array import array_stats
from designs import Sample, instruments
from measure import ess
from simulation import run

from skbayesiv import BayesianIV, HierarchicalBayesianIV
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv._models.build import read_sums
from skbayesiv._models.parts.model import Model
from skbayesiv._models.sampling import sample_model
from skbayesiv._results.convergence import not_covered

CHAINS, DRAWS, LONG = 4, 1000, 40
PROBABILITIES, FAR = (0.025, 0.975), 4.0
CONFLICT = {"effects": [-2.0, -2.2, -1.9], "std_errors": [0.2, 0.2, 0.2]}


def two_treatments(rng: np.random.Generator) -> Sample:
    """200 rows, three instruments weak for both treatments, errors that correlate by .8."""
    z = rng.normal(size=(200, 3))
    e = np.sqrt(0.8) * rng.normal(size=(200, 1)) + np.sqrt(0.2) * rng.normal(size=(200, 3))
    t = z @ np.array([[0.15, 0.05], [0.05, 0.15], [0.05, 0.05]]) + e[:, 1:]
    return Sample(t.sum(axis=1) + e[:, 0], t, z)


def few_clusters(rng: np.random.Generator) -> Sample:
    """Eight clusters of 25 rows."""
    sample = instruments(1, 50.0, 200, 0.5)(rng)
    return Sample(sample.y, sample.t, sample.z, clusters=np.arange(200) % 8)


Draw = Callable[[np.random.Generator], Sample]
GMM = {"likelihood": "gmm"}
DESIGNS: dict[str, tuple[BayesianIV, Draw]] = {
    "strong instrument": (BayesianIV(), instruments(1, 100.0, 500, 0.8)),
    "F 2, rho .8": (BayesianIV(), instruments(1, 1.0, 200, 0.8)),
    "F 2, rho .95": (BayesianIV(), instruments(1, 1.0, 200, 0.95)),
    "F 2, rho .95, fixed first stage": (
        BayesianIV(beta_z_scale="auto", lkj_eta=1.0),
        instruments(1, 1.0, 200, 0.95),
    ),
    "no first stage": (BayesianIV(), instruments(1, 0.0, 200, 0.8)),
    "10 rows": (BayesianIV(), instruments(1, 5.0, 10, 0.5)),
    "10 instruments, F 2, rho .8": (BayesianIV(), instruments(10, 10.0, 500, 0.8)),
    "40 instruments, F 2, rho .5": (BayesianIV(), instruments(40, 40.0, 500, 0.5)),
    "two treatments, weak": (BayesianIV(), two_treatments),
    "history in conflict": (
        HierarchicalBayesianIV(**CONFLICT),
        instruments(1, 100.0, 500, 0.8),
    ),
    "robust history in conflict, F 2": (
        HierarchicalBayesianIV(**CONFLICT, robust_weight=0.3),
        instruments(1, 1.0, 200, 0.95),
    ),
    "gmm, strong": (BayesianIV(**GMM), instruments(1, 100.0, 500, 0.8)),
    "gmm, F 2, flat tail": (BayesianIV(**GMM), instruments(1, 1.0, 200, 0.8)),
    "gmm, 8 clusters": (BayesianIV(**GMM), few_clusters),
}


def model_of(est: BayesianIV, sample: Sample) -> Model:
    """Model of a sample."""
    data = read_rows(
        sample.X, sample.y, sample.t, sample.z, clusters=sample.clusters, roles=Roles()
    )
    return est._build_model(read_sums(est, data))


def replicate(name: str, seed: np.random.SeedSequence) -> tuple[float, ...]:
    """Whether it warns, its acceptance rate and share of effective draws, and three distances.

    These are its own and NUTS's from a long run, and from each other.
    """
    warnings.simplefilter("ignore")
    template, draw = DESIGNS[name]
    rng = np.random.default_rng(seed)
    template.set_params(draws=DRAWS, chains=CHAINS, random_state=int(rng.integers(1 << 31)))
    model = model_of(template, draw(rng))
    settings, found = template._settings(), []
    for backend, own in (
        ("independence", settings),
        ("numpyro", settings),
        ("independence", replace(settings, draws=LONG * DRAWS, seed=settings.seed ^ 1)),
    ):
        draws, posterior = sample_model(model, backend, own, densities=False)
        found.append((draws.stats, posterior.values["beta_t"][:, 0].reshape(CHAINS, -1)))
    (stats, proposed), (_, nuts), (_, long) = found
    rate, share = float(stats["acceptance_rate"].mean()), ess(proposed) / proposed.size
    off = distance(proposed, long), distance(nuts, long), distance(proposed, nuts)
    return float(not_covered(stats)), rate, share, *off


def distance(own: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference of mean and quantiles in units of its Monte Carlo error."""
    options = {"chain_axis": 0, "draw_axis": 1}
    off = []
    for probability in (None, *PROBABILITIES):
        how = {"method": "mean"} if probability is None else {"method": "quantile"}
        if probability is not None:
            how["prob"] = probability
        of = [
            x.mean() if probability is None else np.quantile(x, probability) for x in (own, theirs)
        ]
        errors = [array_stats.mcse(x, **how, **options) for x in (own, theirs)]
        off.append(abs(of[0] - of[1]) / np.hypot(*errors))
    return float(np.max(off))


def row(name: str, outcomes: list[tuple[float, ...]]) -> list[str]:
    """One line of the table."""
    warned, rate, share, *off = (np.array(part) for part in zip(*outcomes, strict=True))
    quiet = warned == 0.0
    own, nuts, between = off[0][quiet], off[1], off[2][quiet]
    return [
        f"{warned.mean():.3f}",
        f"{np.median(rate):.2f} ({rate.min():.2f})",
        f"{np.median(share):.2f} ({share.min():.2f})",
        f"{np.median(own):.2f}, {np.median(nuts):.2f}",
        f"{(own > FAR).mean():.3f}, {(nuts > FAR).mean():.3f}",
        f"{(between > FAR).mean():.3f}",
    ]


if __name__ == "__main__":
    header = [
        "data",
        "fits that warn",
        "accepted, median (least)",
        "effective share, median (least)",
        "distance from a long run; NUTS's",
        "beyond 4, not warned; NUTS's",
        "from each other",
    ]
    run(__doc__, header, DESIGNS, replicate, row)

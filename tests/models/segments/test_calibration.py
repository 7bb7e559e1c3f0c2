"""Simulation-based calibration of segments and their population; slow.

Prior draws -> rows of all segments -> posterior ranks, which are uniform when all is right.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from skbayesiv import HierarchicalBayesianIV
from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._data.standardised import Standardised, standardise, standardise_part
from skbayesiv._models.history.table import History
from skbayesiv._models.normal.design import build_design
from skbayesiv._models.normal.model import NormalModel
from skbayesiv._models.parts.prior_draws import prior_draws
from skbayesiv._models.parts.priors import build_priors
from skbayesiv._models.segments.design import SegmentedDesign
from skbayesiv._models.segments.model import SegmentedModel
from skbayesiv._models.segments.population import Population
from skbayesiv._results.predictive import NewRows, simulate
from skbayesiv._sampling.nuts import sample
from skbayesiv._sampling.target import Settings

G, N, COUNT = 5, 50, 300
COLUMNS = Columns((), ("z",), ("t",), "y")
PRIORS = {
    "intercept_y_loc": 0.0,
    "intercept_y_scale": 1.0,
    "intercept_t_loc": 0.0,
    "intercept_t_scale": 1.0,
    "beta_z_scale": 1.0,
    "sigma_scale": 1.0,
    "lkj_eta": 1.0,
    "intercept_prior": "raw",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "kind"),
    [(np.empty((G, 0)), "half-normal"), (np.linspace(-1, 1, G)[:, None], "half-t")],
    ids=["without covariates", "with a covariate"],
)
def test_ranks_are_uniform(features, kind):
    rng = np.random.default_rng(0)
    priors = build_priors(
        HierarchicalBayesianIV(**PRIORS),
        Standardised(COLUMNS, 0.0, np.zeros(3), np.ones(3), np.eye(3)),
    )
    none, one = np.empty((0, 1)), np.ones(1)
    m = features.shape[1]
    population = Population(
        History(none, none, (), ("t",), 0.5 * one, one, 0.7 * one, kind),
        features,
        np.zeros(m),
        ("w",) * m,
        np.full((m, 1), 0.8),
    )
    truths = population.draw(COUNT, rng)
    loc = population.mean(truths)
    effects = loc + truths["sigma_t_bar"][:, None] * rng.standard_normal(loc.shape)
    ranks = {}
    for i in range(COUNT):
        moments, others = [], []
        for g in range(G):
            own = prior_draws(priors, np.zeros(3), COLUMNS, 1, rng, effects[i : i + 1, g])
            rows = NewRows(np.empty((N, 0)), rng.normal(size=(N, 1)))
            made = simulate(own, rows, rng)
            data = IVData(rows.x, rows.z, made["t"][0], made["y"][0], None, COLUMNS)
            moments.append(Moments.from_data(data))
            others.append(own)
        whole = standardise(sum(moments))
        models = tuple(
            NormalModel(build_design(standardise_part(part, whole), priors)) for part in moments
        )
        names = tuple(map(str, range(G)))
        model = SegmentedModel(
            SegmentedDesign(names, tuple(moments), models, np.arange(G), population, {})
        )
        draws = sample(model.target(), Settings(300, 400, 1, 0.9, i))
        posterior = model.posterior(draws.flat, np.random.default_rng(i)).values
        compared = {name: truths[name][i].ravel() for name in truths}
        compared["beta_t"] = effects[i].ravel()
        compared["beta_z"] = np.array([own["beta_z"][0, 0, 0] for own in others])
        compared["sigma"] = np.concatenate([own["sigma"][0] for own in others])
        for name, value in compared.items():
            drawn = posterior[name].reshape(300, -1)[::3]
            ranks.setdefault(name, []).append((drawn < value).mean(axis=0))
    for name, rank in ranks.items():
        for column in np.array(rank).T:
            jittered = (column * 100 + rng.uniform(size=COUNT)) / 101
            assert stats.kstest(jittered, "uniform").pvalue > 1e-4, name

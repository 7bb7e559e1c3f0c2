"""Many experiments at once: what the template says holds for each of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from experiments import QUICK
from metropolis import metropolis

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, Moments, fit_experiments
from skbayesiv._models.normal.model import NormalModel
from skbayesiv._models.sampling import sample_model
from skbayesiv._sampling.backends import BACKENDS
from skbayesiv.datasets import make_noncompliance

ROLES = {"by": "week", "outcome": "y", "treatment": "t", "instruments": "z", "covariates": "x"}
SURE = {"effects": [1.3, 1.31, 1.29], "std_errors": [0.01, 0.01, 0.01]}


@pytest.fixture(scope="module")
def frame():
    """Three experiments whose effect is about 1."""
    parts = [make_noncompliance(200, effect=1.0, n_covariates=1, random_state=i) for i in range(3)]
    return pd.concat(
        pd.DataFrame({"x": p.X[:, 0], "t": p.t, "y": p.y, "z": p.z, "week": i})
        for i, p in enumerate(parts)
    )


@pytest.mark.filterwarnings("ignore:The sampler has not converged")
def test_a_history_is_a_part_of_the_template(frame):
    fits = fit_experiments(frame, estimator=HierarchicalBayesianIV(**SURE, **QUICK), **ROLES)
    posterior = fits.idata.posterior
    alone = fit_experiments(frame, estimator=BayesianIV(**QUICK), **ROLES)
    assert (np.abs(alone.effects.iloc[:2] - 1.3) > 0.25).all(axis=None)
    assert (np.abs(fits.effects - 1.3) < 0.1).all(axis=None)
    assert np.allclose(posterior["beta_t_bar"].mean(("chain", "draw")), 1.3, atol=0.05)
    assert posterior["beta_j"].dims == (
        *("chain", "draw", "experiment"),
        *("earlier_experiment", "treatment"),
    )
    assert posterior["experiment"].to_numpy().tolist() == ["0", "1", "2"]
    assert posterior["earlier_experiment"].to_numpy().tolist() == ["0", "1", "2"]


@pytest.mark.filterwarnings("ignore:The (sampler|current)")
def test_each_is_what_a_fit_with_the_history_gives(frame):
    est = HierarchicalBayesianIV([1.0, 1.3], [0.3, 0.2], robust_weight=0.2, **QUICK)
    fits = fit_experiments(frame, estimator=est, **ROLES)
    groups = Moments.from_frame(frame, **ROLES)
    for j, moments in enumerate(groups.values()):
        alone = est.fit_moments(moments).idata_.posterior
        for name in ("beta_t", "beta_t_bar", "sigma_t_bar", "beta_j", "exchangeable"):
            many = fits.idata.posterior[name].isel(experiment=j).to_numpy()
            assert np.array_equal(many, alone[name].to_numpy()), name


@pytest.fixture
def steps(monkeypatch):
    """Backend that takes one step a draw, as NumPyro's never does, and counts its targets."""
    found = []

    def sample(target, settings, track=None):
        found.append(target)
        return metropolis(target, settings)

    monkeypatch.setitem(BACKENDS, "metropolis", sample)
    return found


@pytest.mark.filterwarnings("ignore:The sampler has not converged")
def test_experiments_follow_the_backend(frame, steps):
    est = BayesianIV(backend="metropolis", **QUICK)
    fits = fit_experiments(frame, estimator=est, **ROLES)
    assert (fits.idata.sample_stats["n_steps"] == 1).all()
    assert len(steps) == 3


@pytest.mark.filterwarnings("ignore:The sampler has not converged")
def test_a_search_follows_the_backend(frame, steps):
    est = BayesianIV(backend="metropolis", **QUICK)
    search = BayesianIVCV(est, beta_t_scale=[0.5, 2.0], cv=3)
    search.fit(frame[["x"]], frame["t"], frame["y"], z=frame["z"])
    assert len(steps) == 2 * 3 + 1
    assert (search.idata_.sample_stats["n_steps"] == 1).all()


def test_pymc_without_rows_is_refused(frame):
    with pytest.raises(ValueError, match=r'backend="pymc" samples a model of all rows'):
        fit_experiments(frame, estimator=BayesianIV(backend="pymc", **QUICK), **ROLES)


@pytest.mark.filterwarnings("ignore:The sampler has not converged")
def test_pymc_in_a_search_gets_the_training_rows(frame, monkeypatch):
    sizes = []

    def sample_pymc(model, data, settings):
        sizes.append(data.n_rows)
        return sample_model(model, "numpyro", settings)

    monkeypatch.setattr(NormalModel, "sample_pymc", sample_pymc)
    search = BayesianIVCV(BayesianIV(backend="pymc", **QUICK), beta_t_scale=[1.0], cv=4)
    search.fit(frame[["x"]], frame["t"], frame["y"], z=frame["z"])
    assert sizes == [450] * 4 + [600]

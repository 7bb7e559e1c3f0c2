"""The criterion as PyMC states it, with and without a history; and PyMC as a sampler."""

from __future__ import annotations

import numpy as np
import pytest
from criterion import criterion, make_rows, partialled
from criterion_fits import HISTORY, fit, model_of, quiet
from experiments import QUICK
from scipy import stats

from skbayesiv import BayesianIV, HierarchicalBayesianIV
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.moments import Moments
from skbayesiv._models.moment_conditions.density import log_likelihood_and_prior


def log_posterior(design, beta):
    """Log quasi-posterior density of effects in raw units, up to a constant."""
    loc, precision = list(design.arrays.loc), list(design.arrays.precision)
    u = list(beta / design.unit)
    return log_likelihood_and_prior(design.shape, u, design.arrays, loc, precision, np)


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
@pytest.mark.parametrize("direct", [0.0, 0.3])
def test_pymc_states_the_same_density(direct):
    """log p(beta, delta) = log p(beta) + log N(delta | beta), with the normal computed here."""
    data = make_rows(2, 3, 1, weighted=True)
    model = model_of(data, exclusion_scale=direct)
    density = model.to_pymc(data).compile_logp(mode="FAST_COMPILE")
    y, t, z, w = partialled(data)
    gram = (z * w[:, None]).T @ z
    rng, gaps = np.random.default_rng(0), []
    for beta in rng.normal(1.0, 1.0, (4, 2)):
        point = {"beta_t": beta}
        conditional = 0.0
        if direct:
            scores = z * (y - t @ beta)[:, None]
            s = (scores * w[:, None]).T @ scores
            precision = gram @ np.linalg.solve(s, gram) + np.eye(3) / direct**2
            mean = np.linalg.solve(precision, gram @ np.linalg.solve(s, w @ scores))
            point["direct"] = rng.normal(0.0, direct, 3)
            law = stats.multivariate_normal(mean, np.linalg.inv(precision))
            conditional = law.logpdf(point["direct"])
        gaps.append(density(point) - log_posterior(model.design, beta) - conditional)
    assert np.allclose(gaps, gaps[0], atol=1e-6)


@quiet
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")
@pytest.mark.parametrize("robust", [0.0, 0.3])
def test_pymc_states_the_same_hierarchy(robust):
    """Moving beta_t alone moves the criterion and its prior given the hierarchy."""
    data = make_rows(1, 2, 1)
    est = fit(
        data,
        est=HierarchicalBayesianIV,
        robust_weight=robust,
        beta_t_bar_scale=2.0,
        sigma_t_bar_scale=1.0,
        beta_t_scale=4.0,
        **QUICK,
        **HISTORY,
    )
    model = est.to_pymc()
    density, bar, sigma = model.compile_logp(mode="FAST_COMPILE"), 0.5, 1.5
    point = model.initial_point() | {
        "beta_t_bar": np.array([bar]),
        "sigma_t_bar_log__": np.log([sigma]),
    }

    def stated(beta):
        moved = {"beta_t": beta} if robust else {"w": (beta - bar) / sigma}
        return density(point | {name: np.array([value]) for name, value in moved.items()})

    def written(beta):
        near, far = stats.norm.pdf(beta, bar, sigma), stats.norm.pdf(beta, 0.0, 4.0)
        return np.log((1 - robust) * near + robust * far) + criterion(data, [beta])

    assert np.isclose(stated(2.0) - stated(0.5), written(2.0) - written(0.5), rtol=1e-6)


@quiet
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
def test_to_pymc_needs_no_rows_and_takes_clusters():
    data = make_rows(1, 2, 1)
    clusters = np.arange(data.n_rows) // 3
    rows = {"X": data.x, "t": data.t, "y": data.y, "z": data.z}
    est = fit(data, clusters=clusters, **QUICK)
    moments = Moments.from_data(data)
    fourth = FourthMoments.from_data(data, None, clusters)
    sums = BayesianIV(likelihood="gmm", **QUICK)
    sums.fit_moments(moments, fourth)
    models = [est.to_pymc(), est.to_pymc(**rows, clusters=clusters), sums.to_pymc()]
    one, *others = [
        model.compile_logp(mode="FAST_COMPILE")({"beta_t": np.array([2.0])}) for model in models
    ]
    assert np.allclose(others, one)
    prior = np.sum(stats.norm.logpdf(2.0, 0.0, est._model.design.priors.beta_t.scale))
    assert np.isclose(one, prior + criterion(data, [2.0], clusters=clusters), rtol=1e-6)
    independent = est.to_pymc(**rows).compile_logp(mode="FAST_COMPILE")({"beta_t": np.array([2.0])})
    assert abs(independent - one) > 1e-3
    with pytest.raises(ValueError, match="clusters must be passed with the rows"):
        est.to_pymc(clusters=clusters)


@quiet
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
def test_clusters_are_kept_with_the_rows_only():
    rng = np.random.default_rng(0)
    z = rng.normal(size=20_001)
    t = z + rng.normal(size=20_001)
    y = t + rng.normal(size=20_001)
    est = BayesianIV(likelihood="gmm", **QUICK).fit(
        None, t, y, z=z, clusters=np.arange(20_001) // 2
    )
    assert est._rows is None
    density = est.to_pymc().compile_logp(mode="FAST_COMPILE")({"beta_t": np.array([1.0])})
    assert np.isfinite(density)


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation:UserWarning")
@pytest.mark.parametrize("direct", [0.0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_backend_pymc_samples_the_same_posterior(direct):
    data = make_rows(2, 3, 1)
    own, other = (
        fit(data, exclusion_scale=direct, backend=backend, draws=2000)
        for backend in ("numpyro", "pymc")
    )
    for name in ("beta_t", "intercept_y", "beta_z", *(["direct"] if direct else [])):
        a, b = (est.idata_.posterior[name].to_numpy().reshape(4000, -1) for est in (own, other))
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 0.15 * a.std(axis=0)).all()
        assert np.allclose(a.std(axis=0), b.std(axis=0), rtol=0.1)

"""The held-out log predictive density, and its scorer in every place that a scorer is used."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from experiments import QUICK
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv.datasets import make_noncompliance
from skbayesiv.metrics import log_predictive_density, log_predictive_density_scorer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAMED = {"treatment": "push", "instruments": "coin"}
DATA = make_noncompliance(300, n_covariates=2, random_state=0)
X, T, Y, Z = (np.asarray(a, dtype=float) for a in (DATA.X, DATA.t, DATA.y, DATA.z))
FRAME = pd.DataFrame({"push": T, "a": X[:, 0], "coin": Z, "b": X[:, 1]})
SCALES = {"beta_t_scale": [0.5, 5.0]}
HELD = slice(0, 40)


@pytest.fixture(scope="module")
def est():
    return BayesianIV(**QUICK).fit(X, T, Y, z=Z)


@pytest.fixture(scope="module")
def named():
    return BayesianIV(**QUICK, **NAMED).fit(FRAME, Y)


@pytest.fixture
def routing():
    """Metadata routing on."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def densities(est):
    """By SciPy: (y, t) given z and x is normal, for t moves y; averaged over the draws."""
    draws = est.idata_.posterior.to_dataset().stack(s=("chain", "draw"))
    out = []
    for s in range(draws.sizes["s"]):
        draw = {name: value.to_numpy() for name, value in draws.isel(s=s).items()}
        beta = draw["beta_t"].item()
        mean_t = draw["intercept_t"] + Z * draw["beta_z"].item() + X @ draw["gamma_t"][:, 0]
        mean_y = draw["intercept_y"] + mean_t * beta + X @ draw["gamma_y"]
        through = np.array([[1.0, beta], [0.0, 1.0]])  # e_y + beta e_t, e_t
        cov = through @ draw["cov"] @ through.T
        errors = np.column_stack([Y - mean_y, T - mean_t])
        out.append(multivariate_normal.logpdf(errors[HELD], cov=cov))
    return logsumexp(out, axis=0) - np.log(len(out))


def test_equals_scipy(est, densities):
    rows = X[HELD], T[HELD], Y[HELD]
    assert np.allclose(est.log_predictive_density(*rows, z=Z[HELD]), densities)
    score = log_predictive_density(est, *rows, z=Z[HELD])
    assert score == pytest.approx(densities.mean())
    weight = np.arange(40.0)
    weighted = log_predictive_density(est, *rows, z=Z[HELD], sample_weight=weight)
    assert weighted == pytest.approx(densities @ weight / weight.sum())


def test_scorer_equals_the_metric(est, named, densities):
    scorer = log_predictive_density_scorer
    expected = densities.mean()
    assert scorer(est, X[HELD], Y[HELD], t=T[HELD], z=Z[HELD]) == pytest.approx(expected)
    assert scorer(named, FRAME[HELD], Y[HELD]) == pytest.approx(expected)
    again = pickle.loads(pickle.dumps(scorer))
    assert again(named, FRAME[HELD], Y[HELD]) == pytest.approx(expected)
    assert repr(clone(GridSearchCV(named, {}, scoring=scorer)).scoring) == repr(scorer)


SCALED = make_pipeline(
    StandardScaler().set_output(transform="pandas"), BayesianIV(**QUICK, **NAMED)
)
INSIDE = {
    "search": GridSearchCV(BayesianIV(**QUICK, **NAMED), SCALES, cv=2),
    "pipeline": SCALED,
    "pipeline of one step": make_pipeline(BayesianIV(**QUICK, **NAMED)),
    "search over a pipeline": GridSearchCV(
        SCALED, {f"bayesianiv__{name}": values for name, values in SCALES.items()}, cv=2
    ),
    "pipeline with a search": make_pipeline(
        GridSearchCV(BayesianIV(**QUICK, **NAMED), SCALES, cv=2)
    ),
    "own search": BayesianIVCV(BayesianIV(**QUICK, **NAMED), cv=2),
}


@pytest.mark.parametrize("name", INSIDE)
def test_estimator_inside_another(name):
    outer = clone(INSIDE[name]).fit(FRAME, Y)
    inner, rows = outer, FRAME
    while not isinstance(inner, BayesianIV):
        if hasattr(inner, "best_estimator_"):
            inner = inner.best_estimator_
        else:
            rows = inner[:-1].transform(rows) if len(inner) > 1 else rows
            inner = inner[-1]
    expected = inner.log_predictive_density(rows, y=Y).mean()
    assert log_predictive_density_scorer(outer, FRAME, Y) == pytest.approx(expected)
    scores = cross_val_score(
        outer, FRAME, Y, cv=2, scoring=log_predictive_density_scorer, error_score="raise"
    )
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    "outer",
    [
        TwoStageLS(**NAMED),
        TransformedTargetRegressor(TwoStageLS(**NAMED), transformer=StandardScaler()),
        GridSearchCV(TwoStageLS(**NAMED), {"method": ["2sls"]}, cv=2),
    ],
    ids=lambda est: type(est).__name__,
)
def test_no_posterior(outer):
    inside = TwoStageLS if isinstance(outer, GridSearchCV) else type(outer)
    with pytest.raises(TypeError, match=f"estimator must be a BayesianIV.* got {inside.__name__}"):
        log_predictive_density(clone(outer).fit(FRAME, Y), FRAME, y=Y)


def test_errors_name_the_argument(est, named):
    rows = X[HELD], T[HELD], Y[HELD]
    for weight, message in ((np.ones(5), "expected"), (-np.ones(40), "negative"), ("a", "numeric")):
        with pytest.raises(ValueError, match=f"sample_weight.* {message}"):
            log_predictive_density(est, *rows, z=Z[HELD], sample_weight=weight)
    with pytest.raises(ValueError, match=r"t and z must both be given.*enable_metadata_routing"):
        log_predictive_density_scorer(est, X, Y)
    with pytest.raises(ValueError, match="y to be passed, but the target y is None"):
        log_predictive_density(named, FRAME)
    gmm = BayesianIV(**QUICK, likelihood="gmm").fit(X, T, Y, z=Z)
    with pytest.raises(ValueError, match="likelihood"):
        log_predictive_density(gmm, X, T, Y, z=Z)


@pytest.mark.usefixtures("routing")
def test_routed():
    params = {"t": T, "z": Z}
    est = BayesianIV(**QUICK)
    both = {"density": log_predictive_density_scorer, "r2": "r2"}
    columns = cross_validate(clone(est).set_params(**NAMED), FRAME, Y, cv=2, scoring=both)
    for outer in (est, GridSearchCV(est, SCALES, cv=2), make_pipeline(StandardScaler(), est)):
        scores = cross_val_score(
            outer, X, Y, cv=2, scoring=log_predictive_density_scorer, params=params
        )
        assert np.isfinite(scores).all()
        if outer is est:
            assert np.allclose(scores, columns["test_density"])


@pytest.mark.usefixtures("routing")
def test_routed_weights():
    """Weights of the held-out rows reach the scorer once it asks for them."""
    est = HierarchicalBayesianIV([1.0], [0.5], **QUICK).set_fit_request(sample_weight=False)
    weight = np.arange(300.0) % 3
    params = {"t": T, "z": Z, "sample_weight": weight}
    scorer = log_predictive_density_scorer.set_score_request(sample_weight=True)
    train, test = np.arange(200), np.arange(200, 300)
    scores = cross_val_score(est, X, Y, cv=[(train, test)], scoring=scorer, params=params)
    fitted = clone(est).fit(X[train], T[train], Y[train], z=Z[train])
    density = fitted.log_predictive_density(X[test], T[test], Y[test], z=Z[test])
    assert scores[0] == pytest.approx(np.average(density, weights=weight[test]))
    with pytest.raises(ValueError, match="sample_weight"):
        cross_val_score(est, X, Y, cv=2, scoring=log_predictive_density_scorer, params=params)

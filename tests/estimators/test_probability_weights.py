"""Weights that say of how many rows one was drawn: scores count with their squares."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from experiments import QUICK, simulated
from linearmodels.iv import IV2SLS, IVGMM, IVLIML
from numpy.testing import assert_allclose
from sklearn.base import clone

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv.diagnostics import first_stage

X, T, Y, Z = simulated(300, 2)
Z = np.column_stack([Z, Z * X[:, 0]])
W = np.random.default_rng(1).uniform(2e4, 6e4, len(Y))
OTHERS = {"2sls": IV2SLS, "liml": IVLIML, "gmm": IVGMM}
PROBABILITY = {"sample_weight_type": "probability"}
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def kish(weight):
    return weight.sum() ** 2 / (weight**2).sum()


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("method", OTHERS)
def test_linearmodels(method, clustered):
    """Its analytic weights have the same scores w z e."""
    groups = {"clusters": np.arange(len(Y)) % 40} if clustered else {}
    est = TwoStageLS(method=method, **PROBABILITY).fit(X, T, Y, z=Z, sample_weight=W, **groups)
    kind = {"cov_type": "clustered" if clustered else "robust", **groups}
    x = np.column_stack([np.ones(len(Y)), X])
    options = {"weight_type": kind["cov_type"], **groups} if method == "gmm" else {}
    model = OTHERS[method](Y, x, T, Z, weights=W, **options)
    # Two-step GMM ends with the weights of its first estimate.
    other = model.fit(iter_limit=2, **kind) if method == "gmm" else model.fit(**kind)
    order = [0, 3, 1, 2]
    assert_allclose([est.intercept_, *est.coef_], other.params.iloc[order], rtol=1e-7)
    assert_allclose(est.covariance_, other.cov.iloc[order, order], rtol=1e-6, atol=1e-12)
    assert est.moments_.weight == pytest.approx(kish(W))
    assert_allclose(est.results_.params, other.params, rtol=1e-7)


def test_each_row_is_a_cluster_of_its_own():
    est = TwoStageLS(**PROBABILITY).fit(X, T, Y, z=Z, sample_weight=W)
    with pytest.warns(UserWarning, match="not whole numbers"):
        own = TwoStageLS().fit(X, T, Y, z=Z, sample_weight=W, clusters=np.arange(len(Y)))
    assert_allclose(est.covariance_, own.covariance_, rtol=1e-9, atol=1e-14)
    assert est.cov_type_ == "robust"
    assert f"{kish(W):.1f} effective observations" in str(est.summary())
    assert_allclose(first_stage(est).std_error, first_stage(own).std_error, rtol=1e-9, atol=1e-14)


@quiet
@pytest.mark.parametrize("est", [TwoStageLS(debiased=True), BayesianIV(**QUICK)], ids=str)
def test_only_ratios_of_weights_matter(est):
    est = clone(est).set_params(**PROBABILITY)
    plain = clone(est).fit(X, T, Y, z=Z)
    equal = clone(est).fit(X, T, Y, z=Z, sample_weight=np.full(len(Y), 123.4))
    assert_allclose(equal.effect_interval(), plain.effect_interval(), rtol=1e-6)
    one = clone(est).fit(X, T, Y, z=Z, sample_weight=W)
    other = clone(est).fit(X, T, Y, z=Z, sample_weight=W * 2.0**-100)
    assert np.array_equal(one.effect_interval(), other.effect_interval())


@quiet
def test_the_likelihood_is_that_of_the_effective_number_of_rows():
    est = BayesianIV(**QUICK)
    weighted = clone(est).set_params(**PROBABILITY).fit(X, T, Y, z=Z, sample_weight=W)
    with pytest.warns(UserWarning, match="not whole numbers"):
        scaled = est.fit(X, T, Y, z=Z, sample_weight=W * kish(W) / W.sum())
    assert weighted.idata_.posterior.equals(scaled.idata_.posterior)


@quiet
@pytest.mark.parametrize("x", [None, X])
def test_the_criterion_has_the_scores_of_rows(x):
    est = BayesianIV(likelihood="gmm", **QUICK)
    weighted = clone(est).set_params(**PROBABILITY).fit(x, T, Y, z=Z, sample_weight=W)
    scaled = W * kish(W) / W.sum()
    with pytest.warns(UserWarning, match="not whole numbers"):
        own = est.fit(x, T, Y, z=Z, sample_weight=scaled, clusters=np.arange(len(Y)))
    assert weighted.idata_.posterior.equals(own.idata_.posterior)
    assert weighted._model.design.arrays.units == len(Y)  # and not the effective number


def test_coverage():
    """Rows drawn with probabilities that depend on z, and on the error's spread.

    1,000 samples: 95% intervals cover within 3 Monte Carlo errors of the nominal 0.95, and
    without the weights' type, as counts of rows, in no more than a fifth of the samples.
    """
    rng = np.random.default_rng(3)
    covered = np.zeros(2)
    est = TwoStageLS(**PROBABILITY)
    for _ in range(1000):
        z, u = rng.normal(size=4000), rng.normal(size=4000)
        share = np.where(z + u > 0, 0.3, 0.06)
        drawn = rng.random(4000) < share
        z, u, weight = z[drawn], u[drawn], 50.0 * np.round(1.0 / share[drawn])
        t = z + u + rng.normal(size=len(z))
        y = 2.0 * t + u + rng.normal(size=len(z)) * (1.0 + np.abs(z))
        fits = [est.fit(None, t, y, z=z, sample_weight=weight)]
        fits.append(TwoStageLS().fit(None, t, y, z=z, sample_weight=weight))
        covered += [lower <= 2.0 <= upper for lower, upper in (f.effect_interval() for f in fits)]
        est = clone(est)
    error = np.sqrt(0.95 * 0.05 / 1000)
    assert abs(covered[0] / 1000 - 0.95) < 3 * error
    assert covered[1] / 1000 < 0.2


REFUSED = {
    "unadjusted": lambda e: e.set_params(cov_type="unadjusted").fit(X, T, Y, z=Z, sample_weight=W),
    "moments": lambda e: e.fit_moments(TwoStageLS().fit(X, T, Y, z=Z).moments_),
    "batches": lambda e: e.partial_fit(X, T, Y, z=Z, sample_weight=W),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_meaning_is_refused(case):
    with pytest.raises(ValueError, match='must not be used with sample_weight_type="probability"'):
        REFUSED[case](TwoStageLS(**PROBABILITY))


@pytest.mark.parametrize("est", [TwoStageLS(), BayesianIV()], ids=lambda e: type(e).__name__)
def test_weights_need_rows(est):
    frame = pl.DataFrame({"t": T, "y": Y, "z": Z[:, 0], "w": W}).lazy()
    est = clone(est).set_params(treatment="t", instruments="z", **PROBABILITY)
    with pytest.raises(ValueError, match=r"sample_weight_type.* needs rows in memory"):
        est.fit(frame, y="y", sample_weight="w")
    if isinstance(est, BayesianIV):
        with pytest.raises(ValueError, match="partial_fit must not be used with sample_weight_ty"):
            est.partial_fit(frame.collect(), y="y", sample_weight="w")

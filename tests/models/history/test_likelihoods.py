"""Likelihood of an effect with the first stage integrated out."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import simulated, unchecked
from scipy.stats import multivariate_normal

from skbayesiv import BayesianIV, TwoStageLS
from skbayesiv._estimators.earlier_estimates import said_by
from skbayesiv._models.history.likelihoods import EffectLikelihood, Likelihoods, nearly_normal

RNG = np.random.default_rng(0)
BETA = np.array([-8.0, -1.0, 0.0, 0.7, 1.3, 30.0])


def drawn(q, strength=2.0):
    """A likelihood and the coefficients (Q, 2) that it is of."""
    coef = RNG.normal(size=(q, 2)) + strength
    covariance = np.array([[1.3, -0.4], [-0.4, 0.8]])
    return EffectLikelihood(q, coef.T @ coef, covariance, 12.0), coef


@pytest.mark.parametrize("q", [1, 2, 7])
def test_it_is_the_density_of_the_coefficients(q):
    """Of each pair N(0, Omega + tau^2 unit^2 a a') with a = (beta, 1), up to one constant."""
    own, coef = drawn(q)
    for tau in (0.01, 0.2, 3.0):
        found = Likelihoods.of([own]).log(BETA[:, None], np.log(tau), np)[:, 0]
        exact = [
            multivariate_normal(
                cov=own.covariance + (12.0 * tau) ** 2 * np.outer([b, 1.0], [b, 1.0])
            )
            .logpdf(coef.reshape(-1, 2))
            .sum()
            for b in BETA
        ]
        assert np.diff(found) == pytest.approx(np.diff(exact), rel=1e-9)


def test_many_at_once_are_one_by_one():
    each = [drawn(q)[0] for q in (1, 3, 5)]
    together = Likelihoods.of(each).log(BETA[:, None], -1.0, np)
    for column, own in zip(together.T, each, strict=True):
        assert column == pytest.approx(Likelihoods.of([own]).log(BETA[:, None], -1.0, np)[:, 0])


@pytest.mark.parametrize("q", [1, 3])
def test_far_out_it_falls_like_a_power(q):
    own, _ = drawn(q)
    log = Likelihoods.of([own]).log(np.array([[1e6], [1e9]]), 0.0, np)[:, 0]
    assert np.diff(log) == pytest.approx([-q * np.log(1000.0)], abs=1e-4)


def experiment(n=300, q=3, seed=1):
    """X, t, y, z with q instruments of moderate strength."""
    rng = np.random.default_rng(seed)
    x, z, v = rng.normal(size=(n, 2)), rng.normal(size=(n, q)), rng.normal(size=n)
    t = z @ np.full(q, 0.15) + x[:, 0] + v
    return x, t, 2.0 + 1.3 * t + x @ [1.0, -1.0] + v + rng.normal(size=n), z


@unchecked
@pytest.mark.parametrize("q", [1, 3])
def test_its_summary_is_liml(q):
    x, t, y, z = experiment(q=q)
    est = TwoStageLS(method="liml", cov_type="unadjusted", debiased=False).fit(x, t, y, z=z)
    said = said_by(TwoStageLS(cov_type="unadjusted").fit(x, t, y, z=z))
    assert said.likelihood.effect == pytest.approx(est.effect_, rel=1e-9)
    # LIML's residual variance is that of the structural equation, not of the reduced form.
    assert said.likelihood.std_error == pytest.approx(est._effect_and_error()[1][0], rel=0.05)


@unchecked
def test_it_has_the_units_of_the_data():
    x, t, y, z = experiment()
    own, other = (
        said_by(TwoStageLS().fit(*rows[:3], z=rows[3])).likelihood
        for rows in ((x, t, y, z), (10 * x + 1, 100 * t, 5 * y, z @ np.diag([2.0, 0.1, 7.0])))
    )
    assert 20 * other.effect == pytest.approx(own.effect)
    assert 20 * other.std_error == pytest.approx(own.std_error)
    assert other.f == pytest.approx(own.f)
    at = Likelihoods.of([own]).log(BETA[:, None], -2.0, np)
    again = Likelihoods.of([other]).log(BETA[:, None] / 20.0, -2.0, np)
    assert np.diff(again, axis=0) == pytest.approx(np.diff(at, axis=0))


@unchecked
def test_of_one_instrument_its_error_is_that_of_two_stage_least_squares():
    """Robust and clustered ones too: the likelihood allows for what the fit does."""
    x, t, y, z = experiment(q=1)
    t, y = t * (1.0 + np.abs(z[:, 0])), y * (1.0 + np.abs(z[:, 0]))
    clusters = np.arange(300) // 5
    fits = [
        TwoStageLS(cov_type="unadjusted", debiased=True).fit(x, t, y, z=z),
        TwoStageLS(debiased=True).fit(x, t, y, z=z),
        TwoStageLS(debiased=True).fit(x, t, y, z=z, clusters=clusters),
    ]
    errors = [said_by(est).likelihood.std_error for est in fits]
    assert errors == pytest.approx([est._effect_and_error()[1][0] for est in fits], rel=1e-6)
    assert np.ptp(errors) > 0.1 * errors[0]


@unchecked
def test_a_posterior_without_rows_has_the_same_likelihood():
    _, t, y, z = experiment(q=2)
    for kind in ("normal", "gmm"):
        est = BayesianIV(likelihood=kind, random_state=0).fit(None, t, y, z=z)
        again = BayesianIV(likelihood=kind, random_state=0)
        again.fit_moments(est.moments_, getattr(est, "fourth_moments_", None))
        own, other = said_by(est).likelihood, said_by(again).likelihood
        assert own.covariance == pytest.approx(other.covariance)
        assert own.explained == pytest.approx(other.explained)


@unchecked
def test_direct_effects_widen_it():
    _, t, y, z = simulated(400)
    exact, loose = (
        BayesianIV(likelihood="gmm", exclusion_scale=scale, random_state=0).fit(None, t, y, z=z)
        for scale in (0.0, 0.3)
    )
    errors = [said_by(est).likelihood.std_error for est in (exact, loose)]
    assert errors[1] == pytest.approx(loose._model.two_stage().std_errors[0])
    assert errors[1] > 1.5 * errors[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_full_compliance_needs_none():
    """Where assignment is treatment the first stage has no errors: b and s say all."""
    _, _, y, z = simulated(200)
    said = said_by(TwoStageLS().fit(None, z, y, z=z))
    assert said.likelihood is None
    assert not said.weakness


def test_how_strong_is_strong():
    own, _ = drawn(1, strength=40.0)
    assert own.f > 1000.0
    assert nearly_normal(own, 10)
    assert not nearly_normal(own, int(own.f / 100) + 1)
    assert not nearly_normal(drawn(1)[0], 1)
    assert "EffectLikelihood(effect=" in repr(own)

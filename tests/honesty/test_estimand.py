"""A fit with covariates warns where its estimate is not the compliers' average, and only there."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
from experiments import QUICK
from numpy.testing import assert_allclose
from scipy.special import expit
from stratified import stratified

from skbayesiv import BayesianIV, TwoStageLS, experiment_report
from skbayesiv.diagnostics import complier_effects
from skbayesiv.exceptions import EstimandWarning, InferenceWarning


def randomised(seed=0, n=1000):
    """First stage and effects differ by the covariates, assignment does not."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(n, 3)), rng.integers(0, 2, n).astype(float)
    t = z * (rng.random(n) < expit(x[:, 0]))
    return {"X": x, "t": t, "y": x.sum(axis=1) + t * (1.0 + x[:, 0]) + rng.normal(size=n), "z": z}


def linear(seed=0, n=1000):
    """A continuous instrument that depends on the covariates, one effect."""
    rng = np.random.default_rng(seed)
    x, v = rng.normal(size=(n, 3)), rng.normal(size=n)
    z = x[:, 0] + rng.normal(size=n)
    t = 0.5 * z + x[:, 1] + v
    return {"X": x, "t": t, "y": t + x.sum(axis=1) + v + rng.normal(size=n), "z": z}


def curved(seed=0, n=2000, power=3):
    """Assignment is a curve in the covariate; so are outcomes, unless the power is 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 1))
    z = (rng.random(n) < expit(2.0 * x[:, 0])).astype(float)
    t = z * (rng.random(n) < 0.6)
    return {"X": x, "t": t, "y": t + 0.5 * x[:, 0] ** power + rng.normal(size=n), "z": z}


def accused(draw, seeds, **options):
    """Share of samples of which a fit says so."""
    found = []
    for seed in range(seeds):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InferenceWarning)
            est = TwoStageLS().fit(**draw(seed, **options))
        found.append(any(isinstance(one, EstimandWarning) for one in est.warnings_))
    return np.mean(found)


def test_it_is_said_with_both_numbers():
    data = stratified(n=20_000)
    with pytest.warns(EstimandWarning, match=r"weighted by rows x Var\(z \| x\) x share") as record:
        est = TwoStageLS().fit(**data)
    (said,) = est.warnings_
    assert record[0].filename == __file__
    assert said.cause == "weighted effect"
    assert "the first stage too" in str(said)
    quiet = TwoStageLS(check=False).fit(**data)
    assert quiet.warnings_ == ()
    assert_allclose(quiet.coef_, est.coef_, rtol=0)
    assert_allclose(quiet._effect_and_error(), est._effect_and_error(), rtol=0)


def test_the_numbers_are_those_of_the_diagnostic():
    """5,000 rows are all that a classical fit looks at."""
    data = stratified(n=4000)
    with pytest.warns(EstimandWarning) as record:
        est = TwoStageLS().fit(**data)
    effect = complier_effects(est).compliers.estimate
    assert f"2SLS is {est.effect_:.3g}, the effect on compliers {effect:.3g}," in str(
        record[0].message
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_posteriors_and_lazy_frames_too():
    data = stratified(n=4000)
    with pytest.warns(EstimandWarning):
        BayesianIV(**QUICK).fit(**data)
    frame = pl.DataFrame({name: np.ravel(column) for name, column in data.items()}).lazy()
    with pytest.warns(EstimandWarning):
        TwoStageLS(treatment="t", instruments="z", covariates="X").fit(frame, y="y")


def test_effects_that_differ_are_enough():
    with pytest.warns(EstimandWarning, match="and effects too"):
        TwoStageLS().fit(**stratified(n=20_000, shares=(0.6, 0.6)))


def test_a_curve_is_told_from_weights():
    with pytest.warns(EstimandWarning, match="is not linear in the covariates.*add powers"):
        TwoStageLS().fit(**curved())


def test_clusters_and_classical_errors():
    data = stratified(n=4000)
    with pytest.warns(EstimandWarning):
        TwoStageLS().fit(**data, clusters=np.arange(4000) % 400)
    with pytest.warns(EstimandWarning):
        TwoStageLS(cov_type="unadjusted").fit(**data)


def test_moments_alone_say_nothing():
    est = TwoStageLS(cov_type="unadjusted", check=False).fit(**stratified())
    assert TwoStageLS(cov_type="unadjusted").fit_moments(est.moments_).warnings_ == ()


def test_dishonest_designs_are_found_out():
    assert accused(stratified, 40, n=4000) == 1.0
    assert accused(curved, 40) == 1.0


@pytest.mark.parametrize("draw", [randomised, linear], ids=lambda draw: draw.__name__)
def test_honest_designs_are_not_accused(draw):
    assert accused(draw, 150) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "options"),
    [
        (randomised, {}),
        (randomised, {"n": 5000}),
        (linear, {}),
        (curved, {"power": 1}),
        (stratified, {"effects": (1.0, 1.0)}),
        (stratified, {"assigned": (0.5, 0.5)}),
    ],
)
def test_honest_designs_are_hardly_ever_accused(draw, options):
    """Of 500 samples each: where nothing differs that matters, at most one in a thousand."""
    assert accused(draw, 500, **options) <= 0.002


def test_the_report_says_so_in_the_row_of_the_estimate():
    with pytest.warns(EstimandWarning):
        est = TwoStageLS().fit(**stratified())
    table = experiment_report(est).table
    assert "not to be trusted: weighted effect" in table.loc["weighted effect of t", "errors"]

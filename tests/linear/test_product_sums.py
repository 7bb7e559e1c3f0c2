"""Fourth-order sums in place of the rows: the same robust diagnostics."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from experiments import QUICK, unchecked
from numpy.testing import assert_allclose

from skbayesiv import BayesianIV, Moments, TwoStageLS, diagnostics, experiment_report
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.products import Reference
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.estimate import direct_estimate
from skbayesiv._linear.product_sums import ProductSums
from skbayesiv._linear.units import Scores
from skbayesiv.diagnostics._arrays import read_arrays
from skbayesiv.diagnostics._partial import partial_equation

ROBUST = [
    "anderson_rubin",
    "anderson_rubin_confidence_set",
    "conditional_likelihood_ratio",
    "conditional_likelihood_ratio_confidence_set",
    "effective_f",
    "first_stage",
    "hansen_j",
    "kleibergen_paap",
    "wooldridge_overid",
]


def rows(*, covariates=2, q=3, weighted=False, clustered=False, shift=0.0):
    rng = np.random.default_rng(4)
    n = 400
    x = rng.normal(size=(n, covariates)) + shift
    z = rng.normal(size=(n, q)) + x.sum(axis=1, keepdims=True)
    v = rng.normal(size=n) * (0.5 + np.abs(z[:, 0] - z[:, 0].mean()))
    t = 0.3 * z.sum(axis=1) + x.sum(axis=1) + v
    y = 2.0 + t - x.sum(axis=1) + 0.7 * v + rng.normal(size=n)
    return read_arrays(
        y,
        t,
        z,
        x if covariates else None,
        sample_weight=rng.integers(0, 4, n) if weighted else None,
        clusters=rng.integers(0, 30, n) if clustered else None,
    )


def sums(data, *, fit_intercept=True, reference=None):
    fourth = FourthMoments.from_data(data, reference, data.clusters, fit_intercept=fit_intercept)
    return Equation.from_sums(data.moments(), fourth, fit_intercept=fit_intercept)


def numbers(result):
    if isinstance(result, diagnostics.ConfidenceSet):
        return np.array(result.intervals).ravel()
    values = [v for v in dataclasses.astuple(result) if v is not None]
    kept = [np.ravel(v) for v in values if np.asarray(v).dtype.kind in "fi"]
    return np.concatenate(kept).astype(float)


CASES = {
    "plain": {},
    "no covariates": {"covariates": 0},
    "weights": {"weighted": True},
    "clusters": {"clustered": True, "weighted": True},
    "far from zero": {"shift": 1e4},
}


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize(
    ("case", "fit_intercept"),
    [*((case, True) for case in CASES), ("plain", False), ("clusters", False)],
)
def test_robust_diagnostics_are_those_of_the_rows(case, fit_intercept, debiased):
    data = rows(**CASES[case])
    from_rows = partial_equation(Equation.from_data(data, fit_intercept=fit_intercept))
    from_sums = partial_equation(sums(data, fit_intercept=fit_intercept))
    for name in ROBUST:
        function = getattr(diagnostics, name)
        options = (
            {}
            if name in ("hansen_j", "kleibergen_paap", "wooldridge_overid")
            else {"debiased": debiased}
        )
        one, other = (numbers(function(p, **options)) for p in (from_rows, from_sums))
        assert_allclose(other, one, rtol=1e-6, atol=1e-9, err_msg=name)
    one, other = (str(diagnostics.instrument_strength(p)) for p in (from_rows, from_sums))
    kept = [line for line in other.split("\n") if not line.startswith("Wu-Hausman")]
    assert kept == [line for line in one.split("\n") if not line.startswith("Wu-Hausman")]


@pytest.mark.parametrize("clustered", [False, True])
def test_estimates_have_robust_errors(clustered):
    data = rows(clustered=clustered)
    one = direct_estimate(Equation.from_data(data, fit_intercept=True))
    other = direct_estimate(sums(data))
    assert_allclose(other.params, one.params, rtol=1e-8)
    assert_allclose(other.covariance, one.covariance, rtol=1e-6)


@unchecked
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_fit_of_moments_is_robust(clustered):
    """Without rows, from sums alone; and from rows that were too many to keep."""
    data = rows(clustered=clustered)
    moments = data.moments()
    reference = Reference.from_moments(moments)
    fourth = FourthMoments.from_data(data, reference, data.clusters)
    est = BayesianIV(likelihood="gmm", **QUICK).fit_moments(moments, fourth)
    arrays = data.y, data.t[:, 0], data.z, data.x
    given = {"clusters": data.clusters}
    for name in ROBUST:
        function = getattr(diagnostics, name)
        assert_allclose(
            numbers(function(est)), numbers(function(*arrays, **given)), rtol=1e-6, err_msg=name
        )
    strength = diagnostics.instrument_strength(est)
    assert strength.errors == ("clustered" if clustered else "robust")
    assert "Wu-Hausman" in strength.failed
    report = experiment_report(est)
    expected = diagnostics.anderson_rubin_confidence_set(*arrays, **given)
    assert_allclose(report.anderson_rubin.intervals, expected.intervals, rtol=1e-6)
    assert set(report.table["errors"]) >= {"clustered" if clustered else "robust"}
    with pytest.raises(ValueError, match=r"for scores of the treatment: .* robust=False will do"):
        diagnostics.wu_hausman(est)
    classical = diagnostics.wu_hausman(est, robust=False)
    assert_allclose(classical.statistic, diagnostics.wu_hausman(*arrays, robust=False).statistic)


@unchecked
def test_moments_alone_are_still_classical():
    data = rows()
    est = TwoStageLS(cov_type="unadjusted").fit_moments(data.moments())
    assert isinstance(data.moments(), Moments)
    assert diagnostics.instrument_strength(est).errors == "classical"


def test_sums_about_other_coefficients():
    data = rows()
    own = Reference.from_moments(data.moments())
    other = dataclasses.replace(own, coef=own.coef + 0.1)
    with pytest.raises(ValueError, match="fourth_moments must be about the least-squares coeffic"):
        diagnostics.anderson_rubin(partial_equation(sums(data, reference=other)))


def test_scores_of_any_shift():
    """Scores of instruments and covariates with a residual, about any reference's shift."""
    data, rng = rows(weighted=True), np.random.default_rng(5)
    equation = Equation.from_data(data, fit_intercept=True)
    p = partial_equation(equation)
    c = data.columns
    left = np.zeros((1 + len(c.names), 4))
    left[: 1 + c.z.stop] = rng.normal(size=(1 + c.z.stop, 4))
    right = p._contrasts[:, p.n_instruments :] @ rng.normal(size=(2, 3)) + np.eye(len(left))[:, :1]
    (expected,) = equation.sums(Scores(left, right))
    own = Reference.from_moments(data.moments())
    moved = dataclasses.replace(own, shift=own.shift + rng.normal(size=len(own.shift)))
    for reference in (own, moved):
        equation = sums(data, reference=reference)
        assert isinstance(equation.units, ProductSums)
        (found,) = equation.sums(Scores(left, right))
        assert_allclose(found.outer, expected.outer, rtol=1e-7, atol=1e-9 * expected.outer.max())
        assert_allclose(found.square, expected.square, rtol=1e-9)

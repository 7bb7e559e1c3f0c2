"""Effects on compliers by reweighting, against formulas and a sandwich written out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from stratified import COMPLIER_SHARE, ON_COMPLIERS, ON_TREATED, arrays, stratified

from skbayesiv import TwoStageLS
from skbayesiv.diagnostics import complier_effects

NAMES = ["effect on compliers", "effect on treated compliers", "effect on untreated compliers"]


def continuous(seed=0, n=500):
    """Assignment, compliance and effects that depend on two covariates; a tenth takes it anyway."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    z = (rng.random(n) < expit(0.5 + x[:, 0])).astype(float)
    kind = rng.random(n)
    t = np.where(kind < 0.1, 1.0, np.where(kind < expit(x[:, 1]), z, 0.0))
    y = x @ [1.0, -1.0] + t * (1.0 + x[:, 1]) + rng.normal(size=n)
    return y, t, z, x


def by_cell(y, t, z, g, weigh):
    """Sums over cells of a weight times the difference of the arms, in y over t."""
    sums = np.zeros(2)
    for cell in np.unique(g):
        arms = [(g == cell) & (z == value) for value in (1, 0)]
        gap = [a[arms[0]].mean() - a[arms[1]].mean() for a in (y, t)]
        sums += weigh(*(arm.sum() for arm in arms)) * np.array(gap)
    return sums[0] / sums[1]


def test_saturated_equals_the_cells_written_out():
    data = stratified(always=0.05)
    y, t, z, x = arrays(data)
    found = complier_effects(y, t, z, x)
    weights = [lambda n1, n0: n1 + n0, lambda n1, n0: n1, lambda n1, n0: n0]
    expected = [by_cell(y, t, z, x[:, 0], weigh) for weigh in weights]
    assert_allclose(found.to_frame().loc[NAMES, "estimate"], expected, rtol=1e-10)
    with_var = by_cell(y, t, z, x[:, 0], lambda n1, n0: n1 * n0 / (n1 + n0))
    assert_allclose(TwoStageLS(check=False).fit(**data).effect_, with_var, rtol=1e-10)
    assert (found.propensity, found.n_cells) == ("cells", 2)


@pytest.mark.parametrize("options", ["", "clusters", "sample_weight"])
def test_without_covariates_it_is_wald(options):
    data = stratified(n=600) | {"X": None}
    rng = np.random.default_rng(1)
    more = {"clusters": rng.integers(0, 40, 600), "sample_weight": rng.integers(0, 3, 600)}
    more = {options: more[options]} if options else {}
    est = TwoStageLS(check=False).fit(**data, **more)
    effect, error = est._effect_and_error()
    found = complier_effects(data["y"], data["t"], data["z"], **more)
    for one in (found.compliers, found.treated, found.untreated):
        assert_allclose([one.estimate, one.std_error], [effect[0], error[0]], rtol=1e-9)
    assert_allclose(found.share.estimate, est.first_stage_coef_[0, 0])
    t, z, w = data["t"], data["z"], more.get("sample_weight", np.ones(600))
    share = np.average(t[z == 1], weights=w[z == 1])
    if options != "clusters":
        variance = share * (1 - share) / w[z == 1].sum()
        assert_allclose(found.share.std_error, np.sqrt(variance), rtol=1e-9)


def test_on_the_stratified_experiment_it_finds_the_truth():
    found = complier_effects(*arrays(stratified(n=40_000)))
    for one, truth in (
        (found.compliers, ON_COMPLIERS),
        (found.treated, ON_TREATED),
        (found.share, COMPLIER_SHARE),
        (found.baseline, 0.3 * 1.0 / 1.2),
    ):
        assert abs(one.estimate - truth) < 3 * one.std_error < 0.1


def moments(theta, y, t, z, columns, population):
    """Conditions of a logit and of normalised means in two arms, of y and t."""
    gamma, (a, b, c, d) = theta[:-4], theta[-4:]
    e = expit(columns @ gamma)
    g = {"all": 1.0, "assigned": e, "not assigned": 1.0 - e}[population]
    one, none = z * g / e, (1 - z) * g / (1 - e)
    conditions = [one * (y - a), none * (y - b), one * (t - c), none * (t - d)]
    return np.column_stack([columns * (z - e)[:, None], *conditions])


def sandwich(y, t, z, columns, population, groups):
    """Ratio and its error from stacked conditions, with derivatives by finite differences."""
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10_000)
    gamma = fit.fit(columns, z).coef_[0]
    theta = np.append(gamma, np.zeros(4))
    zero = moments(theta, y, t, z, columns, population)[:, -4:].sum(axis=0)
    one = moments(np.append(gamma, np.ones(4)), y, t, z, columns, population)[:, -4:].sum(axis=0)
    theta[-4:] = zero / (zero - one)
    step = 1e-6 * np.eye(len(theta))
    slope = [
        (moments(theta + h, y, t, z, columns, population).sum(axis=0)
         - moments(theta - h, y, t, z, columns, population).sum(axis=0)) / 2e-6
        for h in step
    ]  # fmt: skip
    a, b, c, d = theta[-4:]
    ratio = (a - b) / (c - d)
    gradient = np.append(np.zeros(len(gamma)), np.array([1, -1, -ratio, ratio]) / (c - d))
    scores = moments(theta, y, t, z, columns, population)
    scores = np.array([scores[groups == g].sum(axis=0) for g in np.unique(groups)])
    influence = scores @ np.linalg.solve(np.array(slope), gradient)
    return ratio, np.sqrt(influence @ influence)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("kind", ["cells", "logit"])
def test_errors_are_those_of_stacked_conditions(kind, clustered):
    if kind == "cells":
        y, t, z, x = arrays(stratified(n=800, always=0.05))
    else:
        y, t, z, x = continuous()
    groups = np.arange(len(y)) // (8 if clustered else 1)
    found = complier_effects(y, t, z, x, clusters=groups if clustered else None)
    assert found.propensity == kind
    columns = np.column_stack([np.ones(len(y)), x])
    pairs = zip(
        ("all", "assigned", "not assigned"),
        (found.compliers, found.treated, found.untreated),
        strict=True,
    )
    for population, one in pairs:
        expected = sandwich(y, t, z, columns, population, groups)
        assert_allclose([one.estimate, one.std_error], expected, rtol=1e-5)


@pytest.mark.slow
def test_errors_are_the_spread_of_estimates():
    """Over 400 samples, whose standard deviation is known to 3.5%."""
    truth = np.array([ON_COMPLIERS, ON_TREATED, COMPLIER_SHARE])
    found = [complier_effects(*arrays(stratified(seed, n=1500))) for seed in range(400)]
    frames = [one.to_frame() for one in found]
    names = [*NAMES[:2], "complier share"]
    estimates, errors = (
        np.array([f.loc[names, c] for f in frames]) for c in ("estimate", "std_err")
    )
    spread = estimates.std(axis=0)
    assert (np.abs(errors.mean(axis=0) / spread - 1.0) < 0.11).all()
    assert (np.abs(estimates.mean(axis=0) - truth) < 3 * spread / 20.0).all()
    covers = (np.abs(estimates - truth) < 1.96 * errors).mean(axis=0)
    assert (np.abs(covers - 0.95) < 0.033).all()


def test_what_does_not_matter():
    y, t, z, x = continuous()
    one = complier_effects(y, t, z, x).to_frame()
    order = np.random.default_rng(2).permutation(len(y))
    assert_allclose(complier_effects(y[order], t[order], z[order], x[order]).to_frame(), one)
    effects = one.index[:3]
    moved = complier_effects(7.0 * y + 1000.0, t, 3.0 + 2.0 * z, 5.0 - 100.0 * x).to_frame()
    assert_allclose(moved.loc[effects], 7.0 * one.loc[effects], rtol=1e-8)
    assert_allclose(moved.loc["complier share"], one.loc["complier share"], rtol=1e-8)
    flipped = complier_effects(y, t, 1.0 - z, x).to_frame()
    assert_allclose(flipped, one, rtol=1e-8)


@pytest.mark.parametrize("propensity", ["cells", "logit"])
def test_weights_are_rows(propensity):
    y, t, z, x = arrays(stratified(n=500))
    w = np.random.default_rng(3).integers(0, 4, 500)
    again = np.repeat(np.arange(500), w)
    one = complier_effects(y, t, z, x, sample_weight=w, propensity=propensity)
    two = complier_effects(y[again], t[again], z[again], x[again], propensity=propensity)
    assert_allclose(one.to_frame(), two.to_frame(), rtol=1e-9)


def test_a_large_mean_costs_no_digits():
    y, t, z, x = continuous()
    y = np.round(y)
    one, two = (complier_effects(y + mean, t, z, x).to_frame() for mean in (0.0, 1e12))
    two.loc["complier baseline", ["estimate", "lower", "upper"]] -= 1e12
    assert_allclose(two, one, rtol=1e-8, atol=1e-3)
    assert_allclose(two.iloc[:4], one.iloc[:4], rtol=1e-8)
    constant = complier_effects(np.full(500, 0.1), t, z, x).to_frame()
    assert (constant.iloc[:3] == 0.0).all(axis=None)
    assert_allclose(constant.loc["complier baseline", "estimate"], 0.1)


def test_units_whose_squares_overflow():
    y, t, z, x = continuous()
    dose = 2.0 * t + 0.1 * x[:, 0]
    one = complier_effects(y, dose, z, x).to_frame().iloc[:3]
    two = complier_effects(1e100 * y, 1e-100 * dose, z, x).to_frame().iloc[:3]
    assert_allclose(two, 1e200 * one, rtol=1e-8)


def test_a_dose_has_a_first_stage_and_no_baseline():
    y, t, z, x = continuous()
    found = complier_effects(y, t * 2.0 + 0.1 * x[:, 0], z, x)
    assert found.baseline is None
    assert not found.binary
    assert list(found.to_frame().index)[-1] == "first stage"


def test_many_distinct_rows_take_a_logit():
    """Whole numbers are cells as long as each has both arms and 20 rows on average."""
    y, t, z, x = continuous(n=2000)
    assert complier_effects(y, t, z, np.round(x[:, :1]).clip(-1, 1)).propensity == "cells"
    assert complier_effects(y, t, z, np.round(10.0 * x[:, :1])).propensity == "logit"
    rare = np.where(np.arange(2000) < 1, 9.0, np.round(x[:, 0]).clip(-1, 1))
    assert complier_effects(y, t, z, rare).propensity == "logit"


def test_errors():
    y, t, z, x = arrays(stratified(n=400))
    z[x[:, 0] == 1.0] = 0.0
    with pytest.raises(ValueError, match=r"of the \d+ rows with x = 1, none are assigned"):
        complier_effects(y, t * z, z, x)
    with pytest.raises(ValueError, match="logistic regression of z on X finds rows"):
        complier_effects(y, t * z, z, x, propensity="logit")
    y, t, z, x = continuous()
    with pytest.raises(ValueError, match=r"propensity must be one of .* got 'probit'"):
        complier_effects(y, t, z, x, propensity="probit")
    with pytest.raises(ValueError, match=r"propensity must be one of .* got array"):
        complier_effects(y, t, z, x, propensity=np.array(["cells", "logit"]))
    with pytest.raises(ValueError, match=r"z must move t .* got the same mean of t in both arms\."):
        complier_effects(np.arange(8.0), [0, 0, 1, 1] * 2, [0, 1] * 4)
    with pytest.raises(ValueError, match="z must have two values, such as 0 and 1; got 500"):
        complier_effects(y, t, x[:, 0], x[:, 1])
    with pytest.raises(ValueError, match="z must be one assignment of two values, got 2 columns"):
        complier_effects(y, t, np.column_stack([z, x[:, 0]]))
    with pytest.raises(ValueError, match="t must be one treatment for complier effects, got 2"):
        complier_effects(y, np.column_stack([t, y]), np.column_stack([z, x[:, 0]]))
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1"):
        complier_effects(y, t, z, x, level=1.0)
    est = TwoStageLS(cov_type="unadjusted", check=False).fit(x, t, y, z=z)
    sums = TwoStageLS(cov_type="unadjusted", check=False).fit_moments(est.moments_)
    with pytest.raises(ValueError, match="or an estimator that kept its rows: moments do not tell"):
        complier_effects(sums)
    origin = TwoStageLS(fit_intercept=False, check=False).fit(x, t, y, z=z)
    for fitted in (est, origin):
        found = complier_effects(fitted).to_frame()
        assert_allclose(found, complier_effects(y, t, z, x).to_frame())

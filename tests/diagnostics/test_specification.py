"""Exogeneity and over-identification tests."""

import numpy as np
import pytest
from linearmodels.iv import IV2SLS, IVGMM
from scipy import stats

from skbayesiv.diagnostics import HypothesisTest, hansen_j, sargan, wooldridge_overid, wu_hausman


def two_stage(data, **fit):
    exog = np.column_stack([np.ones(len(data.y)), data.X])
    return IV2SLS(data.y, exog, data.t, data.z).fit(**fit)


def assert_equal(result, reference, rtol=1e-7):
    np.testing.assert_allclose(result.statistic, reference.stat, rtol=rtol)
    np.testing.assert_allclose(result.p_value, reference.pval, rtol=1e-6)
    assert result.dof == reference.df


@pytest.mark.parametrize(("k", "q"), [(1, 2), (1, 4), (2, 3), (3, 5)])
def test_equal_linearmodels(simulate, k, q):
    data = simulate(80, k=k, q=q, direct=0.2)
    reference = two_stage(data, cov_type="robust")
    assert_equal(sargan(*data.args), reference.sargan)
    assert_equal(wooldridge_overid(*data.args), reference.wooldridge_overid)
    assert_equal(wu_hausman(*data.args), reference.wooldridge_regression)
    result = wu_hausman(*data.args, robust=False, debiased=True)
    assert_equal(result, reference.wu_hausman())
    assert result.dof_denominator == reference.wu_hausman().df_denom


@pytest.mark.parametrize(("k", "q"), [(1, 1), (2, 3)])
def test_clustered_hausman_equals_linearmodels(simulate, k, q):
    data = simulate(81, k=k, q=q)
    clusters = data.options["clusters"]
    reference = two_stage(data, cov_type="clustered", clusters=clusters)
    assert_equal(wu_hausman(*data.args, clusters=clusters), reference.wooldridge_regression)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize(("k", "q"), [(1, 2), (2, 4)])
def test_hansen_j_equals_linearmodels(simulate, k, q, clustered):
    data = simulate(82, k=k, q=q, direct=0.2)
    clusters = data.options["clusters"] if clustered else None
    weights = {"weight_type": "robust"}
    if clustered:
        weights = {"weight_type": "clustered", "clusters": clusters, "center": False}
    exog = np.column_stack([np.ones(len(data.y)), data.X])
    model = IVGMM(data.y, exog, data.t, data.z, **weights)
    assert_equal(hansen_j(*data.args, clusters=clusters), model.fit(iter_limit=2).j_stat)


def test_card_equals_stata(card_weighted):
    """Stata 14's ivreg2 with [fw = mod(age, 5) + 1]: sargan, j (source: see test_strength)."""
    data, weights = card_weighted, {"sample_weight": card_weighted.options["sample_weight"]}
    tests = [
        sargan(*data.args, **weights),
        hansen_j(*data.args, **weights),
        hansen_j(*data.args, **data.options),
    ]
    statistics = [7.083267317245288, 7.076487583102019, 2.770258481426558]
    np.testing.assert_allclose([test.statistic for test in tests], statistics, rtol=2e-6)
    p_values = [0.0077807013802679, 0.0078101954215808, 0.0960306530127615]
    np.testing.assert_allclose([test.p_value for test in tests], p_values, rtol=2e-6)


def test_card_published(card):
    """Wooldridge, Introductory Econometrics, exercise 15.8 and ivreg2: J = 1.27, p = 0.26."""
    data = card("nearc2", "nearc4")
    np.testing.assert_allclose(hansen_j(*data.args).statistic, 1.27, atol=0.005)
    np.testing.assert_allclose(hansen_j(*data.args).p_value, 0.26, atol=0.005)
    hausman = wu_hausman(*card("nearc4").args, robust=False, debiased=True)
    np.testing.assert_allclose(np.sqrt(hausman.statistic), 1.08, atol=0.005)


def test_schooling_published():
    """R's ivreg on these data: age is schooling plus experience, so that two errors are one.

    Its vignette has Wu-Hausman 0.841 on 2 and 3,001 degrees of freedom for three treatments.
    """
    from linearmodels.datasets import card

    data = card.load()
    data["agesq"] = data["age"] ** 2
    y, t, z, x = (
        data[names].to_numpy()
        for names in (
            "lwage",
            ["educ", "exper", "expersq"],
            ["nearc4", "age", "agesq"],
            ["black", "smsa", "south"],
        )
    )
    result = wu_hausman(y, t, z, x, robust=False, debiased=True)
    assert (result.dof, result.dof_denominator) == (2, 3001)
    np.testing.assert_allclose(result.statistic, 0.841, atol=5e-4)


@pytest.mark.parametrize("options", [{}, {"robust": False, "debiased": True}, {"clusters": True}])
def test_exact_part_of_the_treatments_is_exogenous(simulate, options):
    """A treatment that z explains, beside one that it does not: the test is of that one."""
    data = simulate(84, k=1, q=2)
    options = options | ({"clusters": data.options["clusters"]} if "clusters" in options else {})
    known = data.z @ [1.0, 2.0]
    t = np.column_stack([data.t, known - data.t[:, 0]])
    both = wu_hausman(data.y, t, data.z, data.X, **options)
    given = np.column_stack([data.X, known])
    alone = wu_hausman(data.y, data.t, data.z[:, :1], given, **options)
    assert (both.dof, both.dof_denominator) == (1, alone.dof_denominator)
    np.testing.assert_allclose(both.statistic, alone.statistic, rtol=1e-8)


def test_wooldridge_with_weights_and_clusters(simulate):
    """Score and clustered covariance with residuals of regressions on all columns."""
    data = simulate(83, k=2, q=4)
    w, clusters = data.options["sample_weight"], data.options["clusters"]
    root = np.sqrt(w)[:, None]

    def residual(a, b):
        return a - b @ np.linalg.lstsq(root * b, root * a)[0]

    exog = np.column_stack([np.ones(len(w)), data.X])
    instruments = np.column_stack([exog, data.z])
    fitted = data.t - residual(data.t, instruments)
    regressors = np.column_stack([exog, fitted])
    coef = np.linalg.lstsq(root * regressors, root[:, 0] * data.y)[0]
    u = data.y - np.column_stack([exog, data.t]) @ coef
    scores = (w * u)[:, None] * residual(data.z[:, :2], regressors)
    sums = np.array([scores[clusters == g].sum(0) for g in np.unique(clusters)])
    expected = sums.sum(0) @ np.linalg.solve(sums.T @ sums, sums.sum(0))
    result = wooldridge_overid(*data.args, **data.options)
    np.testing.assert_allclose(result.statistic, expected, rtol=1e-8)


@pytest.mark.parametrize("order", [[1, 0, 2], [2, 1, 0]])
def test_order_of_the_instruments_is_immaterial(simulate, order):
    data = simulate(84, q=3)
    for test in (sargan, hansen_j, wooldridge_overid):
        changed = test(data.y, data.t, data.z[:, order], data.X).statistic
        np.testing.assert_allclose(changed, test(*data.args).statistic, rtol=1e-9)


def test_small_sample_factors(simulate):
    data = simulate(85, q=2)
    clusters = data.options["clusters"]
    plain, debiased = wu_hausman(*data.args), wu_hausman(*data.args, debiased=True)
    np.testing.assert_allclose(debiased.statistic, plain.statistic * (300 - 5) / 300, rtol=1e-12)
    np.testing.assert_allclose(debiased.p_value, stats.f.sf(debiased.statistic, 1, 295), rtol=1e-9)
    plain = wu_hausman(*data.args, clusters=clusters)
    debiased = wu_hausman(*data.args, clusters=clusters, debiased=True)
    np.testing.assert_allclose(
        debiased.statistic, plain.statistic * 24 / 25 * 295 / 299, rtol=1e-12
    )
    assert debiased.dof_denominator == 24


@pytest.mark.parametrize("reps", [300, pytest.param(1500, marks=pytest.mark.slow)])
def test_size_under_heteroskedasticity(reps):
    """Valid instruments: the robust tests reject 5 %, Sargan's, which is not robust, far more."""
    rng = np.random.default_rng(86)
    n = 400
    rejected = dict.fromkeys((hansen_j, wooldridge_overid, wu_hausman, sargan), 0)
    for _ in range(reps):
        z = rng.normal(size=(n, 2))
        t = z.sum(1) + rng.normal(size=n)
        y = t + rng.normal(size=n) * np.abs(z[:, 0] - z[:, 1])
        for test in rejected:
            rejected[test] += test(y, t, z).p_value < 0.05
    band = 4 * np.sqrt(0.05 * 0.95 / reps)
    for test in (hansen_j, wooldridge_overid, wu_hausman):
        assert abs(rejected[test] / reps - 0.05) < band
    assert rejected[sargan] / reps > 0.15


def test_power(simulate):
    """A direct effect of an instrument, and endogenous treatment, are found."""
    data = simulate(87, n=2000, q=3, strength=1.0, direct=1.0)
    for test in (sargan, hansen_j, wooldridge_overid):
        assert test(*data.args).p_value < 1e-6
    valid = simulate(87, n=2000, q=3, strength=1.0)
    for test in (hansen_j, wooldridge_overid):
        assert test(*valid.args).p_value > 0.01
    assert wu_hausman(*valid.args).p_value < 1e-6


def test_push(push):
    """Delivery is endogenous: least squares says 13.9, the instrument 3.3."""
    result = wu_hausman(*push.args)
    reference = IV2SLS(push.y, np.ones(len(push.y)), push.t, push.z).fit(cov_type="robust")
    np.testing.assert_allclose(result.statistic, reference.wooldridge_regression.stat, rtol=1e-7)
    assert result.p_value < 1e-12


def test_text():
    test = HypothesisTest.chi2("Sargan", "the instruments are valid", 3.0, 2)
    assert str(test) == "Sargan: chi2(2) = 3, p = 0.2231 (null: the instruments are valid)"
    test = HypothesisTest.wald("Wu-Hausman", "exogenous", 6.0, 2, 100.5)
    p_value = stats.f.sf(3.0, 2, 100.5)
    assert str(test) == f"Wu-Hausman: F(2, 100.5) = 3, p = {p_value:.4g} (null: exogenous)"


def test_errors(simulate):
    data = simulate(88, k=2, q=2)
    for test in (sargan, hansen_j, wooldridge_overid):
        with pytest.raises(ValueError, match=r"z must have more columns than t .* got 2 and 2"):
            test(*data.args)
    with pytest.raises(ValueError, match="t must not be explained exactly by z"):
        wu_hausman(data.y, data.z, data.z, data.X)
    data = simulate(88, q=4)
    with pytest.raises(ValueError, match=r"clusters must number at least 4 .* got 3"):
        hansen_j(*data.args, clusters=np.arange(300) % 3)


@pytest.mark.parametrize("scale", [1e-7, 1e7, 1e12])
def test_hausman_does_not_depend_on_units(simulate, scale):
    """Several treatments in units far apart: the statistic is invariant."""
    data = simulate(89, k=2, q=3)
    for options in ({}, {"robust": False, "debiased": True}, data.options):
        changed = wu_hausman(data.y, data.t * [1.0, scale], data.z, data.X, **options)
        expected = wu_hausman(*data.args, **options)
        np.testing.assert_allclose(changed.statistic, expected.statistic, rtol=1e-8)

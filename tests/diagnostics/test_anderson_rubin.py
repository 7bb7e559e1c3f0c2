"""Anderson-Rubin test and its inversion."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from experiments import unchecked
from scipy import stats

from skbayesiv import TwoStageLS
from skbayesiv.diagnostics import anderson_rubin, anderson_rubin_confidence_set, first_stage

RTOL = 2e-7  # lwage has seven digits in linearmodels' copy of the data
IVMODELS = json.loads((Path(__file__).parent / "reference" / "ivmodels.json").read_text())


@dataclasses.dataclass(frozen=True)
class Arrays:
    y: np.ndarray
    t: np.ndarray
    z: np.ndarray
    X: None = None


def p_values(data, effects, **options):
    return np.array([anderson_rubin(*data.args, effect=b, **options).p_value for b in effects])


def partialled(columns, X=None, weights=None):
    """Residuals of a weighted regression of each column on 1 and X."""
    n = len(columns[0])
    root = np.sqrt(np.ones(n) if weights is None else weights)[:, None]
    controls = np.column_stack([np.ones(n)] if X is None else [np.ones(n), X])
    tables = [np.reshape(column, (n, -1)) for column in columns]
    return [v - controls @ np.linalg.lstsq(root * controls, root * v)[0] for v in tables]


def unit_scores(data, effect, weights=None, clusters=None):
    """Totals of z (y - t'effect) in each unit, covariates partialled out of all."""
    y, t, z = partialled((data.y, data.t, data.z), data.X, weights)
    scores = z * (y - t @ np.reshape(effect, (-1, 1)))
    scores = scores if weights is None else scores * weights[:, None]
    if clusters is None:
        return scores
    return np.array([scores[clusters == g].sum(axis=0) for g in np.unique(clusters)])


def statistic_of(scores, repeats=1.0):
    """g'S^-1 g of the units' scores, each of which may have been given `repeats` times."""
    g = scores.sum(axis=0)
    return g @ np.linalg.solve((scores / np.reshape(repeats, (-1, 1))).T @ scores, g)


def robust_p_values(y, t, z, effects):
    """Of the scores of z with y - t b less their means, all effects at once."""
    y, t, z = (column - column.mean(axis=0) for column in (y, t, z))
    scores = (y - np.outer(effects, t))[:, :, None] * z
    g = scores.sum(axis=1)
    values = g * np.linalg.solve(scores.transpose(0, 2, 1) @ scores, g[..., None])[..., 0]
    return stats.chi2.sf(values.sum(axis=1), z.shape[1])


def contradicting_groups(n_groups, rng):
    """Instrument g moves the treatment in group g only, where the effect is 5 g, nearly exactly.

    Each instrument alone is too weak to reject, but rejects a little all effects except its own:
    together they reject everything that is nobody's effect, and the set is a union of intervals.
    """
    size = 40
    group = np.repeat(np.arange(n_groups), size)
    sign = np.tile([-1.0, 1.0], n_groups * size // 2)
    z = sign[:, None] * (group[:, None] == np.arange(n_groups))
    t = 0.3 * sign + rng.normal(size=len(group))
    return 5.0 * group * t + 0.05 * rng.normal(size=len(group)), t, z


@pytest.mark.parametrize("clustered", [False, True])
def test_formula_with_weights_and_clusters(simulate, clustered):
    """The null imposed: scores of y - t'b itself, and Hotelling's F of as many units."""
    data = simulate(60, k=2, q=3)
    options = data.options if clustered else {"sample_weight": data.options["sample_weight"]}
    w, clusters, effect = data.options["sample_weight"], options.get("clusters"), [0.5, -1.0]
    ar = statistic_of(unit_scores(data, effect, w, clusters), 1.0 if clustered else w)
    result = anderson_rubin(*data.args, effect=effect, **options)
    np.testing.assert_allclose(result.statistic, ar, rtol=1e-8)
    np.testing.assert_allclose(result.p_value, stats.chi2.sf(ar, 3), rtol=1e-6)
    m = 25 if clustered else w.sum()
    debiased = anderson_rubin(*data.args, effect=effect, debiased=True, **options)
    expected = (m - 3) / 3 * ar / (m - ar)
    np.testing.assert_allclose(debiased.statistic, expected, rtol=1e-8)
    np.testing.assert_allclose(debiased.p_value, stats.f.sf(expected, 3, m - 3), rtol=1e-6)
    np.testing.assert_allclose(debiased.p_value, stats.beta.sf(ar / m, 1.5, (m - 3) / 2), rtol=1e-6)
    assert (debiased.dof, debiased.dof_denominator) == (3, m - 3)


@unchecked
def test_probability_weights_count_rows(simulate):
    """Each row with a weight is one unit with the score w z e."""
    data = simulate(59, n=60, k=1, q=2)
    weights = np.round(np.random.default_rng(0).uniform(0.1, 9.0, 60), 1) * (np.arange(60) > 4)
    ar = statistic_of(unit_scores(data, 1.5, weights))
    est = TwoStageLS(sample_weight_type="probability")
    est.fit(data.X, data.t, data.y, z=data.z, sample_weight=weights)
    np.testing.assert_allclose(anderson_rubin(est, effect=1.5).statistic, ar, rtol=1e-8)
    debiased = anderson_rubin(est, effect=1.5, debiased=True)
    assert debiased.dof_denominator == 55 - 2
    np.testing.assert_allclose(debiased.statistic, 53 / 2 * ar / (55 - ar), rtol=1e-8)


@pytest.mark.parametrize("m", [4, 12])
def test_hotelling_is_exact_for_normal_scores(m):
    """Clusters of two rows, whose scores are normal and independent: F is uniform at any m."""
    rng = np.random.default_rng(m)
    z = np.tile([-1.0, 1.0], m)[:, None]  # the two scores of a cluster do not cancel
    pairs, p = np.repeat(np.arange(m), 2), []
    for _ in range(400):
        errors = np.repeat(rng.normal(size=m), 2) * z[:, 0]
        y = errors + 5.0 * np.repeat(rng.normal(size=m), 2)
        X = np.eye(m)[pairs][:, 1:]
        p.append(anderson_rubin(y, z + errors[:, None], z, X, clusters=pairs, debiased=True))
    assert stats.kstest([test.p_value for test in p], "uniform").pvalue > 0.01


def test_card_equals_stata(card_weighted):
    """Stata 14's ivreg2 with [fw = mod(age, 5) + 1]: archi2 and arf (source: see test_strength)."""
    data, weights = card_weighted, {"sample_weight": card_weighted.options["sample_weight"]}
    chi2 = anderson_rubin(*data.args, robust=False, **weights)
    np.testing.assert_allclose(chi2.statistic, 196.6503601252165, rtol=RTOL)
    f = anderson_rubin(*data.args, robust=False, debiased=True, **weights)
    np.testing.assert_allclose(f.statistic, 98.25280611303535, rtol=RTOL)
    assert f.dof_denominator == 9503


def test_card_robust(card_weighted):
    """Where ivreg2 has the Wald statistics 197.1 and 72.0; the scores' are smaller, by m."""
    data, w = card_weighted, card_weighted.options["sample_weight"]
    result = anderson_rubin(*data.args, sample_weight=w)
    expected = statistic_of(unit_scores(data, 0.0, w), w)
    np.testing.assert_allclose(result.statistic, expected, rtol=1e-7)
    assert 185 < expected < 197.1297
    clustered = anderson_rubin(*data.args, **data.options)
    expected = statistic_of(unit_scores(data, 0.0, w, data.options["clusters"]))
    np.testing.assert_allclose(clustered.statistic, expected, rtol=1e-7)
    assert expected < 9  # the number of regions


def test_card_published(card):
    """The set of R's ivpack and ivmodel (vignette of Kang, Jiang, Zhao and Small 2020)."""
    result = anderson_rubin_confidence_set(*card("nearc4").args, robust=False, debiased=True)
    np.testing.assert_allclose(result.intervals, [(0.02480484, 0.28482359)], atol=2e-7)
    test = anderson_rubin(*card("nearc4").args, robust=False, debiased=True)
    np.testing.assert_allclose(test.p_value, 0.02002763, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(IVMODELS))
def test_equals_ivmodels(name):
    case = IVMODELS[name]
    data = {key: np.array(values) for key, values in case["data"].items()}
    options = {"robust": False, "debiased": True}
    for effect, (statistic, p_value) in zip(case["effects"], case["anderson_rubin"], strict=True):
        result = anderson_rubin(**data, effect=effect, **options)
        np.testing.assert_allclose(
            [result.statistic, result.p_value], [statistic, p_value], rtol=1e-7, atol=1e-12
        )
    if "confidence_set" in case:
        result = anderson_rubin_confidence_set(**data, **options)
        assert result.kind == name
        ends = [
            (-np.inf if lower is None else lower, np.inf if upper is None else upper)
            for lower, upper in case["confidence_set"]
        ]
        np.testing.assert_allclose(
            np.reshape(result.intervals, (-1, 2)), np.reshape(ends, (-1, 2)), rtol=1e-7
        )


@pytest.mark.parametrize("debiased", [False, True])
def test_one_instrument_is_the_quadratic_formula(push, debiased):
    """g(b)^2 <= c S(b), both quadratics of sums."""
    y, t, z = (v[:, 0] for v in partialled((push.y, push.t, push.z)))
    n, zz = len(y), z * z
    c = n * stats.beta.ppf(0.95, 0.5, (n - 1) / 2) if debiased else stats.chi2.ppf(0.95, 1)
    coefficients = [
        (z @ t) ** 2 - c * (zz @ (t * t)),
        -2 * ((z @ y) * (z @ t) - c * (zz @ (y * t))),
        (z @ y) ** 2 - c * (zz @ (y * y)),
    ]
    result = anderson_rubin_confidence_set(*push.args, debiased=debiased)
    np.testing.assert_allclose(result.intervals[0], np.sort(np.roots(coefficients)), rtol=1e-9)
    # The instrument is strong, so that the set is nearly 2SLS's [1.8896, 4.6981].
    np.testing.assert_allclose(result.intervals[0], [1.89, 4.70], atol=0.01)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("q", [1, 2, 3, 5])
def test_membership_agrees_with_the_test(simulate, q, robust, debiased):
    """At random effects and next to the ends, for strong, weak and invalid instruments."""
    rng, options = np.random.default_rng(q), {"robust": robust, "debiased": debiased}
    for seed in range(15):
        strength, direct = rng.choice([0.0, 0.1, 0.5]), rng.choice([0.0, 1.0])
        data = simulate(61 + seed, n=60, q=q, strength=strength, direct=direct)
        result = anderson_rubin_confidence_set(*data.args, **options, level=0.9)
        ends = np.array([e for i in result.intervals for e in i if np.isfinite(e)])
        effects = np.r_[10 * rng.standard_cauchy(30), ends + 1e-6 * (1 + abs(ends))]
        effects = np.r_[effects, ends - 1e-6 * (1 + abs(ends))]
        accepted = p_values(data, effects, **options) >= 0.1
        assert [b in result for b in effects] == accepted.tolist()
        np.testing.assert_allclose(p_values(data, ends, **options), 0.1, rtol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_no_piece_is_missed(seed):
    """Small samples with outliers, where robust sets are ragged, against a dense scan."""
    rng = np.random.default_rng(seed)
    z = rng.standard_t(2, size=(14, 3))
    t = 0.3 * z.sum(1) + rng.standard_t(2, size=14)
    y = z[:, 0] + rng.standard_t(2, size=14)
    result = anderson_rubin_confidence_set(y, t, z)
    effects = np.tan(np.linspace(-1.57, 1.57, 1500))
    p = robust_p_values(y, t, z, effects)
    few = [anderson_rubin(y, t, z, effect=b).p_value for b in effects[::100]]
    assert np.allclose(few, p[::100], rtol=1e-6)
    assert [b in result for b in effects] == (p >= 0.05).tolist()


@pytest.mark.parametrize("n_groups", [2, 3])
def test_union_of_intervals(n_groups):
    seen = set()
    rng = np.random.default_rng(0)
    for _ in range(40):
        y, t, z = contradicting_groups(n_groups, rng)
        result = anderson_rubin_confidence_set(y, t, z)
        seen.add((result.kind, len(result.intervals)))
        for lower, upper in result.intervals:
            inside = (max(lower, -1e3) + min(upper, 1e3)) / 2
            assert anderson_rubin(y, t, z, effect=inside).p_value >= 0.05
        for (_, left), (right, _) in zip(result.intervals, result.intervals[1:], strict=False):
            assert anderson_rubin(y, t, z, effect=(left + right) / 2).p_value < 0.05
    assert ("union", n_groups) in seen


def test_every_shape_occurs(simulate):
    shapes = set()
    rng = np.random.default_rng(1)
    for seed in range(60):
        data = simulate(
            seed, n=80, q=1 + seed % 3, strength=[0.0, 0.15, 0.6][seed % 3], direct=2.0 * (seed % 2)
        )
        shapes.add(anderson_rubin_confidence_set(*data.args).kind)
        shapes.add(anderson_rubin_confidence_set(*contradicting_groups(2, rng)).kind)
    assert shapes >= {"interval", "rays", "line", "empty", "union"}


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("robust", [False, True])
def test_bounded_exactly_when_no_first_stage_is_rejected(simulate, robust, debiased):
    """By the statistic of t in the outcome's place: of an infinite effect."""
    bounded, options = [], {"robust": robust, "debiased": debiased}
    for seed in range(40):
        data = simulate(100 + seed, n=80, q=2, strength=0.2)
        swapped = anderson_rubin(data.t[:, 0], data.y, data.z, data.X, **options)
        result = anderson_rubin_confidence_set(*data.args, **options)
        bounded.append(result.is_bounded)
        assert result.is_bounded == (swapped.p_value < 0.05) or result.kind == "empty"
    assert 4 < sum(bounded) < 36


def test_statistic_tends_to_the_first_stage(simulate):
    data = simulate(62, q=3)
    limit = statistic_of(unit_scores(dataclasses.replace(data, y=data.t), [0.0]))
    for effect in (-1e9, 1e9):
        result = anderson_rubin(*data.args, effect=effect)
        np.testing.assert_allclose(result.statistic, limit, rtol=1e-6)


def test_many_instruments_and_few_clusters():
    """Rejections of the truth at 5%; by the unrestricted residuals 88% and 12%."""
    rng, rejected = np.random.default_rng(70), []
    for _ in range(150):
        z, v = rng.normal(size=(300, 60)), rng.normal(size=300)
        t = 0.1 * z.sum(axis=1) + v
        y = t + v + rng.normal(size=300)
        rejected.append(anderson_rubin(y, t, z, effect=1.0).p_value < 0.05)
    assert np.mean(rejected) < 0.05
    rejected = []
    for _ in range(300):
        groups = np.repeat(np.arange(10), 20)
        z = rng.permutation(np.arange(10) < 5).astype(float)[groups]
        v = rng.normal(size=10)[groups] + rng.normal(size=200)
        y = v + rng.normal(size=10)[groups] + rng.normal(size=200)
        test = anderson_rubin(y, z + v, z, clusters=groups, debiased=True)
        rejected.append(test.p_value < 0.05)
    assert np.mean(rejected) < 0.09


def test_units(simulate):
    data = simulate(63, q=2)
    plain = anderson_rubin_confidence_set(*data.args)
    scaled = anderson_rubin_confidence_set(1e6 * data.y, 1e-4 * data.t, data.z, data.X)
    np.testing.assert_allclose(scaled.intervals, 1e10 * np.array(plain.intervals), rtol=1e-8)
    flipped = anderson_rubin_confidence_set(-data.y, data.t, data.z, data.X)
    np.testing.assert_allclose(flipped.intervals, -np.array(plain.intervals)[::-1, ::-1], rtol=1e-8)


def test_levels_are_nested(simulate):
    data = simulate(64, q=2, strength=0.15)
    small, large = (anderson_rubin_confidence_set(*data.args, level=v) for v in (0.8, 0.95))
    (lower, upper), (far_lower, far_upper) = small.intervals[0], large.intervals[0]
    assert far_lower < lower < upper < far_upper
    assert (small.level, large.level) == (0.8, 0.95)


def test_exact_first_stage():
    """Full compliance: all b with g^2 <= c S, where u = y - z b is all that is left."""
    z = np.tile([0.0, 1.0], 20)
    y = np.arange(40.0) ** 2 % 7
    ((lower, upper),) = anderson_rubin_confidence_set(y, z, z).intervals
    c, centred = stats.chi2.ppf(0.95, 1), z - 0.5
    for b in (lower, upper):
        u = y - y.mean() - b * centred
        np.testing.assert_allclose((centred @ u) ** 2, c * (centred**2 @ u**2), rtol=1e-9)


def test_exact_reduced_form():
    """Instruments that fit y - t b exactly are rejected by as many units as there are."""
    z = np.random.default_rng(71).normal(size=(50, 2))
    t = z[:, 0] + np.arange(50.0) % 3
    test = anderson_rubin(2.0 * t + z[:, 1], t, z, effect=2.0)
    data = Arrays(z[:, 1], t, z)
    np.testing.assert_allclose(test.statistic, statistic_of(unit_scores(data, 0.0)), rtol=1e-9)
    assert test.statistic <= 50


def test_outcome_in_few_rows():
    """Scores of less than full rank: the statistic is that of those there are, at most m."""
    z = np.random.default_rng(72).normal(size=(30, 4))
    y, t = np.zeros(30), np.zeros(30)
    y[:3], t[2:12] = [1.0, -2.0, 0.5], np.arange(1.0, 11.0)
    test = anderson_rubin(y, t, z, fit_intercept=False)
    np.testing.assert_allclose(test.statistic, 3.0, rtol=1e-9)
    ends = anderson_rubin_confidence_set(y, t, z, fit_intercept=False, level=0.5)
    assert 0.0 in ends


@pytest.mark.parametrize("reps", [200, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("q", [1, 3])
@pytest.mark.parametrize("first_stage_f", [1.0, 100.0])
def test_coverage(first_stage_f, q, reps):
    """Heteroskedastic errors correlated 0.8 with the treatment's; nominal whatever the F."""
    rng = np.random.default_rng(65)
    n, effect = 500, 0.7
    covered, f = 0, []
    for i in range(reps):
        z = rng.normal(size=(n, q))
        noise = np.sqrt(0.5 + 0.5 * z[:, :1] ** 2)
        errors = rng.normal(size=(n, 2)) @ [[1.0, 0.8], [0.0, 0.6]] * noise
        # Variance of z u relative to that of z: E z^2 (1 + z^2) / 2 = 2.
        variance = np.r_[2.0, np.ones(q - 1)].mean()
        t = np.sqrt((first_stage_f - 1.0 + 1e-9) * variance / n) * z.sum(1) + errors[:, 0]
        y = effect * t + errors[:, 1]
        covered += effect in anderson_rubin_confidence_set(y, t, z)
        if i < 200:
            f.append(first_stage(y, t, z).f[0])
    assert 0.7 * first_stage_f < np.mean(f) < 1.4 * first_stage_f
    assert abs(covered / reps - 0.95) < 4 * np.sqrt(0.95 * 0.05 / reps)


def test_errors(simulate):
    data = simulate(66, k=2, q=3)
    with pytest.raises(ValueError, match="t must be one treatment for a confidence set, got 2"):
        anderson_rubin_confidence_set(*data.args)
    with pytest.raises(ValueError, match=r"effect must be a finite number or one per .*\(2\), got"):
        anderson_rubin(*data.args, effect=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1; got 95"):
        anderson_rubin_confidence_set(data.y, data.t[:, 0], data.z, level=95)
    with pytest.raises(ValueError, match="clusters must be None when robust=False"):
        anderson_rubin_confidence_set(
            data.y, data.t[:, 0], data.z, robust=False, clusters=data.options["clusters"]
        )


@pytest.mark.parametrize("debiased", [False, True])
def test_as_many_clusters_as_instruments(simulate, debiased):
    """The statistic of Q units is Q whatever the effect, and says nothing."""
    data = simulate(73, q=4)
    clusters = np.arange(len(data.y)) % 4
    message = "clusters must number at least 5 for 4 instrument.* got 4. Take fewer instruments"
    for function in (anderson_rubin, anderson_rubin_confidence_set):
        with pytest.raises(ValueError, match=message):
            function(*data.args, clusters=clusters, debiased=debiased)
    result = anderson_rubin(*data.args, clusters=np.arange(len(data.y)) % 5, debiased=debiased)
    assert result.dof_denominator == (1 if debiased else None)


def test_text(simulate):
    data = simulate(67, k=2, q=3)
    text = str(anderson_rubin(*data.args, effect=[0.0, 1.5], debiased=True))
    assert text.startswith("Anderson-Rubin: F(3, 297) = ")
    assert text.endswith("(null: the effect is 0, 1.5)")


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("q", [1, 3])
def test_outcome_nearly_explained_by_the_treatment(q, robust):
    """Y -> s y + b t maps the set to s set + b, and no digits are lost when s is small."""
    rng = np.random.default_rng(68)
    z, v = rng.normal(size=(2000, q)), rng.normal(size=2000)
    t, y = z.sum(1) + v, 0.5 * v + rng.normal(size=2000)
    plain = np.array(anderson_rubin_confidence_set(y, t, z, robust=robust).intervals)
    for scale in (1e-3, 1e-5):
        near = anderson_rubin_confidence_set(5.0 * t + scale * y, t, z, robust=robust)
        # 5 t + s y has s times the digits of y.
        np.testing.assert_allclose(
            (np.array(near.intervals) - 5.0) / scale, plain, rtol=1e-12 / scale
        )
        for effect in (-0.1, 0.05):
            one = anderson_rubin(y, t, z, effect=effect, robust=robust)
            two = anderson_rubin(
                5.0 * t + scale * y, t, z, effect=5.0 + scale * effect, robust=robust
            )
            np.testing.assert_allclose(two.statistic, one.statistic, rtol=1e-11 / scale)


def test_outcome_explained_exactly():
    """Only the one effect fits; a weak instrument rejects nothing."""
    rng = np.random.default_rng(69)
    z, v = rng.normal(size=(2, 200))
    strong, weak = z + v, 0.01 * z + v
    ((lower, upper),) = anderson_rubin_confidence_set(5.0 * strong, strong, z).intervals
    np.testing.assert_allclose([lower, upper], 5.0, rtol=1e-12)
    assert anderson_rubin(5.0 * strong, strong, z, effect=5.0).p_value == 1.0
    assert anderson_rubin(5.0 * strong, strong, z, effect=4.9).p_value < 1e-6
    assert anderson_rubin_confidence_set(5.0 * weak, weak, z).kind == "line"


def test_shift_without_first_stage():
    """An instrument orthogonal to the treatment: nothing is rejected, and nothing overflows."""
    z, t = np.tile([-1.0, 1.0], 20), np.tile([-1.0, -1.0, 1.0, 1.0], 10)
    y = 0.1 * z + np.arange(40.0) ** 2 % 7
    assert anderson_rubin_confidence_set(y, t, z).kind == "line"

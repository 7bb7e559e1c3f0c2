"""Anderson-Rubin test and its inversion."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from skbayesiv.diagnostics import anderson_rubin, anderson_rubin_confidence_set, first_stage

RTOL = 2e-7  # lwage has seven digits in linearmodels' copy of the data
IVMODELS = json.loads((Path(__file__).parent / "reference" / "ivmodels.json").read_text())


def p_values(data, effects, **options):
    return np.array([anderson_rubin(*data.args, effect=b, **options).p_value for b in effects])


def robust_p_values(y, t, z, effects):
    """Of z in the regression of y - t b on 1 and z, all effects at once: g' M^-1 g ~ chi2(Q)."""
    y, t, z = (column - column.mean(axis=0) for column in (y, t, z))
    error_y, error_t = (v - z @ np.linalg.lstsq(z, v)[0] for v in (y, t))
    scores = (error_y - np.outer(effects, error_t))[:, :, None] * z
    g = (y - np.outer(effects, t)) @ z
    wald = g * np.linalg.solve(scores.transpose(0, 2, 1) @ scores, g[..., None])[..., 0]
    return stats.chi2.sf(wald.sum(axis=1), z.shape[1])


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


def test_formula_with_weights_and_clusters(simulate):
    """Wald test of the instruments in the regression of y - t'b on everything, written out."""
    data = simulate(60, k=2, q=3)
    w, clusters, effect = data.options["sample_weight"], data.options["clusters"], [0.5, -1.0]
    outcome = data.y - data.t @ effect
    a = np.column_stack([data.z, np.ones(len(w)), data.X])
    bread = np.linalg.inv(a.T @ (w[:, None] * a))
    coef = bread @ a.T @ (w * outcome)
    scores = (w * (outcome - a @ coef))[:, None] * a
    sums = np.array([scores[clusters == g].sum(0) for g in np.unique(clusters)])
    wald = coef[:3] @ np.linalg.solve((bread @ sums.T @ sums @ bread)[:3, :3], coef[:3])
    result = anderson_rubin(*data.args, effect=effect, **data.options)
    np.testing.assert_allclose(result.statistic, wald, rtol=1e-8)
    np.testing.assert_allclose(result.p_value, stats.chi2.sf(wald, 3), rtol=1e-6)
    n, g, k = w.sum(), 25, 6
    debiased = anderson_rubin(*data.args, effect=effect, debiased=True, **data.options)
    expected = wald / 3 * (g - 1) / g * (n - k) / (n - 1)
    np.testing.assert_allclose(debiased.statistic, expected, rtol=1e-8)
    np.testing.assert_allclose(debiased.p_value, stats.f.sf(expected, 3, g - 1), rtol=1e-6)


def test_card_equals_stata(card_weighted):
    """Stata 14's ivreg2 with [fw = mod(age, 5) + 1]: arf, archi2 (source: see test_strength)."""
    data, weights = card_weighted, {"sample_weight": card_weighted.options["sample_weight"]}
    chi2 = [
        anderson_rubin(*data.args, robust=False, **weights),
        anderson_rubin(*data.args, **weights),
        anderson_rubin(*data.args, **data.options),
    ]
    expected = [196.6503601252165, 197.1297280693898, 71.98056088604361]
    np.testing.assert_allclose([test.statistic for test in chi2], expected, rtol=RTOL)
    f = [
        anderson_rubin(*data.args, robust=False, debiased=True, **weights),
        anderson_rubin(*data.args, debiased=True, **weights),
        anderson_rubin(*data.args, debiased=True, **data.options),
    ]
    expected = [98.25280611303535, 98.49231366158841, 31.97117444760273]
    np.testing.assert_allclose([test.statistic for test in f], expected, rtol=RTOL)
    assert [test.dof_denominator for test in f] == [9503, 9503, 8]
    np.testing.assert_allclose(f[2].p_value, 0.0001529049322967, rtol=RTOL)


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


def test_one_instrument_is_the_quadratic_formula(push):
    """(a - b beta)^2 <= c (v_yy - 2 beta v_yt + beta^2 v_tt), from cell means."""
    z, y, t = push.z == 1, push.y, push.t
    difference = {name: v[z].mean() - v[~z].mean() for name, v in (("y", y), ("t", t))}

    def cov(u, v):
        return sum(np.cov(u[g], v[g], bias=True)[0, 1] / g.sum() for g in (z, ~z))

    c = stats.chi2.ppf(0.95, 1)
    coefficients = [
        difference["t"] ** 2 - c * cov(t, t),
        -2 * (difference["y"] * difference["t"] - c * cov(y, t)),
        difference["y"] ** 2 - c * cov(y, y),
    ]
    result = anderson_rubin_confidence_set(*push.args)
    np.testing.assert_allclose(result.intervals[0], np.sort(np.roots(coefficients)), rtol=1e-9)
    # The instrument is strong, so that the set is nearly 2SLS's [1.8896, 4.6981].
    np.testing.assert_allclose(result.intervals[0], [1.89, 4.70], atol=0.01)


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("q", [1, 2, 3, 5])
def test_membership_agrees_with_the_test(simulate, q, robust):
    """At random effects and next to the ends, for strong, weak and invalid instruments."""
    rng = np.random.default_rng(q)
    for seed in range(15):
        strength, direct = rng.choice([0.0, 0.1, 0.5]), rng.choice([0.0, 1.0])
        data = simulate(61 + seed, n=60, q=q, strength=strength, direct=direct)
        result = anderson_rubin_confidence_set(*data.args, robust=robust, level=0.9)
        ends = np.array([e for i in result.intervals for e in i if np.isfinite(e)])
        effects = np.r_[10 * rng.standard_cauchy(30), ends + 1e-6 * (1 + abs(ends))]
        effects = np.r_[effects, ends - 1e-6 * (1 + abs(ends))]
        accepted = p_values(data, effects, robust=robust) >= 0.1
        assert [b in result for b in effects] == accepted.tolist()
        np.testing.assert_allclose(p_values(data, ends, robust=robust), 0.1, rtol=1e-6)


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


@pytest.mark.parametrize("robust", [False, True])
def test_bounded_exactly_when_the_first_stage_rejects(simulate, robust):
    bounded = []
    for seed in range(40):
        data = simulate(100 + seed, n=80, q=2, strength=0.2)
        stage = first_stage(*data.args)
        wald = 2 * (stage.f[0] if robust else stage.f_classical[0] * 80 / stage.dof_classical)
        result = anderson_rubin_confidence_set(*data.args, robust=robust)
        bounded.append(result.is_bounded)
        assert result.is_bounded == (wald > stats.chi2.ppf(0.95, 2)) or result.kind == "empty"
    assert 5 < sum(bounded) < 35


def test_statistic_tends_to_the_first_stage(simulate):
    data = simulate(62, q=3)
    wald = 3 * first_stage(*data.args).f[0]
    for effect in (-1e9, 1e9):
        result = anderson_rubin(*data.args, effect=effect)
        np.testing.assert_allclose(result.statistic, wald, rtol=1e-6)


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
    """Full compliance: the set is that of the t-test, centred on the difference of means."""
    z = np.tile([0.0, 1.0], 20)
    y = np.arange(40.0) ** 2 % 7
    ((lower, upper),) = anderson_rubin_confidence_set(y, z, z).intervals
    difference = y[z == 1].mean() - y[z == 0].mean()
    half = stats.norm.ppf(0.975) * np.sqrt(y[z == 1].var() / 20 + y[z == 0].var() / 20)
    np.testing.assert_allclose([lower, upper], [difference - half, difference + half], rtol=1e-9)


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


def test_text(simulate):
    data = simulate(67, k=2, q=3)
    text = str(anderson_rubin(*data.args, effect=[0.0, 1.5], debiased=True))
    assert text.startswith("Anderson-Rubin: F(3, 294) = ")
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

"""First stage, Cragg-Donald and Kleibergen-Paap."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import unchecked
from linearmodels.iv import IV2SLS
from scipy import stats

from skbayesiv import TwoStageLS
from skbayesiv.diagnostics import (
    anderson_rubin,
    anderson_rubin_confidence_set,
    cragg_donald,
    effective_f,
    first_stage,
    hansen_j,
    instrument_strength,
    kleibergen_paap,
    partial_out,
    sargan,
    tf_interval,
    wooldridge_overid,
    wu_hausman,
)

IVMODELS = json.loads((Path(__file__).parent / "reference" / "ivmodels.json").read_text())


def rival(data, **fit):
    exog = np.column_stack([np.ones(len(data.y)), data.X])
    return IV2SLS(data.y, exog, data.t, data.z).fit(**fit).first_stage


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("k", [1, 2])
def test_first_stage_equals_linearmodels(simulate, k, clustered, debiased):
    data = simulate(20, k=k, q=3)
    clusters = data.options["clusters"] if clustered else None
    cov = {"cov_type": "clustered", "clusters": clusters} if clustered else {"cov_type": "robust"}
    reference = rival(data, debiased=debiased, **cov)
    result = first_stage(*data.args, clusters=clusters, debiased=debiased)
    for j, regression in enumerate(reference.individual.values()):
        np.testing.assert_allclose(result.coef[:, j], regression.params.iloc[-3:], rtol=1e-9)
        np.testing.assert_allclose(
            result.std_error[:, j], regression.std_errors.iloc[-3:], rtol=1e-9
        )
    table = reference.diagnostics
    np.testing.assert_allclose(result.partial_r2, table["partial.rsquared"], rtol=1e-9)
    # linearmodels reports the undivided Wald statistic as "f.stat".
    np.testing.assert_allclose(3 * result.f, table["f.stat"], rtol=1e-9)
    if not debiased:
        np.testing.assert_allclose(result.p_value, table["f.pval"], rtol=1e-7)


def test_classical_f_equals_linearmodels(simulate):
    data = simulate(21, k=2, q=3)
    table = rival(data, cov_type="unadjusted", debiased=True).diagnostics
    result = first_stage(*data.args)
    np.testing.assert_allclose(result.f_classical, table["f.stat"], rtol=1e-9)
    np.testing.assert_allclose(result.p_value_classical, table["f.pval"], rtol=1e-7)
    assert (result.dof, result.dof_classical) == (3, 300 - 3 - 3)


def test_first_stage_formulas_with_weights(simulate):
    """HC0 of a weighted regression on all columns, written out."""
    data = simulate(22, q=2)
    w = data.options["sample_weight"]
    result = first_stage(*data.args, sample_weight=w)
    a = np.column_stack([data.z, np.ones(len(w)), data.X])
    bread = np.linalg.inv(a.T @ (w[:, None] * a))
    coef = bread @ a.T @ (w * data.t[:, 0])
    e = data.t[:, 0] - a @ coef
    cov = (bread @ (a.T @ ((w * e**2)[:, None] * a)) @ bread)[:2, :2]
    np.testing.assert_allclose(result.coef[:, 0], coef[:2], rtol=1e-9)
    np.testing.assert_allclose(result.std_error[:, 0], np.sqrt(np.diag(cov)), rtol=1e-9)
    wald = coef[:2] @ np.linalg.solve(cov, coef[:2])
    np.testing.assert_allclose(result.f[0], wald / 2, rtol=1e-9)
    np.testing.assert_allclose(result.p_value[0], stats.chi2.sf(wald, 2), rtol=1e-7)


def test_debiased_f_distribution(simulate):
    data = simulate(23, q=2)
    plain = first_stage(*data.args)
    result = first_stage(*data.args, debiased=True)
    np.testing.assert_allclose(result.f, plain.f * (300 - 5) / 300, rtol=1e-12)
    np.testing.assert_allclose(result.p_value, stats.f.sf(result.f, 2, 295), rtol=1e-9)
    clusters = data.options["clusters"]
    clustered = first_stage(*data.args, clusters=clusters, debiased=True)
    assert clustered.dof_denominator == 24
    np.testing.assert_allclose(
        clustered.f,
        first_stage(*data.args, clusters=clusters).f * 24 / 25 * 295 / 299,
        rtol=1e-12,
    )


@pytest.mark.parametrize(("k", "q"), [(1, 1), (1, 3), (2, 2), (2, 4), (3, 5)])
@pytest.mark.parametrize("clustered", [False, True])
def test_rank_statistics_equal_linearmodels(simulate, k, q, clustered):
    data = simulate(24, k=k, q=q)
    clusters = data.options["clusters"] if clustered else None
    cov = {"cov_type": "clustered", "clusters": clusters} if clustered else {"cov_type": "robust"}
    reference = rival(data, **cov)
    kp = kleibergen_paap(*data.args, clusters=clusters)
    np.testing.assert_allclose(kp.lm, reference.kleibergen_paap.stat, rtol=1e-7)
    np.testing.assert_allclose(kp.p_value, reference.kleibergen_paap.pval, rtol=1e-6)
    np.testing.assert_allclose(kp.f, reference.kleibergen_paap_f, rtol=1e-7)
    cd = cragg_donald(*data.args)
    np.testing.assert_allclose(cd.statistic, reference.cragg_donald.stat, rtol=1e-7)
    np.testing.assert_allclose(cd.f, reference.cragg_donald_f, rtol=1e-7)
    assert kp.dof == cd.dof == q - k + 1


def test_card_equals_stata(card_weighted):
    """Stata 14's ivreg2 with [fw = mod(age, 5) + 1].

    From github.com/restatr/ivreg2r, tests/stata-benchmarks/fixtures/card_fw_diagnostics_*.csv.
    """
    data, weights = card_weighted, card_weighted.options["sample_weight"]
    cd = cragg_donald(*data.args, sample_weight=weights)
    np.testing.assert_allclose(cd.f, 73.24054251025515, rtol=1e-8)
    kp = kleibergen_paap(*data.args, sample_weight=weights)
    np.testing.assert_allclose([kp.lm, kp.f], [145.8517172808293, 74.80115342133217], rtol=1e-8)
    clustered = kleibergen_paap(*data.args, **data.options)
    np.testing.assert_allclose(
        [clustered.lm, clustered.p_value, clustered.f],
        [5.284706942929756, 0.0711935203187375, 20.52143986712553],
        rtol=1e-8,
    )


def test_card_published(card):
    """Card (1995): the F of nearc4 is 13.26, of both instruments 7.89 (robust 8.32)."""
    one = first_stage(*card("nearc4").args)
    np.testing.assert_allclose(one.coef, 0.3198989, atol=5e-8)
    np.testing.assert_allclose(np.sqrt(one.f_classical), 3.64085, atol=5e-6)
    both = first_stage(*card("nearc2", "nearc4").args, debiased=True)
    np.testing.assert_allclose(both.f, 8.32, atol=0.005)
    np.testing.assert_allclose(both.f_classical, 7.89, atol=0.005)


def test_push(push):
    """Difference of delivery rates 3547 / 4943 and its binomial standard error."""
    result = first_stage(*push.args)
    rate = 3547 / 4943
    np.testing.assert_allclose(result.coef, rate, rtol=1e-12)
    np.testing.assert_allclose(result.std_error**2, rate * (1 - rate) / 4943, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(IVMODELS))
def test_cragg_donald_equals_ivmodels(name):
    case = IVMODELS[name]
    result = cragg_donald(**{key: np.array(values) for key, values in case["data"].items()})
    np.testing.assert_allclose([result.statistic, result.p_value], case["cragg_donald"], atol=1e-9)


def test_one_treatment_identities(simulate):
    """With one treatment the rank statistics are those of the first stage."""
    data = simulate(25, q=3)
    plain, debiased = first_stage(*data.args), first_stage(*data.args, debiased=True)
    kp, cd = kleibergen_paap(*data.args), cragg_donald(*data.args)
    np.testing.assert_allclose(cd.f, plain.f_classical[0], rtol=1e-9)
    np.testing.assert_allclose(kp.wald, 3 * plain.f[0], rtol=1e-9)
    np.testing.assert_allclose(kp.f, debiased.f[0], rtol=1e-9)


def test_rank_statistics_are_invariant_to_bases(simulate):
    data = simulate(26, k=2, q=4)
    rng = np.random.default_rng(0)
    t, z = data.t @ rng.normal(size=(2, 2)), data.z @ rng.normal(size=(4, 4))
    old, new = kleibergen_paap(*data.args), kleibergen_paap(data.y, t, z, data.X)
    np.testing.assert_allclose([new.lm, new.wald], [old.lm, old.wald], rtol=1e-7)
    np.testing.assert_allclose(
        cragg_donald(data.y, t, z, data.X).f, cragg_donald(*data.args).f, rtol=1e-7
    )


def test_kleibergen_paap_formula(simulate):
    """The statistic as Kleibergen and Paap (2006), equations 6-9 and 12, write it."""
    data = simulate(27, k=2, q=4)
    p = partial_out(*data.args)
    n, k = 300, 2
    g = np.linalg.cholesky(p.z.T @ p.z / n).T
    f_inverse = np.linalg.inv(np.linalg.cholesky(p.t.T @ p.t / n).T)
    pi = np.linalg.lstsq(p.z, p.t)[0]
    theta = g @ pi @ f_inverse
    u, _, vt = np.linalg.svd(theta)
    v = vt.T

    def root(a):
        values, vectors = np.linalg.eigh(a)
        return vectors @ np.diag(np.sqrt(values)) @ vectors.T

    u22, v22 = u[k - 1 :, k - 1 :], v[k - 1 :, k - 1 :]
    a_perp = u[:, k - 1 :] @ np.linalg.inv(u22) @ root(u22 @ u22.T)
    b_perp = root(v22 @ v22.T) @ np.linalg.inv(v22.T) @ v[:, k - 1 :].T
    lam = (a_perp.T @ theta @ b_perp.T).ravel(order="F")
    scores = np.einsum("ik,iq->ikq", p.t - p.z @ pi, p.z).reshape(n, -1)
    gg = np.kron(f_inverse.T, np.linalg.inv(g).T)
    omega = gg @ (scores.T @ scores / n) @ gg.T
    select = np.kron(b_perp, a_perp.T)
    rk = n * lam @ np.linalg.solve(select @ omega @ select.T, lam)
    np.testing.assert_allclose(kleibergen_paap(*data.args).wald, rk, rtol=1e-8)


def test_under_identified_rejection_rate():
    """Two treatments, rank one: the LM test has its nominal size in spite of heteroskedasticity."""
    rng = np.random.default_rng(5)
    n, reps, z_sd = 400, 1000, np.array([1.0, 2.0, 1.0])
    rejected = 0
    for _ in range(reps):
        z = rng.normal(size=(n, 3)) * z_sd
        t = np.outer(z @ [1.0, 0.5, -1.0], [1.0, 2.0])
        t += rng.normal(size=(n, 2)) * (0.3 + np.abs(z[:, :1]))
        rejected += kleibergen_paap(t[:, 0], t, z).p_value < 0.05
    assert abs(rejected / reps - 0.05) < 4 * np.sqrt(0.05 * 0.95 / reps)


def test_exact_first_stage():
    """Full compliance: nothing is uncertain about the first stage."""
    z = np.tile([0.0, 1.0], 20)
    y = np.arange(40.0) % 7
    result = first_stage(y, 2 * z + 1, z)
    assert result.f[0] == result.f_classical[0] == np.inf
    assert result.partial_r2[0] == 1
    assert cragg_donald(y, 2 * z, z).f == np.inf
    assert kleibergen_paap(y, 2 * z, z).f == np.inf
    assert np.isfinite(anderson_rubin(y, 2 * z, z, effect=1.0).statistic)


def test_first_stage_of_an_arm_on_the_coin_of_another():
    """Two arms that only those assigned to them can take: a coin moves its own arm alone."""
    rng = np.random.default_rng(0)
    arm, takes = rng.integers(0, 3, 3000), rng.normal(size=3000) > -0.5
    z = np.column_stack([arm == 1, arm == 2]).astype(float)
    for robust in (True, False):
        result = first_stage(rng.normal(size=3000), z * takes[:, None], z, robust=robust)
        share = np.array([takes[arm == j].mean() for j in (1, 2)])
        np.testing.assert_allclose(result.coef, np.diag(share), atol=1e-12)
        if robust:
            own = np.sqrt(share * (1 - share) / [(arm == j).sum() for j in (1, 2)])
            np.testing.assert_allclose(result.std_error, np.diag(own), rtol=1e-9)
        assert (result.std_error >= 0).all()


def test_first_stage_as_a_table(simulate):
    """One row for each treatment, under the names of the data."""
    data = simulate(28, k=2, q=3)
    t = pd.DataFrame(data.t, columns=["educ", "exper"])
    z = pd.DataFrame(data.z, columns=["near", "far", "age"])
    result = first_stage(data.y, t, z, data.X)
    table = result.to_frame()
    assert list(table.index) == ["educ", "exper"]
    np.testing.assert_array_equal(table[["coef[near]", "coef[far]", "coef[age]"]].T, result.coef)
    np.testing.assert_array_equal(table[["std_error[near]"]].T, result.std_error[:1])
    np.testing.assert_array_equal(table[["f", "p_value"]].T, [result.f, result.p_value])
    text = str(result)
    lines = [line.split() for line in text.split("\n")]
    assert lines == [["educ", "exper"], *([c, *map("{:.5g}".format, table[c])] for c in table)]
    assert first_stage(*data.args).instruments == ("z0", "z1", "z2")


def test_strength_of_several_treatments(simulate):
    """The test of under-identification and all p-values are printed, under the data's names."""
    data = simulate(29, k=2, q=3)
    t = pd.DataFrame(data.t, columns=["educ", "exper"])
    strength = instrument_strength(data.y, t, data.z, data.X)
    text, table, kp = str(strength), strength.to_frame(), kleibergen_paap(*data.args)
    assert f"chi2(2) = {kp.lm:.4g}, p = {kp.p_value:.4g} (null: under-identified)" in text
    row = table.loc["Kleibergen-Paap LM", ["value", "dof", "p_value"]].astype(float)
    np.testing.assert_allclose(row, [kp.lm, kp.dof, kp.p_value], rtol=1e-12)
    stage = first_stage(*data.args)
    assert f"first-stage F of exper, robust  {stage.f[1]:.4g}, p = {stage.p_value[1]:.4g}" in text
    cd = cragg_donald(*data.args)
    lines = [" ".join(line.split()) for line in text.split("\n")]
    assert f"Cragg-Donald F {cd.f:.4g}, p = {cd.p_value:.4g}" in lines
    one = instrument_strength(data.y, pd.Series(data.t[:, 0], name="educ"), data.z, data.X)
    assert one.treatments == ("educ",)
    assert table.index.is_unique


@pytest.mark.parametrize(("strength", "weak"), [(0.03, True), (1.0, False)])
def test_weakness_of_several_treatments(simulate, strength, weak):
    data = simulate(30, k=2, q=3, strength=strength)
    found, kp = instrument_strength(*data.args), kleibergen_paap(*data.args)
    assert ((kp.p_value > 0.05) or (kp.f < 10.0)) == weak
    assert bool(found.weakness) == weak
    assert ("does not reject under-identification" in found.weakness) == (kp.p_value > 0.05)
    assert ("below 10 (a rule of thumb)" in found.weakness) == (kp.f < 10.0)
    assert found.weak is None


@pytest.mark.parametrize("q", [1, 3])
def test_strength_has_what_the_other_functions_give(simulate, q):
    data = simulate(31, q=q)
    options = {**data.options, "debiased": True}
    found = instrument_strength(*data.args, level=0.9, **options)
    weights = {"sample_weight": data.options["sample_weight"]}
    expected = {
        "cragg_donald": cragg_donald(*data.args, **weights),
        "kleibergen_paap": kleibergen_paap(*data.args, **data.options),
        "effective_f": effective_f(*data.args, **options),
        "anderson_rubin": anderson_rubin_confidence_set(*data.args, level=0.9, **options),
        "no_effect": anderson_rubin(*data.args, **options),
        "tf": tf_interval(*data.args, **options) if q == 1 else None,
        "wu_hausman": wu_hausman(*data.args, **options),
        "overidentification": tuple(
            test(*data.args, **data.options) for test in (hansen_j, wooldridge_overid)[: q - 1]
        ),
        "errors": "clustered",
        "level": 0.9,
        "failed": {},
    }
    assert {name: getattr(found, name) for name in expected} == expected
    np.testing.assert_array_equal(found.first_stage.f, first_stage(*data.args, **options).f)


@unchecked
def test_strength_without_rows_is_classical(simulate):
    """Moments give the statistics of equal variances; those that need rows are left out."""
    data = simulate(32, q=3)
    est = TwoStageLS(cov_type="unadjusted").fit(data.X, data.t[:, 0], data.y, z=data.z)
    found = instrument_strength(TwoStageLS(cov_type="unadjusted").fit_moments(est.moments_))
    assert (found.errors, found.kleibergen_paap, found.failed) == ("classical", None, {})
    (test,) = found.overidentification
    np.testing.assert_allclose(test.statistic, sargan(*data.args).statistic, rtol=1e-9)
    np.testing.assert_allclose(
        [found.first_stage.f[0], found.no_effect.statistic, found.wu_hausman.statistic],
        [
            first_stage(*data.args, robust=False).f[0],
            anderson_rubin(*data.args, robust=False).statistic,
            wu_hausman(*data.args, robust=False).statistic,
        ],
        rtol=1e-9,
    )


def test_strength_names_what_clusters_are_too_few_for(simulate):
    data = simulate(33, q=3)
    found = instrument_strength(*data.args, clusters=np.arange(300) % 3)
    why = "clusters must number at least 4 for 3 instrument(s) and 1 treatment(s), got 3. "
    why += "Take fewer instruments, or smaller clusters."
    names = ["first stage", "Kleibergen-Paap F", "effective F", "Anderson-Rubin"]
    names += ["Anderson-Rubin set", "conditional LR set"]
    assert found.failed == dict.fromkeys(names, why)
    assert found.first_stage is found.kleibergen_paap is found.effective_f is None
    assert found.anderson_rubin is found.no_effect is None
    assert f"effective F         not computed: {why}" in str(found).split("\n")

"""Summary and diagnosis: each number against published ones, linearmodels or a formula."""

from __future__ import annotations

import dataclasses

import arviz_stats
import numpy as np
import pandas as pd
import pytest
from linearmodels.datasets import card as card_data
from linearmodels.iv import IV2SLS
from numpy.testing import assert_allclose
from quadrature import Prior, cross_products, posterior
from sklearn.exceptions import NotFittedError

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS, diagnostics
from skbayesiv.exceptions import HeteroskedasticityWarning, WeakInstrumentWarning

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
REGIONS = [f"reg66{i}" for i in range(2, 10)]
CONTROLS = ["exper", "expersq", "black", "smsa", "south", "smsa66", *REGIONS]


@pytest.fixture(scope="module")
def card():
    return card_data.load()


def fit_card(frame, instruments, **params):
    est = TwoStageLS(treatment="educ", instruments=instruments, **params)
    return est.fit(frame[["educ", *instruments, *CONTROLS]], frame["lwage"])


# Summary ----------------------------------------------------------------------------------------


def test_regressions_of_the_push_experiment(push):
    """The published OLS, reduced form, first stage and 2SLS."""
    y, t, z = push
    table = TwoStageLS().fit(None, t, y, z=z).summary().regressions.table.round(4)
    published = {
        ("OLS", "t"): (13.931, 0.5282),
        ("Reduced form", "z"): (2.3636, 0.5209),
        ("First stage", "z"): (0.7176, 0.0064),
        ("2SLS", "t"): (3.2938, 0.7165),
    }
    for (name, variable), numbers in published.items():
        assert_allclose(table.loc[variable, name], numbers, atol=5e-4)
    assert np.isnan(table.loc["t", "Reduced form"]).all()
    assert table.loc["Intercept", ("First stage", "estimate")] == 0.0


@pytest.mark.parametrize("kind", ["robust", "unadjusted", "clustered"])
@pytest.mark.parametrize("debiased", [False, True])
def test_regressions_equal_linearmodels(card, kind, debiased):
    """Each column is least squares of linearmodels with the same standard errors."""
    instruments = ["nearc2", "nearc4"]
    clusters = card["age"].to_numpy() if kind == "clustered" else None
    est = TwoStageLS(cov_type=kind, debiased=debiased)
    est.fit(card[CONTROLS], card["educ"], card["lwage"], z=card[instruments], clusters=clusters)
    table = est.summary().regressions.table
    options = {"cov_type": kind, "debiased": debiased}
    options |= {"clusters": clusters} if kind == "clustered" else {}
    exogenous = card[CONTROLS].assign(Intercept=1.0)
    for name, outcome, on in (
        ("OLS", "lwage", ["educ"]),
        ("Reduced form", "lwage", instruments),
        ("First stage", "educ", instruments),
    ):
        other = IV2SLS(card[outcome], exogenous.join(card[on]), None, None).fit(**options)
        column = table[name].dropna().loc[other.params.index]
        assert_allclose(column["estimate"], other.params, rtol=1e-6)
        assert_allclose(column["std_err"], other.std_errors, rtol=1e-6)
    assert list(table.index[:4]) == ["Intercept", "educ", *instruments]


def test_weights_repeat_rows(card):
    weight = card["age"].to_numpy() % 3
    again = np.repeat(np.arange(len(card)), weight)
    one = TwoStageLS().fit(
        card[["exper"]], card["educ"], card["lwage"], z=card["nearc4"], sample_weight=weight
    )
    rows = card.iloc[again]
    two = TwoStageLS().fit(rows[["exper"]], rows["educ"], rows["lwage"], z=rows["nearc4"])
    first, second = one.summary(), two.summary()
    assert_allclose(first.regressions.table, second.regressions.table, rtol=1e-6)
    assert_allclose(first.strength.to_frame(), second.strength.to_frame(), rtol=1e-6)


def test_effective_f_takes_the_controls_out(card):
    """Montiel Olea and Pflueger's trace formula with residuals of lstsq; 13.2 ignores controls."""
    est = fit_card(card, ["nearc2", "nearc4"])
    strength = est.summary().strength
    x = np.column_stack([np.ones(len(card)), card[CONTROLS]])
    t, z = (
        part - x @ np.linalg.lstsq(x, part, rcond=None)[0]
        for part in (card["educ"].to_numpy(float), card[["nearc2", "nearc4"]].to_numpy(float))
    )
    z = np.linalg.qr(z)[0]
    pi = z.T @ t
    e = t - z @ pi
    expected = pi @ pi / ((z * e[:, None]) ** 2).sum()
    assert_allclose(strength.effective_f.f, expected, rtol=1e-9)
    assert abs(strength.effective_f.f - 13.2) > 4
    assert_allclose(strength.first_stage.partial_r2, pi @ pi / (t @ t), rtol=1e-9)
    assert strength.weak
    assert len(strength.overidentification) == 2
    assert strength.tf is None


def test_card_published(card):
    """Card (1995), table 3: 0.1315 (0.0550); Wu-Hausman p > 0.05; AR set covers it, OLS 0.0747."""
    summary = fit_card(card, ["nearc4"], cov_type="unadjusted", debiased=True).summary()
    assert_allclose(summary.table.loc["educ", ["estimate", "std_err"]], [0.1315, 0.0550], atol=5e-5)
    ols = summary.regressions.table.loc["educ", "OLS"]
    assert_allclose(ols, [0.0747, 0.0035], atol=5e-5)
    strength = summary.strength
    assert_allclose(strength.cragg_donald.f, 13.26, atol=5e-3)
    assert strength.wu_hausman.p_value > 0.05
    assert 0.1315 in strength.anderson_rubin


def test_block_holds_the_statistics(card):
    """The block is the functions of the sub-package, called on the estimator's rows."""
    for instruments in (["nearc4"], ["nearc2", "nearc4"]):
        est = fit_card(card, instruments)
        strength = est.summary(level=0.9).strength
        assert strength.effective_f == diagnostics.effective_f(est)
        assert strength.cragg_donald == diagnostics.cragg_donald(est)
        assert strength.kleibergen_paap == diagnostics.kleibergen_paap(est)
        assert strength.wu_hausman == diagnostics.wu_hausman(est)
        assert strength.no_effect == diagnostics.anderson_rubin(est)
        assert strength.anderson_rubin == diagnostics.anderson_rubin_confidence_set(est, level=0.9)
        if len(instruments) == 1:
            assert strength.tf == diagnostics.tf_interval(est)
            assert not strength.overidentification
        else:
            j, score = strength.overidentification
            assert j == diagnostics.hansen_j(est)
            assert score == diagnostics.wooldridge_overid(est)
        table = strength.to_frame()
        assert table.loc["effective F", "value"] == strength.effective_f.f
        assert table.loc["Anderson-Rubin 0.9", "lower"] == strength.anderson_rubin.intervals[0][0]


def simulate(seed=0, n=500, k=1, q=1, strength=1.0):
    rng = np.random.default_rng(seed)
    z, taste = rng.normal(size=(n, q)), rng.normal(size=(n, k))
    t = strength * z @ rng.normal(size=(q, k)) + taste
    y = t.sum(axis=1) + taste.sum(axis=1) + rng.normal(size=n)
    return {"X": None, "t": t, "y": y, "z": z}


def test_several_treatments():
    strength = TwoStageLS().fit(**simulate(k=2, q=3)).summary().strength
    for name in ("effective_f", "anderson_rubin", "tf", "weak", "critical_value"):
        assert getattr(strength, name) is None
    text = str(strength)
    assert "first-stage F of t1, robust" in text
    assert "Kleibergen-Paap F" in text
    assert strength.no_effect.dof == 3


def test_weak_instrument_gives_unbounded_set():
    summary = TwoStageLS().fit(**simulate(strength=0.01)).summary()
    assert summary.strength.weak
    assert not summary.strength.anderson_rubin.is_bounded
    assert "below its critical value 23.1" in str(summary)


def test_what_cannot_be_computed_is_said():
    """Perfect compliance leaves no endogeneity to test; few clusters leave no covariance."""
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 200).astype(float)
    y = z + rng.normal(size=200)
    text = str(TwoStageLS().fit(None, z, y, z=z).summary())
    assert "Wu-Hausman" in text
    assert "not computed: t must not be explained exactly by z" in text
    data = simulate(q=3)
    few = TwoStageLS().fit(**data, clusters=np.arange(500) % 3).summary()
    assert few.strength.first_stage is None
    assert "not computed: clusters must number at least 4" in str(few)
    assert "not computed" in few._repr_html_()
    z = data["z"]
    classical = diagnostics.cragg_donald(data["y"], data["t"], z)
    assert few.strength.cragg_donald == classical


def test_summary_prints_everything(push):
    y, t, z = (pd.Series(column, name=name) for column, name in zip(push, "ytz", strict=True))
    y.name = "<in-app>"
    summary = TwoStageLS().fit(None, t, y, z=z).summary()
    text, html = str(summary), summary._repr_html_()
    for part in ("OLS", "Reduced form", "First stage", "2SLS", "effective F", "Anderson-Rubin"):
        assert part in text
        assert part in html
    assert "<in-app>" not in html
    assert repr(summary) == text
    assert summary.to_frame() is summary.table
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.strength.level = 0.5
    wide = TwoStageLS().fit(np.random.default_rng(0).normal(size=(10_000, 25)), t, y, z=z)
    assert "and 8 more in the attribute table" in str(wide.summary())


# Diagnostics of fitted estimators ---------------------------------------------------------------

CLASSICAL = ["anderson_rubin", "anderson_rubin_confidence_set", "effective_f", "tf_interval"]


def assert_equal_results(one, other, rtol=1e-7):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if np.asarray(a).dtype.kind == "U":
            assert a == b
        elif dataclasses.is_dataclass(a):
            assert_equal_results(a, b)
        elif a is not None:
            assert_allclose(np.array(a, float), np.array(b, float), rtol=rtol)


@pytest.mark.parametrize("q", [1, 3])
def test_functions_take_estimators(card, q):
    instruments = ["nearc4", "nearc2", "motheduc"][:q]
    X, t, y, z = card[["exper", "black"]], card["educ"], card["lwage"], card[instruments]
    z = z.fillna(z.mean())
    weight, clusters = card["age"] % 4, card["age"]
    est = TwoStageLS().fit(X, t, y, z=z, sample_weight=weight, clusters=clusters)
    names = ["first_stage", "kleibergen_paap", "wu_hausman", "effective_f", "anderson_rubin"]
    names += ["hansen_j", "wooldridge_overid"] if q > 1 else ["tf_interval"]
    for name in [*names, "anderson_rubin_confidence_set", "instrument_strength"]:
        function = getattr(diagnostics, name)
        expected = function(y, t, z, X, sample_weight=weight, clusters=clusters)
        if name == "instrument_strength":
            expected = dataclasses.replace(expected, treatments=("educ",))
            assert str(function(est)) == str(expected)
        else:
            assert_equal_results(function(est), expected)
    classical = diagnostics.cragg_donald(y, t, z, X, sample_weight=weight)
    assert_equal_results(diagnostics.cragg_donald(est), classical)
    with pytest.raises(ValueError, match=r"\['X'\] must not be given with a fitted estimator"):
        diagnostics.effective_f(est, X=X)
    with pytest.raises(ValueError, match=r"\['fit_intercept'\] must not be given with a fitted"):
        diagnostics.effective_f(est, fit_intercept=False)
    without = TwoStageLS(fit_intercept=False).fit(X, t, y, z=z)
    expected = diagnostics.first_stage(y, t, z, X, fit_intercept=False)
    assert_equal_results(diagnostics.first_stage(without, fit_intercept=False), expected)
    with pytest.raises(NotFittedError):
        diagnostics.effective_f(TwoStageLS())
    with pytest.raises(ValueError, match="t and z must be given with y"):
        diagnostics.effective_f(y)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_classical_statistics_need_moments_only(card, fit_intercept):
    X, t, y, z = card[["exper", "black"]], card["educ"], card["lwage"], card[["nearc4"]]
    rows = TwoStageLS(cov_type="unadjusted", fit_intercept=fit_intercept).fit(X, t, y, z=z)
    sums = TwoStageLS(cov_type="unadjusted", fit_intercept=fit_intercept)
    sums.fit_moments(rows.moments_)
    for name in [*CLASSICAL, "wu_hausman", "first_stage"]:
        function = getattr(diagnostics, name)
        assert_equal_results(function(sums, robust=False), function(rows, robust=False), 1e-6)
        with pytest.raises(ValueError, match="robust to heteroskedasticity: moments do not tell"):
            function(sums)
    assert_equal_results(diagnostics.cragg_donald(sums), diagnostics.cragg_donald(rows), 1e-6)
    strength = sums.summary().strength
    assert strength.errors == "classical"
    assert strength.kleibergen_paap is None
    homoskedastic = diagnostics.effective_f(rows, robust=False)
    assert_allclose(strength.effective_f.f, homoskedastic.f, rtol=1e-6)
    stage = diagnostics.first_stage(rows, robust=False)
    n, dof = len(card), stage.dof_classical
    assert_allclose(stage.f, stage.f_classical * n / dof, rtol=1e-9)


# Diagnosis of a posterior -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def push_fit(push, notebook):
    y, t, z = push
    return BayesianIV(**notebook, random_state=3).fit(None, t, y, z=z)


def test_diagnosis_of_the_push_experiment(push_fit, push, notebook):
    """Nothing to warn of; the correlation is that of quadrature."""
    y, t, z = push
    found = push_fit.diagnose()
    exact, _ = posterior(cross_products(y, t, z), Prior())
    mean, sd = exact["rho"]
    assert_allclose(found.correlation.loc["t", ["mean", "sd"]], [mean, sd], rtol=0.05)
    draws = push_fit.idata_.posterior["corr"].to_numpy()[..., 0, 1]
    assert_allclose(found.correlation.loc["t", "upper"], np.quantile(draws, 0.975))
    table = arviz_stats.summary(
        push_fit.idata_, var_names=["beta_t", "sigma"], kind="diagnostics", round_to="none"
    )
    assert_allclose(found.convergence.loc[table.index], table[["r_hat", "ess_bulk", "ess_tail"]])
    assert found.rhat < 1.01
    assert found.ess > 400
    assert found.divergences == 0
    assert found.warnings == ()
    expected = arviz_stats.psense(push_fit.idata_, var_names=["beta_t"], group_var_names=["beta_t"])
    assert_allclose(found.sensitivity.loc["t", "beta_t"], expected["beta_t"][0])
    assert found.sensitivity.max(axis=None) < 0.05
    assert list(found.sensitivity) == ["beta_t", "correlation", "rest"]
    strength = diagnostics.instrument_strength(y, t, z)
    assert str(found.strength) == str(strength)
    classical = IV2SLS(y, np.ones(len(y)), t, z).fit(cov_type="unadjusted").std_errors.iloc[-1]
    assert_allclose(found.std_errors.loc["t"], [classical, 0.7164], rtol=1e-4)
    text, html = str(found), found._repr_html_()
    for part in ("R-hat", "divergences", "Prior sensitivity", "effective F"):
        assert part in text
        assert part in html
    assert found.to_frame().loc["effective F", "limit"] == strength.critical_value


def test_rows_passed_are_rows_kept(push_fit, push):
    y, t, z = push
    kept = push_fit.diagnose()
    sums = BayesianIV(random_state=0)
    sums.fit_moments(push_fit.moments_)
    without = sums.diagnose()
    assert list(without.std_errors) == ["classical"]
    assert without.strength.errors == "classical"
    passed = sums.diagnose(None, t, y, z=z)
    assert str(passed.strength) == str(kept.strength)
    assert_allclose(passed.strength.to_frame(), kept.strength.to_frame())
    frame = pd.DataFrame({"t": t, "z": z})
    named = BayesianIV(treatment="t", instruments="z", random_state=0)
    named.fit_moments(push_fit.moments_)
    assert_allclose(named.diagnose(frame, y).std_errors, kept.std_errors)
    with pytest.raises(ValueError, match="must be the rows of the fit, 10000 observations"):
        sums.diagnose(None, t[1:], y[1:], z=z[1:])
    assert "Heteroskedasticity was not checked" in without.note
    assert without.note in str(without)
    assert without.note in without._repr_html_()
    assert str(without.strength) in str(without)
    assert passed.note == kept.note == ""
    rows = np.random.default_rng(0).permutation(10_000)
    assert_allclose(sums.diagnose(None, t[rows], y[rows], z=z[rows]).std_errors, kept.std_errors)
    for other in ((t, 1.00001 * y, z), (t, y + 0.01, z), (t[rows], y, z), (z, y, t)):
        with pytest.raises(ValueError, match=r"rows of the fit.* with other moments"):
            sums.diagnose(None, *other[:2], z=other[2])
    for name, part in {"z": z, "sample_weight": z, "clusters": z}.items():
        with pytest.raises(ValueError, match=rf"{name} must be passed with the rows .* got {name}"):
            sums.diagnose(**{name: part})


@quiet
def test_weak_instruments_are_warned_of():
    data = simulate(1, n=300, strength=0.08)
    est = BayesianIV(random_state=0, draws=500).fit(**data)
    with pytest.warns(WeakInstrumentWarning, match="below its critical value 23.1") as record:
        found = est.diagnose()
    assert record[0].filename == __file__
    assert "Anderson-Rubin 95% set" in str(record[0].message)
    assert 'likelihood="gmm" or sigma_prior="regression"' in str(record[0].message)
    assert found.strength.effective_f.f < 23.1
    assert len(found.warnings) == 1
    gmm = BayesianIV(likelihood="gmm", random_state=0, draws=500).fit(**data)
    with pytest.warns(WeakInstrumentWarning, match='"gmm" already allows'):
        gmm.diagnose()
    gmm.fit_moments(gmm.moments_, gmm.fourth_moments_)  # without rows, but robust as it is
    with pytest.warns(WeakInstrumentWarning):
        assert gmm.diagnose().note == ""


@quiet
def test_several_weak_treatments_are_warned_of():
    data = simulate(4, n=200, k=2, q=2, strength=0.1)
    kp = diagnostics.kleibergen_paap(data["y"], data["t"], data["z"])
    assert kp.p_value > 0.05
    assert kp.f < 10.0
    est = BayesianIV(random_state=0, draws=500).fit(**data)
    with pytest.warns(WeakInstrumentWarning, match="does not reject under-identification") as found:
        est.diagnose()
    assert f"Kleibergen-Paap F is {kp.f:.3g}, below 10 (a rule of thumb)" in str(found[0].message)


@quiet
@pytest.mark.parametrize(
    ("component", "parameters"),
    [
        ("beta_t", {"beta_t_loc": 30.0, "beta_t_scale": 1.0}),
        ("correlation", {"lkj_eta": 200.0}),
    ],
)
def test_sensitivity_names_the_component(component, parameters):
    """A prior far from the data is felt in its own component and in no other."""
    data = simulate(2, n=200, strength=1.0)
    est = BayesianIV(random_state=0, **parameters).fit(**data)
    with pytest.warns(WeakInstrumentWarning, match=f"leans on the prior of {component}") as record:
        found = est.diagnose()
    assert found.sensitivity.loc["t"].idxmax() == component
    # The prior alone is at fault, and it has a name.
    assert not found.strength.weak
    assert "instruments may be weak" not in str(record[0].message)
    assert f"values of {[*parameters][-1]}" in str(record[0].message)


@quiet
def test_components_of_a_hierarchy_and_of_direct_effects():
    data = simulate(3)
    history = {"effects": [1.0, 1.1, 0.9], "std_errors": [0.1, 0.1, 0.1]}
    est = HierarchicalBayesianIV(**history, random_state=0, draws=500).fit(**data)
    names = est.diagnose().sensitivity.columns
    assert list(names) == ["beta_t", "correlation", "rest"]
    tree = est.idata_
    scaled = arviz_stats.psense(
        tree, var_names=["beta_t"], group_var_names=["beta_t_bar", "sigma_t_bar"]
    )
    assert_allclose(est.diagnose().sensitivity.loc["t", "beta_t"], scaled["beta_t"][0])
    direct = BayesianIV(exclusion_scale=0.5, random_state=0, draws=500).fit(**data)
    assert "direct" in direct.diagnose().sensitivity


def uneven_experiment(seed=0, n=4000):
    """One in ten assigned, nobody else treated, effects that vary: the assigned vary more."""
    rng = np.random.default_rng(seed)
    z = (np.arange(n) % 10 == 0).astype(float)
    t = z * (rng.random(n) < 0.7)
    y = rng.normal(size=n) + t * rng.normal(1.0, 3.0, n)
    return {"X": None, "t": t, "y": y, "z": z}


@quiet
def test_heteroskedasticity_is_warned_of():
    data = uneven_experiment()
    est = BayesianIV(random_state=0, draws=500).fit(**data)
    with pytest.warns(HeteroskedasticityWarning, match='likelihood="gmm"'):
        found = est.diagnose()
    args = data["y"], np.ones(4000), data["t"], data["z"]
    expected = [IV2SLS(*args).fit(cov_type=kind).std_errors.iloc[-1] for kind in KINDS]
    assert_allclose(found.std_errors.loc["t"], expected, rtol=1e-9)
    assert expected[1] > 1.2 * expected[0]
    gmm = BayesianIV(likelihood="gmm", random_state=0, draws=500).fit(**data)
    assert gmm.diagnose().warnings == ()


KINDS = ("unadjusted", "robust")


@quiet
def test_clusters_are_warned_of():
    """Errors shared within clusters, as is the assignment."""
    rng = np.random.default_rng(5)
    groups = np.arange(2000) % 40
    z = (groups % 2).astype(float)
    t = z * (rng.random(2000) < 0.8)
    y = t + rng.normal(size=40)[groups] + rng.normal(size=2000)
    est = BayesianIV(random_state=0, draws=500).fit(None, t, y, z=z)
    assert est.diagnose().warnings == ()
    with pytest.warns(HeteroskedasticityWarning, match="The clustered standard error"):
        est.diagnose(None, t, y, z=z, clusters=groups)
    gmm = BayesianIV(likelihood="gmm", random_state=0, draws=500)
    gmm.fit(None, t, y, z=z, clusters=groups)
    found = gmm.diagnose()
    assert found.strength.errors == "clustered"
    clustered = TwoStageLS().fit(None, t, y, z=z, clusters=groups)
    assert_allclose(found.std_errors["clustered"], clustered._effect_and_error()[1])


@quiet
@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
def test_diagnosis_without_treatment():
    X = np.random.default_rng(0).normal(size=(100, 2))
    est = BayesianIV(random_state=0, draws=100, tune=100, chains=1).fit(X, X[:, 0])
    found = est.diagnose()
    assert found.strength is None
    assert found.sensitivity is None
    assert "R-hat" in str(found)
    with pytest.raises(NotFittedError):
        BayesianIV().diagnose()

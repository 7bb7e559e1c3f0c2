"""The numbers of each display are those of the estimator or of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from skbayesiv import BayesianIV, BayesianIVCV, TwoStageLS, exclusion_sensitivity
from skbayesiv.datasets import make_noncompliance
from skbayesiv.plotting import (
    CausalDiagramDisplay,
    ComplianceDisplay,
    CorrelationDisplay,
    CrossValidationDisplay,
    EffectComparisonDisplay,
    EffectDisplay,
    EffectForestDisplay,
    ErrorDensityDisplay,
    ExclusionSensitivityDisplay,
    FirstStageDisplay,
    OutcomeDisplay,
    PriorPosteriorDisplay,
    PriorSensitivityDisplay,
    TraceDisplay,
)
from skbayesiv.plotting._fitted import Fitted, FittedPosterior, FittedTwoStage, NamesColumns
from skbayesiv.plotting._prior_sensitivity import _sensitivity

EFFECTS = [3.4, 3.6, 4.25, 4.0, 3.9]
ERRORS = [0.5, 0.55, 0.6, 0.45, 0.44]


def test_outcome(frames):
    X, t, y, z = frames
    display = OutcomeDisplay.from_data(X, t, y, z=z)
    for panel, column in zip(display.panels, (z, t), strict=True):
        by_group = y.groupby(column)
        assert_allclose(panel.means, by_group.mean())
        assert_allclose(panel.sizes, by_group.size())
        assert panel.counts.sum() == len(y)
        area = np.trapezoid(panel.curve, panel.grid) / np.diff(display.edges)[0]
        assert_allclose(area, panel.sizes, rtol=1e-3)
    assert (np.diff(display.edges) == np.round(np.diff(display.edges))).all()


def test_outcome_with_many_values_is_cut_at_quartiles():
    sim = make_noncompliance(400, binary_treatment=False, random_state=0)
    display = OutcomeDisplay.from_data(None, sim.t, sim.y, z=sim.z, bins=10)
    assert display.panels[1].sizes.tolist() == [100] * 4
    assert display.edges.shape == (11,)


def test_column_mode_reads_the_same_rows(frames):
    _, t, y, z = frames
    est = TwoStageLS(treatment="push_delivered", instruments=["push_assigned"])
    table = pd.concat([t, z], axis=1)
    display = ComplianceDisplay.from_estimator(est, table, y)
    assert display.counts.tolist() == [[5057, 0], [1396, 3547]]
    assert not hasattr(est, "n_features_in_")
    assert FirstStageDisplay.from_estimator(est, table, y).instrument == "push_assigned"
    assert OutcomeDisplay.from_estimator(est, table, y).outcome == "in_app_purchase"


def test_compliance(frames):
    X, t, y, z = frames
    display = ComplianceDisplay.from_data(X, t, y, z=z)
    assert_allclose(display.shares.sum(axis=1), 1.0)
    assert_allclose(display.shares[1, 1], t[z == 1].mean())
    assert (display.treatment, display.assignment) == ("push_delivered", "push_assigned")


def test_first_stage(frames, two_stage):
    X, t, y, z = frames
    display = FirstStageDisplay.from_data(X, t, y, z=z)
    assert_allclose(display.first_stage.slope, two_stage.first_stage_coef_[0, 0])
    assert_allclose(display.effect, two_stage.effect_)
    assert_allclose(display.reduced_form.mean, y.groupby(z).mean())
    error = y.groupby(z).std() / np.sqrt(y.groupby(z).size())
    assert_allclose(display.reduced_form.reach, stats.norm.ppf(0.975) * error)


def test_first_stage_with_covariates_and_several_instruments():
    sim = make_noncompliance(
        2000, n_covariates=3, n_instruments=3, binary_treatment=False, random_state=0
    )
    display = FirstStageDisplay.from_data(sim.X, sim.t, sim.y, z=sim.z)
    expected = TwoStageLS().fit(sim.X, sim.t, sim.y, z=sim.z).effect_
    assert_allclose(display.first_stage.slope, 1.0)
    assert_allclose(display.effect, expected)


def test_first_stage_needs_one_treatment():
    sim = make_noncompliance(50, n_instruments=2, binary_treatment=False, random_state=0)
    with pytest.raises(ValueError, match="t must be one treatment; got 2"):
        FirstStageDisplay.from_data(None, np.c_[sim.t, sim.t**2], sim.y, z=sim.z)


def test_diagram(base):
    display = CausalDiagramDisplay.from_estimator(base, unobserved="income")
    assert 'treatment [label="push_delivered"]' in display.source
    assert "instrument -> outcome" not in display.source
    est = BayesianIV(exclusion_scale=1.0, draws=500, random_state=0).fit_moments(base.moments_)
    display = CausalDiagramDisplay.from_estimator(est, unobserved=None)
    assert "instrument -> outcome [style=dashed]" in display.source
    assert "unobserved" not in display.source


def test_effect(base, two_stage):
    display = EffectDisplay.from_estimator(base, two_stage=two_stage)
    assert_allclose(display.posterior.mean, base.effect_)
    interval = two_stage.conf_int(level=0.94).loc["push_delivered"]
    assert_allclose([display.two_stage.lower, display.two_stage.upper], interval)
    assert display.label == "effect of push_delivered on in_app_purchase"
    inside = (display.posterior.draws >= display.posterior.lower) & (
        display.posterior.draws <= display.posterior.upper
    )
    assert_allclose(inside.mean(), 0.94, atol=1e-3)
    assert_allclose(
        display.posterior.at(display.posterior.grid[100]), display.posterior.height[100]
    )


def test_effect_compares_with_classical_errors_by_default(base, frames):
    X, t, y, z = frames
    classical = TwoStageLS(cov_type="unadjusted").fit(X, t, y, z=z)
    found = EffectDisplay.from_estimator(base).two_stage
    assert_allclose([found.lower, found.upper], classical.conf_int(0.94).loc["push_delivered"])
    assert EffectDisplay.from_estimator(base, two_stage=None).two_stage is None
    with pytest.raises(ValueError, match="two_stage must be"):
        EffectDisplay.from_estimator(base, two_stage="robust")


def test_effect_compares_with_the_interval_of_the_other_fit(base, frames):
    X, t, y, z = frames
    clusters = np.arange(len(y)) % 6
    other = TwoStageLS(cov_type="CR2").fit(X, t, y, z=z, clusters=clusters)
    found = EffectDisplay.from_estimator(base, two_stage=other).two_stage
    assert_allclose([found.lower, found.upper], other.conf_int(0.94).loc["push_delivered"])


def test_effect_refuses_what_has_no_posterior(two_stage, base):
    with pytest.raises(ValueError, match=r"estimator must be a BayesianIV.*; got TwoStageLS"):
        EffectDisplay.from_estimator(two_stage)
    for level in (94, "94%"):
        with pytest.raises(ValueError, match=f"level must lie strictly .*; got {level!r}"):
            EffectDisplay.from_estimator(base, level=level)


def test_estimators_have_what_figures_ask_for(base, hierarchical, two_stage):
    for est in (base, hierarchical):
        assert isinstance(est, FittedPosterior)
        assert not isinstance(est, FittedTwoStage)
    assert isinstance(two_stage, FittedTwoStage)
    assert not isinstance(two_stage, FittedPosterior)
    for est in (TwoStageLS(), BayesianIV(), BayesianIVCV()):
        assert isinstance(est, NamesColumns)
        assert not isinstance(est, Fitted)


def test_effect_from_draws():
    draws = np.random.default_rng(0).normal(2.0, 1.0, (4, 1000))
    display = EffectDisplay.from_draws(draws, label="euros")
    assert_allclose(display.posterior.mean, draws.mean())
    assert display.ax_.get_xlabel() == "euros"


def test_comparison_shares_axes(base, hierarchical):
    display = EffectComparisonDisplay.from_estimators({"Alone": base, "History": hierarchical})
    top, bottom = display.axes_
    assert top.get_xlim() == bottom.get_xlim()
    assert top.get_ylim() == bottom.get_ylim()
    assert display.displays[0].two_stage is not None
    assert [item.estimate for item in display.displays[1].earlier] == EFFECTS
    assert top.get_title() == "Alone"


def test_correlation(base):
    display = CorrelationDisplay.from_estimator(base)
    corr = base.idata_.posterior["corr"].to_numpy()[..., 0, 1]
    assert_allclose(display.posterior.mean, corr.mean())
    again = CorrelationDisplay.from_draws(corr).posterior
    assert (again.mean, again.lower, again.upper, again.level) == (
        display.posterior.mean,
        display.posterior.lower,
        display.posterior.upper,
        0.94,
    )


def test_errors(base):
    display = ErrorDensityDisplay.from_estimator(base)
    mean = base.idata_.posterior["cov"].to_numpy().mean(axis=(0, 1))
    assert_allclose(display.covariance, mean)
    x, y = np.meshgrid(*display.grid)
    expected = stats.multivariate_normal([0, 0], mean).pdf(np.dstack([x, y]))
    assert_allclose(display.density, expected)
    with pytest.raises(ValueError, match="shape"):
        ErrorDensityDisplay.from_covariance(np.eye(3))


def test_error_regions_hold_their_mass():
    display = ErrorDensityDisplay.from_covariance([[4.0, 1.0], [1.0, 1.0]])
    cell = np.diff(display.grid[0])[0] * np.diff(display.grid[1])[0]
    above = display.density > display.density.max() * (1 - 0.6)
    assert_allclose(display.density[above].sum() * cell, 0.6, atol=0.01)


def test_forest(hierarchical, two_stage):
    display = EffectForestDisplay.from_estimator(hierarchical, two_stage=two_stage, level=0.9)
    assert [row.estimate for row in display.rows[:5]] == EFFECTS
    reach = stats.norm.ppf(0.95) * np.array(ERRORS)
    assert_allclose([row.upper - row.estimate for row in display.rows[:5]], reach)
    mean = hierarchical.idata_.posterior["beta_t_bar"].to_numpy().mean()
    assert_allclose([row.estimate for row in display.rows[5:]], [mean, hierarchical.effect_])
    assert display.two_stage.estimate == two_stage.effect_


def test_forest_without_history(base):
    assert EffectForestDisplay.from_estimator(base).kinds == ("effect",)


def test_exclusion(base):
    display = ExclusionSensitivityDisplay.from_estimator(base, scales=[0.0, 2.0])
    expected = exclusion_sensitivity(base, [0.0, 2.0]).table
    assert_allclose(display.table, expected[["mean", "lower", "upper"]])
    assert_allclose(display.table.index, [0.0, 2.0])
    assert display.breakdown == 2.0
    with pytest.raises(ValueError, match="table must have columns"):
        ExclusionSensitivityDisplay.from_table(expected[["lower"]], level=0.95)


def test_prior_posterior(base, hierarchical):
    panels = PriorPosteriorDisplay.from_estimator(base, ["beta_t", "corr"]).panels
    assert [panel.name for panel in panels] == [
        "beta_t[push_delivered]",
        "corr[in_app_purchase, push_delivered]",
    ]
    scale = base.prior_summary().loc["beta_t[push_delivered]", "scale"]
    assert_allclose(panels[0].prior.std(), scale, rtol=0.05)
    assert_allclose(panels[0].posterior.mean, base.effect_)
    (panel,) = PriorPosteriorDisplay.from_estimator(hierarchical, ["beta_t"]).panels
    predicted = hierarchical.meta_analysis().treatments[0].predicted
    assert_allclose(np.median(panel.prior), predicted.mean, atol=0.05)
    assert 1.0 < panel.width_ratio < 3.0


def test_prior_posterior_needs_a_prior(base):
    with pytest.raises(ValueError, match=r"var_names must be variables with priors .*got 'zeta'"):
        PriorPosteriorDisplay.from_estimator(base, ["zeta"])


def test_prior_sensitivity(base, hierarchical):
    from arviz_stats import psense_summary

    display = PriorSensitivityDisplay.from_estimator(hierarchical)
    assert set(display.table.index[display.table["kind"] == "prior"]) == set(
        hierarchical.idata_.log_prior.data_vars
    )
    assert display.table["sensitivity"].idxmax() == "beta_j"
    tree = hierarchical.idata_.assign(log_likelihood=hierarchical.idata_["log_density"])
    expected = psense_summary(
        tree, var_names=["beta_t"], prior_var_names=["sigma_t_bar"], round_to=6
    )["prior"].iloc[0]
    assert_allclose(display.table.loc["sigma_t_bar", "sensitivity"], expected, atol=1e-5)
    flat = base.idata_.copy(deep=True)
    flat["log_prior"]["corr"] = 0.0 * flat["log_prior"]["corr"]  # LKJ(1)
    assert _sensitivity(flat, "log_prior", "corr", 0) == 0.0


def test_cross_validation():
    rng = np.random.default_rng(0)
    params = [{"a": a, "b": b} for a in (10.0, 0.1) for b in ("x", "y")]
    splits = {f"split{k}_test_score": rng.normal(size=4) for k in range(3)}
    display = CrossValidationDisplay.from_results({"params": params, **splits})
    scores = np.array(list(splits.values()))
    assert (display.parameter, display.n_splits) == ("a", 3)
    assert [curve.name for curve in display.curves] == ["b=x", "b=y"]
    assert_allclose(display.curves[0].values, [0.1, 10.0])
    assert_allclose(display.curves[0].mean, scores.mean(axis=0)[[2, 0]])
    assert_allclose(display.curves[1].std_error, stats.sem(scores, axis=0)[[3, 1]])
    assert display.best == params[scores.mean(axis=0).argmax()]["a"]
    splits["split0_test_score"][0] = np.nan
    with pytest.raises(ValueError, match="some fits failed"):
        CrossValidationDisplay.from_results({"params": params, **splits})


def test_trace(base):
    display = TraceDisplay.from_estimator(base)
    assert set(display.var_names) == set(base.idata_.posterior.data_vars) - {"corr", "cov"}
    titles = [axis.get_title(loc="left") for axis in display.axes_]
    assert [title for title in titles if title] == [
        "intercept_y",
        "intercept_t[push_delivered]",
        "beta_t[push_delivered]",
        "beta_z[push_assigned, push_delivered]",
        "beta_z_sd[push_delivered]",
        "sigma[in_app_purchase]",
        "sigma[push_delivered]",
    ]


@pytest.mark.parametrize("argument", ["X", "t", "y", "z"])
@pytest.mark.parametrize("display", [OutcomeDisplay, ComplianceDisplay, FirstStageDisplay])
def test_what_is_not_finite_is_refused(display, argument):
    """Also where no sums are formed, in which it would show."""
    rng = np.random.default_rng(0)
    rows = {"X": rng.normal(size=(50, 1)), "z": rng.integers(0, 2, 50).astype(float)}
    rows |= {"t": rows["z"] * rng.integers(0, 2, 50), "y": rng.normal(size=50)}
    rows[argument][3] = np.nan
    with pytest.raises(ValueError, match=f"{argument} must be numeric and finite.* contains NaN"):
        display.from_data(rows["X"], rows["t"], rows["y"], z=rows["z"])

"""What a history contributes: conflicts, leaving one out, and the report."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from experiments import EXACT, QUICK
from scipy import stats

from skbayesiv import HierarchicalBayesianIV, TwoStageLS
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import read_rows
from skbayesiv._models.build import read_sums
from skbayesiv._models.history.integrated import integrate
from skbayesiv.datasets import make_noncompliance
from skbayesiv.exceptions import PriorDataConflictWarning

EARLIER = {"effects": [0.8, 1.2, 1.1], "std_errors": [0.2, 0.3, 0.2]}
quiet = pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.PriorDataConflictWarning")


@pytest.fixture(scope="module")
def rows():
    """t, y, z of a simulated experiment of 600 rows."""
    data = make_noncompliance(600, effect=1.0, random_state=1)
    return {name: np.asarray(getattr(data, name), dtype=float) for name in ("t", "y", "z")}


@pytest.fixture(scope="module")
def fitted(rows):
    return HierarchicalBayesianIV(**EARLIER, random_state=0).fit(None, **rows)


@pytest.fixture(scope="module")
def two():
    """Two treatments, two instruments, 400 rows."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 2))
    e = rng.normal(size=(400, 3))
    t = pd.DataFrame(z @ [[1.0, 0.2], [0.3, 1.0]] + e[:, :2], columns=["mail", "push"])
    return {"t": t, "y": t.to_numpy() @ [1.0, -1.0] + 3 * e.sum(axis=1), "z": z}


def clustered_rows():
    """An experiment whose units are assigned together and share a shock."""
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(60), 50)
    z = rng.integers(0, 2, 60)[clusters].astype(float)
    t = (rng.uniform(size=3000) < 0.2 + 0.6 * z).astype(float)
    y = t + 1.5 * rng.normal(size=60)[clusters] + rng.normal(size=3000)
    X, other = rng.normal(size=(2, 3000, 1))
    return {"X": X, "t": t, "y": y, "z": np.column_stack([z, other])}, clusters


def test_conflicts_are_judged_with_the_likelihoods_own_error():
    data, clusters = clustered_rows()
    classical = TwoStageLS(cov_type="unadjusted").fit(**data)
    clustered = TwoStageLS(cov_type="clustered").fit(**data, clusters=clusters)
    robust = TwoStageLS(cov_type="robust").fit(**data)
    error = {
        name: float(est._effect_and_error()[1][0])
        for name, est in (("iid", classical), ("robust", robust), ("clustered", clustered))
    }
    assert error["clustered"] > 4 * error["iid"]
    far = [classical.effect_ + 1.0] * 2
    careful = EXACT | {"draws": 4000, "target_accept": 0.95}  # history and data are far apart
    parameters = {"effects": far, "std_errors": [0.1, 0.1], **careful}
    with pytest.warns(PriorDataConflictWarning):
        normal = HierarchicalBayesianIV(**parameters).fit(**data)
    gmm = HierarchicalBayesianIV(**parameters, likelihood="gmm")
    with warnings.catch_warnings():
        warnings.simplefilter("error", PriorDataConflictWarning)
        gmm.fit(**data, clusters=clusters)
    # Up to small-sample factors of 60 clusters and 3,000 rows.
    assert normal._model.two_stage().std_errors == pytest.approx(error["iid"], rel=1e-3)
    assert gmm._model.two_stage().std_errors == pytest.approx(error["clustered"], rel=0.02)
    assert gmm.borrowing().conflict_p_value > 0.05
    assert normal.borrowing().conflict_p_value < 0.05
    with pytest.warns(PriorDataConflictWarning):
        unclustered = HierarchicalBayesianIV(**parameters, likelihood="gmm").fit(**data)
    assert unclustered._model.two_stage().std_errors == pytest.approx(error["robust"], rel=1e-3)


def judged(est, rows):
    """What conflicts would be judged by: the model's 2SLS estimate and its error, unfitted."""
    data = read_rows(None, rows["y"], rows["t"], rows["z"], roles=Roles())
    return est._build_model(read_sums(est, data)).two_stage()


def test_direct_effects_widen_the_conflicts_error(two):
    """The 2SLS estimate is off by C delta, C = (T'PT)^-1 T'P Z, delta ~ N(0, scale^2)."""
    scale = np.array([0.3, 0.8])
    found, plain = (
        judged(HierarchicalBayesianIV([[1.0, -1.0]], [[0.5, 0.5]], likelihood="gmm", **extra), two)
        for extra in ({"exclusion_scale": scale}, {})
    )
    t, z = (np.asarray(two[name]) - np.asarray(two[name]).mean(axis=0) for name in ("t", "z"))
    projected = z @ np.linalg.solve(z.T @ z, z.T @ t)
    c = np.linalg.solve(projected.T @ t, projected.T @ z)
    expected = np.sqrt(plain.std_errors**2 + np.diag(c @ np.diag(scale**2) @ c.T))
    assert found.std_errors == pytest.approx(expected, rel=1e-8)
    assert found.effects == pytest.approx(TwoStageLS().fit(None, **two).effect_)


def test_the_warning_is_about_the_callers_line(rows):
    est = HierarchicalBayesianIV([5.0, 5.0], [0.1, 0.1], sigma_t_bar_scale=0.1, random_state=0)
    for call in (
        lambda: est.fit(None, **rows),
        lambda: est.fit_moments(est.moments_),
        lambda: HierarchicalBayesianIV(**est.get_params()).partial_fit(None, **rows),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        (conflict,) = [w for w in caught if w.category is PriorDataConflictWarning]
        assert conflict.filename == __file__
        assert "set robust_weight" in str(conflict.message)


@pytest.mark.slow
@quiet
@pytest.mark.parametrize("robust", [0.0, 0.3])
def test_leave_one_out_of_two_treatments_is_a_refit(two, robust):
    """An experiment is left out of all treatments' histories at once."""
    effects = np.array([[1.6, -1.6], [1.5, -0.4], [1.45, -1.8]])
    errors = np.full((3, 2), 0.12)
    parameters = {
        "robust_weight": robust,
        "beta_t_scale": 3.0,
        "beta_t_bar_scale": 5.0,
        "sigma_t_bar_scale": 0.5,
        "likelihood": "gmm",
        "draws": 8000,
        "random_state": 0,
    }
    est = HierarchicalBayesianIV(effects, errors, **parameters).fit(None, **two)
    for k, name in enumerate(["mail", "push"]):
        table = est.borrowing(name).leave_one_out
        for j in range(3):
            refit = HierarchicalBayesianIV(
                np.delete(effects, j, axis=0), np.delete(errors, j, axis=0), **parameters
            ).fit(None, **two)
            x = refit.idata_.posterior["beta_t"].to_numpy()[..., k]
            se = x.std() * np.sqrt(2 / table["ess"].iloc[j])
            assert abs(table["effect"].iloc[j] - x.mean()) < 5 * se
            assert table["effect sd"].iloc[j] == pytest.approx(x.std(), rel=0.1)
            assert table["ess"].iloc[j] > 1000


def left_out_plainly(est, treatment):
    """The table with the others' history integrated anew for each experiment left out."""
    history, robust = est._model.history, est.robust_weight
    effects = est.idata_.posterior["beta_t"].to_numpy().reshape(-1, len(history.treatments))

    def log_prior(given):
        near = sum(integrate(given, k).predictive.log_pdf(x) for k, x in enumerate(effects.T))
        prior = est._model.effect_prior
        far = stats.norm(prior.loc, prior.scale).logpdf(effects).sum(axis=1)
        return np.logaddexp(np.log1p(-robust) + near, np.log(robust) + far) if robust else near

    table = []
    for j in range(history.n_experiments):
        left = history.without(j)
        weight = np.exp(log_prior(left) - log_prior(history))
        weight /= weight.sum()
        predicted, x = integrate(left, treatment).predictive, effects[:, treatment]
        mean = weight @ x
        sd = np.sqrt(weight @ (x - mean) ** 2)
        table.append([predicted.quantile(0.5), predicted.moments()[1], mean, sd])
    return np.array(table)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@quiet
def test_leave_one_out_is_each_history_integrated_anew(two):
    rng = np.random.default_rng(3)
    effects = [1.0, -1.0] + 0.3 * rng.standard_normal((8, 2))
    effects[2, 1] = np.nan
    errors = np.where(np.isnan(effects), np.nan, rng.uniform(0.1, 0.4, (8, 2)))
    est = HierarchicalBayesianIV(effects, errors, robust_weight=0.2, **QUICK).fit(None, **two)
    for k, name in enumerate(["mail", "push"]):
        table = est.borrowing(name).leave_one_out
        found = table[["predicted", "predicted sd", "effect", "effect sd"]]
        np.testing.assert_allclose(found, left_out_plainly(est, k), rtol=1e-7)


@quiet
def test_leave_one_out_says_when_it_cannot_tell(rows):
    """Without the experiment that decides all, none of the draws is of use."""
    est = HierarchicalBayesianIV(
        [3.5, 1.0],
        [0.01, 0.5],
        sigma_t_bar_prior="half-normal",
        sigma_t_bar_scale=0.02,
        random_state=0,
    ).fit(None, **rows)
    table = est.borrowing().leave_one_out
    assert table["ess"].iloc[0] < 100
    assert np.isnan(table.loc["0", ["effect", "effect sd"]].astype(float)).all()
    assert np.isfinite(table.loc["1"]).all()


def test_report_text(fitted):
    report = fitted.borrowing("t")
    text, html = str(report), report._repr_html_()
    assert repr(report) == text
    assert "exchangeable" not in text
    for part in ("without history", "conflict p-value", "effect of", "ess"):
        assert part in text
        assert part in html
    assert "adds uncertainty" not in text
    frame = report.to_frame()
    assert list(frame.index) == ["without history", "history predicts", "with history"]
    assert frame.loc["with history"].tolist() == report.combined.numbers()
    with pytest.raises(ValueError, match=r"treatment must be one of \['t'\].*got 'push'"):
        fitted.borrowing("push")


@quiet
def test_a_history_that_adds_uncertainty(rows):
    """Halfway between two modes the posterior is wider than without the history."""
    est = HierarchicalBayesianIV(
        [2.3, 2.3],
        [0.1, 0.1],
        sigma_t_bar_scale=0.1,
        robust_weight=0.05,
        beta_t_scale=2.0,
        **EXACT,
    ).fit(np.random.default_rng(0).normal(size=(600, 1)), **rows)
    report = est.borrowing()
    assert report.rows < 0
    text = str(report)
    assert "rows of this experiment: the history adds uncertainty" in text
    assert "exchangeable" in text
    assert report.exchangeable_probability == est.exchangeable_probability_
    assert "use BayesianIV" in str(report) or report.conflict_p_value < 0.05


def test_reports_are_of_the_fit(rows):
    """They agree with each other without a seed, and do not follow parameters set later."""
    est = HierarchicalBayesianIV(**EARLIER, target_accept=0.95).fit(None, **rows)
    first, second = est.borrowing(), est.borrowing()
    assert first.without == second.without
    one, other = (est.next_prior().effects.iloc[-1, 0] for _ in range(2))
    assert one == other
    est.set_params(effects=[5.0, 6.0], std_errors=[0.1, 0.1])
    assert est.borrowing().history == first.history
    assert est.meta_analysis().n_experiments == 3
    assert len(est.next_prior().effects) == 4
    assert HierarchicalBayesianIV(**est.get_params()).meta_analysis().n_experiments == 2

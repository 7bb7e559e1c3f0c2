"""Many experiments at once: what the template says holds for each of them."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from experiments import QUICK
from faulty_experiments import strong, weak
from metropolis import metropolis

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, Moments, fit_experiments
from skbayesiv._models.normal.model import NormalModel
from skbayesiv._models.sampling import sample_model
from skbayesiv._sampling import independence
from skbayesiv._sampling.backends import BACKENDS, MANY
from skbayesiv._sampling.nuts import sample as nuts
from skbayesiv._sampling.target import Draws
from skbayesiv.datasets import make_noncompliance
from skbayesiv.diagnostics import effective_f
from skbayesiv.exceptions import ConvergenceWarning, FitFailedWarning, WeakInstrumentWarning

ROLES = {"by": "week", "outcome": "y", "treatment": "t", "instruments": "z", "covariates": "x"}
NAMES = {"by": "week", "outcome": "y", "treatment": "t", "instruments": "z"}
quiet = pytest.mark.filterwarnings("ignore:The sampler has not converged")
SURE = {"effects": [1.3, 1.31, 1.29], "std_errors": [0.01, 0.01, 0.01]}


@pytest.fixture(scope="module")
def frame():
    """Three experiments whose effect is about 1."""
    parts = [make_noncompliance(200, effect=1.0, n_covariates=1, random_state=i) for i in range(3)]
    return pd.concat(
        pd.DataFrame({"x": p.X[:, 0], "t": p.t, "y": p.y, "z": p.z, "week": i})
        for i, p in enumerate(parts)
    )


@quiet
def test_a_history_is_a_part_of_the_template(frame):
    fits = fit_experiments(frame, estimator=HierarchicalBayesianIV(**SURE, **QUICK), **ROLES)
    posterior = fits.idata.posterior
    alone = fit_experiments(frame, estimator=BayesianIV(**QUICK), **ROLES)
    effects = posterior["beta_t"].mean(("chain", "draw"))
    assert (np.abs(alone.effects.iloc[:2] - 1.3) > 0.25).all(axis=None)
    assert (np.abs(effects - 1.3) < 0.1).all()
    # The history is not what an experiment says by itself.
    pd.testing.assert_frame_equal(fits.effects, alone.effects)
    pd.testing.assert_frame_equal(fits.std_errors, alone.std_errors)
    assert np.allclose(posterior["beta_t_bar"].mean(("chain", "draw")), 1.3, atol=0.05)
    assert posterior["beta_j"].dims == (
        *("chain", "draw", "experiment"),
        *("earlier_experiment", "treatment"),
    )
    assert posterior["experiment"].to_numpy().tolist() == ["0", "1", "2"]
    assert posterior["earlier_experiment"].to_numpy().tolist() == ["0", "1", "2"]


@pytest.mark.filterwarnings("ignore:The (sampler|current)")
def test_each_is_what_a_fit_with_the_history_gives(frame):
    est = HierarchicalBayesianIV([1.0, 1.3], [0.3, 0.2], robust_weight=0.2, **QUICK)
    fits = fit_experiments(frame, estimator=est, **ROLES)
    groups = Moments.from_frame(frame, **ROLES)
    for j, moments in enumerate(groups.values()):
        alone = est.fit_moments(moments).idata_.posterior
        for name in ("beta_t", "beta_t_bar", "sigma_t_bar", "beta_j", "exchangeable"):
            many = fits.idata.posterior[name].isel(experiment=j).to_numpy()
            assert np.array_equal(many, alone[name].to_numpy()), name


@pytest.fixture
def steps(monkeypatch):
    """Backend that takes one step a draw, as NumPyro's never does, and counts its targets."""
    found = []

    def sample(target, settings, track=None):
        found.append(target)
        return metropolis(target, settings)

    monkeypatch.setitem(BACKENDS, "metropolis", sample)
    return found


@quiet
def test_experiments_follow_the_backend(frame, steps):
    est = BayesianIV(backend="metropolis", **QUICK)
    fits = fit_experiments(frame, estimator=est, **ROLES)
    assert (fits.idata.sample_stats["n_steps"] == 1).all()
    assert len(steps) == 3


@quiet
def test_without_a_template_they_are_sampled_at_once(frame):
    """As each by itself, but for draws whose choice hangs on the last bit."""
    fits = fit_experiments(frame, **ROLES)
    assert fits.idata.posterior.sizes["draw"] == 500
    est = BayesianIV(chains=2, draws=500, backend="independence")
    again = fit_experiments(frame, estimator=est.set_params(random_state=3), **ROLES)
    for j, moments in enumerate(Moments.from_frame(frame, **ROLES).values()):
        alone = est.fit_moments(moments).idata_
        for name in ("posterior/beta_t", "posterior/beta_z", "sample_stats/lp"):
            many = again.idata[name].isel(experiment=j).to_numpy()
            agree = np.isclose(many, alone[name].to_numpy(), rtol=1e-6)
            assert agree.mean() > 0.99, name
    assert (again.idata.sample_stats["pareto_k"] < 0.7).all()


def test_experiments_that_are_not_covered_are_named(frame, monkeypatch):
    def pareto_k(ratio):
        """Bad of the second, however often its proposal is refined."""
        return np.where(np.arange(len(ratio)) == min(1, len(ratio) - 1), 0.9, 0.1)

    monkeypatch.setattr(independence, "pareto_k", pareto_k)
    with pytest.warns(ConvergenceWarning, match=r'in 1 of 3 experiments \(1\).*"numpyro"'):
        fit_experiments(frame, **ROLES)


def test_one_that_cannot_be_sampled_costs_no_other(frame, monkeypatch):
    """A sweep that fails is made one by one, and the one that fails is named."""

    def sample_many(targets, settings):
        raise ArithmeticError("together")

    def sample(target, settings, track=None):
        if target.arrays.n == 200 and not broken:
            broken.append(target)
            raise ArithmeticError("this one")
        return independence.sample(target, settings)

    broken = []
    monkeypatch.setitem(MANY, "independence", sample_many)
    monkeypatch.setitem(BACKENDS, "independence", sample)
    with pytest.warns(FitFailedWarning, match="1 of 3 experiments.*\n0: this one"):
        fits = fit_experiments(frame, **ROLES)
    assert fits.idata.posterior["experiment"].to_numpy().tolist() == ["1", "2"]


@quiet
def test_a_search_follows_the_backend(frame, steps):
    est = BayesianIV(backend="metropolis", **QUICK)
    search = BayesianIVCV(est, beta_t_scale=[0.5, 2.0], cv=3)
    search.fit(frame[["x"]], frame["t"], frame["y"], z=frame["z"])
    assert len(steps) == 2 * 3 + 1
    assert (search.idata_.sample_stats["n_steps"] == 1).all()


def test_pymc_without_rows_is_refused(frame):
    with pytest.raises(ValueError, match=r'backend="pymc" samples a model of all rows'):
        fit_experiments(frame, estimator=BayesianIV(backend="pymc", **QUICK), **ROLES)


@quiet
def test_pymc_in_a_search_gets_the_training_rows(frame, monkeypatch):
    sizes = []

    def sample_pymc(model, data, settings):
        sizes.append(data.n_rows)
        return sample_model(model, "numpyro", settings)

    monkeypatch.setattr(NormalModel, "sample_pymc", sample_pymc)
    search = BayesianIVCV(BayesianIV(backend="pymc", **QUICK), beta_t_scale=[1.0], cv=4)
    search.fit(frame[["x"]], frame["t"], frame["y"], z=frame["z"])
    assert sizes == [450] * 4 + [600]


def spoiled(frame):
    """Ten experiments, of which seven say nothing of the effect."""
    good = [frame.assign(week=frame["week"] + shift) for shift in (0, 10)]
    part = frame[frame["week"] == 0]
    bad = [
        part.assign(z=1, week=3),
        part.assign(t=0, week=4),
        part.assign(y=2.0 * part["t"], week=5),
        part[:1].assign(week=6),
        part.assign(x=part["z"], week=7),
    ]
    return pd.concat([*bad, *good])


REASONS = {
    3: "z must vary",
    4: "t must vary",
    5: "y must have an error",
    6: "at least as many rows",
    7: "collinear",
}


@quiet
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_what_cannot_be_fitted_costs_no_other(frame, n_jobs):
    rows, est = spoiled(frame), BayesianIV(**QUICK)
    with pytest.warns(FitFailedWarning, match="5 of 11 experiments") as record:
        fits = fit_experiments(rows, estimator=est, n_jobs=n_jobs, **ROLES)
    assert list(fits.failures) == list(REASONS)
    message = str(next(w.message for w in record if w.category is FitFailedWarning))
    for week, reason in REASONS.items():
        assert reason in fits.failures[week]
        assert f"\n{week}: {fits.failures[week]}" in message
    weeks = [0, 1, 2, *REASONS, 10, 11, 12]
    alone = fit_experiments(rows[~rows["week"].isin(REASONS)], estimator=est, **ROLES)
    assert not alone.failures
    for name in ("effects", "std_errors"):
        table, expected = getattr(fits, name), getattr(alone, name)
        assert table.index.tolist() == weeks
        assert table.loc[[*REASONS]].isna().all(axis=None)
        pd.testing.assert_frame_equal(table.dropna(), expected)
    assert list(fits.moments) == weeks
    assert fits.idata.equals(alone.idata)


@quiet
def test_a_history_needs_no_rows_of_those_that_failed(frame):
    with pytest.warns(FitFailedWarning):
        fits = fit_experiments(spoiled(frame), estimator=BayesianIV(**QUICK), **ROLES)
    whole = HierarchicalBayesianIV(fits.effects, fits.std_errors)
    fitted = HierarchicalBayesianIV(fits.effects.dropna(), fits.std_errors.dropna())
    one, other = (est.meta_analysis().to_frame() for est in (whole, fitted))
    pd.testing.assert_frame_equal(one, other)


@quiet
@quiet
@pytest.mark.parametrize("likelihood", ["normal", "gmm"])
def test_weak_experiments_are_named(likelihood):
    """By the effective F that a fit of each says, in one warning."""
    parts = {"a": weak(0), "b": weak(1), "c": strong(2)}
    frame = pd.concat(
        pd.DataFrame({k: np.ravel(v) for k, v in part.items()}).assign(week=name)
        for name, part in parts.items()
    )
    est = BayesianIV(likelihood=likelihood, **QUICK)
    with pytest.warns(WeakInstrumentWarning, match=r"of 2 of 3 experiments .* \(a, b\)"):
        fits = fit_experiments(frame, estimator=est, **NAMES)
    assert fits.weak.keys() == {"a", "b"}
    data = parts["a"]
    f = effective_f(data["y"], data["t"], data["z"], robust=likelihood == "gmm").f
    assert f"the effective F is {f:.3g}" in fits.weak["a"]
    assert fit_experiments(frame, estimator=est.set_params(check=False), **NAMES).weak == {}


def test_ten_failures_are_named(frame):
    part = frame[frame["week"] == 0]
    bad = [part.assign(z=1, week=100 + i) for i in range(12)]
    with pytest.warns(FitFailedWarning, match=r"(?s)\n109: .*\nand 2 more$") as record:
        fits = fit_experiments(pd.concat([frame, *bad]), estimator=BayesianIV(**QUICK), **ROLES)
    assert "\n110: " not in str(record[0].message)
    assert len(fits.failures) == 12


@quiet
@pytest.mark.parametrize("error", [np.linalg.LinAlgError, RuntimeError, FloatingPointError])
def test_a_failure_of_the_sampler_costs_no_other(frame, monkeypatch, error):
    calls = []

    def sample(target, settings, track=None):
        calls.append(target)
        if len(calls) == 2:
            raise error("no draws")
        return nuts(target, settings)

    monkeypatch.setitem(BACKENDS, "failing", sample)
    whole = fit_experiments(frame, estimator=BayesianIV(**QUICK), **ROLES)
    with pytest.warns(FitFailedWarning, match=r"1 of 3 experiments .*\n1: no draws"):
        fits = fit_experiments(frame, estimator=BayesianIV(backend="failing", **QUICK), **ROLES)
    assert fits.failures == {1: "no draws"}
    pd.testing.assert_frame_equal(fits.effects.dropna(), whole.effects.loc[[0, 2]])
    assert fits.idata.equals(whole.idata.isel(experiment=[0, 2]))


def test_nothing_is_sampled_before_all_are_checked(frame, steps):
    rows = frame.assign(z=np.where(frame["week"] == 2, 1, frame["z"]))
    est = BayesianIV(backend="metropolis", likelihood="gmm", **QUICK)
    with pytest.raises(ValueError, match=r"No experiment .* Experiment 2: z must vary"):
        fit_experiments(rows[rows["week"] == 2], estimator=est, **NAMES)
    assert not steps


def test_all_failing_in_the_sampler(frame, monkeypatch):
    def sample(target, settings, track=None):
        raise RuntimeError

    monkeypatch.setitem(BACKENDS, "failing", sample)
    with pytest.raises(ValueError, match=r"No experiment .* Experiment 0: RuntimeError"):
        fit_experiments(frame, estimator=BayesianIV(backend="failing", **QUICK), **ROLES)


@pytest.mark.parametrize("likelihood", ["normal", "gmm"])
def test_a_frame_without_rows(frame, likelihood):
    est = BayesianIV(likelihood=likelihood, **QUICK)
    with pytest.raises(ValueError, match="frame must have rows in a group of 'week'; got none"):
        fit_experiments(frame[:0], estimator=est, **NAMES)


@quiet
@pytest.mark.parametrize("likelihood", ["normal", "gmm"])
def test_the_remedy_for_missing_values(frame, likelihood):
    est = BayesianIV(likelihood=likelihood, **QUICK)
    rows = frame.reset_index(drop=True)
    gap = rows.assign(y=rows["y"].where(rows.index != 3))
    with pytest.raises(ValueError, match=re.escape("missing='drop' leaves out the rows")):
        fit_experiments(gap, estimator=est, **NAMES)
    fits = fit_experiments(gap, estimator=est, missing="drop", **NAMES)
    assert fits.moments[0].n_rows == 199
    complete = fit_experiments(rows.drop(index=3), estimator=est, **NAMES)
    pd.testing.assert_frame_equal(fits.effects, complete.effects, rtol=1e-9)


@quiet
def test_draws_are_held_once(frame, monkeypatch):
    def sample(target, settings, track=None):
        shape = settings.chains, settings.draws
        position = np.broadcast_to(target.start, (*shape, target.start.size))
        return Draws(position, {name: np.zeros(shape) for name in ("diverging", "n_steps", "lp")})

    monkeypatch.setitem(BACKENDS, "nothing", sample)
    rows = pd.concat(frame.assign(week=frame["week"] + 3 * i) for i in range(40))
    est = BayesianIV(backend="nothing", **QUICK)
    fit_experiments(frame, estimator=est, **ROLES)
    tracemalloc.start()
    fits = fit_experiments(rows, estimator=est, **ROLES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    groups = fits.idata.posterior, fits.idata.sample_stats
    size = sum(value.nbytes for group in groups for value in group.data_vars.values())
    assert peak < 1.6 * size


@quiet
def test_draws_that_are_not_numbers_have_not_converged(frame, monkeypatch):
    def sample(target, settings, track=None):
        draws = nuts(target, settings)
        draws.position[:] = np.nan
        return draws

    monkeypatch.setitem(BACKENDS, "broken", sample)
    est = BayesianIV(backend="broken", likelihood="gmm", **QUICK)
    with pytest.warns(ConvergenceWarning, match="3 of 3 experiments"):
        fit_experiments(frame, estimator=est, **NAMES)

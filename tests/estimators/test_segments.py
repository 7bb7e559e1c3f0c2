"""Fits to segments of the rows: every way in, what they answer, and what they refuse."""

from __future__ import annotations

import pickle
from functools import cache

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV

from skbayesiv import FourthMoments, HierarchicalBayesianIV, Moments
from skbayesiv.exceptions import HeteroskedasticityWarning, IgnoredClustersWarning

QUICK = {"draws": 500, "tune": 300, "chains": 2, "random_state": 0}
ROLES = {"outcome": "y", "treatment": "t", "instruments": "z", "covariates": "x"}
COLUMNS = {"treatment": "t", "instruments": "z", "segments": "country"}
pytestmark = pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.ConvergenceWarning")


@cache
def frame(n=1600):
    """Rows of four countries, whose outcome is not normal given z but whose errors are."""
    rng = np.random.default_rng(0)
    country = np.array(["at", "be", "ch", "de"])[rng.integers(0, 4, n)]
    z, u, x = rng.integers(0, 2, n), rng.normal(size=n), rng.normal(size=n)
    t = ((rng.uniform(size=n) < 0.6) & (z == 1)).astype(int)
    level = np.select([country == "at", country == "be"], [0.0, 1.0], 3.0)
    y = (1.0 + 0.3 * (country == "de")) * t + level + 0.5 * x + u + rng.normal(size=n)
    return pd.DataFrame({"x": x, "t": t, "z": z, "country": country, "y": y})


def arrays(data):
    return data[["x"]].to_numpy(), data["t"].to_numpy(), data["y"].to_numpy()


def fit(data=None, est=None, segments=None, **extra):
    data = frame() if data is None else data
    est = HierarchicalBayesianIV(**QUICK) if est is None else est
    labels = data["country"].to_numpy() if segments is None else segments
    return est.fit(*arrays(data), z=data["z"].to_numpy(), segments=labels, **extra)


@cache
def fitted():
    return fit()


def by(column, moments=Moments, **extra):
    return moments.from_frame(frame(), by=column, **ROLES, **extra)


WAYS = {
    "column mode": lambda: HierarchicalBayesianIV(**COLUMNS, **QUICK).fit(
        frame().drop(columns="y"), frame()["y"]
    ),
    "position": lambda: HierarchicalBayesianIV(treatment=1, instruments=2, segments=3, **QUICK).fit(
        frame().drop(columns="y").to_numpy(dtype=object), frame()["y"]
    ),
    "y a name": lambda: HierarchicalBayesianIV(**COLUMNS, covariates="x", **QUICK).fit(
        frame(), y="y"
    ),
    "names in fit": lambda: HierarchicalBayesianIV(
        treatment="t", instruments="z", covariates="x", **QUICK
    ).fit(frame(), y="y", segments="country"),
    "polars, lazy": lambda: HierarchicalBayesianIV(**COLUMNS, covariates="x", **QUICK).fit(
        pl.from_pandas(frame()).lazy(), y="y"
    ),
    "duckdb": lambda: HierarchicalBayesianIV(**COLUMNS, covariates="x", **QUICK).fit(
        duckdb.from_df(frame()), y="y"
    ),
    "moments": lambda: HierarchicalBayesianIV(**QUICK).fit_moments(by("country")),
    "in scikit-learn's order": lambda: HierarchicalBayesianIV(**QUICK).fit(
        frame()[["x"]], frame()["y"], t=frame()["t"], z=frame()["z"], segments=frame()["country"]
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_gives_the_same_fit(way):
    est = WAYS[way]()
    assert list(est.segments_) == ["at", "be", "ch", "de"]
    assert np.allclose(est.effects_, fitted().effects_, rtol=1e-9)
    assert est.effect_ == pytest.approx(fitted().effect_, rel=1e-9)


def test_criterion_from_moments_is_that_of_rows():
    rows = frame()[["t", "z", "country", "y"]]
    roles = {key: value for key, value in ROLES.items() if key != "covariates"}
    moments = Moments.from_frame(rows, by="country", **roles)
    fourth = FourthMoments.from_frame(rows, by="country", **roles)
    est = HierarchicalBayesianIV(likelihood="gmm", **QUICK).fit_moments(moments, fourth)
    lazy = HierarchicalBayesianIV(likelihood="gmm", **COLUMNS, **QUICK)
    lazy.fit(pl.from_pandas(rows).lazy(), y="y")
    direct = HierarchicalBayesianIV(likelihood="gmm", **QUICK).fit(
        None, rows["t"], rows["y"], z=rows["z"], segments=rows["country"]
    )
    for other in (lazy, direct):
        assert np.allclose(est.effects_, other.effects_, rtol=1e-6)


def test_names_and_dimensions_of_the_posterior():
    posterior = fitted().idata_.posterior
    assert posterior["beta_t"].dims == ("chain", "draw", "segment", "treatment")
    assert posterior["corr"].dims[2:] == ("segment", "equation", "equation_")
    assert posterior["beta_t_bar"].dims == ("chain", "draw", "treatment")
    assert list(posterior["segment"].values) == ["at", "be", "ch", "de"]
    assert {"log_prior", "log_density", "constant_data"} <= set(fitted().idata_.children)


def test_effects_are_summaries_of_the_draws():
    est, draws = fitted(), fitted().idata_.posterior["beta_t"].to_numpy().reshape(1000, 4)
    table = est.effects_
    assert np.allclose(table["rows"], frame().groupby("country").size())
    assert np.allclose(table["effect"], draws.mean(axis=0))
    assert np.allclose(table["sd"], draws.std(axis=0))
    assert np.allclose(table[["2.5%", "97.5%"]].T, np.quantile(draws, [0.025, 0.975], axis=0))
    assert np.allclose(table["p_positive"], (draws > 0).mean(axis=0))
    first = est.idata_.posterior["beta_z"].mean(("chain", "draw")).to_numpy().ravel()
    assert np.allclose(table["first_stage"], first)


def test_predictions_are_those_of_each_rows_segment():
    est, data = fitted(), frame()[:40]
    x, t, _ = arrays(data)
    values = {
        name: est.idata_.posterior[name].to_numpy().reshape(1000, 4, -1)
        for name in ("intercept_y", "beta_t", "gamma_y", "intercept_t", "beta_z", "gamma_t")
    }
    code = np.searchsorted(est.segments_.astype(str), data["country"])
    own = {name: value[:, code, 0] for name, value in values.items()}
    mean = own["intercept_y"] + t * own["beta_t"] + x[:, 0] * own["gamma_y"]
    assert np.allclose(est.predict(x, t, segments=data["country"]), mean.mean(axis=0))
    stage = own["intercept_t"] + data["z"].to_numpy() * own["beta_z"] + x[:, 0] * own["gamma_t"]
    mean = own["intercept_y"] + stage * own["beta_t"] + x[:, 0] * own["gamma_y"]
    predicted, std = est.predict(x, z=data["z"], segments=data["country"], return_std=True)
    assert np.allclose(predicted, mean.mean(axis=0))
    assert ((std > 1.2) & (std < 2.0)).all()


def test_score_is_r2_given_the_instruments():
    data, est = frame(), fitted()
    x, _, y = arrays(data)
    predicted = est.predict(x, z=data["z"], segments=data["country"])
    expected = 1.0 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert est.score(x, y, z=data["z"], segments=data["country"]) == pytest.approx(expected)


def test_unseen_segments_are_predicted_by_the_population_when_asked_for():
    est = fitted()
    with pytest.raises(ValueError, match=r"segments must be among those of the fit; got \['fr'\]"):
        est.predict([[0.0]], [1.0], segments=["fr"])
    zero, one = (
        est.predict([[0.0]], [t], segments=["fr"], unseen="population") for t in (0.0, 1.0)
    )
    bar = est.idata_.posterior["beta_t_bar"].mean()
    assert (one - zero)[0] == pytest.approx(float(bar))
    means = est.idata_.posterior["intercept_y"].mean(("chain", "draw")).to_numpy()
    assert zero[0] == pytest.approx(np.average(means, weights=est.effects_["rows"]))
    _, std = est.predict(
        [[0.0], [0.0]], [1.0, 1.0], segments=["fr", "at"], unseen="population", return_std=True
    )
    assert std[0] > 0.0


def test_covariates_of_segments_predict_the_effect_of_another():
    income = pd.DataFrame(
        {"income": [1.0, 2.0, 3.0, 5.0, 9.0]}, index=["at", "be", "ch", "de", "fr"]
    )
    est = HierarchicalBayesianIV(segment_covariates=income, **QUICK)
    est = fit(est=est)
    posterior = est.idata_.posterior
    slope = float(posterior["delta"].mean())
    assert posterior["delta"].dims[2:] == ("segment_covariate", "treatment")
    step = np.subtract(
        *(est.predict([[0.0]], [t], segments=["fr"], unseen="population") for t in (1.0, 0.0))
    )
    expected = float(posterior["beta_t_bar"].mean()) + slope * (9.0 - 2.75)
    assert step[0] == pytest.approx(expected)
    with pytest.raises(ValueError, match="segment_covariates must have a row for each segment"):
        est.predict([[0.0]], [1.0], segments=["it"], unseen="population")


def test_one_segment_is_a_fit_like_any_other():
    est, data = fitted(), frame()[frame()["country"] == "be"]
    one = est.segment("be")
    assert one.effect_ == pytest.approx(est.effects_.loc["be", "effect"])
    assert one.moments_.n_rows == len(data)
    x, t, y = arrays(data)
    assert np.allclose(one.predict(x, t), est.predict(x, t, segments=data["country"]))
    assert one.predict_interval(x[:3], t[:3]).shape == (3, 2)
    assert one.log_likelihood(x, t, y, z=data["z"]).log_likelihood["y_t"].shape == (2, 500, len(x))
    assert one.effect_interval()[0] == pytest.approx(est.effects_.loc["be", "2.5%"])
    assert one.score(x, y, z=data["z"]) > 0.0


def test_what_is_of_one_experiment_says_whom_to_ask():
    est, (x, t, y) = fitted(), arrays(frame()[:5])
    for ask in (
        lambda: est.predict_interval(x, t),
        lambda: est.log_likelihood(x, t, y, z=t),
        lambda: est.borrowing(),
        lambda: est.next_prior(),
    ):
        with pytest.raises(ValueError, match=r"est\.segment\('at'\)"):
            ask()
    with pytest.raises(ValueError, match="label must be one of the segments"):
        est.segment("xx")


def silent(change):
    """Rows of which one country says nothing of its effect."""
    data = frame().copy()
    at = data["country"] == "ch"
    change(data, at)
    return data


def set_to(column, value):
    def change(data, at):
        data[column] = np.where(at, value, data[column])

    return change


SILENT = {
    "t is 0 in all its rows": set_to("t", 0),
    "t is 1 in all its rows": set_to("t", 1),
    "z is 1 in all its rows": set_to("z", 1),
    "y is 7 in all its rows": set_to("y", 7.0),
}


@pytest.mark.parametrize("likelihood", ["normal", "gmm"])
@pytest.mark.parametrize("reason", SILENT)
def test_a_segment_without_an_effect_of_its_own_gets_the_populations(reason, likelihood):
    data = silent(SILENT[reason])
    est = fit(data, HierarchicalBayesianIV(likelihood=likelihood, **QUICK))
    assert est.silent_segments_ == {"ch": reason}
    posterior = est.idata_.posterior
    own = est.effects_.loc["ch"]
    off = own["effect"] - float(posterior["beta_t_bar"].mean())
    assert abs(off) < 5.0 * own["sd"] / np.sqrt(1000)
    assert own["sd"] > est.effects_.drop("ch")["sd"].max()
    x, t, y = arrays(data[data["country"] == "ch"])
    assert est.predict(x, t, segments=["ch"] * len(x)).mean() == pytest.approx(y.mean())
    with pytest.raises(ValueError, match="identifies an effect of its own"):
        est.segment("ch")


def test_a_segment_of_one_row_is_silent():
    labels = frame()["country"].to_numpy().astype(object)
    labels[0] = "one"
    est = fit(segments=labels)
    assert est.silent_segments_ == {"one": "it has 1 row"}


@pytest.mark.parametrize("likelihood", ["normal", "gmm"])
def test_a_segment_in_which_everybody_complied_speaks_for_itself(likelihood):
    data = silent(lambda data, at: data.loc[at, "t"].__setitem__(slice(None), 0))
    data["t"] = np.where(data["country"] == "ch", data["z"], data["t"])
    est = fit(data, HierarchicalBayesianIV(likelihood=likelihood, **QUICK))
    assert not est.silent_segments_
    assert est.effects_.loc["ch", "first_stage"] == pytest.approx(1.0, abs=0.01)
    x, t, y = arrays(data[data["country"] == "ch"])
    coef, *_ = np.linalg.lstsq(np.column_stack([np.ones(len(x)), t, x]), y, rcond=None)
    spread = est.effects_.loc["ch", "sd"]
    assert abs(est.effects_.loc["ch", "effect"] - coef[1]) < 2.0 * spread


def test_probability_weights_count_within_each_segment():
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(frame()))
    est = fit(
        est=HierarchicalBayesianIV(sample_weight_type="probability", **QUICK), sample_weight=weight
    )
    for label, rows in est.effects_["rows"].items():
        own = weight[frame()["country"] == label]
        assert rows == pytest.approx(own.sum() ** 2 / (own**2).sum())


def test_clusters_are_allowed_for_by_the_criterion_and_warned_of_without():
    rng = np.random.default_rng(3)
    unit = np.arange(len(frame())) // 4
    data = frame().copy()
    data["y"] += 3.0 * rng.normal(size=unit.max() + 1)[unit]
    data["z"] = rng.integers(0, 2, unit.max() + 1)[unit]
    data["t"] = data["z"] * (rng.uniform(size=len(data)) < 0.6)
    labels = np.array(["n", "s"])[(unit % 2)]
    clustered = HierarchicalBayesianIV(likelihood="gmm", **QUICK)
    fit(data, clustered, labels, clusters=unit)
    with pytest.warns(IgnoredClustersWarning, match="In 2 of the 2 largest segments"):
        ignored = fit(data, HierarchicalBayesianIV(**QUICK), labels, clusters=unit)
    assert (clustered.effects_["sd"] > 1.2 * ignored.effects_["sd"]).all()
    assert isinstance(ignored.warnings_[0], IgnoredClustersWarning)


def test_uneven_errors_within_segments_are_warned_of():
    data = frame().copy()
    noise = np.random.default_rng(1).normal(size=len(data))
    data["z"] = (np.random.default_rng(2).uniform(size=len(data)) < 0.1).astype(int)
    data["t"] = data["z"] * (np.abs(noise) < 1.5)
    data["y"] = data["t"] + noise * (1.0 + 4.0 * data["z"])
    with pytest.warns(HeteroskedasticityWarning, match="largest segments"):
        fit(data)
    fit(data, HierarchicalBayesianIV(check=False, **QUICK))


def test_several_treatments_have_an_effect_each():
    rng = np.random.default_rng(0)
    n, labels = 1200, np.repeat(["a", "b", "c"], 400)
    z, u = rng.integers(0, 2, (n, 2)), rng.normal(size=n)
    t = 1.5 * z + u[:, None] + rng.normal(size=(n, 2))
    y = t @ [1.0, -0.5] + u + rng.normal(size=n)
    est = HierarchicalBayesianIV(**QUICK).fit(None, t, y, z=z, segments=labels)
    assert est.effects_.index.names == ["segment", "treatment"]
    assert np.allclose(est.effect_, [1.0, -0.5], atol=0.2)
    assert est.effect_interval().shape == (2, 2)
    assert est.idata_.posterior["sigma_t_bar"].shape == (2, 500, 2)
    assert est.predict(None, t[:4], segments=labels[:4]).shape == (4,)


def test_it_learns_from_earlier_experiments_too():
    history = {"effects": pd.Series([1.0, 1.1], ["q1", "q2"]), "std_errors": [0.05, 0.05]}
    est = fit(est=HierarchicalBayesianIV(**history, **QUICK))
    assert est.idata_.posterior["beta_j"].dims[2:] == ("experiment", "treatment")
    bar, alone = (e.idata_.posterior["beta_t_bar"].std() for e in (est, fitted()))
    assert bar < alone
    with pytest.raises(ValueError, match="'at' are both"):
        fit(est=HierarchicalBayesianIV(pd.Series([1.0], ["at"]), [0.1], **QUICK))


def wrong(**parameters):
    return HierarchicalBayesianIV(**parameters, **QUICK)


INCOME = pd.DataFrame({"income": [1.0, 2.0, 3.0, 4.0]}, index=["at", "be", "ch", "de"])
REFUSED = {
    "robust_weight must be 0": lambda: fit(est=wrong(robust_weight=0.1)),
    'backend must be "numpyro"': lambda: fit(est=wrong(backend="independence")),
    "one that identifies an effect": lambda: fit(segments=frame()["z"] * 2 + frame()["t"]),
    "missing labels": lambda: fit(segments=frame()["country"].where(frame()["z"] == 1)),
    "inconsistent numbers of samples": lambda: fit(segments=frame()["country"].to_numpy()[1:]),
    "none for 'de'": lambda: fit(est=wrong(segment_covariates=INCOME[:3])),
    "must vary over the segments": lambda: fit(est=wrong(segment_covariates=INCOME * 0 + 1)),
    "must not be missing": lambda: fit(est=wrong(segment_covariates=INCOME.where(INCOME > 1))),
    "delta_scale must be": lambda: fit(
        est=wrong(segment_covariates=INCOME, delta_scale=[1.0, 2.0])
    ),
    "moments must have a segment": lambda: wrong().fit_moments({}),
    "moments must be a dict of Moments": lambda: wrong(segments="country").fit_moments(
        fitted().moments_
    ),
    "partial_fit must not be used": lambda: wrong(**COLUMNS).partial_fit(
        frame().drop(columns="y"), frame()["y"]
    ),
    "segments must be given": lambda: fitted().predict([[0.0]], [1.0]),
    'unseen must be "error"': lambda: fitted().predict([[0.0]], [1], segments=["at"], unseen="x"),
    "segments must come from one place": lambda: WAYS["column mode"]().predict(
        frame().drop(columns="y"), segments=frame()["country"]
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_input_gets_a_message_that_names_the_way_out(message):
    with pytest.raises((ValueError, TypeError), match=message):
        REFUSED[message]()


def test_segments_of_a_fit_without_any_are_refused():
    est = HierarchicalBayesianIV([1.0], [0.5], **QUICK)
    x, t, y = arrays(frame())
    est.fit(x, t, y, z=frame()["z"])
    with pytest.raises(ValueError, match="segments must be None"):
        est.predict(x, t, segments=frame()["country"])
    with pytest.raises(ValueError, match="segment_report needs segments"):
        est.segment_report()
    with pytest.raises(AttributeError, match="fitted without segments"):
        est.effects_  # noqa: B018


def test_a_failed_fit_leaves_the_old_one():
    est = fit(est=HierarchicalBayesianIV(**QUICK))
    before = est.effects_
    with pytest.raises(ValueError, match="missing labels"):
        fit(est=est, segments=frame()["country"].where(frame()["z"] == 1))
    pd.testing.assert_frame_equal(est.effects_, before)


def test_it_pickles_with_its_segments():
    est = fit(est=HierarchicalBayesianIV(segment_covariates=INCOME, **QUICK))
    again = pickle.loads(pickle.dumps(est))
    pd.testing.assert_frame_equal(again.effects_, est.effects_)
    pd.testing.assert_frame_equal(again.segment_covariates, INCOME)
    x, t, _ = arrays(frame()[:3])
    labels = frame()["country"][:3]
    assert np.array_equal(again.predict(x, t, segments=labels), est.predict(x, t, segments=labels))


def test_a_search_over_prior_scales_routes_labels_or_finds_them_in_a_column():
    grid, data = {"sigma_t_bar_scale": [0.05, 1.0]}, frame()[:800]
    est = HierarchicalBayesianIV(**COLUMNS, **QUICK)
    found = GridSearchCV(est, grid, cv=2).fit(data.drop(columns="y"), data["y"])
    with sklearn.config_context(enable_metadata_routing=True):
        routed = GridSearchCV(HierarchicalBayesianIV(**QUICK), grid, cv=2).fit(
            data[["x"]], data["y"], t=data["t"], z=data["z"], segments=data["country"]
        )
    scores = (search.cv_results_["mean_test_score"] for search in (found, routed))
    assert np.allclose(*scores, rtol=1e-9)


def test_prior_draws_and_tables_have_segments():
    prior = fitted().sample_prior_predictive(n_draws=50, random_state=0).prior
    assert prior["beta_t"].dims == ("chain", "draw", "segment", "treatment")
    assert prior["sigma_t_bar"].dims == ("chain", "draw", "treatment")
    table = fitted().prior_summary()
    assert table.index[0] == "beta_t_bar[t]"
    names = fitted().summary().index
    assert any(name.startswith("beta_t[de") for name in names)
    assert not any(name.startswith("gamma") for name in names)

"""The push experiment's published numbers, the cache, and the truth of simulations."""

import hashlib
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skbayesiv.datasets import (
    _push,
    fetch_push_experiment,
    load_push_experiment,
    make_noncompliance,
    make_segments,
)

ORIGINAL = Path(__file__).parents[2] / "shared" / "data" / "app_engagement_push.csv"
needs_original = pytest.mark.skipif(not ORIGINAL.exists(), reason="the original is not at hand")

# (assigned, delivered): count, sum and sum of squares of the original's outcome
CELLS = {
    (0, 0): (5057, 350408, 27638434),
    (1, 0): (1396, 72383, 4130699),
    (1, 1): (3547, 281809, 24670021),
}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Keep the test output clean."""


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve a file as the published one; returns its requests, one path each."""
    requests = []
    folder = tmp_path / "server"
    folder.mkdir()

    class Handler(QuietHandler):
        def do_GET(self):
            requests.append(self.path)
            super().do_GET()

    server = HTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_push, "URL", f"http://127.0.0.1:{server.server_port}/{_push.FILE}")

    def publish(content):
        (folder / _push.FILE).write_bytes(content)
        return requests

    yield publish
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def published(serve, monkeypatch):
    """Publish the reconstruction as a CSV file under its own checksum."""
    content = load_push_experiment(as_frame=True).frame.to_csv(index=False).encode()
    monkeypatch.setattr(_push, "SHA256", hashlib.sha256(content).hexdigest())
    return serve(content)


@pytest.fixture(params=["reconstruction", pytest.param("original", marks=needs_original)])
def push(request):
    if request.param == "reconstruction":
        return load_push_experiment(as_frame=True).frame
    return pd.read_csv(ORIGINAL)


def iv(y, regressors, instruments):
    """Just-identified IV, (Z'X)^-1 Z'y, with HC0 standard errors, a constant included."""
    one = np.ones(len(y))
    X, Z = np.column_stack([one, *regressors]), np.column_stack([one, *instruments])
    bread = np.linalg.inv(Z.T @ X)
    coef = bread @ Z.T @ y
    scores = Z * (y - X @ coef)[:, None]
    return coef, np.sqrt(np.diag(bread @ scores.T @ scores @ bread.T))


def wald(sim):
    """The Wald ratio of a single instrument and its robust standard error."""
    coef, error = iv(sim.y, [sim.t], [sim.z])
    return coef[1], error[1]


class TestPush:
    def test_cell_moments_are_the_originals(self, push):
        cells = push.groupby(["push_assigned", "push_delivered"])["in_app_purchase"]
        moments = {cell: (len(y), y.sum(), (y**2).sum()) for cell, y in cells}
        assert moments == CELLS

    @pytest.mark.parametrize(
        ("regressors", "instruments", "coef", "error"),
        [
            (["push_assigned"], ["push_assigned"], [2.3636], [0.5209]),
            (["push_delivered"], ["push_delivered"], [13.931], [0.5282]),
            (
                ["push_assigned", "push_delivered"],
                ["push_assigned", "push_delivered"],
                [-17.441, 27.600],
                [0.5702, 0.6124],
            ),
            (["push_delivered"], ["push_assigned"], [3.2938], [0.7165]),
        ],
        ids=["reduced form", "as treated", "both", "2SLS"],
    )
    def test_published_estimates(self, push, regressors, instruments, coef, error):
        columns = push.to_dict("series")
        estimate, standard_error = iv(
            columns["in_app_purchase"].to_numpy(),
            [columns[name] for name in regressors],
            [columns[name] for name in instruments],
        )
        # Half a unit of the last published digit, three or four decimals.
        np.testing.assert_allclose(estimate[1:], coef, rtol=0, atol=5.1e-4)
        np.testing.assert_allclose(standard_error[1:], error, rtol=0, atol=5.1e-5)

    def test_published_interval(self, push):
        coef, error = iv(
            push["in_app_purchase"].to_numpy(), [push["push_delivered"]], [push["push_assigned"]]
        )
        interval = coef[1] + np.array([-1, 1]) * 1.959964 * error[1]
        np.testing.assert_allclose(interval, [1.8896, 4.6981], rtol=0, atol=5.1e-5)

    def test_outcomes_are_plausible(self):
        frame = load_push_experiment(as_frame=True).frame
        for _, cell in frame.groupby(["push_assigned", "push_delivered"]):
            y = cell["in_app_purchase"]
            assert y.min() >= 0
            assert 0 < y.skew() < 1
            # A bell: the middle 68% within one standard deviation, as for the normal.
            assert abs((y - y.mean()).abs().le(y.std()).mean() - 0.68) < 0.03

    def test_rows_are_shuffled_the_same_way_each_time(self):
        first, second = (load_push_experiment(as_frame=True).frame for _ in range(2))
        pd.testing.assert_frame_equal(first, second)
        halves = first["push_assigned"].to_numpy().reshape(2, -1).mean(axis=1)
        np.testing.assert_allclose(halves, 0.4943, atol=0.02)
        assert abs(np.corrcoef(first["in_app_purchase"], first.index)[0, 1]) < 0.03

    def test_bunch(self):
        push = load_push_experiment()
        assert push.X is push.data is push.frame is None
        for name, letter in [("treatment", "t"), ("target", "y"), ("instrument", "z")]:
            assert push[name] is push[letter]
            assert isinstance(push[name], np.ndarray)
            assert push[name].shape == (10_000,)
        assert push.feature_names == []
        assert push.target_names == ["in_app_purchase"]
        assert "reconstruction" in push.DESCR
        assert "MIT" in push.DESCR

    def test_frame(self):
        push = load_push_experiment(as_frame=True)
        assert list(push.frame) == ["in_app_purchase", "push_assigned", "push_delivered"]
        assert push.X is None
        pd.testing.assert_series_equal(push.t, push.frame["push_delivered"])
        pd.testing.assert_series_equal(push.y, push.frame["in_app_purchase"])
        pd.testing.assert_series_equal(push.z, push.frame["push_assigned"])

    @pytest.mark.parametrize("as_frame", [False, True])
    def test_tuple(self, as_frame):
        push = load_push_experiment(as_frame=as_frame)
        X, t, y, z = load_push_experiment(as_frame=as_frame, return_X_t_y_z=True)
        assert X is None
        for got, expected in [(t, push.t), (y, push.y), (z, push.z)]:
            assert type(got) is type(expected)
            np.testing.assert_array_equal(got, expected)

    def test_parameters_are_checked(self):
        with pytest.raises(ValueError, match="'as_frame' parameter of load_push_experiment"):
            load_push_experiment(as_frame="yes")


class TestFetch:
    def test_downloads_once(self, published, tmp_path):
        for _ in range(2):
            frame = fetch_push_experiment(data_home=tmp_path / "cache", as_frame=True).frame
            pd.testing.assert_frame_equal(frame, load_push_experiment(as_frame=True).frame)
        assert len(published) == 1
        assert [path.name for path in (tmp_path / "cache").iterdir()] == [_push.FILE]

    @needs_original
    def test_original(self, serve, tmp_path):
        serve(ORIGINAL.read_bytes())
        push = fetch_push_experiment(data_home=tmp_path, as_frame=True)
        pd.testing.assert_frame_equal(push.frame, pd.read_csv(ORIGINAL))
        assert "reconstruction" not in push.DESCR

    def test_environment_names_the_cache(self, published, tmp_path, monkeypatch):
        monkeypatch.setenv("SKBAYESIV_DATA", str(tmp_path / "elsewhere"))
        fetch_push_experiment()
        assert (tmp_path / "elsewhere" / _push.FILE).exists()

    def test_cache_is_in_the_home_folder_by_default(self, published, tmp_path, monkeypatch):
        monkeypatch.delenv("SKBAYESIV_DATA", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        fetch_push_experiment()
        assert (tmp_path / "skbayesiv_data" / _push.FILE).exists()

    def test_another_file_is_refused(self, serve, tmp_path):
        serve(b"in_app_purchase,push_assigned,push_delivered\n1,1,1\n")
        with pytest.raises(ValueError, match="hash"):
            fetch_push_experiment(data_home=tmp_path)
        assert list(tmp_path.glob("*.csv")) == []

    def test_offline_needs_the_cache(self, published, tmp_path):
        with pytest.raises(OSError, match="download_if_missing"):
            fetch_push_experiment(data_home=tmp_path, download_if_missing=False)
        assert published == []
        fetch_push_experiment(data_home=tmp_path)
        X, t, y, z = fetch_push_experiment(
            data_home=tmp_path, download_if_missing=False, return_X_t_y_z=True
        )
        assert X is None
        assert t.shape == y.shape == z.shape == (10_000,)

    def test_damaged_cache(self, published, tmp_path):
        (tmp_path / _push.FILE).write_text("damaged")
        with pytest.raises(OSError, match="damaged"):
            fetch_push_experiment(data_home=tmp_path, download_if_missing=False)
        assert fetch_push_experiment(data_home=tmp_path).y.shape == (10_000,)


class TestNoncompliance:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"always_takers": 0.2, "compliance": 0.5, "assignment": 0.3},
            {"confounding": -0.9, "noise": 5.0, "effect": -3.0},
            {"effect_sd": 2.0},
            {"n_covariates": 3},
            {"heteroskedastic": True, "assignment": 0.2},
            {"binary_treatment": False, "compliance": 0.4},
            {"binary_treatment": False, "n_covariates": 2, "effect_sd": 1.0},
        ],
        ids=str,
    )
    def test_wald_ratio_meets_the_truth(self, options):
        sim = make_noncompliance(100_000, random_state=1, **options)
        estimate, error = wald(sim)
        assert sim.effect == options.get("effect", 1.0)
        assert error < 0.15
        assert abs(estimate - sim.effect) < 3 * error

    @pytest.mark.parametrize("binary", [True, False])
    def test_each_of_several_instruments_is_valid(self, binary):
        sim = make_noncompliance(
            200_000,
            n_instruments=3,
            binary_treatment=binary,
            always_takers=0.1 * binary,
            random_state=2,
        )
        assert sim.z.shape == (200_000, 3)
        for z in sim.z.T:
            coef, error = iv(sim.y, [sim.t], [z])
            assert abs(coef[1] - sim.effect) < 3 * error[1]
            assert sim.t[z == 1].mean() - sim.t[z == 0].mean() == pytest.approx(0.7 / 3, abs=0.02)

    def test_strata(self):
        sim = make_noncompliance(
            100_000,
            compliance=0.6,
            always_takers=0.1,
            n_covariates=2,
            effect_sd=1.0,
            random_state=3,
        )
        shares = pd.Series(sim.strata).value_counts(normalize=True)
        expected = {"complier": 0.6, "never-taker": 0.3, "always-taker": 0.1}
        assert shares.to_dict() == pytest.approx(expected, abs=0.01)
        # With one instrument the stratum and the assignment decide the treatment.
        takes = np.where(sim.strata == "complier", sim.z, sim.strata == "always-taker")
        np.testing.assert_array_equal(sim.t, takes)
        for stratum in expected:
            assert sim.effects[sim.strata == stratum].mean() == pytest.approx(1.0, abs=0.03)
        assert sim.effects.std() == pytest.approx(1.0, abs=0.01)

    def test_one_sided_by_default(self):
        sim = make_noncompliance(random_state=0)
        assert not sim.t[sim.z == 0].any()
        assert "always-taker" not in sim.strata

    @pytest.mark.parametrize(("confounding", "biased"), [(0.0, False), (0.5, True)])
    def test_confounding_biases_least_squares(self, confounding, biased):
        sim = make_noncompliance(50_000, confounding=confounding, random_state=4)
        coef, error = iv(sim.y, [sim.t], [sim.t])
        assert (abs(coef[1] - 1.0) > 5 * error[1]) == biased

    def test_covariates_confound_when_left_out(self):
        sim = make_noncompliance(50_000, confounding=0.0, n_covariates=2, random_state=5)
        alone, _ = iv(sim.y, [sim.t], [sim.t])
        adjusted, error = iv(sim.y, [sim.t, *sim.X.T], [sim.t, *sim.X.T])
        assert alone[1] > 1.3
        assert abs(adjusted[1] - 1.0) < 3 * error[1]
        np.testing.assert_allclose(adjusted[2:], sim.gamma_y, atol=0.03)

    def test_continuous_treatment_is_the_joint_normal_model(self):
        sim = make_noncompliance(
            100_000,
            binary_treatment=False,
            confounding=0.6,
            noise=2.0,
            compliance=0.8,
            random_state=6,
        )
        e_y, e_t = sim.y - sim.effect * sim.t, sim.t - 0.8 * sim.z
        assert sim.strata is None
        assert (e_y.std(), e_t.std()) == pytest.approx((2.0, 1.0), rel=0.01)
        assert np.corrcoef(e_y, e_t)[0, 1] == pytest.approx(0.6, abs=0.01)

    def test_heteroskedastic_error(self):
        sim = make_noncompliance(
            200_000, heteroskedastic=True, noise=2.0, assignment=0.3, random_state=7
        )
        error = sim.y - sim.effect * sim.t
        ratio = error[sim.z == 1].std() / error[sim.z == 0].std()
        assert ratio == pytest.approx(3.0, abs=0.05)
        assert error.std() == pytest.approx(2.0, rel=0.02)

    @pytest.mark.parametrize("n_instruments", [1, 2])
    @pytest.mark.parametrize("n_covariates", [0, 1, 2])
    def test_shapes_and_frame(self, n_covariates, n_instruments):
        options = {"n_covariates": n_covariates, "n_instruments": n_instruments}
        arrays = make_noncompliance(50, random_state=0, **options)
        frames = make_noncompliance(50, random_state=0, as_frame=True, **options)
        names = frames.instrument_names
        assert arrays.z.shape == frames.z.shape == ((50,) if n_instruments == 1 else (50, 2))
        assert list(frames.frame) == [*frames.feature_names, "t", *names, "y"]
        assert arrays.frame is None
        if n_covariates == 0:
            assert arrays.X is frames.X is None
        else:
            assert arrays.X.shape == (50, n_covariates)
            assert list(frames.X) == frames.feature_names
        for key in "Xtyz":
            np.testing.assert_array_equal(np.asarray(arrays[key]), np.asarray(frames[key]))

    def test_tuple_and_determinism(self):
        sim = make_noncompliance(random_state=0, n_covariates=1)
        again = make_noncompliance(
            random_state=np.random.RandomState(0), n_covariates=1, return_X_t_y_z=True
        )
        for got, expected in zip(again, (sim.X, sim.t, sim.y, sim.z), strict=True):
            np.testing.assert_array_equal(got, expected)
        assert not np.array_equal(sim.y, make_noncompliance(random_state=1, n_covariates=1).y)

    @pytest.mark.parametrize("compliance", [0.0, 1.0])
    def test_extreme_compliance(self, compliance):
        sim = make_noncompliance(compliance=compliance, random_state=0)
        np.testing.assert_array_equal(sim.t, compliance * sim.z)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"compliance": 1.3}, r"'compliance' parameter of make_noncompliance .* Got 1.3"),
            ({"assignment": 0.0}, r"'assignment' parameter .* \(0.0, 1.0\). Got 0.0"),
            ({"confounding": float("nan")}, r"'confounding' parameter .* Got nan"),
            ({"noise": 0.0}, r"'noise' parameter .* Got 0.0"),
            ({"effect": float("inf")}, r"'effect' parameter .* Got inf"),
            ({"n_instruments": 0}, r"'n_instruments' parameter .* Got 0"),
            ({"random_state": "seed"}, r"'random_state' parameter .* Got 'seed'"),
            ({"always_takers": 0.4}, r"compliance \+ always_takers .* Got 0.7 \+ 0.4"),
            (
                {"always_takers": 0.1, "binary_treatment": False},
                r"always_takers must be 0 with binary_treatment=False.* Got 0.1",
            ),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_parameters_are_checked(self, options, message):
        with pytest.raises(ValueError, match=message):
            make_noncompliance(**options)


class TestSegments:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"confounding": -0.9, "noise": 3.0, "effect": -3.0},
            {"effect_sd": 0.0, "assignment": 0.2},
            {"slope": 2.0, "compliance": (0.9, 1.0)},
        ],
        ids=str,
    )
    def test_wald_ratio_of_each_segment_meets_its_effect(self, options):
        sim = make_segments(5, 200_000, random_state=0, as_frame=True, **options)
        assert list(sim.effects.index) == sorted(sim.frame["segment"].unique())
        for label in sim.effects.index:
            y, t, z = sim.frame.loc[sim.segments == label, ["y", "t", "z"]].to_numpy().T
            coef, error = iv(y, [t], [z])
            assert error[1] < 0.2
            assert abs(coef[1] - sim.effects[label]) < 3.5 * error[1]

    def test_population(self):
        sim = make_segments(5000, 5000, effect=2.0, effect_sd=0.5, slope=1.5, random_state=1)
        income = sim.segment_covariates["income"]
        slope, mean = np.polyfit(income, sim.effects, 1)
        assert (mean, slope) == pytest.approx((2.0, 1.5), abs=0.03)
        assert (sim.effects - mean - slope * income).std() == pytest.approx(0.5, abs=0.02)
        assert (sim.compliance.min(), sim.compliance.max()) == pytest.approx((0.3, 0.8), abs=0.01)
        assert sim.effect == 2.0

    def test_income_moves_no_effect_by_default(self):
        sim = make_segments(5000, 5000, random_state=2)
        correlation = np.corrcoef(sim.segment_covariates["income"], sim.effects)[0, 1]
        assert abs(correlation) < 0.05

    def test_shares(self):
        sim = make_segments(20, 200_000, assignment=0.3, random_state=3, as_frame=True)
        assert not sim.t[sim.z == 0].any()
        assert sim.z.mean() == pytest.approx(0.3, abs=0.005)
        own = sim.frame[sim.z == 1].groupby("segment")["t"]
        np.testing.assert_array_less(
            (own.mean() - sim.compliance).abs(), 4 * np.sqrt(0.25 / own.size())
        )
        assert own.size().max() > 5 * own.size().min()

    def test_intercepts_differ_and_taste_confounds(self):
        sim = make_segments(20, 100_000, random_state=4, as_frame=True)
        untreated = sim.frame[sim.z == 0].groupby("segment")["y"].mean()
        assert untreated.std() == pytest.approx(1.0, abs=0.4)
        offered = sim.frame[sim.z == 1]
        error = offered["y"] - sim.effects[offered["segment"]].to_numpy() * offered["t"]
        by_treatment = error.groupby([offered["segment"], offered["t"]]).mean().unstack()
        assert (by_treatment[1] > by_treatment[0]).all()

    def test_every_segment_has_a_unit(self):
        assert set(make_segments(50, 50, random_state=0).segments) == {
            f"s{g:02d}" for g in range(1, 51)
        }

    def test_frame_and_arrays_are_the_same_rows(self):
        arrays = make_segments(4, 100, random_state=0)
        frames = make_segments(4, 100, random_state=0, as_frame=True)
        assert list(frames.frame) == ["segment", "t", "z", "y"]
        assert arrays.X is frames.X is arrays.frame is None
        for key in ("t", "y", "z", "segments"):
            assert isinstance(arrays[key], np.ndarray)
            assert isinstance(frames[key], pd.Series)
            np.testing.assert_array_equal(arrays[key], frames[key].to_numpy())
        pd.testing.assert_series_equal(arrays.effects, frames.effects)
        pd.testing.assert_frame_equal(arrays.segment_covariates, frames.segment_covariates)
        assert frames.segment_covariates.index.equals(frames.effects.index)

    def test_determinism(self):
        sim = make_segments(random_state=0)
        again = make_segments(random_state=np.random.RandomState(0))
        for key in ("t", "y", "z", "segments", "effects"):
            np.testing.assert_array_equal(sim[key], again[key])
        assert not np.array_equal(sim.y, make_segments(random_state=1).y)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_segments": 0}, r"'n_segments' parameter of make_segments .* Got 0"),
            ({"effect_sd": -1.0}, r"'effect_sd' parameter .* Got -1.0"),
            ({"noise": 0.0}, r"'noise' parameter .* Got 0.0"),
            ({"compliance": (0.8, 0.3)}, r"compliance must be \(low, high\) .* Got \(0.8, 0.3\)"),
            ({"compliance": [0.5]}, r"compliance must be \(low, high\) .* Got \[0.5\]"),
            ({"compliance": (0.5, float("nan"))}, r"compliance must be .* Got \(0.5, nan\)"),
            ({"n_samples": 10}, r"n_segments must be at most n_samples \(10\).* Got 20"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_parameters_are_checked(self, options, message):
        with pytest.raises(ValueError, match=message):
            make_segments(**options)

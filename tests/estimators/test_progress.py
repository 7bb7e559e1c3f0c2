"""Progress through scikit-learn's callbacks: as the draws are made, and not unless asked for."""

from __future__ import annotations

import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread
from types import ModuleType, SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest
import sklearn.callback
from experiments import QUICK, simulated, unchecked
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skbayesiv import BayesianIV, BayesianIVCV, ProgressBar, fit_experiments
from skbayesiv._estimators import progress_bar
from skbayesiv._estimators.progress import COMPILING, fit_track, task
from skbayesiv._sampling import nuts
from skbayesiv._sampling.compiling import say_compiling, told_of_compiling
from skbayesiv._sampling.target import PIECES

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Recorder:
    """A callback that notes the ends of tasks by name, and whether it is set up."""

    def __init__(self):
        self.ended, self.open = [], 0

    def setup(self, estimator, context):
        """Begin."""
        self.open += 1

    def teardown(self, estimator, context):
        """End."""
        self.open -= 1

    def on_fit_task_begin(self, estimator, context):
        """Ignore."""

    def on_fit_task_end(self, estimator, context):
        """Note the task."""
        self.ended.append(context.task_name)


class Notebook:
    """What IPython gives a kernel's cells, and all that was shown."""

    def __init__(self, monkeypatch):
        self.shown = []
        self.module = ModuleType("IPython")
        self.module.get_ipython = lambda: SimpleNamespace(kernel=None)
        self.module.display = ModuleType("IPython.display")
        self.module.display.display = self.display
        monkeypatch.setitem(sys.modules, "IPython", self.module)
        monkeypatch.setitem(sys.modules, "IPython.display", self.module.display)
        monkeypatch.setattr(progress_bar, "SECONDS_BETWEEN_DRAWINGS", 0.01)

    def display(self, content, *, raw, display_id):
        assert raw
        assert display_id
        self.update(content, raw=True)
        return self

    def update(self, content, *, raw):
        assert raw
        self.shown.append(content)

    @property
    def text(self):
        return "".join(content["text/plain"] for content in self.shown)


@pytest.fixture
def in_notebook(monkeypatch):
    return Notebook(monkeypatch)


@quiet
def test_callbacks_hear_of_draws(rows):
    X, t, y, z = rows
    recorder = Recorder()
    est = BayesianIV(**QUICK)
    silent = clone(est).fit(X, t, y, z=z)
    est.set_callbacks(recorder).fit(X, t, y, z=z)  # by the program of the first fit
    assert recorder.ended == ["draws"] * PIECES + ["fit"]
    assert np.array_equal(est.coef_, silent.coef_)
    assert not hasattr(est, "_callback_fit_ctx")


@quiet
def test_callbacks_hear_when_the_sampler_is_compiled(rows, in_notebook):
    X, t, y, z = rows
    recorder = Recorder()
    est = BayesianIV(**QUICK | {"tune": 150}).set_callbacks(recorder, ProgressBar())
    first = est.fit(X, t, y, z=z).coef_
    assert f"\n  {COMPILING}" in in_notebook.text
    assert COMPILING not in in_notebook.shown[-1]["text/plain"]
    assert recorder.ended == [COMPILING] + ["draws"] * PIECES + ["fit"]
    recorder.ended.clear()
    second = est.set_params(draws=300).fit(X, t, y, z=z)
    assert recorder.ended == ["draws"] * PIECES + ["fit"]
    assert np.array_equal(clone(second).set_params(draws=200).fit(X, t, y, z=z).coef_, first)


def test_compiling_is_said_once_and_to_who_listens():
    @jax.jit
    def double(x):
        say_compiling()
        return 2 * x

    recorder = Recorder()
    est = BayesianIV().set_callbacks(recorder)
    with task(est, "pieces", 2) as track:
        for size in track([1, 2]):
            for _ in range(2):
                with told_of_compiling(track):
                    double(np.zeros(size))
    assert recorder.ended == [COMPILING, "pieces", "pieces", "pieces"]
    for silent in (None, iter):
        with told_of_compiling(silent):
            double(np.zeros(3))


@quiet
def test_notebooks_show_a_bar(rows, in_notebook, capsys):
    X, t, y, z = rows
    BayesianIV(**QUICK).set_callbacks(ProgressBar()).fit(X, t, y, z=z)
    last = in_notebook.shown[-1]
    assert set(last) == {"text/plain", "text/html"}
    assert "BayesianIV - fit" in last["text/html"]
    assert last["text/plain"].startswith("BayesianIV - fit")
    assert "100%" in last["text/plain"]
    assert capsys.readouterr().out == ""
    assert not progress_bar._screens


def in_terminal(monkeypatch, run):
    """What a terminal is written while a function runs."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    written = []

    def read():
        try:
            while piece := os.read(ours, 4096):
                written.append(piece)
        except OSError:  # Linux's way to say that the other end is closed
            pass

    reader = Thread(target=read)
    reader.start()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(progress_bar, "SECONDS_BETWEEN_DRAWINGS", 0.01)
    with monkeypatch.context() as patch, os.fdopen(theirs, "w") as terminal:
        patch.setattr(sys, "stdout", terminal)
        run()
    reader.join()
    os.close(ours)
    return b"".join(written).decode()


@quiet
def test_terminals_show_a_bar(rows, monkeypatch):
    X, t, y, z = rows
    est = BayesianIV(**QUICK).set_callbacks(ProgressBar())
    seen = in_terminal(monkeypatch, lambda: est.fit(X, t, y, z=z))
    assert "BayesianIV - fit" in seen
    assert "100%" in seen.splitlines()[-2]


@quiet
def test_files_get_the_last_state_if_asked(rows, capsys):
    X, t, y, z = rows
    BayesianIV(**QUICK).set_callbacks(ProgressBar()).fit(X, t, y, z=z)
    assert capsys.readouterr().out == ""
    BayesianIV(**QUICK).set_callbacks(ProgressBar(always=True)).fit(X, t, y, z=z)
    assert "100%" in capsys.readouterr().out


@quiet
def test_errors_close_the_bar(rows, in_notebook):
    X, t, y, z = rows
    est = BayesianIV(**QUICK).set_callbacks(ProgressBar())
    with pytest.raises(ValueError, match="expected"):
        est.fit(X, t, y[:3], z=z)
    assert "  0%" in in_notebook.shown[-1]["text/plain"]
    assert not progress_bar._screens
    est.fit(X, t, y, z=z)
    assert "100%" in in_notebook.shown[-1]["text/plain"]


def test_fits_in_threads_share_the_screen(in_notebook):
    bar, together = ProgressBar(), Barrier(2, timeout=60)

    def run(name):
        with task(BayesianIV().set_callbacks(bar), name, 1) as track:
            together.wait()
            for _ in track([None]):
                together.wait()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, ["first", "second"])) == [None, None]
    last = in_notebook.shown[-1]["text/plain"]
    assert "BayesianIV - first" in last
    assert "BayesianIV - second" in last
    assert pickle.loads(pickle.dumps(bar)).max_propagation_depth is None


@quiet
def test_two_processes_show_progress_and_score_as_one(table, capsys, in_notebook):
    frame, y = table
    est = BayesianIV(**QUICK, treatment="push", instruments="coin")
    one, two = (GridSearchCV(est, {"beta_t_scale": [0.5, 1.0]}, cv=2, n_jobs=n) for n in (None, 2))
    one.fit(frame, y)
    theirs = sklearn.callback.ProgressBar(max_propagation_depth=None)
    two.set_callbacks(theirs, ProgressBar()).fit(frame, y)
    assert "BayesianIV - fit" in capsys.readouterr().out
    assert "    BayesianIV - fit #" in in_notebook.text
    assert in_notebook.shown[-1]["text/plain"].startswith("GridSearchCV - fit")
    for key in ("split0_test_score", "split1_test_score", "mean_test_score"):
        assert np.array_equal(one.cv_results_[key], two.cv_results_[key])
    assert np.array_equal(one.best_estimator_.coef_, two.best_estimator_.coef_)


def test_a_function_tells_of_its_steps(in_notebook):
    """As fit_experiments does: of a template's callbacks, and the template stays as it was."""
    recorder = Recorder()
    template = BayesianIV().set_callbacks(recorder, ProgressBar())
    before = set(vars(template))
    with task(template, "experiments", 3) as track:
        assert recorder.open == 1
        assert list(track(iter("abc"))) == ["a", "b", "c"]
    assert recorder.ended == ["experiments"] * 4
    assert recorder.open == 0
    assert set(vars(template)) == before
    assert "BayesianIV - experiments" in in_notebook.text
    with pytest.raises(AttributeError), task(template, "experiments", 1) as track:
        next(track([0])).fail()
    assert recorder.open == 0


def test_nobody_is_told_who_does_not_listen():
    with task(BayesianIV(), "experiments", 2) as track, track.lent_to(BayesianIV()):
        assert list(track("ab")) == ["a", "b"]
        with track.compiling():
            pass
    assert fit_track(BayesianIV(), "draws") is None
    assert fit_track(BayesianIV().set_callbacks(Recorder()), "draws") is None


class Search(BayesianIV):
    """An estimator that goes through folds and then fits another, as BayesianIVCV does."""

    def _n_progress_steps(self):
        return 2

    def _fit_data(self, data):
        with task(self, "folds", 3) as track:
            assert sum(track(range(3))) == 3
        best = BayesianIV(**QUICK)
        best.__dict__.update(n_features_in_=self.n_features_in_)
        with task(self, "best estimator", PIECES) as track, track.lent_to(best):
            best._fit_data(data)
        assert not {"_skl_callbacks", "_callback_fit_ctx"} & set(vars(best))
        self.__dict__.update({k: v for k, v in vars(best).items() if k not in vars(self)})


@quiet
def test_a_fit_tells_of_its_steps(rows, in_notebook):
    X, t, y, z = rows
    BayesianIV(**QUICK).fit(X, t, y, z=z)
    recorder = Recorder()
    Search(**QUICK).set_callbacks(recorder, ProgressBar()).fit(X, t, y, z=z)
    folds, draws = ["folds"] * 4, ["draws"] * PIECES
    assert recorder.ended == [*folds, *draws, "best estimator", "fit"]
    assert "\n  best estimator" in in_notebook.text


@quiet
def test_silent_by_default(rows, capfd):
    X, t, y, z = rows
    BayesianIV(**QUICK).fit(X, t, y, z=z)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@quiet
def test_steps_end_when_their_draws_are_made(rows, monkeypatch):
    """JAX computes in the background: a step has ended when its numbers are there."""
    X, t, y, z = rows
    est = BayesianIV(**QUICK | {"draws": 20_000}).fit(X, t, y, z=z)
    advance = nuts._program()
    made = []

    def recorded(*args):
        made.append(advance(*args))
        return made[-1]

    def track(pieces):
        for piece in pieces:
            yield piece
            ready.append(all(leaf.is_ready() for leaf in jax.tree.leaves(made[-1][1])))

    ready = []
    monkeypatch.setattr(nuts, "_program", lambda: recorded)
    nuts.sample(est._model.target(), est._settings(), track)
    assert ready == [True] * PIECES


@unchecked
@quiet
def test_many_experiments_are_steps():
    parts = [simulated(100, seed=i) for i in range(3)]
    frame = pd.concat(
        pd.DataFrame({"t": t, "y": y, "z": z, "week": i}) for i, (_, t, y, z) in enumerate(parts)
    )
    recorder = Recorder()
    est = BayesianIV(backend="independence", **QUICK).set_callbacks(recorder)
    roles = {"by": "week", "outcome": "y", "treatment": "t", "instruments": "z"}
    fit_experiments(frame, estimator=est, **roles)
    assert recorder.ended == ["experiments"] * 4


def test_candidates_and_folds_are_steps(rows):
    X, t, y, z = rows
    recorder = Recorder()
    search = BayesianIVCV(BayesianIV(backend="independence", random_state=0), cv=2)
    search.set_callbacks(recorder).fit(X, t, y, z=z)
    best = ["draws"] * PIECES + ["best estimator"]
    assert recorder.ended == ["folds"] * 7 + best + ["fit"]

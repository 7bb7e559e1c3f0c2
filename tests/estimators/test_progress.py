"""Progress through scikit-learn's callbacks: as the draws are made, and not unless asked for."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from experiments import QUICK
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.model_selection import GridSearchCV

from skbayesiv import BayesianIV
from skbayesiv._sampling import nuts
from skbayesiv._sampling.target import PIECES

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Recorder:
    """A callback that counts the ends of tasks by name."""

    def __init__(self):
        self.ended = []

    def setup(self, estimator, context):
        """Begin."""

    def teardown(self, estimator, context):
        """End."""

    def on_fit_task_begin(self, estimator, context):
        """Ignore."""

    def on_fit_task_end(self, estimator, context):
        """Note the task."""
        self.ended.append(context.task_name)


@quiet
def test_callbacks_hear_of_draws(rows):
    X, t, y, z = rows
    recorder = Recorder()
    est = BayesianIV(**QUICK)
    silent = clone(est).fit(X, t, y, z=z)
    est.set_callbacks(recorder).fit(X, t, y, z=z)
    assert recorder.ended == ["draws"] * PIECES + ["fit"]
    assert np.array_equal(est.coef_, silent.coef_)
    assert not hasattr(est, "_callback_fit_ctx")


@quiet
def test_two_processes_show_progress_and_score_as_one(table, capsys):
    frame, y = table
    est = BayesianIV(**QUICK, treatment="push", instruments="coin")
    one, two = (GridSearchCV(est, {"beta_t_scale": [0.5, 1.0]}, cv=2, n_jobs=n) for n in (None, 2))
    one.fit(frame, y)
    two.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(frame, y)
    assert "BayesianIV - fit" in capsys.readouterr().out
    for key in ("split0_test_score", "split1_test_score", "mean_test_score"):
        assert np.array_equal(one.cv_results_[key], two.cv_results_[key])
    assert np.array_equal(one.best_estimator_.coef_, two.best_estimator_.coef_)


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

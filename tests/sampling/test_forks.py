"""Forked children sample, or say why they cannot; none of them hangs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Children that hang are killed by the alarm, and then print nothing.
SCRIPT = """
import os, signal, warnings
from experiments import QUICK, simulated
from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV, TwoStageLS

warnings.simplefilter("ignore")
X, t, y, z = simulated(300, 2)
est = BayesianIV(**QUICK)

def attempt(name, estimator):
    try:
        estimator.fit(X, t, y, z=z)
        print(name, "fits", flush=True)
    except RuntimeError as error:
        print(name, str(error), flush=True)

def fork(*steps):
    if not (child := os.fork()):
        signal.alarm(60)
        for step in steps:
            step()
        os._exit(0)
    os.waitpid(child, 0)

def classical():
    attempt("classical", TwoStageLS())

def fresh():
    attempt("fresh", est)

def stale():
    attempt("stale", est)
    attempt("stale search", BayesianIVCV(est, cv=2))
    attempt("stale history", HierarchicalBayesianIV([1.0], [0.5], **QUICK))

import jax.numpy  # to import it is not to use it
fork(fresh, lambda: fork(stale, classical, lambda: fork(stale)))
jax.numpy.ones(3).sum()
fork(stale)
fresh()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_fork_fits_unless_jax_was_used_before():
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    path = os.pathsep.join([os.getcwd(), os.path.dirname(os.path.dirname(__file__))])
    env = {**os.environ, "PYTHONPATH": path}
    out = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=500, env=env
    ).stdout
    found = [tuple(line.split(" cannot")[0].rsplit(" ", 1)) for line in out.splitlines()]
    stale = [(f"stale{kind}", 'backend="numpyro"') for kind in ("", " search", " history")]
    done = ("fresh", "fits")
    assert found == [done, *stale, ("classical", "fits"), *stale, *stale, done]
    assert out.count('get_context("spawn") or "forkserver"') == 9

"""A seeded script draws the same numbers with and without what the package imports late."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from experiments import QUICK, simulated

from skbayesiv import BayesianIV
from skbayesiv._sampling.libraries import load_jax

# What imports libraries for the first time, each in a child of a process that has none of them.
FIRST = {
    "cache": "skbayesiv.use_compilation_cache(tempfile.mkdtemp())",
    "fit": "BayesianIV(draws=200, tune=200, chains=2, random_state=0).fit(None, t, y, z=z)",
    "to_pymc": "est.to_pymc()",
    "to_pymc of sums": "BayesianIV(likelihood='gmm').to_pymc(None, t, y, z=z)",
    "summary": "est.summary()",
    "diagnose": "est.diagnose()",
    "effect": "plotting.EffectDisplay.from_estimator(est)",
    "trace": "plotting.TraceDisplay.from_estimator(est, ['beta_t'])",
    "sensitivity": "plotting.PriorSensitivityDisplay.from_estimator(est)",
    "outcome": "plotting.OutcomeDisplay.from_data(None, t, y, z=z)",
}
SCRIPT = """
import os, pickle, random, sys, tempfile, warnings
import numpy as np
import skbayesiv
from skbayesiv import BayesianIV, plotting

def streams():
    name, *state = np.random.get_state()
    return [np.asarray(part).tolist() for part in state], random.getstate()

def look_at_jax():
    return getattr(sys.modules.get("jax"), "Array", None)  # as SciPy does in passing

warnings.simplefilter("ignore")
est, (x, t, y, z) = pickle.load(sys.stdin.buffer)
assert not look_at_jax()
for name, step in steps.items():
    if not (child := os.fork()):
        np.random.seed(0)
        random.seed(0)
        before = streams()
        exec(step)
        look_at_jax()
        os._exit(0 if streams() == before else 7)
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_the_first_use_draws_no_global_random_numbers():
    _, t, y, z = rows = simulated(100)
    fitted = pickle.dumps((BayesianIV(**QUICK).fit(None, t, y, z=z), rows))
    run = subprocess.run(
        [sys.executable, "-c", f"steps = {FIRST}\n{SCRIPT}"],
        input=fitted,
        stdout=subprocess.PIPE,
        timeout=300,
        env={**os.environ, "MPLBACKEND": "Agg"},
        check=True,
    )
    assert run.stdout.decode().splitlines() == [f"{name} 0" for name in FIRST]


def streams():
    return np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002


@pytest.mark.parametrize("end", ["", "raise ImportError('broken')"])
def test_streams_come_back(tmp_path, monkeypatch, end):
    """Also when the import fails, and whatever NumPy's generator is."""
    drawing = "import random, numpy\nnumpy.random.rand(9)\nrandom.random()"
    (tmp_path / "jax.py").write_text(f"{drawing}\n{end}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jax")
    generator = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(0))
    try:
        before = streams()
        with pytest.raises(ImportError, match="broken") if end else nullcontext():
            load_jax()
        assert streams() == before
    finally:
        np.random.set_bit_generator(generator)

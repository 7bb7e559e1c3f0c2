"""A seeded script draws the same numbers with and without what the package imports late."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from skbayesiv._sampling.libraries import load_library

# What loads libraries for the first time, one of them in a process that has none yet.
FIRST = {
    "cache": "skbayesiv.use_compilation_cache(tempfile.mkdtemp())",
    "fit and reports": """
est.fit(None, t, y, z=z)
est.to_pymc()
est.summary(), est.diagnose(), skbayesiv.experiment_report(est), est.prior_summary()
skbayesiv.plotting.TraceDisplay.from_estimator(est)
skbayesiv.plotting.EffectDisplay.from_estimator(est)
skbayesiv.plotting.CausalDiagramDisplay.from_estimator(est)
skbayesiv.TwoStageLS().fit(None, t, y, z=z).results_
""",
}
SCRIPT = """
import random, sys, tempfile, warnings
import numpy as np
import skbayesiv, skbayesiv.plotting
from skbayesiv.datasets import make_noncompliance

def streams():
    name, *state = np.random.get_state()
    return [np.asarray(part).tolist() for part in state], random.getstate()

warnings.simplefilter("ignore")
data = make_noncompliance(100, random_state=0)
t, y, z = data.t, data.y, data.z
est = skbayesiv.BayesianIV(draws=50, tune=200, chains=2, random_state=0)
assert not {"jax", "pymc"} & set(sys.modules)
np.random.seed(0)
random.seed(0)
before = streams()
"""


@pytest.mark.parametrize("step", FIRST)
def test_the_first_use_draws_no_global_random_numbers(step):
    script = f"{SCRIPT}\n{FIRST[step]}\nassert streams() == before"
    env = {**os.environ, "MPLBACKEND": "Agg"}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, env=env
    )
    assert not run.returncode, run.stderr


def streams():
    return np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002


DRAWING = "import random, numpy\nnumpy.random.rand(), random.random()\n"


@pytest.mark.parametrize("end", ["", "raise ImportError('broken')"])
def test_what_draws_as_it_loads(tmp_path, monkeypatch, end):
    """Streams come back when the import fails, too, and whatever NumPy's generator is."""
    (tmp_path / "library_that_draws.py").write_text(DRAWING + end)
    monkeypatch.syspath_prepend(tmp_path)
    generator = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(0))
    try:
        before = streams()
        with pytest.raises(ImportError, match="broken") if end else nullcontext():
            load_library("library_that_draws")
        assert streams() == before
    finally:
        np.random.set_bit_generator(generator)
        sys.modules.pop("library_that_draws", None)

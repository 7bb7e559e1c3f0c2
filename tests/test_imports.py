"""What an import and a fit load: heavy libraries come when they are needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIGHT = """
import skbayesiv, skbayesiv.diagnostics, skbayesiv.metrics, skbayesiv.plotting
from skbayesiv.datasets import load_push_experiment, make_noncompliance
load_push_experiment(), make_noncompliance()
"""
FIT = """
import skbayesiv
from skbayesiv.datasets import load_push_experiment
X, t, y, z = load_push_experiment(return_X_t_y_z=True)
skbayesiv.BayesianIV(backend="{}", random_state=0).fit(X, t, y, z=z)
"""
NEVER = {"pymc", "pytensor", "arviz", "arviz_plots", "matplotlib"}
LATER = {
    "jax",
    "numpyro",
    "arviz_stats",
    "xarray",
    "linearmodels",
    "pooch",
    "scipy.signal",
    "sklearn.datasets",
    "sklearn.metrics",
    "sklearn.model_selection",
}


@pytest.mark.parametrize(
    ("script", "absent"),
    [
        (LIGHT, NEVER | LATER),
        (FIT.format("numpyro"), NEVER | LATER - {"jax", "numpyro", "xarray"}),
        (FIT.format("independence"), NEVER | LATER - {"xarray"}),
    ],
    ids=["import", "numpyro", "independence"],
)
def test_imports(script, absent):
    code = f"{script}\nimport sys\nprint(sorted({absent!r} & set(sys.modules)))"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert out.stdout.strip() == "[]"

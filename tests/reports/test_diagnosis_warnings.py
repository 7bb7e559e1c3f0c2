"""What a diagnosis warns of, and what it advises."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import EXACT, QUICK, unchecked
from linearmodels.iv import IV2SLS
from numpy.testing import assert_allclose

from skbayesiv import BayesianIV, TwoStageLS, diagnostics
from skbayesiv.exceptions import (
    HeteroskedasticityWarning,
    IgnoredClustersWarning,
    WeakInstrumentWarning,
)

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
KINDS = ("unadjusted", "robust")


@quiet
@unchecked
def test_weak_instruments_are_warned_of(linear):
    data = linear(1, n=300, strength=0.08)
    est = BayesianIV(random_state=0, draws=500).fit(**data)
    with pytest.warns(WeakInstrumentWarning, match="below its critical value 23.1") as record:
        found = est.diagnose()
    assert record[0].filename == __file__
    assert f"The Anderson-Rubin 95% set is {found.strength.anderson_rubin}" in str(
        record[0].message
    )
    assert found.strength.effective_f.f < 23.1
    assert len(found.warnings) == 1
    gmm = BayesianIV(likelihood="gmm", **EXACT).fit(**data)
    with pytest.warns(WeakInstrumentWarning, match="which needs no strong instruments"):
        gmm.diagnose()
    gmm.fit_moments(gmm.moments_, gmm.fourth_moments_)  # without rows, but robust as it is
    with pytest.warns(WeakInstrumentWarning):
        assert gmm.diagnose().note == ""


@quiet
@unchecked
def test_several_weak_treatments_are_warned_of(linear):
    data = linear(4, n=200, k=2, q=2, strength=0.1)
    kp = diagnostics.kleibergen_paap(data["y"], data["t"], data["z"])
    assert kp.p_value > 0.05
    assert kp.f < 10.0
    est = BayesianIV(likelihood="gmm", **QUICK).fit(**data)
    with pytest.warns(WeakInstrumentWarning, match="does not reject under-identification") as found:
        est.diagnose()
    assert f"Kleibergen-Paap F is {kp.f:.3g}, below 10 (a rule of thumb)" in str(found[0].message)


@quiet
@pytest.mark.parametrize(
    ("component", "parameters"),
    [
        ("beta_t", {"beta_t_loc": 30.0, "beta_t_scale": 1.0}),
        ("correlation", {"lkj_eta": 200.0}),
    ],
)
def test_sensitivity_names_the_component(component, parameters, linear):
    """A prior far from the data is felt in its own component and in no other."""
    data = linear(2, n=200, strength=1.0)
    est = BayesianIV(random_state=0, **parameters).fit(**data)
    with pytest.warns(WeakInstrumentWarning, match=f"leans on the prior of {component}") as record:
        found = est.diagnose()
    assert found.sensitivity.loc["t"].idxmax() == component
    # The prior alone is at fault, and it has a name.
    assert not found.strength.weak
    assert "instruments may be weak" not in str(record[0].message)
    assert f"values of {[*parameters][-1]}" in str(record[0].message)


def uneven_experiment(seed=0, n=4000):
    """One in ten assigned, nobody else treated, effects that vary: the assigned vary more."""
    rng = np.random.default_rng(seed)
    z = (np.arange(n) % 10 == 0).astype(float)
    t = z * (rng.random(n) < 0.7)
    y = rng.normal(size=n) + t * rng.normal(1.0, 3.0, n)
    return {"X": None, "t": t, "y": y, "z": z}


@quiet
@unchecked
def test_heteroskedasticity_is_warned_of():
    data = uneven_experiment()
    est = BayesianIV(random_state=0, draws=500).fit(**data)
    with pytest.warns(HeteroskedasticityWarning, match='likelihood="gmm"'):
        found = est.diagnose()
    args = data["y"], np.ones(4000), data["t"], data["z"]
    expected = [IV2SLS(*args).fit(cov_type=kind).std_errors.iloc[-1] for kind in KINDS]
    assert_allclose(found.std_errors.loc["t"], expected, rtol=1e-9)
    assert expected[1] > 1.2 * expected[0]
    gmm = BayesianIV(likelihood="gmm", **EXACT).fit(**data)
    assert gmm.diagnose().warnings == ()


@quiet
def test_clusters_are_warned_of():
    """Errors shared within clusters, as is the assignment."""
    rng = np.random.default_rng(5)
    groups = np.arange(2000) % 40
    z = (groups % 2).astype(float)
    t = z * (rng.random(2000) < 0.8)
    y = t + rng.normal(size=40)[groups] + rng.normal(size=2000)
    est = BayesianIV(random_state=0, draws=500).fit(None, t, y, z=z)
    assert est.diagnose().warnings == ()
    with pytest.warns(IgnoredClustersWarning, match="the clustered standard error of 2SLS"):
        est.diagnose(None, t, y, z=z, clusters=groups)
    gmm = BayesianIV(likelihood="gmm", **EXACT)
    gmm.fit(None, t, y, z=z, clusters=groups)
    found = gmm.diagnose()
    assert found.strength.errors == "clustered"
    clustered = TwoStageLS().fit(None, t, y, z=z, clusters=groups)
    assert_allclose(found.std_errors["clustered"], clustered._effect_and_error()[1])

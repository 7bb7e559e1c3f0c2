"""Sums over earlier experiments: exact ones, tables of them, and both added."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from experiments import QUICK

from skbayesiv import HierarchicalBayesianIV
from skbayesiv._models.history import draws, sums
from skbayesiv._models.history.density import hierarchical_arrays
from skbayesiv._models.history.sums import Experiments, Table, in_chunks
from skbayesiv._models.history.table import build_history
from skbayesiv.datasets import make_noncompliance

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def experiments(n=200, decades=2.0, seed=0):
    """Effects and errors that span some orders of magnitude, with gaps."""
    rng = np.random.default_rng(seed)
    s = 10.0 ** rng.uniform(-0.5 * decades, 0.5 * decades, n)
    b = 0.3 * rng.standard_normal(n) + s * rng.standard_normal(n)
    b[3::40] = np.nan
    return Experiments.of(b, np.where(np.isnan(b), np.nan, s))


def directly(given, log_sigma):
    """The sums as they are defined, one experiment at a time."""
    b, s2 = given.effects[given.known > 0], given.variance[given.known > 0]
    w = 1.0 / (np.exp(2.0 * log_sigma)[:, None] + s2)
    centre = (w * b).sum(axis=1) / w.sum(axis=1)
    scatter = (w * (b - centre[:, None]) ** 2).sum(axis=1)
    return len(b), w.sum(axis=1), (w * b).sum(axis=1), centre, scatter, -np.log(w).sum(axis=1)


def everywhere(given):
    """log sigma_bar far below all errors, among them, and far above."""
    inner = 0.5 * np.log(given.variance[given.known > 0])
    ends = inner.min() - 17.0, inner.max() + 17.0
    return np.concatenate([[-80.0, -40.0], np.linspace(*ends, 301), [40.0, 80.0]])


def assert_same(found, expected, tolerance):
    n, total, pull, centre, scatter, log_det = expected
    assert found.n == n
    np.testing.assert_allclose(found.total, total, rtol=tolerance)
    spread = np.sqrt(scatter / total)
    np.testing.assert_array_less(np.abs(found.centre - centre), tolerance * (1.0 + spread))
    np.testing.assert_array_less(np.abs(found.pull - pull), tolerance * total * (1.0 + spread))
    np.testing.assert_allclose(found.scatter, scatter, rtol=tolerance)
    assert np.abs(found.log_det - log_det).max() < tolerance * n


@pytest.mark.parametrize("decades", [0.0, 2.0, 8.0])
def test_exact_and_tabulated(decades):
    given = experiments(decades=decades)
    at = everywhere(given)
    expected = directly(given, at)
    assert_same(in_chunks(given, at), expected, 1e-13)
    assert_same(in_chunks(Table.of(given), at), expected, 1e-11)


def test_a_table_in_other_units():
    given, unit = experiments(), 37.0
    other = Experiments(given.effects / unit, given.variance / unit**2, given.known)
    at = everywhere(other)
    assert_same(in_chunks(Table.of(given).in_units(unit), at), directly(other, at), 1e-11)


@pytest.mark.parametrize("kind", [lambda given: given, Table.of], ids=["exact", "table"])
def test_gradients(kind):
    """What NUTS follows is the derivative of the exact sums."""
    given = experiments()
    w = 1.0 / (np.exp(2.0 * 0.2) + given.variance[given.known > 0])
    with jax.enable_x64(True):
        gradient = jax.grad(lambda x: kind(given).sums(x, jnp).log_det)(0.2)
    assert float(gradient) == pytest.approx(2.0 * np.exp(0.4) * w.sum(), rel=1e-10)


def test_added_sums_are_those_of_all():
    given, at = experiments(), np.linspace(-5.0, 5.0, 50)
    first, second = (
        Experiments(*(values[part] for values in given)) for part in (slice(70), slice(70, None))
    )
    nothing = Experiments.of(np.empty(0), np.empty(0))
    whole = sum((in_chunks(part, at) for part in (first, second)), in_chunks(nothing, at))
    assert_same(whole, directly(given, at), 1e-13)


def test_nothing_is_lost_when_one_outweighs_the_others():
    """Without it, the others' sums have all their digits."""
    b, s = np.array([5.0, 0.7, 0.2]), np.array([1e-9, 1.0, 2.0])
    at = np.array([-30.0, -1.0])
    parts = [in_chunks(Experiments.of(b[[j]], s[[j]]), at) for j in (1, 2)]
    assert_same(parts[0] + parts[1], directly(Experiments.of(b[1:], s[1:]), at), 1e-14)


def thousand(n=1000):
    rng = np.random.default_rng(4)
    s = rng.uniform(0.1, 0.5, n)
    return 1.0 + 0.2 * rng.standard_normal(n) + s * rng.standard_normal(n), s


@pytest.fixture(scope="module")
def rows():
    data = make_noncompliance(400, effect=1.0, random_state=2)
    return {name: np.asarray(getattr(data, name), dtype=float) for name in ("t", "y", "z")}


@quiet
def test_a_fit_with_a_table_is_one_with_exact_sums(rows, monkeypatch):
    """The same posterior; what the sampler is given does not grow with the history."""
    est = HierarchicalBayesianIV(*thousand(), **QUICK).fit(None, **rows)
    longer = build_history(HierarchicalBayesianIV(*thousand(3000)))
    sizes = [
        sum(np.size(leaf) for leaf in jax.tree.leaves(hierarchical_arrays(model, history).earlier))
        for model, history in [(est._model.model, est._model.history), (est._model.model, longer)]
    ]
    assert sizes[0] == sizes[1] < 5000
    table = est.idata_.posterior
    monkeypatch.setattr(sums, "MAX_EXACT", 4096)
    exact = est.fit(None, **rows).idata_.posterior
    for name in ("beta_t", "beta_t_bar", "sigma_t_bar"):
        one, other = table[name].to_numpy(), exact[name].to_numpy()
        assert abs(one.mean() - other.mean()) < 0.3 * other.std()
        assert one.std() == pytest.approx(other.std(), rel=0.25)


@pytest.mark.parametrize("most", [0, 4096], ids=["table", "exact"])
def test_likelihood_of_the_history_without_its_effects(monkeypatch, most):
    monkeypatch.setattr(sums, "MAX_EXACT", most)
    b, s = thousand(40)
    history = build_history(HierarchicalBayesianIV(b, s, beta_t_bar_loc=0.4))
    bar, sigma = np.array([[0.9], [1.3]]), np.array([[0.2], [0.02]])
    found = draws.log_past(history, {"beta_t_bar": bar, "sigma_t_bar": sigma})
    v = sigma**2 + s**2
    expected = -0.5 * (np.log(2 * np.pi * v) + (b - bar) ** 2 / v).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-11)

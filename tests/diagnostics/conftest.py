"""Data sets for the tests of the diagnostics."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from skbayesiv.datasets import load_push_experiment

collect_ignore = ["reference"]  # scripts with dependencies of their own


@dataclass(frozen=True, eq=False)
class Arrays:
    """Arguments of a diagnostic: ``f(*data.args, **data.options)``."""

    y: np.ndarray
    t: np.ndarray
    z: np.ndarray
    X: np.ndarray | None = None
    options: dict = field(default_factory=dict)

    @property
    def args(self):
        return self.y, self.t, self.z, self.X


@pytest.fixture
def simulate():
    """Factory of linear instrumental variables data with heteroskedastic, clustered errors."""

    def make(seed, *, n=300, k=1, q=2, strength=0.4, effect=1.0, direct=0.0, covariates=2):
        rng = np.random.default_rng(seed)
        cluster = rng.integers(0, 25, n)
        x = rng.normal(size=(n, covariates)) + 3.0
        z = rng.normal(size=(n, q)) + x[:, :1] + rng.normal(size=(25, q))[cluster]
        first_stage = strength * rng.uniform(0.5, 1.5, (q, k)) * rng.choice([-1, 1], (q, k))
        common = rng.normal(size=(n, 1)) * (0.5 + np.abs(z[:, :1]))
        errors = common + rng.normal(size=(n, 1 + k)) + rng.normal(size=(25, 1 + k))[cluster]
        t = z @ first_stage + x.sum(1, keepdims=True) + errors[:, 1:]
        y = effect * t.sum(1) - x.sum(1) + direct * z[:, 0] + errors[:, 0]
        options = {"sample_weight": rng.integers(1, 4, n), "clusters": cluster}
        return Arrays(y, t, z, x, options)

    return make


@pytest.fixture(scope="session")
def card():
    """Card (1995) with the full controls: (instruments) -> arrays."""
    from linearmodels.datasets import card

    data = card.load()
    regions = [f"reg66{i}" for i in range(2, 10)]
    controls = ["exper", "expersq", "black", "smsa", "south", "smsa66", *regions]

    def make(*instruments):
        return Arrays(
            data["lwage"].to_numpy(),
            data["educ"].to_numpy(),
            data[list(instruments)].to_numpy(),
            data[controls].to_numpy(),
        )

    return make


@pytest.fixture(scope="session")
def card_weighted():
    """Card (1995), few controls, frequency weights mod(age, 5) + 1 and nine regions as clusters."""
    from linearmodels.datasets import card

    data = card.load()
    region = sum(i * data[f"reg66{i}"] for i in range(1, 10))
    return Arrays(
        data["lwage"].to_numpy(),
        data["educ"].to_numpy(),
        data[["nearc4", "nearc2"]].to_numpy(),
        data[["exper", "expersq", "black", "south"]].to_numpy(),
        {"sample_weight": data["age"].to_numpy() % 5 + 1, "clusters": region.to_numpy()},
    )


@pytest.fixture(scope="session")
def push():
    """Push experiment: in-app purchases, delivery, assignment; 10,000 rows."""
    _, t, y, z = load_push_experiment(return_X_t_y_z=True)
    return Arrays(*(np.asarray(column, dtype=float) for column in (y, t, z)))

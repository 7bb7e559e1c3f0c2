"""One small experiment that the tests of the estimators share."""

from __future__ import annotations

import pandas as pd
import pytest
from experiments import simulated


@pytest.fixture(scope="session")
def rows():
    """An experiment with two covariates: X, t, y, z as arrays."""
    return simulated(400, 2)


@pytest.fixture(scope="session")
def table(rows):
    """The same experiment in one data frame, covariates first, and its outcome."""
    X, t, y, z = rows
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "push": t, "coin": z}), pd.Series(y, name="y")

"""Engines as fixtures."""

from __future__ import annotations

import pytest
from engines import ENGINES, LAZY, Engine


@pytest.fixture(params=ENGINES)
def engine(request, tmp_path):
    """One engine after the other."""
    return Engine(request.param, tmp_path)


@pytest.fixture(params=LAZY)
def lazy(request, tmp_path):
    """One lazy engine after the other."""
    return Engine(request.param, tmp_path)


@pytest.fixture
def polars_lazy(tmp_path):
    """The lazy engine that is always there."""
    return Engine("polars_lazy", tmp_path)

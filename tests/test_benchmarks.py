"""Benchmarks, which nobody runs for weeks, still start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    "name", ["speed", "coverage", "estimands", "first_stage_prior", "histories"]
)
def test_a_benchmark_starts(name):
    """With all that it imports: in a process of its own, for its modules have common names."""
    command = [sys.executable, SCRIPTS / f"{name}.py", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("usage:")

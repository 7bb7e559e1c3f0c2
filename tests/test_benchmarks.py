"""Benchmarks, which nobody runs for weeks, still start."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "benchmarks"


@pytest.mark.parametrize(
    "name",
    ["speed", "fresh", "coverage", "estimands", "first_stage_prior", "histories", "segments"],
)
def test_a_benchmark_starts(name):
    """With all that it imports: in a process of its own, for its modules have common names."""
    command = [sys.executable, SCRIPTS / f"{name}.py", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("usage:")


def fresh(*arguments):
    """What a sampler in a fresh process reports."""
    command = [sys.executable, SCRIPTS / "fresh.py", "independence", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_a_fresh_process_says_what_its_time_went_to():
    line = fresh("--rows=200", "--draws=200", "--chains=2")
    assert line["finished"]
    assert 100 < line["effective"] < 1000
    assert line["import"] > 0
    assert line["draws"] > 0
    assert line["compile"] == 0  # nothing is compiled


def test_a_fresh_process_ends_at_its_limit():
    line = fresh("--limit=0.01")
    assert not line["finished"]
    assert line["effective"] == 0


@pytest.mark.parametrize("name", ["speed_race", "speed_first_minute"])
def test_a_picture_of_speed_is_drawn_from_its_table(name, monkeypatch):
    """In the folder of the script, as the documentation does."""
    monkeypatch.chdir(ROOT / "docs" / "figures")
    drawn = runpy.run_path(f"{name}.py")
    texts = " ".join(text.get_text() for text in drawn["ax"].texts)
    assert all(method in texts for method in drawn["table"]["method"])
    plt.close(drawn["fig"])

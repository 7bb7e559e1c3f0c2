"""The demonstration prints the published tables, from the reconstruction as from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import run_script

from skbayesiv.datasets import load_push_experiment

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

EXAMPLE = Path(__file__).parents[1] / "examples" / "push_experiment.py"

# Estimate, standard error and 95% interval as published with the data.
PUBLISHED = {
    "OLS: in_app_purchase ~ push_assigned": {"push_assigned": "2.3636 0.5209 1.3427 3.3845"},
    "OLS: in_app_purchase ~ push_delivered": {"push_delivered": "13.931 0.5282 12.896 14.967"},
    "OLS: in_app_purchase ~ push_assigned + push_delivered": {
        "push_assigned": "-17.441 0.5702 -18.559 -16.324",
        "push_delivered": "27.600 0.6124 26.399 28.800",
    },
    "Two-stage least squares: delivery instrumented by assignment": {
        "push_delivered": "3.2938 0.7165 1.8896 4.6981"
    },
}


def run(*arguments):
    """Output of the example."""
    done = run_script(EXAMPLE, "--draws", "250", *arguments)
    assert done.status == 0, done.err
    return done.out


@pytest.fixture(scope="module")
def output():
    return run()


def test_published_tables(output):
    for title, rows in PUBLISHED.items():
        table = output.split(f"\n{title}\n")[1].split("\n\n")[0]
        for name, numbers in rows.items():
            line = next(line for line in table.splitlines() if line.startswith(name + " "))
            estimate, error, _, _, lower, upper = line.split()[1:]
            assert " ".join([estimate, error, lower, upper]) == numbers
    assert "2SLS     3.2938   94% interval [1.9463, 4.6414]" in output
    assert output.count("Divergences: 0") == 2


def test_file_in_another_order_gives_the_same_digits(output, tmp_path):
    frame = load_push_experiment(as_frame=True).frame.sample(frac=1.0, random_state=0)
    frame.to_csv(tmp_path / "push.csv", index=False)
    assert run("--csv", str(tmp_path / "push.csv")) == output

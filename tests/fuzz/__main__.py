"""Run seeds of the fuzz: ``python -m tests.fuzz SEED``, or with a second number a range."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where pytest finds it

from fuzz.entries import case
from fuzz.outcome import judge


def alone(seed):
    """Print a case, what is wrong with it, and where its error came from."""
    print(case(seed))
    print(judge(case(seed)) or "right")
    try:
        case(seed).run()
    except Exception:
        traceback.print_exc()


def main(first, last=None):
    """Run one seed, or those from the first to the last."""
    if last is None:
        alone(int(first))
        return
    for seed in range(int(first), int(last)):
        found = judge(case(seed))
        if found is not None:
            print(found, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

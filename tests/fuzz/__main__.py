"""Run seeds of the fuzz: `PYTHONPATH=tests python -m fuzz SEED`, or two for a range."""

from __future__ import annotations

import sys
import traceback

from fuzz.entries import case
from fuzz.outcome import judge


def main(first, last=None):
    """Print what is found; of one seed alone the case, and where its error came from."""
    if last is None:
        only = case(int(first))
        print(only)
        print(judge(only) or "right")
        try:
            case(int(first)).run()
        except Exception:
            traceback.print_exc()
        return
    for seed in range(int(first), int(last)):
        found = judge(case(seed))
        if found is not None:
            print(found, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Scripts run as a user runs them, but in this process, whose imports and programs they share."""

from __future__ import annotations

import io
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple


class Run(NamedTuple):
    """What a script left: its status as a shell sees it, and what it printed."""

    status: int
    out: str
    err: str


def run_script(path, *arguments):
    """Run a Python file as ``python path arguments``."""
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = [str(path), *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            runpy.run_path(str(path), run_name="__main__")
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            err.write(stop.code)
    finally:
        sys.argv = argv
    return Run(status, out.getvalue(), err.getvalue())

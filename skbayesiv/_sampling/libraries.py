"""Importing libraries that draw random numbers as they load."""

from __future__ import annotations

import random
import sys
from importlib import import_module

import numpy as np


def load_library(name: str) -> None:
    """Import a module for the first time, and leave the global random streams as they were.

    JAX draws from NumPy's when it is imported: the first fit of a process would change what a
    seeded script draws afterwards.
    """
    if name in sys.modules:
        return
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    python_state = random.getstate()
    try:
        import_module(name)
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)

"""JAX draws from NumPy's global random numbers when it is imported: here they are put back."""

from __future__ import annotations

import random
import sys
from importlib import import_module
from types import ModuleType

import numpy as np


def load_jax() -> None:
    """Import JAX before a library that brings it along, and leave the random streams as they were.

    Else the first fit of a process would change what a seeded script draws afterwards. ArviZ,
    and PyMC with it, leave a JAX in `sys.modules` that is imported when something looks at it,
    as SciPy does in passing: that one is of another type until then.
    """
    if type(sys.modules.get("jax")) is ModuleType:
        return
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    python_state = random.getstate()
    try:
        import_module("jax").__doc__  # noqa: B018  (a look)
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)

"""One BLAS thread around small matrices."""

from __future__ import annotations

from functools import cache
from typing import Any


def one_blas_thread() -> Any:
    """Context with one BLAS thread: over small matrices threads wait for each other."""
    return _thread_pools().limit(limits=1, user_api="blas")


@cache
def _thread_pools() -> Any:
    """Thread pools of the process; to find them takes milliseconds."""
    import scipy.linalg  # noqa: F401  (loads the BLAS that XLA calls)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()

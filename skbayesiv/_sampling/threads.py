"""One BLAS thread around small matrices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock, get_ident
from typing import Any


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Context with one BLAS thread: over small matrices threads wait for each other.

    Most libraries have one number of threads for the process. Where contexts overlap, in several
    Python threads or in one, the first to enter sets it and the last to leave sets it back.
    """
    own, _ = _thread_pools()
    with own.limit(limits=1):
        _process.enter()
        try:
            yield
        finally:
            _process.leave()


class _ProcessLimit:
    """The limit that all threads of the process share, and who is within it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._within: list[int] = []
        self._limit: Any = None

    def enter(self) -> None:
        with self._lock:
            if not self._within:
                _, shared = _thread_pools()
                self._limit = shared.limit(limits=1)
            self._within.append(get_ident())

    def leave(self) -> None:
        with self._lock:
            self._within.remove(get_ident())
            if not self._within:
                self._restore()

    def forget_other_threads(self) -> None:
        """In a forked child: the other threads are not here, and will not leave."""
        self._lock = Lock()
        left = self._within
        self._within = [thread for thread in left if thread == get_ident()]
        if left and not self._within:
            self._restore()

    def _restore(self) -> None:
        _let_any_thread_set_limits()
        self._limit.restore_original_limits()
        _let_any_thread_set_limits()


_process = _ProcessLimit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forget_other_threads)


def _let_any_thread_set_limits() -> None:
    """From 3.8 on threadpoolctl takes no limit but from the thread that set one first."""
    from threadpoolctl import OpenBLASController

    getattr(OpenBLASController, "clear_controlling_thread", lambda force: None)(force=True)


@cache
def _thread_pools() -> tuple[Any, Any]:
    """BLAS whose limit is each thread's own, and those with one limit for the process.

    To find them takes milliseconds.
    """
    import scipy.linalg  # noqa: F401  (loads the BLAS that XLA calls)
    from threadpoolctl import ThreadpoolController

    pools = ThreadpoolController().select(user_api="blas")
    own = pools.select(threading_layer="openmp")
    files = {pool["filepath"] for pool in pools.info()} - {pool["filepath"] for pool in own.info()}
    return own, pools.select(filepath=list(files))

"""A forked child has none of JAX's threads: it is told so, and does not wait for them for ever."""

from __future__ import annotations

import os
import sys

FORKED = (
    'backend="numpyro" cannot sample in a fork of a process that has used JAX, whose threads are '
    'not there. Start processes by multiprocessing.get_context("spawn") or "forkserver", or by '
    'joblib\'s default backend "loky"; backend="independence", backend="pymc" and TwoStageLS work '
    "in a fork."
)


class _Process:
    """What this process has done with JAX."""

    used = False
    lost_threads = False

    def after_fork(self) -> None:
        """In the child: what was used before is used up."""
        self.lost_threads = self.lost_threads or self.used or _others_used_jax()


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.after_fork)


def claim_jax() -> None:
    """Note that this process uses JAX, and raise where it cannot.

    Raises
    ------
    RuntimeError
        In a child that was forked after JAX had been used, by this package or by others.
    """
    if _process.lost_threads:
        raise RuntimeError(FORKED)
    _process.used = True


def _others_used_jax() -> bool:
    """Whether JAX has a backend. No function of JAX's tells without waiting for a lock."""
    return bool(getattr(sys.modules.get("jax._src.xla_bridge"), "_backends", None))

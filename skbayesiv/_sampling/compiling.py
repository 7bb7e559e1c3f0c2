"""Telling who waits for draws that a program is being compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

_begin: ContextVar[Callable[[], None] | None] = ContextVar("_begin", default=None)


@contextmanager
def told_of_compiling(track: Any) -> Iterator[None]:
    """Around calls of compiled programs: enter ``track.compiling()`` when one is compiled.

    It is left with the block. A `track` without this method, such as None, hears nothing, and
    neither does anyone if all programs are compiled already.
    """
    if not hasattr(track, "compiling"):
        yield
        return
    with ExitStack() as stack:

        def begin() -> None:
            _begin.set(None)
            stack.enter_context(track.compiling())

        token = _begin.set(begin)
        try:
            yield
        finally:
            _begin.reset(token)


def say_compiling() -> None:
    """Say that a program is being compiled; for the function that JAX traces when it does so."""
    begin = _begin.get()
    if begin is not None:
        begin()

"""Telling scikit-learn's callbacks how far a fit, a search or a run of many fits has come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from sklearn.callback._callback_support import callback_management_context

COMPILING = "compiling the sampler"


class Track:
    """A task that callbacks are told of: its steps, and that a program is compiled for it.

    Parameters
    ----------
    estimator : object
        Whose callbacks are told.
    context : CallbackContext or None
        Of the task; with None nobody is told.
    name : str
        What its steps are.
    """

    def __init__(self, estimator: Any, context: Any, name: str) -> None:
        self.estimator, self.context, self.name = estimator, context, name
        self._lock, self._compiled = Lock(), False

    def __call__[T](self, items: Iterable[T]) -> Iterator[T]:
        """Items of a loop; each is a step that has ended when the next is asked for."""
        for item in items:
            with self._subtask(self.name, max_subtasks=0):
                yield item

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Tell that a program is compiled, of this task's first."""
        with self._lock:
            first, self._compiled = not self._compiled, True
        if not first:
            yield
            return
        with self._subtask(COMPILING, max_subtasks=None):
            yield

    @contextmanager
    def lent_to(self, estimator: Any) -> Iterator[None]:
        """Let the fit of another estimator, which has no callbacks, be this task."""
        if self.context is None:
            yield
            return
        own = {"_skl_callbacks": self.estimator._skl_callbacks, "_callback_fit_ctx": self.context}
        vars(estimator).update(own)
        try:
            yield
        finally:
            for name in own:
                vars(estimator).pop(name, None)

    @contextmanager
    def _subtask(self, name: str, max_subtasks: int | None) -> Iterator[Any]:
        if self.context is None:
            yield None
            return
        context = self.context.subcontext(task_name=name, max_subtasks=max_subtasks)
        context.call_on_fit_task_begin(estimator=self.estimator)
        yield context
        context.call_on_fit_task_end(estimator=self.estimator)


def n_subtasks(steps: int) -> int:
    """Number of subtasks of a task with as many steps: a program may have to be compiled."""
    return steps + 1


def fit_track(estimator: Any, name: str) -> Track | None:
    """Steps of the fit under way; None when nobody listens."""
    if not getattr(estimator, "_skl_callbacks", None):
        return None
    context = getattr(estimator, "_callback_fit_ctx", None)
    return None if context is None else Track(estimator, context, name)


@contextmanager
def task(estimator: Any, name: str, total: int) -> Iterator[Track]:
    """Tell callbacks of a task of `total` steps: of the fit under way, or else of its own.

    Parameters
    ----------
    estimator : object
        With callbacks, or nobody is told. It is not changed.
    name : str
        Of the task and of its steps.
    total : int
        Number of steps.
    """
    fit = fit_track(estimator, name)
    if fit is not None:
        with fit._subtask(name, n_subtasks(total)) as context:
            yield Track(estimator, context, name)
    elif getattr(estimator, "_skl_callbacks", None):
        own = estimator._unfitted()
        with callback_management_context(own):
            context = own._init_callback_context(task_name=name, max_subtasks=n_subtasks(total))
            context.call_on_fit_task_begin(estimator=own)
            yield Track(own, context, name)
            context.call_on_fit_task_end(estimator=own)
    else:
        yield Track(estimator, None, name)

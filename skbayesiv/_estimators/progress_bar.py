"""ProgressBar: a callback that shows how far fits have come, in terminals and in notebooks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from multiprocessing import parent_process
from threading import Event, RLock, Thread
from typing import Any

from sklearn.callback._transport import close_listener, open_listener, send

SECONDS_BETWEEN_DRAWINGS = 0.25
NOTEBOOK_WIDTH = 100
NOTEBOOK_HTML = '<pre style="margin:0;line-height:normal">{code}</pre>'

type Path = tuple[Any, ...]


class ProgressBar:
    """Callback that shows how far fits have come, in terminals and in notebooks.

    Pass it to ``set_callbacks`` of an estimator, or of a meta-estimator of scikit-learn's such as
    ``GridSearchCV``. A line is shown for each task that is under way, which may be the compilation
    of the sampler; lines of estimators within others go when their task has ended.

    scikit-learn's own ``sklearn.callback.ProgressBar`` may be used as well. In a notebook it shows
    nothing unless ipywidgets is installed, and this one does.

    Parameters
    ----------
    max_propagation_depth : int, optional
        How many levels of estimators within others are shown; all when None.
    always : bool, default=False
        Whether the last state is printed also where standard output is neither a terminal nor a
        notebook, such as a file.

    Examples
    --------
    >>> from skbayesiv import BayesianIV, ProgressBar
    >>> est = BayesianIV(random_state=0).set_callbacks(ProgressBar())
    """

    def __init__(self, max_propagation_depth: int | None = None, *, always: bool = False) -> None:
        self.max_propagation_depth = max_propagation_depth
        self.always = always
        self._listeners: dict[Any, Any] = {}

    def setup(self, estimator: Any, context: Any) -> None:
        """Show the bars of a fit from now on."""
        hear = _open(context.root_uuid, self.always)
        if hear is not None:
            self._listeners[context.root_uuid] = open_listener(hear)

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Show a task that has subtasks, or is a fit."""
        fit = context.parent is None or context.source_estimator_name is not None
        if context.max_subtasks != 0 or fit:
            label = f"{context.estimator_name} - {context.task_name}" if fit else context.task_name
            number = f" #{context.task_id}" if fit and context.parent is not None else ""
            self._send(context, label + number, context.max_subtasks or None)

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Note that a task has ended."""
        self._send(context)

    def teardown(self, estimator: Any, context: Any) -> None:
        """Draw a last time."""
        listener = self._listeners.pop(context.root_uuid, None)
        if listener is not None:
            close_listener(listener)
            _close(context.root_uuid)

    def _send(self, context: Any, *begun: Any) -> None:
        """Tell the process that draws, which may be another, of a task."""
        listener = self._listeners.get(context.root_uuid)
        if listener is not None:
            send(listener, (_path(context), *begun))


def _path(context: Any) -> Path:
    if context.parent is None:
        return (context.root_uuid,)
    return (*_path(context.parent), context.task_id)


@dataclass
class _Task:
    bar: Any
    total: int | None
    ended: int = 0


class _Bars:
    """Bars of the tasks under way, by their paths."""

    def __init__(self) -> None:
        from rich import progress

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[left]}"),
            auto_refresh=False,
        )
        self._tasks: dict[Path, _Task] = {}
        self._lock = RLock()

    def hear(self, message: tuple[Any, ...]) -> None:
        """Note that a task has begun (path, label, number of subtasks) or has ended (path,)."""
        with self._lock:
            path, *begun = message
            if begun:
                self._begin(path, *begun)
            else:
                self._end(path)
            for n in range(1, len(path)):
                self._show(path[:n])

    def table(self) -> Any:
        """What is to be seen now."""
        with self._lock:
            rows = {row.id: row for row in self._progress.tasks}
            roots = [path for path in self._tasks if len(path) == 1]
            bars = [self._tasks[path].bar for root in roots for path in self._subtree(root)]
            return self._progress.make_tasks_table([rows[bar] for bar in bars])

    def _begin(self, path: Path, label: str, total: int | None) -> None:
        bar = self._progress.add_task(
            "  " * (len(path) - 1) + label, total=None if total is None else 1.0, left=""
        )
        self._tasks[path] = _Task(bar, total)

    def _end(self, path: Path) -> None:
        if len(path) == 1:
            bar = self._tasks[path].bar
            self._progress.update(bar, completed=1.0, total=1.0, left="")
            return
        for inner in [*self._subtree(path)]:
            self._progress.remove_task(self._tasks.pop(inner).bar)
        if path[:-1] in self._tasks:
            self._tasks[path[:-1]].ended += 1

    def _show(self, path: Path) -> None:
        task = self._tasks.get(path)
        if task is not None and task.total is not None:
            self._progress.update(task.bar, completed=self._share(path))
            left = next(row for row in self._progress.tasks if row.id == task.bar).time_remaining
            self._progress.update(task.bar, left=_in_words(left))

    def _share(self, path: Path) -> float:
        """Share of a task that is done."""
        task = self._tasks[path]
        if task.total is None:
            return 0.0
        return (task.ended + sum(map(self._share, self._children(path)))) / task.total

    def _children(self, path: Path) -> list[Path]:
        return [other for other in self._tasks if other[:-1] == path]

    def _subtree(self, path: Path) -> Iterator[Path]:
        if path in self._tasks:
            yield path
            for child in self._children(path):
                yield from self._subtree(child)


def _in_words(seconds: float | None) -> str:
    if not seconds:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} left"


class _Terminal:
    """A place for bars: standard output, whose last lines are drawn again and again."""

    def __init__(self, table: Callable[[], Any]) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(force_jupyter=False)
        self._live = Live(get_renderable=table, console=console, auto_refresh=False)
        self._live.start()

    def draw(self) -> None:
        self._live.refresh()

    def close(self) -> None:
        self._live.stop()


class _Notebook:
    """A place for bars: an output of the cell that runs, which is replaced again and again."""

    def __init__(self, table: Callable[[], Any]) -> None:
        from IPython.display import display

        self._table = table
        self._output = display(self._content(), raw=True, display_id=True)

    def draw(self) -> None:
        self._output.update(self._content(), raw=True)

    def close(self) -> None:
        self.draw()

    def _content(self) -> dict[str, str]:
        from rich.console import Console

        console = Console(file=StringIO(), record=True, width=NOTEBOOK_WIDTH, force_jupyter=False)
        console.print(self._table())
        html = console.export_html(code_format=NOTEBOOK_HTML, inline_styles=True, clear=False)
        return {"text/plain": console.export_text(), "text/html": html}


def _place(always: bool) -> type[_Notebook] | type[_Terminal] | None:
    """Where bars can be seen."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        return _Notebook
    seen = sys.stdout is not None and sys.stdout.isatty() and parent_process() is None
    return _Terminal if seen or always else None


class _Screen:
    """The bars of this process's fits, drawn by a thread until the last fit is closed."""

    def __init__(self, place: type[_Notebook] | type[_Terminal]) -> None:
        self.bars = _Bars()
        self.fits: set[Any] = set()
        self._place = place(self.bars.table)
        self._closed = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._place.close()

    def _run(self) -> None:
        while not self._closed.wait(SECONDS_BETWEEN_DRAWINGS):
            self._place.draw()


_screens: list[_Screen] = []  # none or one
_screens_lock = RLock()


def _open(fit: Any, always: bool) -> Callable[[tuple[Any, ...]], None] | None:
    """What hears of a fit's tasks; None where nothing can be seen."""
    with _screens_lock:
        if not _screens:
            place = _place(always)
            if place is None:
                return None
            _screens.append(_Screen(place))
        _screens[0].fits.add(fit)
        return _screens[0].bars.hear


def _close(fit: Any) -> None:
    """Close the screen with its last fit."""
    with _screens_lock:
        screen = _screens[0]
        screen.fits.discard(fit)
        if not screen.fits:
            _screens.clear()
            screen.close()

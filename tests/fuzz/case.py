"""What a case of the fuzz is: a call, what it may name in an error, and what it must answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ANSWER, EITHER, ERROR = "answer", "either", "error"
ORDER = (ANSWER, EITHER, ERROR)


class Wrong(AssertionError):
    """An answer that plain numpy contradicts."""


def nothing(result):
    """No check beyond those that all results get."""


@dataclass
class Case:
    """One call with hostile arguments.

    Attributes
    ----------
    entry : str
        Name in the table of entries.
    run : callable
        The call.
    words : set of str
        Argument names, one of which an error must have in it.
    given : list
        Everything that was passed: the call must not change it.
    est : object or None
        Estimator that must be as it was after an error.
    must : {"answer", "either", "error"}
        An answer is due where nothing is wrong with the arguments, and an error where no number
        could be right; else both will do, as long as the answer is right.
    check : callable
        Raises `Wrong` if the result is.
    infinite : tuple of str
        Names in the result that may be infinite or not a number, as their documentation says.
    notes : list of str
        What is hostile, in words.
    files : bool
        Whether an error of the file system is one that the call may raise.
    seconds : float
        Time of the processor after which it hangs.
    """

    entry: str
    run: Callable[[], Any]
    words: set[str]
    given: list[Any] = field(default_factory=list)
    est: Any = None
    must: str = EITHER
    check: Callable[[Any], None] = nothing
    infinite: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    files: bool = False
    seconds: float = 20.0
    seed: int = -1

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.entry}; {', '.join(self.notes) or 'nothing hostile'}"


def worst(musts: Iterable[str]) -> str:
    """What must happen when several arguments say what they deserve."""
    return max(musts, key=ORDER.index, default=ANSWER)


def argument_names(function: Callable[..., Any], est: Any = None) -> set[str]:
    """Names that an error of a call may have: its arguments, and the estimator's parameters."""
    names = set(inspect.signature(function).parameters) - {"self", "cls", "args", "kwargs"}
    return names | (set(est.get_params(deep=False)) if est is not None else set())


def choose(rng: np.random.Generator, options: Any, p: Any = None) -> Any:
    """One of some options; numpy would make arrays of them."""
    options = list(options)
    return options[int(rng.choice(len(options), p=p))]

"""Case -> None, or a finding: everything that a call must not do."""

from __future__ import annotations

import copy
import dataclasses
import re
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from fuzz.case import ANSWER, ERROR, Wrong
from scipy import sparse
from sklearn.exceptions import DataConversionWarning, NotFittedError

from skbayesiv import exceptions

OURS = tuple(getattr(exceptions, name) for name in exceptions.__all__)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What went wrong, and in which case."""

    kind: str
    detail: str
    case: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}\n  {self.case}"


class Hang(BaseException):
    """Not an Exception, so that nothing on the way catches it."""


@contextmanager
def time_limit(seconds):
    """Raise `Hang` after so much time of the processor; other timers of the process stay."""

    def stop(number, frame):
        raise Hang

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def judge(case) -> Finding | None:
    """Run a case and say what is wrong, if anything is."""
    given = [fingerprint(value) for value in case.given]
    state, random = _state(case.est), _random_state()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        error, result = _run(case)
    found = (
        _of_error(case, error)
        or _of_warnings(case, caught)
        or _of_traces(case, given, random)
        or (_of_estimator(case, state) if error is not None else _of_result(case, result))
    )
    return None if found is None else Finding(*found, str(case))


def _run(case):
    try:
        with time_limit(case.seconds):
            return None, case.run()
    except (Exception, Hang) as error:
        return error, None


def _of_error(case, error):
    if error is None:
        return None
    if isinstance(error, Hang):
        return "hang", f"more than {case.seconds:g} s"
    text = f"{type(error).__name__}: {error}"
    if case.files and isinstance(error, OSError) and error.filename is not None:
        return None
    if not isinstance(error, ValueError | TypeError):
        return "exception", text
    if not isinstance(error, NotFittedError) and not names_one_of(case.words, str(error)):
        return "names no argument", text
    return ("refused", text) if case.must == ANSWER else None


def names_one_of(words, text) -> bool:
    """Whether a text has an argument's name as a word; the t of "can't" is none."""
    alternatives = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    return re.search(rf"(?<!\w)(?<!\w['’])({alternatives})(?!\w)", text) is not None


def _of_warnings(case, caught):
    for item in caught:
        category, text = item.category, str(item.message)
        fine = issubclass(category, (*OURS, DataConversionWarning))
        fine |= category is UserWarning and names_one_of(case.words, text)
        if not fine:
            return "warning", f"{category.__name__}: {text}"
    return None


def _of_traces(case, given, random):
    for before, value in zip(given, case.given, strict=True):
        if not same(before, fingerprint(value)):
            return "changed input", type(value).__name__
    if random != _random_state():
        return "changed random state", "numpy's global generator"
    return None


def _random_state():
    """Of numpy's global generator, which nothing here may use."""
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return state["key"].tobytes(), state["pos"]


def _state(est):
    return None if est is None else dict(vars(est))


def _of_estimator(case, before):
    if case.est is None:
        return None
    after = vars(case.est)
    if list(after) != list(before) or any(after[name] is not before[name] for name in before):
        return "changed estimator", "after an error"
    return None


def _of_result(case, result):
    if case.must == ERROR:
        return "accepted", f"returned {type(result).__name__}"
    for path, value in numbers(result):
        if not np.isfinite(value).all() and not any(re.search(p, path) for p in case.infinite):
            return "not finite", path
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            case.check(result)
    except Wrong as error:
        return "wrong", str(error)
    return None


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """All numbers in a result, and where they stand."""
    if isinstance(value, bool | int | str | bytes | type(None)):
        return
    if isinstance(value, float | np.number | np.ndarray):
        if np.asarray(value).dtype.kind in "fc":
            yield path, np.asarray(value)
    elif isinstance(value, pd.DataFrame | pd.Series):
        for name, column in pd.DataFrame(value).items():
            if column.dtype.kind == "f":
                for label, entry in column.items():
                    yield f"{path}.{name}[{label}]", np.asarray(entry)
    elif hasattr(value, "children") and hasattr(value, "data_vars"):
        for name, item in value.data_vars.items():
            yield from numbers(item.to_numpy(), f"{path}.{name}")
        for name, child in value.children.items():
            yield from numbers(child, f"{path}.{name}")
    else:
        for name, part in _parts(value):
            yield from numbers(part, f"{path}.{name}")


def _parts(value):
    """Parts of a collection or of an object of ours, by name."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, list | tuple | set | frozenset):
        return enumerate(value)
    if dataclasses.is_dataclass(value) and type(value).__module__.startswith("skbayesiv"):
        names = [f.name for f in dataclasses.fields(value) if not f.name.startswith("_")]
        return [(name, getattr(value, name)) for name in names]
    if hasattr(value, "get_params") and hasattr(value, "fit"):
        names = [name for name in (*vars(value), "covariance_") if name.endswith("_")]
        return [(name, getattr(value, name)) for name in names if hasattr(value, name)]
    return ()


def fingerprint(value: Any) -> Any:
    """A copy of what a value says, to be compared with `same`."""
    if isinstance(value, np.ma.MaskedArray):
        return "masked", fingerprint(np.asarray(value.data)), fingerprint(np.asarray(value.mask))
    if isinstance(value, np.ndarray):
        return (
            value.dtype.str,
            value.shape,
            value.tobytes() if value.dtype.kind != "O" else repr(value.tolist()),
        )
    if isinstance(value, pd.DataFrame | pd.Series | pl.DataFrame | pl.Series):
        return copy.deepcopy(value)
    if sparse.issparse(value):
        return fingerprint(value.toarray())
    if isinstance(value, Mapping):
        return {repr(key): fingerprint(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return repr(value)
    return type(value).__name__


def same(one: Any, other: Any) -> bool:
    """Whether two fingerprints are equal, labels and types included."""
    if isinstance(one, pd.DataFrame | pd.Series):
        labels = [one.index.equals(other.index)]
        if isinstance(one, pd.DataFrame):
            labels += [one.columns.equals(other.columns), list(one.dtypes) == list(other.dtypes)]
        return all(labels) and repr(one.to_numpy().tolist()) == repr(other.to_numpy().tolist())
    if isinstance(one, pl.DataFrame | pl.Series):
        return one.equals(other)
    return type(one) is type(other) and one == other

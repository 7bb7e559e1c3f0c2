"""Labels of the segments that rows belong to -> codes, and labels as Python objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skbayesiv._data.arrays import naming, refuse_masked
from skbayesiv._data.checks import SEVERAL, check_length
from skbayesiv._data.frames.columns import MISSING, factorise
from skbayesiv._typing import Codes

UNKNOWN = -1
JOIN = "A combination of columns has to be joined to one label first."
Known = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Segments:
    """Segment of each row.

    Attributes
    ----------
    codes : ndarray of int of shape (n,)
        Position of each row's label.
    labels : tuple
        Distinct labels as Python objects, in order.
    """

    codes: Codes
    labels: Known

    @property
    def names(self) -> tuple[str, ...]:
        """The labels as text."""
        return tuple(map(str, self.labels))

    def take(self, rows: NDArray[Any]) -> Segments:
        """Segments of some of the rows, without those that do not occur there."""
        codes = self.codes[rows]
        used = np.bincount(codes, minlength=len(self.labels)) > 0
        labels = tuple(label for label, keep in zip(self.labels, used, strict=True) if keep)
        return Segments((np.cumsum(used, dtype=codes.dtype) - 1)[codes], labels)

    def parts(self) -> Iterator[tuple[Any, NDArray[np.intp]]]:
        """Each label and the positions of its rows, in their order."""
        narrow = self.codes.astype(np.min_scalar_type(len(self.labels)))  # sorted by radix
        order = np.argsort(narrow, kind="stable")
        stops = np.cumsum(np.bincount(self.codes, minlength=len(self.labels)))
        yield from zip(self.labels, np.split(order, stops[:-1]), strict=True)


def read_segments(values: Any, n_rows: int, argument: str = "segments") -> Segments:
    """Check labels, one for each row, and number them in order.

    Categories stand in their own order; other labels are sorted, by text where they are of types
    that do not compare.
    """
    series = _as_series(values, n_rows, argument)
    codes, found = _distinct(series, argument)
    labels = order_labels(found, argument, _categories(series))
    place = {label: i for i, label in enumerate(labels)}
    return Segments(np.array([place[label] for label in found], dtype=np.int32)[codes], labels)


def segment_codes(values: Any, labels: Known, n_rows: int, argument: str = "segments") -> Codes:
    """Position of each row's label among known ones, -1 where it is none of them."""
    codes, found = _distinct(_as_series(values, n_rows, argument), argument)
    place = {_key(as_label(label)): i for i, label in enumerate(labels)}
    known = [place.get(_key(label), UNKNOWN) for label in found]
    return np.array(known, dtype=np.int32)[codes]


def as_label(value: Any) -> Any:
    """A label as the Python object that all frames have for it: 3.0 is 3, a zone's time is UTC."""
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, pd.Timestamp):
        value = value.to_pydatetime(warn=False)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def order_labels(found: Iterable[Any], argument: str, categories: Iterable[Any] = ()) -> Known:
    """Distinct labels in order; raise if one is a fraction or two of them read the same."""
    labels, texts = list(found), dict[str, Any]()
    for label in labels:
        if isinstance(label, float):
            raise ValueError(
                f"{argument} must be labels, not measurements; got {label!r}, which is not whole. "
                "Cut a number into ranges and label these."
            )
        if (other := texts.setdefault(str(label), label)) is not label:
            raise ValueError(
                f"{argument} must have labels that differ as text; got {other!r} and {label!r}. "
                "Make all labels of one type, or rename one of these."
            )
    place = {_key(as_label(category)): i for i, category in enumerate(categories)}
    if place.keys() >= set(map(_key, labels)):
        return tuple(sorted(labels, key=lambda label: place[_key(label)]))
    try:
        return tuple(sorted(labels))
    except TypeError:
        return tuple(sorted(labels, key=str))


def _key(label: Any) -> Any:
    """What labels are compared by: midnight, where there is no zone, is its date."""
    if isinstance(label, datetime) and label.tzinfo is None and label.time() == time():
        return label.date()
    return label


def _distinct(series: nw.Series[Any], argument: str) -> tuple[Codes, list[Any]]:
    """Codes and the distinct labels, as they come."""
    with naming(f"{argument} must be labels, one for each row"):
        codes, found = factorise(series)
    if missing := int((codes == MISSING).sum()):
        raise ValueError(
            f"{argument} must label every row; got {missing} missing labels: drop these rows or "
            "give them a label of their own."
        )
    labels: dict[Any, Any] = {}
    for value in map(as_label, found):
        labels.setdefault(_key(value), value)
    if len(labels) < len(found):
        place = {key: i for i, key in enumerate(labels)}
        codes = np.array([place[_key(as_label(value))] for value in found], dtype=np.intp)[codes]
    return codes, list(labels.values())


def _as_series(values: Any, n_rows: int, argument: str) -> nw.Series[Any]:
    """Labels in one column, one for each row."""
    refuse_masked(values, argument)
    if isinstance(values, str):
        raise ValueError(f"{argument} must be labels, one for each row; got {values!r}.")
    with naming(f"{argument} must be labels, one for each row"):
        shape = np.shape(values)
    if len(shape) != 1:
        raise ValueError(f"{argument} must be one column of labels; got shape {shape}. {JOIN}")
    some = list(values) if 0 < shape[0] <= SEVERAL and shape[0] != n_rows else []
    if some and isinstance(some[0], str):
        raise ValueError(f"{argument} must be one column of labels; got {some}. {JOIN}")
    if isinstance(values, list | tuple):  # as an array 1 and "1" would be one label
        values = np.fromiter(values, dtype=object, count=len(values))
    arrow = nw.dependencies.get_pyarrow()
    if arrow is not None and isinstance(values, arrow.Array):
        values = arrow.chunked_array([values])
    given = nw.from_native(values, series_only=True, pass_through=True)
    if not isinstance(given, nw.Series):
        given = nw.from_native(pd.Series(values), series_only=True)
    check_length(given, argument, n_rows)
    return given.alias(str(given.name or argument))


def _categories(series: nw.Series[Any]) -> Iterable[Any]:
    """Categories whose order says something; none of other labels."""
    native = series.to_native()
    if isinstance(dtype := getattr(native, "dtype", None), pd.CategoricalDtype):
        return dtype.categories.tolist()
    return series.dtype.categories if isinstance(series.dtype, nw.Enum) else ()

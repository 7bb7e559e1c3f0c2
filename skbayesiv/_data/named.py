"""Arguments of `fit` that are names of columns of one frame, outcome included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import pandas as pd

from skbayesiv._columns import Columns, Roles
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.frames.columns import labels, numbers
from skbayesiv._data.frames.plan import Plan
from skbayesiv._data.frames.planning import make_plan
from skbayesiv._data.frames.query import Query
from skbayesiv._data.frames.sources import open_source, unwrap
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import Reference
from skbayesiv._typing import Array


@dataclass(frozen=True, eq=False)
class NamedFrame:
    """A frame whose rows are not in memory, and what its columns are.

    Attributes
    ----------
    frame : data frame
    columns : Columns
        Columns of the frame by role.
    weight, clusters : str or None
    query : Query
        For the moments; grouped by the clusters where there are any.
    features : list of str
        What scikit-learn calls the features: columns in the frame's order, without outcome,
        weight and clusters, and with indicators in place of categories.
    """

    frame: Any
    columns: Columns
    weight: str | None
    clusters: str | None
    query: Query
    features: list[str]

    @property
    def rows(self) -> None:
        """None: there are no rows in memory."""
        return None

    @property
    def grouped(self) -> bool:
        """Whether rows are in clusters."""
        return self.clusters is not None

    def moments(self) -> Moments:
        """First and second moments, in one pass by the engine."""
        return Moments.from_query(self.query)

    def cluster_moments(self) -> list[Moments]:
        """Moments of each cluster; none without clusters."""
        return [] if self.clusters is None else [*Moments.by_group(self.query).values()]

    def residual_moments(self, origin: Array, contrast: Array) -> Moments:
        """Moments with the weights w e^2, e = contrast'(1, row - origin): a pass of its own."""
        sums = self.query.residual_totals(origin, contrast)
        return Moments(self.query.plan.columns, *sums)

    def fourth_moments(
        self, reference: Reference | None = None, *, fit_intercept: bool = True
    ) -> FourthMoments:
        """Fourth-order sums over the rows, or over their clusters."""
        if reference is None:
            reference = Reference.of_query(self.query, fit_intercept=fit_intercept)
        return FourthMoments.from_query(self.query, reference, clustered=self.grouped)


def name_columns(
    frame: Any,
    y: Any,
    *,
    t: Any = None,
    z: Any = None,
    sample_weight: Any = None,
    clusters: Any = None,
    roles: Roles,
) -> NamedFrame:
    """Roles of the columns of a frame whose rows are not in memory."""
    for argument, parameter, value in (("t", "treatment", t), ("z", "instruments", z)):
        if value is not None:
            raise ValueError(
                f"{argument} must be None with a lazy frame, whose rows have no order that an "
                f"array could follow: name the column with the parameter {parameter}; got "
                f"{_shown(value)}."
            )
    extra = {"y": y, "sample_weight": sample_weight, "clusters": clusters}
    extra = {name: value for name, value in extra.items() if name == "y" or value is not None}
    for argument, value in extra.items():
        if not isinstance(value, str):
            raise ValueError(
                f"{argument} must name a column of X when X is a lazy frame, whose rows have no "
                f"order that an array could follow; got {_shown(value)}."
            )
    source = open_source(frame)
    _check_names(extra, tuple(source.schema))
    names = tuple(name for name in source.schema if name not in extra.values())
    t_at, z_at = roles.locate(names)
    rest = tuple(name for i, name in enumerate(names) if i not in {*t_at, *z_at})
    columns = Columns(rest, tuple(names[i] for i in z_at), tuple(names[i] for i in t_at), y)
    plan = make_plan(source, columns, sample_weight, clusters, drop=False, categories=None)
    features = [feature for name in names for feature in _features(name, plan)]
    return NamedFrame(frame, columns, sample_weight, clusters, Query(source, plan), features)


def take_columns(X: Any, y: str, sample_weight: Any, clusters: Any) -> tuple[Any, Any, Any, Any]:
    """Take the outcome, and weights and clusters if these are names, out of a frame in memory."""
    try:
        frame = nw.from_native(unwrap(X), eager_only=True)
    except TypeError as error:
        raise TypeError(
            f"X must be a data frame when y names a column; got {_shown(X)}."
        ) from error
    given = {"y": y, "sample_weight": sample_weight, "clusters": clusters}
    names = {argument: name for argument, name in given.items() if isinstance(name, str)}
    _check_names(names, tuple(frame.columns))
    rest = frame.drop(*set(names.values()))
    if "sample_weight" in names:
        sample_weight = numbers(frame[sample_weight])
    if "clusters" in names:
        clusters = labels(frame[clusters])
    outcome = pd.Series(numbers(frame[y]), name=y, copy=False)
    return rest.to_native() if rest.columns else None, outcome, sample_weight, clusters


def _check_names(names: dict[str, str], columns: tuple[str, ...]) -> None:
    for argument, name in names.items():
        if name not in columns:
            raise ValueError(f"{argument} must name a column of X: {list(columns)}; got {name!r}.")


def _features(name: str, plan: Plan) -> list[str]:
    if name not in plan.levels:
        return [name]
    return [f"{name}[{level}]" for level in plan.levels[name][1:]]


def _shown(value: Any) -> str:
    return repr(value) if value is None or isinstance(value, str) else type(value).__name__


def in_order(X: Any, names: list[str]) -> Any:
    """Named columns of a frame; anything else as it is."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return X
    if absent := [name for name in names if name not in frame.columns]:
        indicators = [name for name in absent if name.endswith("]")]
        raise ValueError(
            f"X must have the columns {names}; got {frame.columns}."
            + "".join(
                f" {name!r} is the indicator of a level: 1 in its rows, else 0."
                for name in indicators[:1]
            )
        )
    return frame.select(*names).to_native()

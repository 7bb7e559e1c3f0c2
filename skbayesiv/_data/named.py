"""Arguments of `fit` that are names of columns of one frame, outcome included."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import narwhals.stable.v2 as nw
import pandas as pd

from skbayesiv._columns import Columns
from skbayesiv._data.checks import check_index
from skbayesiv._data.features import Features
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.frames.columns import labels, numbers
from skbayesiv._data.frames.plan import Plan
from skbayesiv._data.frames.planning import make_plan
from skbayesiv._data.frames.query import Query
from skbayesiv._data.frames.sources import Source, open_source, unwrap
from skbayesiv._data.moments import Moments
from skbayesiv._data.products import Reference
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import IVData, join_rows
from skbayesiv._data.segments import as_label, order_labels
from skbayesiv._typing import Array


@dataclass(frozen=True, eq=False)
class NamedFrame:
    """A frame whose rows are not in memory, and what its columns are.

    Attributes
    ----------
    frame : data frame
    plan : Plan
        Columns of the frame by role.
    query : Query
        For the moments; grouped by the clusters or the segments where there are any.
    features : Features
    segments : str or None
        Column of the segments.
    """

    frame: Any
    plan: Plan
    query: Query
    features: Features
    segments: str | None = None

    @property
    def columns(self) -> Columns:
        """Columns of the moments."""
        return self.plan.columns

    @property
    def clusters(self) -> str | None:
        """Column of the clusters."""
        return None if self.segmented else self.plan.by

    @property
    def rows(self) -> None:
        """None: there are no rows in memory."""
        return None

    @property
    def grouped(self) -> bool:
        """Whether rows are in clusters."""
        return self.clusters is not None

    @property
    def segmented(self) -> bool:
        """Whether rows are in segments."""
        return self.segments is not None

    @property
    def probability(self) -> bool:
        """No: such weights need rows in memory."""
        return False

    def head(self) -> Any:
        """First rows of the columns that have a role, in memory and in the frame's order."""
        source, read = self.query.source, self.plan.sources
        return source.head(tuple(name for name in source.schema if name in read)).to_native()

    def moments(self) -> Moments:
        """First and second moments, in one pass by the engine."""
        return Moments.from_query(self.query)

    @property
    def shift(self) -> Array:
        """Point about which moments are taken."""
        return self._whole.totals().shift

    @cached_property
    def _whole(self) -> Query:
        """Query for the sums of all rows, whatever their segment."""
        if not self.segmented:
            return self.query
        return Query(self.query.source, replace(self.plan, by=None))

    def cluster_moments(self) -> list[Moments]:
        """Moments of each cluster; none without clusters."""
        return [] if self.clusters is None else [*Moments.by_group(self.query).values()]

    def residual_moments(self, contrast: Array) -> Moments:
        """Moments with the weights w e^2, e = contrast'(1, row - shift): a pass of its own.

        The shift is :attr:`shift`.
        """
        sums = self._whole.residual_totals(contrast)
        return Moments(self.query.plan.columns, *sums)

    def fourth_moments(
        self, reference: Reference | None = None, *, fit_intercept: bool = True
    ) -> FourthMoments:
        """Fourth-order sums over the rows, or over their clusters."""
        if reference is None:
            reference = Reference.of_query(self.query, fit_intercept=fit_intercept)
        return FourthMoments.from_query(self.query, reference, clustered=self.grouped)

    def by_segment_moments(self) -> dict[Any, Moments]:
        """Moments of each segment that has a weight, by its label; none without segments."""
        return self._by_label(Moments.by_group(self.query)) if self.segmented else {}

    def by_segment_fourth_moments(self, *, fit_intercept: bool = True) -> dict[Any, FourthMoments]:
        """Fourth-order sums over the rows of each segment that has a weight, by its label."""
        if not self.segmented:
            return {}
        if self.columns.covariates:
            raise ValueError(
                'covariates must be empty with likelihood="gmm" and segments of a lazy frame: '
                "fourth-order sums are taken about coefficients on X of the rows they are of, and "
                "one pass over all segments does not know each one's; got "
                f"{list(self.columns.covariates)}. Collect the columns that the fit names."
            )
        reference = Reference.of_query(self.query, fit_intercept=fit_intercept)
        return self._by_label(FourthMoments.by_group(self.query, reference))

    def _by_label[T: (Moments, FourthMoments)](self, groups: dict[Any, T]) -> dict[Any, T]:
        """Sums by label, in the labels' order."""
        found = {as_label(key): sums for key, sums in groups.items() if sums.n_rows}
        dtype = self.query.source.schema[str(self.segments)]
        categories = dtype.categories if isinstance(dtype, nw.Enum) else ()
        return {label: found[label] for label in order_labels(found, "segments", categories)}


def name_columns(
    frame: Any,
    y: Any,
    *,
    t: Any = None,
    z: Any = None,
    sample_weight: Any = None,
    clusters: Any = None,
    segments: Any = None,
    roles: Roles,
    known: Features | None = None,
) -> NamedFrame:
    """Roles of the columns of a frame whose rows are not in memory.

    `known` are the features of an earlier frame, whose levels its categories must have.
    """
    for argument, parameter, value in (("t", "treatment", t), ("z", "instruments", z)):
        if value is not None:
            raise ValueError(
                f"{argument} must be None with a lazy frame, whose rows have no order that an "
                f"array could follow: name the column with the parameter {parameter}; got "
                f"{_shown(value)}."
            )
    extra = {"y": y, "sample_weight": sample_weight, "clusters": clusters, "segments": segments}
    extra = {name: value for name, value in extra.items() if name == "y" or value is not None}
    for argument, value in extra.items():
        if not isinstance(value, str):
            raise ValueError(
                f"{argument} must name a column of X when X is a lazy frame, whose rows have no "
                f"order that an array could follow; got {_shown(value)}."
            )
    source = open_source(frame)
    plan, labelled = _plan(source, extra, roles, known)
    if labelled is not None and clusters is not None:
        raise ValueError(
            "clusters and segments must not both be given with a lazy frame, whose rows are "
            f"summed by one column; got clusters={clusters!r} and segments={labelled!r}. "
            "Collect the columns that the fit names."
        )
    features = Features.of_plan(plan, source.schema, labelled)
    return NamedFrame(frame, plan, Query(source, plan), features, labelled)


def read_named(
    X: Any,
    y: str,
    *,
    t: Any = None,
    z: Any = None,
    sample_weight: Any = None,
    clusters: Any = None,
    segments: Any = None,
    roles: Roles,
    known: Features | None = None,
    probability: bool = False,
) -> tuple[IVData, Features]:
    """Rows of a frame in memory, the outcome and perhaps more of whose columns are named."""
    try:
        frame = nw.from_native(unwrap(X), eager_only=True)
    except TypeError as error:
        raise TypeError(
            f"X must be a data frame when y names a column; got {_shown(X)}."
        ) from error
    extra = {"sample_weight": sample_weight, "clusters": clusters, "segments": segments}
    given = {"y": y, **extra}
    plan, labelled = _plan(open_source(X), given, roles, known, has_treatment=t is not None)
    features = Features.of_plan(plan, frame.columns, labelled)
    check_index(X=X, t=t, z=z, **extra)
    split = features.split(X, in_columns=roles.in_columns, finite=False)
    if isinstance(sample_weight, str):
        sample_weight = numbers(frame.get_column(sample_weight), "sample_weight")
    if isinstance(clusters, str):
        clusters = labels(frame.get_column(clusters))
    if isinstance(segments, str):
        segments = None  # they are in the split
    outcome = pd.Series(numbers(frame.get_column(y), "y"), name=y, copy=False)
    extra = {"sample_weight": sample_weight, "clusters": clusters, "segments": segments}
    data = join_rows(split, outcome, t, z, **extra, finite=False, probability=probability)
    return data, features


def _plan(
    source: Source,
    given: dict[str, Any],
    roles: Roles,
    known: Features | None,
    *,
    has_treatment: bool = False,
) -> tuple[Plan, str | None]:
    """Plan of a pass over the columns that arguments and parameters name, and the segments'."""
    extra = {argument: name for argument, name in given.items() if isinstance(name, str)}
    _check_names(extra, tuple(source.schema))
    if not (roles.have_regressors or has_treatment):
        raise ValueError(
            "covariates must name columns of X when y does, or treatment and instruments must; "
            'got none. covariates="rest" takes every column that has no other role.'
        )
    names = tuple(name for name in source.schema if name not in extra.values())
    at = roles.locate(names, rest=False)
    x, z, t = (tuple(names[i] for i in part) for part in (at.x, at.z, at.t))
    labelled = _segments_column(extra, [names[i] for i in at.segments])
    levels = {} if known is None else known.levels
    plan = make_plan(
        source,
        Columns(x, z, t, extra["y"]),
        extra.get("sample_weight"),
        extra.get("clusters") if labelled is None else labelled,
        drop=False,
        categories={name: own for name, own in levels.items() if name in x},
        in_fit=True,
    )
    return plan, labelled


def _segments_column(names: dict[str, str], located: list[str]) -> str | None:
    """The column of the segments, from the argument or from the parameter, never from both."""
    name = names.get("segments")
    if name is None:
        return located[0] if located else None
    if located:
        raise ValueError(
            f"segments must come from one place; got the argument segments={name!r} and the "
            f"parameter segments={located[0]!r}."
        )
    if name == names["y"]:
        raise ValueError(f"y and segments must name different columns; both name {name!r}.")
    return name


def _check_names(names: dict[str, str], columns: tuple[str, ...]) -> None:
    for argument, name in names.items():
        if name not in columns:
            raise ValueError(f"{argument} must name a column of X: {list(columns)}; got {name!r}.")


def _shown(value: Any) -> str:
    return repr(value) if value is None or isinstance(value, str) else type(value).__name__

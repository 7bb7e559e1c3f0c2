"""Segments: labels of rows as codes, from an argument or from a column of any frame."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from engines import LAZY, Engine
from numpy.testing import assert_allclose
from sklearn.base import clone

from skbayesiv import TwoStageLS
from skbayesiv._columns import Columns
from skbayesiv._data.features import Features
from skbayesiv._data.named import name_columns, read_named
from skbayesiv._data.roles import Roles
from skbayesiv._data.rows import join_rows, read_rows, split_columns
from skbayesiv._data.segments import read_segments, segment_codes
from skbayesiv._data.sums import Sums

RNG = np.random.default_rng(0)
N = 120
COUNTRY = np.array(["DE", "AT", "CH"])[RNG.integers(0, 3, N)]
Z = RNG.integers(0, 2, N).astype(float)
T = Z + RNG.standard_normal(N)
X = RNG.standard_normal((N, 2))
ROWS = {"X": X, "t": T, "z": Z, "y": T + X[:, 0] + RNG.standard_normal(N)}
FRAME = pd.DataFrame(
    {
        "push": T,
        "a": X[:, 0],
        "country": COUNTRY,
        "coin": Z,
        "b": X[:, 1],
        "spend": ROWS["y"],
        "copies": RNG.integers(0, 3, N),
        "team": np.arange(N) // 4,
    }
)
NAMED = {"treatment": "push", "instruments": "coin"}
DAY = date(2024, 5, 1)
LABELS = {
    "strings": (["b", "a", "b"], ("a", "b")),
    "string array": (np.array(["b", "a", "b"]), ("a", "b")),
    "integers": (np.array([10, 9, 10]), (9, 10)),
    "whole floats": ([2.0, 1.0, 2.0], (1, 2)),
    "Booleans": (np.array([True, False, True]), (False, True)),
    "dates": ([date(2025, 1, 1), DAY, DAY], (DAY, date(2025, 1, 1))),
    "days": (np.array(["2025-01-01", "2024-05-01"], "M8[D]"), (datetime(2024, 5, 1),)),
    "stamps": (pd.Series(pd.to_datetime(["2024-05-01 10:00"] * 2)), (datetime(2024, 5, 1, 10),)),
    "zone": (
        pd.to_datetime(["2024-05-01 10:00"] * 2).tz_localize("Europe/Berlin"),
        (datetime(2024, 5, 1, 8, tzinfo=UTC),),
    ),
    "pandas": (pd.Series(["b", "a", "b"], index=[5, 6, 7]), ("a", "b")),
    "masked": (pd.Series([2, 1, 2], dtype="Int64"), (1, 2)),
    "polars": (pl.Series("land", ["b", "a", "b"]), ("a", "b")),
    "polars categories": (pl.Series(["b", "a"], dtype=pl.Categorical), ("a", "b")),
    "pyarrow": (pa.array(["b", "a", "b"]), ("a", "b")),
    "pyarrow chunks": (pa.chunked_array([["b"], ["a", "b"]]), ("a", "b")),
    "dictionary": (pa.array(["b", "a", "b"]).dictionary_encode(), ("a", "b")),
    "two types": ([10, "a", 9], (10, 9, "a")),
    "categories": (pd.Categorical(["hi", "lo"], ["lo", "mid", "hi"]), ("lo", "hi")),
    "numbered": (pd.Series(pd.Categorical([1, 3], [3, 2, 1])), (3, 1)),
    "enumeration": (pl.Series(["hi", "lo"], dtype=pl.Enum(["lo", "mid", "hi"])), ("lo", "hi")),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_in_order(name):
    values, expected = LABELS[name]
    segments = read_segments(values, len(values))
    assert segments.labels[: len(expected)] == expected
    assert [type(label) for label in segments.labels][: len(expected)] == [*map(type, expected)]
    assert segments.names == tuple(map(str, segments.labels))
    again = [segments.labels[code] for code in segments.codes]
    assert again == [segments.labels[c] for c in segment_codes(values, segments.labels, len(again))]
    firsts = pd.factorize(pd.Series(values.to_pylist() if hasattr(values, "to_pylist") else values))
    assert np.array_equal(pd.factorize(segments.codes)[0], firsts[0])


@pytest.mark.parametrize(
    ("missing", "values"),
    [
        (2, ["a", None, "b", np.nan]),
        (2, np.array([1.0, np.nan, np.nan])),
        (1, pd.Series([1, None, 2], dtype="Int64")),
        (1, pd.Series(["a", None, "b"], dtype="category")),
        (1, pd.to_datetime(["2024-01-01", None])),
        (1, np.array(["2024-01-01", "NaT"], "M8[D]")),
        (1, [pd.NA, "a"]),
        (1, pl.Series([1, None])),
        (1, pl.Series([1.0, np.nan])),
        (1, pa.array(["a", None]).dictionary_encode()),
        (1, pa.chunked_array([["a", None]])),
    ],
)
def test_every_row_has_a_label(missing, values):
    message = (
        f"segments must label every row; got {missing} missing labels: drop these rows or give "
        "them a label of their own."
    )
    with pytest.raises(ValueError, match=message):
        read_segments(values, len(values))
    with pytest.raises(ValueError, match=message):
        segment_codes(values, ("a", "b"), len(values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "b"] * 4, r"numbers of samples: segments has 8 rows where 3 were expected"),
        (["country", "platform"], r"one column of labels; got \['country', 'platform'\]. A comb"),
        (np.array([["a", "b"]] * 3), r"one column of labels; got shape \(3, 2\). A combination of"),
        (FRAME[["country"]].head(3), r"one column of labels; got shape \(3, 1\). A combination"),
        ([["a", 1], ["b", 2], ["a", 2]], r"one column of labels; got shape \(3, 2\)"),
        (3, r"one column of labels; got shape \(\)"),
        ("country", "must be labels, one for each row; got 'country'"),
        ([1, "1", 1], "labels that differ as text; got 1 and '1'. Make all labels of one type"),
        ([1.0, 2.5, 2.5], "must be labels, not measurements; got 2.5, which is not whole. Cut"),
        ([{}, {}, {}], "must be labels, one for each row: unhashable"),
        (np.ma.array([1, 2, 3], mask=[0, 1, 0]), "must have no masked values; got 1"),
    ],
)
def test_what_labels_nothing(values, message):
    with pytest.raises((ValueError, TypeError), match=f"segments .*{message}|{message}"):
        read_segments(values, 3)


@pytest.mark.parametrize(
    ("known", "new"),
    [
        ((3, 5), np.array([5, 4, 3])),
        ((3, 5), [5.0, 4.0, 3.0]),
        ((3, 5), pd.Series([5, 4, 3], dtype="Int64")),
        ((3, 5), [5, "3", Decimal(3)]),
        (("a", "b"), pl.Series(["b", "A", "a"])),
        (("a", "b"), pd.Categorical(["b", "c", "a"])),
        ((DAY, date(2024, 6, 1)), np.array(["2024-06-01", "2024-06-02", "2024-05-01"], "M8[D]")),
        ((DAY, date(2024, 6, 1)), [pd.Timestamp(2024, 6, 1), pd.Timestamp(0), DAY]),
        ((datetime(2024, 5, 1), datetime(2024, 6, 1)), [date(2024, 6, 1), "x", DAY]),
        ((pd.Timestamp(2024, 5, 1), np.datetime64("2024-06-01")), [date(2024, 6, 1), 0, DAY]),
        ((False, True), np.array([1, 2, 0])),
    ],
)
def test_codes_of_new_labels(known, new):
    assert segment_codes(new, known, 3).tolist() == [1, -1, 0]


def test_some_rows():
    segments = read_segments(["c", "a", "b", "c"], 4)
    some = segments.take(np.array([3, 2, 0]))
    assert (some.labels, some.codes.tolist()) == (("b", "c"), [1, 0, 1])
    assert segments.take(segments.codes == 2).labels == ("c",)
    found = {label: rows.tolist() for label, rows in segments.parts()}
    assert found == {"a": [1], "b": [2], "c": [0, 3]}


def assert_equal(moments, expected):
    assert moments.columns == expected.columns
    assert (moments.n_rows, moments.weight) == (expected.n_rows, pytest.approx(expected.weight))
    assert_allclose(moments.mean, expected.mean, rtol=1e-12)
    assert_allclose(moments.scatter, expected.scatter, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("weight", [None, "copies"])
def test_parts_add_to_the_whole(weight):
    weight = None if weight is None else FRAME[weight]
    data = read_rows(
        **ROWS, sample_weight=weight, clusters=FRAME["team"], segments=COUNTRY, roles=Roles()
    )
    parts = data.by_segment
    assert data.segmented
    assert list(parts) == ["AT", "CH", "DE"]
    assert not any(part.segmented for part in parts.values())
    assert_equal(sum(part.moments() for part in parts.values()), data.moments())
    for label, part in parts.items():
        mask = label == COUNTRY
        assert np.array_equal(part.y, data.y[mask])
        assert np.array_equal(part.x, data.x[mask])
        assert np.array_equal(part.clusters, data.clusters[mask])
    half = data.take(np.arange(0, N, 2)).by_segment
    assert np.array_equal(half["CH"].y, data.y[::2][COUNTRY[::2] == "CH"])
    assert read_rows(**ROWS, roles=Roles()).by_segment == {}


def test_weights_of_probabilities_in_a_segment():
    """They sum to the effective number of rows, as in a fit to the segment's rows alone."""
    weight = RNG.random(N) * (RNG.random(N) < 0.8)
    weight[COUNTRY == "AT"] = 0.0
    extra = {"roles": Roles(), "probability": True}
    parts = read_rows(**ROWS, sample_weight=weight, segments=COUNTRY, **extra).by_segment
    assert list(parts) == ["CH", "DE"]
    for label, part in parts.items():
        mask = label == COUNTRY
        rows = {name: values[mask] for name, values in ROWS.items()}
        alone = read_rows(**rows, sample_weight=weight[mask], **extra)
        assert_allclose(part.sample_weight, alone.sample_weight, rtol=1e-14)
        w = weight[mask]
        assert part.sample_weight.sum() == pytest.approx(w.sum() ** 2 / (w @ w))
        fourth = Sums.of(part, fourth=True).fourth
        assert_allclose(fourth.cross, Sums.of(alone, fourth=True).fourth.cross, rtol=1e-9)


def test_a_segment_without_weight_is_left_out():
    weight = np.where(COUNTRY == "AT", 0, FRAME["copies"])
    data = read_rows(**ROWS, sample_weight=weight, segments=COUNTRY, roles=Roles())
    assert list(data.by_segment) == ["CH", "DE"]
    assert_equal(sum(part.moments() for part in data.by_segment.values()), data.moments())


COLUMNS = FRAME.drop(columns=["spend", "copies", "team"])


@pytest.mark.parametrize(
    "frame",
    [
        COLUMNS,
        COLUMNS.astype({"country": "category"}),
        pl.from_pandas(COLUMNS),
        pa.Table.from_pandas(COLUMNS),
        COLUMNS.to_numpy(),
    ],
    ids=["pandas", "categories", "polars", "pyarrow", "objects"],
)
@pytest.mark.parametrize("by_name", [True, False])
def test_a_column_of_strings(frame, by_name):
    roles = Roles("push", "coin", None, "country") if by_name else Roles(0, 3, None, -3)
    if isinstance(frame, np.ndarray):
        roles = Roles(0, 3, [1, 4], 2) if by_name else Roles(0, 3, None, -3)
    split = split_columns(frame, roles)
    assert split.n_features == 5
    assert np.array_equal(split.x, X)
    assert np.array_equal(split.t[:, 0], T)
    assert np.array_equal(np.asarray(split.segments), COUNTRY)
    data = join_rows(split, ROWS["y"])
    expected = read_rows(**ROWS, segments=COUNTRY, roles=Roles())
    assert data.segments.labels == expected.segments.labels
    assert np.array_equal(data.segments.codes, expected.segments.codes)
    with pytest.raises(ValueError, match="segments must come from one place; got the argument"):
        join_rows(split, ROWS["y"], segments=COUNTRY)


def test_a_column_of_numbers():
    codes = read_segments(COUNTRY, N).codes
    table = np.column_stack([codes, X])
    split = split_columns(table, Roles(segments=0))
    assert np.array_equal(split.x, X)
    assert split.t is None
    data = join_rows(split, ROWS["y"], ROWS["t"], ROWS["z"])
    assert data.segments.labels == (0, 1, 2)
    assert np.array_equal(data.segments.codes, codes)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"segments": "land"}, "segments must name columns of X, by name or position.*'land'"),
        ({"segments": ["country", "a"]}, r"segments must name one column of X; got \['country', "),
        ({"segments": []}, r"segments must name one column of X; got \[\]"),
        ({"segments": "push"}, r"treatment and segments must name different .*\['push'\]"),
        ({"segments": 3}, r"instruments and segments must name different .*\['coin'\]"),
        (
            {"segments": "country", "covariates": ["a", "country"]},
            r"segments and covariates must name different columns; both name \['country'\]",
        ),
    ],
)
def test_one_column_of_its_own(roles, message):
    with pytest.raises(ValueError, match=message):
        split_columns(COLUMNS, Roles(**NAMED | roles))


def test_segments_alone_need_columns():
    roles = Roles(segments="country")
    assert roles.are_given
    assert roles.need_columns
    with pytest.raises(
        ValueError, match=r"X must hold the columns named by .*segments; got X=None"
    ):
        split_columns(None, roles)
    with pytest.raises(ValueError, match="segments must be one entry for each row where y is an"):
        join_rows(None, ROWS["y"], segments="country")


BY = {"argument": ({}, {"segments": "country"}), "parameter": ({"segments": "country"}, {})}


@pytest.mark.parametrize("how", BY)
@pytest.mark.parametrize("covariates", ["rest", ["b", "a"]])
@pytest.mark.parametrize("frame", [FRAME, pl.from_pandas(FRAME)], ids=["pandas", "polars"])
def test_named_in_memory(frame, covariates, how):
    parameter, argument = BY[how]
    roles = Roles(**NAMED, covariates=covariates, **parameter)
    names = {"y": "spend", "sample_weight": "copies", "clusters": "team"} | argument
    data, features = read_named(frame, **names, roles=roles)
    assert data.columns == Columns(
        ("a", "b") if covariates == "rest" else ("b", "a"), ("coin",), ("push",), "spend"
    )
    assert data.segments.labels == ("AT", "CH", "DE")
    assert np.array_equal(np.array(data.segments.labels)[data.segments.codes], COUNTRY)
    assert features.names == ("push", "a", "country", "coin", "b")
    assert features.segments == "country"


@pytest.fixture(params=LAZY)
def lazy(request, tmp_path):
    return Engine(request.param, tmp_path)


@pytest.mark.parametrize("weight", [None, "copies"])
@pytest.mark.parametrize("how", BY)
def test_named_in_a_lazy_frame(lazy, how, weight):
    parameter, argument = BY[how]
    roles = Roles(**NAMED, covariates=["a", "b"], **parameter)
    names = {"y": "spend", "sample_weight": weight} | argument
    named = name_columns(lazy(pa.Table.from_pandas(FRAME)), **names, roles=roles)
    assert (named.segments, named.clusters, named.segmented, named.grouped) == (
        "country",
        None,
        True,
        False,
    )
    assert named.features.names == ("push", "a", "country", "coin", "b")
    data, features = read_named(FRAME, **names, roles=roles)
    assert features.names == named.features.names
    found = named.by_segment_moments()
    assert list(found) == list(data.by_segment)
    for label, part in data.by_segment.items():
        assert_equal(found[label], part.moments())
    assert_equal(named.moments(), data.moments())
    fourth = named.fourth_moments()
    assert fourth.n_clusters is None
    assert_allclose(fourth.cross, data.fourth_moments(fourth.reference).cross, rtol=1e-7, atol=1e-7)
    contrast = np.array([0.1, 0.2, 0.3, 0.0, -0.5, 1.0])
    e = contrast[0] + (np.column_stack([X, Z, T, ROWS["y"]]) - named.shift) @ contrast[1:]
    weights = 1.0 if weight is None else FRAME["copies"].to_numpy()
    assert named.residual_moments(contrast).weight == pytest.approx((weights * e**2).sum())
    with pytest.raises(
        ValueError, match=r"covariates must be empty .* and segments of a lazy .*\['a"
    ):
        named.by_segment_fourth_moments()


def test_fourth_moments_by_segment(lazy):
    names = {"y": "spend", "sample_weight": "copies", "segments": "country"}
    named = name_columns(lazy(pa.Table.from_pandas(FRAME)), **names, roles=Roles(**NAMED))
    parts = read_named(FRAME, **names, roles=Roles(**NAMED))[0].by_segment
    found = named.by_segment_fourth_moments(fit_intercept=True)
    assert list(found) == list(parts)
    for label, fourth in found.items():
        expected = parts[label].fourth_moments(fourth.reference)
        assert (fourth.n_rows, fourth.n_clusters) == (expected.n_rows, None)
        assert_allclose(fourth.cross, expected.cross, rtol=1e-9, atol=1e-9)


KEYS = {
    "integers": pa.array(np.arange(N) % 3),
    "floats": pa.array(np.arange(N) % 3.0),
    "dates": pa.array([date(2024, 1 + i % 3, 1) for i in range(N)]),
    "times": pa.array(np.array(["2024-05-01", "2024-05-01T10"], "M8[us]")[np.arange(N) % 2]),
    "Booleans": pa.array(np.arange(N) % 2 == 0),
}


@pytest.mark.parametrize("kind", KEYS)
def test_labels_of_lazy_frames_are_those_of_memory(lazy, kind):
    table = pa.Table.from_pandas(FRAME).append_column("part", KEYS[kind])
    named = name_columns(lazy(table), "spend", segments="part", roles=Roles(**NAMED))
    found = named.by_segment_moments()
    pandas = table.to_pandas()
    data, _ = read_named(pandas, "spend", segments="part", roles=Roles(**NAMED))
    codes = segment_codes(pandas["part"], tuple(found), N)
    assert np.array_equal(codes, data.segments.codes)
    assert [part.n_rows for part in data.by_segment.values()] == [m.n_rows for m in found.values()]
    again = segment_codes([*found], data.segments.labels, len(found))
    assert again.tolist() == [*range(len(found))]
    if kind == "floats":
        assert [*map(str, found)] == ["0", "1", "2"]


def test_enumerations_of_lazy_frames_keep_their_order():
    kind = pl.Enum(["DE", "CH", "AT", "FR"])
    frame = pl.from_pandas(FRAME).with_columns(pl.col("country").cast(kind))
    for rows in (frame, frame.lazy()):
        names = {"y": "spend", "segments": "country", "roles": Roles(**NAMED)}
        if isinstance(rows, pl.DataFrame):
            found = read_named(rows, **names)[0].by_segment
        else:
            found = name_columns(rows, **names).by_segment_moments()
        assert list(found) == ["DE", "CH", "AT"]


@pytest.mark.parametrize(
    "country",
    [pa.array([None, None, *COUNTRY[2:]]), pa.array(np.where(np.arange(N) < 2, np.nan, 1.0))],
    ids=["null", "NaN"],
)
def test_missing_labels_of_lazy_frames(lazy, country):
    table = pa.Table.from_pandas(FRAME.drop(columns="country")).append_column("country", country)
    named = name_columns(lazy(table), "spend", segments="country", roles=Roles(**NAMED))
    with pytest.raises(ValueError, match=r"X must not have missing values.*got 2 in 'country'"):
        named.by_segment_moments()
    with pytest.raises(ValueError, match="segments must label every row; got 2 missing"):
        read_named(table, "spend", segments="country", roles=Roles(**NAMED))


@pytest.mark.parametrize(
    ("names", "roles", "message"),
    [
        (
            {"clusters": "team", "segments": "country"},
            {},
            "clusters and segments must not both .*'team' and segments='country'. Collect the col",
        ),
        ({"segments": COUNTRY}, {}, "segments must name a column of X when X is a lazy frame"),
        ({"segments": "land"}, {}, r"segments must name a column of X: \['push', .*'land'"),
        ({"segments": "spend"}, {}, "y and segments must name different columns; both .*'spend'"),
        (
            {"segments": "country"},
            {"segments": "team"},
            "the argument segments='country' and the parameter segments='team'",
        ),
        ({"segments": "a"}, {"covariates": "a"}, r"covariates must name columns of X.*'a'"),
        (
            {"segments": "country"},
            {"treatment": None, "instruments": None},
            "covariates must name columns of X when y does",
        ),
    ],
)
def test_names_that_do_not_fit(names, roles, message):
    roles = Roles(**NAMED | roles)
    with pytest.raises(ValueError, match=message):
        name_columns(pl.from_pandas(FRAME).lazy(), "spend", **names, roles=roles)
    if isinstance(names["segments"], str) and "clusters" not in names:
        with pytest.raises(ValueError, match=message):
            read_named(FRAME, "spend", **names, roles=roles)


def test_labels_beside_named_columns():
    """Where y is a name, segments may be labels, which are then no feature."""
    names = {"y": "spend", "segments": COUNTRY}
    data, features = read_named(FRAME, **names, roles=Roles(**NAMED, covariates=["a"]))
    assert data.segments.labels == ("AT", "CH", "DE")
    assert (features.segments, features.names) == (None, ("push", "a", "coin"))
    with pytest.raises(ValueError, match="segments must come from one place"):
        read_named(FRAME, **names, roles=Roles(**NAMED, segments="country"))


def test_features_split():
    roles = Roles(**NAMED, covariates=["a", "b"], segments="country")
    _, features = read_named(FRAME, "spend", roles=roles)
    shuffled = pl.from_pandas(FRAME[[*reversed(FRAME.columns)]])
    split = features.split(shuffled, in_columns=True)
    assert split.n_features == 5
    assert np.array_equal(split.x, X)
    assert split.segments.to_list() == COUNTRY.tolist()
    assert features.split(FRAME, in_columns=False).segments.tolist() == COUNTRY.tolist()
    with pytest.raises(ValueError, match=r"X must be a data frame .*'country' holds the segments"):
        features.split(FRAME.to_numpy(), in_columns=True)
    with pytest.raises(ValueError, match=r"X must have the columns .*'country'"):
        features.split(FRAME.drop(columns="country"), in_columns=True)


def test_an_x_that_has_the_moments_columns():
    columns = Columns(("a", "b"), ("coin",), ("push",), "spend")
    by_name = Roles(**NAMED, segments="country")
    assert by_name.arrange(columns) == ["a", "b", "coin", "push", "country"]
    by_position = Roles(0, 3, None, 2)
    assert by_position.arrange(columns) == ["push", "a", "segment", "coin", "b"]
    assert Roles(segments=-1).arrange(columns) == ["a", "b", "segment"]
    clash = Columns(("segment", "b"), (), (), "spend")
    assert Roles(segments=0).arrange(clash) == ["segment_", "segment", "b"]
    with pytest.raises(ValueError, match="segments must name a column that moments do not have"):
        Roles(**NAMED, segments="a").arrange(columns)
    with pytest.raises(ValueError, match="segments must name a column of its own; got 0, which is"):
        Roles(0, 3, None, 0).arrange(columns)
    features = Features.of_columns(
        by_name.arrange(columns), columns, by_name.name_segments(columns)
    )
    split = features.split(FRAME, in_columns=True)
    assert np.array_equal(split.x, X)
    assert split.segments.tolist() == COUNTRY.tolist()


class Segmented(TwoStageLS):
    """An estimator whose X has a column of segments."""

    which = "country"

    @property
    def _segment_role(self):
        return self.which


class ThirdSegmented(Segmented):
    which = 2


def test_an_estimator_with_segments():
    """The column is a feature, and nothing else to 2SLS."""
    est = Segmented(**NAMED).fit(COLUMNS, ROWS["y"])
    plain = TwoStageLS(**NAMED).fit(COLUMNS.drop(columns="country"), ROWS["y"])
    named = Segmented(**NAMED, covariates=["a", "b"], cov_type="unadjusted").fit(FRAME, y="spend")
    lazy = clone(named).fit(pl.from_pandas(FRAME).lazy(), y="spend")
    known = Segmented(**NAMED, cov_type="unadjusted").fit_moments(plain.moments_)
    for fitted in (est, named, lazy, known):
        assert_allclose(fitted.coef_, plain.coef_, rtol=1e-9)
        assert fitted.n_features_in_ == 5
        assert sorted(fitted.feature_names_in_) == sorted(COLUMNS)
        assert_allclose(
            fitted.predict(COLUMNS), plain.predict(COLUMNS.drop(columns="country")), rtol=1e-9
        )
    arrays = TwoStageLS().fit(**ROWS)
    third = ThirdSegmented(cov_type="unadjusted").fit_moments(arrays.moments_)
    assert third.n_features_in_ == 3
    table = np.column_stack([X, COUNTRY.astype(object)])
    assert_allclose(third.predict(table, T), arrays.predict(X, T))

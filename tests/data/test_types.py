"""What each type of column becomes, in arrays, in frames and by name: one table."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from experiments import unchecked
from numpy.testing import assert_allclose
from scipy import sparse

from skbayesiv import Moments, TwoStageLS
from skbayesiv.diagnostics import first_stage

N = 60
RNG = np.random.default_rng(0)
Z = np.tile([0.0, 1.0], N // 2)
T = Z + RNG.normal(size=N)
Y = T + RNG.normal(size=N)
WHOLE = RNG.integers(1, 5, N)
ENGINES = {
    "pandas": lambda columns: pd.DataFrame(columns),
    "polars": lambda columns: pl.from_pandas(pd.DataFrame(columns)),
    "polars lazy": lambda columns: pl.from_pandas(pd.DataFrame(columns)).lazy(),
    "arrow": lambda columns: pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False),
}
NUMBERS = {
    "int8": WHOLE.astype(np.int8),
    "uint64": WHOLE.astype(np.uint64),
    "float32": WHOLE.astype(np.float32),
    "Boolean": WHOLE > 2,
    "nullable integer": pd.array(WHOLE, dtype="Int64"),
    "nullable Boolean": pd.array(WHOLE > 2, dtype="boolean"),
    "arrow": pd.array(WHOLE, dtype="int32[pyarrow]"),
}
OBJECTS = {
    "decimals": [Decimal(int(value)) / 4 for value in WHOLE],
    "fractions": [Fraction(int(value), 4) for value in WHOLE],
    "numbers of many types": [int(v) if v > 2 else np.float32(v) for v in WHOLE],
}
REFUSED = {
    "times": pd.date_range("2026-01-01", periods=N),
    "times with a zone": pd.date_range("2026-01-01", periods=N, tz="UTC"),
    "durations": pd.to_timedelta(WHOLE, "s"),
    "strings": WHOLE.astype(str),
    "bytes": [b"1"] * N,
    "categories": pd.Categorical(WHOLE.astype(str)),
    "categories of numbers": pd.Categorical(WHOLE),
    "lists": [[1.0]] * N,
}
ROLES = {"treatment": "t", "instruments": "z"}


def columns(**more):
    return {"t": T, "z": Z, "y": Y, "w": np.ones(N)} | more


def floats(values):
    return np.array([float(value) for value in values])


def objects(values):
    array = np.empty(N, dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


@unchecked
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers(kind, engine):
    """As outcome, weight and covariate: as the same floats."""
    values = NUMBERS[kind]
    for name in ("y", "w", "x"):
        given = {"x": np.zeros(N), name: values}
        if name != "x":
            del given["x"]
        est = TwoStageLS(**ROLES, covariates="x" if name == "x" else None)
        frame = ENGINES[engine](columns(**given))
        found = est.fit(frame, y="y", sample_weight="w")
        coef = found.coef_
        same = pd.DataFrame(columns(**given | {name: floats(values)}))
        assert_allclose(coef, est.fit(same, y="y", sample_weight="w").coef_, rtol=1e-9)


@pytest.mark.parametrize("kind", NUMBERS | OBJECTS)
def test_numbers_in_arrays(kind):
    values = (NUMBERS | OBJECTS)[kind]
    expected = TwoStageLS().fit(floats(values)[:, None], T, Y, z=Z).coef_
    series = pd.Series(values)
    for x in (series.to_frame("x"), np.asarray(series, dtype=object)[:, None]):
        assert_allclose(TwoStageLS().fit(x, T, Y, z=Z).coef_, expected)
    y = TwoStageLS().fit(None, T, floats(values), z=Z).coef_
    for given in (series, list(values)):
        assert_allclose(TwoStageLS().fit(None, T, given, z=Z).coef_, y)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", REFUSED)
def test_refused_by_name(kind, engine):
    if kind == "categories of numbers" and engine.startswith("polars"):
        pytest.skip("polars makes numbers of them")
    for role, argument in (("y", "y"), ("w", "sample_weight")):
        message = f"{argument} must be numeric|X must be numeric.*column {role!r}"
        given = columns(**{role: REFUSED[kind]})
        with pytest.raises((ValueError, TypeError), match=message):
            TwoStageLS(**ROLES).fit(ENGINES[engine](given), y="y", sample_weight="w")


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_arrays(kind):
    """Estimators and diagnostics say which argument, and for a frame which column."""
    values = REFUSED[kind]
    for argument in ("X", "t", "z", "y"):
        rows = {"X": None, "t": T, "y": Y, "z": Z}
        for given in (pd.DataFrame({"bad": values, "b": Y}), objects(values)):
            if kind == "categories of numbers" and isinstance(given, np.ndarray):
                continue  # its numbers are an array's
            if argument == "X" and given.ndim == 1:
                given = given[:, None]
            if argument == "y" and given.ndim == 2:
                given = given["bad"]
            message = f"{argument} must be numeric and finite.*"
            message += "'bad'" if isinstance(given, pd.DataFrame) else ""
            for ask in (TwoStageLS().fit, first_stage):
                with pytest.raises((ValueError, TypeError), match=message):
                    ask(**rows | {argument: given})


def test_categories_are_the_same_by_all_ways():
    """Also those whose levels are numbers: indicators, not a number."""
    region = pd.Categorical(WHOLE)
    frame = pd.DataFrame(columns(region=region))
    moments = Moments.from_frame(frame, outcome="y", covariates="region", **ROLES)
    expected = TwoStageLS(cov_type="unadjusted").fit_moments(moments)
    est = TwoStageLS(cov_type="unadjusted", covariates="region", **ROLES).fit(frame, y="y")
    assert_allclose(est.coef_, expected.coef_, rtol=1e-9)
    assert list(est.covariance_) == ["Intercept", "t", "region[2]", "region[3]", "region[4]"]
    wide = pd.DataFrame({f"region[{i}]": 1.0 * (i == WHOLE) for i in (2, 3, 4)})
    assert_allclose(est.predict(frame), expected.predict(wide, t=T))


@unchecked
@pytest.mark.parametrize("argument", ["X", "t", "y", "z", "sample_weight", "clusters"])
def test_masked_values_are_not_used(argument):
    rows = {"X": Y[:, None] + 1.0, "t": T, "y": Y, "z": Z, "sample_weight": np.ones(N)}
    rows |= {"clusters": np.arange(N) // 4}
    for ask in (TwoStageLS().fit, first_stage):
        masked = np.ma.masked_array(rows[argument], mask=False)
        plain = ask(**rows | {"X": None})
        masked = masked if argument != "X" else None
        same = ask(**rows | {"X": None} | {argument: masked})
        effect = "effect_" if ask is not first_stage else "f"
        assert_allclose(getattr(same, effect), getattr(plain, effect))
        masked = np.ma.masked_array(rows[argument], mask=False)
        masked[3] = np.ma.masked
        with pytest.raises(ValueError, match=f"{argument} must have no masked values; got 1"):
            ask(**rows | {argument: masked})


def test_sparse_columns():
    x = sparse.csr_matrix(np.eye(N)[:, :3])
    with pytest.raises(TypeError, match=r"X must be dense; got .*csr.* sparse_threshold=0"):
        TwoStageLS().fit(x, T, Y, z=Z)


def test_missing_numbers_name_the_column():
    frame = pd.DataFrame({"age": Y, "income": pd.array(WHOLE, dtype="Int64")})
    frame.loc[3, "income"] = pd.NA
    with pytest.raises(ValueError, match=r"X must be .* column 'income' contains NaN in 1 rows"):
        TwoStageLS().fit(frame, T, Y, z=Z)
    treated = pd.Series(T > 0, dtype="boolean")
    treated[:2] = pd.NA
    with pytest.raises(ValueError, match="t must be numeric and finite: it contains NaN in 2 rows"):
        TwoStageLS().fit(None, treated, Y, z=Z)


def test_no_columns():
    """As in a loop over sets of covariates that begins with none."""
    frame = pd.DataFrame({"age": Y})
    for none in (frame[[]], np.empty((N, 0)), pl.from_pandas(frame).select([])):
        if len(none) == N:
            assert TwoStageLS().fit(none, T, Y, z=Z).effect_ == pytest.approx(
                TwoStageLS().fit(None, T, Y, z=Z).effect_
            )


def test_columns_with_one_name():
    twice = pd.DataFrame(np.column_stack([T, Z]), columns=["lag", "lag"])
    for argument in ("X", "t", "z"):
        rows = {"X": None, "t": T, "y": Y, "z": Z} | {argument: twice}
        for ask in (TwoStageLS().fit, first_stage):
            with pytest.raises(ValueError, match=f"{argument} must have columns with different na"):
                ask(**rows)


@pytest.mark.parametrize("role", ["covariate", "treatment", "instrument", "outcome"])
def test_a_column_called_intercept(role):
    """It is told from the intercept, as columns of one name are from each other."""

    def name(own, values):
        return pd.Series(values, name="Intercept" if role == own else own)

    x = name("covariate", WHOLE).to_frame()
    t, z, y = name("treatment", T), name("instrument", Z), name("outcome", Y)
    est = TwoStageLS().fit(x, t, y, z=z)
    letter = {"covariate": "X", "treatment": "t", "instrument": "z", "outcome": "y"}[role]
    assert f"{letter}:Intercept" in est.moments_.columns.names
    assert est.covariance_.index.is_unique
    assert "Intercept" in str(est.summary())

"""Every way of calling fit, predict and score with t and z: the same result, or an error."""

from __future__ import annotations

import inspect
import typing

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from experiments import QUICK
from sklearn.base import clone

from skbayesiv import BayesianIV, TwoStageLS

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


ESTIMATORS = {"two-stage": TwoStageLS(), "bayes": BayesianIV(**QUICK)}
each = pytest.mark.parametrize("est", ESTIMATORS.values(), ids=ESTIMATORS.keys())


@quiet
@each
def test_call_forms_agree(est, rows, table):
    X, t, y, z = rows
    frame, outcome = table
    reference = clone(est).fit(X, t, y, z=z).coef_
    in_polars, in_arrow = pl.from_pandas(frame), pa.Table.from_pandas(frame)
    columns = clone(est).set_params(treatment="push", instruments="coin")
    at = clone(est).set_params(treatment=2, instruments=[3])
    arrays = {"treatment": np.array([2]), "instruments": np.array(["coin"])}
    indices = {"treatment": frame.columns[2:3], "instruments": pd.Index(["coin"])}
    fitted = [
        clone(est).fit(X, y, t=t, z=z),
        clone(est).fit(X=X, t=t, y=y, z=z),
        clone(est).fit(X, t, y=y, z=z),
        clone(est).fit(X, t[:, None], y, z=z[:, None]),
        clone(est).fit(X.tolist(), t.tolist(), y.tolist(), z=z.tolist()),
        clone(est).fit(frame[["a", "b"]], frame["push"], outcome, z=frame[["coin"]]),
        *(
            clone(est).fit(table.select(["a", "b"]), t, pl.Series("y", y), z=z)
            for table in (in_polars, in_arrow)
            for t, z in (
                (table["push"], table["coin"]),
                (table.select(["push"]), table.select(["coin"])),
            )
        ),
        columns.fit(frame, outcome),
        clone(columns).fit(in_polars, pl.Series(y)),
        clone(columns).fit(in_arrow, pa.array(y)),
        at.fit(frame.to_numpy(), y),
        clone(at).fit(in_polars, y),
        clone(at).fit(in_arrow, y),
        clone(columns).set_params(**arrays).fit(frame, outcome),
        clone(columns).set_params(**indices).fit(frame, outcome),
        clone(at).set_params(treatment=-2, instruments=-1).fit(frame, outcome),
    ]
    for other in fitted:
        assert np.array_equal(other.coef_, reference)
    several = clone(est).set_params(treatment="push", instruments=np.array(["coin", "a"]))
    assert several.fit(frame, outcome).moments_.columns.instruments == ("coin", "a")


@quiet
@each
def test_without_covariates(est, rows):
    _, t, y, z = rows
    one = clone(est).fit(None, t, y, z=z)
    two = clone(est).fit(t=t, y=y, z=z)
    assert one.n_features_in_ == 0
    assert np.array_equal(one.coef_, two.coef_)
    assert one.predict(None, t).shape == y.shape
    assert one.predict(None, z=z).shape == y.shape
    empty = np.empty((len(y), 0))
    three = clone(est).fit(empty, t, y, z=z)
    assert three.n_features_in_ == 0
    assert np.array_equal(three.coef_, one.coef_)
    for x in (None, empty):
        for fitted in (one, three):
            assert np.array_equal(fitted.predict(x, t), one.predict(None, t))
            assert fitted.score(x, t, y, z=z) == one.score(None, t, y, z=z)
    assert np.array_equal(three.predict_interval(empty, t), one.predict_interval(None, t))
    with pytest.raises(ValueError, match="X has 1 features"):
        three.predict(y[:, None], t)


@each
def test_ambiguous_calls_raise(est, rows, table):
    X, t, y, z = rows
    frame, outcome = table
    with pytest.raises(TypeError, match=r"fit\(X, t, y, z=z\); got 4"):
        est.fit(X, t, y, z)
    with pytest.raises(TypeError, match="twice"):
        est.fit(X, t, y, t=t, z=z)
    with pytest.raises(ValueError, match="t without z"):
        est.fit(X, t, y)
    with pytest.raises(ValueError, match="z without t"):
        est.fit(X, y, z=z)
    columns = clone(est).set_params(treatment="push", instruments="coin")
    with pytest.raises(ValueError, match="one place"):
        columns.fit(frame, outcome, t=t)
    with pytest.raises(ValueError, match="both name"):
        clone(est).set_params(treatment="push", instruments=["push"]).fit(frame, outcome)
    with pytest.raises(ValueError, match="each column once"):
        clone(est).set_params(treatment="push", instruments=["coin", "coin"]).fit(frame, outcome)
    with pytest.raises(ValueError, match="instruments must name columns of X"):
        clone(est).set_params(treatment="push", instruments="dice").fit(frame, outcome)


CALLS = [  # arguments by position, arguments by name, whether it works
    ("X y", "", True),
    ("X y", "t z", True),
    ("X t y", "z", True),
    ("X t", "y z", True),
    ("X", "t y z", True),
    ("", "t y z sample_weight", True),
    ("X t y", "", False),
    ("X t y z", "", False),
    ("X t y", "t z", False),
    ("X t y", "z weight", False),
]


@pytest.mark.parametrize("method", ["fit", "partial_fit", "score"])
@pytest.mark.parametrize(("positional", "named", "works"), CALLS)
def test_type_checkers_know_the_call_forms(method, positional, named, works):
    """Every call that works fits an overload, and no call that raises does."""

    def fits(form):
        try:
            inspect.signature(form).bind(
                "self", *positional.split(), **dict.fromkeys(named.split())
            )
        except TypeError:
            return False
        return True

    assert any(map(fits, typing.get_overloads(getattr(BayesianIV, method)))) == works


@quiet
@each
def test_signature_is_scikit_learns(est):
    for method in (est.partial_fit, type(est).partial_fit):
        assert "t" in inspect.signature(method).parameters
    names = list(inspect.signature(est.fit).parameters)
    assert names[:4] == ["X", "y", "t", "z"]
    assert list(inspect.signature(est.score).parameters) == ["X", "y", "t", "z", "sample_weight"]

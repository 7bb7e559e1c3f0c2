"""Bad input: every error names the argument, what is allowed and what arrived.

Validation is shared, so each case runs on a classical and on a Bayesian estimator, which must
raise before it samples. Whatever fails leaves the estimator as it was.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from experiments import QUICK
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skbayesiv import BayesianIV, TwoStageLS

N = 30
ESTIMATORS = [
    TwoStageLS(),
    BayesianIV(**QUICK),
]


def simulate():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(N, 2)), rng.normal(size=(N, 2))
    t = z.sum(axis=1) + rng.normal(size=N)
    y = 2.0 * t + rng.normal(size=N)
    return {"X": x, "y": y, "t": t, "z": z, "sample_weight": np.ones(N)}


DATA = simulate()
X, Y, T, Z, W = DATA.values()
FRAME = pd.DataFrame({"age": X[:, 0], "income": X[:, 1], "taken": T, "offered": Z[:, 0]})
NOTHING = {"X": FRAME, "t": None, "z": None}
NAMED = {"treatment": "taken", "instruments": "offered"}


def with_value(argument, value):
    """The data with one entry of one argument replaced."""
    array = DATA[argument].copy()
    array.flat[3] = value
    return {argument: array}


def words(argument):
    """The data with text in place of one argument."""
    column = np.array(["a"] * N)
    return {argument: column[:, None] if argument == "X" else column}


NUMERIC = "{} must be numeric and finite"
CASES = {
    **{
        f"{argument} {value}": ({}, with_value(argument, value), [NUMERIC.format(argument), kind])
        for argument in DATA
        for value, kind in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity"))
    },
    **{
        f"{argument} words": ({}, words(argument), [NUMERIC.format(argument), "'a'"])
        for argument in DATA
    },
    **{
        f"{argument} short": (
            {},
            {argument: DATA[argument][:-1]},
            [f"{argument} has 29 rows where 30 were expected"],
        )
        for argument in ("y", "t", "z")
    },
    **{
        f"{argument} empty": (
            {},
            {argument: DATA[argument][:0]},
            [argument, "0 sample(s)", "a minimum of 1 is required"],
        )
        for argument in DATA
    },
    "X short": ({}, {"X": X[:-1]}, ["y has 30 rows where 29 were expected"]),
    "X a Series": ({}, {"X": FRAME["age"]}, ["X must be", "Expected 2D array, got 1D array"]),
    "X 1-D": ({}, {"X": X[:, 0]}, ["X must be", "Expected 2D array, got 1D array"]),
    "X without columns": (
        {},
        {"X": X[:, :0], "t": None, "z": None},
        ["X must be", "0 feature(s)"],
    ),
    "t 3-D": ({}, {"t": T.reshape(-1, 1, 1)}, ["t must have one or two", "(30, 1, 1)"]),
    "y 2-D": ({}, {"y": np.column_stack([Y, Y])}, ["y should be a 1d array", "(30, 2)"]),
    "y None": ({}, {"y": None}, ["requires y to be passed, but the target y is None"]),
    "z missing": ({}, {"z": None}, ["z must be given with t", "got t without z"]),
    "t missing": ({}, {"t": None}, ["t must be given with z", "got z without t"]),
    "z constant": ({}, {"z": np.ones(N)}, ["z must vary", "'z' is constant at 1."]),
    "t constant": ({}, {"t": np.zeros(N)}, ["t must vary", "'t' is constant at 0."]),
    "X constant": ({}, {"X": np.ones((N, 1))}, ["X must vary", "'x' is constant at 1."]),
    "X collinear": (
        {},
        {"X": np.column_stack([X, X.sum(axis=1)])},
        ["X must not be perfectly collinear", "'x2'", "the constant and ['x0', 'x1']"],
    ),
    "z collinear": (
        {},
        {"z": np.column_stack([Z, Z[:, 0] + X[:, 0]])},
        ["z must not be perfectly collinear", "'z2'", "['x0', 'x1', 'z0', 'z1']"],
    ),
    "t collinear": (
        {},
        {"t": np.column_stack([T, 1.0 - T])},
        ["t must not be perfectly collinear", "'t1'", "['x0', 'x1', 't0']"],
    ),
    "z a covariate": ({}, {"z": X[:, 0]}, ["z must not be perfectly collinear", "'z'"]),
    "dummies": (
        {"fit_intercept": False},
        {"X": np.column_stack([X[:, 0] > 0, X[:, 0] <= 0, np.ones(N)])},
        ["X must not be perfectly collinear", "'x2' is a linear combination of ['x0', 'x1']"],
    ),
    "few instruments": (
        {},
        {"t": np.column_stack([T, T**2, T**3])},
        ["z must have at least as many columns as t (3)", "got 2: ['z0', 'z1']"],
    ),
    "few rows": (
        {},
        {name: array[:4] for name, array in DATA.items()},
        ["at least as many rows as the first stage has columns (5)", "got n_samples = 4"],
    ),
    "few weighted rows": (
        {},
        {"sample_weight": np.r_[np.ones(4), np.zeros(N - 4)]},
        ["at least as many rows", "got n_samples = 4"],
    ),
    "one row": ({}, {name: array[:1] for name, array in DATA.items()}, ["1 sample"]),
    "negative weight": (
        {},
        with_value("sample_weight", -0.5),
        ["sample_weight must not be negative", "got a minimum of -0.5"],
    ),
    "no weight": ({}, {"sample_weight": 0.0 * W}, ["sample_weight must", "got only zeros"]),
    "weight short": (
        {},
        {"sample_weight": W[:-1]},
        ["sample_weight.shape == (29,), expected (30,)"],
    ),
    "weight 2-D": (
        {},
        {"sample_weight": np.ones((N, 2))},
        ["sample_weight must be 1D array or scalar", "got 2 dimensions"],
    ),
    "unknown treatment": (
        NAMED | {"treatment": "token"},
        NOTHING,
        ["treatment must name columns of X", "['age', 'income', 'taken', 'offered']", "'token'."],
    ),
    "name in an array": (
        NAMED,
        NOTHING | {"X": FRAME.to_numpy()},
        ["['x0', 'x1', 'x2', 'x3']; got 'taken'", '.set_output(transform="pandas")'],
    ),
    "no treatment named": (NAMED | {"treatment": []}, NOTHING, ["treatment must name at", "[]"]),
    "no instrument named": (
        NAMED | {"instruments": np.array([], dtype=int)},
        NOTHING,
        ["instruments must name at least one column of X", "array([]"],
    ),
    "unknown instrument": (
        NAMED | {"instruments": ["offered", 7]},
        NOTHING,
        ["instruments must name columns of X, by name or position", "got 7"],
    ),
    "instrument twice": (
        NAMED | {"instruments": ["offered", "offered"]},
        NOTHING,
        ["instruments must name each column once", "got ['offered', 'offered']"],
    ),
    "one column in two roles": (
        NAMED | {"instruments": "taken"},
        NOTHING,
        ["treatment and instruments must name different columns", "['taken']"],
    ),
    "columns with one name": (
        NAMED,
        NOTHING | {"X": FRAME.rename(columns={"age": "taken"})},
        ["X must have columns with different names", "['taken'] more than once"],
    ),
    "treatment True": (NAMED | {"treatment": True}, NOTHING, ["treatment must name", "got True"]),
    "t in two places": (
        NAMED,
        NOTHING | {"t": T},
        ["t must come from one place", "argument t", "treatment=['taken']"],
    ),
    "z in two places": (
        NAMED,
        NOTHING | {"z": Z},
        ["z must come from one place", "argument z", "instruments=['offered']"],
    ),
    **{
        f"{argument} and {list(arguments)}": (
            {argument: NAMED[argument]},
            NOTHING | arguments,
            ["treatment and instruments must both name columns", f"got {other}=None"],
        )
        for argument, other, arguments in (
            ("treatment", "instruments", {}),
            ("treatment", "instruments", {"z": Z}),
            ("instruments", "treatment", {"t": T}),
        )
    },
    "t a name": ({}, {"t": "taken"}, ["t must be numbers", "'taken'", "parameter treatment"]),
    "z a name": ({}, {"z": "offered"}, ["z must be numbers", "'offered'", "parameter instruments"]),
    "columns of no X": (NAMED, NOTHING | {"X": None}, ["X must hold the columns", "X=None"]),
}


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("case", CASES)
def test_message(estimator, case):
    params, arguments, pieces = CASES[case]
    est = clone(estimator).set_params(**params)
    before = vars(est).copy()
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the pieces are matched below
        est.fit(**DATA | arguments)
    for piece in pieces:
        assert piece in str(error.value)
    assert vars(est) == before
    with pytest.raises(NotFittedError):
        est.predict(X, T)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_call(estimator):
    with pytest.raises(TypeError, match=r"fit\(X, t, y, z=z\); got 4 positional arguments"):
        estimator.fit(X, T, Y, Z)
    with pytest.raises(TypeError, match=r"got \['t'\] twice"):
        estimator.fit(X, T, Y, t=T, z=Z)
    with pytest.raises(TypeError, match=r"got \['t'\] twice"):
        estimator.fit(X, T, y=Y, t=T, z=Z)
    with pytest.raises(TypeError, match=r"got \['X', 'y'\] twice"):
        estimator.fit(X, T, Y, X=X, y=Y, z=Z)


@pytest.fixture(scope="module", params=ESTIMATORS, ids=lambda e: type(e).__name__)
def fitted(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few draws do not converge
        return clone(request.param).fit(**DATA)


@pytest.mark.parametrize(
    "case", ["X nan", "y short", "t missing", "few instruments", "z collinear", "no weight"]
)
def test_failed_refit_changes_nothing(fitted, case):
    before = vars(fitted).copy()
    _, arguments, _ = CASES[case]
    with pytest.raises(ValueError, match=r"must|expected"):
        fitted.fit(**DATA | arguments)
    after = vars(fitted)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)


PREDICT = {
    "nothing": ({}, "predict needs t .* or z"),
    "t short": ({"t": T[:-1]}, "t has 29 rows where 30 were expected"),
    "t wide": ({"t": Z}, "t must have 1 columns, as in fit; got 2"),
    "z narrow": ({"z": T}, "z must have 2 columns, as in fit; got 1"),
    "t nan": ({"t": with_value("t", np.nan)["t"]}, "t must be numeric and finite.*NaN"),
    "X wide": ({"X": np.column_stack([X, Y]), "t": T}, "X has 3 features"),
    "X None": ({"X": None, "t": T}, "X must have 2 features, as in fit; got X=None"),
}


@pytest.mark.parametrize("case", PREDICT)
def test_predict(fitted, case):
    arguments, message = PREDICT[case]
    with pytest.raises(ValueError, match=message):
        fitted.predict(**{"X": X} | arguments)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, "a", None])
def test_level(fitted, level):
    message = f"level must lie strictly between 0 and 1; got {level!r}"
    with pytest.raises(ValueError, match=message):
        fitted.effect_interval(level=level)
    with pytest.raises(ValueError, match=message):
        fitted.predict_interval(X, T, level=level)


@pytest.mark.parametrize("method", ["effect", "effect_interval"])
def test_steps_of_the_treatment(fitted, method):
    ask = getattr(fitted, method)
    assert np.array_equal(ask([0], [1]), ask(0, 1))
    with pytest.raises(ValueError, match=r"t0 must be .* each treatment \(1\); got \[0, 1\]"):
        ask([0, 1], [1, 2])
    with pytest.raises(ValueError, match=r"t1 must be .* each treatment \(1\); got \[1, 2\]"):
        ask(0, [1, 2])


def test_score_needs_instruments(fitted):
    with pytest.raises(ValueError, match=r"score needs z.*enable_metadata_routing.*treatment="):
        fitted.score(X, Y, t=T)


CLUSTERS = {
    "short": ({}, np.arange(N - 1), "clusters has 29 rows where 30 were expected"),
    "2-D": ({}, np.ones((N, 2)), r"clusters must have one dimension; got shape \(30, 2\)"),
    "missing": ({}, np.r_[np.nan, np.arange(N - 1)], "clusters must label every row; got 1"),
    "none": ({"cov_type": "clustered"}, None, "clusters must be passed.*got clusters=None"),
    "one": ({}, np.ones(N), "clusters must form at least 2 groups .*; got 1"),
    "few": ({"method": "gmm"}, np.arange(N) % 3, "clusters must form at least 6 groups.*; got 3"),
}


@pytest.mark.parametrize("case", CLUSTERS)
def test_clusters(case):
    params, clusters, message = CLUSTERS[case]
    with pytest.raises(ValueError, match=message):
        TwoStageLS(**params).fit(**DATA, clusters=clusters)


def test_debiased_needs_degrees_of_freedom():
    arguments = {name: array[:4] for name, array in DATA.items()} | {"z": Z[:4, 0]}
    message = r"debiased=True needs more observations than coefficients \(4\); got 4"
    with pytest.raises(ValueError, match=message):
        TwoStageLS(debiased=True).fit(**arguments)


def test_liml_needs_rows():
    with pytest.raises(ValueError, match=r"method='liml' needs at least 7 rows.*; got 6"):
        TwoStageLS(method="liml").fit(**{name: array[:6] for name, array in DATA.items()})


def test_exact_fit_has_no_liml():
    with pytest.raises(ValueError, match="method='liml' cannot be computed when X and t fit y"):
        TwoStageLS(method="liml").fit(X, T, 2.0 * T, z=Z)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "ols"),
        ("cov_type", "kernel"),
        ("debiased", "yes"),
        ("fit_intercept", 2),
        ("treatment", 1.5),
    ],
)
def test_parameters(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of TwoStageLS.* Got {value!r}"):
        TwoStageLS(**{name: value}).fit(**DATA)

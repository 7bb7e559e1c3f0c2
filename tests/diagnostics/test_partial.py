"""The shared design: partialling out, weights, clusters, checks of arguments."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from experiments import unchecked

from skbayesiv import TwoStageLS, diagnostics
from skbayesiv._data.identified import COLLINEAR
from skbayesiv.diagnostics import partial_out

ROBUST = {
    "anderson_rubin": {"effect": 0.7},
    "first_stage": {},
    "hansen_j": {},
    "kleibergen_paap": {},
    "wooldridge_overid": {},
    "wu_hausman": {},
}
ONE_TREATMENT = {
    "anderson_rubin_confidence_set": {},
    "conditional_likelihood_ratio": {"effect": 0.7},
    "conditional_likelihood_ratio_confidence_set": {},
    "effective_f": {},
}
HOMOSKEDASTIC = {
    "anderson_rubin": {"robust": False, "effect": 0.7},
    "cragg_donald": {},
    "sargan": {},
    "wu_hausman": {"robust": False},
}


def flatten(result):
    values = [v for v in dataclasses.astuple(result) if v is not None and np.size(v)]
    numbers = [np.ravel(v).astype(float) for v in values if np.asarray(v).dtype.kind != "U"]
    return np.concatenate(numbers)


def check_weights_equal_repeated_rows(name, data, options):
    function = getattr(diagnostics, name)
    weights = data.options["sample_weight"].copy()
    weights[:5] = 0
    repeated = np.repeat(np.arange(len(data.y)), weights)
    weighted = function(*data.args, sample_weight=weights, **options)
    if "clusters" in options:
        options = {**options, "clusters": options["clusters"][repeated]}
    expanded = function(*(values[repeated] for values in data.args), **options)
    np.testing.assert_allclose(flatten(weighted), flatten(expanded), rtol=1e-8)
    unweighted = function(*data.args, **{k: v for k, v in options.items() if k != "clusters"})
    assert not np.allclose(flatten(unweighted)[:1], flatten(expanded)[:1], rtol=1e-4)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("name", sorted(ROBUST))
def test_weight_two_is_a_row_given_twice_robust(simulate, name, k, clustered):
    data = simulate(1, k=k, q=4)
    options = dict(ROBUST[name])
    if clustered:
        options["clusters"] = data.options["clusters"]
    check_weights_equal_repeated_rows(name, data, options)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("name", sorted(ONE_TREATMENT))
def test_weight_two_is_a_row_given_twice_one_treatment(simulate, name, clustered):
    data = simulate(2, q=3)
    options = {"clusters": data.options["clusters"]} if clustered else {}
    options |= ONE_TREATMENT[name]
    check_weights_equal_repeated_rows(name, data, {**options, "debiased": True})


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("name", sorted(HOMOSKEDASTIC))
def test_weight_two_is_a_row_given_twice_homoskedastic(simulate, name, k):
    check_weights_equal_repeated_rows(name, simulate(3, k=k, q=4), dict(HOMOSKEDASTIC[name]))


def test_weight_two_is_a_row_given_twice_tf(simulate):
    data = simulate(4, q=1, strength=0.3)
    repeated = np.repeat(np.arange(len(data.y)), data.options["sample_weight"])
    weighted = diagnostics.tf_interval(*data.args, sample_weight=data.options["sample_weight"])
    expanded = diagnostics.tf_interval(*(values[repeated] for values in data.args))
    np.testing.assert_allclose(
        [*weighted.interval.intervals[0], weighted.f], [*expanded.interval.intervals[0], expanded.f]
    )


def test_residuals_are_those_of_a_weighted_regression(simulate):
    data = simulate(5, k=2, q=3)
    weights = data.options["sample_weight"]
    design = partial_out(*data.args, sample_weight=weights)
    controls = np.column_stack([np.ones(len(data.y)), data.X])
    gram = controls.T @ (weights[:, None] * controls)
    for residual, values in ((design.y, data.y), (design.t, data.t), (design.z, data.z)):
        coef = np.linalg.solve(gram, controls.T @ (values.T * weights).T)
        np.testing.assert_allclose(residual, values - controls @ coef, atol=1e-10)
    assert design.n == weights.sum()
    assert design.n_controls == 3
    assert design.dof == weights.sum() - 3 - 3


def test_no_intercept(simulate):
    data = simulate(6)
    with_constant = np.column_stack([np.ones(len(data.y)), data.X])
    explicit = partial_out(data.y, data.t, data.z, with_constant, fit_intercept=False)
    implicit = partial_out(*data.args)
    np.testing.assert_allclose(explicit.z, implicit.z, atol=1e-10)
    assert explicit.n_controls == implicit.n_controls
    raw = partial_out(data.y, data.t, data.z, fit_intercept=False)
    np.testing.assert_array_equal(raw.y, data.y)
    assert raw.n_controls == 0


def test_redundant_covariates_count_once(simulate):
    data = simulate(7)
    redundant = np.column_stack([data.X, data.X.sum(1), np.full(len(data.y), 5.0)])
    design = partial_out(data.y, data.t, data.z, redundant)
    assert design.n_controls == partial_out(*data.args).n_controls
    np.testing.assert_allclose(design.t, partial_out(*data.args).t, atol=1e-9)


def test_large_means_cost_no_digits(simulate):
    y, t, z, x = (np.round(values) for values in simulate(8).args)
    shifted = diagnostics.first_stage(y, t + 1e12, z + 1e12, x - 1e12)
    np.testing.assert_allclose(shifted.f, diagnostics.first_stage(y, t, z, x).f, rtol=1e-9)


def test_data_frames_and_labels(simulate):
    data = simulate(9)
    labels = np.array([f"store {i}" for i in data.options["clusters"]])
    frame = diagnostics.first_stage(
        pd.Series(data.y),
        pd.DataFrame(data.t),
        pd.DataFrame(data.z),
        pd.DataFrame(data.X),
        clusters=pd.Series(labels),
    )
    arrays = diagnostics.first_stage(*data.args, clusters=data.options["clusters"])
    np.testing.assert_allclose(frame.f, arrays.f, rtol=1e-12)
    assert (frame.treatments, frame.instruments) == (("0",), ("0", "1"))
    assert (arrays.treatments, arrays.instruments) == (("t",), ("z0", "z1"))


@pytest.mark.parametrize("name", [n for n in diagnostics.__all__ if n[0].isupper()])
def test_results_are_frozen(name):
    assert getattr(diagnostics, name).__dataclass_params__.frozen


NAN = np.array([1.0, np.nan, 3.0, 4.0, 5.0, 6.0])
ROW = np.array([1.0, 2.0, 4.0, 3.0, 5.0, 9.0])
BIT = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
VALID = {"y": ROW, "t": np.array([0.0, 1.0, 1.0, 0.0, 2.0, 1.0]), "z": BIT}
LENGTHS = "inconsistent numbers of samples"

# What estimators refuse too, in the same words.
REFUSED = {
    "missing y": ({"y": NAN}, "y must be numeric and finite: it contains NaN"),
    "missing t": ({"t": NAN}, "t must be numeric and finite: it contains NaN"),
    "infinite z": ({"z": np.where(BIT, np.inf, ROW)}, "z must be .* it contains infinity"),
    "missing X": ({"X": NAN[:, None]}, "X must be numeric and finite: it contains NaN"),
    "words": ({"t": list("abcdef")}, "t must be numeric and finite; got strings such as 'a'"),
    "no rows": ({"y": []}, "y must be numeric and finite: Found array with 0 sample"),
    "dimensions": ({"z": np.ones((6, 2, 2))}, r"z must have one or two .* got shape \(6, 2, 2\)"),
    "length of t": ({"t": BIT[:5]}, f"{LENGTHS}: t has 5 rows where 6 were expected"),
    "length of weights": ({"sample_weight": np.ones(5)}, r"sample_weight.*\(5,\), expected \(6,\)"),
    "table of weights": ({"sample_weight": np.ones((6, 1))}, "sample_weight must .* 2 dimensions"),
    "negative weight": ({"sample_weight": [1, 1, 1, 1, 1, -1]}, "must not be negative; got .* -1"),
    "no weight": ({"sample_weight": np.zeros(6)}, "sample_weight must .* got only zeros"),
    "table of clusters": ({"clusters": np.ones((6, 1))}, r"clusters must .* got shape \(6, 1\)"),
    "length of clusters": ({"clusters": [1, 2]}, f"{LENGTHS}: clusters has 2 rows where 6"),
    "missing cluster": ({"clusters": ["a", None, *"bcde"]}, "label every row; got 1 missing"),
    "fewer z": ({"t": np.c_[ROW, BIT]}, r"z must have at least .* as t \(2\); got 1: \['z'\]"),
    "constant t": ({"t": np.ones(6)}, "t must vary: column 't' is constant at 1"),
    "constant z": ({"z": np.c_[BIT, np.full(6, 7.0)]}, "z must vary: column 'z1' is .* at 7"),
    "z explained by X": (
        {"X": ROW[:, None], "z": 3 - 2 * ROW},
        r"z must not be perfectly collinear: column 'z' is .* the constant and \['x'\]",
    ),
    "z explained by z": ({"z": np.c_[BIT, 1 - BIT]}, r"column 'z1' is .* constant and \['z0'\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_estimators_refuse_the_same_in_the_same_words(case):
    arguments, message = REFUSED[case]
    given = VALID | arguments
    with pytest.raises(ValueError, match=message) as error:
        partial_out(**given)
    est = TwoStageLS(cov_type="clustered" if "clusters" in given else "robust")
    rows = [given.pop(name, None) for name in ("X", "t", "y")]
    with pytest.raises(ValueError, match=message) as refused:
        est.fit(*rows, **given)
    assert str(error.value) == str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"t": None}, "t and z must be given with y, got None"),
        ({"y": np.c_[ROW, BIT]}, r"y must be one outcome .* got shape \(6, 2\)"),
        ({"y": "spend"}, r"y must be numbers, one for each row; got 'spend'\.$"),
        ({"t": "push"}, "t must be numbers.* got 'push'. To name .* the parameter treatment"),
        ({"X": BIT[:5]}, f"{LENGTHS}: X has 5 rows where 6 were expected"),
        ({"X": np.empty((6, 0))}, "X must be .* 0 feature"),
        ({"sample_weight": np.ones(6) / 6}, "y must have more rows .* got 1 for 2"),
    ],
)
@pytest.mark.filterwarnings("ignore:sample_weight has values that are not whole numbers")
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        partial_out(**VALID | arguments)


@unchecked
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", ["t", "z"])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_cut_off_is_that_of_the_estimators(simulate, name, fit_intercept, factor):
    """A column of t or z is explained when X leaves less than 1e-8 of its sum of squares."""
    data = simulate(13, q=1)
    arguments = dict(zip("ytzX", data.args, strict=True)) | {"t": data.t[:, 0], "z": data.z[:, 0]}
    own = getattr(partial_out(**arguments, fit_intercept=fit_intercept), name)[:, 0]
    sum_of_x = data.X.sum(axis=1) - fit_intercept * data.X.sum(axis=1).mean()
    share = np.sqrt(factor * COLLINEAR * (sum_of_x @ sum_of_x) / (own @ own))
    arguments[name] = data.X.sum(axis=1) + share * own
    est, rows = TwoStageLS(fit_intercept=fit_intercept), [arguments[role] for role in "Xty"]
    if factor > 1.0:
        partial_out(**arguments, fit_intercept=fit_intercept)
        est.fit(*rows, z=arguments["z"])
        return
    message = f"{name} must not be perfectly collinear: column '{name}'"
    with pytest.raises(ValueError, match=message):
        partial_out(**arguments, fit_intercept=fit_intercept)
    with pytest.raises(ValueError, match=message):
        est.fit(*rows, z=arguments["z"])


@unchecked
def test_rows_may_lie_far_from_zero(simulate):
    """Rows, or their moments alone."""
    data = simulate(14, q=2)
    far = TwoStageLS(cov_type="unadjusted").fit(data.X, data.t + 1e5, data.y, z=data.z + 1e5)
    alone = TwoStageLS(cov_type="unadjusted").fit_moments(far.moments_)
    expected = diagnostics.first_stage(*data.args).f_classical
    np.testing.assert_allclose(diagnostics.first_stage(far).f_classical, expected, rtol=1e-6)
    found = diagnostics.first_stage(alone, robust=False).f_classical
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_too_few_clusters(simulate):
    data = simulate(11, q=3)
    clusters = np.arange(len(data.y)) % 3
    for name in ("first_stage", "anderson_rubin"):
        with pytest.raises(ValueError, match=r"clusters must number at least 4 for 3 instr.*got 3"):
            getattr(diagnostics, name)(*data.args, clusters=clusters)
    with pytest.raises(ValueError, match="clusters must be None when robust=False"):
        diagnostics.anderson_rubin(*data.args, clusters=clusters, robust=False)
    with pytest.raises(ValueError, match="clusters must be None when robust=False"):
        diagnostics.wu_hausman(*data.args, clusters=clusters, robust=False)


def test_arguments_that_would_be_ignored(simulate):
    """What a partialled design has already cannot be given again."""
    data = simulate(12)
    design = partial_out(*data.args)
    assert partial_out(design) is design
    for name, value in {"X": data.X, "t": data.t, **data.options, "fit_intercept": False}.items():
        with pytest.raises(ValueError, match=rf"\['{name}'\] must not be given with a partialled"):
            diagnostics.effective_f(design, **{name: value})

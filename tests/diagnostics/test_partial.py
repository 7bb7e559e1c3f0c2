"""The shared design: partialling out, weights, clusters, checks of arguments."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from skbayesiv import diagnostics
from skbayesiv.diagnostics import partial_out

ROBUST = {
    "anderson_rubin": {"effect": 0.7},
    "first_stage": {},
    "hansen_j": {},
    "kleibergen_paap": {},
    "wooldridge_overid": {},
    "wu_hausman": {},
}
ONE_TREATMENT = {"anderson_rubin_confidence_set": {}, "effective_f": {}}
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


def test_results_are_frozen(simulate):
    data = simulate(10)
    for name in (*ROBUST, *ONE_TREATMENT, "sargan", "cragg_donald"):
        result = getattr(diagnostics, name)(*data.args)
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.level = 0.5


NAN = np.array([1.0, np.nan, 3.0, 4.0, 5.0, 6.0])
ROW = np.array([1.0, 2.0, 4.0, 3.0, 5.0, 9.0])
BIT = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": NAN}, r"y must be finite, got 1 missing or infinite value\(s\)"),
        ({"t": NAN}, "t must be finite, got 1"),
        ({"z": NAN}, "z must be finite, got 1"),
        ({"X": NAN}, "X must be finite, got 1"),
        ({"y": np.column_stack([ROW, BIT])}, r"y must be one outcome .* got shape \(6, 2\)"),
        ({"y": []}, "y must be a non-empty array"),
        ({"z": np.ones((6, 2, 2))}, r"z must be a non-empty array of 1 or 2 dimensions, got shape"),
        ({"t": BIT[:5]}, r"t must have as many rows as y \(6\), got 5"),
        ({"X": BIT[:5]}, r"X must have as many rows as y \(6\), got 5"),
        (
            {"t": np.column_stack([ROW, BIT])},
            r"z must have at least .* got 1 instrument\(s\) for 2",
        ),
        ({"sample_weight": np.ones(5)}, r"sample_weight must have as many rows as y \(6\), got 5"),
        ({"sample_weight": np.ones((6, 1))}, r"sample_weight must have 1 dimension, got shape"),
        ({"sample_weight": [1, 1, 1, 1, 1, -1]}, "sample_weight must be .* values from -1 to 1"),
        ({"sample_weight": np.zeros(6)}, "sample_weight must be finite, not negative and not all"),
        ({"clusters": np.ones((6, 1))}, r"clusters must have 1 dimension, got shape \(6, 1\)"),
        ({"clusters": [1, 2]}, r"clusters must have as many rows as y \(6\), got 2"),
        ({"clusters": ["a", None, "b", "a", "b", "a"]}, r"clusters must not be missing, got 1"),
        ({"t": np.ones(6)}, r"t must vary beyond the covariates.* 1 column\(s\) of rank 0"),
        ({"X": ROW, "z": 3 - 2 * ROW}, r"z must vary beyond the covariates.* of rank 0"),
        ({"z": np.column_stack([BIT, 1 - BIT])}, r"z must vary .* got 2 column\(s\) of rank 1"),
        ({"sample_weight": np.ones(6) / 6}, "y must have more rows .* got 1 for 2"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    valid = {"y": ROW, "t": np.array([0.0, 1.0, 1.0, 0.0, 2.0, 1.0]), "z": BIT}
    with pytest.raises(ValueError, match=message):
        partial_out(**{**valid, **arguments})


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

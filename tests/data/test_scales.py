"""Columns far from zero, columns in odd units and rows that outweigh all others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from experiments import QUICK
from numpy.testing import assert_allclose

from skbayesiv import BayesianIV, Moments, TwoStageLS, diagnostics, experiment_report
from skbayesiv.diagnostics import InstrumentStrength

N = 2000
RNG = np.random.default_rng(0)
X = RNG.normal(size=N)
Z = RNG.normal(size=(N, 2))
T = Z.sum(axis=1) + X + RNG.normal(size=N)
Y = 2.0 * T + X + (1.0 + np.abs(X)) * RNG.normal(size=N)
quiet = pytest.mark.filterwarnings("ignore::UserWarning")


def moved(shift):
    """All columns with another mean; their differences are those of the rows as they are."""
    far = {name: values + shift for name, values in (("x", X), ("t", T), ("y", Y), ("z", Z))}
    near = {name: values - shift for name, values in far.items()}
    return far, near


def fit(rows, **options):
    return TwoStageLS(**options).fit(rows["x"][:, None], rows["t"], rows["y"], z=rows["z"])


@pytest.mark.parametrize("method", ["2sls", "liml", "gmm"])
@pytest.mark.parametrize("shift", [1e5, 1e8, 1e10])
def test_large_means(method, shift):
    """Up to a mean of 1e10 standard deviations: estimates, errors and diagnostics."""
    far, near = (fit(rows, method=method) for rows in moved(shift))
    assert_allclose(far.coef_, near.coef_, rtol=1e-8)
    slopes = [*far.covariance_.index[1:]]
    assert_allclose(
        far.covariance_.loc[slopes, slopes], near.covariance_.loc[slopes, slopes], rtol=1e-7
    )
    for ask in (
        lambda e: diagnostics.first_stage(e).f,
        lambda e: diagnostics.effective_f(e).f,
        lambda e: diagnostics.kleibergen_paap(e).f,
        lambda e: diagnostics.wu_hausman(e).statistic,
        lambda e: diagnostics.sargan(e).statistic,
        lambda e: diagnostics.hansen_j(e).statistic,
        lambda e: diagnostics.anderson_rubin(e, effect=1.0).statistic,
        lambda e: np.array(diagnostics.anderson_rubin_confidence_set(e).intervals),
    ):
        assert_allclose(ask(far), ask(near), rtol=1e-6)


@pytest.mark.parametrize("cov_type", ["robust", "unadjusted"])
@pytest.mark.parametrize("shift", [1e5, 1e8, 1e10])
def test_large_means_of_a_query(cov_type, shift):
    roles = {"treatment": "t", "instruments": ["z0", "z1"], "covariates": "x"}
    fits = []
    for rows in moved(shift):
        frame = pl.DataFrame({"x": rows["x"], "t": rows["t"], "y": rows["y"]})
        frame = frame.with_columns(z0=rows["z"][:, 0], z1=rows["z"][:, 1]).lazy()
        fits.append(TwoStageLS(cov_type=cov_type, **roles).fit(frame, y="y"))
    far, near = fits
    assert_allclose(far.coef_, near.coef_, rtol=1e-8)
    assert_allclose(np.diag(far.covariance_)[1:], np.diag(near.covariance_)[1:], rtol=1e-7)


@quiet
@pytest.mark.parametrize("unit", [1.0, 1e12])
def test_reports_of_times(unit):
    """Milliseconds since 1970, or the number of an account, among the covariates."""
    rng = np.random.default_rng(1)
    coin = rng.integers(0, 2, N)
    taken = coin * (X > -0.5)
    y = 1.0 + 2.0 * taken + X + rng.normal(size=N)
    time = 1.7e12 + 3e10 * rng.random(N) if unit > 1.0 else 1e11 + 9e11 * rng.random(N)
    names = ["intention to treat", "complier share", "2SLS", "complier baseline"]
    tables = []
    for column in (time, time - time.mean()):
        est = BayesianIV(**QUICK).fit(pd.DataFrame({"time": column}), taken, y, z=coin)
        tables.append(experiment_report(est).table.loc[names, ["estimate", "std_err"]])
    assert_allclose(*tables, rtol=1e-6)
    assert (tables[0] > 0).to_numpy().all()


def test_powers_of_a_year():
    year = 2010.0 + RNG.integers(0, 15, N)
    raw = np.column_stack([year, year**2])
    centred = np.column_stack([year - 2017, (year - 2017) ** 2])
    assert_allclose(
        TwoStageLS().fit(raw, T, Y, z=Z).effect_,
        TwoStageLS().fit(centred, T, Y, z=Z).effect_,
        rtol=1e-7,
    )


SMALL = {"y": 1e-200, "t": 1e-160, "z": 1e-155, "X": 1e-300}


@pytest.mark.parametrize("est", [TwoStageLS(), BayesianIV()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("argument", SMALL)
def test_squares_that_underflow(argument, est):
    rows = {"X": X[:, None], "t": T, "y": Y, "z": Z}
    rows[argument] = rows[argument] * SMALL[argument]
    with pytest.raises(ValueError, match=r"squares .* Rescale the column"):
        est.fit(**rows)


@pytest.mark.parametrize("scale", [1e-130, 1e-60, 1e60, 1e130])
@pytest.mark.parametrize("method", ["2sls", "liml", "gmm"])
def test_units_of_the_outcome(method, scale):
    plain = TwoStageLS(method=method).fit(X[:, None], T, Y, z=Z)
    est = TwoStageLS(method=method).fit(X[:, None], T, Y * scale, z=Z)
    assert_allclose(est.coef_ / scale, plain.coef_, rtol=1e-9)
    assert_allclose(est.effect_interval() / scale, plain.effect_interval(), rtol=1e-9)


def test_units_in_which_a_variance_is_no_number():
    with pytest.raises(
        ValueError, match=r"X, t and y must have units .* \['t'\] are too .* Rescale"
    ):
        TwoStageLS().fit(None, T * 1e130, Y * 1e-130, z=Z)


def test_a_row_that_outweighs_all_others():
    """Sums are taken about the mean of all, not of the first rows."""
    weight = np.ones(N)
    weight[N // 2] = 1e9
    frame = pd.DataFrame({"x": X, "t": T, "y": Y, "z": Z[:, 0], "w": weight})
    table = frame[["x", "z", "t", "y"]].to_numpy(dtype=np.longdouble)
    mean = (weight[:, None] * table).sum(axis=0) / weight.sum()
    apart = table - mean
    scatter = (apart.T * weight) @ apart
    for rows in (frame, pl.from_pandas(frame), pl.from_pandas(frame).lazy()):
        roles = {"outcome": "y", "treatment": "t", "instruments": "z", "covariates": "x"}
        found = Moments.from_frame(rows, **roles, sample_weight="w")
        assert_allclose(found.scatter, scatter.astype(float), rtol=1e-9)
    est = TwoStageLS().fit(X[:, None], T, Y, z=Z[:, 0], sample_weight=weight)
    assert_allclose(est.moments_.scatter, scatter.astype(float), rtol=1e-9)


@quiet
@pytest.mark.parametrize("weight", [1e308, 5e-324])
def test_weights_whose_sum_is_no_number(weight):
    with pytest.raises(ValueError, match=r"sample_weight must (be at most|have a sum)"):
        TwoStageLS().fit(None, T, Y, z=Z, sample_weight=np.full(N, weight))


@pytest.mark.parametrize("name", ["beta_t_scale", "beta_z_scale", "gamma_scale", "sigma_scale"])
@pytest.mark.parametrize("value", [1e308, 5e-324])
def test_priors_far_from_the_unit(name, value):
    with pytest.raises(ValueError, match=f"{name} must be within a factor of 1e.50 of the data's"):
        BayesianIV(**{name: value}).fit(X[:, None], T, Y, z=Z)


def test_rows_too_far_for_a_prediction():
    est = TwoStageLS().fit(X[:, None], T, Y, z=Z)
    with pytest.raises(ValueError, match=r"X must be at most 1e\+150.* Rescale"):
        est.predict(np.full((3, 1), 1e160), t=[0, 0, 1])
    est = TwoStageLS().fit(X[:, None], T, 100.0 * Y, z=Z)
    with pytest.raises(ValueError, match="near enough to the rows of the fit"):
        est.score(np.full((3, 1), 1e149), [1.0, 2.0, 4.0], z=Z[:3])


def test_strength_without_rows_far_from_zero():
    far, near = (fit(rows, cov_type="unadjusted").moments_ for rows in moved(1e8))
    found = []
    for moments in (far, near):
        strength = diagnostics.instrument_strength(
            TwoStageLS(cov_type="unadjusted").fit_moments(moments)
        )
        assert isinstance(strength, InstrumentStrength)
        found.append(strength.first_stage.f_classical)
    assert_allclose(*found, rtol=1e-6)

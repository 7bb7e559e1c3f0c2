"""The log prior that a fit reports, against SciPy, with two treatments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from skbayesiv import BayesianIV
from skbayesiv._columns import Columns
from skbayesiv._data.moments import Moments
from skbayesiv._data.rows import IVData
from skbayesiv._data.sums import Sums
from skbayesiv._models.build import build_model

SIGMA_SCALE, ETA = np.array([1.5, 0.7, 2.0]), 2.5
FORMS = {
    "centered": {},
    "raw": {"intercept_prior": "raw"},
    "no intercept": {"fit_intercept": False, "exclusion_scale": 0.3},
    "regression": {"sigma_prior": "regression"},
    "learned": {"beta_z_scale": "learned", "beta_z_loc": 0.4},
}


def logpdf(value, loc, scale):
    """Sum of independent normal log densities of each draw."""
    density = stats.norm(loc, scale).logpdf(value)
    return density.reshape(len(value), -1).sum(1)


@pytest.mark.parametrize("form", FORMS)
def test_log_prior_is_the_density_of_each_draw(form):
    """LKJ up to its constant; under "regression" alpha goes with the correlation."""
    rng = np.random.default_rng(0)
    n = 300
    z, x, e = rng.normal(size=(n, 3)) + 2, rng.normal(size=(n, 2)) + 5, rng.normal(size=(n, 3))
    t = z @ rng.normal(size=(3, 2)) + x[:, :1] + e[:, 1:]
    y = t @ [1.0, 2.0] + e.sum(1)
    parameters = {"beta_t_loc": [0.5, 1.0], "beta_t_scale": [2.0, 3.0], "gamma_scale": 4.0}
    parameters |= {"beta_z_scale": 5.0, "intercept_y_loc": 1.0, "intercept_y_scale": 20.0}
    parameters |= {"intercept_t_loc": [0.0, 2.0], "intercept_t_scale": 10.0}
    parameters |= {"sigma_scale": SIGMA_SCALE, "lkj_eta": ETA} | FORMS[form]
    est = BayesianIV(**parameters)
    columns = Columns(("x0", "x1"), ("z0", "z1", "z2"), ("t0", "t1"), "y")
    moments = Moments.from_data(IVData(x, z, t, y, None, columns))
    model = build_model(est, Sums(moments))
    drawn = model.posterior(0.5 * rng.normal(size=(200, 8 if form == "learned" else 6)), rng)
    p = drawn.values
    expected = {
        "beta_t": logpdf(p["beta_t"], [0.5, 1.0], [2.0, 3.0]),
        "beta_z": logpdf(p["beta_z"], 0.0, 5.0),
        "gamma_y": logpdf(p["gamma_y"], 0.0, 4.0),
        "gamma_t": logpdf(p["gamma_t"], 0.0, 4.0),
    }
    if form == "learned":
        beta_z_sd = p["beta_z_sd"]
        expected["beta_z"] = logpdf(p["beta_z"], 0.4, beta_z_sd[:, None] / z.std(0)[:, None])
        expected["beta_z_sd"] = stats.halfcauchy(scale=t.std(0)).logpdf(beta_z_sd).sum(1)
    if form == "no intercept":
        expected["direct"] = logpdf(p["direct"], 0.0, 0.3)
    else:
        level_y, level_t = p["intercept_y"], p["intercept_t"]
        if form != "raw":
            level_y = level_y + p["beta_t"] @ t.mean(0) + p["gamma_y"] @ x.mean(0)
            level_t = level_t + z.mean(0) @ p["beta_z"] + x.mean(0) @ p["gamma_t"]
        expected["intercept_y"] = logpdf(level_y, 1.0, 20.0)
        expected["intercept_t"] = logpdf(level_t, [0.0, 2.0], 10.0)
    first = 1 if form == "regression" else 0  # equations under the LKJ prior
    half_cauchy = stats.halfcauchy(scale=SIGMA_SCALE[first:])
    expected["sigma"] = half_cauchy.logpdf(p["sigma"][:, first:]).sum(1)
    log_det = np.linalg.slogdet(p["corr"][:, first:, first:])[1]
    expected["corr"] = (ETA - 1.0) * log_det
    if form == "regression":  # given e_t, e_y has mean alpha'e_t and variance 1 / Omega_yy
        omega = np.linalg.inv(p["cov"])
        v = omega[:, 0, 0] ** -0.5
        alpha = -omega[:, 0, 1:] / omega[:, :1, 0]
        expected["sigma"] += np.log(2) + stats.t(3, scale=SIGMA_SCALE[0]).logpdf(v)
        expected["corr"] += logpdf(alpha, 0.0, 2.5 * y.std() / t.std(0))
    assert set(drawn.log_prior) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(drawn.log_prior[name], value, rtol=1e-7, err_msg=name)

"""Draws of all other coefficients against their normal distribution, row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from criterion import make_rows
from criterion_fits import fit, model_of, rows_of

from skbayesiv import TwoStageLS


def joint_normal(data, beta, scale, *, clusters, fit_intercept):
    """Mean and covariance of [outcome's h, first stage's (h, z) by treatment, direct] given beta.

    The scores of the rows have the covariance C / n; s_ze + G delta = g(beta) is observed.
    """
    n_rows, k, q = data.n_rows, data.t.shape[1], data.z.shape[1]
    w = np.ones(n_rows) if data.sample_weight is None else data.sample_weight
    n, one = w.sum(), np.ones((n_rows, int(fit_intercept)))
    h = np.column_stack([one, data.x])

    def regress(x, y):
        return np.linalg.solve((x * w[:, None]).T @ x, (x * w[:, None]).T @ y)

    y, t, z = (part - h @ regress(h, part) for part in (data.y, data.t, data.z))
    both = np.column_stack([h, data.z])
    first = regress(both, data.t)
    e, v = y - t @ beta, data.t - both @ first
    parts = [h * e[:, None], *(np.column_stack([h, z]) * v[:, [j]] for j in range(k))]
    scores = np.column_stack([*parts, z * e[:, None]])
    if clusters is None:
        variance = (scores * w[:, None]).T @ scores / n**2
    else:
        sums = np.array([np.bincount(clusters, w * column) for column in scores.T]).T
        variance = sums.T @ sums / n**2
    gram_h, gram_z = ((m * w[:, None]).T @ m / n for m in (h, z))
    rest = scores.shape[1] - q
    prior = np.zeros((rest + q, rest + q))
    prior[:rest, :rest], prior[rest:, rest:] = variance[:rest, :rest], np.diag(scale**2)
    with_g = np.vstack([variance[:rest, rest:], np.diag(scale**2) @ gram_z])
    var_g = variance[rest:, rest:] + gram_z @ np.diag(scale**2) @ gram_z
    gain = with_g @ np.linalg.inv(var_g)
    mean, cov = gain @ (z * w[:, None]).T @ e / n, prior - gain @ with_g.T
    # Least squares less what the scores say they are off.
    size = h.shape[1]
    constant = [regress(h, data.y - data.t @ beta), *first.T, np.zeros(q)]
    linear = np.zeros((size + k * (size + q) + q, rest + q))
    linear[:size, :size] = -np.linalg.inv(gram_h)
    linear[:size, rest:] = -regress(h, data.z)
    for j in range(k):
        at = size + j * (size + q)
        on_h, on_z = slice(at, at + size), slice(at + size, at + size + q)
        linear[on_h, on_h] = -np.linalg.inv(gram_h)
        linear[on_h, on_z] = regress(h, data.z) @ np.linalg.inv(gram_z)
        linear[on_z, on_z] = -np.linalg.inv(gram_z)
    linear[-q:, rest:] = np.eye(q)
    return np.concatenate(constant) + linear @ mean, linear @ cov @ linear.T


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("direct", [0.0, 0.2])
@pytest.mark.parametrize("clustered", [False, True])
def test_exact_draws_are_the_joint_normal_of_the_rows(clustered, direct, fit_intercept):
    data = make_rows(2, 3, 2, weighted=True)
    clusters = np.random.default_rng(2).integers(0, 120, 300) if clustered else None
    options = {"clusters": clusters, "fit_intercept": fit_intercept}
    model = model_of(data, exclusion_scale=direct, **options)
    beta, n_draws = np.array([1.1, 0.8]), 100_000
    position = np.tile(beta / model.design.unit, (n_draws, 1))
    values = model.posterior(position, np.random.default_rng(0)).values
    one = ["intercept_y"] if fit_intercept else []
    columns = [*(values[name][:, None] for name in one), values["gamma_y"]]
    for j in range(2):
        columns += [values["intercept_t"][:, [j]]] if fit_intercept else []
        columns += [values["gamma_t"][:, :, j], values["beta_z"][:, :, j]]
    columns.append(values.get("direct", np.zeros((n_draws, 3))))
    drawn = np.column_stack(columns)
    mean, cov = joint_normal(data, beta, np.full(3, direct), **options)
    if not direct:
        drawn, mean, cov = drawn[:, :-3], mean[:-3], cov[:-3, :-3]
    sd = np.sqrt(np.diag(cov))
    assert (np.abs(drawn.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(n_draws)).all()
    assert np.allclose(np.cov(drawn.T) / np.outer(sd, sd), cov / np.outer(sd, sd), atol=0.015)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("p", [0, 2])
@pytest.mark.parametrize(("offset", "slope"), [(0.0, 1.0), (3.0, 2.0)])
def test_perfect_compliance(seed, p, offset, slope):
    """The treatment is linear in the assignment: the first stage has no error at all."""
    rng = np.random.default_rng(seed)
    z, x = rng.integers(0, 2, 1000).astype(float), rng.normal(size=(1000, p))
    t = offset + slope * z + x[:, 0] if p else offset + slope * z
    data = replace(rows_of(t + rng.normal(size=1000), t, z), x=x)
    data = replace(data, columns=make_rows(1, 1, p, n=2).columns)
    values = model_of(data).posterior(np.full((50, 1), 0.5), rng).values
    assert all(np.isfinite(value).all() for value in values.values())
    assert np.allclose(values["beta_z"], slope, rtol=1e-5)


def test_saturated_first_stage():
    """As many coefficients as rows: nothing is left of the first stage's errors."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        data = make_rows(1, 4, 0, n=5, seed=seed)
        values = model_of(data).posterior(rng.normal(size=(50, 1)), rng).values
        assert all(np.isfinite(value).all() for value in values.values())
        fitted = (data.z - data.z.mean(axis=0)) @ values["beta_z"]
        assert np.allclose(fitted, data.t - data.t.mean(), atol=5e-3 * data.t.std())


def test_draws_of_all_coefficients_match_the_sandwich():
    """Strong instruments: covariances are those of two-step GMM with robust standard errors."""
    data = make_rows(1, 2, 2, n=4000, weighted=True)
    est = fit(data, draws=8000)
    gmm = TwoStageLS(method="gmm").fit(
        data.x, data.t, data.y, z=data.z, sample_weight=data.sample_weight
    )
    draws = est.idata_.posterior
    columns = [draws["intercept_y"].to_numpy().ravel(), draws["beta_t"].to_numpy().ravel()]
    columns += list(draws["gamma_y"].to_numpy().reshape(-1, 2).T)
    cov, expected = np.cov(columns), np.asarray(gmm.covariance_)
    sd = np.sqrt(np.diag(expected))
    assert np.allclose(np.sqrt(np.diag(cov)), sd, rtol=0.1)
    assert np.allclose(cov / np.outer(sd, sd), expected / np.outer(sd, sd), atol=0.1)
    assert np.allclose([est.intercept_, *est.coef_], [gmm.intercept_, *gmm.coef_], atol=0.2 * sd)


@pytest.mark.filterwarnings("ignore::skbayesiv.exceptions.NoTreatmentWarning")
def test_first_stage_draws_are_robust_and_clustered():
    """One instrument: least squares with HC0 or cluster-robust covariance."""
    data = make_rows(1, 1, 1, n=1000)
    rng = np.random.default_rng(5)
    clusters = rng.integers(0, 100, 1000)
    t = data.t + rng.normal(size=100)[clusters, None] * 2.0
    data = replace(data, t=t, y=t[:, 0] + 3.0 * rng.normal(size=1000))
    regressors = np.column_stack([data.x, data.z])
    for groups in (None, clusters):
        est = fit(data, clusters=groups, draws=8000)
        ols = TwoStageLS().fit(regressors, t[:, 0], clusters=groups)
        draws = est.idata_.posterior
        first = np.column_stack(
            [
                draws["intercept_t"].to_numpy().reshape(-1, 1),
                draws["gamma_t"].to_numpy().reshape(-1, 1),
                draws["beta_z"].to_numpy().reshape(-1, 1),
            ]
        )
        sd = np.sqrt(np.diag(ols.covariance_))
        assert np.allclose(first.std(axis=0), sd, rtol=0.06)
        off = first.mean(axis=0) - [ols.intercept_, *ols.coef_]
        assert (np.abs(off) < 0.25 * sd).all()


def test_reduced_form_is_that_of_the_rows():
    """One instrument: beta_z beta_t is the regression of y on z, whatever the effect's draw."""
    data = make_rows(1, 1, 1, n=2000)
    est = fit(data)
    draws = est.idata_.posterior
    through = (draws["beta_z"].to_numpy()[..., 0, 0] * draws["beta_t"].to_numpy()[..., 0]).ravel()
    ols = np.linalg.lstsq(np.column_stack([np.ones(2000), data.x, data.z]), data.y)[0][2]
    assert abs(through.mean() - ols) < 0.1 * through.std() + 0.01 * abs(ols)
    assert est.score(data.x, data.t, data.y, z=data.z) > 0.3

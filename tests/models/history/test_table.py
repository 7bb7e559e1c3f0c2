"""Earlier experiments: reading them, default scales, and what they predict, in closed form."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import integrate as quad
from scipy import stats

from skbayesiv import HierarchicalBayesianIV
from skbayesiv._models.history.integrated import integrate
from skbayesiv._models.history.meta_analysis import (
    Mixture,
    cochran_q,
    conflict_p_value,
    given_sigma,
)
from skbayesiv._models.history.sums import Experiments
from skbayesiv._models.history.table import automatic_scales, build_history, read_history

EFFECTS = np.array([3.4, 3.6, 4.25, 4.0, 3.9])
ERRORS = np.array([0.5, 0.55, 0.6, 0.45, 0.44])
LAWS = {
    "half-cauchy": lambda scale: stats.halfcauchy(scale=scale),
    "half-normal": lambda scale: stats.halfnorm(scale=scale),
    "half-t": lambda scale: stats.t(3, scale=scale),
}


def history_of(effects, errors, **parameters):
    return build_history(HierarchicalBayesianIV(effects, errors, **parameters))


def predicted(effects, errors, **parameters):
    est = HierarchicalBayesianIV(effects, errors, **parameters)
    return est.meta_analysis().treatments[0]


# --- Given sigma_bar -----------------------------------------------------------------------


def log_evidence_in_decimals(sigma2, b, s, loc, scale):
    """log N(b; loc, diag(sigma2 + s^2) + scale^2 11'), with the textbook's formula in 60 digits."""
    with localcontext() as context:
        context.prec = 60
        b, s, loc, scale = ([Decimal(float(v)) for v in np.ravel(a)] for a in (b, s, loc, scale))
        v = [Decimal(float(sigma2)) + error * error for error in s]
        a = [x - loc[0] for x in b]
        precision = 1 / scale[0] ** 2 + sum(1 / x for x in v)
        pull = sum(x / y for x, y in zip(a, v, strict=True))
        square = sum(x * x / y for x, y in zip(a, v, strict=True)) - pull * pull / precision
        log_det = sum(x.ln() for x in v) + precision.ln() + 2 * scale[0].ln()
        value = -(square + log_det) / 2
        return float(value) - 0.5 * len(b) * np.log(2 * np.pi), float(loc[0] + pull / precision)


def given_experiments(sigma, b, s, loc, scale, length=None):
    """beta_bar and the evidence given sigma_bar, of effects about loc."""
    experiments = Experiments.of(b, s).pad(length or len(b))
    return given_sigma(experiments.sums(np.log(sigma), np), loc, scale, np)


@pytest.mark.parametrize("s", [1e-8, 1e-4, 1.0, 1e8])
@pytest.mark.parametrize("loc", [0.0, -3.0])
def test_given_sigma_at_any_error(s, loc):
    rng = np.random.default_rng(0)
    b, errors = 0.7 + s * rng.normal(size=50), s * rng.uniform(0.5, 2.0, 50)
    for sigma in s * np.array([1e-3, 1.0, 1e3]):
        given = given_experiments(sigma, b - loc, errors, loc, 1.75)
        evidence, mean = log_evidence_in_decimals(sigma**2, b, errors, loc, 1.75)
        # What is left is the rounding of b - loc itself, eps |b| against an error of s.
        tolerance = 1e-10 + 50 * 20 * np.finfo(float).eps / s
        assert given.log_evidence == pytest.approx(evidence, rel=1e-10, abs=tolerance)
        assert given.mean == pytest.approx(mean, rel=1e-12)


def test_padding_and_missing_effects_do_not_count():
    b, s = np.array([1.0, 2.0]), np.array([0.3, 0.4])
    short = given_experiments(0.2, b, s, 0.5, 2.0)
    missing = np.append(b, np.nan), np.append(s, np.nan)
    long = given_experiments(0.2, *missing, 0.5, 2.0, length=8)
    nothing = given_experiments(0.2, np.full(2, np.nan), s, 0.5, 2.0)
    assert (short.mean, short.log_evidence) == pytest.approx((long.mean, long.log_evidence))
    assert (nothing.mean, nothing.variance, nothing.log_evidence) == (0.5, 4.0, 0.0)


# --- sigma_bar on a grid -------------------------------------------------------------------


@pytest.mark.parametrize("kind", LAWS)
def test_integrated_history_by_quadrature(kind):
    """Evidence, mean effect and prediction against SciPy's quadrature of dense normals."""
    history = history_of(
        EFFECTS,
        ERRORS,
        beta_t_bar_loc=1.0,
        beta_t_bar_scale=2.0,
        sigma_t_bar_scale=0.7,
        sigma_t_bar_prior=kind,
    )

    def joint(sigma):
        cov = np.diag(sigma**2 + ERRORS**2) + 4.0
        prior = LAWS[kind](0.7).pdf(sigma) * (2 if kind == "half-t" else 1)
        return prior * stats.multivariate_normal(np.ones(5), cov).pdf(EFFECTS)

    def mean(sigma):
        cov = np.diag(sigma**2 + ERRORS**2) + 4.0
        return 1.0 + 4.0 * np.linalg.solve(cov, EFFECTS - 1.0).sum()

    options = {"epsabs": 0, "epsrel": 1e-10, "limit": 200}
    evidence = quad.quad(joint, 0, np.inf, **options)[0]
    expected = quad.quad(lambda s: joint(s) * mean(s), 0, np.inf, **options)[0] / evidence
    below = quad.quad(joint, 0, 0.4, **options)[0] / evidence
    grid = integrate(history, 0)
    assert grid.log_evidence == pytest.approx(np.log(evidence), abs=1e-6)
    assert grid.predictive.moments()[0] == pytest.approx(expected, abs=1e-6)
    assert grid.sigma_quantile(below) == pytest.approx(0.4, rel=1e-3)


def test_one_experiment_given_a_tight_spread_is_conjugate():
    """With sigma_bar near zero the prediction is the normal posterior of one mean."""
    item = predicted([2.0], [0.5], beta_t_bar_scale=1.0, sigma_t_bar_scale=1e-6)
    variance = 1.0 / (1.0 + 1.0 / 0.25)
    assert item.mean_effect.mean == pytest.approx(variance * 2.0 / 0.25, abs=1e-4)
    assert item.mean_effect.sd == pytest.approx(np.sqrt(variance), abs=1e-4)


@pytest.mark.parametrize("s", [1e-4, 1e-8])
@pytest.mark.parametrize("scale", ["auto", 1.0])
def test_tiny_errors(s, scale):
    """All is equivariant to units, so tiny errors and scales are as good as ordinary ones."""
    b = 0.7 + s * np.random.default_rng(0).normal(size=20)
    item = predicted(b, np.full(20, s), sigma_t_bar_scale=scale, beta_t_bar_scale=1.0)
    assert item.mean_effect.mean == pytest.approx(b.mean(), abs=s)
    assert 0.05 * s < item.sigma_median < s
    assert item.predicted.sd < 3 * s
    large = predicted(
        (b - 0.7) / s, np.ones(20), sigma_t_bar_scale=scale if scale == "auto" else scale / s
    )
    assert item.sigma_median / s == pytest.approx(large.sigma_median, rel=1e-2)


def test_moments_that_do_not_exist():
    """p(sigma_bar | b) ~ prior sigma_bar^-J: under half-Cauchy no variance with one experiment."""
    one, two = predicted([1.0], [0.3]), predicted([1.0, 1.2], [0.3, 0.3])
    assert np.isinf(one.predicted.sd)
    assert str(one.predicted) == "median 0.9681 [-1.659, 3.097]"
    assert np.isfinite(two.predicted.sd)
    left = integrate(history_of([1.0], [0.3]).without(0), 0).predictive
    assert np.isnan(left.moments()[0])
    assert left.quantile(0.5) == pytest.approx(0.0, abs=1e-6)
    for kind in ("half-normal", "half-t"):
        assert np.isfinite(predicted([1.0], [0.3], sigma_t_bar_prior=kind).predicted.sd)
    nan = np.nan
    est = HierarchicalBayesianIV([[1.0, 2.0], [1.2, nan]], [[0.3, 0.3], [0.3, nan]])
    first, second = est.meta_analysis().treatments
    assert np.isfinite(first.predicted.sd)
    assert np.isinf(second.predicted.sd)


def test_conflict_p_value_in_both_tails():
    mixture = Mixture(np.array([0.25, 0.75]), np.array([0.0, 1.0]), np.array([1.0, 4.0]))
    wide = [stats.norm(0.0, np.sqrt(2.0)), stats.norm(1.0, np.sqrt(5.0))]
    for x in (-30.0, 0.3, 30.0):
        below = 0.25 * wide[0].cdf(x) + 0.75 * wide[1].cdf(x)
        above = 0.25 * wide[0].sf(x) + 0.75 * wide[1].sf(x)
        assert conflict_p_value(mixture, x, 1.0) == pytest.approx(2 * min(below, above), rel=1e-8)
    assert conflict_p_value(mixture, 30.0, 1.0) > 0.0


def test_unknown_kind():
    with pytest.raises(ValueError, match=r"'sigma_t_bar_prior' parameter .* must be"):
        HierarchicalBayesianIV(EFFECTS, ERRORS, sigma_t_bar_prior="cauchy").meta_analysis()


def test_no_history_has_no_meta_analysis():
    with pytest.raises(ValueError, match=r"meta_analysis needs a history\. effects is empty"):
        HierarchicalBayesianIV().meta_analysis()


def test_cochran_q():
    q = cochran_q(np.append(EFFECTS, np.nan), np.append(ERRORS, np.nan))
    w = ERRORS**-2
    assert q.q == pytest.approx((w * (EFFECTS - np.average(EFFECTS, weights=w)) ** 2).sum())
    assert (q.dof, q.p_value) == (4, pytest.approx(stats.chi2(4).sf(q.q)))
    assert str(cochran_q(EFFECTS[:1], ERRORS[:1])) == "needs two experiments"


# --- Default scales ------------------------------------------------------------------------


def scales(effects, errors):
    size, spread = automatic_scales(np.array(effects)[:, None], np.array(errors)[:, None])
    return float(size[0]), float(spread[0])


def test_automatic_scales():
    # Of equal precision: plain averages.
    b = np.array([1.0, 2.0, 4.0])
    expected = 2.5 * np.sqrt((b**2).mean() + 0.25), np.sqrt(b.var() + 0.25)
    assert scales(b, [0.5] * 3) == pytest.approx(expected)
    assert scales([3.0], [0.2]) == pytest.approx((2.5 * np.hypot(3.0, 0.2), 0.2))
    # Of another: averages under the weights 1 / s^2.
    w = ERRORS**-2
    error = w.sum() / (w @ w)
    centre = np.average(EFFECTS, weights=w)
    assert scales(EFFECTS, ERRORS)[1] == pytest.approx(
        np.sqrt(np.average((EFFECTS - centre) ** 2, weights=w) + error)
    )


@pytest.mark.parametrize("unit", [1e-120, 1e6])
def test_automatic_scales_have_the_effects_units(unit):
    plain = scales(EFFECTS, ERRORS)
    assert scales(unit * EFFECTS, unit * ERRORS) == pytest.approx(unit * np.array(plain))


def test_an_experiment_that_says_nothing_changes_nothing():
    plain = scales(EFFECTS, ERRORS)
    for s in (1e6, 1e9):
        more = np.append(EFFECTS, -20.0), np.append(ERRORS, s)
        assert scales(*more) == pytest.approx(plain, rel=1e-3 if s < 1e9 else 1e-9)
    missing = np.append(EFFECTS, np.nan), np.append(ERRORS, np.nan)
    assert scales(*missing) == pytest.approx(plain)


# --- Reading -------------------------------------------------------------------------------


def test_labels_decide_not_positions():
    b = pd.DataFrame({"push": [1.0, 2.0], "mail": [3.0, 4.0]}, index=["may", "june"])
    s = pd.DataFrame({"mail": [0.4, 0.3], "push": [0.2, 0.1]}, index=["june", "may"])
    effects, errors, names, treatments = read_history(b, s, ("mail", "push"))
    assert names == ("may", "june")
    assert treatments == ("mail", "push")
    assert effects.tolist() == [[3.0, 1.0], [4.0, 2.0]]
    assert errors.tolist() == [[0.3, 0.1], [0.4, 0.2]]
    # Without a current experiment the effects' own columns; without labels, positions.
    assert read_history(b, s)[3] == ("push", "mail")
    plain = read_history(b, s.loc[["may", "june"], ["push", "mail"]].to_numpy(), ("push", "mail"))
    assert plain[1].tolist() == [[0.1, 0.3], [0.2, 0.4]]
    polars = read_history(
        pl.DataFrame({"push": [1.0], "mail": [3.0]}),
        pl.DataFrame({"mail": [0.3], "push": [0.1]}),
        ("mail", "push"),
    )
    assert (polars[0].tolist(), polars[1].tolist()) == ([[3.0, 1.0]], [[0.3, 0.1]])


def test_one_column_needs_no_name():
    b, s = pd.Series([1.0, 5.0], index=["a", "b"]), pd.Series([0.01, 1.0], index=["b", "a"])
    effects, errors, names, _ = read_history(b, s, ("t",))
    assert (effects[:, 0].tolist(), errors[:, 0].tolist()) == ([1.0, 5.0], [1.0, 0.01])
    assert names == ("a", "b")
    frame = pd.DataFrame({"effect": [1.0, 5.0]})
    assert read_history(frame, [0.1, 0.2], ("t",))[2] == ("0", "1")


@pytest.mark.parametrize(
    ("effects", "errors", "treatments", "message"),
    [
        (
            pd.DataFrame({"a": [1.0], "b": [1.0]}),
            np.ones((1, 2)),
            ("t0", "t1"),
            r"Columns of effects must be the treatments \['t0', 't1'\]; got \['a', 'b'\]",
        ),
        (
            pd.Series([1.0], index=["may"]),
            pd.Series([1.0], index=["june"]),
            ("t",),
            "std_errors must be of the experiments that effects names; got none for 'may'",
        ),
        (
            pd.Series([1.0, 2.0], index=["may", "may"]),
            [1.0, 1.0],
            ("t",),
            "Names of experiments in effects must differ; got 'may' more than once",
        ),
        ([1.0], None, ("t",), "must be given together; std_errors is missing"),
        (None, [1.0], ("t",), "must be given together; effects is missing"),
        ([1.0] * 9, [-1.0] * 9, ("t",), r"'0: 1 \(-1\)', .* and 4 more\.$"),
        ([[[1.0]]], [[[1.0]]], ("t",), r"must have shape \(J,\) or \(J, K\)"),
    ],
)
def test_what_cannot_be_read(effects, errors, treatments, message):
    with pytest.raises(ValueError, match=message):
        read_history(effects, errors, treatments)


def test_bad_hyper_priors():
    with pytest.raises(ValueError, match="beta_t_bar_loc must be finite"):
        history_of([1.0], [1.0], beta_t_bar_loc=[np.nan])
    with pytest.raises(ValueError, match=r"beta_t_bar_loc must .* have shape \(1,\)"):
        history_of([1.0], [1.0], beta_t_bar_loc=[1.0, 2.0])


# --- The table -----------------------------------------------------------------------------


def test_table_of_several_treatments():
    b = pd.DataFrame({"push": [1.0, 2.0, 1.5], "mail": [3.0, 4.0, np.nan]})
    meta = HierarchicalBayesianIV(b, 0.1 * b).meta_analysis()
    frame = meta.to_frame()
    assert list(frame.columns) == ["mean", "sd", "median", "2.5%", "97.5%"]
    assert "new experiment[mail]" in frame.index
    text, html = str(meta), meta._repr_html_()
    assert repr(meta) == text
    for part in ("3 earlier experiments", "Cochran's Q[push]", "spread of effects[mail]"):
        assert part in text
    assert "Cochran&#x27;s Q[mail]" in html

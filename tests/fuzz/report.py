"""Hostile calls of what looks at a posterior: predictions, tables, reports, scores."""

from __future__ import annotations

import copy
from decimal import Decimal
from fractions import Fraction

import numpy as np
from fuzz import posterior, two_stage, use
from fuzz.arguments import draw_arguments
from fuzz.case import EITHER, ERROR, Case, argument_names, choose
from fuzz.sums import ROWS, some_sums, spoilt
from fuzz.values import odd, seed, shown

from skbayesiv import (
    BayesianIV,
    FourthMoments,
    HierarchicalBayesianIV,
    exclusion_sensitivity,
    experiment_report,
)
from skbayesiv.datasets import load_push_experiment, make_noncompliance, make_segments
from skbayesiv.metrics import log_predictive_density, log_predictive_density_scorer

POSTERIORS = {
    "BayesianIV": posterior.fitted,
    "HierarchicalBayesianIV": lambda: posterior.fitted(HierarchicalBayesianIV),
    "BayesianIV by gmm": lambda: posterior.fitted(likelihood="gmm"),
    "BayesianIV of no treatment": lambda: posterior.fitted(treated=False),
    "BayesianIVCV": posterior.searched,
}
SUBJECTS = POSTERIORS | {
    "TwoStageLS": two_stage.fitted,
    "not fitted": BayesianIV,
    "a class": lambda: BayesianIV,
}


def subject(rng):
    """A fitted estimator or something else, and its name."""
    what = choose(rng, [*SUBJECTS, "odd"])
    return (odd(rng) if what == "odd" else SUBJECTS[what]()), what


def predict(rng):
    """The hostile uses of a classical estimate, of a posterior."""
    ask = choose(rng, [use.predict, use.score, use.effect])
    kinds = ["BayesianIV", "BayesianIV", "HierarchicalBayesianIV", "BayesianIVCV"]
    return ask(rng, POSTERIORS[choose(rng, kinds)])


def simulate(rng):
    """Predictive draws, log-likelihoods and densities of hostile rows."""
    what = choose(rng, POSTERIORS)
    est, arguments = POSTERIORS[what](), use.draw_rows(rng, weights=False)
    x, t, z, y = (arguments.values.get(name) for name in ("X", "t", "z", "y"))
    count = choose(rng, [1, 5, 24, None]) if rng.random() < 0.7 else odd(rng, -1, 0)
    count = 50 if isinstance(count, int) and count > 50 else count
    given = choose(rng, ["all", "do", "z", "none"])
    draw = {"n_draws": count, "random_state": seed(rng)}
    calls = {
        "log_predictive_density": lambda: est.log_predictive_density(x, t, y, z=z),
        "log_likelihood": lambda: est.log_likelihood(x, t, y, z=z, n_draws=count),
        "sample_posterior_predictive": lambda: est.sample_posterior_predictive(
            x, t, z=z, given=given, **draw
        ),
        "sample_prior_predictive": lambda: est.sample_prior_predictive(x, z=z, **draw),
    }
    method = choose(rng, [name for name in calls if hasattr(est, name)] or ["effect"])
    return use.case_of(
        est,
        method,
        calls.get(method, lambda: est.effect()),
        [x, t, z, y],
        notes=[what, *shown(given=given, **draw), *arguments.notes],
    )


def tables(rng):
    """Tables of a posterior, asked for in odd ways."""
    what = choose(rng, POSTERIORS)
    est = POSTERIORS[what]()
    ci = {"ci_prob": use.level(rng), "ci_kind": choose(rng, ["hdi", "eti", "x", None])}
    options = {
        "summary": {"var_names": odd(rng, ["beta_t"]), **ci, "round_to": odd(rng, "auto", 2)},
        "diagnose": {},
        "prior_summary": {},
        "borrowing": {"treatment": odd(rng, 0, "t", -1)},
        "next_prior": {"name": odd(rng, "new", "0")},
    }
    method = choose(rng, options)
    if not hasattr(type(est), method):
        est = posterior.fitted(HierarchicalBayesianIV)
    given = options[method] if rng.random() < 0.7 else {}
    case = use.case_of(
        est, method, lambda: use.printed(getattr(est, method)(**given)), list(given.values())
    )
    # Measures of draws so few have no number, and a history no mean.
    case.infinite, case.notes, case.est = ("",), [what, *shown(**given)], None
    return case


def fit_moments(rng):
    """BayesianIV.fit_moments of changed sums."""
    moments, _, _ = some_sums(int(rng.integers(8)))
    priors, _ = posterior.draw_priors(rng, wrong=0.1)
    kind = choose(rng, [BayesianIV, BayesianIV, HierarchicalBayesianIV])
    est, note = kind(**posterior.ROUGH | priors), "right"
    if rng.random() < 0.8:
        moments, note = spoilt(rng, moments)
    options = {}
    if priors["likelihood"] == "gmm" or rng.random() < 0.2:
        fourth, _, _ = some_sums(int(rng.integers(8)), FourthMoments)
        options["fourth_moments"] = fourth if rng.random() < 0.5 else odd(rng, moments)
    return Case(
        f"{kind.__name__}.fit_moments",
        lambda: est.fit_moments(moments, **options),
        argument_names(kind.fit_moments, est) | ROWS,
        est=est,
        notes=[note, *shown(**priors, **options)],
    )


def metric(rng):
    """The density score, as a function and as a scorer, of hostile rows."""
    est, what = subject(rng) if rng.random() < 0.4 else (posterior.fitted(), "BayesianIV")
    arguments = use.draw_rows(rng)
    rows = {"X": None} | arguments.values
    function = choose(rng, [log_predictive_density, log_predictive_density_scorer])
    return Case(
        "metrics.log_predictive_density" + "_scorer" * (function is log_predictive_density_scorer),
        lambda: function(est, **rows),
        argument_names(log_predictive_density) | {"likelihood"},
        list(rows.values()),
        must=ERROR if arguments.must == ERROR else EITHER,
        notes=[what, *arguments.notes],
    )


def experiment(rng):
    """experiment_report with hostile bounds and rows."""
    est, what = subject(rng) if rng.random() < 0.5 else (two_stage.fitted(), "TwoStageLS")
    options = {}
    if rng.random() < 0.6:
        options = {"cost": odd(rng, 1.0, [0.5]), "rope": odd(rng, 1.0, (-1, 2), (1, 1))}
    if rng.random() < 0.3:
        options["level"] = use.level(rng)
    notes = [what, *shown(**options)]
    if rng.random() < 0.4:
        arguments = draw_arguments(rng, plain=True)
        options |= arguments.values
        notes += arguments.notes
    return Case(
        "experiment_report",
        lambda: use.printed(experiment_report(est, **options)),
        argument_names(experiment_report),
        list(options.values()),
        infinite=("table", "anderson_rubin"),  # empty cells, unbounded sets
        notes=notes,
    )


def exclusion(rng):
    """exclusion_sensitivity of hostile scales."""
    est, what = subject(rng)
    scales = odd(rng, None, [0.0, 0.1], [0.0], [-1.0], [np.inf], [1e300], [1e-300])
    options = {"level": use.level(rng)} if rng.random() < 0.3 else {}
    if rng.random() < 0.3:
        options["treatment"] = odd(rng, 0, "t", -1)
    return Case(
        "exclusion_sensitivity",
        lambda: use.printed(exclusion_sensitivity(est, scales, **options)),
        argument_names(exclusion_sensitivity) | argument_names(BayesianIV),
        [scales],
        infinite=("breakdown",),
        notes=[what, *shown(scales=scales, **options)],
    )


SIMULATIONS = {
    function: sorted(argument_names(function) - {"n_samples", "n_covariates", "n_segments"})
    for function in (make_noncompliance, make_segments)
}


def dataset(rng):
    """Simulations and load_push_experiment with odd options."""
    kind = rng.random()
    if kind < 0.2:
        options = {name: odd(rng, True) for name in ("as_frame", "return_X_t_y_z")}
        function = load_push_experiment
    else:
        function = make_noncompliance if kind < 0.7 else make_segments
        options = {choose(rng, SIMULATIONS[function]): odd(rng) for _ in range(2)}
        # scikit-learn's own check of a type does not know these.
        strange = Fraction | Decimal | np.timedelta64
        options = {k: v for k, v in options.items() if not isinstance(v, strange)}
        options |= {"n_samples": 50, "random_state": seed(rng)}
    return Case(
        f"datasets.{function.__name__}",
        lambda: function(**copy.copy(options)),
        argument_names(function),
        notes=shown(**options),
    )

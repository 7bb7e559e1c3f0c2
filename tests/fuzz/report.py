"""Hostile calls of what looks at a posterior: predictions, reports, scores."""

from __future__ import annotations

import numpy as np
from fuzz import posterior, two_stage, use
from fuzz.arguments import draw_arguments
from fuzz.case import EITHER, ERROR, Case, argument_names, choose
from fuzz.sums import some_sums, spoilt

from skbayesiv import BayesianIV, HierarchicalBayesianIV, exclusion_sensitivity, experiment_report
from skbayesiv.metrics import log_predictive_density, log_predictive_density_scorer

LEVELS = [0.9, 0.0, 1.0, 95, np.nan, "a", None, [0.9]]
COUNTS = [1, 5, 24, 10**6, 0, -1, 1.5, "a", None, True, np.int8(3), [5]]
SEEDS = [0, None, "a", -1, 1.5, 2**40, np.random.RandomState(0), np.random.default_rng(0)]
SUBJECTS = {
    "BayesianIV": posterior.fitted,
    "HierarchicalBayesianIV": lambda: posterior.fitted(HierarchicalBayesianIV),
    "BayesianIV by gmm": lambda: posterior.fitted(likelihood="gmm"),
    "BayesianIV of no treatment": lambda: posterior.fitted(treated=False),
    "TwoStageLS": two_stage.fitted,
    "not fitted": BayesianIV,
    "a class": lambda: BayesianIV,
    "None": lambda: None,
    "a string": lambda: "BayesianIV",
    "an array": lambda: np.ones(3),
}


def predict(rng):
    """The hostile uses of a classical estimate, of a posterior."""
    make = choose(rng, [use.predict, use.score, use.effect])
    kind = choose(rng, [BayesianIV, BayesianIV, HierarchicalBayesianIV])
    return make(rng, lambda **options: posterior.fitted(kind), kind.__name__)


def simulate(rng):
    """Predictive draws, log-likelihoods and densities of hostile rows."""
    est = SUBJECTS[choose(rng, list(SUBJECTS)[:4])]()
    arguments = use.draw_rows(rng)
    x, t, z, y = (arguments.values.get(name) for name in ("X", "t", "z", "y"))
    n, seed = choose(rng, COUNTS), choose(rng, SEEDS)
    given = choose(rng, ["all", "do", "z", "none", None])
    calls = {
        "log_likelihood": lambda: est.log_likelihood(x, t, y, z=z, n_draws=n),
        "log_predictive_density": lambda: est.log_predictive_density(x, t, y, z=z),
        "sample_posterior_predictive": lambda: est.sample_posterior_predictive(x, t, z=z, given=given, n_draws=n, random_state=seed),
        "sample_prior_predictive": lambda: est.sample_prior_predictive(x, z=z, n_draws=min(n, 50) if type(n) is int else n, random_state=seed),
    }  # fmt: skip
    method = choose(rng, calls)
    return Case(
        f"BayesianIV.{method}", calls[method], argument_names(getattr(BayesianIV, method), est), [x, t, z, y], est,
        infinite=(r"prior", "log_likelihood", "") if "log" in method else (r"^\.",) * ("prior_" in method),
        notes=[f"n_draws={n!r}", f"random_state={seed!r}"[:60], f"given={given!r}", *arguments.notes],
    )  # fmt: skip


def tables(rng):
    """Tables of a posterior with hostile options."""
    est = SUBJECTS[choose(rng, list(SUBJECTS)[:4])]()
    names = choose(rng, [None, ["beta_t"], "beta_t", ["nobody"], [], 1, [None]])
    level, kind, digits = choose(rng, LEVELS), choose(rng, ["hdi", "eti", "x", None]), choose(rng, ["auto", 2, -1, None, "a", 1.5])
    treatment = choose(rng, [0, "t", "nobody", 5, None, 1.5, [0], True, -1])
    name = choose(rng, [None, "new", "0", 1, "", [], np.nan])
    calls = {
        "summary": lambda: est.summary(names, ci_prob=level, ci_kind=kind, round_to=digits),
        "diagnose": lambda: str(est.diagnose()),
        "prior_summary": lambda: est.prior_summary(),
        "borrowing": lambda: str(est.borrowing(treatment)),
        "next_prior": lambda: est.next_prior(name),
    }  # fmt: skip
    method = choose(rng, calls)
    if method in ("borrowing", "next_prior"):
        est = posterior.fitted(HierarchicalBayesianIV)
    return Case(
        f"BayesianIV.{method}", calls[method], argument_names(getattr(HierarchicalBayesianIV, method), est), [], None,
        infinite=("",), notes=[f"var_names={names!r}", f"ci_prob={level!r}", f"ci_kind={kind!r}", f"round_to={digits!r}", f"treatment={treatment!r}", f"name={name!r}"],
    )  # fmt: skip


def fit_moments(rng):
    """BayesianIV.fit_moments of changed sums."""
    moments, _, _ = some_sums(int(rng.integers(8)))
    priors, notes, _ = posterior.draw_priors(rng, wrong=0.1)
    kind = choose(rng, [BayesianIV, BayesianIV, HierarchicalBayesianIV])
    est = kind(**posterior.ROUGH | priors)
    if rng.random() < 0.8:
        moments, note = spoilt(rng, moments)
        notes.append(note)
    options = {}
    if est.likelihood == "gmm" or rng.random() < 0.2:
        seed = int(rng.integers(8))
        options["fourth_moments"] = choose(rng, [some_sums(seed, fourth=True)[0], None, moments, "a", 1, np.ones(3)])
        notes.append(f"fourth_moments of {type(options['fourth_moments']).__name__}")
    return Case(
        f"{kind.__name__}.fit_moments", lambda: est.fit_moments(moments, **options),
        argument_names(kind.fit_moments, est) | {"X", "t", "y", "z", "sample_weight"}, [], est, notes=notes,
    )  # fmt: skip


def metric(rng):
    """The density score of hostile rows and of what is no posterior."""
    what = choose(rng, SUBJECTS) if rng.random() < 0.4 else "BayesianIV"
    est, arguments = SUBJECTS[what](), draw_arguments(rng, plain=True, clusters=False)
    rows = dict(arguments.values)
    rows.setdefault("X", None)
    function = log_predictive_density if rng.random() < 0.7 else log_predictive_density_scorer
    known = argument_names(log_predictive_density)
    return Case(
        "metrics.log_predictive_density", lambda: function(est, **rows), known | {"likelihood"}, list(rows.values()), None,
        ERROR if arguments.must == ERROR else EITHER, notes=[what, *arguments.notes],
    )  # fmt: skip


NUMBERS = [None, 0.0, 1.0, -1.0, np.nan, np.inf, "a", [1.0], [1.0, 2.0], [2.0, 1.0], [], {}, 1e300, True, 1 + 1j, object(), (0, 1), (1, 1), [[1.0]], [None]]  # fmt: skip


def experiment(rng):
    """experiment_report with hostile bounds and rows."""
    what = choose(rng, SUBJECTS) if rng.random() < 0.5 else "TwoStageLS"
    est = SUBJECTS[what]()
    options = {"cost": choose(rng, NUMBERS), "rope": choose(rng, NUMBERS)} if rng.random() < 0.7 else {}
    if rng.random() < 0.3:
        options["level"] = choose(rng, LEVELS)
    notes = [what, *(f"{k}={v!r}" for k, v in options.items())]
    if rng.random() < 0.4:
        arguments = draw_arguments(rng, plain=True)
        options |= arguments.values
        notes += arguments.notes
    return Case(
        "experiment_report", lambda: (out := experiment_report(est, **options), str(out))[0],
        argument_names(experiment_report), list(options.values()), None, infinite=(r"table", "anderson_rubin"), notes=notes,
    )  # fmt: skip


def exclusion(rng):
    """exclusion_sensitivity of hostile scales."""
    what = choose(rng, SUBJECTS)
    est = SUBJECTS[what]()
    scales = choose(rng, [None, [0.0, 0.1], [0.0], [], [-1.0], [np.nan], "a", 1.0, [np.inf], [[0.1]], [1e300], [1e-300], {}, [None], [True], ["0.1"]])  # fmt: skip
    options = {"level": choose(rng, LEVELS)} if rng.random() < 0.3 else {}
    if rng.random() < 0.2:
        options["treatment"] = choose(rng, [0, "t", "nobody", 5, None, 1.5, [0]])
    return Case(
        "exclusion_sensitivity", lambda: (out := exclusion_sensitivity(est, scales, **options), str(out))[0],
        argument_names(exclusion_sensitivity) | argument_names(BayesianIV), [scales], None, infinite=("breakdown",),
        notes=[what, f"scales={scales!r}", *(f"{k}={v!r}" for k, v in options.items())], seconds=120.0,
    )  # fmt: skip

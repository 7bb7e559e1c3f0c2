"""Hostile fits of the Bayesian estimators, most of them by a sampler that costs nothing.

The sampler is a backend of its own: draws about the start, which lies in the bulk of the posterior.
All that comes before and after it is as ever. NUTS samples a few cases, of one shape.
"""

from __future__ import annotations

import copy
import warnings
from functools import cache

import jax  # noqa: F401 - its import draws from numpy's global generator
import numpy as np
from fuzz.arguments import arguments_of, draw_arguments
from fuzz.case import EITHER, ERROR, Case, Wrong, argument_names, choose, nothing
from fuzz.experiment import draw_experiment
from fuzz.two_stage import PLACES, answer_of, call_of
from fuzz.values import odd, seed, shown

from skbayesiv import BayesianIV, BayesianIVCV, HierarchicalBayesianIV
from skbayesiv._sampling.backends import BACKENDS
from skbayesiv._sampling.target import Draws


def rough(target, settings, track):
    """Draws about the start of a target."""
    rng = np.random.default_rng(settings.seed)
    shape = (settings.chains, settings.draws, len(target.start))
    position = target.start + 0.5 * target.spread * rng.normal(size=shape)
    stats = {"diverging": np.zeros(shape[:2], dtype=bool), "n_steps": np.ones(shape[:2], dtype=int)}
    return Draws(position, stats)


BACKENDS["rough"] = rough
ROUGH = {"backend": "rough", "draws": 24, "tune": 0, "chains": 1, "random_state": 0}
NUTS = ROUGH | {"backend": "numpyro", "tune": 20}
TEMPLATE = BayesianIV(**ROUGH)
HISTORY = {"effects": [0.8, 1.3, 1.0, 0.7], "std_errors": [0.3, 0.4, 0.2, 0.5]}
PRIORS = {
    "sigma_prior": ["lkj", "regression"],
    "likelihood": ["normal", "normal", "normal", "gmm"],
    "fit_intercept": [True, True, True, False],
    "intercept_prior": ["centered", "centered", "raw"],
    "exclusion_scale": [0.0, 0.0, 0.0, 0.1],
}
# Odd values that would cost time or compile a program, where they are allowed.
COSTLY = {"draws": 1000, "tune": 0, "chains": 2}


def draw_priors(rng, wrong=0.4):
    """Parameters of the model, and whether one is odd."""
    out = {name: choose(rng, values) for name, values in PRIORS.items()}
    if rng.random() > wrong:
        return out, False
    name = choose(rng, sorted(set(TEMPLATE.get_params()) - {"backend"}))
    value = odd(rng, *(PLACES if name in ("treatment", "instruments") else [1e160, ["auto"]]))
    if name == "random_state":
        value = seed(rng)
    if name in COSTLY and isinstance(value, int) and value > COSTLY[name]:
        value = COSTLY[name]
    return out | {name: value}, True


@cache
def _fitted(kind, likelihood, treated):
    experiment = draw_experiment(np.random.default_rng(1), treated=treated, small=False, plain=True)
    est = kind(**ROUGH, likelihood=likelihood)
    if kind is HierarchicalBayesianIV and treated:
        est.set_params(**HISTORY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return est.fit(**arguments_of(experiment).values)


def fitted(kind=BayesianIV, likelihood="normal", treated=True):
    """A copy of a posterior of one treatment, one instrument and one covariate."""
    return copy.copy(_fitted(kind, likelihood, treated))


@cache
def _searched():
    experiment = draw_experiment(np.random.default_rng(1), small=False, plain=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = BayesianIVCV(TEMPLATE, beta_t_scale=[0.1, 1.0], cv=2)
        return search.fit(**arguments_of(experiment).values)


def searched():
    """A copy of a search among two priors."""
    return copy.copy(_searched())


def fit(rng):
    """fit and partial_fit of hostile rows under hostile priors."""
    arguments = draw_arguments(rng, treated=rng.random() < 0.95, in_columns=True)
    priors, is_odd = draw_priors(rng)
    kind = choose(rng, [BayesianIV, BayesianIV, HierarchicalBayesianIV])
    before = rng.random() < 0.3
    est = fitted(kind) if before else kind()
    est.set_params(**ROUGH | arguments.places | priors)
    if kind is HierarchicalBayesianIV:
        est.set_params(**HISTORY)
    batch = rng.random() < 0.1 and "clusters" not in arguments.values
    alone = not (before or is_odd or batch or kind is HierarchicalBayesianIV)
    return case_of(rng, est, "partial_fit" if batch else "fit", arguments, priors, alone)


def sampled(rng):
    """A fit by NUTS, of one shape so that one program is compiled."""
    arguments = draw_arguments(rng, plain=True, clusters=False)
    est = BayesianIV(**NUTS)
    out = case_of(rng, est, "fit", arguments, {"fit_intercept": True}, True)
    out.seconds = 120.0  # the first compiles
    return out


def case_of(rng, est, method, arguments, priors, alone):
    """A case of a fit; `alone` the data decide the effect, not what came before."""
    run, form = call_of(rng, getattr(est, method), arguments.values)
    parameters = {"method": "2sls", "cov_type": "unadjusted", "debiased": False}
    parameters["fit_intercept"] = priors["fit_intercept"]
    excluded = alone and not priors.get("exclusion_scale", 0.0)
    answer = answer_of(arguments, parameters) if excluded else None
    sure = answer is not None and answer.is_certain and est.treatment is None
    return Case(
        f"{type(est).__name__}.{method}",
        run,
        argument_names(BayesianIV.fit, est),
        list(arguments.values.values()),
        est,
        ERROR if arguments.must == ERROR and method == "fit" else EITHER,
        (lambda result: plausible(result, answer)) if sure else nothing,
        notes=[form, est.backend, *shown(**priors), *arguments.notes],
    )


def plausible(est, answer):
    """Raise `Wrong` if the effect is far from 2SLS, where the data decide."""
    at = slice(est.n_treatments_)
    gap = np.abs(est.coef_[at] - answer.coef[at])
    reach = 30 * answer.std_errors[at] + 0.3 * np.abs(answer.coef).max(initial=0)
    if not (gap <= reach).all():
        raise Wrong(f"effect is {est.coef_[at]}; of 2SLS {answer.coef} ({answer.std_errors})")


def search(rng):
    """BayesianIVCV of hostile rows, scales, folds and scores."""
    arguments = draw_arguments(rng, clusters=False)
    options = {
        "cv": choose(rng, [2, 3]) if rng.random() < 0.6 else odd(rng, 10**6, [([0], [1])]),
        "beta_t_scale": [0.1, 1.0] if rng.random() < 0.6 else odd(rng, [0.0], [-1.0], [np.inf]),
        "scoring": choose(rng, ["r2", "log_predictive_density", "r2", "mse", None]),
        "estimator": TEMPLATE if rng.random() < 0.8 else odd(rng, BayesianIV),
    }
    est = BayesianIVCV(**options)
    run, form = call_of(rng, est.fit, arguments.values)
    return Case(
        "BayesianIVCV.fit",
        run,
        argument_names(BayesianIVCV.fit, est) | argument_names(BayesianIV) | {"n_splits"},
        list(arguments.values.values()),
        est,
        ERROR if arguments.must == ERROR else EITHER,
        notes=[form, *shown(**options), *arguments.notes],
    )

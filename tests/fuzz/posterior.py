"""Hostile calls of the Bayesian estimators, most of them by a sampler that costs nothing.

The sampler is a backend of its own: draws about the start, which lies in the bulk of the posterior.
All that comes before and after it is as ever. NUTS samples a few cases, of one shape.
"""

from __future__ import annotations

import copy
import warnings
from functools import cache

import numpy as np
from fuzz.arguments import arguments_of, draw_arguments
from fuzz.case import ANSWER, EITHER, ERROR, Case, Wrong, argument_names, choose, worst
from fuzz.experiment import draw_experiment
from fuzz.two_stage import WRONG_PARAMETERS, answer_of, call_of

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

BAD_NUMBERS = [np.nan, np.inf, -np.inf, "a", None, [], [np.nan], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], {}, object(),
               1e308, 1e-308, 0.0, -1.0, [[1.0]], True, 1 + 1j, "auto", np.array("auto"), ["auto"], b"auto",
               np.array(2.0), np.float32(2.0), [0.0], [-1.0], 1e160, 1e-160, [None], np.datetime64("2026-01-01")]  # fmt: skip
WRONG = {
    **dict.fromkeys(
        "intercept_y_loc intercept_y_scale intercept_t_loc intercept_t_scale beta_t_loc beta_t_scale beta_z_loc "
        "beta_z_scale gamma_y_loc gamma_t_loc gamma_scale sigma_scale lkj_eta exclusion_scale target_accept".split(),
        BAD_NUMBERS,
    ),
    "sigma_prior": ["wishart", None, 1], "likelihood": ["t", None, ["normal"]], "intercept_prior": ["none", 0],
    "fit_intercept": ["no", None, 2], "draws": [3, 0, -1, 4.5, "4", None, True, np.int64(4)], "tune": [-1, 1.5, None, "a"],
    "chains": [0, -1, 1.5, None, np.int32(2)], "backend": ["stan", None, 1, b"numpyro"],
    "random_state": ["a", -1, 1.5, [1], np.random.default_rng(0), 2**40],
    "treatment": WRONG_PARAMETERS["treatment"], "instruments": WRONG_PARAMETERS["instruments"],
}  # fmt: skip


def draw_priors(rng, wrong=0.4):
    """Parameters of the model, perhaps one that is hostile."""
    out = {
        "sigma_prior": choose(rng, ["lkj", "regression"]),
        "likelihood": choose(rng, ["normal", "gmm"], p=[0.8, 0.2]),
        "fit_intercept": bool(rng.random() < 0.9),
        "intercept_prior": choose(rng, ["centered", "raw"], p=[0.8, 0.2]),
        "exclusion_scale": float(choose(rng, [0.0, 0.1], p=[0.9, 0.1])),
    }
    notes = [f"{name}={value}" for name, value in out.items()]
    if rng.random() > wrong:
        return out, notes, False
    name = choose(rng, WRONG)
    value = choose(rng, WRONG[name])
    return out | {name: value}, [*notes, f"{name}={value!r}"], True


@cache
def _fitted(kind, likelihood, treated):
    arguments = arguments_of(draw_experiment(np.random.default_rng(1), treated=treated, small=False, plain=True))
    est = kind(**ROUGH, likelihood=likelihood, **(HISTORY if kind is HierarchicalBayesianIV and treated else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return est.fit(**arguments.values)


def fitted(kind=BayesianIV, likelihood="normal", treated=True):
    """A copy of a posterior of one treatment, one instrument and one covariate."""
    return copy.copy(_fitted(kind, likelihood, treated))


def fit(rng):
    """fit and partial_fit of hostile rows under hostile priors."""
    by_nuts = rng.random() < 0.02
    arguments = draw_arguments(rng, treated=rng.random() < 0.95, plain=by_nuts)
    priors, notes, wrong = draw_priors(rng, wrong=0.0 if by_nuts else 0.4)
    settings = (NUTS if by_nuts else ROUGH) | priors
    if by_nuts:
        settings |= {"likelihood": "normal", "sigma_prior": "lkj", "exclusion_scale": 0.0}
    before, hierarchical = rng.random() < 0.3, rng.random() < 0.3
    kind = HierarchicalBayesianIV if hierarchical and not by_nuts else BayesianIV
    est = fitted(kind, treated=True) if before else kind()
    est.set_params(**settings)
    if kind is HierarchicalBayesianIV:
        est.set_params(**HISTORY)
    method = "partial_fit" if rng.random() < 0.1 and "clusters" not in arguments.values else "fit"
    run, form = call_of(rng, getattr(est, method), arguments.values)
    answer = None
    if not (wrong or hierarchical or before or settings["exclusion_scale"] or method == "partial_fit"):
        answer = answer_of(arguments, {"method": "2sls", "cov_type": "unadjusted", "debiased": False, "fit_intercept": settings["fit_intercept"]})  # fmt: skip
    return Case(
        f"{kind.__name__}.{method}", run, argument_names(BayesianIV.fit, est) | {"effects"}, list(arguments.values.values()), est,
        ERROR if arguments.must == ERROR and method == "fit" else EITHER, lambda result: plausible(result, answer),
        notes=[form, "NUTS" if by_nuts else "rough", "fitted before" * before, *notes, *arguments.notes],
    )  # fmt: skip


def plausible(est, answer):
    """Raise `Wrong` if the effect is far from 2SLS, where that is sure and beyond the priors' reach."""
    if answer is None or not answer.is_certain or not est.n_treatments_:
        return
    gap = np.abs(est.coef_[: est.n_treatments_] - answer.coef[: est.n_treatments_])
    reach = 30 * answer.std_errors[: est.n_treatments_] + 0.3 * np.abs(answer.coef).max()
    if not (gap <= reach).all():
        raise Wrong(f"effect is {est.effect_}, and 2SLS {answer.coef}, standard errors {answer.std_errors}")


HISTORIES = {
    "numbers": lambda rng, j: rng.normal(1.0, 0.3, j),
    "a column": lambda rng, j: rng.normal(1.0, 0.3, (j, 1)),
    "two columns": lambda rng, j: rng.normal(1.0, 0.3, (j, 2)),
    "three dimensions": lambda rng, j: np.ones((j, 1, 1)),
    "with NaN": lambda rng, j: np.where(np.arange(j) == 0, np.nan, 1.0),
    "all NaN": lambda rng, j: np.full(j, np.nan),
    "with inf": lambda rng, j: np.where(np.arange(j) == 0, np.inf, 1.0),
    "zero": lambda rng, j: np.zeros(j),
    "negative": lambda rng, j: -np.ones(j),
    "tiny": lambda rng, j: np.full(j, 1e-300) * (1 + np.arange(j)),
    "denormal": lambda rng, j: np.full(j, 5e-324),
    "huge": lambda rng, j: np.full(j, 1e300) * (1 + np.arange(j) / 10),
    "uneven": lambda rng, j: 10.0 ** rng.integers(-12, 13, j),
    "far away": lambda rng, j: np.full(j, 1e12) + np.arange(j),
    "whole": lambda rng, j: np.arange(1, j + 1),
    "Booleans": lambda rng, j: np.ones(j, dtype=bool),
    "strings": lambda rng, j: ["a"] * j,
    "strings of numbers": lambda rng, j: ["1.5"] * j,
    "None": lambda rng, j: None,
    "with None": lambda rng, j: [None, *[1.0] * (j - 1)],
    "empty": lambda rng, j: [],
    "one": lambda rng, j: [1.0],
    "a number": lambda rng, j: 1.0,
    "complex": lambda rng, j: np.ones(j) + 1j,
    "dates": lambda rng, j: np.full(j, np.datetime64("2026-01-01")),
    "durations": lambda rng, j: np.arange(1, j + 1).astype("timedelta64[s]"),
    "ragged": lambda rng, j: [[1.0], *[[1.0, 2.0]] * (j - 1)],
    "masked": lambda rng, j: np.ma.masked_array(np.ones(j), mask=np.arange(j) == 0),
    "a generator": lambda rng, j: (1.0 for _ in range(j)),
    "a dict": lambda rng, j: {"a": 1.0},
    "a set": lambda rng, j: {1.0, 2.0},
    "a string": lambda rng, j: "1.0",
}  # fmt: skip
INDEXES = [None, "abcdefghijkl", [1] * 12, list("aabbccddeeff"), [np.nan] * 12, list(range(5, 17)), [("a", i) for i in range(12)], [None] * 12]  # fmt: skip


def draw_history(rng):
    """Hostile earlier effects and errors, and a note of each."""
    import pandas as pd

    j = int(choose(rng, [1, 2, 3, 6, 12]))
    out, notes = {}, []
    for name in ("effects", "std_errors"):
        kind = "numbers" if rng.random() < 0.4 else choose(rng, HISTORIES)
        value = HISTORIES[kind](rng, j)
        if name == "std_errors" and kind == "numbers":
            value = np.abs(value)
        if isinstance(value, np.ndarray) and value.ndim < 3 and rng.random() < 0.3:
            index = choose(rng, INDEXES)
            index = None if index is None else list(index)[: len(value)]
            if value.ndim == 1:
                value = pd.Series(value, index=index, name=choose(rng, [None, "t", 3]))
            else:
                value = pd.DataFrame(value, index=index, columns=choose(rng, [["t", "u"], ["t", "t"], [0, 1], ["x", "y"]])[: value.shape[1]])  # fmt: skip
            kind = f"{kind} with index {index}"[:60]
        out[name] = value
        notes.append(f"{name} {kind}")
    if rng.random() < 0.3:
        name = choose(rng, ["beta_t_bar_loc", "beta_t_bar_scale", "sigma_t_bar_scale", "sigma_t_bar_prior", "robust_weight"])
        out[name] = choose(rng, [*BAD_NUMBERS, "half-normal", "half-t", 1.0, 0.3])
        notes.append(f"{name}={out[name]!r}"[:60])
    return out, notes


def history(rng):
    """meta_analysis, and rarely a fit, of hostile histories."""
    parameters, notes = draw_history(rng)
    est = HierarchicalBayesianIV(**ROUGH).set_params(**parameters)
    words = argument_names(HierarchicalBayesianIV)
    given = [value for value in parameters.values() if isinstance(value, np.ndarray | list)]
    if rng.random() < 0.7:
        return Case(
            "MetaAnalysis", lambda: (out := est.meta_analysis(), str(out), out.to_frame())[0], words, given, est,
            check=lambda result: pooled(result, parameters),
            infinite=(r"predicted\.(mean|sd)", r"predictive", r"mean_effect\.sd"), notes=notes,
        )  # fmt: skip
    arguments = arguments_of(draw_experiment(rng, small=False, plain=True))
    return Case(
        "HierarchicalBayesianIV.fit with a history", lambda: est.fit(**arguments.values),
        words | argument_names(BayesianIV.fit), given, est, notes=notes,
    )  # fmt: skip


def pooled(result, parameters):
    """Raise `Wrong` unless Cochran's Q is the plain one, and intervals are in order."""
    for item in result.treatments:
        for part in (item.mean_effect, item.predicted):
            if not part.lower <= part.median <= part.upper:
                raise Wrong(f"{part} is not in order")
    try:
        b, s = (np.asarray(parameters[name], dtype=np.longdouble) for name in ("effects", "std_errors"))
    except (TypeError, ValueError) as error:
        raise Wrong("an answer for what are no numbers") from error
    import pandas as pd

    if b.ndim != 1 or any(isinstance(parameters[name], pd.Series) for name in ("effects", "std_errors")):
        return
    keep = ~np.isnan(b)
    w = (s[keep].min() / s[keep]) ** 2
    q = float((w * (b[keep] - (w * b[keep]).sum() / w.sum()) ** 2).sum() / s[keep].min() ** 2)
    found = result.treatments[0].heterogeneity.q
    allowed = 1e-8 * q + 1e-12 * float((w * b[keep] ** 2).sum() / s[keep].min() ** 2)
    if not abs(found - q) <= allowed:
        raise Wrong(f"Cochran's Q is {found}, not {q}")


def from_estimators(rng):
    """Histories made of estimators, or of what is none."""
    from fuzz.two_stage import fitted as classical

    pool = [classical(), classical(rows=1), fitted(), fitted(HierarchicalBayesianIV), classical(treated=False), BayesianIV(), None, "a", 1, BayesianIV]  # fmt: skip
    estimators = [choose(rng, pool) for _ in range(int(rng.integers(0, 4)))]
    estimators = choose(rng, [estimators, estimators, tuple(estimators), choose(rng, pool), iter(estimators), {"a": estimators}])  # fmt: skip
    options = {} if rng.random() < 0.6 else choose(rng, [{"names": ["a", "a"]}, {"names": "ab"}, {"names": []}, {"names": [1, 2]}, {"names": None}, {"draws": 5}, {"wrong": 1}])  # fmt: skip
    return Case(
        "HierarchicalBayesianIV.from_estimators", lambda: HierarchicalBayesianIV.from_estimators(estimators, **options),
        argument_names(HierarchicalBayesianIV.from_estimators) | argument_names(HierarchicalBayesianIV) | {"wrong", "est"},
        notes=[repr(estimators)[:120].replace("\n", " "), repr(options)],
    )  # fmt: skip


def search(rng):
    """BayesianIVCV of hostile rows, scales, folds and scores."""
    arguments = draw_arguments(rng, clusters=False)
    options = {"cv": choose(rng, [2, 3, 3, 1, 0, "a", 10**6, None, [], [([0], [1])], 2.5, object()]),
               "beta_t_scale": choose(rng, [[0.1, 1.0], [1.0], [], [0.0], [-1.0], ["a"], np.nan, [np.inf], None, "auto", 1.0, [[1.0, 2.0]]]),
               "scoring": choose(rng, ["r2", "log_predictive_density", "r2", "mse", None])}  # fmt: skip
    est = BayesianIVCV(choose(rng, [TEMPLATE, TEMPLATE, TEMPLATE, 1, BayesianIV]), **options)
    run, form = call_of(rng, est.fit, arguments.values)
    return Case(
        "BayesianIVCV.fit", run, argument_names(BayesianIVCV.fit, est) | argument_names(BayesianIV) | {"n_splits", "estimator"},
        list(arguments.values.values()), est, ERROR if arguments.must == ERROR else EITHER,
        notes=[form, *(f"{k}={v!r}" for k, v in options.items()), *arguments.notes],
    )  # fmt: skip

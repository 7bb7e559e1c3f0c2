"""Fitted estimators -> what their experiments alone say of the effects, for the next history."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from skbayesiv._honesty.evidence import Evidence
from skbayesiv._models.history.likelihoods import EffectLikelihood
from skbayesiv._models.parts.model import Model, TwoStage
from skbayesiv._reports.fitted import FittedIV, FittedPosterior
from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import fitted_estimator
from skbayesiv.diagnostics._reduced_form import reduced_form
from skbayesiv.exceptions import OURS, WeakInstrumentWarning

SMALLEST, LARGEST = 1e-40, 1e40


@dataclass(frozen=True, eq=False)
class Said:
    """What one experiment says of its K effects, without prior and history.

    Attributes
    ----------
    effects, std_errors : ndarray of shape (K,)
    likelihood : EffectLikelihood or None
        Of one treatment; None where the data do not give one.
    weakness : str
        Why effects and errors may be no summary, where there is no likelihood; else empty.
    """

    effects: Array
    std_errors: Array
    likelihood: EffectLikelihood | None
    weakness: str


def said(
    evidence: Evidence | None,
    estimate: Callable[[], TwoStage],
    *,
    robust: bool,
    direct: bool = False,
) -> Said:
    """What the rows or sums of an experiment say.

    Parameters
    ----------
    evidence : Evidence or None
    estimate : callable () -> (effects, std_errors)
        Two-stage least squares, and errors that allow for what the experiment's fit allows for.
    robust : bool
        Whether the errors' variances may be unequal.
    direct : bool
        Whether `estimate` allows for direct effects.
    """
    likelihood = None if evidence is None else effect_likelihood(evidence, robust=robust)
    if likelihood is None:
        return Said(*estimate(), None, "" if evidence is None else evidence.weakness)
    if direct:
        likelihood = likelihood.widen(float(estimate().std_errors[0]))
    effect, error = np.array([likelihood.effect]), np.array([likelihood.std_error])
    return Said(effect, error, likelihood, "")


def effect_likelihood(evidence: Evidence, *, robust: bool) -> EffectLikelihood | None:
    """Likelihood of one effect; None of several, or where numbers do not give one.

    Of a covariance that is robust it takes the part along the first stage.
    """
    p = evidence.design
    if p.n_treatments != 1:
        return None
    try:
        form = reduced_form(p, robust=robust and not p.classical_only, debiased=True)
    except (ValueError, np.linalg.LinAlgError):
        return None
    turn = np.array([[1.0, 0.0], [form.centre[0], 1.0]])  # from (y - t centre, t) to (y, t)
    coef, along = form.coef @ turn, form.coef[:, 1]
    covariance = turn.T @ np.einsum("deqr,q,r->de", form.cov, along, along) @ turn
    total = float(along @ along)
    unit = float(np.sqrt(p.projection.second[1, 1]))
    if not total > 0.0:
        return None
    own = EffectLikelihood(p.n_instruments, coef.T @ coef, covariance / total, unit)
    return own if own.proper and SMALLEST < own.std_error < LARGEST else None


def said_by_model(evidence: Evidence | None, model: Model, exclusion_scale: Any) -> Said:
    """What the experiment of a model says, with direct effects where it allows them."""
    direct = bool(np.any(np.asarray(exclusion_scale) != 0.0))
    return said(evidence, model.two_stage, robust=model.robust, direct=direct)


def said_by(est: FittedIV) -> Said:
    """What a fitted estimator's experiment says: TwoStageLS keeps its own estimate and error."""
    evidence = Evidence.of(est._rows_or_moments())
    if isinstance(est, FittedPosterior):
        return said_by_model(evidence, est._model, getattr(est, "exclusion_scale", 0.0))
    own = TwoStage(*map(np.asarray, est._effect_and_error()))
    found = said(evidence, lambda: own, robust=est._allows().uneven)
    return Said(*own, found.likelihood, found.weakness)


@dataclass(frozen=True, eq=False)
class HistoryTables:
    """Parameters of a history: tables of effects and errors, and likelihoods by name."""

    effects: Any
    std_errors: Any
    likelihoods: dict[str, EffectLikelihood] | None


def history_tables(estimators: Any, names: Sequence[str] | None = None) -> HistoryTables:
    """What fitted estimators say as a history.

    The tables have one row for each estimator and one column for each treatment that any of them
    has; not a number where one does not have it.
    """
    import pandas as pd

    if not isinstance(estimators, Sequence) or isinstance(estimators, str):
        raise TypeError(
            "estimators must be a list of fitted estimators or what fit_experiments returns; got "
            f"{type(estimators).__name__}."
        )
    if not len(estimators):
        raise ValueError("estimators must hold at least one fitted estimator; got none.")
    if names is not None and not (
        isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    ):
        raise TypeError(f"names must be a list of strings; got {names!r}.")
    index = [str(j) for j in range(len(estimators))] if names is None else list(names)
    if len(index) != len(estimators) or len(set(index)) != len(index):
        raise ValueError(
            f"names must be {len(estimators)} different names, one for each estimator; got {names}."
        )
    effects, errors, found = [], [], {}
    for name, given in zip(index, estimators, strict=True):
        est = fitted_estimator(given)
        treatments = est.moments_.columns.treatments
        if not treatments:
            raise ValueError(
                "estimators must be fitted with t and z: without a treatment there is no effect; "
                f"got {est}."
            )
        found[name] = said_by(est)
        effects.append(dict(zip(treatments, found[name].effects, strict=True)))
        errors.append(dict(zip(treatments, found[name].std_errors, strict=True)))
    tables = pd.DataFrame(effects, index=index), pd.DataFrame(errors, index=index)
    several = tables[0].shape[1] > 1
    warn_of_weak(found, several=several)
    return HistoryTables(*tables, None if several else likelihoods_of(found))


def likelihoods_of(found: dict[Any, Said]) -> dict[Any, EffectLikelihood]:
    """Likelihoods by name, of those that have one."""
    return {name: own.likelihood for name, own in found.items() if own.likelihood is not None}


def warn_of_weak(found: dict[str, Said], *, several: bool) -> None:
    """Warn of experiments that are summed up by a normal and should not be."""
    weak = [
        name
        for name, own in found.items()
        if own.weakness or (several and own.likelihood is not None and own.likelihood.weak)
    ]
    if weak:
        warnings.warn(
            f"The instruments of {len(weak)} of {len(found)} experiments may be weak "
            f"({', '.join(map(str, weak[:5]))}): their effects and standard errors are no "
            "summary of what they say, and all that a history of several treatments takes of them. "
            "Leave them out, or learn from one treatment at a time.",
            WeakInstrumentWarning,
            skip_file_prefixes=OURS,
        )


def unused_name(names: Sequence[str]) -> str:
    """First number, from their count on, that is not among the names."""
    return next(name for j in count(len(names)) if (name := str(j)) not in names)

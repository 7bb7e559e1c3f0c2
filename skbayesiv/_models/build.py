"""The models by name, and what each needs of the data: the one place that knows them all."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.identified import check_errors, check_identified
from skbayesiv._data.moments import Moments
from skbayesiv._data.named import NamedFrame
from skbayesiv._data.rows import IVData
from skbayesiv._data.sums import Data, Sums
from skbayesiv._linear.least_squares import check_relevant
from skbayesiv._models.moment_conditions.model import GMM
from skbayesiv._models.normal.model import NORMAL
from skbayesiv._models.parts.model import EffectModel, Likelihood
from skbayesiv._models.parts.priors import PriorParameters
from skbayesiv.exceptions import OURS

LIKELIHOODS: dict[str, Likelihood] = {"normal": NORMAL, "gmm": GMM}

Fold = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def build_model(parameters: PriorParameters, sums: Sums) -> EffectModel:
    """Compress data and an estimator's parameters into its model."""
    return LIKELIHOODS[parameters.likelihood].build(parameters, sums, None)


def read_sums(parameters: PriorParameters, data: Data) -> Sums:
    """Sums of rows that the model needs: one pass, two with covariates or clusters."""
    kind = LIKELIHOODS[parameters.likelihood]
    return Sums.of(data, fourth=kind.fourth, fit_intercept=parameters.fit_intercept)


def check_sums(parameters: PriorParameters, sums: Sums) -> None:
    """Raise unless rows and columns suffice for a posterior."""
    fit_intercept, joint = parameters.fit_intercept, LIKELIHOODS[parameters.likelihood].density
    check_identified(sums.moments, fit_intercept=fit_intercept, proper=joint)
    check_errors(sums.moments, fit_intercept=fit_intercept, joint=joint)
    if sums.moments.columns.treatments and not joint:
        check_relevant(sums.moments, fit_intercept=fit_intercept)


def read_batch(parameters: PriorParameters, data: Data, earlier: Sums | None) -> Sums:
    """Sums of a batch of rows and of those before it."""
    kind = LIKELIHOODS[parameters.likelihood]
    if kind.fourth and data.columns.covariates:
        raise ValueError(
            'X must be None to partial_fit with likelihood="gmm": fourth-order sums with '
            "covariates are taken about coefficients that all rows decide; got "
            f"{list(data.columns.covariates)}. Fit to all rows, or use "
            "fit_moments(moments, fourth_moments)."
        )
    sums = read_sums(parameters, data)
    if earlier is None:
        return sums
    if kind.fourth and earlier.fourth is None:
        raise ValueError(
            'likelihood must be "gmm" from the first batch on: the rows so far were fitted '
            "without fourth-order sums."
        )
    return earlier + sums


def sums_by_group(
    parameters: PriorParameters, frame: Any, covariates: str | Sequence[str], **roles: Any
) -> dict[Any, Sums]:
    """Sums of each group of a frame's rows that the model needs, in one pass."""
    if not LIKELIHOODS[parameters.likelihood].fourth:
        groups = Moments.from_frame(frame, covariates=covariates, **roles)
        return {key: Sums(moments) for key, moments in groups.items()}
    if covariates:
        raise ValueError(
            'covariates must be empty with likelihood="gmm": fourth-order sums are taken about '
            "coefficients on X of the rows they are of, and one pass over all experiments does "
            f"not know each one's; got {covariates!r}. Fit the experiments one at a time."
        )
    fourth = FourthMoments.from_frame(frame, fit_intercept=parameters.fit_intercept, **roles)
    return {key: Sums(sums.moments(), sums) for key, sums in fourth.items()}


def sums_by_segment(parameters: PriorParameters, data: IVData | NamedFrame) -> dict[Any, Sums]:
    """Sums of each segment of rows that the model needs: of a lazy frame in one pass."""
    if isinstance(data, IVData):
        return {label: read_sums(parameters, own) for label, own in data.by_segment.items()}
    if not LIKELIHOODS[parameters.likelihood].fourth:
        return {label: Sums(own) for label, own in data.by_segment_moments().items()}
    fourth = data.by_segment_fourth_moments(fit_intercept=parameters.fit_intercept)
    return {label: Sums(own.moments(), own) for label, own in fourth.items()}


def training_sums(parameters: PriorParameters, data: IVData, folds: Sequence[Fold]) -> list[Sums]:
    """Sums of each fold's training rows: the total less the fold where the fold is all the rest."""
    kind, whole = LIKELIHOODS[parameters.likelihood], data.moments()
    moments = [
        whole - data.take(test).moments()
        if len(train) + len(test) == data.n_rows
        else data.take(train).moments()
        for train, test in folds
    ]
    if not kind.fourth:
        return [Sums(own) for own in moments]
    fourth = _training_fourth_moments(parameters, data, folds)
    return [Sums(*pair) for pair in zip(moments, fourth, strict=True)]


def _training_fourth_moments(
    parameters: PriorParameters, data: IVData, folds: Sequence[Fold]
) -> list[FourthMoments | None]:
    """Fourth-order sums of each fold's training rows.

    With covariates they are about coefficients of the training rows, and clusters may be in more
    than one fold: then a fold cannot be taken from the total.
    """
    if data.grouped or data.columns.covariates:
        return [read_sums(parameters, data.take(train)).fourth for train, _ in folds]
    whole = data.fourth_moments(fit_intercept=parameters.fit_intercept)
    return [
        whole - data.take(test).fourth_moments(whole.reference)
        if len(train) + len(test) == data.n_rows
        else data.take(train).fourth_moments(whole.reference)
        for train, test in folds
    ]


def warn_of_unused(parameters: PriorParameters) -> None:
    """Warn of priors that were set and that the model does not have."""
    defaults = inspect.signature(type(parameters)).parameters
    changed = [
        name
        for name in LIKELIHOODS[parameters.likelihood].unused
        if not np.array_equal(getattr(parameters, name), defaults[name].default)
    ]
    if changed:
        warnings.warn(
            f'likelihood="gmm" does not use {", ".join(changed)}: moment conditions have priors '
            "of the effect and of direct effects (beta_t_*, exclusion_scale) and no others.",
            UserWarning,
            skip_file_prefixes=OURS,
        )

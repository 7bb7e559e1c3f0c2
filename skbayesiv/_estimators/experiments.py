"""Thousands of experiments: one pass over the rows, all posteriors in sweeps, one tree."""

from __future__ import annotations

import warnings
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from skbayesiv._data.moments import Moments
from skbayesiv._data.sums import Sums
from skbayesiv._estimators.bayesian import BayesianIV
from skbayesiv._estimators.earlier_estimates import Said, likelihoods_of, said_by_model
from skbayesiv._estimators.progress import task
from skbayesiv._honesty.evidence import Evidence
from skbayesiv._linear.equation import Equation
from skbayesiv._models.build import check_sums, sums_by_group
from skbayesiv._models.history.likelihoods import EffectLikelihood
from skbayesiv._models.parts.model import Model
from skbayesiv._models.sampling import attempt, sample_models
from skbayesiv._results.chains import spread_ratio
from skbayesiv._results.stacked import Stack
from skbayesiv._typing import Array
from skbayesiv.exceptions import (
    OURS,
    ConvergenceWarning,
    FitFailedWarning,
    WeakInstrumentWarning,
)

MAX_SPLIT_RHAT = 1.05
SHOWN = 10
DEFAULT = BayesianIV(chains=2, draws=500, backend="independence")


@dataclass(frozen=True, eq=False)
class ExperimentFits:
    """Posteriors of many experiments.

    Attributes
    ----------
    idata : xarray.DataTree
        Groups posterior and sample_stats, with a dimension experiment after chain and draw. What
        a template's history adds for each earlier experiment has the dimension
        earlier_experiment. Experiments that could not be fitted are left out.
    effects, std_errors : DataFrame of shape (J, K)
        What each experiment says of its effects without prior and history, as
        :meth:`HierarchicalBayesianIV.from_estimators` takes it of single fits: LIML's effect of one
        treatment, two-stage least squares of several; NaN where the experiment could not be
        fitted. Posteriors are in `idata`.
    likelihoods : dict of EffectLikelihood
        What each says of the effect of one treatment, by experiment, whether or not its instruments
        are strong; ``HierarchicalBayesianIV.from_estimators(fits)`` makes all of it a history.
    moments : dict
        Moments by experiment.
    failures : dict of str
        Why an experiment could not be fitted, by experiment; empty if all were.
    weak : dict of str
        Why an experiment's instruments may be weak, by experiment: its effect and standard error
        are no summary of what it says, and its likelihood is.
    """

    idata: Any
    effects: Any
    std_errors: Any
    likelihoods: dict[Any, EffectLikelihood]
    moments: dict[Any, Moments]
    failures: dict[Any, str]
    weak: dict[Any, str]


def fit_experiments(
    frame: Any,
    *,
    by: str,
    outcome: str,
    treatment: str | Sequence[str],
    instruments: str | Sequence[str],
    covariates: str | Sequence[str] = (),
    sample_weight: str | None = None,
    missing: Literal["raise", "drop"] = "raise",
    estimator: BayesianIV | None = None,
    n_jobs: int | None = None,
) -> ExperimentFits:
    """Fit one BayesianIV to each group of rows.

    Parameters
    ----------
    frame : data frame
        Whatever :meth:`Moments.from_frame` reads, in one pass.
    by : str
        Column that names the experiment.
    outcome, treatment, instruments, covariates, sample_weight : str or sequence of str
        Columns by role.
    missing : {"raise", "drop"}, default="raise"
        As in :meth:`Moments.from_frame`: raise on null and NaN, or leave out the rows that have
        either in a column named here.
    estimator : BayesianIV, optional
        Template with priors and sampler settings;
        ``BayesianIV(chains=2, draws=500, backend="independence")`` when None, which samples many
        experiments at once. All experiments share its random numbers and, of a
        :class:`HierarchicalBayesianIV`, its history. With ``likelihood="gmm"`` there may be no
        covariates, and with ``backend="pymc"``, which is slow, it must be this likelihood: the
        other needs rows.
    n_jobs : int, optional
        Threads, as in joblib, for a backend that samples the experiments one by one.

    Returns
    -------
    ExperimentFits

    Raises
    ------
    ValueError
        If the columns or their values are not as :meth:`Moments.from_frame` wants them, if there
        are no rows, or if no experiment can be fitted.

    Warns
    -----
    FitFailedWarning
        If some experiments cannot be fitted, such as one in which all or none were treated, with
        their names and the reasons. The others are.
    WeakInstrumentWarning
        If the instruments of some experiments are weak, with their names, unless the estimator has
        ``check=False``.
    ConvergenceWarning
        If the split R-hat of an effect exceeds 1.05, a transition diverged, or
        ``backend="independence"`` does not cover a posterior, with the experiments' names.

    Examples
    --------
    >>> import pandas as pd
    >>> from skbayesiv import HierarchicalBayesianIV, fit_experiments
    >>> from skbayesiv.datasets import make_noncompliance
    >>> parts = [make_noncompliance(300, effect=1.0, random_state=i) for i in range(3)]
    >>> frame = pd.concat(
    ...     pd.DataFrame({"t": p.t, "y": p.y, "z": p.z, "week": i}) for i, p in enumerate(parts)
    ... )
    >>> fits = fit_experiments(frame, by="week", outcome="y", treatment="t", instruments="z")
    >>> fits.effects.shape
    (3, 1)
    >>> next_one = HierarchicalBayesianIV.from_estimators(fits)
    """
    template = DEFAULT if estimator is None else estimator
    if not isinstance(template, BayesianIV):
        raise TypeError(
            "estimator must be a BayesianIV or HierarchicalBayesianIV; got "
            f"{type(template).__name__}."
        )
    template._validate_params()
    if not isinstance(by, str):
        raise TypeError(f"by must be the name of a column; got {by!r}.")
    sums = sums_by_group(
        template,
        frame,
        covariates,
        outcome=outcome,
        treatment=treatment,
        instruments=instruments,
        sample_weight=sample_weight,
        by=by,
        missing=missing,
    )
    if not sums:
        raise ValueError(f"frame must have rows in a group of {by!r}; got none.")
    if not next(iter(sums.values())).columns.treatments:
        raise ValueError(f"treatment must name a column; got {treatment!r}.")
    models, failures = _part({key: attempt(_model, template, own) for key, own in sums.items()})
    _check_some(models, failures)
    stack, failed = _sample(template, models, n_jobs)
    failures = {key: reason for key in sums if (reason := (failures | failed).get(key))}
    _check_some(stack.names, failures)
    _warn_of_failures(failures, len(sums))
    _warn_of_convergence(stack, [key for key in sums if key not in failures])
    fitted = {key: own for key, own in sums.items() if key not in failures}
    evidence = {key: _evidence(template, own) for key, own in fitted.items()}
    weak = _weak(evidence) if template.check else {}
    _warn_of_weakness(weak, len(sums))
    found = {
        key: said_by_model(own, models[key], template.exclusion_scale)
        for key, own in evidence.items()
    }
    return _collect(
        stack, {key: own.moments for key, own in sums.items()}, found, failures, weak, by
    )


def _evidence(template: BayesianIV, sums: Sums) -> Evidence | None:
    """What one experiment's data say of its instruments and its effect."""
    return Evidence.of(
        Equation.from_sums(sums.moments, sums.fourth, fit_intercept=template.fit_intercept)
    )


def _part[T](results: dict[Any, T | Exception]) -> tuple[dict[Any, T], dict[Any, str]]:
    """Results, and reasons why there are none, by experiment."""
    good = {key: value for key, value in results.items() if not isinstance(value, Exception)}
    return good, {
        key: _reason(value) for key, value in results.items() if isinstance(value, Exception)
    }


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _model(template: BayesianIV, sums: Sums) -> Model:
    check_sums(template, sums)
    return template._build_model(sums)


def _sample(
    template: BayesianIV, models: dict[Any, Model], n_jobs: int | None
) -> tuple[Stack, dict[Any, str]]:
    """Draws of all experiments, taken as they come, and the reasons why some have none."""
    stack, failures = Stack(len(models)), {}
    with task(template, "experiments", total=len(models)) as track:
        sampled = sample_models(
            list(models.values()),
            template.backend,
            template._settings(),
            n_jobs=n_jobs,
            track=track,
        )
        for (key, model), result in zip(models.items(), track(sampled), strict=True):
            if isinstance(result, Exception):
                failures[key] = _reason(result)
            else:
                stack.put(str(key), model.coords, *result)
    return stack, failures


def _collect(
    stack: Stack,
    groups: dict[Any, Moments],
    found: dict[Any, Said],
    failures: dict[Any, str],
    weak: dict[Any, str],
    by: str,
) -> ExperimentFits:
    """One tree and two tables of all experiments."""
    import pandas as pd

    treatments = next(iter(groups.values())).columns.treatments

    def table(values: list[Array]) -> pd.DataFrame:
        rows = np.full((len(groups), len(treatments)), np.nan)
        rows[[key in found for key in groups]] = values
        return pd.DataFrame(rows, index=pd.Index(groups, name=by), columns=list(treatments))

    return ExperimentFits(
        idata=stack.tree(),
        effects=table([own.effects for own in found.values()]),
        std_errors=table([own.std_errors for own in found.values()]),
        likelihoods=likelihoods_of(found),
        moments=groups,
        failures=failures,
        weak=weak,
    )


def _check_some(fitted: Sized, failures: dict[Any, str]) -> None:
    """Raise if there is no experiment left."""
    if not len(fitted):
        key, reason = next(iter(failures.items()))
        raise ValueError(f"No experiment can be fitted. Experiment {key!r}: {reason}")


def _weak(evidence: dict[Any, Evidence | None]) -> dict[Any, str]:
    """Why experiments' instruments may be weak, of those that are."""
    return {key: own.weakness for key, own in evidence.items() if own and own.weakness}


def _warn_of_weakness(weak: dict[Any, str], total: int) -> None:
    if weak:
        warnings.warn(
            f"The instruments of {len(weak)} of {total} experiments may be weak, and weak holds "
            f"the reasons ({', '.join(map(str, [*weak][:SHOWN]))}): intervals of their effects can "
            "cover far less than they say, and an effect and a standard error are no summary of "
            "what they say. Report skbayesiv.diagnostics.anderson_rubin_confidence_set of each; "
            "HierarchicalBayesianIV.from_estimators makes a history of their likelihoods.",
            WeakInstrumentWarning,
            skip_file_prefixes=OURS,
        )


def _warn_of_failures(failures: dict[Any, str], total: int) -> None:
    if failures:
        lines = [f"{key!r}: {failures[key]}" for key in [*failures][:SHOWN]]
        more = [f"and {len(failures) - SHOWN} more"] if len(failures) > SHOWN else []
        warnings.warn(
            f"{len(failures)} of {total} experiments cannot be fitted. Their effects are NaN, and "
            "failures holds the reasons:\n" + "\n".join(lines + more),
            FitFailedWarning,
            skip_file_prefixes=OURS,
        )


def _warn_of_convergence(stack: Stack, keys: list[Any]) -> None:
    """Warn of experiments whose chains disagree, diverged or do not cover the posterior."""
    rhat = split_rhat(stack.effects).max(axis=-1)
    bad = np.logical_or(~(rhat <= MAX_SPLIT_RHAT), stack.suspect)
    if bad.any():
        names = [keys[i] for i in np.flatnonzero(bad)]
        warnings.warn(
            f"The sampler has not converged in {len(names)} of {len(keys)} experiments "
            f"({', '.join(map(str, names[:SHOWN]))}): raise draws, tune or target_accept of the "
            'estimator, use a tighter prior or, in the place of backend="independence", '
            '"numpyro".',
            ConvergenceWarning,
            skip_file_prefixes=OURS,
        )


def split_rhat(draws: Array) -> Array:
    """Split R-hat (Gelman et al. 2013, eq. 11.4) of draws (chains, draws, ...), vectorised.

    A screen over thousands of experiments; a single fit gets ArviZ's rank-normalised one.
    """
    half = draws.shape[1] // 2
    chains = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    return spread_ratio(np.moveaxis(chains, (0, 1), (-2, -1)))

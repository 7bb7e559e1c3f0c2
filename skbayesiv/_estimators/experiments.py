"""Thousands of experiments: one pass over the rows, one compiled sampler, one tree."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed

from skbayesiv._data.moments import Moments
from skbayesiv._data.sums import Sums
from skbayesiv._estimators.bayesian import BayesianIV
from skbayesiv._models.build import check_sums, sums_by_group
from skbayesiv._models.history.draws import MAX_BETA_J
from skbayesiv._models.parts.model import Model
from skbayesiv._models.parts.names import DIMS, Coords
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.sampling import sample_model
from skbayesiv._results.tree import dataset
from skbayesiv._sampling.target import Draws, Settings
from skbayesiv._typing import Array
from skbayesiv.exceptions import OURS, ConvergenceWarning

EARLIER = "earlier_experiment"  # dimension of a template's history
MAX_SPLIT_RHAT = 1.05


@dataclass(frozen=True, eq=False)
class ExperimentFits:
    """Posteriors of many experiments.

    Attributes
    ----------
    idata : xarray.DataTree
        Groups posterior and sample_stats, with a dimension experiment after chain and draw. What
        a template's history adds for each earlier experiment has the dimension
        earlier_experiment.
    effects, std_errors : DataFrame of shape (J, K)
        Posterior means and standard deviations of the effects, one row for each experiment. They
        are what :class:`HierarchicalBayesianIV` takes as its history.
    moments : dict
        Moments by experiment.
    """

    idata: Any
    effects: Any
    std_errors: Any
    moments: dict[Any, Moments]


def fit_experiments(
    frame: Any,
    *,
    by: str,
    outcome: str,
    treatment: str | Sequence[str],
    instruments: str | Sequence[str],
    covariates: str | Sequence[str] = (),
    sample_weight: str | None = None,
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
    estimator : BayesianIV, optional
        Template with priors and sampler settings; ``BayesianIV(chains=2, draws=500, tune=500)``
        when None. All experiments share its random numbers and, of a
        :class:`HierarchicalBayesianIV`, its history. With ``likelihood="gmm"`` there may be no
        covariates, and with ``backend="pymc"``, which is slow, it must be this likelihood: the
        other needs rows.
    n_jobs : int, optional
        Threads, as in joblib.

    Returns
    -------
    ExperimentFits

    Warns
    -----
    ConvergenceWarning
        If the split R-hat of an effect exceeds 1.05, or a transition diverged, with the
        experiments' names.

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
    >>> next_one = HierarchicalBayesianIV(fits.effects, fits.std_errors)
    """
    template = estimator or BayesianIV(chains=2, draws=500, tune=500)
    template._validate_params()
    sums = sums_by_group(
        template,
        frame,
        covariates,
        outcome=outcome,
        treatment=treatment,
        instruments=instruments,
        sample_weight=sample_weight,
        by=by,
    )
    models = {key: _model(template, key, own) for key, own in sums.items()}
    settings = template._settings()
    sampled = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_fit)(model, template.backend, settings) for model in models.values()
    )
    fits = dict(zip(models, sampled, strict=True))
    return _collect(fits, {key: own.moments for key, own in sums.items()}, by)


class Fit(NamedTuple):
    """One experiment's posterior, its draws flat over chains, and the names of its dimensions."""

    coords: Coords
    draws: Draws
    posterior: Posterior


def _model(template: BayesianIV, key: Any, sums: Sums) -> Model:
    """One experiment's model, or an error that names the experiment."""
    try:
        check_sums(template, sums)
        return template._build_model(sums)
    except ValueError as error:
        raise ValueError(f"Experiment {key!r}: {error}") from error


def _fit(model: Model, backend: str, settings: Settings) -> Fit:
    draws, posterior = sample_model(model, backend, settings)
    return Fit(model.coords, draws, posterior)


def _collect(fits: dict[Any, Fit], groups: dict[Any, Moments], by: str) -> ExperimentFits:
    """One tree and two tables of all experiments."""
    import pandas as pd
    import xarray as xr

    keys, columns = list(fits), next(iter(groups.values())).columns
    values = _stack(fits, lambda fit: fit.posterior.values)
    if "beta_j" in values and values["beta_j"].size > MAX_BETA_J:
        del values["beta_j"]
    stats = _stack(fits, lambda fit: fit.draws.flat_stats)
    coords = fits[keys[0]].coords
    coords |= {EARLIER: coords["experiment"], "experiment": [str(key) for key in keys]}
    parts = {"posterior": values, "sample_stats": stats}
    idata = xr.DataTree.from_dict(
        {name: dataset(part, _dims(part), coords) for name, part in parts.items()}
    )
    beta = values["beta_t"]
    _warn(beta, stats["diverging"], keys)
    index, treatments = pd.Index(keys, name=by), list(columns.treatments)
    return ExperimentFits(
        idata=idata,
        effects=pd.DataFrame(beta.mean((0, 1)), index=index, columns=treatments),
        std_errors=pd.DataFrame(beta.std((0, 1)), index=index, columns=treatments),
        moments=groups,
    )


def _stack(fits: dict[Any, Fit], of: Callable[[Fit], Mapping[str, Array]]) -> dict[str, Array]:
    """Arrays of all experiments by name, shape (chains, draws, experiments, ...)."""
    parts = list(fits.values())
    chains, n_draws = parts[0].draws.position.shape[:2]

    def stack(name: str) -> Array:
        whole = np.stack([of(fit)[name] for fit in parts], axis=1)
        return whole.reshape(chains, n_draws, *whole.shape[1:])

    return {name: stack(name) for name in of(parts[0])}


def _dims(values: dict[str, Array]) -> dict[str, tuple[str, ...]]:
    """Dimensions of draws of many experiments; those of a history have a name of their own."""
    own = {name: DIMS.get(name, ()) for name in values}
    renamed = {
        name: tuple(EARLIER if dim == "experiment" else dim for dim in dims)
        for name, dims in own.items()
    }
    return {name: ("chain", "draw", "experiment", *dims) for name, dims in renamed.items()}


def _warn(beta: Array, diverging: Array, keys: list[Any]) -> None:
    """Warn of experiments whose chains disagree or diverged."""
    rhat = split_rhat(beta).max(axis=-1)
    bad = (rhat > MAX_SPLIT_RHAT) | diverging.any((0, 1))
    if bad.any():
        names = [keys[i] for i in np.flatnonzero(bad)]
        warnings.warn(
            f"The sampler has not converged in {len(names)} of {len(keys)} experiments "
            f"({', '.join(map(str, names[:10]))}): raise draws, tune or target_accept of the "
            "estimator, or use a tighter prior.",
            ConvergenceWarning,
            skip_file_prefixes=OURS,
        )


def split_rhat(draws: Array) -> Array:
    """Split R-hat (Gelman et al. 2013, eq. 11.4) of draws (chains, draws, ...), vectorised.

    A screen over thousands of experiments; a single fit gets ArviZ's rank-normalised one.
    """
    half = draws.shape[1] // 2
    chains = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    within = chains.var(axis=1, ddof=1).mean(axis=0)
    between = half * chains.mean(axis=1).var(axis=0, ddof=1)
    return np.asarray(np.sqrt(((half - 1) / half * within + between / half) / within))

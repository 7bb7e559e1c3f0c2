"""Thousands of experiments: one pass over the rows, vectorised sampling, one tree."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone

from skbayesiv._columns import Columns
from skbayesiv._data.fourth_moments import FourthMoments
from skbayesiv._data.identified import check_identified, check_outcome_has_error
from skbayesiv._data.moments import Moments
from skbayesiv._data.standardised import standardise
from skbayesiv._estimators.bayesian import BayesianIV
from skbayesiv._models.build import Likelihood, build_likelihood
from skbayesiv._models.parts.names import DIMS, coordinates
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._results.tree import dataset
from skbayesiv._sampling.nuts import sample_many
from skbayesiv._sampling.target import Draws, Settings
from skbayesiv._typing import Array
from skbayesiv.exceptions import OURS, ConvergenceWarning

Tallies = tuple[Moments, FourthMoments | None]

BATCH = 64
MAX_SPLIT_RHAT = 1.05


@dataclass(frozen=True, eq=False)
class ExperimentFits:
    """Posteriors of many experiments.

    Attributes
    ----------
    idata : xarray.DataTree
        Groups posterior and sample_stats, with a dimension experiment after chain and draw.
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
        when None. All experiments share its random numbers. With ``likelihood="gmm"`` there may
        be no covariates.
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
    sums = _sums_by_experiment(
        template,
        frame,
        outcome=outcome,
        treatment=treatment,
        instruments=instruments,
        covariates=covariates,
        sample_weight=sample_weight,
        by=by,
    )
    settings = template._settings()
    keys = list(sums)
    batches = [keys[i : i + BATCH] for i in range(0, len(keys), BATCH)]
    parts = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_fit_batch)(template, [(key, sums[key]) for key in batch], settings)
        for batch in batches
    )
    fits = [fit for part in parts for fit in part]
    return _collect(keys, fits, {key: moments for key, (moments, _) in sums.items()}, by)


def _sums_by_experiment(
    template: BayesianIV, frame: Any, covariates: str | Sequence[str], **roles: Any
) -> dict[Any, Tallies]:
    """What the likelihood needs to know of each experiment's rows, in one pass."""
    if template.likelihood == "normal":
        groups = Moments.from_frame(frame, covariates=covariates, **roles)
        return {key: (moments, None) for key, moments in groups.items()}
    if covariates:
        raise ValueError(
            'covariates must be empty with likelihood="gmm": fourth-order sums are taken about '
            "coefficients on X of the rows they are of, and one pass over all experiments does "
            f"not know each one's; got {covariates!r}. Fit the experiments one at a time."
        )
    sums = FourthMoments.from_frame(frame, fit_intercept=template.fit_intercept, **roles)
    return {key: (fourth.moments(), fourth) for key, fourth in sums.items()}


def _fit_batch(
    template: BayesianIV, batch: list[tuple[Any, Tallies]], settings: Settings
) -> list[tuple[Draws, Posterior]]:
    """Sample a batch of experiments in one call; a short batch is padded with its last."""
    est = clone(template)
    models: list[Likelihood] = []
    for key, (moments, fourth) in batch:
        try:
            check_identified(moments, fit_intercept=est.fit_intercept)
            check_outcome_has_error(moments, fit_intercept=est.fit_intercept)
        except ValueError as error:
            raise ValueError(f"Experiment {key!r}: {error}") from error
        models.append(build_likelihood(est, standardise(moments), fourth))
    targets = [est._target(model) for model in models]
    padded = targets + targets[-1:] * (BATCH - len(targets)) if len(targets) > 1 else targets
    drawn = sample_many(padded, settings)[: len(models)]
    out = []
    for model, draws in zip(models, drawn, strict=True):
        flat = draws.position.reshape(-1, draws.position.shape[-1])
        generator = np.random.default_rng([settings.seed, 1])
        out.append((draws, model.posterior(flat, generator)))
    return out


def _collect(
    keys: list[Any],
    fits: list[tuple[Draws, Posterior]],
    groups: dict[Any, Moments],
    by: str,
) -> ExperimentFits:
    import pandas as pd
    import xarray as xr

    columns = groups[keys[0]].columns
    chains, n_draws = fits[0][0].position.shape[:2]

    def stack(arrays: list[Array]) -> Array:
        whole = np.stack(arrays, axis=1)
        return whole.reshape(chains, n_draws, *whole.shape[1:])

    values = {
        name: stack([posterior.values[name] for _, posterior in fits]) for name in fits[0][1].values
    }
    stats = {
        name: stack([draws.stats[name].reshape(-1) for draws, _ in fits])
        for name in fits[0][0].stats
    }
    idata = xr.DataTree.from_dict(
        {
            "posterior": _dataset(values, DIMS, columns, keys),
            "sample_stats": _dataset(stats, {}, columns, keys),
        }
    )
    beta = values["beta_t"]
    _warn(beta, stats["diverging"], keys)
    index = pd.Index(keys, name=by)
    effects = pd.DataFrame(beta.mean((0, 1)), index=index, columns=list(columns.treatments))
    errors = pd.DataFrame(beta.std((0, 1)), index=index, columns=list(columns.treatments))
    return ExperimentFits(idata, effects, errors, groups)


def _dataset(
    values: dict[str, Array], dims: dict[str, tuple[str, ...]], columns: Columns, keys: list[Any]
) -> Any:
    full = {name: ("chain", "draw", "experiment", *dims.get(name, ())) for name in values}
    return dataset(values, full, coordinates(columns, tuple(str(key) for key in keys)))


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

"""Fitted estimators -> what their experiments alone say of the effects, for the next history."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol, runtime_checkable

import numpy as np

from skbayesiv._reports.fitted import FittedIV, FittedPosterior
from skbayesiv._typing import Array
from skbayesiv.diagnostics._fitted import fitted_estimator

MAX_PRIOR_SHARE = 0.9


@runtime_checkable
class PosteriorAlone(FittedPosterior, Protocol):
    """A posterior that can be had without its history."""

    def _without_history(self) -> FittedPosterior:
        """Posterior of the current experiment alone."""
        ...


def estimates_table(estimators: Sequence[Any], names: Sequence[str] | None = None) -> Any:
    """Effects and standard errors of fitted estimators as two data frames.

    Returns
    -------
    effects, std_errors : DataFrame
        One row for each estimator, one column for each treatment that any of them has; not a
        number where one does not have it.
    """
    import pandas as pd

    if not isinstance(estimators, Sequence) or isinstance(estimators, str):
        raise TypeError(
            f"estimators must be a list of fitted estimators; got {type(estimators).__name__}."
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
    effects, errors = [], []
    for given in estimators:
        est = fitted_estimator(given)
        treatments = est.moments_.columns.treatments
        if not treatments:
            raise ValueError(
                "estimators must be fitted with t and z: without a treatment there is no effect; "
                f"got {est}."
            )
        effect, error = likelihood_estimate(est)
        effects.append(dict(zip(treatments, effect, strict=True)))
        errors.append(dict(zip(treatments, error, strict=True)))
    return pd.DataFrame(effects, index=index), pd.DataFrame(errors, index=index)


def likelihood_estimate(est: FittedIV) -> tuple[Array, Array]:
    """Effects (K,) and standard errors, without prior and history.

    A posterior N(m, C) under the prior N(loc, D) is that prior times a likelihood N(b, S) with

        S^-1 = C^-1 - D^-1,    b = S (C^-1 m - D^-1 loc),

    which is what an earlier experiment says: its prior is not data.
    """
    if not isinstance(est, PosteriorAlone):
        effect, error = est._effect_and_error()
        return np.asarray(effect), np.asarray(error)
    alone = est._without_history()
    draws = alone.idata_.posterior["beta_t"].to_numpy()
    draws = draws.reshape(-1, draws.shape[-1])
    prior = alone._model.effect_prior
    spread = np.cov(draws.T, bias=True).reshape(2 * draws.shape[1:])
    # Eigenvalues of C^1/2 D^-1 C^1/2 are the prior's share of the posterior's precision.
    factor = np.linalg.cholesky(spread)
    share = np.linalg.eigvalsh(factor.T @ np.diag(prior.scale**-2.0) @ factor).max()
    if share > MAX_PRIOR_SHARE:
        raise ValueError(
            f"The posterior of the effect (sd {draws.std(axis=0)}) is hardly tighter than its "
            f"prior (beta_t_scale {prior.scale}), so that what this experiment says cannot be told "
            "from its draws: refit with a wider prior, or leave it out."
        )
    posterior = np.linalg.inv(spread)
    covariance = np.linalg.inv(posterior - np.diag(prior.scale**-2.0))
    effect = covariance @ (posterior @ draws.mean(axis=0) - prior.loc / prior.scale**2)
    return effect, np.sqrt(np.diag(covariance))


def unused_name(names: Sequence[str]) -> str:
    """First number, from their count on, that is not among the names."""
    return next(name for j in count(len(names)) if (name := str(j)) not in names)

"""A model and a backend -> draws and a posterior; many models at once where the backend can."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import batched, groupby, repeat
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from skbayesiv._data.rows import IVData
from skbayesiv._models.parts.model import Model, StackedModel
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._sampling.backends import BACKENDS, MANY
from skbayesiv._sampling.compiling import told_of_compiling
from skbayesiv._sampling.stack import kind, n_floats
from skbayesiv._sampling.target import Draws, Settings

Sampled = tuple[Draws, Posterior]
EXPECTED = (ValueError, ArithmeticError, RuntimeError)
TOGETHER = 64  # models that are sampled at once
AT_ONCE = 1 << 22  # floats of the draws of all else


def sample_model(
    model: Model,
    backend: str,
    settings: Settings,
    data: IVData | None = None,
    track: Callable[[range], Iterable[int]] | None = None,
    *,
    densities: bool = True,
) -> Sampled:
    """Sample a model's target, then all else exactly; PyMC samples what `to_pymc` states.

    Parameters
    ----------
    model : Model
    backend : str
        One of `BACKENDS`.
    settings : Settings
    data : IVData, optional
        Rows, for a backend that needs them.
    track : callable, optional
        Wraps the loop over the run's pieces, to show its progress.
    densities : bool, default=True
        Whether log densities are wanted.
    """
    sample = BACKENDS[backend]
    if sample is None:
        return model.sample_pymc(data, settings)
    draws = sample(model.target(), settings, track)
    return draws, model.posterior(draws.flat, settings.generator(), densities=densities)


_without_densities = partial(sample_model, densities=False)


def sample_models(
    models: Sequence[Model],
    backend: str,
    settings: Settings,
    rows: Sequence[IVData | None] | None = None,
    n_jobs: int | None = None,
    track: Any = None,
) -> Iterator[Sampled | Exception]:
    """Sample models with the same settings, one after the other; with what failed in its place.

    Log densities may be left out of the posteriors.

    A backend that samples many targets at once does so, `TOGETHER` of them at a time; with any
    other, `n_jobs` threads of joblib's share them out.

    Parameters
    ----------
    models : sequence of Model
    backend, settings
        As `sample_model` takes them.
    rows : sequence of IVData, optional
        Of each, for a backend that needs them.
    n_jobs : int, optional
    track : optional
        Who is told when a program is compiled.
    """
    if backend in MANY:
        for start in range(0, len(models), TOGETHER):
            yield from _sweep(models[start : start + TOGETHER], backend, settings)
        return
    yield from Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")(
        delayed(_told)(track, attempt, _without_densities, model, backend, settings, own)
        for model, own in zip(models, rows or repeat(None), strict=rows is not None)
    )


def _sweep(
    models: Sequence[Model], backend: str, settings: Settings
) -> Iterator[Sampled | Exception]:
    """Sample some models at once; one by one if that fails, so that it is known which does."""
    try:
        targets = [model.target() for model in models]
        together = MANY[backend](targets, settings)
    except EXPECTED:
        for model in models:
            yield attempt(_without_densities, model, backend, settings)
        return
    at_once = max(1, AT_ONCE // (settings.chains * settings.draws * max(map(n_floats, targets))))
    sampled = zip(models, map(kind, targets), together, strict=True)
    for _, alike in groupby(sampled, lambda own: (type(own[0]), own[1])):
        for some in batched(alike, at_once):
            own, _, draws = zip(*some, strict=True)
            posteriors = _posteriors(own, draws, settings)
            for drawn, posterior in zip(draws, posteriors, strict=True):
                yield posterior if isinstance(posterior, Exception) else (drawn, posterior)


def _posteriors(
    models: Sequence[Model], draws: Sequence[Draws], settings: Settings
) -> list[Posterior] | list[Posterior | Exception]:
    """Posteriors of models of one kind, side by side where it can be done."""
    if isinstance(models[0], StackedModel):
        positions = np.stack([own.flat for own in draws])
        drawn = attempt(models[0].posteriors, models, positions, settings.generator())
        if not isinstance(drawn, Exception):
            return drawn
    return [
        attempt(partial(model.posterior, densities=False), own.flat, settings.generator())
        for model, own in zip(models, draws, strict=True)
    ]


def _told[T](track: Any, step: Callable[..., T], *arguments: object) -> T:
    """Run a step, in a thread perhaps, and tell when a program is compiled."""
    with told_of_compiling(track):
        return step(*arguments)


def attempt[T](step: Callable[..., T], *arguments: object) -> T | Exception:
    """Result of a step, or why one model's numbers do not allow it."""
    try:
        return step(*arguments)
    except EXPECTED as error:
        return error

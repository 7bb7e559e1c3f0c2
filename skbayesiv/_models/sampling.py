"""A model and a backend -> draws and a posterior; many models at once where the backend can."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from joblib import Parallel, delayed

from skbayesiv._data.rows import IVData
from skbayesiv._models.parts.model import Model
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._sampling.backends import BACKENDS, MANY
from skbayesiv._sampling.compiling import told_of_compiling
from skbayesiv._sampling.target import Draws, Settings

Sampled = tuple[Draws, Posterior]
EXPECTED = (ValueError, ArithmeticError, RuntimeError)
TOGETHER = 64  # models whose draws are in memory at once


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
        together = MANY[backend]([model.target() for model in models], settings)
    except EXPECTED:
        for model in models:
            yield attempt(_without_densities, model, backend, settings)
        return
    for model, draws in zip(models, together, strict=True):
        draw = partial(model.posterior, densities=False)
        posterior = attempt(draw, draws.flat, settings.generator())
        yield posterior if isinstance(posterior, Exception) else (draws, posterior)


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

"""Models and a backend -> draws and posteriors, of one model or of many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from skbayesiv._data.rows import IVData
from skbayesiv._models.parts.model import Model
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._sampling.backends import BACKENDS
from skbayesiv._sampling.target import Draws, Settings

Sampled = tuple[Draws, Posterior]


def sample_model(
    model: Model,
    backend: str,
    settings: Settings,
    data: IVData | None = None,
    track: Callable[[range], Iterable[int]] | None = None,
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
    """
    sampler = BACKENDS[backend]
    if sampler is None:
        return model.sample_pymc(data, settings)
    draws = sampler.sample(model.target(), settings, track)
    return draws, model.posterior(draws.flat, settings.generator())


def sample_models(
    models: Sequence[Model],
    backend: str,
    settings: Settings,
    data: Sequence[IVData | None] | None = None,
    pad_to: int = 1,
) -> list[Sampled]:
    """Sample several models of one shape, each with the same random numbers.

    Where the backend can, in one program, which is compiled for a number of models that several
    are padded to. Otherwise one after the other: the result is the same.
    """
    sampler = BACKENDS[backend]
    rows: Sequence[IVData | None] = [None] * len(models) if data is None else data
    if sampler is None or sampler.sample_many is None:
        return [
            sample_model(model, backend, settings, own)
            for model, own in zip(models, rows, strict=True)
        ]
    targets = [model.target() for model in models]
    padding = pad_to - len(targets) if len(targets) > 1 else 0
    drawn = sampler.sample_many([*targets, *targets[-1:] * padding], settings)
    return [
        (draws, model.posterior(draws.flat, settings.generator()))
        for model, draws in zip(models, drawn, strict=False)
    ]

"""A model and a backend -> draws and a posterior."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from skbayesiv._data.rows import IVData
from skbayesiv._models.parts.model import Model
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._sampling.backends import BACKENDS
from skbayesiv._sampling.forks import claim_jax
from skbayesiv._sampling.target import Draws, Settings


def sample_model(
    model: Model,
    backend: str,
    settings: Settings,
    data: IVData | None = None,
    track: Callable[[range], Iterable[int]] | None = None,
) -> tuple[Draws, Posterior]:
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

    Raises
    ------
    RuntimeError
        In a fork of a process that has used JAX.
    """
    sample = BACKENDS[backend]
    if sample is None:
        return model.sample_pymc(data, settings)
    claim_jax()
    draws = sample(model.target(), settings, track)
    return draws, model.posterior(draws.flat, settings.generator())

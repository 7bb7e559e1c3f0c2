"""Samplers by name: what the parameter `backend` can be.

A :class:`Backend` has a function ``sample(target, settings, track)`` that returns :class:`Draws`.

* It may evaluate ``target.log_density(target.shape, u, target.arrays)`` (JAX, differentiable) at
  any unconstrained ``u``, in double precision: under ``jax.enable_x64(True)``.
* It starts near ``target.start``, with ``target.spread`` as a first guess of the scales, and
  depends on nothing random but ``settings.seed``.
* It runs ``settings.chains`` chains and keeps the last ``settings.draws`` of each.
* Of the statistics `diverging` and `n_steps` are needed; the others may be missing.
* ``track`` is None, or wraps ``range(PIECES)`` so that a loop over equal pieces of the run shows
  its progress; a backend may leave it alone.

Where it can sample several targets of one shape in one program, each with the same random numbers
as alone, it also has ``sample_many(targets, settings)``, a list of draws; without it searches and
many experiments are sampled one after the other.

To add one, write it in a file of its own that imports its library inside functions, and add a
line here. PyMC is the exception: it does not sample a target but the model that is stated in it,
so it stands here by name only and the model samples itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skbayesiv._sampling import nuts
from skbayesiv._sampling.target import Draws


@dataclass(frozen=True)
class Backend:
    """A sampler of targets, one at a time or, where it can, many at once."""

    sample: Callable[..., Draws]
    sample_many: Callable[..., list[Draws]] | None = None


BACKENDS: dict[str, Backend | None] = {
    "numpyro": Backend(nuts.sample, nuts.sample_many),
    "pymc": None,
}


def needs_rows(backend: str) -> bool:
    """Whether a backend samples a model of rows and not a target."""
    return BACKENDS[backend] is None

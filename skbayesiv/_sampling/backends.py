"""Samplers by name: what the parameter `backend` can be.

A backend is a function ``sample(target, settings, track)`` that returns :class:`Draws`.

* It may evaluate ``target.log_density(target.shape, u, target.arrays, xp)`` at any unconstrained
  ``u``: under JAX, where it is differentiable and wants ``jax.enable_x64(True)``, or under NumPy
  at many ``u`` at once.
* It starts near ``target.start``, with ``target.spread`` as a first guess of the scales, and
  depends on nothing random but ``settings.seed``.
* It runs ``settings.chains`` chains and keeps the last ``settings.draws`` of each.
* Of the statistics `diverging` and `n_steps` are needed; the others may be missing.
* ``track`` is None, or wraps ``range(PIECES)`` so that a loop over equal pieces of the run shows
  its progress; a backend may leave it alone. One that compiles makes its first call within
  :func:`~skbayesiv._sampling.compiling.told_of_compiling`.

A backend that can sample many targets at once also has a function ``sample_many(targets,
settings)`` in `MANY`.

To add one, write it in a file of its own that imports its library inside functions, and add a
line here. PyMC is the exception: it does not sample a target but the model that is stated in it,
so it stands here by name only and the model samples itself.
"""

from __future__ import annotations

from collections.abc import Callable

from skbayesiv._sampling import independence, nuts
from skbayesiv._sampling.target import Draws

BACKENDS: dict[str, Callable[..., Draws] | None] = {
    "numpyro": nuts.sample,
    "independence": independence.sample,
    "pymc": None,
}

MANY: dict[str, Callable[..., list[Draws]]] = {"independence": independence.sample_many}


def needs_rows(backend: str) -> bool:
    """Whether a backend samples a model of rows and not a target."""
    return BACKENDS[backend] is None

"""A density, settings and a seed -> draws and statistics. The only room that knows NumPyro.

`sample` is the default backend; ``backends`` states the contract. Programs are compiled once for
each (density, shape, array shapes, settings but the seed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from skbayesiv._sampling.compilation_cache import follow_environment
from skbayesiv._sampling.target import MAX_TREE_DEPTH, PIECES, Draws, Settings, Target
from skbayesiv._sampling.threads import one_blas_thread
from skbayesiv._typing import Array


def sample(
    target: Target, settings: Settings, track: Callable[[range], Iterable[int]] | None = None
) -> Draws:
    """Sample with NumPyro's NUTS, in double precision, one chain after the other.

    Parameters
    ----------
    target : Target
    settings : Settings
    track : callable, optional
        Wraps the loop over the run's `PIECES` equal pieces, to show its progress.
    """
    return sample_many([target], settings, track)[0]


def sample_many(
    targets: Sequence[Target],
    settings: Settings,
    track: Callable[[range], Iterable[int]] | None = None,
) -> list[Draws]:
    """Sample several targets of one shape in one call, each with the same random numbers.

    Parameters
    ----------
    targets : sequence of Target
        With the same density, shape, and shapes of arrays.
    settings : Settings
    track : callable, optional

    Returns
    -------
    list of Draws
    """
    import jax
    import numpyro.infer.hmc  # noqa: F401  (sets JAX options, so it comes before tracing)

    first, dim = targets[0], targets[0].start.size
    generator = np.random.default_rng(settings.seed)
    jitter = generator.uniform(-1.0, 1.0, (settings.chains, dim))
    starts = np.stack([t.start + jitter * t.spread for t in targets])
    mass = np.stack([t.spread**2 for t in targets])
    arrays = jax.tree.map(lambda *leaves: np.stack(leaves), *(t.arrays for t in targets))
    length = -(-(settings.tune + settings.draws) // PIECES)
    begin, advance = _programs()
    static = (first.log_density, first.shape, settings.tune)
    parts = []
    with jax.enable_x64(True), one_blas_thread():
        keys = jax.random.split(jax.random.key(settings.seed), settings.chains)
        accept = np.float64(settings.target_accept)
        state = begin(*static, keys, starts, mass, accept, arrays)
        for _ in range(PIECES) if track is None else track(range(PIECES)):
            state, out = advance(*static, length, state, mass, accept, arrays)
            if track is not None:
                jax.block_until_ready(out)  # JAX hands out arrays before they are computed
            parts.append(out)
        parts = jax.device_get(parts)
    position, stats = jax.tree.map(lambda *leaves: _keep(leaves, settings), *parts)
    stats["tree_depth"] = np.floor(np.log2(stats["n_steps"])).astype(int) + 1
    return [
        Draws(position[i], {name: value[i] for name, value in stats.items()})
        for i in range(len(targets))
    ]


def _keep(parts: tuple[Array, ...], settings: Settings) -> Array:
    """Join pieces of shape (problems, chains, length, ...) and leave out the warm-up."""
    joined = np.concatenate(parts, axis=2)
    return joined[:, :, settings.tune : settings.tune + settings.draws]


@lru_cache(maxsize=1)
def _programs() -> tuple[Any, Any]:
    """The two jitted programs; static are the density, its shape, tune and the length."""
    import jax

    follow_environment()

    begin = jax.jit(_begin, static_argnums=(0, 1, 2))
    return begin, jax.jit(_advance, static_argnums=(0, 1, 2, 3))


def _kernel(
    log_density: Any, shape: Any, tune: int, mass: Any, accept: Any, arrays: Any
) -> tuple[Any, Any]:
    """NumPyro's NUTS on one target: functions ``init(start, key)`` and ``step(state)``."""
    from numpyro.infer.hmc import hmc

    def potential(u: Any) -> Any:
        return -log_density(shape, u, arrays)

    init, step = hmc(potential, algo="NUTS")

    def initialise(start: Any, key: Any) -> Any:
        return init(
            start,
            tune,
            inverse_mass_matrix=mass,
            target_accept_prob=accept,
            max_tree_depth=MAX_TREE_DEPTH,
            rng_key=key,
        )

    return initialise, step


def _begin(
    log_density: Any,
    shape: Any,
    tune: int,
    keys: Any,
    starts: Any,
    mass: Any,
    accept: Any,
    arrays: Any,
) -> Any:
    """First states of all chains of all problems."""
    import jax

    def one(problem: Any) -> Any:
        start, scale, numbers = problem
        init, _ = _kernel(log_density, shape, tune, scale, accept, numbers)
        return jax.lax.map(lambda pair: init(*pair), (start, keys))

    return jax.lax.map(one, (starts, mass, arrays))


def _advance(
    log_density: Any,
    shape: Any,
    tune: int,
    length: int,
    states: Any,
    mass: Any,
    accept: Any,
    arrays: Any,
) -> Any:
    """Advance all chains by `length` steps; warm-up and draws share one loop and one kernel."""
    import jax
    from numpyro.infer.util import ParamInfo

    def body_of(step: Any) -> Any:
        def body(state: Any, _: Any) -> Any:
            state = step(state)
            stats = {
                "diverging": state.diverging,
                "n_steps": state.num_steps,
                "acceptance_rate": state.accept_prob,
                "energy": state.energy,
                "lp": -state.potential_energy,
                "step_size": state.adapt_state.step_size,
            }
            return state, (state.z, stats)

        return body

    def one(problem: Any) -> Any:
        chains, scale, numbers = problem
        init, step = _kernel(log_density, shape, tune, scale, accept, numbers)
        # NumPyro's `step` takes its options from `init`; what it computes here is not used. Given
        # its potential and gradient, `init` does not put another copy of them in the program.
        init(ParamInfo(chains.z[0], chains.potential_energy[0], chains.z_grad[0]), None)
        body = body_of(step)
        return jax.lax.map(lambda state: jax.lax.scan(body, state, None, length=length), chains)

    return jax.lax.map(one, (states, mass, arrays))

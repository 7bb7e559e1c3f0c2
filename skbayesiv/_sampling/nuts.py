"""A density, settings and a seed -> draws and statistics. The only room that knows NumPyro.

`sample` is the default backend; ``backends`` states the contract. Programs are compiled once for
each (density, shape, array shapes, number of chains, tune).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from skbayesiv._sampling.compilation_cache import follow_environment
from skbayesiv._sampling.compiling import say_compiling, told_of_compiling
from skbayesiv._sampling.forks import claim_jax
from skbayesiv._sampling.libraries import load_jax
from skbayesiv._sampling.proposal import near_mode
from skbayesiv._sampling.target import MAX_TREE_DEPTH, PIECES, Draws, Settings, Target
from skbayesiv._sampling.threads import one_blas_thread
from skbayesiv._typing import Array

CAPACITY = 1000


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

    Raises
    ------
    RuntimeError
        In a fork of a process that has used JAX.
    """
    claim_jax()
    load_jax()
    import jax
    import numpyro.infer.hmc  # noqa: F401  (sets JAX options, so it comes before tracing)

    generator = np.random.default_rng(settings.seed)
    start, spread = near_mode(target)
    starts = start + generator.uniform(-1.0, 1.0, (settings.chains, start.size)) * spread
    numbers = spread**2, np.float64(settings.target_accept), target.arrays
    static = target.log_density, target.shape, settings.tune
    total = settings.tune + settings.draws
    length, pieces = (total, [0]) if track is None else (-(-total // PIECES), track(range(PIECES)))
    begin, advance = _programs()
    parts = []
    with jax.enable_x64(True), one_blas_thread():
        keys = jax.random.split(jax.random.key(settings.seed), settings.chains)
        with told_of_compiling(track):
            state = begin(*static, keys, starts, *numbers)
            if track is not None:
                advance(*static, 0, state, *numbers)  # makes no step, but compiles
        for _ in pieces:
            for steps in _calls(length):
                state, out = advance(*static, steps, state, *numbers)
                parts.append((out, steps))
            if track is not None:
                jax.block_until_ready(out)  # JAX hands out arrays before they are computed
        parts = [_made(*part) for part in parts]
    position, stats = jax.tree.map(lambda *leaves: _keep(leaves, settings), *parts)
    stats["tree_depth"] = np.floor(np.log2(stats["n_steps"])).astype(int) + 1
    return Draws(position, stats)


def _calls(length: int) -> list[int]:
    """Numbers of steps of the calls that make `length` steps."""
    return [min(CAPACITY, length - done) for done in range(0, length, CAPACITY)]


def _made(out: Any, steps: int) -> Any:
    """The steps that were made, of shape (chains, steps, ...)."""
    import jax

    return jax.tree.map(lambda leaf: leaf[:, :steps], jax.device_get(out))


def _keep(parts: tuple[Array, ...], settings: Settings) -> Array:
    """Join pieces of shape (chains, length, ...) and leave out the warm-up."""
    joined = np.concatenate(parts, axis=1)
    return joined[:, settings.tune : settings.tune + settings.draws]


@lru_cache(maxsize=1)
def _programs() -> tuple[Any, Any]:
    """The two jitted programs; static are the density, its shape and tune."""
    import jax

    follow_environment()

    begin = jax.jit(_begin, static_argnums=(0, 1, 2))
    return begin, jax.jit(_advance, static_argnums=(0, 1, 2))


def _kernel(
    log_density: Any, shape: Any, tune: int, mass: Any, accept: Any, arrays: Any
) -> tuple[Any, Any]:
    """NumPyro's NUTS on one target: functions ``init(start, key)`` and ``step(state)``."""
    import jax.numpy as jnp
    from numpyro.infer.hmc import hmc

    def potential(u: Any) -> Any:
        return -log_density(shape, u, arrays, jnp)

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
    """First states of all chains."""
    import jax

    say_compiling()
    init, _ = _kernel(log_density, shape, tune, mass, accept, arrays)
    return jax.lax.map(lambda pair: init(*pair), (starts, keys))


def _advance(
    log_density: Any,
    shape: Any,
    tune: int,
    steps: Any,
    states: Any,
    mass: Any,
    accept: Any,
    arrays: Any,
) -> Any:
    """Advance all chains by `steps`; warm-up and draws share one loop and one kernel.

    Returns the states and, for the `CAPACITY` steps that a call has room for, all positions and
    statistics: zeros after the steps made. So the length of a run is no part of the program.
    """
    import jax
    import jax.numpy as jnp
    from numpyro.infer.util import ParamInfo

    say_compiling()
    init, step = _kernel(log_density, shape, tune, mass, accept, arrays)
    # NumPyro's `step` takes its options from `init`; what it computes here is not used. Given
    # its potential and gradient, `init` does not put another copy of them in the program.
    init(ParamInfo(states.z[0], states.potential_energy[0], states.z_grad[0]), None)

    def body(i: Any, carry: Any) -> Any:
        state, out = carry
        state = step(state)
        put = partial(jax.lax.dynamic_update_index_in_dim, index=i, axis=0)
        return state, jax.tree.map(put, out, _recorded(state))

    def chain(state: Any) -> Any:
        recorded = _recorded(state)
        room = jax.tree.map(lambda x: jnp.zeros((CAPACITY, *x.shape), x.dtype), recorded)
        return jax.lax.fori_loop(0, steps, body, (state, room))

    return jax.lax.map(chain, states)


def _recorded(state: Any) -> tuple[Any, dict[str, Any]]:
    """What is kept of each step: the position and the statistics."""
    stats = {
        "diverging": state.diverging,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "energy": state.energy,
        "lp": -state.potential_energy,
        "step_size": state.adapt_state.step_size,
    }
    return state.z, stats

"""A density, settings and a seed -> draws and statistics. The only room that knows NumPyro.

`sample` is the default backend; ``backends`` states the contract. One program is compiled
for each (density, shape, array shapes, number of chains, tune).
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
from skbayesiv._sampling.splitmix import splitmix
from skbayesiv._sampling.target import MAX_TREE_DEPTH, PIECES, Draws, Settings, Target
from skbayesiv._sampling.threads import one_blas_thread
from skbayesiv._typing import Array

CAPACITY = 1000
STATISTICS = ("diverging", "n_steps", "acceptance_rate", "energy", "lp", "step_size")
# At level 1 LLVM takes three quarters of the time, and draws are made as fast.
COMPILER = {"xla_backend_optimization_level": 1}


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
    keys = generator.integers(2**32, size=(settings.chains, 2), dtype=np.uint32)
    numbers = starts, keys, spread**2, np.float64(settings.target_accept), target.arrays
    static = target.log_density, target.shape, settings.tune
    total = settings.tune + settings.draws
    length, pieces = (total, [0]) if track is None else (-(-total // PIECES), track(range(PIECES)))
    advance = _program()
    parts: list[tuple[Any, int]] = []
    with jax.enable_x64(True), one_blas_thread():
        states = _blank(start.size, settings.chains)
        if track is not None:
            with told_of_compiling(track):
                advance(*static, True, 0, states, *numbers)  # makes no step, but compiles
        for _ in pieces:
            for steps in _calls(length):
                states, out = advance(*static, not parts, steps, states, *numbers)
                parts.append((out, steps))
            if track is not None:
                jax.block_until_ready(out)  # JAX hands out arrays before they are computed
        made = [np.asarray(out)[:, :steps] for out, steps in parts]
    return _draws(np.concatenate(made, axis=1)[:, settings.tune : total])


def _calls(length: int) -> list[int]:
    """Numbers of steps of the calls that make `length` steps."""
    return [min(CAPACITY, length - done) for done in range(0, length, CAPACITY)]


def _draws(recorded: Array) -> Draws:
    """Take apart what `_recorded` put together, of shape (chains, draws, ...)."""
    stats = dict(
        zip(STATISTICS, np.moveaxis(recorded[..., -len(STATISTICS) :], -1, 0), strict=True)
    )
    stats["diverging"] = stats["diverging"].astype(bool)
    stats["n_steps"] = stats["n_steps"].astype(int)
    stats["tree_depth"] = np.floor(np.log2(stats["n_steps"])).astype(int) + 1
    return Draws(recorded[..., : -len(STATISTICS)], stats)


@lru_cache(maxsize=1)
def _program() -> Any:
    """The jitted program; static are the density, its shape and tune."""
    import jax

    follow_environment()
    return jax.jit(_advance, static_argnums=(0, 1, 2), compiler_options=COMPILER)


def _kernel(
    log_density: Any, shape: Any, tune: int, mass: Any, accept: Any, arrays: Any
) -> tuple[Any, Any]:
    """NumPyro's NUTS on one target: functions ``first(start)`` and ``step(state, key)``.

    The first state has an infinite potential and no gradient: its transition leaves it for the
    first point that it tries. So the program has one copy of the gradient, and not two.
    """
    import jax
    import jax.numpy as jnp
    from numpyro.infer.hmc import hmc
    from numpyro.infer.util import ParamInfo

    def potential(u: Any) -> Any:
        return -log_density(shape, u, arrays, jnp)

    init, advance = hmc(potential, algo="NUTS")

    def without_keys(state: Any) -> Any:
        return state._replace(rng_key=None, adapt_state=state.adapt_state._replace(rng_key=None))

    def first(start: Any) -> Any:
        state = init(
            ParamInfo(start, jnp.asarray(jnp.inf), jnp.zeros_like(start)),
            tune,
            inverse_mass_matrix=mass,
            target_accept_prob=accept,
            max_tree_depth=MAX_TREE_DEPTH,
            rng_key=jax.random.key(0, impl=splitmix()),  # not used
        )
        return without_keys(state._replace(energy=state.potential_energy))

    def step(state: Any, key: Any) -> Any:
        return without_keys(advance(state._replace(rng_key=key)))

    return first, step


@lru_cache
def _blank(dim: int, chains: int) -> Any:
    """Zeros in the form of the states of all chains, on the device as those are."""
    import jax

    first, _ = _kernel(None, None, 0, np.ones(dim), 0.8, None)
    form = jax.eval_shape(first, np.zeros(dim))
    zeros = jax.tree.map(lambda leaf: np.zeros((chains, *leaf.shape), leaf.dtype), form)
    return jax.device_put(zeros)


def _advance(
    log_density: Any,
    shape: Any,
    tune: int,
    begin: Any,
    steps: Any,
    states: Any,
    starts: Any,
    keys: Any,
    mass: Any,
    accept: Any,
    arrays: Any,
) -> Any:
    """Advance all chains by `steps`; warm-up and draws share one loop and one kernel.

    Where the run begins, `states` are blank. Returns the states and, for the `CAPACITY` steps
    that a call has room for, what is recorded of each: zeros after the steps made. So the length
    of a run is no part of the program.
    """
    import jax
    import jax.numpy as jnp

    say_compiling()
    first, step = _kernel(log_density, shape, tune, mass, accept, arrays)

    def chain(given: Any) -> Any:
        state, start, seed = given
        key = jax.random.wrap_key_data(seed, impl=splitmix())
        state = jax.tree.map(partial(jnp.where, begin), first(start), state)

        def body(i: Any, carry: Any) -> Any:
            state, out = carry
            state = step(state, jax.random.fold_in(key, state.i))
            return state, jax.lax.dynamic_update_index_in_dim(out, _recorded(state), i, 0)

        room = jnp.zeros((CAPACITY, start.size + len(STATISTICS)))
        return jax.lax.fori_loop(0, steps, body, (state, room))

    return jax.lax.map(chain, (states, starts, keys))


def _recorded(state: Any) -> Any:
    """What is kept of each step, as one vector: the position and then `STATISTICS`."""
    import jax.numpy as jnp

    statistics = (
        state.diverging,
        state.num_steps,
        state.accept_prob,
        state.energy,
        -state.potential_energy,
        state.adapt_state.step_size,
    )
    return jnp.concatenate([state.z, jnp.stack(statistics)])

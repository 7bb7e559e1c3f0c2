"""A second sampler in twenty lines, to hold samplers and models against."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from skbayesiv._sampling.target import Draws

THIN = 20


def metropolis(target, settings, track=None):
    """Random-walk Metropolis, every `THIN`-th draw kept."""
    dim, total = target.start.size, THIN * (settings.tune + settings.draws)

    def step(state, noise):
        at, value = state
        proposal = at + 0.8 * target.spread * noise[:dim]
        proposed = target.log_density(target.shape, proposal, target.arrays, jnp)
        accept = jnp.log(noise[dim]) < proposed - value
        state = jnp.where(accept, proposal, at), jnp.where(accept, proposed, value)
        return state, state[0]

    def chain(noise):
        start = jnp.asarray(target.start)
        state = start, target.log_density(target.shape, start, target.arrays, jnp)
        return jax.lax.scan(step, state, noise)[1]

    rng = np.random.default_rng(settings.seed)
    normal = rng.normal(size=(settings.chains, total, dim))
    noise = np.concatenate([normal, rng.uniform(size=(settings.chains, total, 1))], axis=-1)
    with jax.enable_x64(True):
        position = np.asarray(jax.jit(lambda noise: jax.lax.map(chain, noise))(noise))
    kept = position[:, THIN * settings.tune :: THIN]
    nothing = np.zeros(kept.shape[:2], dtype=int)
    return Draws(kept, {"diverging": nothing.astype(bool), "n_steps": nothing + 1})

"""Independence Metropolis-Hastings: draws from a proposal that covers the target, under NumPy.

The collapsed densities of this package are smooth functions of a few coordinates and close to
elliptical, so that a mixture of a few t distributions fits them. Then all draws can be proposed
and their densities be evaluated at once, and a chain accepts most of them (Tierney 1994, section
2.3.3). They are cheap, so that every third state is kept: draws are nearly independent. There is
nothing to compile, and many targets of one kind cost little more than one.

Whether the proposal covers the target is told by the importance weights: by the shape k of their
tail (Vehtari et al. 2024), above 0.7 of which no number of draws helps.

References
----------
Tierney, L. (1994). Markov chains for exploring posterior distributions. Annals of Statistics 22,
1701-1728.

Vehtari, A., Simpson, D., Gelman, A., Yao, Y. and Gabry, J. (2024). Pareto smoothed importance
sampling. Journal of Machine Learning Research 25, 1-58.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from skbayesiv._sampling.pareto import tail_shape
from skbayesiv._sampling.proposal import Mixture, at_mode, normalised
from skbayesiv._sampling.stack import Stack, kind
from skbayesiv._sampling.target import PIECES, Draws, Settings, Target
from skbayesiv._typing import Array

COMPONENTS, ROUNDS = 4, 2
PER_DIM = 100
THIN, WARM_UP = 3, 20
# Of a proposal that is not refined further; the largest weight is in units of their mean.
GOOD_K, GOOD_SHARE, GOOD_WEIGHT = 0.6, 0.5, 50.0
AT_ONCE = 1 << 18  # proposals for all targets
FEW_CHAINS = 32
IMPOSSIBLE = -1e300  # log weight of a point without density


def sample(
    target: Target, settings: Settings, track: Callable[[range], Iterable[int]] | None = None
) -> Draws:
    """Sample one target; `tune` and `target_accept` have no part in it."""
    draws = sample_many([target], settings)[0]
    if track is not None:
        for _ in track(range(PIECES)):
            pass
    return draws


def sample_many(targets: Sequence[Target], settings: Settings) -> list[Draws]:
    """Sample many targets, those of one kind at once and from the same random numbers."""
    factors = [target.factors or (target,) for target in targets]
    found: dict[tuple[int, int], Draws] = {}
    groups = defaultdict(list)
    for j, parts in enumerate(factors):
        for i, part in enumerate(parts):
            groups[kind(part)].append(((j, i), part))
    at_once = max(1, AT_ONCE // (THIN * settings.chains * settings.draws))
    for group in groups.values():
        for start in range(0, len(group), at_once):
            keys, parts = zip(*group[start : start + at_once], strict=True)
            found.update(zip(keys, _sample_stack(parts, settings), strict=True))
    return [_product([found[j, i] for i in range(len(p))]) for j, p in enumerate(factors)]


def _product(parts: list[Draws]) -> Draws:
    """Draws of independent coordinates side by side."""
    if len(parts) == 1:
        return parts[0]
    each = {name: [part.stats[name] for part in parts] for name in parts[0].stats}
    stats = {name: values[0] for name, values in each.items()}
    stats["lp"] = np.sum(each["lp"], axis=0)
    stats["acceptance_rate"] = np.mean(each["acceptance_rate"], axis=0)
    stats["pareto_k"] = np.max(each["pareto_k"], axis=0)
    return Draws(np.concatenate([part.position for part in parts], axis=-1), stats)


def _sample_stack(targets: Sequence[Target], settings: Settings) -> list[Draws]:
    """Fit a proposal to each target of one kind, refine it where it must be, and run the chains."""
    n = settings.chains * THIN * (WARM_UP + settings.draws)
    stack, at = Stack.of(targets), np.arange(len(targets))
    start = np.array([target.start for target in targets], dtype=float)
    spread = np.array([target.spread for target in targets], dtype=float)
    mixture = at_mode(stack.log_density, start, spread)
    found: dict[int, Draws] = {}
    for level in range(1, COMPONENTS + 1):
        mixture = _adapted(stack, mixture, level, settings)
        x, log_p, ratio = _proposed(stack, mixture, n, [settings.seed, level, ROUNDS])
        weight = normalised(ratio)
        k = np.where(np.isneginf(ratio.max(axis=1)), np.inf, pareto_k(weight))
        good = (k <= GOOD_K) & _well_covered(weight)
        done = good | (level == COMPONENTS)
        if done.any():
            chains = _chains(x[done], log_p[done], ratio[done], k[done], settings)
            found.update(zip(at[done].tolist(), chains, strict=True))
        left = np.flatnonzero(~done)
        if not left.size:
            break
        stack, at = stack.take(left), at[left]
        mixture = mixture.take(left).extended(x[left], ratio[left])
    return [found[j] for j in range(len(targets))]


def _adapted(stack: Stack, mixture: Mixture, level: int, settings: Settings) -> Mixture:
    """Fit the proposal to weighted draws of itself, twice."""
    n = PER_DIM * (2 + mixture.centre.shape[-1])
    for number in range(ROUNDS):
        x, _, ratio = _proposed(stack, mixture, n, [settings.seed, level, number])
        weight = np.minimum(normalised(ratio), n**-0.5)
        mixture = mixture.fitted(x, weight / weight.sum(axis=1, keepdims=True))
    return mixture


def _proposed(
    stack: Stack, mixture: Mixture, n: int, seed: list[int]
) -> tuple[Array, Array, Array]:
    """Draws (J, n, dim) of the proposal, their log densities and log weights (J, n)."""
    x = mixture.draw(n, np.random.default_rng(seed))
    log_p = stack.log_density(x)
    return x, log_p, log_p - mixture.log_density(x)


def _well_covered(weight: Array) -> NDArray[np.bool_]:
    """Whether the effective share of weighted draws is good, and none holds a chain up, (J,)."""
    n = weight.shape[1]
    share = 1.0 / (n * (weight**2).sum(axis=1))
    return (share >= GOOD_SHARE) & (n * weight.max(axis=1) <= GOOD_WEIGHT)


def pareto_k(weight: Array) -> Array:
    """Shapes (J,) of the tails of weights (J, n)."""
    return np.array([tail_shape(row) for row in weight])


def _chains(x: Array, log_p: Array, ratio: Array, k: Array, settings: Settings) -> list[Draws]:
    """Accept or reject proposals in turn, shared out over the chains; every `THIN`-th is kept."""
    shape = len(x), settings.chains, THIN * (WARM_UP + settings.draws)
    ratio = np.maximum(ratio, IMPOSSIBLE).reshape(shape)
    log_u = np.log(np.random.default_rng([settings.seed, 0]).uniform(size=shape[1:]))
    bound = ratio - log_u
    lanes = -1, shape[2]
    at = _paths(ratio.reshape(lanes), bound.reshape(lanes)).reshape(shape)
    before = np.take_along_axis(ratio, at[..., THIN * WARM_UP - 1 : -1], axis=-1)
    rate = np.exp(np.minimum(ratio[..., THIN * WARM_UP :] - before, 0.0))
    rate = rate.reshape(*shape[:2], settings.draws, THIN).mean(axis=-1)
    kept = at[..., THIN * (WARM_UP + 1) - 1 :: THIN]
    position = np.take_along_axis(x.reshape(*shape, -1), kept[..., None], axis=2)
    lp = np.take_along_axis(log_p.reshape(shape), kept, axis=2)
    return [_draws(*own) for own in zip(position, lp, rate, k, strict=True)]


def _paths(ratio: Array, bound: Array) -> NDArray[np.intp]:
    """Which proposal each chain is at, step by step (chains, n).

    It moves to a proposal whose bound is above the log weight of where it is. A loop over numbers
    is fastest for a few chains, one over arrays for many.
    """
    if len(ratio) <= FEW_CHAINS:
        return np.array([_path(*chain) for chain in zip(ratio, bound, strict=True)])
    at, current = np.zeros(ratio.shape, dtype=np.intp), ratio[:, 0]
    columns = zip(np.ascontiguousarray(ratio.T), np.ascontiguousarray(bound.T), strict=True)
    now = at[:, 0]
    for i, (proposed, most) in enumerate(columns):
        moves = current < most
        current = np.where(moves, proposed, current)
        now = np.where(moves, i, now)
        at[:, i] = now
    return at


def _path(ratio: Array, bound: Array) -> list[int]:
    """The same of one chain."""
    at, values = 0, ratio.tolist()
    return [at := i if values[at] < most else at for i, most in enumerate(bound.tolist())]


def _draws(position: Array, lp: Array, rate: Array, k: float) -> Draws:
    """Draws of one target with their statistics."""
    stats = {
        "diverging": np.zeros(lp.shape, dtype=bool),
        "n_steps": np.ones(lp.shape, dtype=int),
        "acceptance_rate": rate,
        "lp": lp,
        "pareto_k": np.full(lp.shape, k),
    }
    return Draws(position, stats)

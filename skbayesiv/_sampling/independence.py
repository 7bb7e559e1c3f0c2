"""Independence Metropolis-Hastings: draws from a proposal that covers the target, under NumPy.

The collapsed densities of this package are smooth functions of a few coordinates and close to
elliptical, so that a mixture of a few t distributions fits them. Then all proposals can be drawn
and their densities be evaluated at once, and a chain may choose among all of them and the state it
is at, in proportion to their weights, which leaves the target as it is (Tjelmeland 2004; iterated
importance resampling, Andrieu, Lee and Vihola 2018). For each draw there are two proposals; the
choice is by systematic resampling, so that good ones are hardly ever taken twice, and draws stay
in the order of the proposals, so that autocorrelation tells what is. There is nothing to compile,
and many targets of one kind cost little more than one.

Whether the proposal covers the target is told by the importance weights: by the shape k of their
tail (Vehtari et al. 2024), above 0.7 of which no number of draws helps.

References
----------
Andrieu, C., Lee, A. and Vihola, M. (2018). Uniform ergodicity of the iterated conditional SMC and
geometric ergodicity of particle Gibbs samplers. Bernoulli 24, 842-872.

Tjelmeland, H. (2004). Using all Metropolis-Hastings proposals to estimate mean values. Preprint
Statistics 4/2004, Norwegian University of Science and Technology.

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

COMPONENTS, PER_DIM = 4, 150
SPARE, WARM_UP = 2, 60  # proposals for each draw, and of the first state
# Of a proposal that is not refined further; the largest weight is in units of their mean.
GOOD_K, GOOD_SHARE, GOOD_WEIGHT = 0.6, 0.5, 50.0
AT_ONCE = 1 << 18  # proposals for all targets
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
    at_once = max(1, AT_ONCE // (SPARE * settings.chains * settings.draws))
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
    """Fit a proposal to each target of one kind, refine it where it must be, and choose draws."""
    n = settings.chains * (WARM_UP + SPARE * settings.draws)
    stack, at = Stack.of(targets), np.arange(len(targets))
    start = np.array([target.start for target in targets], dtype=float)
    spread = np.array([target.spread for target in targets], dtype=float)
    mixture = at_mode(stack.log_density, start, spread)
    found: dict[int, Draws] = {}
    for level in range(1, COMPONENTS + 1):
        mixture = _adapted(stack, mixture, level, settings)
        x, log_p, ratio = _proposed(stack, mixture, n, [settings.seed, level, 1])
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
    """Fit the proposal to weighted draws of itself."""
    n = PER_DIM * (2 + mixture.centre.shape[-1])
    x, _, ratio = _proposed(stack, mixture, n, [settings.seed, level, 0])
    weight = np.minimum(normalised(ratio), n**-0.5)
    return mixture.fitted(x, weight / weight.sum(axis=1, keepdims=True))


def _proposed(
    stack: Stack, mixture: Mixture, n: int, seed: list[int]
) -> tuple[Array, Array, Array]:
    """Draws (J, n, dim) of the proposal, their log densities and log weights (J, n)."""
    x = mixture.draw(n, np.random.default_rng(seed))
    log_p = stack.log_density(x)
    return x, log_p, log_p - mixture.log_density(x)


def _well_covered(weight: Array) -> NDArray[np.bool_]:
    """Whether the effective share of weighted draws is good, and none has too much of it, (J,)."""
    n = weight.shape[1]
    share = 1.0 / (n * (weight**2).sum(axis=1))
    return (share >= GOOD_SHARE) & (n * weight.max(axis=1) <= GOOD_WEIGHT)


def pareto_k(weight: Array) -> Array:
    """Shapes (J,) of the tails of weights (J, n)."""
    return np.array([tail_shape(row) for row in weight])


def _chains(x: Array, log_p: Array, ratio: Array, k: Array, settings: Settings) -> list[Draws]:
    """Share the proposals (J, n) out over the chains, and choose among those of each."""
    shape = len(x), settings.chains, WARM_UP + SPARE * settings.draws
    ratio = np.maximum(ratio, IMPOSSIBLE).reshape(shape)
    weight = np.exp(ratio - ratio.max(axis=-1, keepdims=True))  # of each chain its own
    u, v = np.random.default_rng([settings.seed, 0]).uniform(size=(2, settings.chains))
    at = _chosen(weight, u, v, settings.draws)
    after = np.take_along_axis(ratio, (at + 1) % shape[2], axis=-1)
    rate = np.exp(np.minimum(after - np.take_along_axis(ratio, at, axis=-1), 0.0))
    position = np.take_along_axis(x.reshape(*shape, -1), at[..., None], axis=2)
    lp = np.take_along_axis(log_p.reshape(shape), at, axis=2)
    return [_draws(*own) for own in zip(position, lp, rate, k, strict=True)]


def _chosen(weight: Array, u: Array, v: Array, draws: int) -> NDArray[np.intp]:
    """Which proposals are draws (J, chains, draws), by their weights (J, chains, n).

    A first state is chosen among the first few. It and all others are the candidates, of which
    each is chosen as often as the strides of a comb meet its share of their weights.
    """
    early = np.cumsum(weight[..., :WARM_UP], axis=-1)
    first = (early[..., :-1] < early[..., -1:] * u[:, None]).sum(axis=-1, keepdims=True)
    weight = weight.copy()
    start = np.take_along_axis(weight, first, axis=-1)
    weight[..., :WARM_UP] = 0.0
    np.put_along_axis(weight, first, start, axis=-1)
    reach = np.cumsum(weight, axis=-1)
    reach *= draws / reach[..., -1:]
    met = np.minimum(np.ceil(reach - v[:, None]).astype(int), draws)
    met[..., -1] = draws
    times = np.diff(met, axis=-1, prepend=0)
    which = np.broadcast_to(np.arange(weight.shape[-1]), weight.shape)
    return np.repeat(which.ravel(), times.ravel()).reshape(*weight.shape[:-1], draws)


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

"""BayesianIV against samplers of the same model, and as the data grow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from measure import NOTEBOOK, Figure, ess, least_ess, paired, push, push_moments

from skbayesiv import BayesianIV


def bench_rows(repeat: int) -> Iterator[Figure]:
    """Warm fits as rows grow; after the pass they cost the same."""
    base = None
    for n in (10**3, 10**4, 10**5, 10**6, 10**7):
        y, t, z = push(n)
        est = BayesianIV(**NOTEBOOK, random_state=0)
        took, one_pass = paired(
            lambda y=y, t=t, z=z, est=est: est.fit(None, t, y, z=z), push_moments(n), repeat=repeat
        )
        base = base or took
        posterior = est.idata_.posterior
        rate, least = ess(posterior["beta_t"][..., 0]) / took, least_ess(posterior) / took
        yield Figure(
            f"BayesianIV, warm fit, n = {n:,}",
            f"{took:.3f} s; effective draws per second: beta_t {rate:,.0f}, least {least:,.0f}",
            f"one pass over the rows {one_pass:.3f} s",
            f"pass + {(took - one_pass) / base:.2f} x the fit at n = 1,000",
        )


def bench_backends(repeat: int) -> Iterator[Figure]:
    """Warm fits with both backends, alternating."""
    for n in (10**4, 10**6):
        y, t, z = push(n)
        backends = ("independence", "numpyro")
        fits = [BayesianIV(**NOTEBOOK, backend=name, random_state=0) for name in backends]
        own, nuts = paired(*(partial(est.fit, None, t, y, z=z) for est in fits), repeat=repeat)
        yield Figure(
            f'BayesianIV(backend="independence"), warm fit, n = {n:,}',
            f"{own:.4f} s",
            f"NumPyro {nuts:.4f} s",
            f"{own / nuts:.2f} x",
        )
    alone, looked = paired(
        partial(fits[0].fit, None, t, y, z=z),
        lambda: fits[0].fit(None, t, y, z=z).idata_,
        repeat=repeat,
    )
    yield Figure(
        f"the same and its tree, n = {n:,}",
        f"{looked:.4f} s",
        f"without {alone:.4f} s",
        f"+ {looked - alone:.4f} s",
    )


def bench_width(repeat: int) -> Iterator[Figure]:
    """Growth with covariates, instruments and treatments, each paired with the plain model."""
    rng = np.random.default_rng(0)
    n = 5000
    runs = {}
    for k, q, p in (
        (1, 1, 0),
        (1, 1, 10),
        (1, 1, 50),
        (1, 1, 200),
        (1, 5, 0),
        (1, 20, 0),
        (2, 2, 0),
    ):
        X, z = rng.normal(size=(n, p)), rng.normal(size=(n, q))
        v = rng.normal(size=(n, k))
        t = z @ rng.normal(size=(q, k)) + v
        y = t.sum(1) + v.sum(1) + rng.normal(size=n)
        est = BayesianIV(random_state=0)
        runs[k, q, p] = partial(est.fit, X if p else None, t, y, z=z)
    times = dict(zip(runs, paired(*runs.values(), repeat=repeat), strict=True))
    for (k, q, p), took in times.items():
        yield Figure(
            f"BayesianIV, warm fit, K = {k}, Q = {q}, P = {p}",
            f"{took:.3f} s",
            "K = Q = 1, P = 0",
            f"{took / times[1, 1, 0]:.1f} x",
        )

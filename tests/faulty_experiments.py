"""Experiments in which an interval is not what it promises, and some in which it is."""

from __future__ import annotations

import numpy as np


def strong(seed=0, n=500):
    """Normal errors of one variance, first-stage F about 80: nothing is wrong."""
    r = np.random.default_rng(seed)
    z, v = r.normal(size=n), r.normal(size=n)
    t = 0.4 * z + v
    return {"t": t, "y": t + 0.5 * v + r.normal(size=n), "z": z}


def halves(seed=0, n=2000):
    """Half assigned, 3% convert, nobody else is treated: nothing is wrong."""
    r = np.random.default_rng(seed)
    z = r.permutation(n) % 2.0
    t = z * (r.random(n) < 0.4)
    return {"t": t, "y": (r.random(n) < 0.02 + 0.02 * t).astype(float), "z": z}


def revenue(seed=0, n=20_000):
    """Half assigned; one in twenty pays, an amount with heavy tails: nothing is wrong."""
    r = np.random.default_rng(seed)
    z = r.permutation(n) % 2.0
    t = z * (r.random(n) < 0.4)
    pays = r.random(n) < 0.05 + 0.02 * t
    return {"t": t, "y": pays * np.exp(3.0 + 1.3 * r.normal(size=n)), "z": z}


def uneven(seed=0, n=1000, share=0.1):
    """Few (or most) assigned, effects that vary: the errors of the assigned vary more."""
    r = np.random.default_rng(seed)
    z = (r.permutation(n) < n * share).astype(float)
    t = z * (r.random(n) < 0.6)
    return {"t": t, "y": r.normal(size=n) + t * r.normal(1.0, 3.0, n), "z": z}


def weak(seed=0, n=200, q=1):
    """First-stage F about 2."""
    r = np.random.default_rng(seed)
    z, v = r.normal(size=(n, q)), r.normal(size=n)
    t = z @ np.full(q, np.sqrt(1.0 / n)) + v
    return {"t": t, "y": t + 0.8 * v + 0.6 * r.normal(size=n), "z": z}


def many(seed=0, n=1000, q=40):
    """Forty instruments, strong by the effective F: their number is what is wrong."""
    r = np.random.default_rng(seed)
    z, v = r.normal(size=(n, q)), r.normal(size=n)
    t = z @ np.full(q, np.sqrt(20.0 / n)) + v
    return {"t": t, "y": t + 0.8 * v + 0.6 * r.normal(size=n), "z": z}


def clustered(seed=0, groups=30, size=30, treated=15):
    """Clusters assigned as a whole, with errors in common."""
    r = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), size)
    z = (r.permutation(groups) < treated).astype(float)[g]
    v = 0.4 * r.normal(size=groups)[g] + r.normal(size=groups * size)
    t = 2.0 * z + v
    y = t + 0.5 * v + r.normal(size=groups)[g] + r.normal(size=groups * size)
    return {"t": t, "y": y, "z": z, "clusters": g}

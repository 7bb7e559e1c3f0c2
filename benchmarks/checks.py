"""What it costs that a fit looks at whether its interval is honest."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from measure import Figure, paired

from skbayesiv import BayesianIV, TwoStageLS

ESTIMATORS = {
    "BayesianIV": BayesianIV(random_state=0),
    "TwoStageLS, robust": TwoStageLS(),
    "TwoStageLS, classical": TwoStageLS(cov_type="unadjusted"),
}


def fit(est: Any, check: Any, data: tuple[np.ndarray, ...]) -> None:
    """Fit with or without a check."""
    x, t, y, z = data
    est.set_params(check=check).fit(x, t, y, z=z)


def bench_check(repeat: int) -> Iterator[Figure]:
    """Fits with and without, of an honest experiment with three covariates as its rows grow."""
    for n in (10**4, 10**5, 10**6):
        rng = np.random.default_rng(0)
        z, x, v = rng.integers(0, 2, n) * 1.0, rng.normal(size=(n, 3)), rng.normal(size=n)
        t = 0.9 * z + v
        y = t + v + rng.normal(size=n)
        for name, est in ESTIMATORS.items():
            runs = [partial(fit, est, check, (x, t, y, z)) for check in ("auto", False)]
            on, off = paired(*runs, repeat=4 * repeat)
            yield Figure(
                f"{name}, n = {n:,}, check",
                f"{1e3 * on:.2f} ms",
                f"without {1e3 * off:.2f} ms",
                f"{on / off:.2f} x",
            )

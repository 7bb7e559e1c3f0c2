"""TwoStageLS against other packages' two-stage least squares, robust errors everywhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from measure import Figure, paired, push, push_moments

from skbayesiv import TwoStageLS


def with_linearmodels(y: np.ndarray, t: np.ndarray, z: np.ndarray) -> Callable[[], object]:
    """Two-stage least squares with linearmodels."""
    from linearmodels.iv import IV2SLS

    one = np.ones((len(y), 1))
    return lambda: IV2SLS(y, one, t, z).fit().std_errors


def with_pyfixest(y: np.ndarray, t: np.ndarray, z: np.ndarray) -> Callable[[], object]:
    """Two-stage least squares with pyfixest."""
    import pyfixest

    frame = pd.DataFrame({"y": y, "t": t, "z": z})
    return lambda: pyfixest.feols("y ~ 1 | t ~ z", frame, vcov="HC1").se()


def with_statsmodels(y: np.ndarray, t: np.ndarray, z: np.ndarray) -> Callable[[], object]:
    """Two-stage least squares with statsmodels; its errors are classical."""
    from statsmodels.sandbox.regression.gmm import IV2SLS

    one = np.ones(len(y))
    x, w = np.column_stack([one, t]), np.column_stack([one, z])
    return lambda: IV2SLS(y, x, w).fit().bse


def with_ivmodels(y: np.ndarray, t: np.ndarray, z: np.ndarray) -> Callable[[], object]:
    """Two-stage least squares with ivmodels; point estimates only."""
    from ivmodels import KClass

    return lambda: KClass("tsls").fit(X=t[:, None], y=y, Z=z[:, None]).coef_


RIVALS = {
    "linearmodels": with_linearmodels,
    "pyfixest": with_pyfixest,
    "statsmodels": with_statsmodels,
    "ivmodels": with_ivmodels,
}


def bench_two_stage(repeat: int) -> Iterator[Figure]:
    """Fits to rows, and from moments with the pass that makes them."""
    for n in (10**4, 10**6):
        y, t, z = push(n)
        read = push_moments(n)
        rivals = {
            name: rival(y, t, z)
            for name, rival in RIVALS.items()
            if importlib.util.find_spec(name) is not None
        }
        times = paired(
            lambda t=t, y=y, z=z: TwoStageLS().fit(None, t, y, z=z),
            lambda read=read: TwoStageLS(cov_type="unadjusted").fit_moments(read()),
            *rivals.values(),
            repeat=repeat,
        )
        for name, theirs in zip(rivals, times[2:], strict=True):
            for label, ours in zip(("", " from moments, with the pass"), times[:2], strict=True):
                yield Figure(
                    f"TwoStageLS{label}, n = {n:,}",
                    f"{ours:.4f} s",
                    f"{name} {theirs:.4f} s",
                    f"{ours / theirs:.2f} x its time",
                )
